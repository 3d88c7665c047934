"""How every chart looks, and what it tells who cannot see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import altair as alt

from kdengine.colors import TEACHER, student_colors

HEIGHT = 320
_TEXT = 14
"""Pixels of every text in a chart: to be read from the back of a room."""
GRAY = "#8a93a3"
"""Readable on white and on black."""
_SHORT_NAME = 14
"""Characters."""
_ROW, _FEW_ROWS = 24, 2
"""Pixels of a legend's row, and how many rows leave the lines room enough."""

_Chart = TypeVar("_Chart", alt.Chart, alt.LayerChart)


def told(chart: _Chart, title: str, said: Sequence[str]) -> _Chart:
    """The chart with its numbers in words, for who cannot see it, and texts of a size and a contrast to be read.

    `currentColor` is that of the page around it, light or dark.
    """
    text = {"labelFontSize": _TEXT, "labelColor": "currentColor", "titleFontSize": _TEXT, "titleColor": "currentColor"}
    described = chart.properties(description=f"{title}. {'; '.join(said) or 'Nothing to draw yet'}.")
    return described.configure(
        axis=text, legend=text, text={"fontSize": _TEXT, "color": "currentColor"},
        # Each name beside its row, each number at its line: Streamlit moves the first and the last inwards.
        axisDiscrete={"labelFlush": False}, axisY={"labelFlush": False})


def epoch_axis(last: int | None = None) -> alt.X:
    domain = alt.Undefined if last is None else [0, last]
    return alt.X("epoch:Q", title="Epoch", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(domain=domain))


def few(histories: Mapping[str, Sequence[dict[str, Any]]]) -> bool:
    """Whether each epoch gets a dot: a single epoch is no line, a hundred dots hide one."""
    return max(map(len, histories.values()), default=0) <= 20


def by_run(histories: Mapping[str, Any], with_teacher: bool) -> alt.Color:
    names = list(histories)
    colors = student_colors(names)
    if with_teacher:
        names, colors = ["Teacher", *names], [TEACHER, *colors]
    return alt.Color("run:N", scale=alt.Scale(domain=names, range=colors),
                     legend=alt.Legend(title=None, orient="bottom", columns=_columns(names), labelLimit=300,
                                       symbolSize=100, clipHeight=16))  # pixels: rows as close as their text


def tall(names: Iterable[str]) -> int:
    """Pixels of a chart with a legend of these names below it: a page fits both into that height."""
    named = list(names)
    return HEIGHT + _ROW * max(0, -(-len(named) // _columns(named)) - _FEW_ROWS)


def _columns(names: Sequence[str]) -> int:
    """As many names beside each other as a phone has room for: what does not fit would be cut off."""
    return 2 if max(map(len, names), default=0) <= _SHORT_NAME else 1
