"""Who is drawn in which colour, by what name: the same on every page, in every chart and picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

TEACHER, STUDENT, RIGHT, WRONG = "#4269d0", "#e8710a", "#3a9a5b", "#d64550"
"""The colours of the teacher, the student, the truth and a mistake, the same on every page."""

INDEPENDENT = "Independent student"
"""What a student without a teacher is called."""
ALONE = "#6b7280"
"""The colour of the independent student."""
STUDENTS = (STUDENT, "#680cf2", "#0cc4f2", "#594d1b", "#cc9570", "#3dccaf", "#5d4680")
"""One colour a student that has a teacher, in order. These, ALONE and TEACHER are told apart by color-blind eyes too
(protanopia, deuteranopia), and none is that of the truth or of a mistake."""

CLASSES = (
    "#606cfc", "#a8000c", "#3ccc00", "#006018", "#fc9000", "#e41890", "#6c5400", "#00ccb4", "#fc543c", "#00c0e4",
    "#6c8400", "#d8b400", "#fc849c", "#00786c", "#006c90", "#cca8d8", "#842478", "#d860fc", "#906c9c", "#b45400",
    "#3c4890", "#249cfc", "#a8b478", "#e4a890", "#a86060", "#7800f0", "#a88448", "#309c60",
)
"""One colour a class of pixels, in order. Any two, and BACKGROUND, are at least 18 apart (CIEDE2000), and each has a
contrast of 2 or more with a white page and with a dark one."""
BACKGROUND = "#8a93a3"


def student_colors(names: Sequence[str]) -> list[str]:
    """A colour for each student, by what it is called: ALONE for the independent one, STUDENTS in turn for the others.

    Of a checkpoint's name, as `cifar10-independent-student`, it is told too. A second independent student has one of
    STUDENTS: two of one colour would not be told apart.
    """
    independent = next((place for place, name in enumerate(names)
                        if INDEPENDENT.lower() in name.lower().replace("-", " ")), None)
    others = itertools.cycle(STUDENTS)
    return [ALONE if place == independent else next(others) for place in range(len(names))]


def ink(color: str) -> str:
    """CSS of text in a colour: mixed with the page's own it has a contrast of 4.5 or more, in the dark theme too."""
    return f"color-mix(in srgb, {color} 50%, currentcolor)"


def upon(color: str) -> str:
    """CSS of text that lies on a colour, black or white: that of the two with the higher contrast, 4.5 or more."""
    parts = (int(color[place:place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # WCAG 2.2
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def class_colors(names: Sequence[str]) -> list[str]:
    """A colour for each class of pixels: BACKGROUND for the one of that name, CLASSES in turn for the others."""
    others = iter(range(len(names)))
    return [BACKGROUND if name == "background" else CLASSES[next(others) % len(CLASSES)] for name in names]
