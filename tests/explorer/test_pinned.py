"""Three test images, epoch by epoch: what is drawn of whom, and which epoch."""

import re

import numpy as np
import pytest

from explorer import pinned
from kdengine.colors import STUDENTS, TEACHER, ink

CLASSES = [f"class {number}" for number in range(12)]


def heights(drawn):
    """The bars of each row, in hundredths of its height."""
    return [[float(each) for each in re.findall(r"height:([\d.]+)%", row)]
            for row in drawn.split('<div class="pinned">')[1:]]


def test_softmax_is_the_closed_form():
    logits = np.array([10.0, 2.0, -3.0])
    assert pinned.softened(logits, 1) == pytest.approx([0.99966, 0.00034, 0.0000023], abs=5e-6)
    assert pinned.softened(logits, 5) == pytest.approx([0.784, 0.158, 0.058], abs=5e-4)
    assert pinned.softened(np.array([1e4, 0.0]), 1) == pytest.approx([1, 0])


def test_all_rows_have_one_scale_and_show_the_classes_that_the_first_finds_likeliest():
    teacher = np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01, 0.0])
    student = np.eye(12)[11] * 0.6 + 0.4 / 12
    drawn = pinned.bars([("Teacher", TEACHER, teacher), ("kd", STUDENTS[0], student)], CLASSES, truth=11)
    first, second = heights(drawn)
    assert len(first) == len(second) == 10  # the true one in place of the least likely of ten
    assert first[:2] == pytest.approx([75 / 1.3, 75 * 2 / 3 / 1.3], abs=0.1)  # whatever the student answers
    assert second[0] == pytest.approx(75 * student[0] / (1.3 * 0.3), abs=0.1)
    assert second[-1] == 75 and drawn.count('class="bar beyond"') == 1  # 63 % where 39 % fill a row
    assert drawn.count("class=truth") == 2
    assert f"color:{ink(TEACHER)}" in drawn and f"background:{STUDENTS[0]}" in drawn
    said = re.findall(r'role="img" aria-label="([^"]*)"', drawn)
    assert len(said) == 2 and said[0].startswith("class 0: 30.0%, class 1: 20.0%, ")
    assert said[1].endswith(", class 11: 63.3%")


def test_names_are_texts():
    drawn = pinned.bars([("<b>x</b>", TEACHER, np.array([0.5, 0.5]))], ["<i>", "b"], truth=1)
    assert "<b>" not in drawn and "<i>" not in drawn
