"""What networks scored, on the whole and class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from kdengine.charts.look import GRAY, HEIGHT, told
from kdengine.colors import STUDENT, TEACHER, student_colors


def accuracies(
    table: Sequence[dict[str, Any]], colors: Mapping[str, str], headline: str = "accuracy"
) -> alt.LayerChart:
    """A recipe's rows as points with their 95% intervals. Rows: label, accuracy, interval (low, high), in [0, 1].

    colors: by label. headline: what the accuracy is called.
    """
    values = [{"label": row["label"], "accuracy": row["accuracy"], "low": low, "high": high}
              for row in table for low, high in [row["interval"] or (None, None)]]
    base = alt.Chart(alt.Data(values=values)).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=260, labelOverlap=False)))
    low = alt.X("low:Q", title=f"Test {headline}, with 95% interval", axis=alt.Axis(format="%"),
                scale=alt.Scale(zero=False))
    drawn = alt.LayerChart(layer=[
        base.mark_rule(strokeWidth=2).encode(x=low, x2="high:Q", color=_own(colors)),
        base.mark_point(filled=True, size=90, opacity=1).encode(
            x="accuracy:Q", color=_own(colors), tooltip=[alt.Tooltip("label:N", title="Network"),
                                     alt.Tooltip("accuracy:Q", format=".2%"), alt.Tooltip("low:Q", format=".2%"),
                                     alt.Tooltip("high:Q", format=".2%")]),
    ]).properties(height=alt.Step(28))
    said = []
    for row in values:
        interval = "" if row["low"] is None else f" ({row['low']:.1%} to {row['high']:.1%})"
        said.append(f"{row['label']}: {row['accuracy']:.1%}{interval}")
    return told(drawn, f"Test {headline}, with 95% interval", said)


def ranking(values: Mapping[str, float], colors: Mapping[str, str], title: str) -> alt.LayerChart:
    """Numbers by name as bars, the smallest first. colors: by name."""
    ascending = sorted(values, key=values.__getitem__)
    base = alt.Chart(alt.Data(values=[{"label": name, "value": value} for name, value in values.items()])).encode(
        x=alt.X("value:Q", title=title),
        y=alt.Y("label:N", sort=ascending, title=None, axis=alt.Axis(labelLimit=260)))
    numbers = base.mark_text(align="left", dx=4).encode(text=alt.Text("value:Q", format=".4f"))
    drawn = alt.LayerChart(layer=[base.mark_bar().encode(color=_own(colors)), numbers]).properties(height=alt.Step(28))
    return told(drawn, title, [f"{name}: {values[name]:.4f}" for name in ascending])


def _own(colors: Mapping[str, str]) -> alt.Color:
    """Each network in its color; its name stands on the axis."""
    return alt.Color("label:N", legend=None, scale=alt.Scale(domain=list(colors), range=list(colors.values())))


def by_teacher(points: Sequence[dict[str, Any]]) -> alt.Chart:
    """Accuracy of teacher and student against the teacher's parameters.

    Points: teacher (a name), parameters, teacher_accuracy, student_accuracy.
    """
    values = [{"teacher": point["teacher"], "parameters": point["parameters"], "who": who,
               "accuracy": point[f"{who}_accuracy"]} for point in points for who in ("teacher", "student")]
    drawn = alt.Chart(alt.Data(values=values)).mark_line(point=True).encode(
        x=alt.X("parameters:Q", title="Teacher's parameters", scale=alt.Scale(type="log"), axis=alt.Axis(format="~s")),
        y=alt.Y("accuracy:Q", title="Test accuracy", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False)),
        color=alt.Color("who:N", scale=alt.Scale(domain=["teacher", "student"], range=[TEACHER, STUDENT]),
                        legend=alt.Legend(title=None, orient="bottom")),
        tooltip=[alt.Tooltip("teacher:N"), alt.Tooltip("who:N"), alt.Tooltip("accuracy:Q", format=".2%")],
    ).properties(height=HEIGHT)
    return told(drawn, "Test accuracy of teacher and student against the teacher's parameters", [
        f"{point['teacher']}, {point['parameters']:,} parameters: teacher {point['teacher_accuracy']:.1%}, "
        f"student {point['student_accuracy']:.1%}" for point in points])


def against(points: Sequence[dict[str, Any]], name: str, title: str) -> alt.Chart:
    """Scores against a setting, one line a series. Points: x, the setting's value; series; score, in [0, 1].

    name: of the setting. title: what the scores are. A step of the axis is a value, whatever lies between them.
    """
    names = list(dict.fromkeys(point["series"] for point in points))
    drawn = alt.Chart(alt.Data(values=list(points))).mark_line(point=True).encode(
        x=alt.X("x:O", title=name.capitalize(), axis=alt.Axis(labelAngle=0)),
        y=alt.Y("score:Q", title=title, axis=alt.Axis(format="%"), scale=alt.Scale(zero=False)),
        color=alt.Color("series:N", scale=alt.Scale(domain=names, range=student_colors(names)),
                        legend=alt.Legend(title=None, orient="bottom")),
        tooltip=[alt.Tooltip("x:O", title=name.capitalize()), alt.Tooltip("series:N", title="Series"),
                 alt.Tooltip("score:Q", title=title, format=".2%")],
    ).properties(height=HEIGHT)
    return told(drawn, f"{title} against {name}", [
        f"{point['series']} at {name} {_value(point['x'])}: {point['score']:.1%}" for point in points])


def grid(points: Sequence[dict[str, Any]], across: str, up: str, headline: str = "accuracy") -> alt.LayerChart:
    """Validation scores over two settings as a heat map.

    Points: x, y (values of the settings), validation, test, and whether it is chosen, which is outlined. across, up:
    names of the settings. headline: what the scores are.
    """
    base = alt.Chart(alt.Data(values=list(points))).encode(
        x=alt.X("x:O", title=across.capitalize(), axis=alt.Axis(labelAngle=0)),
        y=alt.Y("y:O", title=up.capitalize(), sort="descending"))
    middle = sum(point["validation"] for point in points) / max(1, len(points))
    color = alt.Color("validation:Q", title="Validation", legend=alt.Legend(format=".1%"),
                      scale=alt.Scale(scheme="viridis"))
    cells = base.mark_rect().encode(color=color, tooltip=[
        alt.Tooltip("x:O", title=across.capitalize()), alt.Tooltip("y:O", title=up.capitalize()),
        alt.Tooltip("validation:Q", title=f"Validation {headline}", format=".2%"),
        alt.Tooltip("test:Q", title=f"Test {headline}", format=".2%")])
    numbers = base.mark_text().encode(  # viridis is dark where it is low
        text=alt.Text("validation:Q", format=".1%"),
        color=alt.condition(f"datum.validation > {middle}", alt.value("#1f2430"), alt.value("white")))
    outline = base.transform_filter("datum.chosen").mark_rect(filled=False, stroke="#d64550", strokeWidth=3)
    drawn = alt.LayerChart(layer=[cells, numbers, outline]).properties(width=alt.Step(64), height=alt.Step(36))
    return told(drawn, f"Validation {headline} over {across} and {up}", [
        f"{across} {_value(point['x'])}, {up} {_value(point['y'])}: {point['validation']:.1%}"
        f"{', chosen' if point['chosen'] else ''}" for point in points])


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def on_objects(rows: Sequence[dict[str, Any]], area: float, title: str) -> alt.LayerChart:
    """How heat maps lie on their objects: by heat-map method a point a network, with its 95% interval.

    Rows: network, method, mean, low, high and elsewhere (a tick: the same maps in the boxes of other images), in
    [0, 1]; the first network is the teacher. area: what a map that prefers nothing gets, a dashed line.
    """
    networks = list(dict.fromkeys(row["network"] for row in rows))
    colors = [TEACHER, *student_colors(networks[1:])]
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        y=alt.Y("method:N", sort=None, title=None, axis=alt.Axis(grid=False)),
        yOffset=alt.YOffset("network:N", sort=networks, scale=alt.Scale(paddingOuter=0.5)),
        color=alt.Color("network:N", scale=alt.Scale(domain=networks, range=colors),
                        legend=alt.Legend(title=None, orient="bottom", columns=1, labelLimit=300)),
        tooltip=[alt.Tooltip("network:N", title="Network"), alt.Tooltip("method:N", title="Heat map"),
                 alt.Tooltip("mean:Q", title="In its own box", format=".1%"),
                 alt.Tooltip("low:Q", title="95% from", format=".1%"),
                 alt.Tooltip("high:Q", title="to", format=".1%"),
                 alt.Tooltip("elsewhere:Q", title="In the other boxes", format=".1%")])
    line = alt.Chart(alt.Data(values=[{"area": area}])).mark_rule(strokeDash=[6, 4], color=GRAY)
    drawn = alt.LayerChart(layer=[
        line.encode(x="area:Q", tooltip=[alt.Tooltip("area:Q", title="Area of the boxes", format=".1%")]),
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X("low:Q", title=title, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])), x2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(x="mean:Q"),
        base.mark_tick(thickness=2, size=9, opacity=1).encode(x="elsewhere:Q"),
    ]).properties(height=alt.Step(13, **{"for": "offset"}))
    return told(drawn, title, [
        f"{row['network']}, {row['method']}: {row['mean']:.1%} ({row['low']:.1%} to {row['high']:.1%}), "
        f"in the other boxes {row['elsewhere']:.1%}" for row in rows])


def beside_controls(
    rows: Sequence[dict[str, Any]], controls: Mapping[str, float], title: str
) -> alt.LayerChart:
    """What students reach, a point each with its 95% interval, and what others reach who cannot know it.

    Rows: label, mean, low, high, and elsewhere, a tick: what the student reaches on what is not its own. controls:
    what is the same for all students, by name: lines. title: what is reached.
    """
    labels = [row["label"] for row in rows]
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=260, labelOverlap=False)),
        color=_own(dict(zip(labels, student_colors(labels), strict=True))),
        tooltip=[alt.Tooltip("label:N", title="Network"), alt.Tooltip("mean:Q", title="Mean", format=".3f"),
                 alt.Tooltip("low:Q", title="95% from", format=".3f"), alt.Tooltip("high:Q", title="to", format=".3f"),
                 alt.Tooltip("elsewhere:Q", title="Elsewhere", format=".3f")])
    lines = alt.Chart(alt.Data(values=[{"control": name, "value": value} for name, value in controls.items()]))
    drawn = alt.LayerChart(layer=[
        lines.mark_rule(color=GRAY, strokeWidth=2).encode(
            x="value:Q",
            strokeDash=alt.StrokeDash("control:N", sort=None, scale=alt.Scale(domain=list(controls)),
                                      legend=alt.Legend(title=None, orient="bottom", columns=1, labelLimit=300,
                                                        symbolStrokeColor=GRAY)),
            tooltip=[alt.Tooltip("control:N", title="Control"), alt.Tooltip("value:Q", title="Mean", format=".3f")]),
        base.mark_rule(strokeWidth=2).encode(  # pixels beside the outermost line: it is no frame
            x=alt.X("low:Q", title=title, scale=alt.Scale(zero=False, padding=12)), x2="high:Q"),
        base.mark_point(filled=True, size=90, opacity=1).encode(x="mean:Q"),
        base.mark_tick(thickness=2, size=14, opacity=1).encode(x="elsewhere:Q"),
    ]).properties(height=alt.Step(32))
    return told(drawn, title, [
        *(f"{row['label']}: {row['mean']:.3f} ({row['low']:.3f} to {row['high']:.3f}), elsewhere "
          f"{row['elsewhere']:.3f}" for row in rows),
        *(f"{name}: {value:.3f}" for name, value in controls.items())])


def class_ious(
    networks: Mapping[str, Sequence[float | None]], classes: Sequence[str], *, legend: bool = False
) -> alt.Chart:
    """The IoU of each class on the test split: a group of bars a class, a bar a network, the first one the teacher.

    networks: the IoUs in [0, 1] by the name to show, in the order of the classes; None draws no bar. legend:
    whether it says whose they are; a page may have more words than that holds.
    """
    names = list(networks)
    values = [{"network": name, "class": class_name, "iou": iou} for name, ious in networks.items()
              for class_name, iou in zip(classes, ious, strict=True) if iou is not None]
    colors = [TEACHER, *student_colors(names[1:])]
    drawn = alt.Chart(alt.Data(values=values)).mark_bar().encode(
        x=alt.X("class:N", sort=None, title=None, axis=alt.Axis(labelAngle=-35, labelLimit=90),
                scale=alt.Scale(domain=list(classes))),
        xOffset=alt.XOffset("network:N", sort=names),
        y=alt.Y("iou:Q", title="Test IoU", axis=alt.Axis(format="%", tickCount=5), scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("network:N", scale=alt.Scale(domain=names, range=colors),
                        legend=alt.Legend(title=None, orient="bottom", columns=3, labelLimit=240) if legend else None),
        tooltip=[alt.Tooltip("network:N", title="Network"), alt.Tooltip("class:N", title="Class"),
                 alt.Tooltip("iou:Q", title="IoU", format=".1%")],
    ).properties(height=HEIGHT, padding={"left": 14})
    return told(drawn, "Test IoU of each class", [
        f"{value['class']}, {value['network']}: {value['iou']:.1%}" for value in values])
