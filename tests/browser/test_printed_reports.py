"""The lab reports in print, as a person hands them in: PDF by the browser, looked at page by page."""

import io

import numpy as np
import pypdfium2
import pytest

from kdengine.recipes import archive
from kdengine.recipes.report import PAGE

pytestmark = pytest.mark.browser

DOTS_PER_MM = 4
MARGIN_MM = 15
WHITE = 250


@pytest.fixture(scope="module", params=[folder.name for folder in archive.folders()])
def printed(request, chromium):
    """The page in the browser, and its PDF."""
    folder = next(each for each in archive.folders() if each.name == request.param)
    tab = chromium.new_page()
    tab.goto((folder / PAGE).as_uri())
    document = pypdfium2.PdfDocument(io.BytesIO(tab.pdf(prefer_css_page_size=True)))
    yield tab, document
    document.close()
    tab.close()


def test_nothing_is_cut_off_at_the_margins(printed):
    """Whatever does not fit a page runs into its margin, where there is no ink."""
    for number, page in enumerate(printed[1]):
        width, height = page.get_size()
        assert (width, height) == pytest.approx((595, 842), abs=1), "A4, in points"
        ink = np.asarray(page.render(scale=DOTS_PER_MM * 25.4 / 72, grayscale=True).to_pil()) < WHITE
        edge = (MARGIN_MM - 1) * DOTS_PER_MM
        assert not ink[:, :edge].any() and not ink[:, -edge:].any(), f"page {number + 1}"


def test_formulas_are_set_and_none_is_left_as_latex(printed):
    tab, document = printed
    text = "".join(page.get_textpage().get_text_range() for page in document)
    assert "\\" not in text
    assert tab.locator("math").count() == tab.locator("h3").count() > 0


def test_every_figure_shows_data(printed):
    """Marks with a size, more than the axes alone."""
    tab, _ = printed
    figures = tab.locator("figure svg")
    assert figures.count() > 0
    for figure in figures.all():
        marks = figure.locator(".mark-symbol path, .mark-line path, .mark-rect path, .mark-rule line")
        sizes = [mark.bounding_box() for mark in marks.all()]
        assert any(box and (box["width"] > 3 or box["height"] > 3) for box in sizes)


def test_pictures_are_whole(printed):
    tab, _ = printed
    for size in tab.locator("img").evaluate_all("all => all.map(each => each.naturalWidth)"):
        assert size > 0
