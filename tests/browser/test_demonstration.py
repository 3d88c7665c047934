"""The demonstration as a lecturer gives it: guess, train, pause, one epoch, truth; then other pages and back."""

import re

import pytest

from benchmarks.real import settle

pytestmark = pytest.mark.browser

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)

FITS = "[...document.querySelectorAll('.pinned')].every(row => row.getBoundingClientRect().bottom <= innerHeight)"
"""Whether the lowest bars are on the screen."""


def guess(page, name, value):
    """Move a guess's slider with the keyboard."""
    handle = page.get_by_role("slider", name=name)
    handle.focus()
    for _ in range(abs(value - 50)):
        handle.press("ArrowRight" if value > 50 else "ArrowLeft")


def test_a_lecture_from_the_guess_to_the_truth(page):
    page.set_viewport_size({"width": 1366, "height": 768})
    page.goto("/")
    settle(page)  # the page draws itself anew once its networks are open
    page.get_by_role("button", name="Guess, then watch them learn").click()
    expect(page.get_by_role("heading", name="Distill", level=1)).to_be_visible()
    settle(page)
    # In the link, from which Streamlit takes it out on the way to another page
    page.get_by_role("slider", name="Temperature").press("ArrowRight")
    expect(page).to_have_url(re.compile("temperature=8"))
    guess(page, "Independent student", 60)
    guess(page, "Distilled student", 55)
    settle(page)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text(re.compile(r"Answers after epoch \d+,"))).to_be_visible(timeout=120_000)
    page.get_by_role("button", name="Pause", exact=True).click()
    paused = page.get_by_text(re.compile(r"Paused after epoch \d+ of 15"))
    expect(paused).to_be_visible()
    settle(page)
    at = int(re.search(r"epoch (\d+)", paused.inner_text())[1])
    page.get_by_role("button", name="One epoch", exact=True).click()
    expect(page.get_by_text(f"Paused after epoch {at + 1} of 15")).to_be_visible()
    images = page.get_by_text(re.compile("test image"))
    before = images.all_inner_texts()
    page.get_by_role("button", name="Others", exact=True).click()
    for place, text in enumerate(before):
        expect(images.nth(place)).not_to_have_text(text)
    # All of it is on the screen of a small projector.
    assert page.evaluate(FITS)
    page.reload()
    expect(page.get_by_text(f"Paused after epoch {at + 1} of 15")).to_be_visible()
    page.get_by_role("button", name="Go on", exact=True).click()
    expect(page.get_by_text("you guessed 60")).to_be_visible(timeout=240_000)
    settle(page)
    expect(page.get_by_text("you guessed 55")).to_be_visible()
    taught, alone = (int(text.split()[0]) for text in page.get_by_text(re.compile(r"^\d+ of 100$")).all_inner_texts())
    assert 75 <= alone < taught <= 100
    expect(page.locator('[data-testid="stVegaLiteChart"]')).to_have_count(1)
    assert page.evaluate(FITS)
    first = page.locator(".pinned .bar").nth(25)
    after = first.get_attribute("style")
    page.get_by_role("slider", name="Answers after this epoch").press("Home")
    expect(first).not_to_have_attribute("style", after)
    with page.expect_download() as download:
        page.get_by_role("button", name="Report").click()
    assert "Independent student" in download.value.path().read_text()
    page.get_by_role("link", name="Compare these").click()
    expect(page.get_by_role("heading", name="Compare", level=1)).to_be_visible()
    expect(page.get_by_text("Agreement with the teacher")).to_be_visible()
    expect(page.get_by_text(re.compile("Logit matching, T 8, alpha 1")).first).to_be_visible()
    settle(page)
    page.go_back()
    expect(page.get_by_text("you guessed 60")).to_be_visible()
    page.get_by_role("link", name="Its soft targets").click()
    expect(page.get_by_role("heading", name="Temperature", level=1)).to_be_visible()
    expect(page.get_by_text("T² · KL, the loss term")).to_be_visible()
    settle(page)
    for place in range(3):  # Back leads to where one came from, not through each T
        page.get_by_role("slider", name="Temperature").press("ArrowRight")
        expect(page).to_have_url(re.compile(f"T={8.25 + place / 4:g}"))
        settle(page)
    page.go_back()
    expect(page.get_by_text("you guessed 60")).to_be_visible()
    expect(page.get_by_role("link", name="Compare these")).to_be_visible()
    page.get_by_role("link", name="Its soft targets").click()
    expect(page.get_by_role("heading", name="Temperature", level=1)).to_be_visible()
    settle(page)
    page.get_by_test_id("stTopNavLinkContainer").get_by_role("link", name="Distill").click()
    expect(page.get_by_text("you guessed 60")).to_be_visible()
    page.get_by_role("button", name="Again").click()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()
    assert "demo=" not in page.url
