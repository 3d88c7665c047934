"""The results as an answer: one row a method in a setting, its seeds averaged, and what may be said of its change."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kdengine.runs import costs, results, verdicts
from kdengine.runs.costs import Speed
from kdengine.runs.records import STUDENT, Record, headline, headline_name


@dataclass(frozen=True)
class Summary:
    """Runs that are equal but for the seed.

    names: of these results, a seed each. image_size: pixels a side. method, hyperparameters: of all of them. teaches:
    whether they had no teacher, and one of them taught another result. labels: how many training images may
    be read with their label. headline: accuracy or mIoU, of the last epoch; score: its mean, in [0, 1]; interval: over
    the test images for one seed, over the seeds for more; None where that cannot be told. changes: against the
    independent student, a seed each, in [-1, 1]; change, change_interval, verdict: as `kdengine.runs.verdicts` judges
    them. All four are empty or None of an independent student, and where there is none to be held against.
    kl_to_teacher: the mean over the seeds. speed: see `kdengine.runs.costs.speed`.
    """

    names: tuple[str, ...]
    data: str
    image_size: int
    network: str
    method: str
    hyperparameters: Mapping[str, object]
    teaches: bool
    epochs: int
    labels: int
    headline: str
    score: float
    interval: tuple[float, float] | None
    changes: tuple[float, ...]
    change: float | None
    change_interval: tuple[float, float] | None
    verdict: str | None
    kl_to_teacher: float | None
    parameters: int
    speed: Speed


def summaries(records: Mapping[str, Record] | None = None) -> list[Summary]:
    """All results, in the order of `results.finished`; a seed that was trained twice counts once, by its first result.

    records: those to summarize, by name; None for all there are.
    """
    records = results.finished() if records is None else records
    groups: dict[tuple[object, ...], dict[int, str]] = {}
    for name, record in records.items():
        groups.setdefault(verdicts.setting(record), {}).setdefault(record.configuration.seed, name)
    members = [tuple(seeds.values()) for seeds in groups.values()]
    twins = verdicts.independent_twins(records)
    paired = {names: [(name, twins[name]) for name in names if name in twins] for names in members}
    compared = {names: pairs for names, pairs in paired.items() if pairs}
    judged = dict(zip(compared, verdicts.of_settings(
        list(compared.values()), records, results.predictions), strict=True))
    taught = {record.teacher["digest"] for record in records.values() if record.teacher}
    return [_summary(names, records, paired[names], judged.get(names), taught) for names in members]


def latex(rows: Sequence[Summary], titles: Sequence[str]) -> str:
    """The rows as a LaTeX table for `booktabs`. titles: what each row is called, as people read it."""
    def cell(text: str) -> str:
        return "".join(_LATEX.get(each, each) for each in text)

    headline = rows[0].headline if rows else "accuracy"
    lines = [r"\begin{tabular}{lrrlr}", r"\toprule",
             rf"Method & Test {headline} (\%) & Change (points) & Verdict & KL to teacher \\", r"\midrule"]
    for row, title in zip(rows, titles, strict=True):
        score = f"{100 * row.score:.2f}" + ("" if row.interval is None else
                                            f" ({100 * row.interval[0]:.1f} to {100 * row.interval[1]:.1f})")
        change = "--" if row.change is None else f"${100 * row.change:+.2f}$"
        kl = "--" if row.kl_to_teacher is None else f"{row.kl_to_teacher:.4f}"
        lines.append(f"{cell(title)} & {score} & {change} & {cell(row.verdict or '--')} & {kl} " + r"\\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


_LATEX = {each: rf"\{each}" for each in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$",
    "·": r"$\cdot$"}
"""What LaTeX would obey, or print as another sign, and how it is written."""

def _summary(
    names: tuple[str, ...], records: Mapping[str, Record], pairs: Sequence[tuple[str, str]],
    verdict: verdicts.Verdict | None, taught: Collection[str],
) -> Summary:
    own = [records[name] for name in names]
    first, tests = own[0], [record.result["test"] for record in own]
    scores = [headline(test) for test in tests]
    changes = tuple(headline(records[ours].result["test"]) - headline(records[theirs].result["test"])
                    for ours, theirs in pairs)
    kl = [value for test in tests if (value := test.get("kl_to_teacher")) is not None]
    configuration, sure = first.configuration, results.interval_of(dict(zip(names, own, strict=True)))
    return Summary(
        names=names, data=configuration.data, image_size=first.data["size"], network=configuration.student,
        method=configuration.method, hyperparameters=configuration.hyperparameters,
        teaches=configuration.method == "none" and any(record.files.get(STUDENT) in taught for record in own),
        epochs=configuration.epochs,
        labels=first.data["labelled"], headline=headline_name(tests[0]), score=statistics.fmean(scores),
        interval=(sure.low, sure.high) if sure else None, changes=changes,
        change=statistics.fmean(changes) if changes else None,
        change_interval=verdict.interval if verdict else None, verdict=verdict.text if verdict else None,
        kl_to_teacher=statistics.fmean(kl) if kl else None, parameters=first.result["parameters"],
        speed=costs.speed(own),
    )
