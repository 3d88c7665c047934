"""The results as an answer: what methods changed, what it costs, and what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from kdengine.charts.look import GRAY, HEIGHT, told
from kdengine.colors import ALONE, RIGHT, STUDENT, WRONG


def changes(rows: Sequence[dict[str, Any]], headline: str = "accuracy") -> alt.LayerChart:
    """What methods change against their independent student, the line at 0: a point a row, with its interval.

    Rows: label; change, low and high (None where there is no interval), in percentage points; seeds, the change of each
    seed, drawn as ticks where there are several; verdict, in words.
    """
    order = [row["label"] for row in sorted(rows, key=lambda row: -row["change"])]
    reach = [value for row in rows for value in (0, row["change"], row["low"], row["high"], *row["seeds"])
             if value is not None]
    low, high = min(reach), max(reach)
    values = [{key: row[key] for key in ("label", "change", "low", "high", "verdict")} for row in rows]
    seeds = [{"label": row["label"], "change": seed} for row in rows if len(row["seeds"]) > 1 for seed in row["seeds"]]
    # What a row is called and what is said of it stands above its line: beside it a phone has no room.
    y = alt.Y("label:N", sort=order, title=None, axis=None)
    x = alt.X("change:Q", title=f"Change of test {headline}, points", axis=alt.Axis(format="+~f", tickCount=8),
              scale=alt.Scale(domain=[low, high]))
    base = alt.Chart(alt.Data(values=values)).encode(y=y)
    drawn = alt.LayerChart(layer=[
        alt.Chart(alt.Data(values=[{"change": 0}])).mark_rule(color=ALONE, strokeWidth=2).encode(x="change:Q"),
        base.mark_rule(strokeWidth=2, color=GRAY).encode(x=x.copy(), x2="high:Q").transform_filter(
            "isValid(datum.low)").transform_calculate(change="datum.low"),
        base.mark_point(filled=True, size=110, color=STUDENT, opacity=1).encode(
            x=x, tooltip=[alt.Tooltip("label:N", title="Method"), alt.Tooltip("change:Q", format="+.2f"),
                          alt.Tooltip("low:Q", title="from", format="+.2f"),
                          alt.Tooltip("high:Q", title="to", format="+.2f"),
                          alt.Tooltip("verdict:N", title="Verdict")]),
        alt.Chart(alt.Data(values=seeds)).mark_tick(thickness=2, size=14, color=STUDENT, aria=False).encode(
            x="change:Q", y=y),
        base.mark_text(align="left", dy=-32, fontWeight="bold").encode(x=alt.value(0), text="label:N"),
        base.mark_text(align="left", dy=-15).encode(x=alt.value(0), text="verdict:N"),
    ]).properties(height=alt.Step(80))
    return told(drawn, f"Change of test {headline} against the independent student, in percentage points", [
        f"{row['label']}: {row['change']:+.2f}" + (
            "" if row["low"] is None else f" ({row['low']:+.2f} to {row['high']:+.2f})") + (
            f", {row['verdict']}" if row["verdict"] else "") for row in sorted(rows, key=lambda row: -row["change"])])


def scatter(rows: Sequence[dict[str, Any]], across: str, upward: str, *, logarithmic: bool = False) -> alt.LayerChart:
    """Networks by two numbers. across, upward: the titles of the axes.

    Rows: label; x; low and high, between which x lies, drawn as a line (None where nobody knows); y, a share in [0, 1];
    note, a word below the point, which is hollow then; empty for none.
    """
    x = alt.X("x:Q", title=across, scale=alt.Scale(type="log" if logarithmic else "linear", zero=False),
              axis=alt.Axis(format="~s", tickCount=5))
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        y=alt.Y("y:Q", title=upward, axis=alt.Axis(format="%"), scale=alt.Scale(zero=False)))
    drawn = alt.LayerChart(layer=[
        base.mark_rule(strokeWidth=2, color=GRAY, aria=False).encode(x=x.copy(), x2="high:Q").transform_filter(
            "isValid(datum.low)").transform_calculate(x="datum.low"),
        base.mark_point(size=110, color=STUDENT, opacity=0.8).encode(
            x=x, fill=alt.condition("datum.note", alt.value("transparent"), alt.value(STUDENT)),
            tooltip=[alt.Tooltip("label:N", title="Network"), alt.Tooltip("x:Q", title=across, format=",.4~r"),
                     alt.Tooltip("y:Q", title=upward, format=".2%"), alt.Tooltip("note:N", title="Machine then")]),
        base.mark_text(dy=17).encode(x=x.copy(), text="note:N"),
    ]).properties(height=HEIGHT)
    return told(drawn, f"{upward} against {across}", [
        f"{row['label']}: {row['y']:.1%} at {row['x']:,.4g}{', ' if row['note'] else ''}{row['note']}" for row in rows])


def confusion(
    matrix: Sequence[Sequence[int]], classes: Sequence[str], chosen: tuple[str, str] | None = None
) -> alt.LayerChart:
    """Whole numbers [C][C], what it is first, as cells that can be chosen (`cell`: truth, answer); right ones green.

    A row's title says which share of its images is answered rightly. chosen: the cell that is outlined.
    """
    shares = [row[place] / (sum(row) or 1) for place, row in enumerate(matrix)]
    rows = [f"{name} · {share:.0%}" for name, share in zip(classes, shares, strict=True)]
    values = [{"truth": classes[truth], "row": rows[truth], "answer": classes[answer], "count": count,
               "share": count / (sum(matrix[truth]) or 1), "right": truth == answer,
               "chosen": (classes[truth], classes[answer]) == chosen}
              for truth in range(len(classes)) for answer, count in enumerate(matrix[truth]) if count]
    cell = alt.selection_point(name="cell", fields=["truth", "answer"])
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("answer:N", sort=list(classes), title="taken for", scale=alt.Scale(domain=list(classes)),
                axis=alt.Axis(orient="top", labelAngle=0 if max(map(len, classes)) < 3 else -45)),
        y=alt.Y("row:N", sort=rows, title="is", scale=alt.Scale(domain=rows)))
    drawn = alt.LayerChart(layer=[
        base.mark_rect(cursor="pointer").encode(
            color=alt.Color("right:N", scale=alt.Scale(domain=[True, False], range=[RIGHT, WRONG]), legend=None),
            opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.25, 0.9]), legend=None),
            tooltip=[alt.Tooltip("truth:N", title="It is"), alt.Tooltip("answer:N", title="Taken for"),
                     alt.Tooltip("count:Q", title="Images")]).add_params(cell),
        base.mark_text().encode(text="count:Q"),
        base.mark_rect(filled=False, stroke=STUDENT, strokeWidth=3, aria=False).transform_filter("datum.chosen"),
    ]).properties(height=alt.Step(max(18, min(30, 340 // len(classes)))))
    wrong = sorted(((count, classes[truth], classes[answer]) for truth, row in enumerate(matrix)
                    for answer, count in enumerate(row) if count and truth != answer), reverse=True)
    return told(drawn, "What is taken for what", [
        f"{truth} for {answer}: {count}" for count, truth, answer in wrong[:10]])
