"""What a recipe's numbers say, in sentences: nothing that was not measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from kdengine.measures import uncertainty
from kdengine.recipes.comparison import as_text, contrasts
from kdengine.recipes.recipe import Outcome
from kdengine.runs.records import headline
from kdengine.runs.sweeps import Part


def remarks(outcome: Outcome, table: Sequence[dict[str, Any]]) -> list[str]:
    """The sentences: what is better or worse first, then what must be known to read it."""
    distilled = _distilled(outcome, table)
    return [*_open(outcome), *_judged(distilled), *_contrasts(outcome), *_best(outcome, distilled),
            *_labels(outcome), *_teachers(outcome, table), *_no_baseline(outcome, distilled),
            *outcome.plan.recipe.remarks(outcome)]


def answer(outcome: Outcome, table: Sequence[dict[str, Any]]) -> list[str]:
    """Those of the remarks that answer the recipe's question, the first of them what is still missing.

    What may be said of the methods; then its own comparisons and sentences, or else who came first.
    """
    distilled = _distilled(outcome, table)
    own = [*_contrasts(outcome), *outcome.plan.recipe.remarks(outcome)] or _best(outcome, distilled)
    return [*_open(outcome), *_judged(distilled), *own]


def _distilled(outcome: Outcome, table: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of students with a method."""
    taught = {part.label for part in outcome.parts if part.taught and part.configuration.method != "none"}
    return [row for row in table if row["label"] in taught]


def _judged(distilled: Sequence[dict[str, Any]]) -> list[str]:
    """Which methods are better or worse than no teacher, that none is above it, or that too few seeds tell."""
    changes = {row["label"]: row["change"] for row in distilled if row["change"] is not None}
    sentences = []
    if changes and max(changes.values()) <= 0:
        best = max(changes, key=lambda label: changes[label])
        sentences.append(f"No student is above the independent one: {best} comes closest, {100 * changes[best]:+.2f} "
                         "points.")
    for word in ("better", "worse"):
        named = [f"{row['label']} {100 * row['change']:+.1f} points" for row in distilled
                 if str(row["verdict"]).startswith(word)]
        if named:
            sentences.append(f"{word.capitalize()} than the independent student: {', '.join(named)} (paired by seed, "
                             f"Holm-adjusted p < {uncertainty.ALPHA:.2g}; all under the same teacher).")
    few = min((row["seeds"] for row in distilled), default=uncertainty.SEEDS_FOR_A_METHOD)
    if few < uncertainty.SEEDS_FOR_A_METHOD:
        sentences.append(f"{few} seed{'s' if few > 1 else ''} cannot say that a method is better: that takes "
                         f"{uncertainty.SEEDS_FOR_A_METHOD} or more.")
    return sentences


def _best(outcome: Outcome, distilled: Sequence[dict[str, Any]]) -> list[str]:
    recipe = outcome.plan.recipe
    if not distilled or not recipe.ranks:
        return []
    best = max(distilled, key=lambda row: row["accuracy"])
    closest = min(distilled, key=lambda row: row["kl_to_teacher"])
    return [f"Highest mean {recipe.headline} among the students with a method: {best['label']}, "
            f"{best['accuracy']:.2%} ({as_text(recipe, best, 'interval')}).",
            f"Closest to its teacher among them: {closest['label']}, KL {closest['kl_to_teacher']:.4f} nats."]


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


def _contrasts(outcome: Outcome) -> list[str]:
    judged = contrasts(outcome)
    alone = ", one comparison alone"
    return [f"{each['first']} against {each['second']}: {100 * each['change']:+.2f} points of test "
            f"{outcome.plan.recipe.headline}{_between(each['interval'])}; {each['verdict']}"
            f"{alone if len(judged) == 1 and not outcome.missing else ''}." for each in judged]


def _between(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" (interval {100 * interval[0]:+.2f} to {100 * interval[1]:+.2f})"


def _no_baseline(outcome: Outcome, distilled: Sequence[dict[str, Any]]) -> list[str]:
    """Which students have no independent one beside them, and how to get it."""
    alone = [row["label"] for row in distilled if row["change"] is None]
    if not alone or outcome.missing:
        return []
    plan = outcome.plan
    changes = {name: value for name, value in plan.changes.items() if name not in ("skip", "only")}
    commands = [f" Train it: {dataclasses.replace(plan, changes=changes | {'only': [part.label]}).command}"
                for part in plan.recipe.parts(plan.scale) if part.taught and part.configuration.method == "none"]
    return [f"No baseline yet for {', '.join(alone)}: there is no independent student of the same seed, data and "
            f"schedule, so no change can be told.{''.join(commands)}"]
