"""A recipe's table: one row a network it trained, means over the seeds, and what may be said of each change."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kdengine.measures import uncertainty
from kdengine.recipes import advice
from kdengine.recipes.recipe import Outcome, Recipe, Source, test_images
from kdengine.runs import results, verdicts
from kdengine.runs.records import Record, headline
from kdengine.runs.sweeps import Part
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
_COST: dict[str, str] = {"parameters": "Parameters", "milliseconds": "ms / image"}
READING = (
    "Change is against the independent student of the same seed, data and schedule: in points, and as a share of what "
    "that one has. One seed: whether these two networks differ on these images (McNemar; for mIoU by randomisation). "
    "Three seeds or more: whether the method does (paired t over the seeds). Both adjusted by Holm over all that is "
    "held against the same independent student, here or elsewhere. The interval of a change has the confidence at "
    "which it is judged: 95% for one comparison, more for several. A ± is the standard deviation over the seeds. ms / "
    "image: the median of 50 forwards of one image, and the quartiles; what else the machine did makes it larger."
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
            values = [each[key] for each in measured]
            row[key] = statistics.fmean(values)
            if column.count:
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
        quartiles = " to ".join(f"{each:.2f}" for each in row.get("milliseconds_quartiles") or ())
        return f"{value:.2f} ({quartiles})" if quartiles else f"{value:.2f}"
    if isinstance(value, float):
        return f"{value:.2%}"
    return f"{value:,}" if column == "parameters" else str(value)


def texts(recipe: Recipe, table: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The table as people read it, columns as in `titles`."""
    return [[as_text(recipe, row, key) for key in titles(recipe)] for row in table]


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


def remarks(outcome: Outcome, table: Sequence[dict[str, Any]]) -> list[str]:
    """What the numbers say, in sentences; nothing that was not measured."""
    distilled = _distilled(outcome, table)
    return [*_open(outcome), *_labels(outcome), *_teachers(outcome, table), *_contrasts(outcome),
            *_ranked(outcome.plan.recipe, distilled), *_judgements(distilled), *advice.no_baseline(outcome, distilled),
            *advice.no_gain(outcome, distilled), *outcome.plan.recipe.remarks(outcome)]


def answer(outcome: Outcome, table: Sequence[dict[str, Any]]) -> list[str]:
    """Those of the remarks that answer the recipe's question, the first of them what is still missing.

    Its own comparisons and sentences, or else who came first; then what may be said of the methods, or why nothing.
    """
    recipe, distilled = outcome.plan.recipe, _distilled(outcome, table)
    own = [*_contrasts(outcome), *recipe.remarks(outcome)] or _ranked(recipe, distilled)
    return [*_open(outcome), *own, *_judgements(distilled), *advice.no_gain(outcome, distilled)[:1]]


def _distilled(outcome: Outcome, table: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of students with a method."""
    taught = {part.label for part in outcome.parts if part.taught and part.configuration.method != "none"}
    return [row for row in table if row["label"] in taught]


def _ranked(recipe: Recipe, distilled: Sequence[dict[str, Any]]) -> list[str]:
    sentences = []
    if distilled and recipe.ranks:
        best = max(distilled, key=lambda row: row["accuracy"])
        sentences.append(f"Highest mean {recipe.headline} among the students with a method: {best['label']}, "
                         f"{best['accuracy']:.2%} ({as_text(recipe, best, 'interval')}).")
        closest = min(distilled, key=lambda row: row["kl_to_teacher"])
        sentences.append(f"Closest to its teacher: {closest['label']}, KL {closest['kl_to_teacher']:.4f} nats.")
    return sentences


def _judgements(distilled: Sequence[dict[str, Any]]) -> list[str]:
    sentences = []
    if distilled:
        few = min(row["seeds"] for row in distilled)
        if few < uncertainty.SEEDS_FOR_A_METHOD:
            sentences.append(f"{few} seed{'s' if few > 1 else ''} cannot say that a method is better: that takes "
                             f"{uncertainty.SEEDS_FOR_A_METHOD} or more.")
        for word in ("better", "worse"):
            named = [row["label"] for row in distilled if str(row["verdict"]).startswith(word)]
            if named:
                sentences.append(f"{word.capitalize()} than the independent student (paired by seed, Holm-adjusted "
                                 f"p < {uncertainty.ALPHA:.2g}; all under the same teacher): {', '.join(named)}.")
    return sentences


def _open(outcome: Outcome) -> list[str]:
    sentences = []
    if outcome.missing:
        count = len(outcome.missing)
        networks = "networks are" if count > 1 else "network is"
        sentences.append(f"So far: {count} {networks} still to be trained; no method is judged before.")
    for (label, seed), reason in outcome.failures.items():
        sentences.append(f"Not trained: {label}, seed {seed}. {reason}")
    return sentences


def _labels(outcome: Outcome) -> list[str]:
    """Whether the students have images without a label: then a change is partly what the teacher knows of those."""
    teachers = {record.data["labelled"] for record in outcome.teachers()}
    students = {(record.data["labelled"], record.data["train"])
                for part in outcome.parts if part.taught for record in outcome.of(part.label)}
    if len(teachers) > 1 or len(students) != 1:
        return []
    (labelled, images), = students
    if labelled == images:
        return []
    label = "mask" if outcome.plan.recipe.headline == "mIoU" else "label"
    theirs = f", their teacher {teachers.pop():,}" if teachers else ""
    return [f"The students had {labelled:,} {label}{'s' if labelled > 1 else ''}{theirs}: methods that listen to the "
            f"teacher also learn from the {images - labelled:,} images whose {label} the independent student never "
            "sees."]


def _teachers(outcome: Outcome, table: Sequence[dict[str, Any]]) -> list[str]:
    sentences = []
    taught = [part for part in outcome.parts if part.taught and outcome.of(part.label)]
    by_label = {row["label"]: row for row in table}
    alone = [by_label[part.label] for part in taught if part.configuration.method == "none"]
    first: dict[str | None, Part] = {}
    for part in taught:
        first.setdefault(part.teacher, part)
    for part in first.values():
        facts = outcome.of(part.label)[0].teacher
        assert facts is not None  # it is taught, and has finished
        label = part.teacher or "Teacher"
        score = by_label[label]["accuracy"] if part.teacher else headline(facts["test"])
        sentences.append(f"{label} ({facts['architecture']}): {score:.2%} in this very pipeline.")
        for student in alone:
            if student["accuracy"] >= score:
                sentences.append(f"Careful: {label} is not better than {student['label']}, {score:.2%} against "
                                 f"{student['accuracy']:.2%}.")
    return sentences


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


def _contrasts(outcome: Outcome) -> list[str]:
    judged = contrasts(outcome)
    alone = ", the recipe's own question: one comparison, so nothing to adjust for"
    return [f"{each['first']} against {each['second']}: {100 * each['change']:+.2f} points of test "
            f"{outcome.plan.recipe.headline}{_between(each['interval'])}; {each['verdict']}"
            f"{alone if len(judged) == 1 and not outcome.missing else ''}." for each in judged]


def _between(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" (interval {100 * interval[0]:+.2f} to {100 * interval[1]:+.2f})"


def _row(label: str, records: list[Record], source: Source) -> dict[str, Any]:
    first = records[0]

    def mean(of: Literal["loss", "kl_to_teacher", "agreement"]) -> float | None:
        scores = [value for record in records if (value := record.result["test"].get(of)) is not None]
        return statistics.fmean(scores) if len(scores) == len(records) else None

    one = len(records) == 1
    values = [headline(record.result["test"]) for record in records]
    sure = results.interval_of({record.id: record for record in records}, source.predictions)
    latencies = [record.result["latency"] for record in records]
    quartiles = zip(*(each.get("quartiles_ms", ()) for each in latencies), strict=False)
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
        "milliseconds": statistics.fmean(each["median_ms"] for each in latencies),
        "milliseconds_quartiles": [statistics.fmean(each) for each in quartiles] or None,
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
