"""A recipe's table: one row a network it trained, means over the seeds, and what may be said of each change."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from kdengine import results, uncertainty
from kdengine.recipes.recipe import Outcome, Recipe, test_images
from kdengine.records import Record, headline

COLUMNS: dict[str, str] = {
    "label": "Network",
    "network": "Architecture",
    "seeds": "Seeds",
    "loss": "Test loss",
    "accuracy": "Test accuracy",
    "interval": "95% interval",
    "change": "Change",
    "change_interval": "95% of the change",
    "verdict": "Against the independent student",
    "kl_to_teacher": "KL to teacher",
    "agreement": "Agreement",
}
_COST: dict[str, str] = {"parameters": "Parameters", "milliseconds": "ms / image"}
READING = (
    "Change is against the independent student of the same seed, data and schedule: in points, and as a share of what "
    "that one has. One seed: whether these two networks differ on these images (McNemar; for mIoU by randomisation). "
    "Three seeds or more: whether the method does (paired t). Both adjusted by Holm over the methods compared. A ± is "
    "the standard deviation over the seeds; of ms / image, over 50 forwards of one image."
)
"""How the table is to be read."""

Pairs = list[tuple[Record, Record]]
"""Two networks' records, pairs sharing their seed."""


def rows(outcome: Outcome) -> list[dict[str, Any]]:
    """One row a part that has finished, keys as in COLUMNS and in the recipe's own columns; None where there is none.

    With one seed the intervals are over the images, and the verdict is about two networks. With two or more they are
    over the seeds; from three on the verdict is about the method, once nothing is missing. Holm's adjustment is over
    all that are compared.
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
        for key, column in recipe.columns.items():
            values = [each[key] for each in measured]
            row[key] = statistics.fmean(values)
            if column.count:
                row[_interval_of(key)] = _bounds(_sure(values, column.count(records[0])))
        pairs = [(record, among[twin]) for record in records
                 if (twin := results.independent_twin(record, among)) is not None]
        if pairs:
            row |= _change(pairs)
            if recipe.judges(outcome, part.label):
                compared.append((row, pairs))
        table.append(row)
    for row, verdict in zip((row for row, _ in compared), _verdicts(outcome, [pairs for _, pairs in compared]),
                            strict=True):
        row["verdict"] = verdict
    return table


def titles(recipe: Recipe) -> dict[str, str]:
    """The table's columns in order, the recipe's own after the agreement."""
    own = {key: column.title for key, column in recipe.columns.items()}
    return COLUMNS | {"accuracy": f"Test {recipe.headline}"} | own | _COST


def as_text(recipe: Recipe, row: dict[str, Any], column: str) -> str:
    """A cell as people read it."""
    value = row[column]
    if value is None:
        return "–"
    if column in recipe.columns:
        told, interval = recipe.columns[column].text, row.get(_interval_of(column))
        return told(value) if interval is None else f"{told(value)} ({told(interval[0])} to {told(interval[1])})"
    if column == "accuracy" and row["std"] is not None:
        return f"{value:.2%} ± {row['std']:.2%}"
    if column == "interval":
        return f"{value[0]:.2%} to {value[1]:.2%}, over {row['over']}"
    if column == "change":
        return f"{100 * value:+.2f} pts ({row['relative']:+.1%})"
    if column == "change_interval":
        return f"{100 * value[0]:+.2f} to {100 * value[1]:+.2f}"
    if column in ("loss", "kl_to_teacher"):
        return f"{value:.4f}"
    if column == "milliseconds":
        return f"{value:.2f} ± {row['milliseconds_std']:.2f}"
    if isinstance(value, float):
        return f"{value:.2%}"
    return f"{value:,}" if column == "parameters" else str(value)


def texts(recipe: Recipe, table: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The table as people read it, columns as in `titles`."""
    return [[as_text(recipe, row, key) for key in titles(recipe)] for row in table]


def remarks(outcome: Outcome, table: Sequence[dict[str, Any]]) -> list[str]:
    """What the numbers say, in sentences; nothing that was not measured."""
    recipe = outcome.plan.recipe
    told = [*_open(outcome), *_labels(outcome), *_teachers(outcome, table), *_contrasts(outcome)]
    taught = {part.label for part in outcome.parts if part.teacher and part.configuration.method != "none"}
    distilled = [row for row in table if row["label"] in taught]
    if distilled and recipe.ranks:
        best = max(distilled, key=lambda row: row["accuracy"])
        told.append(f"Highest mean {recipe.headline} among the students with a method: {best['label']}, "
                    f"{best['accuracy']:.2%} ({as_text(recipe, best, 'interval')}).")
        closest = min(distilled, key=lambda row: row["kl_to_teacher"])
        told.append(f"Closest to its teacher: {closest['label']}, KL {closest['kl_to_teacher']:.4f} nats.")
    if distilled:
        few = min(row["seeds"] for row in distilled)
        if few < uncertainty.SEEDS_FOR_A_METHOD:
            told.append(f"{few} seed{'s' if few > 1 else ''} cannot say that a method is better: that takes "
                        f"{uncertainty.SEEDS_FOR_A_METHOD} or more.")
        for word in ("better", "worse"):
            named = [row["label"] for row in distilled if str(row["verdict"]).startswith(word)]
            if named:
                told.append(f"{word.capitalize()} than the independent student (paired by seed, Holm-adjusted "
                            f"p < {1 - uncertainty.CONFIDENCE:.2g}; all under the same teacher): {', '.join(named)}.")
    return told + recipe.remarks(outcome)


def _open(outcome: Outcome) -> list[str]:
    told = []
    if outcome.missing:
        count = len(outcome.missing)
        networks = "networks are" if count > 1 else "network is"
        told.append(f"So far: {count} {networks} still to be trained; no method is judged before.")
    for (label, seed), reason in outcome.failures.items():
        told.append(f"Not trained: {label}, seed {seed}. {reason}")
    return told


def _labels(outcome: Outcome) -> list[str]:
    """Whether the students have images without a label: then a change is partly what the teacher knows of those."""
    teachers = {record.data["labelled"] for record in outcome.teachers()}
    students = {(record.data["labelled"], record.data["train"])
                for part in outcome.parts if part.teacher for record in outcome.of(part.label)}
    if len(teachers) != 1 or len(students) != 1:
        return []
    (labelled, images), = students
    if labelled == images:
        return []
    return [f"The students read {labelled:,} labels, their teacher read {teachers.pop():,}: methods that listen to the "
            f"teacher also learn from the {images - labelled:,} images whose label the independent student never sees."]


def _teachers(outcome: Outcome, table: Sequence[dict[str, Any]]) -> list[str]:
    told = []
    taught = [part for part in outcome.parts if part.teacher and outcome.of(part.label)]
    by_label = {row["label"]: row for row in table}
    alone = [by_label[part.label] for part in taught if part.configuration.method == "none"]
    for label in dict.fromkeys(part.teacher for part in taught):
        row = by_label[label]
        told.append(f"{label} ({row['network']}): {row['accuracy']:.2%} in this very pipeline.")
        for student in alone:
            if student["accuracy"] >= row["accuracy"]:
                told.append(f"Careful: {label} is not better than {student['label']}, {row['accuracy']:.2%} against "
                            f"{student['accuracy']:.2%}.")
    return told


def _contrasts(outcome: Outcome) -> list[str]:
    """The recipe's own question: its pairs of networks, one against the other."""
    asked = []
    for first, second in outcome.plan.recipe.contrasts(outcome):
        theirs = {record.configuration.seed: record for record in outcome.of(second)}
        pairs = [(record, theirs[record.configuration.seed]) for record in outcome.of(first)
                 if record.configuration.seed in theirs]
        if pairs:
            asked.append((first, second, pairs))
    verdicts = _verdicts(outcome, [pairs for *_, pairs in asked])
    told = []
    for (first, second, pairs), verdict in zip(asked, verdicts, strict=True):
        change = _change(pairs)
        low, high = change["change_interval"] or (None, None)
        sure = "" if low is None else f" (95% interval {100 * low:+.2f} to {100 * high:+.2f})"
        told.append(f"{first} against {second}: {100 * change['change']:+.2f} points of test "
                    f"{outcome.plan.recipe.headline}{sure}; {verdict or 'not judged'}.")
    return told


def _row(label: str, records: list[Record]) -> dict[str, Any]:
    first = records[0]

    def mean(of: str) -> float | None:
        values = [record.result["test"].get(of) for record in records]
        return None if None in values else statistics.fmean(values)

    one = len(records) == 1
    values = [headline(record.result["test"]) for record in records]
    sure = results.interval(first.id, first) if one else uncertainty.mean_interval(values)
    return {
        "label": label,
        "network": first.configuration.student,
        "seeds": len(records),
        "loss": mean("loss"),
        "accuracy": statistics.fmean(values),
        "std": sure and sure.std,
        "interval": sure and _bounds(sure),
        "over": f"{test_images(first):,} images" if one else f"{len(records)} seeds",
        "change": None,
        "relative": None,
        "change_interval": None,
        "verdict": None,
        "kl_to_teacher": mean("kl_to_teacher"),
        "agreement": mean("agreement"),
        "parameters": first.result["parameters"],
        "milliseconds": statistics.fmean(record.result["latency"]["median_ms"] for record in records),
        "milliseconds_std": statistics.fmean(record.result["latency"]["std_ms"] for record in records),
    }


def _sure(shares: list[float], count: int) -> uncertainty.Interval:
    """Over `count` images where there is one seed, over the seeds where there are more."""
    return uncertainty.share_interval(shares[0], count) if len(shares) == 1 else uncertainty.mean_interval(shares)


def _bounds(sure: uncertainty.Interval) -> tuple[float, float]:
    return max(0.0, sure.low), min(1.0, sure.high)  # t knows no bounds, a share does


def _interval_of(key: str) -> str:
    return f"{key}_interval"


def _change(pairs: Pairs) -> dict[str, Any]:
    """The first's headline less the second's, with its interval: over the images for one seed, else over the seeds.

    relative: as a share of the second's.
    """
    first, second = _headlines(pairs)
    change = statistics.fmean(first) - statistics.fmean(second)
    told = {"change": change, "relative": change / statistics.fmean(second) if any(second) else math.nan}
    if len(pairs) > 1:
        sure = uncertainty.mean_interval([ours - theirs for ours, theirs in zip(first, second, strict=True)])
    else:
        (ours, theirs), = pairs
        compared = results.difference(ours.id, theirs.id)
        if compared is None:
            return told | {"change_interval": None}
        sure, _ = compared
    return told | {"change_interval": (sure.low, sure.high)}


def _verdicts(outcome: Outcome, compared: Sequence[Pairs]) -> list[str | None]:
    """What may be said of each, adjusted over all; None where predictions that it takes are gone.

    Three pairs or more speak of the method, once the plan is complete; fewer of the first two networks.
    """
    verdicts: list[str | None] = [None] * len(compared)
    enough = [len(pairs) >= uncertainty.SEEDS_FOR_A_METHOD for pairs in compared]
    methods = [place for place, each in enumerate(enough) if each and not outcome.missing]
    p_values = [uncertainty.paired_t(*_headlines(compared[place])) for place in methods]
    for place, p in zip(methods, uncertainty.holm(p_values), strict=True):
        verdicts[place] = _of_a_method(_change(compared[place])["change"], p)
    alone = {}
    for place, pairs in enumerate(compared):
        ours, theirs = pairs[0]
        if not enough[place] and (found := results.difference(ours.id, theirs.id)):
            alone[place] = found[1]
    for place, p in zip(alone, uncertainty.holm(list(alone.values())), strict=True):
        verdicts[place] = _of_two_networks(p, of_first_seed=len(compared[place]) > 1)
    for place in range(len(compared)):
        if enough[place] and outcome.missing:
            verdicts[place] = "open until all is trained"
    return verdicts


def _headlines(pairs: Pairs) -> tuple[list[float], list[float]]:
    return tuple([headline(record.result["test"]) for record in side] for side in zip(*pairs, strict=True))


def _of_a_method(change: float, p: float) -> str:
    if p >= 1 - uncertainty.CONFIDENCE:
        return f"not distinguishable ({uncertainty.told(p)})"
    return f"{'better' if change > 0 else 'worse'} ({uncertainty.told(p)})"


def _of_two_networks(p: float, *, of_first_seed: bool) -> str:
    differ = "these two networks differ" if p < 1 - uncertainty.CONFIDENCE else "two networks not distinguishable"
    return f"{'seed 0: ' if of_first_seed else ''}{differ} ({uncertainty.told(p)})"
