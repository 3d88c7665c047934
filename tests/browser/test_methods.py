"""The Methods page in the browser: choose, look, try, come back."""

import re

import pytest

from benchmarks.real import settle

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)

pytestmark = pytest.mark.browser


def test_a_method_is_chosen_tried_and_still_chosen_on_the_way_back(page):
    page.goto("/methods")
    expect(page.get_by_role("heading", name="Logit matching kd")).to_be_visible()
    settle(page)
    page.get_by_text("Relations", exact=True).click()
    page.wait_for_url("**/methods?method=fsp")
    settle(page)
    page.get_by_text("Relational distillation", exact=True).click()
    page.wait_for_url("**/methods?method=rkd")
    expect(page.get_by_role("heading", name="Relational distillation rkd")).to_be_visible()
    settle(page)
    page.get_by_role("link", name="Try it").click()
    expect(page.get_by_role("heading", name="Distill", level=1)).to_be_visible()
    chosen = page.get_by_test_id("stMultiSelect").filter(has_text="Methods, trained side by side")
    expect(chosen).to_contain_text("Relational distillation")
    expect(chosen).to_contain_text("Independent student")
    settle(page)
    page.get_by_role("link", name="Methods", exact=True).click()
    expect(page.get_by_role("heading", name="Relational distillation rkd")).to_be_visible()
    page.wait_for_url("**/methods?method=rkd")
    settle(page)
    page.go_back()
    expect(page.get_by_role("heading", name="Distill", level=1)).to_be_visible()


def test_a_long_formula_scrolls_in_its_own_box_on_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/methods?method=activation_boundary")
    formula = page.locator(".st-key-formula .katex-display")
    formula.wait_for()
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    hidden = formula.evaluate("""node => {
        while (node && node.scrollWidth <= node.clientWidth) node = node.parentElement;
        if (!node) return 0;
        node.scrollLeft = 10_000;
        return node.scrollLeft;
    }""")
    assert hidden > 50
    end = formula.locator(".base").last.bounding_box()
    assert end["x"] + end["width"] <= 390


def test_the_link_of_a_source_leads_to_its_paper(page):
    page.goto("/methods?method=rkd")
    link = page.get_by_role("link", name=re.compile("^arXiv 1904.05068"))
    expect(link).to_have_attribute("href", "https://arxiv.org/abs/1904.05068")
