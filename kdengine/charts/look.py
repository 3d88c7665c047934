"""How every chart looks, and what it tells who cannot see it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
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
_LEGEND_ROW, _LEGEND_ROWS = 20, 3
"""Pixels of a row of a legend, and for how many HEIGHT has room."""

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


def height(names: Collection[str]) -> int:
    """Pixels of a chart with a legend of these names below it: a page takes the legend's rows from the chart."""
    rows = math.ceil(len(names) / _columns(names))
    return HEIGHT + _LEGEND_ROW * max(0, rows - _LEGEND_ROWS)


def _columns(names: Collection[str]) -> int:
    """As many names beside each other as a phone has room for: what does not fit would be cut off."""
    return 2 if max(map(len, names), default=0) <= _SHORT_NAME else 1
