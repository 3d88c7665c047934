"""The pages, in the order of the navigation. Adding one: a file in `pages/`, a line here and one in the README."""

from __future__ import annotations

PAGES = {
    "Start": "",
    "Learn": "Understand it in eight steps, by guessing and doing.",
    "Temperature": "Move T and watch dark knowledge appear.",
    "Methods": "Look up any method: its formula, its code, and what it gained.",
    "Distill": "Train students side by side and watch them learn.",
    "Recipes": "Run a lab sheet's experiment, and take its report home.",
    "Compare": "See where teacher and student look, on your own photo too.",
    "Segmentation": "See what they take each pixel for, and where they err.",
    "Results": "Read what was measured, and whether a gain is real.",
}
"""By title, what a page promises on the first one; that one itself promises nothing."""


def file(title: str) -> str:
    """A page's file, from the folder of the entry, as Streamlit asks for it."""
    return f"../pages/{title.lower()}.py"
