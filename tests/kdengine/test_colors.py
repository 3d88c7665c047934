"""Text in a colour and on one can be read on a light page and on a dark one."""

import itertools
import math
import re

import pytest
from PIL import ImageColor

from kdengine.colors import ALONE, BACKGROUND, RIGHT, STUDENTS, TEACHER, WRONG, ink, student_colors, upon

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


@pytest.mark.parametrize("color", sorted({TEACHER, RIGHT, WRONG, BACKGROUND, ALONE, *STUDENTS}))
def test_a_name_in_a_color_and_a_number_on_it_have_enough_contrast(color):
    share = int(re.fullmatch(rf"color-mix\(in srgb, {color} (\d+)%, currentcolor\)", ink(color))[1]) / 100
    for text, grounds in PAGES.items():
        mixed = [share * ours + (1 - share) * theirs for ours, theirs in
                 zip(ImageColor.getrgb(color), ImageColor.getrgb(text), strict=True)]
        for ground in grounds:
            assert contrast(mixed, ImageColor.getrgb(ground)) >= 4.5
    assert contrast(ImageColor.getrgb(upon(color)), ImageColor.getrgb(color)) >= 4.5


def test_the_independent_student_is_grey_and_the_others_take_their_turns():
    assert student_colors(["Hints", "Independent student · resnet8", "Logit matching"]) == [
        STUDENTS[0], ALONE, STUDENTS[1]]
    assert student_colors(["32-masks-hints", "32-masks-independent-student · fpn_tiny"]) == [STUDENTS[0], ALONE]
    assert student_colors(["Independent student", "Independent student (2)"]) == [ALONE, STUDENTS[0]]
    assert student_colors([f"alpha {each}" for each in range(8)]) == [*STUDENTS, STUDENTS[0]]


MACHADO = {
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
"""What is seen of linear RGB: Machado, Oliveira and Fernandes 2009, severity 1."""


@pytest.mark.parametrize("sight", MACHADO)
def test_students_and_teacher_are_told_apart_by_color_blind_eyes_too(sight):
    seen = {color: lab(color, MACHADO[sight]) for color in (TEACHER, ALONE, *STUDENTS)}
    distances = {(one, other): math.dist(seen[one], seen[other]) for one, other in itertools.combinations(seen, 2)}
    assert min(distances.values()) > 20, min(distances, key=distances.get)


def lab(color, matrix):
    """CIELAB (D65) of a color as an eye sees it."""
    parts = [part / 255 for part in ImageColor.getrgb(color)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    seen = [min(1, max(0, sum(weight * part for weight, part in zip(row, linear, strict=True)))) for row in matrix]
    xyz = [sum(weight * part for weight, part in zip(row, seen, strict=True)) / white for row, white in (
        ((0.4124564, 0.3575761, 0.1804375), 0.95047), ((0.2126729, 0.7151522, 0.0721750), 1.0),
        ((0.0193339, 0.1191920, 0.9503041), 1.08883))]
    x, y, z = [value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in xyz]
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)
