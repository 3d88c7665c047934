"""A recipe's table: one row a network it trained, means over the seeds, and what may be said of each change."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from kdengine.measures import uncertainty
from kdengine.recipes.columns import test_images
from kdengine.recipes.recipe import Outcome, Recipe, Source
from kdengine.runs import costs, results, verdicts
from kdengine.runs.records import Record, headline
from kdengine.runs.verdicts import Pairs, Verdict

COLUMNS: dict[str, str] = {
    "label": "Network",
    "network": "Architecture",
    "seeds": "Seeds",
    "loss": "Test loss",
    "accuracy": "Test accuracy",
    "interval": "95% interval",
    "change": "Change",
    "change_interval": "Interval of the change",
    "verdict": "Against the independent student",
    "kl_to_teacher": "KL to teacher",
    "agreement": "Agreement",
}
MAIN = 8
"""Columns of the table that answers; more cannot be read on a sheet of paper."""
_LESS = ("kl_to_teacher", "network", "parameters", "milliseconds")
"""The columns after the verdict that the main table has room for, the most telling first."""
_COST: dict[str, str] = {"parameters": "Parameters", "milliseconds": "ms / image"}
READING = (
    "Change is against the independent student of the same seed, data and schedule: in points, and as a share of what "
    "that one has. One seed: whether these two networks differ on these images (McNemar; for mIoU by randomisation). "
    "Three seeds or more: whether the method does (paired t over the seeds). Both adjusted by Holm over all that is "
    "held against the same independent student, here or elsewhere. The interval of a change has the confidence at "
    "which it is judged: 95% for one comparison, more for several. A ± is the standard deviation over the seeds. ms / "
    "image: the median of 50 forwards of one image or more, and the quartiles, taken after all training of its group "
    "had ended; busy: other processes used more than a tenth of all cores meanwhile. Networks of one "
    "architecture take the same time: where their figures differ, that is the machine and not the method."
)
"""How the table is to be read."""

OPEN = "open until all is trained"


def rows(outcome: Outcome) -> list[dict[str, Any]]:
    """One row a part that has finished, keys as in COLUMNS and in the recipe's own columns; None where there is none.

    With one seed the intervals are over the images, and the verdict is about two networks. With two or more they are
    over the seeds; from three on the verdict is about the method, once nothing is missing. See
    `kdengine.runs.verdicts`.
    """
    recipe = outcome.plan.recipe
    everything = outcome.everything()
    twins = verdicts.independent_twins(everything)
    table, compared = [], {}
    for part in outcome.parts:
        if not (records := outcome.of(part.label)):
            continue
        row = _row(part.label, records, outcome.source)
        measured = [outcome.measures[part.label, record.configuration.seed] for record in records]
        for key, column in recipe.columns.items():
            values = [each[key] for each in measured if key in each]
            row[key] = statistics.fmean(values) if values else None
            if values and column.count:
                sure = _sure(values, column.count(records[0], measured[0])).within_a_share()
                row[f"{key}_interval"] = sure.low, sure.high
        if pairs := [(record.id, twins[record.id]) for record in records if record.id in twins]:
            compared[part.label] = pairs
        table.append(row)
    judged = _judged(outcome, compared, everything)
    for row in table:
        if verdict := judged.get(row["label"]):
            alone = statistics.fmean(headline(everything[twin].result["test"]) for _, twin in compared[row["label"]])
            row |= {"change": verdict.change, "relative": verdict.change / alone if alone else math.nan,
                    "change_interval": verdict.interval}
            if recipe.judges(outcome, row["label"]):
                row["verdict"] = verdict.text
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
        text, interval = recipe.columns[column].text, row.get(f"{column}_interval")
        return text(value) if interval is None else f"{text(value)} ({text(interval[0])} to {text(interval[1])})"
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
        return str(costs.Speed(value, row.get("milliseconds_quartiles"), row.get("milliseconds_busy")))
    if isinstance(value, float):
        return f"{value:.2%}"
    return f"{value:,}" if column == "parameters" else str(value)


def texts(recipe: Recipe, table: Sequence[dict[str, Any]], columns: Iterable[str] | None = None) -> list[list[str]]:
    """The table as people read it. columns: some of `titles`; None for all."""
    return [[as_text(recipe, row, key) for key in columns or titles(recipe)] for row in table]


def main(recipe: Recipe, table: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The eight columns that answer the question, each score with its interval: titles and rows of texts."""
    columns, named = _main_columns(recipe), titles(recipe)
    return [named[key] for key in columns], [[_with_interval(recipe, row, key) for key in columns] for row in table]


def rest(recipe: Recipe) -> list[str]:
    """The columns that the main table leaves out, after the network's name."""
    shown = {*_main_columns(recipe), "interval", "change_interval"} - {"change", "label"}  # there without its share
    return [key for key in titles(recipe) if key not in shown]


def _main_columns(recipe: Recipe) -> list[str]:
    """A recipe's own columns take the place of those that say least of its question."""
    own = list(recipe.columns)
    return ["label", "accuracy", "change", "verdict", *own, *_LESS[:max(1, MAIN - 4 - len(own))]]


def _with_interval(recipe: Recipe, row: dict[str, Any], column: str) -> str:
    """A cell of the main table: a score and a change with the interval that has its own column elsewhere."""
    interval = {"accuracy": "interval", "change": "change_interval"}.get(column)
    text = f"{100 * row['change']:+.2f} pts" if column == "change" and row["change"] is not None else as_text(
        recipe, row, column)
    if interval is None or row[interval] is None:
        return text
    between = " to ".join(f"{100 * bound:+.1f}" if column == "change" else f"{bound:.1%}" for bound in row[interval])
    return f"{text} ({between})"


def printed(outcome: Outcome, table: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """What lab sheets print of these networks on this data set, beside what was measured here: titles and rows.

    No rows where no sheet does.
    """
    recipe = outcome.plan.recipe
    sheets = [each for each in recipe.printed if each.data == outcome.parts[0].configuration.data]
    named, rows = titles(recipe), []
    for row in table:
        for column in dict.fromkeys(key for each in sheets for key in each.values.get(row["label"], ())):
            theirs = [each.values.get(row["label"], {}).get(column) for each in sheets]
            rows.append([row["label"], named[column], *("–" if each is None else f"{each:.2%}" for each in theirs),
                         f"{row[column]:.2%}"])
    return ["Network", "", *(each.sheet for each in sheets), "Here"], rows


def contrasts(outcome: Outcome) -> list[dict[str, Any]]:
    """The recipe's own question: its pairs of networks, one against the other; these pairs are their own family.

    A dict a pair: first, second (labels), change, interval (low, high; or None), verdict.
    """
    compared: dict[tuple[str, str], Pairs] = {}
    for first, second in outcome.plan.recipe.contrasts(outcome):
        theirs = {record.configuration.seed: record.id for record in outcome.of(second)}
        pairs = [(record.id, theirs[record.configuration.seed]) for record in outcome.of(first)
                 if record.configuration.seed in theirs]
        if pairs:
            compared[first, second] = pairs
    among = {record.id: record for record in outcome.records.values()}
    if all(len(pairs) >= uncertainty.SEEDS_FOR_A_METHOD for pairs in compared.values()):
        judged = verdicts.of_seeds(list(compared.values()), among)
    else:
        judged = verdicts.of_pairs([pairs[0] for pairs in compared.values()], among, outcome.source.predictions)
    return [{"first": first, "second": second, "change": verdict.change, "interval": verdict.interval,
             "verdict": OPEN if outcome.missing else verdict.text or "not judged"}
            for (first, second), verdict in zip(compared, judged, strict=True)]


def _row(label: str, records: list[Record], source: Source) -> dict[str, Any]:
    first = records[0]

    def mean(of: Literal["loss", "kl_to_teacher", "agreement"]) -> float | None:
        scores = [value for record in records if (value := record.result["test"].get(of)) is not None]
        return statistics.fmean(scores) if len(scores) == len(records) else None

    one = len(records) == 1
    values = [headline(record.result["test"]) for record in records]
    sure = results.interval_of({record.id: record for record in records}, source.predictions)
    speed = costs.speed(records)
    return {
        "label": label,
        "network": first.configuration.student,
        "seeds": len(records),
        "loss": mean("loss"),
        "accuracy": statistics.fmean(values),
        "std": sure and sure.std,
        "interval": sure and (sure.low, sure.high),
        "over": f"{test_images(first):,} images" if one else f"{len(records)} seeds",
        "change": None,
        "relative": None,
        "change_interval": None,
        "verdict": None,
        "kl_to_teacher": mean("kl_to_teacher"),
        "agreement": mean("agreement"),
        "parameters": first.result["parameters"],
        "milliseconds": speed.milliseconds,
        "milliseconds_quartiles": speed.quartiles,
        "milliseconds_busy": speed.busy,
    }


def _sure(shares: list[float], count: int) -> uncertainty.Interval:
    """Over `count` images where there is one seed, over the seeds where there are more."""
    return uncertainty.share_interval(shares[0], count) if len(shares) == 1 else uncertainty.mean_interval(shares)


def _judged(
    outcome: Outcome, compared: Mapping[str, Pairs], everything: Mapping[str, Record]
) -> dict[str, Verdict]:
    """What may be said of each label's networks against their independent twins.

    Three seeds or more speak of the method, once the plan is complete; one speaks of two networks; two of neither.
    """
    judged = dict(zip(compared, verdicts.of_settings(
        list(compared.values()), everything, outcome.source.predictions), strict=True))
    if outcome.missing:
        judged |= {label: dataclasses.replace(judged[label], text=OPEN) for label, pairs in compared.items()
                   if len(pairs) >= uncertainty.SEEDS_FOR_A_METHOD}
    return judged
