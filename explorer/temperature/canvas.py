"""A field to draw a digit on, with the mouse or a finger, reduced as the digits of the data set were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from kdengine import KDError

KEY = "canvas"
_SIDE = 8
_CHARACTERS = "0123456789abcdefg"
"""0 to 16, one character each: the ink in a block of 4 x 4 pixels."""

_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    KEY,
    html=(_HERE / "canvas.html").read_text(encoding="utf-8"),
    css=(_HERE / "canvas.css").read_text(encoding="utf-8"),
    js=(_HERE / "canvas.js").read_text(encoding="utf-8"),
)


def draw(counts: str, on_counts: Callable[[str], None]) -> None:
    """Draw the field. counts: what was drawn before, as `read_counts` reads it; empty for nothing.

    on_counts: called with them whenever a stroke ends, before the page runs again.
    """
    _mount(key=KEY, data={"counts": counts},
           on_counts_change=lambda: on_counts(st.session_state[KEY]["counts"] or ""))


def read_counts(text: str) -> list[int] | None:
    """The ink in each of 8 x 8 blocks, from 0 to 16; None where nothing is drawn.

    Raises KDError for what is no drawing.
    """
    if not text:
        return None
    if len(text) != _SIDE**2 or any(each not in _CHARACTERS for each in text):
        raise KDError(f"The link's drawing has {len(text)} characters; a drawing has {_SIDE**2}, each from 0 to g.")
    counts = [_CHARACTERS.index(each) for each in text]
    return counts if any(counts) else None
