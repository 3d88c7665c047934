"""Temperature in a real browser: the slider, the views, a digit that is drawn, pictures chosen by a click."""

import math
import re

import pytest

from benchmarks.real import settle
from explorer import digits
from explorer.temperature import canvas, static

pytestmark = pytest.mark.browser

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)


def softened(logits, temperature):
    """softmax(logits / T), independently of the engine and of the page."""
    weights = [math.exp((value - max(logits)) / temperature) for value in logits]
    return [weight / sum(weights) for weight in weights]


def bars(page, role):
    """The probabilities that the bars of one role show, in the order of the classes."""
    found = page.locator(f'.rows .bar[data-role="{role}"]')
    return [float(found.nth(place).get_attribute("data-probability")) for place in range(found.count())]


def test_dragging_the_temperature_redraws_the_bars_and_puts_t_into_the_link(page):
    sent = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    page.goto("/temperature?of=Typed+logits&T=1")
    slider = page.locator("input[type=range]")
    slider.wait_for()
    settle(page)
    assert bars(page, "teacher") == pytest.approx([0.99966, 0.00034, 0.0000023], abs=5e-6)
    sent.clear()
    slider.hover()  # it stands still
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.1, middle)
    page.mouse.down()
    seen = []
    for share in (0.3, 0.5, 0.7):
        page.mouse.move(box["x"] + box["width"] * share, middle, steps=3)
        temperature = float(page.locator("[data-quantity=temperature]").get_attribute("data-value"))
        assert bars(page, "teacher") == pytest.approx(softened([10, 2, -3], temperature), abs=1e-3)
        seen.append(temperature)
    assert seen[0] < seen[1] < seen[2]
    assert sent == []  # redrawn in the browser: the server hears of it when the slider is let go
    page.mouse.up()
    page.wait_for_url(f"**T={seen[-1]:g}*")
    entropy = -sum(p * math.log(p) for p in softened([10, 2, -3], seen[-1]))
    shown = page.locator("[data-quantity=teacher-entropy]").get_attribute("data-value")
    assert float(shown) == pytest.approx(entropy, abs=1e-3)
    page.reload()
    settle(page)
    expect(page.locator("[data-quantity=temperature]")).to_have_attribute("data-value", f"{seen[-1]:g}")


def test_the_temperature_moves_by_keyboard(page):
    page.goto("/temperature?of=Typed+logits&T=5")
    slider = page.locator("input[type=range]")
    slider.wait_for()
    assert bars(page, "teacher") == pytest.approx([0.784, 0.158, 0.058], abs=5e-4)
    slider.focus()
    slider.press("End")
    assert bars(page, "teacher") == pytest.approx(softened([10, 2, -3], 20), abs=1e-3)
    page.wait_for_url("**T=20*")


def test_bad_logits_get_a_sentence_and_lose_nothing(page):
    page.goto("/temperature?of=Typed+logits")
    field = page.get_by_label(re.compile("Teacher.*logits", re.IGNORECASE))
    field.fill("10, two, -3")
    field.press("Enter")
    expect(page.get_by_role("alert").first).to_contain_text("two")
    assert bars(page, "teacher") == pytest.approx(softened([10, 2, -3], 4), abs=1e-3)


def values(page, selector, name):
    page.locator(selector).first.wait_for()
    return [float(each.get_attribute(f"data-{name}")) for each in page.locator(selector).all()]


def test_the_gradient_of_both_parts_of_the_loss_is_drawn(page):
    page.goto("/temperature?of=Typed+logits&chart=Gradient&T=5")
    settle(page)
    teacher, student = softened([10, 2, -3], 5), softened([4, 2.5, 0], 5)
    wanted = [5 * (mine - theirs) for mine, theirs in zip(student, teacher, strict=True)]
    assert values(page, ".bar[data-role=teacher]", "gradient") == pytest.approx(wanted, abs=1e-9)
    plain = softened([4, 2.5, 0], 1)
    assert values(page, ".bar[data-role=label]", "gradient") == pytest.approx(
        [plain[0] - 1, plain[1], plain[2]], abs=1e-9)
    assert page.locator(".bar.below").count() == 2  # the true class is pushed up, by the label and by the teacher
    assert sum(wanted) == pytest.approx(0)


def test_a_logarithmic_bar_loses_a_sixth_of_its_length_with_each_tenth(page):
    page.goto("/temperature?of=Typed+logits&chart=Logarithmic&T=1")
    page.locator(".bar[data-role=teacher]").first.wait_for()
    lengths = [float(each.evaluate("node => node.style.getPropertyValue('--p')"))
               for each in page.locator(".bar[data-role=teacher]").all()]
    assert lengths == pytest.approx([1 + math.log10(share) / 6 for share in softened([10, 2, -3], 1)], abs=1e-9)


def test_every_class_has_its_curve_over_t_and_its_share_where_the_line_is(page):
    page.goto("/temperature?of=Typed+logits&chart=Over+T&T=2&names=cat,dog,sea")
    settle(page)
    assert values(page, "figure:first-child .share", "probability") == pytest.approx(softened([10, 2, -3], 2), abs=1e-9)
    student = values(page, "figure:last-child .share", "probability")
    assert student == pytest.approx(softened([4, 2.5, 0], 2), abs=1e-9)
    path = page.locator("svg[data-role=teacher] path[data-class=dog]").get_attribute("d")
    heights = [float(point.split(",")[1]) for point in path[1:].split("L")]
    assert heights[-1] == pytest.approx(300 * (1 - softened([10, 2, -3], 20)[1]), abs=0.01)
    slider = page.get_by_label("Temperature T")
    slider.focus()
    slider.press("End")
    last = softened([10, 2, -3], 20)
    assert values(page, "figure:first-child .share", "probability") == pytest.approx(last, abs=1e-9)


def test_the_likeliest_class_comes_first_when_it_is_asked_for(page):
    page.goto("/temperature?of=Typed+logits&teacher_logits=1,3,2&student_logits=0,0,0&names=a,b,c")
    settle(page)
    rows = page.locator(".rows > li")
    expect(rows).to_have_text([re.compile("^a"), re.compile("^b"), re.compile("^c")])
    page.get_by_text("Likeliest first").click()
    expect(rows).to_have_text([re.compile("^b"), re.compile("^c"), re.compile("^a")])
    page.wait_for_url("**sorted=true*")


def test_a_picture_worth_a_look_is_chosen_by_a_click(page):
    page.goto("/temperature")
    settle(page)
    picture = page.get_by_role("group", name="Richest in dark knowledge, at T = 1").get_by_role("button").first
    number = re.search(r"picture (\d+):", picture.get_attribute("aria-label"))[1]
    picture.click()
    expect(page.get_by_label("Test picture, 0 to 358")).to_have_value(number)
    page.wait_for_url(f"**example={number}*")
    wanted = softened(digits.logits(digits.TEACHER_NAME, int(number)), 4)
    expect(page.locator(".bar[data-role=teacher]").first).to_have_attribute(
        "data-probability", re.compile(f"^{wanted[0]:.9f}"[:9]))


def stroke(page, points):
    """Draw from point to point of the field, given as shares of its sides."""
    box = page.locator("canvas").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()


def test_a_drawn_digit_is_answered_and_stays_in_the_link(page):
    page.goto("/temperature?of=Draw+a+digit")
    settle(page)
    stroke(page, [(0.5, 0.2), (0.5, 0.8)])
    page.wait_for_url("**drawing=*")
    counts = canvas.read_counts(re.search("drawing=(\\w+)", page.url)[1])
    columns = [sum(counts[column::8]) for column in range(8)]
    assert columns[0] == columns[7] == 0 and columns[3] == columns[4]  # a stroke in the middle, as wide on either side
    rows = [sum(counts[8 * row:8 * row + 8]) for row in range(8)]
    assert min(rows) > 0 and len(set(rows[1:-1])) == 1  # over the whole height, however small it was drawn
    answers = page.locator(".bar[data-role=teacher]")
    expect(answers).to_have_count(10)
    likeliest = max(range(10), key=lambda place: float(answers.nth(place).get_attribute("data-probability")))
    assert likeliest == 1
    page.reload()
    settle(page)
    expect(answers).to_have_count(10)
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("Draw a digit in the black field")).to_be_visible()
    assert "drawing" not in page.url


@pytest.fixture(scope="module")
def static_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("static") / "temperature.html"
    file.write_text(static.page(), encoding="utf-8")
    return file


def test_the_file_that_needs_no_server_answers_as_the_page_does(page, static_file):
    page.goto(static_file.as_uri())
    wanted = softened(digits.logits(digits.TEACHER_NAME, 24), 4)
    assert bars(page, "teacher") == pytest.approx(wanted, abs=1e-4)
    page.get_by_role("spinbutton", name="Test picture").fill("7")
    page.locator("#student").select_option("Independent student")
    slider = page.get_by_label("Temperature T")
    slider.focus()
    slider.press("End")
    expect(page.locator("[data-quantity=temperature]")).to_have_text("T = 20")
    assert bars(page, "teacher") == pytest.approx(softened(digits.logits(digits.TEACHER_NAME, 7), 20), abs=1e-4)
    assert bars(page, "student") == pytest.approx(softened(digits.logits(digits.ALONE, 7), 20), abs=1e-4)
    page.locator("#source").select_option("Typed logits")
    expect(page.locator("[data-quantity=temperature]")).to_have_text("T = 20")
    assert bars(page, "teacher") == pytest.approx(softened([10, 2, -3], 20), abs=1e-9)
    page.locator("#teacher-logits").fill("1, two, 3")
    expect(page.get_by_role("alert")).to_contain_text("“1, two, 3” is no list of 2 to 100 numbers")
    page.locator("#view").select_option("Over T")
    page.locator("#teacher-logits").fill("1, 2, 3")
    expect(page.get_by_role("alert")).to_be_hidden()
    assert values(page, "figure:first-child .share", "probability") == pytest.approx(softened([3, 2, 1], 20), abs=1e-9)
