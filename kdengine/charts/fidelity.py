"""Heat-map fidelity: how much each student's maps are like the teacher's, a dot an image, above what controls get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from kdengine.charts.look import GRAY, told

_NAME, _DOTS, _CONTROL, _GAP = 24, 60, 24, 16
"""Pixels, from above, of a student's name, its dots, each of its controls, and the space before the next student."""
_AXIS = 52
"""Pixels of the axis below, which a page takes from the chart."""
_SPREAD = 0.618034
"""The golden ratio's: multiples of it, less their whole part, lie evenly between 0 and 1 however many there are."""


def likeness(rows: Sequence[dict[str, Any]], title: str, picture: int | None = None) -> alt.LayerChart:
    """How much heat maps are like the teacher's: a dot an image, which can be chosen (`dot`: image), a band a student.

    Rows, one a student: name and color; values, a number an image; mean, low and high of its interval; controls, the
    mean, low and high of each by its name; picture, the likeness of the picture that stands on the page, drawn as a
    diamond. title: of the axis. picture: that picture's place among the images; None where it is none.
    A dot's height in its band says nothing: it keeps the dots apart.
    """
    tops = [0]
    for row in rows:
        tops.append(tops[-1] + _NAME + _DOTS + _CONTROL * len(row["controls"]) + _GAP)
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[0, tops[-1]], reverse=True, nice=False))
    x = alt.X("value:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
    color = alt.Color("name:N", legend=None, scale=alt.Scale(
        domain=[row["name"] for row in rows], range=[row["color"] for row in rows]))
    names, dots, means, controls, pictures = _marks(rows, tops, picture)
    tips = [alt.Tooltip("name:N", title="Maps"), alt.Tooltip("value:Q", title="Mean", format=".3f"),
            alt.Tooltip("low:Q", title="95% from", format=".3f"), alt.Tooltip("high:Q", title="to", format=".3f")]
    beside = alt.Chart(alt.Data(values=controls)).encode(y=y, tooltip=tips)
    drawn = alt.LayerChart(layer=[
        alt.Chart(alt.Data(values=dots), name="dots").mark_point(
            filled=True, size=45, opacity=0.5, cursor="pointer", aria=False).encode(
            x=x, y=y, color=color, tooltip=[
                alt.Tooltip("image:Q", title="Test image"), alt.Tooltip("name:N", title="Student"),
                alt.Tooltip("value:Q", title=title, format=".3f")]).add_params(
            alt.selection_point(name="dot", fields=["image"])),
        alt.Chart(alt.Data(values=means)).mark_rect(opacity=0.35, color=GRAY, aria=False).encode(
            x="low:Q", x2="high:Q", y=y, y2="bottom:Q"),
        alt.Chart(alt.Data(values=means)).mark_rule(strokeWidth=2, color="currentColor").encode(
            x=x, y=y, y2="bottom:Q", tooltip=tips),
        beside.mark_rule(strokeWidth=2, color=GRAY, aria=False).encode(x="low:Q", x2="high:Q"),
        beside.mark_tick(thickness=3, height=14, color=GRAY).encode(x=x),
        beside.mark_text(align="right", dx=-8, baseline="middle").encode(x="low:Q", text="name:N").transform_filter(
            "datum.room === 'left'"),
        beside.mark_text(align="left", dx=8, baseline="middle").encode(x="high:Q", text="name:N").transform_filter(
            "datum.room === 'right'"),
        alt.Chart(alt.Data(values=pictures)).mark_point(
            shape="diamond", size=160, strokeWidth=2.5, color="currentColor", opacity=1).encode(
            x=x, y=y, tooltip=[alt.Tooltip("value:Q", title="The picture above", format=".3f")]),
        alt.Chart(alt.Data(values=names)).mark_text(align="left", baseline="middle", fontWeight="bold").encode(
            x=alt.value(0), y=y, text="name:N"),
    ]).properties(height=tops[-1] + _AXIS)
    return told(drawn, title[0].upper() + title[1:], [_said(row) for row in rows])


def _marks(rows: Sequence[dict[str, Any]], tops: Sequence[int], picture: int | None) -> tuple[list, ...]:
    """The values of names, dots, means, controls and pictures; y in pixels from above."""
    every = [value for row in rows for value in row["values"]]
    middle = (min(every) + max(every)) / 2
    names, dots, means, controls, pictures = [], [], [], [], []
    for row, top in zip(rows, tops, strict=False):
        name, start = row["name"], top + _NAME
        names.append({"name": name, "y": top + _NAME / 2})
        dots += [{"name": name, "image": image, "value": value, "y": _height(start, image)}
                 for image, value in enumerate(row["values"])]
        means.append({"name": name, "value": row["mean"], "low": row["low"], "high": row["high"],
                      "y": start, "bottom": start + _DOTS})
        for place, (control, (mean, low, high)) in enumerate(row["controls"].items()):
            controls.append({"name": control, "value": mean, "low": low, "high": high,
                             "y": start + _DOTS + _CONTROL * (place + 0.5),
                             "room": "left" if mean > middle else "right"})
        pictures.append({"name": name, "value": row["picture"],
                         "y": start + _DOTS / 2 if picture is None else _height(start, picture)})
    return names, dots, means, controls, pictures


def _height(start: int, image: int) -> float:
    return start + 5 + (_DOTS - 10) * (image * _SPREAD % 1)


def _said(row: dict[str, Any]) -> str:
    beside = "".join(f", {name} {mean:.3f}" for name, (mean, _, _) in row["controls"].items())
    return (f"{row['name']}: {row['mean']:.3f} ({row['low']:.3f} to {row['high']:.3f}), image by image from "
            f"{min(row['values']):.3f} to {max(row['values']):.3f}{beside}, the picture above "
            f"{row['picture']:.3f}")
