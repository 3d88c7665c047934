"""The drawing of masks: which pixel gets which colour, what is hatched, and how tiles keep a picture's shape."""

import base64
import math
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageColor

from explorer import segmentation
from explorer.segmentation import SIDE, Tile
from kdengine.colors import BACKGROUND, CLASSES, RIGHT, WRONG, class_colors

RED, BLUE = "#ff0000", "#0000ff"
DARK, LIGHT = (*ImageColor.getrgb("#1f2430"), 255), (255, 255, 255, 255)
VOID = -100


def pixels(layer):
    return np.asarray(layer)


def color(name, alpha=255):
    return (*ImageColor.getrgb(name), alpha)


def text_of(markup):
    found = []
    parser = HTMLParser()
    parser.handle_data = found.append
    parser.feed(markup.split("</style>")[1])
    return [each.strip() for each in found if each.strip()]


def sources(markup):
    return re.findall(r'src="data:image/(\w+);base64,([^"]*)"', markup)


# -- layers ----------------------------------------------------------------------------------------------------------


def test_a_mask_is_painted_pixel_by_pixel_in_its_classes_colours():
    layer = pixels(segmentation.painted(np.array([[0, 1], [1, 0], [1, 1]]), [RED, BLUE]))
    expected = [[color(RED), color(BLUE)], [color(BLUE), color(RED)], [color(BLUE)] * 2]
    assert layer.tolist() == [[list(each) for each in row] for row in expected]


def test_what_counts_nowhere_is_hatched_in_slanted_stripes_of_both_tones():
    mask = np.full((12, 12), VOID)
    mask[0, 0] = 1
    layer = pixels(segmentation.painted(mask, [RED, BLUE]))
    assert tuple(layer[0, 0]) == color(BLUE)
    rest = [tuple(each) for each in layer.reshape(-1, 4)[1:].tolist()]
    assert set(rest) == {DARK, LIGHT}
    assert 0.4 < rest.count(DARK) / len(rest) < 0.6
    np.testing.assert_array_equal(layer[1:, :-1][1:], layer[:-1, 1:][1:])  # the same along the rising diagonal
    assert tuple(layer[5, 0]) != tuple(layer[5, 3])


def test_an_error_map_compares_truth_and_answer_and_lets_the_right_stay_back():
    answer, truth = np.array([[0, 1, 1]]), np.array([[0, 0, VOID]])
    layer = pixels(segmentation.judged(answer, truth))
    assert layer.shape == (192, 3 * 192, 4)  # each pixel of the mask so large that lines have room in it
    right, wrong, void = ({tuple(each) for each in part.reshape(-1, 4).tolist()} for part in np.hsplit(layer, 3))
    ((*hue, alpha),) = right
    assert tuple(hue) == color(RIGHT)[:3] and 0 < alpha < 128
    assert wrong == {color(WRONG), LIGHT}
    assert void == {DARK, LIGHT}


DEUTERANOPIA = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                         [-0.011820, 0.042940, 0.968881]])
"""What is seen of linear RGB: Machado, Oliveira and Fernandes 2009, table of deuteranomaly, severity 1."""


def seen(color):
    """CIE Lab of an sRGB color, 0 to 255, as a deuteranope sees it."""
    parts = np.array(color) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    tristimulus = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ (
        DEUTERANOPIA @ linear).clip(0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(tristimulus > (6 / 29) ** 3, np.cbrt(tristimulus), tristimulus / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("gray", range(0, 256, 15))
def test_right_and_wrong_are_told_apart_without_green_and_red(gray):
    """On a picture of any gray, under the error map as the page opens it."""
    opacity = 0.6
    layer = pixels(segmentation.judged(np.array([[0, 1]]), np.array([[0, 0]]))).astype(float)
    share = opacity * layer[..., 3:] / 255
    shown = share * layer[..., :3] + (1 - share) * gray
    (right,), (line, field) = ([seen(each) for each in np.unique(part.reshape(-1, 3), axis=0)[::-1]]
                               for part in np.hsplit(shown, 2))
    assert np.linalg.norm(field - right) > 10 and np.linalg.norm(line - right) > 10  # a difference of 2.3 is just seen
    assert line[0] - field[0] > 20  # the lines are there whatever the hue
    assert max(abs(line[0] - right[0]), abs(field[0] - right[0])) > 15


def test_the_rim_of_a_region_is_white_within_and_dark_without():
    region = np.zeros((192, 192), dtype=bool)
    region[10:14, 20:25] = True
    layer = pixels(segmentation.outlined(region))
    inner = {(row, column) for row in range(10, 14) for column in range(20, 25)
             if row in (10, 13) or column in (20, 24)}
    outer = {(row, column) for row in range(10, 14) for column in (19, 25)} | {
        (row, column) for row in (9, 14) for column in range(20, 25)}
    for row, column in np.ndindex(192, 192):
        expected = LIGHT if (row, column) in inner else DARK if (row, column) in outer else (0, 0, 0, 0)
        assert tuple(layer[row, column]) == expected


def test_a_region_up_to_the_edge_has_no_rim_there_and_one_of_few_pixels_is_drawn_finer():
    region = np.zeros((64, 64), dtype=bool)
    region[:, :32] = True
    layer = pixels(segmentation.outlined(region))
    assert layer.shape == (192, 192, 4)
    assert [column for column in range(192) if layer[:, column].any()] == [95, 96]
    assert (layer[:, 95] == LIGHT).all() and (layer[:, 96] == DARK).all()


# -- what masks hold -------------------------------------------------------------------------------------------------


def test_the_classes_present_are_those_of_any_mask_without_void():
    assert segmentation.present([np.array([[3, VOID]]), np.array([[1, 1]])]) == [1, 3]
    assert segmentation.has_void(np.array([[3, VOID]])) and not segmentation.has_void(np.array([[3, 0]]))


@pytest.mark.parametrize(("mask", "names", "largest"), [
    ([[0, 0, 0, 1, 2, 2]], ("background", "cat", "dog"), 2),
    ([[0, 0, 0, 1, 2, 2]], ("sky", "cat", "dog"), 0),
    ([[1, 1, 1, 0, 2, 2]], ("pet", "background", "border"), 2),
    ([[0, 0, 0, 0, 0, 0]], ("background", "cat", "dog"), 0),
    ([[VOID, VOID, VOID, VOID, 1, 0]], ("background", "cat", "dog"), 1),
    ([[1, 1, 2, 2, 0, 0]], ("background", "cat", "dog"), 1),
], ids=["thing", "no background", "background in between", "nothing else", "void", "tie"])
def test_the_largest_thing_is_never_the_background_where_there_is_another(mask, names, largest):
    assert segmentation.largest(np.array(mask, dtype=np.int16), names) == largest


def test_a_region_is_the_pixels_of_one_class():
    assert segmentation.region_of(np.array([[0, 1], [VOID, 1]]), 1).tolist() == [[False, True], [False, True]]


# -- tiles and legends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "drawn"), [
    ((64, 64), (480, 480)), ((3000, 1000), (480, 160)), ((10, 40), (120, 480)), ((1, 4000), (1, 480)),
])
def test_a_picture_is_drawn_in_its_own_shape(shape, drawn):
    assert segmentation.drawn(Image.new("RGB", shape)).size == drawn
    assert max(drawn) == SIDE


def test_a_tile_holds_the_picture_and_over_it_the_mask_with_its_opacity():
    picture = Image.new("RGB", (480, 240), "#336699")
    layer = segmentation.painted(np.array([[0, 1]]), [RED, BLUE])
    markup = segmentation.tiles([Tile("Truth", picture, "what is there", mask=layer, opacity=0.25)])
    (form, content), (mask_form, mask) = sources(markup)
    assert (form, mask_form) == ("jpeg", "png")
    shown = Image.open(BytesIO(base64.b64decode(content)))
    assert shown.size == (480, 240)
    assert np.abs(np.asarray(shown).astype(int) - ImageColor.getrgb("#336699")).max() <= 3
    np.testing.assert_array_equal(pixels(Image.open(BytesIO(base64.b64decode(mask)))), pixels(layer))
    assert 'alt="" style="opacity: 0.25"' in markup
    assert 'alt="what is there" style="filter: grayscale(0.50)"' in markup
    assert "aspect-ratio: 480 / 240" in markup and "width: min(100%, 40.000rem)" in markup


def test_without_a_mask_the_picture_keeps_its_colours_and_a_strip_does_not_grow_tall():
    markup = segmentation.tiles([Tile("Picture", Image.new("RGB", (1, 480)), "it")])
    assert "grayscale" not in markup and len(sources(markup)) == 1
    assert "width: min(100%, 0.042rem)" in markup  # 20 rem tall


def test_all_tiles_stand_beside_each_other():
    tile = Tile("Student", Image.new("RGB", (4, 4)), "it", name="net", told=["mIoU"], quiet=["cheap"])
    markup = segmentation.tiles([tile] * 7)
    assert 'style="--columns: 7"' in markup
    assert text_of(markup) == ["Student", "net", "mIoU", "cheap"] * 7


def test_a_name_is_text_and_never_markup():
    hostile = "<script>alert('x')</script>\""
    tile = Tile(hostile, Image.new("RGB", (4, 4)), hostile, name=hostile, told=[hostile], quiet=[hostile])
    for markup in (segmentation.tiles([tile]), segmentation.legend({hostile: RED})):
        assert "<script" not in markup
        assert hostile in text_of(markup)


def test_a_legend_names_its_colours_and_what_is_hatched():
    markup = segmentation.legend({"cat": RED, "dog": BLUE}, void=True)
    assert text_of(markup) == ["cat", "dog", "not counted"]
    assert re.findall(r'style="background: (#\w+)"', markup) == [RED, BLUE]
    assert "repeating-linear-gradient" in markup
    assert text_of(segmentation.legend({"cat": RED})) == ["cat"]


@pytest.mark.parametrize(("count", "text"), [
    (2_811_147, "2.8 M"), (1_000_000, "1.0 M"), (84_123, "84 k"), (900, "1 k"),
])
def test_parameters_are_told_in_thousands_or_millions(count, text):
    assert segmentation.amount(count) == text


# -- the colours -----------------------------------------------------------------------------------------------------


def linear(name):
    values = np.array(ImageColor.getrgb(name)) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(name):
    """CIELAB of an sRGB colour, D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = (np.cbrt(v) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116
               for v in to_xyz @ linear(name) / np.array([0.9505, 1, 1.089]))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def ciede2000(first, second):
    """The colour difference of Sharma, Wu and Dalal 2005, of two CIELAB colours."""
    (l1, a1, b1), (l2, a2, b2) = first, second
    chroma = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    gray = 1.5 - 0.5 * math.sqrt(chroma**7 / (chroma**7 + 25**7))
    c1, c2 = math.hypot(a1 * gray, b1), math.hypot(a2 * gray, b2)
    h1, h2 = (math.degrees(math.atan2(b, a * gray)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0
    d_l, d_c, d_h = l2 - l1, c2 - c1, 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn / 2))
    light, strong, hue = (l1 + l2) / 2, (c1 + c2) / 2, (h1 + turn / 2) % 360
    t = (1 - 0.17 * math.cos(math.radians(hue - 30)) + 0.24 * math.cos(math.radians(2 * hue))
         + 0.32 * math.cos(math.radians(3 * hue + 6)) - 0.2 * math.cos(math.radians(4 * hue - 63)))
    s_l = 1 + 0.015 * (light - 50) ** 2 / math.sqrt(20 + (light - 50) ** 2)
    s_c, s_h = 1 + 0.045 * strong, 1 + 0.015 * strong * t
    rotation = (-2 * math.sqrt(strong**7 / (strong**7 + 25**7))
                * math.sin(math.radians(60 * math.exp(-(((hue - 275) / 25) ** 2)))))
    return math.sqrt((d_l / s_l) ** 2 + (d_c / s_c) ** 2 + (d_h / s_h) ** 2 + rotation * d_c / s_c * d_h / s_h)


@pytest.mark.parametrize(("first", "second", "difference"), [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425), ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
])
def test_the_difference_of_colours_is_the_published_one(first, second, difference):
    assert ciede2000(first, second) == pytest.approx(difference, abs=5e-5)


def test_the_classes_colours_are_distinct():
    colors = [lab(each) for each in (*CLASSES, BACKGROUND)]
    assert len(colors) >= 22  # the classes of VOC, and one more
    assert min(ciede2000(colors[i], colors[j]) for i in range(len(colors)) for j in range(i)) >= 18


@pytest.mark.parametrize("page", ["#ffffff", "#0e1117"])
def test_the_classes_colours_are_seen_on_a_light_and_on_a_dark_page(page):
    def luminance(name):
        return linear(name) @ np.array([0.2126, 0.7152, 0.0722])

    for each in (*CLASSES, BACKGROUND):
        light, dark = sorted((luminance(each), luminance(page)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 2


def test_the_background_is_grey_wherever_it_stands_and_the_colours_come_round_again():
    assert class_colors(["pet", "background", "border"]) == [CLASSES[0], BACKGROUND, CLASSES[1]]
    assert class_colors([f"class {number}" for number in range(30)])[28:] == list(CLASSES[:2])
