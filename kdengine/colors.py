"""Who is drawn in which colour: the same on every page, in every chart and picture."""

from __future__ import annotations

from collections.abc import Sequence

TEACHER, STUDENT, RIGHT, WRONG = "#4269d0", "#e8710a", "#3a9a5b", "#d64550"
"""The colours of the teacher, the student, the truth and a mistake, the same on every page."""

STUDENTS = ("#e8710a", "#3a9a5b", "#a463f2", "#d64550", "#0e9fad", "#9c6b4e", "#e377c2", "#6b7280")
"""One colour a student, in order; none of them is the teacher's."""

CLASSES = (
    "#606cfc", "#a8000c", "#3ccc00", "#006018", "#fc9000", "#e41890", "#6c5400", "#00ccb4", "#fc543c", "#00c0e4",
    "#6c8400", "#d8b400", "#fc849c", "#00786c", "#006c90", "#cca8d8", "#842478", "#d860fc", "#906c9c", "#b45400",
    "#3c4890", "#249cfc", "#a8b478", "#e4a890", "#a86060", "#7800f0", "#a88448", "#309c60",
)
"""One colour a class of pixels, in order. Any two, and BACKGROUND, are at least 18 apart (CIEDE2000), and each has a
contrast of 2 or more with a white page and with a dark one."""
BACKGROUND = "#8a93a3"


def ink(color: str) -> str:
    """CSS of text in a colour: mixed with the page's own it has a contrast of 4.5 or more, in the dark theme too."""
    return f"color-mix(in srgb, {color} 55%, currentcolor)"


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
