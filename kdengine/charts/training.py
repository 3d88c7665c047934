"""How networks learned, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from kdengine.charts.look import GRAY, HEIGHT, by_run, epoch_axis, few, tall, told
from kdengine.colors import RIGHT, WRONG
from kdengine.runs.records import headline, headline_name


def accuracy_curves(
    histories: Mapping[str, Sequence[dict[str, Any]]], teacher: float | None = None, baseline: str | None = None,
    epochs: int | None = None,
) -> alt.LayerChart:
    """The headline on validation data over the epochs, one line a run; the teacher's own as a dashed line.

    histories: rows as `runs.history` gives them, by the name to show. teacher: in [0, 1], None draws no line. baseline:
    the run whose last value is drawn as a dotted line across, to hold the others against. epochs: where the axis ends,
    so that it stands still while runs go on; None is where the rows do.
    """
    values = [
        {"run": name, "epoch": row["epoch"], "accuracy": headline(row["validation"])}
        for name, rows in histories.items() for row in rows
    ]
    named = {headline_name(row["validation"]) for rows in histories.values() for row in rows} or {"accuracy"}
    title = f"Validation {' or '.join(sorted(named))}"
    color = by_run(histories, teacher is not None)
    layers = [alt.Chart(alt.Data(values=values)).mark_line(point=few(histories)).encode(
        x=epoch_axis(epochs),
        y=alt.Y("accuracy:Q", title=title, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        color=color,
        tooltip=[alt.Tooltip("run:N", title="Run"), alt.Tooltip("epoch:Q", title="Epoch"),
                 alt.Tooltip("accuracy:Q", title=title, format=".2%")],
    )]
    if teacher is not None:
        line = alt.Chart(alt.Data(values=[{"run": "Teacher", "accuracy": teacher}]))
        layers.append(line.mark_rule(strokeDash=[6, 4], strokeWidth=2).encode(
            y="accuracy:Q", color=color,
            tooltip=[alt.Tooltip("run:N", title="Run"),
                     alt.Tooltip("accuracy:Q", title=title, format=".2%")],
        ))
    if baseline is not None and histories.get(baseline):
        last = {"run": baseline, "accuracy": headline(histories[baseline][-1]["validation"])}
        line = alt.Chart(alt.Data(values=[last])).mark_rule(strokeDash=[1, 3], strokeWidth=1.5)
        layers.append(line.encode(y="accuracy:Q", color=color))
    said = [f"Teacher: {teacher:.1%}"] if teacher is not None else []
    said += [f"{name}: {headline(rows[-1]['validation']):.1%} after epoch {rows[-1]['epoch']}"
             for name, rows in histories.items() if rows]
    return told(alt.LayerChart(layer=layers).properties(height=tall(histories)), f"{title} over the epochs", said)


def total_losses(histories: Mapping[str, Sequence[dict[str, Any]]]) -> alt.Chart:
    """The whole training loss over the epochs, one line a run."""
    return _lines(histories, "loss", "Total training loss")


def learning_rates(histories: Mapping[str, Sequence[dict[str, Any]]]) -> alt.Chart:
    """The learning rate at the end of each epoch, one line a run."""
    return _lines(histories, "learning_rate", "Learning rate")


def _lines(histories: Mapping[str, Sequence[dict[str, Any]]], key: str, title: str) -> alt.Chart:
    values = [{"run": name, "epoch": row["epoch"], "value": row[key]} for name, rows in histories.items()
              for row in rows]
    drawn = alt.Chart(alt.Data(values=values)).mark_line(point=few(histories)).encode(
        x=epoch_axis(), y=alt.Y("value:Q", title=title), color=by_run(histories, False),
        tooltip=[alt.Tooltip("run:N", title="Run"), alt.Tooltip("epoch:Q", title="Epoch"),
                 alt.Tooltip("value:Q", title=title, format=".4g")],
    ).properties(height=tall(histories))
    return told(drawn, f"{title} over the epochs", [
        f"{name}: {rows[-1][key]:.4g} after epoch {rows[-1]['epoch']}" for name, rows in histories.items() if rows])


def term_curves(histories: Mapping[str, Sequence[dict[str, Any]]], epochs: int | None = None) -> alt.Chart:
    """Every weighted term of every run's training loss over the epochs: colour is the run, dash is the term."""
    values = [
        {"run": name, "epoch": row["epoch"], "term": term.replace("_", " "), "value": value}
        for name, rows in histories.items() for row in rows for term, value in row["terms"].items()
    ]
    drawn = alt.Chart(alt.Data(values=values)).mark_line(point=few(histories)).encode(
        x=epoch_axis(epochs),
        y=alt.Y("value:Q", title="Training loss"),
        color=by_run(histories, False),
        strokeDash=alt.StrokeDash("term:N", legend=alt.Legend(
            title=None, orient="bottom", columns=3, symbolType="stroke", symbolStrokeColor=GRAY,
            symbolFillColor=GRAY, symbolOpacity=1, symbolStrokeWidth=2, symbolSize=300)),
        tooltip=[alt.Tooltip("run:N", title="Run"), alt.Tooltip("term:N", title="Term"),
                 alt.Tooltip("epoch:Q", title="Epoch"), alt.Tooltip("value:Q", title="Weighted value", format=".4f")],
    ).properties(height=tall(histories))
    return told(drawn, "Terms of the training loss over the epochs", [
        f"{name}: {', '.join(f'{term} {value:.4f}'.replace('_', ' ') for term, value in rows[-1]['terms'].items())} "
        f"after epoch {rows[-1]['epoch']}" for name, rows in histories.items() if rows])


def with_mistake(rows: Sequence[dict[str, Any]], epochs: int) -> alt.Chart:
    """Test accuracy over the epochs of a student trained rightly, and of one with a mistake.

    Rows: epoch, right, wrong, as `explain.train_with_mistake` gives them. epochs: where the axis ends, while rows come.
    """
    names = {"right": "Right", "wrong": "With the mistake"}
    values = [{"run": title, "epoch": row["epoch"], "accuracy": row[key]} for key, title in names.items()
              for row in rows]
    drawn = alt.Chart(alt.Data(values=values)).mark_line(point=True).encode(
        x=epoch_axis(epochs),
        y=alt.Y("accuracy:Q", title="Test accuracy", axis=alt.Axis(format="%", values=[0, 0.5, 1]),
                scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("run:N", scale=alt.Scale(domain=list(names.values()), range=[RIGHT, WRONG]),
                        legend=alt.Legend(title=None, orient="top")),
        tooltip=[alt.Tooltip("run:N", title="Student"), alt.Tooltip("epoch:Q", title="Epoch"),
                 alt.Tooltip("accuracy:Q", title="Test accuracy", format=".1%")],
    ).properties(height=HEIGHT * 4 // 5)
    return told(drawn, "Test accuracy over the epochs", [
        f"{title}: {rows[-1][key]:.1%} after epoch {rows[-1]['epoch']}" for key, title in names.items() if rows])
