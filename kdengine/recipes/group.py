"""The lab report of a group of runs that somebody trained side by side: written as a recipe's is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from kdengine.configuration import LEARNING_RATES, Configuration
from kdengine.errors import KDError
from kdengine.recipes.parts import labels
from kdengine.recipes.recipe import Outcome, Plan, Recipe
from kdengine.runs import store, verdicts
from kdengine.runs.records import FAILED, FINISHED, score_text
from kdengine.runs.sweeps import Part

_USUAL = {each.name: each.default for each in dataclasses.fields(Configuration)}
_OF_EACH = ("method", "hyperparameters", "initial")
"""What students of one command may differ in, and what follows from it."""


@dataclass(frozen=True)
class Group(Plan):
    """What a group was, as a plan: its students as parts, and the command that trains them again."""

    @property
    def arguments(self) -> list[str]:
        """See Plan.arguments."""
        configurations = [part.configuration for part in self.parts]
        words = ["distill"]
        usual = _USUAL | {"learning_rate": LEARNING_RATES[configurations[0].optimizer]}
        for name, value in dataclasses.asdict(configurations[0]).items():
            if name not in _OF_EACH and value != usual[name]:
                words += [f"--{name.replace('_', '-')}", *([] if value is True else [_word(value)])]
        for each in configurations:
            fields = [f"{name}={_word(value)}" for name, value in each.hyperparameters.items()]
            words += ["--method", each.method, *fields]
        return words


def outcome(ids: Sequence[str]) -> Outcome:
    """What runs of one group have come to. Raises KDError for none, unknown ones, and several groups or networks."""
    records = [store.read(run) for run in ids]
    if len({(record.group, record.configuration.student) for record in records}) != 1:
        raise KDError(f"A report is of runs of one group and one network; given were {', '.join(ids) or 'none'}.")
    called = labels([(record.configuration.method, record.configuration.hyperparameters) for record in records])
    label_of = {record.id: label for record, label in zip(records, called, strict=True)}
    parts = [Part(label_of[record.id], record.configuration) for record in records]
    group = Recipe(
        name="group", title="Students side by side", parts=lambda scale: parts,
        question="What do these methods change, trained on the same views of the same data?",
        headline="mIoU" if records[0].data.get("task") == "segmentation" else "accuracy", remarks=_baseline_elsewhere)
    states = {record.id: store.state(record.id) for record in records}
    return Outcome(
        Group(group),
        {(label_of[record.id], record.configuration.seed): record for record in records
         if states[record.id] == FINISHED},
        {(label_of[record.id], record.configuration.seed): record.status["reason"] or "no reason is known"
         for record in records if states[record.id] == FAILED})


def _baseline_elsewhere(outcome: Outcome) -> list[str]:
    """Which independent student the changes are held against, where it is none of the group."""
    everything, own = outcome.everything(), {record.id for record in outcome.records.values()}
    twins = verdicts.independent_twins(everything)
    elsewhere = sorted({twins[run] for run in own if run in twins} - own)
    return [f"The independent student that the changes are held against was trained in another group: {run}, "
            f"{score_text(everything[run].result['test'])}." for run in elsewhere]


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
