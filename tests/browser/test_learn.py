"""Learn in a real browser: softmax with live numbers, steps done by doing, progress in the link."""

import re

import numpy as np
import pytest

from benchmarks.real import settle
from explorer import digits, glossary, pages
from explorer.learn.labels import INDEX

pytestmark = pytest.mark.browser

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)


def shares(page):
    expect(page.locator("tr[data-class]")).to_have_count(10)  # the table is drawn after the page
    return [float(each.get_attribute("data-probability")) for each in page.locator("tr[data-class]").all()]


def softmax(temperature):
    powers = np.exp(np.array(digits.logits(digits.TEACHER_NAME, INDEX)) / temperature)
    return powers / powers.sum()


def test_softmax_follows_the_hand_and_a_number_lights_up_in_the_formula(page):
    page.goto("/learn?step=2")
    settle(page)
    slider = page.get_by_label("Temperature T")
    np.testing.assert_allclose(shares(page), softmax(1.0), rtol=1e-4)
    page.locator("tr[data-class='8'] td[data-part=power]").hover()
    expect(page.locator(".formula")).to_contain_text("p8 =")
    expect(page.locator(".formula [data-part=power].lit").first).to_be_visible()
    page.locator(".formula [data-part=sum]").first.hover()
    expect(page.locator(".sum.lit")).to_be_visible()
    expect(page.locator("td[data-part=power].lit")).to_have_count(0)
    page.get_by_text("Each gets 10%", exact=True).click()
    expect(page.get_by_text("Steps done, of 8: none yet.")).to_be_visible()
    slider.focus()
    slider.press("End")
    expect(page.locator("[data-quantity=temperature]")).to_have_text("T = 20")
    np.testing.assert_allclose(shares(page), softmax(20.0), rtol=1e-4)
    expect(page.get_by_text("Steps done, of 8: 2.")).to_be_visible()
    page.wait_for_url("**done=2*")
    np.testing.assert_allclose(shares(page), softmax(20.0), rtol=1e-4)  # the page ran again, and T stayed


def test_a_word_opens_its_meaning_where_it_stands(page):
    page.goto("/learn?step=2")
    settle(page)
    word = """() => {
      const ranges = [...(CSS.highlights.get("glossary-word") ?? [])];
      const range = ranges.find((each) => each.toString() === "Softmax");
      return range && range.getBoundingClientRect().toJSON();
    }"""
    page.wait_for_function(word)
    place = page.evaluate(word)
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    expect(page.get_by_role("tooltip")).to_have_text(f"Softmax{glossary.WORDS['Softmax']}")
    page.mouse.move(2, 2)
    expect(page.get_by_role("tooltip")).to_be_hidden()


def test_progress_is_in_the_link_and_words_are_on_every_page(page):
    page.goto("/learn?step=6&done=15")
    settle(page)
    expect(page.get_by_text("Steps done, of 8: 1, 5.")).to_be_visible()
    page.get_by_text("A smaller teacher", exact=True).click()
    expect(page.get_by_text("Choose again.")).to_be_visible()
    page.get_by_text("A layer between them", exact=True).click()
    expect(page.get_by_text("Steps done, of 8: 1, 5, 6.")).to_be_visible()
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page.get_by_role("heading", name="7. Where they look")).to_be_visible()
    expect(page).to_have_url(re.compile("step=7"))
    settle(page)
    for title in pages.PAGES:
        page.get_by_role("link", name=title, exact=True).first.click()
        expect(page).to_have_title(re.compile(title))  # else the page that one leaves is the one that has settled
        settle(page)
        page.get_by_role("button", name="Words").click()
        expect(page.get_by_test_id("stPopoverBody").get_by_text("Kullback-Leibler divergence")).to_be_visible()
        page.keyboard.press("Escape")


def test_whoever_turns_to_another_mistake_ends_the_training(page):
    page.goto("/learn?step=8&lesson+effect=A+short+run+with+it")
    settle(page)
    page.get_by_role("button", name="Train with this mistake").click()
    expect(page.get_by_text("Epoch 1 of 12")).to_be_visible()
    page.get_by_text("Softmax is applied twice", exact=True).click()
    settle(page)
    page.get_by_text("T² is forgotten", exact=True).click()
    settle(page)
    expect(page.get_by_text("A student learns with it, beside one without.")).to_be_visible()
    expect(page.get_by_text("one run each")).to_have_count(0)
    expect(page.get_by_text(re.compile("Epoch . of 12"))).to_have_count(0)
