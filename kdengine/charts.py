"""Altair charts built from records, for pages and reports alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from kdengine.colours import STUDENTS, TEACHER

_HEIGHT = 320
_GREY = "#8a93a3"
"""Readable on white and on black."""


def accuracy_curves(histories: Mapping[str, Sequence[dict[str, Any]]], teacher: float | None = None) -> alt.LayerChart:
    """Validation accuracy over the epochs, one line a run; the teacher's own accuracy as a dashed line.

    histories: rows as `runs.history` gives them, by the name to show. teacher: in [0, 1], None draws no line.
    """
    values = [
        {"run": name, "epoch": row["epoch"], "accuracy": row["validation"]["top1"]}
        for name, rows in histories.items() for row in rows
    ]
    colour = _by_run(histories, teacher is not None)
    layers = [alt.Chart(alt.Data(values=values)).mark_line(point=_few(histories)).encode(
        x=_epochs(),
        y=alt.Y("accuracy:Q", title="Validation accuracy", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        color=colour,
        tooltip=[alt.Tooltip("run:N", title="Run"), alt.Tooltip("epoch:Q", title="Epoch"),
                 alt.Tooltip("accuracy:Q", title="Validation accuracy", format=".2%")],
    )]
    if teacher is not None:
        line = alt.Chart(alt.Data(values=[{"run": "teacher", "accuracy": teacher}]))
        layers.append(line.mark_rule(strokeDash=[6, 4], strokeWidth=2).encode(
            y="accuracy:Q", color=colour,
            tooltip=[alt.Tooltip("run:N", title="Run"),
                     alt.Tooltip("accuracy:Q", title="Validation accuracy", format=".2%")],
        ))
    return alt.layer(*layers).properties(height=_HEIGHT)


def term_curves(histories: Mapping[str, Sequence[dict[str, Any]]]) -> alt.Chart:
    """Every weighted term of every run's training loss over the epochs: colour is the run, dash is the term."""
    values = [
        {"run": name, "epoch": row["epoch"], "term": term.replace("_", " "), "value": value}
        for name, rows in histories.items() for row in rows for term, value in row["terms"].items()
    ]
    return alt.Chart(alt.Data(values=values)).mark_line(point=_few(histories)).encode(
        x=_epochs(),
        y=alt.Y("value:Q", title="Training loss"),
        color=_by_run(histories, False),
        strokeDash=alt.StrokeDash("term:N", legend=alt.Legend(
            title=None, orient="bottom", columns=3, symbolType="stroke", symbolStrokeColor=_GREY,
            symbolFillColor=_GREY, symbolOpacity=1, symbolStrokeWidth=2, symbolSize=300)),
        tooltip=[alt.Tooltip("run:N", title="Run"), alt.Tooltip("term:N", title="Term"),
                 alt.Tooltip("epoch:Q", title="Epoch"), alt.Tooltip("value:Q", title="Weighted value", format=".4f")],
    ).properties(height=_HEIGHT)


def _epochs() -> alt.X:
    return alt.X("epoch:Q", title="Epoch", axis=alt.Axis(tickMinStep=1, format="d"))


def _few(histories: Mapping[str, Sequence[dict[str, Any]]]) -> bool:
    """Whether each epoch gets a dot: a single epoch is no line, a hundred dots hide one."""
    return max(map(len, histories.values()), default=0) <= 20


def _by_run(histories: Mapping[str, Any], with_teacher: bool) -> alt.Color:
    names = list(histories)
    colours = [STUDENTS[place % len(STUDENTS)] for place in range(len(names))]
    if with_teacher:
        names, colours = ["teacher", *names], [TEACHER, *colours]
    return alt.Color("run:N", scale=alt.Scale(domain=names, range=colours),
                     legend=alt.Legend(title=None, orient="bottom", columns=3, labelLimit=240))
