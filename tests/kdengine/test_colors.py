"""Text in a colour and on one can be read on a light page and on a dark one."""

import re

import pytest
from PIL import ImageColor

from kdengine.colors import BACKGROUND, RIGHT, STUDENTS, TEACHER, WRONG, ink, upon

PAGES = {"#2f2d2b": ("#ffffff", "#f8f8f6"), "#edebe8": ("#171614",)}
"""Colors of a page, and of what lies on it, by the color of its text: those of Streamlit's two themes."""


def contrast(one, other):
    """Of two colors, RGB in 0 to 255, as WCAG 2.2 defines it."""
    luminances = []
    for color in (one, other):
        parts = [part / 255 for part in color]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        luminances.append(sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


def test_the_contrast_of_black_and_white_and_of_a_published_pair():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.478, abs=1e-3)  # the well-known #777


@pytest.mark.parametrize("color", {TEACHER, RIGHT, WRONG, BACKGROUND, *STUDENTS})
def test_a_name_in_a_color_and_a_number_on_it_have_enough_contrast(color):
    share = int(re.fullmatch(rf"color-mix\(in srgb, {color} (\d+)%, currentcolor\)", ink(color))[1]) / 100
    for text, grounds in PAGES.items():
        mixed = [share * ours + (1 - share) * theirs for ours, theirs in
                 zip(ImageColor.getrgb(color), ImageColor.getrgb(text), strict=True)]
        for ground in grounds:
            assert contrast(mixed, ImageColor.getrgb(ground)) >= 4.5
    assert contrast(ImageColor.getrgb(upon(color)), ImageColor.getrgb(color)) >= 4.5
