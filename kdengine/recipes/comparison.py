"""A recipe's table: one row a network it trained, means over the seeds, and what may be said of each change."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from kdengine import results, uncertainty
from kdengine.recipes.recipe import Outcome, Recipe
from kdengine.records import Record

COLUMNS: dict[str, str] = {
    "label": "",
    "network": "Network",
    "seeds": "Seeds",
    "loss": "Test loss",
    "accuracy": "Test accuracy",
    "interval": "95% interval",
    "change": "Change",
    "change_interval": "95% of the change",
    "verdict": "Against the independent student",
    "kl_to_teacher": "KL to teacher",
    "agreement": "Agreement",
    "parameters": "Parameters",
    "milliseconds": "ms / image",
}


def rows(outcome: Outcome) -> list[dict[str, Any]]:
    """One row a part that has finished, keys as in COLUMNS and in the recipe's own columns; None where there is none.

    With one seed the intervals are over the images, and the verdict is about two networks. With two or more they are
    over the seeds; from three on the verdict is about the method, Holm's adjustment over all compared.
    """
    recipe = outcome.plan.recipe
    among = {record.id: record for record in outcome.records.values()}
    table, compared = [], []
    for part in outcome.parts:
        records = outcome.of(part.label)
        if not records:
            continue
        row = _row(part.label, records)
        measured = [value for (label, _), value in outcome.measures.items() if label == part.label]
        row |= {key: statistics.fmean(each[key] for each in measured) for key in recipe.columns}
        pairs = [(record, among[twin]) for record in records
                 if (twin := results.independent_twin(record, among)) is not None]
        if pairs:
            row |= _change(pairs)
        if len(pairs) >= uncertainty.SEEDS_FOR_A_METHOD:
            compared.append((row, pairs))
        table.append(row)
    p_values = [uncertainty.paired_t(*_accuracies(pairs)) for _, pairs in compared]
    for (row, _), p in zip(compared, uncertainty.holm(p_values), strict=True):
        row["verdict"] = _of_a_method(row["change"], p)
    return table


def titles(recipe: Recipe) -> dict[str, str]:
    """The table's columns in order, the recipe's own after the agreement."""
    first = dict(list(COLUMNS.items())[:-2])
    return first | dict(recipe.columns) | dict(list(COLUMNS.items())[-2:])


def as_text(row: dict[str, Any], column: str) -> str:
    """A cell as people read it."""
    value = row[column]
    if value is None:
        return "–"
    if column == "accuracy" and row["std"] is not None:
        return f"{value:.2%} ± {row['std']:.2%}"
    if column == "interval":
        return f"{value[0]:.2%} to {value[1]:.2%}, over {row['over']}"
    if column == "change":
        return f"{100 * value:+.2f} pts"
    if column == "change_interval":
        return f"{100 * value[0]:+.2f} to {100 * value[1]:+.2f}"
    if column in ("loss", "kl_to_teacher"):
        return f"{value:.4f}"
    if column in ("milliseconds", "shift"):
        return f"{value:.2f}"
    if isinstance(value, float):
        return f"{value:.2%}"
    return f"{value:,}" if column == "parameters" else str(value)


def remarks(outcome: Outcome, table: Sequence[dict[str, Any]]) -> list[str]:
    """What the numbers say, in sentences; nothing that was not measured."""
    told = []
    taught = [part for part in outcome.parts if part.teacher and outcome.of(part.label)]
    by_label = {row["label"]: row for row in table}
    for label in dict.fromkeys(part.teacher for part in taught):
        row = by_label[label]
        told.append(f"{label} ({row['network']}): {row['accuracy']:.2%} in this very pipeline.")
        above = [part.label for part in taught
                 if part.teacher == label and by_label[part.label]["accuracy"] >= row["accuracy"]]
        if above:
            whom = ", ".join(above) if len(above) <= 3 else f"{len(above)} of its students"
            told.append(f"Careful: {label} is no better than {whom}; there is little to learn from it.")
    distilled = [by_label[part.label] for part in taught if part.configuration.method != "none"]
    if distilled:
        best = max(distilled, key=lambda row: row["accuracy"])
        told.append(f"Highest mean accuracy among the students with a method: {best['label']}, {best['accuracy']:.2%} "
                    f"({best['interval'][0]:.2%} to {best['interval'][1]:.2%} over {best['over']}).")
        closest = min(distilled, key=lambda row: row["kl_to_teacher"])
        told.append(f"Closest to its teacher: {closest['label']}, KL {closest['kl_to_teacher']:.4f} nats.")
        few = min(row["seeds"] for row in distilled)
        if few < uncertainty.SEEDS_FOR_A_METHOD:
            told.append(f"{few} seed{'s' if few > 1 else ''} cannot say that a method is better: that takes "
                        f"{uncertainty.SEEDS_FOR_A_METHOD} or more.")
        else:
            for word in ("better", "worse"):
                named = [row["label"] for row in distilled if str(row["verdict"]).startswith(word)]
                if named:
                    told.append(f"{word.capitalize()} than the independent student (paired by seed, Holm-adjusted "
                                f"p < 0.05): {', '.join(named)}.")
    return told + outcome.plan.recipe.remarks(outcome)


def _row(label: str, records: list[Record]) -> dict[str, Any]:
    first = records[0]

    def mean(of: str) -> float | None:
        values = [record.result["test"].get(of) for record in records]
        return None if None in values else statistics.fmean(values)

    accuracies = [record.result["test"]["top1"] for record in records]
    one = len(records) == 1
    sure = (uncertainty.share_interval(accuracies[0], first.result["test"]["n"]) if one
            else uncertainty.mean_interval(accuracies))
    return {
        "label": label,
        "network": first.configuration.student,
        "seeds": len(records),
        "loss": mean("loss"),
        "accuracy": sure.mean,
        "std": sure.std,
        "interval": (max(0.0, sure.low), min(1.0, sure.high)),  # t knows no bounds, an accuracy does
        "over": f"{first.result['test']['n']:,} images" if one else f"{len(records)} seeds",
        "change": None,
        "change_interval": None,
        "verdict": None,
        "kl_to_teacher": mean("kl_to_teacher"),
        "agreement": mean("agreement"),
        "parameters": first.result["parameters"],
        "milliseconds": statistics.fmean(record.result["latency"]["median_ms"] for record in records),
    }


def _change(pairs: list[tuple[Record, Record]]) -> dict[str, Any]:
    """Against the independent twin of the same seed; with fewer than three seeds the verdict is of the first pair."""
    ours, theirs = (results.right(record.id) for record in pairs[0])
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if len(pairs) == 1:
        sure = uncertainty.difference_interval(only_ours, only_theirs, len(ours))
    else:
        sure = uncertainty.mean_interval([first - second for first, second in zip(*_accuracies(pairs), strict=True)])
    p = uncertainty.mcnemar(only_ours, only_theirs)
    differ = "these two networks differ" if p < 0.05 else "two networks not distinguishable"
    return {"change": sure.mean, "change_interval": (sure.low, sure.high),
            "verdict": f"{differ} ({uncertainty.told(p)})"}


def _accuracies(pairs: list[tuple[Record, Record]]) -> tuple[list[float], list[float]]:
    first, second = zip(*((ours.result["test"]["top1"], theirs.result["test"]["top1"]) for ours, theirs in pairs),
                        strict=True)
    return list(first), list(second)


def _of_a_method(change: float, p: float) -> str:
    if p >= 0.05:
        return f"not distinguishable ({uncertainty.told(p)})"
    return f"{'better' if change > 0 else 'worse'} ({uncertainty.told(p)})"
