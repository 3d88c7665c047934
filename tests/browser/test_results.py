"""Results in a real browser: a cell of what is taken for what shows its images, ticked rows lead to Compare."""

import re
from pathlib import Path

import pytest

import kdengine
from benchmarks import real
from benchmarks.real import settle

pytestmark = pytest.mark.browser

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def address(chromium, tmp_path_factory):
    """A server of its own: the runs that other tests leave behind would be other rows and another matrix."""
    with real.server(tmp_path_factory.mktemp("results") / "runs") as at:
        yield at


def test_a_cell_shows_the_images_behind_it(page):
    page.goto("/results")
    settle(page)
    images = kdengine.runs.images_of("digits-resnet8-none", 1, 4)["indices"]
    cell = page.locator(f'[aria-label*="It is: 1; Taken for: 4; Images: {len(images)}"]')
    cell.click()
    expect(page.get_by_text(f"1 taken for 4: {len(images)} test images")).to_be_visible()
    for index in images:
        expect(page.get_by_text(f"test image {index}", exact=True)).to_be_visible()


def test_ticked_rows_are_compared_on_a_picture(page):
    page.goto("/results")
    settle(page)
    page.locator('[data-testid="stVegaLiteChart"] svg').nth(2).wait_for()  # with the charts everything has its place
    grid = page.locator('[data-testid="stDataFrame"]').first
    grid.click(position={"x": 20, "y": 95})  # the second row: logit matching
    expect(page.get_by_text("Tick rows in the table")).to_be_hidden()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as a sweep file").click()
    written = kdengine.recipes.write_sweep(["digits-resnet8-kd"], kdengine.__version__)
    assert Path(download.value.path()).read_text() == written
    page.get_by_role("link", name="Compare these").click()
    expect(page.get_by_role("heading", name="Compare", level=1)).to_be_visible()
    settle(page)
    expect(page).to_have_url(re.compile("digits\\+students=Logit"))


def test_a_copied_link_opens_with_the_ticked_rows_and_the_cell(page):
    """Also after another page, and what is chosen anew takes the place of what the link said."""
    page.goto("/results?row=digits-resnet8-kd&cell=1&cell=4")
    settle(page)
    expect(page.get_by_role("link", name="Compare these")).to_be_visible()
    expect(page.get_by_text("1 taken for 4: ")).to_be_visible()
    settle(page)
    page.locator('[data-testid="stVegaLiteChart"] svg').nth(4).wait_for()
    page.locator('[aria-label*="It is: 2; Taken for: 9;"]').click()
    expect(page.get_by_text("2 taken for 9: ")).to_be_visible()
    expect(page).to_have_url(re.compile(r"row=digits-resnet8-kd&cell=2&cell=9$"))
    settle(page)
    page.get_by_role("link", name="Methods").first.click()
    expect(page.get_by_role("heading", name="Methods", level=1)).to_be_visible()
    settle(page)
    page.get_by_role("link", name="Results").first.click()
    expect(page.get_by_text("2 taken for 9: ")).to_be_visible()
    expect(page.get_by_role("link", name="Compare these")).to_be_visible()
    expect(page).to_have_url(re.compile(r"row=digits-resnet8-kd&cell=2&cell=9$"))
    settle(page)
    page.locator('[data-testid="stVegaLiteChart"] svg').nth(4).wait_for()
    page.locator('[data-testid="stDataFrame"]').first.click(position={"x": 20, "y": 95})  # the row that is ticked
    expect(page.get_by_text("Tick rows in the table")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/results\?cell=2&cell=9$"))
