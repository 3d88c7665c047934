"""What a recipe is: a named lab experiment, declared as the networks it trains and what it draws from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kdengine.errors import unknown_name
from kdengine.records import Configuration, Record
from kdengine.sweeps import Part

if TYPE_CHECKING:
    import altair

SCALES = {
    "quick": "minutes on two CPU cores: small networks, few epochs",
    "lab": "what a lab sheet asks for: 40 epochs; a GPU, or a night",
    "paper": "the published schedule: 240 epochs, learning rate x 0.1 at 150, 180 and 210",
}

SCHEDULE: dict[str, dict[str, Any]] = {
    "lab": {"epochs": 40},
    "paper": {"epochs": 240, "schedule": "step"},
}
"""Settings of the two long scales that every recipe shares."""


@dataclass(frozen=True)
class Outcome:
    """What a recipe has so far: its parts, and the finished record of each by (label, seed)."""

    parts: Sequence[Part]
    records: Mapping[tuple[str, int], Record]

    def of(self, label: str) -> list[Record]:
        """The finished records of one part, by seed."""
        return [record for (each, _), record in sorted(self.records.items()) if each == label]


def _nothing(record: Record) -> dict[str, float]:
    return {}


def _no_figures(outcome: Outcome) -> dict[str, altair.Chart]:
    return {}


def _no_remarks(outcome: Outcome) -> list[str]:
    return []


@dataclass(frozen=True)
class Recipe:
    """A named experiment.

    question: what it answers, in a sentence. parts(scale): the networks, teachers before their students.
    columns: further columns of its table, title by key; measure(record) gives their values for one run.
    figures(outcome): charts by caption. remarks(outcome): sentences computed from its numbers.
    """

    name: str
    title: str
    question: str
    parts: Callable[[str], list[Part]]
    columns: Mapping[str, str] = field(default_factory=dict)
    measure: Callable[[Record], dict[str, float]] = _nothing
    figures: Callable[[Outcome], dict[str, altair.Chart]] = _no_figures
    remarks: Callable[[Outcome], list[str]] = _no_remarks

    def plan(self, scale: str) -> list[Part]:
        """The parts at a scale. Raises KDError for an unknown one."""
        if scale not in SCALES:
            raise unknown_name("scale", scale, SCALES)
        return self.parts(scale)


def teacher(label: str, **settings: Any) -> Part:
    """A network trained on the labels alone, once, to teach others."""
    return Part(label, Configuration(**settings), seeded=False)


def students(
    taught_by: str, methods: Mapping[str, tuple[str, dict[str, Any]]], **settings: Any
) -> list[Part]:
    """One student a method, trained side by side under one teacher: (method, hyperparameters) by label."""
    shared = Configuration(**settings)
    return [
        Part(label, dataclasses.replace(shared, method=method, hyperparameters=fields), teacher=taught_by)
        for label, (method, fields) in methods.items()
    ]
