"""What recipes are made of: teachers, and the students of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from kdengine.colors import INDEPENDENT
from kdengine.configuration import Configuration
from kdengine.runs.sweeps import Part


def teacher(label: str, **settings: Any) -> Part:
    """A network trained on the labels alone, once, to teach others."""
    return Part(label, Configuration(**settings), seeded=False)


def labels(students: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """What students side by side are called, see `methods.told_apart`; the one alone as in every recipe."""
    from kdengine import methods

    alone = methods.titled("none")
    return [INDEPENDENT if title == alone else title for title in methods.told_apart(students)]


def few_labels(scale: str) -> int | None:
    """Labeled images per class that the students read: ten at `quick`, where all of them make the digits too easy."""
    return 10 if scale == "quick" else None


def race(
    scale: str, pair: tuple[str, str, dict[str, Any]], methods: Mapping[str, tuple[str, dict[str, Any]]],
    *, pretrained: bool = False,
) -> list[Part]:
    """One teacher and one student a method: (teacher's architecture, students' architecture, settings of all).

    pretrained: whether the teacher starts from published weights.
    """
    large, small, settings = pair
    return [
        teacher("Teacher", student=large, pretrained=pretrained, **settings),
        *students("Teacher", methods, student=small, **{"labels_per_class": few_labels(scale), **settings}),
    ]


def crd(scale: str) -> tuple[str, dict[str, Any]]:
    """CRD as a recipe trains it: with the published 16,384 negatives at `paper`, elsewhere with 1,024.

    On a CPU the published number costs more than all the rest of a step.
    """
    return "crd", {"negatives": 16384 if scale == "paper" else 1024}


def students(
    taught_by: str | None, methods: Mapping[str, tuple[str, dict[str, Any]]], **settings: Any
) -> list[Part]:
    """One student a method, trained side by side under one teacher: (method, hyperparameters) by label.

    taught_by: the teacher's label; None where the settings name one that is there already.
    """
    shared = Configuration(**settings)
    return [
        Part(label, dataclasses.replace(shared, method=method, hyperparameters=fields), teacher=taught_by)
        for label, (method, fields) in methods.items()
    ]
