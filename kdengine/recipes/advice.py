"""Where a recipe has no baseline, or nobody gains: what that is, and what may be tried."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from kdengine.recipes.recipe import Outcome
from kdengine.runs.records import headline


def no_baseline(outcome: Outcome, distilled: Sequence[dict[str, Any]]) -> list[str]:
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


def no_gain(outcome: Outcome, distilled: Sequence[dict[str, Any]]) -> list[str]:
    """Where no student is above the independent one: that, and what was measured that bears on it and may be tried."""
    changes = {row["label"]: row["change"] for row in distilled if row["change"] is not None}
    if outcome.missing or not changes or max(changes.values()) > 0:
        return []
    recipe, best = outcome.plan.recipe, max(changes, key=lambda label: changes[label])
    records = [record for label in changes for record in outcome.of(label)]
    label, option = (("mask", "--labelled-images") if recipe.headline == "mIoU" else ("label", "--labels-per-class"))
    sentences = []
    tries = ["another temperature or weight, chosen on validation images"]
    if all(record.data["labelled"] == record.data["train"] for record in records):
        sentences.append(f"Every training image has its {label}, which leaves a teacher little to add.")
        tries.insert(0, f"fewer {label}s ({option})")
    rising = [label for label in changes if any(map(_rose_to_the_end, map(outcome.source.history, (
        record.id for record in outcome.of(label)))))]
    if rising:
        sentences.append(f"The validation {recipe.headline} was highest in the last epoch for {', '.join(rising)}.")
        tries.append("more epochs (--epochs)")
    return [f"No student is above the independent one: {best} comes closest, {100 * changes[best]:+.2f} points.",
            " ".join([*sentences, f"What may be tried: {'; '.join(tries)}."])]


def _rose_to_the_end(history: Sequence[dict[str, Any]]) -> bool:
    """Whether no earlier epoch was as good on validation as the last one."""
    *earlier, last = (headline(row["validation"]) for row in history)
    return bool(earlier) and last > max(earlier)
