"""The drawing of a comparison: who is first, what the colours say, and where the PNG puts what."""

from html.parser import HTMLParser
from io import BytesIO

import pytest
from PIL import Image, ImageColor

from explorer import comparison
from explorer.comparison import BORDER, NEUTRAL, SIDE, Card
from kdengine.colors import RIGHT, STUDENT, TEACHER, WRONG

CLASSES = ("cat", "dog", "crane", "crane", "fish", "owl")
PROBABILITIES = (0.05, 0.1, 0.5, 0.2, 0.1, 0.05)
INSIDE = Image.new("RGB", (SIDE - 2 * BORDER, SIDE - 2 * BORDER), "#102030")


def card(truth=None, color=STUDENT, **changed):
    held = {"role": "Student", "name": "resnet8 · kd", "inside": INSIDE, "probabilities": PROBABILITIES,
            "classes": CLASSES, "truth": truth, "color": color}
    return Card(**held | changed)


def text_of(markup):
    found = []
    parser = HTMLParser()
    parser.handle_data = found.append
    parser.feed(markup)
    return [each.strip() for each in found if each.strip()]


def test_the_five_most_likely_classes_and_the_smaller_number_first_in_a_tie():
    assert card().top == [2, 3, 1, 4, 0]


def test_with_fewer_than_five_classes_all_are_listed():
    assert card(classes=("no", "yes"), probabilities=(0.3, 0.7)).top == [1, 0]


def test_right_is_told_by_the_class_number_since_two_classes_share_a_name():
    assert card(truth=2).right is True
    assert card(truth=3).right is False
    assert card().right is None


@pytest.mark.parametrize(("truth", "color"), [(2, RIGHT), (1, WRONG), (None, NEUTRAL)])
def test_the_border_is_green_when_right_and_red_when_wrong_and_grey_when_nobody_knows(truth, color):
    picture = card(truth).picture
    assert picture.size == (SIDE, SIDE)
    for corner in ((0, 0), (SIDE - 1, 0), (0, SIDE - 1), (SIDE - 1, SIDE - 1), (BORDER - 1, SIDE // 2)):
        assert picture.getpixel(corner) == ImageColor.getrgb(color)
    assert picture.getpixel((BORDER, BORDER)) == (0x10, 0x20, 0x30)


def test_the_verdict_is_a_word_too():
    assert text_of(comparison.heading(card(2)))[0] == "✓ right"
    assert text_of(comparison.heading(card(1)))[0] == "✗ wrong"
    assert text_of(comparison.heading(card())) == ["Student", "resnet8 · kd"]


def test_bars_name_the_class_its_probability_and_the_true_one():
    told = text_of(comparison.bars(card(1)))
    assert told == ["crane", "50.0%", "crane", "20.0%", "✓", "dog", "10.0%", "fish", "10.0%", "cat", "5.0%"]


def test_a_bar_is_as_long_as_the_probability_and_has_the_colour_of_the_role():
    markup = comparison.bars(card())
    assert f"{STUDENT} 38%, transparent) 50.00%" in markup
    assert TEACHER in comparison.bars(card(color=TEACHER))


def test_a_name_is_text_and_never_markup():
    hostile = "<script>alert('x')</script>\""
    for markup in (comparison.heading(card(name=hostile, role=hostile)),
                   comparison.bars(card(classes=(hostile, *CLASSES[1:])))):
        assert "<script" not in markup
        assert hostile in text_of(markup)


@pytest.mark.parametrize(("share", "text"), [
    (0, "0.0%"), (0.0004, "< 0.1%"), (0.001, "0.1%"), (0.1234, "12.3%"), (0.9994, "> 99.9%"), (1, "100.0%"),
])
def test_percent_claims_neither_certainty_nor_impossibility(share, text):
    assert comparison.percent(share) == text


def test_a_figure_that_does_not_exist_is_a_dash():
    assert comparison.figure(float("nan")) == "–"
    assert comparison.figure(-0.12349) == "-0.123"


def test_the_square_is_the_centre_of_the_picture():
    picture = Image.new("RGB", (300, 100), "red")
    picture.paste("blue", (100, 0, 200, 100))
    square = comparison.square(picture)
    assert square.size == INSIDE.size
    # The resampling looks two source pixels beyond an edge that falls between two colours at most.
    assert square.crop((20, 0, square.width - 20, square.height)).getcolors() == [(416 * 456, (0, 0, 255))]


def test_the_sheet_holds_the_original_and_a_column_a_card():
    original = Image.new("RGB", INSIDE.size, "#abcdef")
    cards = [card(2, color=TEACHER), card(2, probabilities=(0.9, *PROBABILITIES[1:]))]
    sheet = comparison.sheet(original, cards, "a\nb")
    assert sheet.width == 2 * 36 + 3 * SIDE + 2 * 28
    borders = [ImageColor.getrgb(color) for color in (NEUTRAL, RIGHT, WRONG)]
    for place, border in enumerate(borders):
        x, y = comparison.column_at(place)
        assert sheet.getpixel((x, y)) == border
        assert sheet.getpixel((x + SIDE - 1, y + SIDE - 1)) == border
        assert sheet.getpixel((x - 1, y)) == (255, 255, 255)
        inside = sheet.getpixel((x + SIDE // 2, y + SIDE // 2))
        assert inside == ((0xAB, 0xCD, 0xEF) if place == 0 else (0x10, 0x20, 0x30))
        title = sheet.crop((x, 0, x + SIDE, y)).getcolors(100_000)
        assert ((31, 36, 48) if place == 0 else border) in [color for _, color in title]


def test_the_sheet_grows_with_the_lines_of_its_caption():
    one, three = (comparison.sheet(INSIDE, [card()], caption) for caption in ("a", "a\nb\nc"))
    assert three.height - one.height == 2 * 34


def test_a_long_name_stays_within_its_column():
    long = card(2, name="n" * 200, classes=("c" * 200,) * 6)
    sheet = comparison.sheet(INSIDE, [long], "x" * 2000)
    x, _ = comparison.column_at(1)
    beyond = sheet.crop((x + SIDE + 1, 0, sheet.width, sheet.height))
    assert beyond.getcolors() == [(beyond.width * beyond.height, (255, 255, 255))]


def test_png_gives_the_same_pixels_back():
    picture = card(2).picture
    again = Image.open(BytesIO(comparison.png(picture)))
    assert again.format == "PNG"
    assert again.tobytes() == picture.tobytes()
