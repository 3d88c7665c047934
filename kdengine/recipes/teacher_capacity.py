"""Larger teachers for one student: does the student follow?"""

from __future__ import annotations

import statistics
from typing import Any

from altair.typing import ChartType

from kdengine.charts import by_teacher
from kdengine.colors import INDEPENDENT
from kdengine.recipes.parts import few_labels, students, teacher
from kdengine.recipes.recipe import SCHEDULE, Outcome, Recipe
from kdengine.runs.sweeps import Part

_TEACHERS: dict[str, tuple[tuple[str, ...], str, dict[str, Any]]] = {
    "quick": (("resnet8", "resnet14", "resnet20", "resnet32"), "resnet8", {"data": "digits", "epochs": 15}),
    "lab": (("vgg16_bn", "vgg19_bn"), "vgg11_bn", {"data": "cifar100", **SCHEDULE["lab"]}),
    "paper": (("resnet20", "resnet32", "resnet44", "resnet56", "resnet110"), "resnet8",
              {"data": "cifar100", **SCHEDULE["paper"]}),
}


def _parts(scale: str) -> list[Part]:
    teachers, small, settings = _TEACHERS[scale]
    learning = {"student": small, "labels_per_class": few_labels(scale), **settings}
    parts = [teacher(f"Teacher {name}", student=name, **settings) for name in teachers]
    parts += students(f"Teacher {teachers[0]}", {INDEPENDENT: ("none", {})}, **learning)
    for name in teachers:
        parts += students(f"Teacher {name}", {f"Taught by {name}": ("kd", {})}, **learning)
    return parts


def capacity(outcome: Outcome) -> dict[str, ChartType]:
    """Students of logit matching against the size of their teachers."""
    points = []
    for part in outcome.parts:
        records = outcome.of(part.label)
        if part.configuration.method == "kd" and records and (taught_by := records[0].teacher):
            points.append({
                "teacher": taught_by["architecture"],
                "parameters": taught_by["parameters"],
                "teacher_accuracy": taught_by["test"]["top1"],
                "student_accuracy": statistics.fmean(record.result["test"]["top1"] for record in records),
            })
    if not points:
        return {}
    return {"Accuracy of teacher and student against the teacher's size. A capacity gap shows where a larger teacher "
            "makes a worse student.": by_teacher(points)}


def _contrasts(outcome: Outcome) -> list[tuple[str, str]]:
    """The student of the largest teacher against that of the smallest."""
    taught = [part.label for part in outcome.parts if part.configuration.method == "kd"]
    return [(taught[-1], taught[0])]


TEACHER_CAPACITY = Recipe(
    name="teacher_capacity",
    title="Larger teachers",
    question="Does a larger teacher make a better student, or can the gap between them be too wide?",
    parts=_parts,
    figures=capacity,
    leads=True,
    contrasts=_contrasts,
)
