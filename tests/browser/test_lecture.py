"""What a lecturer chooses to hide is hidden by the link alone; who presents sees the page larger, on every page."""

import pytest

from benchmarks.real import settle

pytestmark = pytest.mark.browser

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)


def textbox(page, name):
    return page.get_by_role("textbox", name=name)


def test_a_control_that_is_hidden_is_hidden_for_whoever_follows_the_link(page):
    page.goto("/temperature?of=Typed+logits")
    settle(page)
    expect(textbox(page, "Teacher's logits")).to_be_visible()
    expect(page.locator(".rows > li")).to_have_count(3)  # the page is drawn to its end
    page.get_by_role("button", name="For a lecture").click()
    page.get_by_role("checkbox", name="Teacher's logits").check()
    page.get_by_role("checkbox", name="Hard label").check()
    page.wait_for_url("**hide=teacher_logits&hide=label*")
    expect(textbox(page, "Teacher's logits")).to_be_hidden()
    link = page.url
    page.goto("/results")
    settle(page)
    page.goto(link)
    expect(textbox(page, "Student's logits")).to_be_visible()
    expect(textbox(page, "Teacher's logits")).to_be_hidden()
    expect(page.get_by_text("Hard label", exact=True)).to_have_count(2)  # of the field, and of the bars
    expect(page.get_by_text("Hard label", exact=True).first).to_be_hidden()
    settle(page)
    page.get_by_role("button", name="For a lecture").click()
    page.get_by_role("checkbox", name="Teacher's logits").uncheck()
    expect(textbox(page, "Teacher's logits")).to_be_visible()
    expect(page.get_by_text("Hard label", exact=True).first).to_be_hidden()


def test_a_step_of_learn_is_shown_without_its_question(page):
    page.goto("/learn?step=1&hide=answer-looks-like")
    settle(page)
    expect(page.get_by_text("Besides a 4, which digit does this picture look like?")).to_be_hidden()
    expect(page.get_by_role("heading", name="1.")).to_be_visible()


def test_who_presents_sees_every_page_larger_until_the_end(page):
    page.goto("/learn")
    settle(page)
    title = page.get_by_role("heading", name="1. What a label leaves out")
    usual = title.evaluate("node => node.getBoundingClientRect().height")
    page.get_by_role("button", name="For a lecture").click()
    page.get_by_role("button", name="Present", exact=True).click()
    page.wait_for_url("**present=true*")
    expect(page.get_by_role("link", name="Results", exact=True)).to_be_hidden()
    expect(page.get_by_role("button", name="Stop presenting")).to_be_visible()
    assert title.evaluate("node => node.getBoundingClientRect().height") == pytest.approx(1.4 * usual, rel=0.02)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("button", name="Stop presenting").click()
    expect(page.get_by_role("link", name="Results", exact=True).first).to_be_visible()
    assert "present" not in page.url


@pytest.mark.parametrize("strange", ["%22%7D%3C/style%3E", "a%20b", "*", "x{}"])
def test_what_is_no_name_of_a_control_hides_nothing(page, strange):
    page.goto(f"/temperature?of=Typed+logits&hide={strange}")
    settle(page)
    expect(page.get_by_label("Teacher's logits")).to_be_visible()
