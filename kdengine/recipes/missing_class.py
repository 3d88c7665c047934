"""Hinton's experiment: a student whose transfer set lacks one class learns that class from soft targets."""

from __future__ import annotations

import statistics
from typing import Any

import altair

from kdengine import results
from kdengine.charts import against_temperature
from kdengine.recipes.recipe import SCHEDULE, Outcome, Recipe, students, teacher
from kdengine.records import Record
from kdengine.sweeps import Part

MISSING = 3
"""As in the paper: the student never sees a 3."""
_TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0)
_SETTINGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "quick": ("resnet20", "resnet8", {"data": "digits", "epochs": 30}),
    "lab": ("resnet56", "resnet20", {"data": "fashion_mnist", **SCHEDULE["lab"]}),
    "paper": ("resnet56", "resnet20", {"data": "cifar10", **SCHEDULE["paper"]}),
}


def _parts(scale: str) -> list[Part]:
    large, small, settings = _SETTINGS[scale]
    return [
        teacher("Teacher", student=large, **settings),
        *students("Teacher", {
            "Hard labels": ("none", {}),
            **{f"Soft targets, T {value:g}": ("kd", {"temperature": value, "alpha": 1.0}) for value in _TEMPERATURES},
        }, student=small, without_class=MISSING, **settings),
    ]


def _measure(record: Record) -> dict[str, float]:
    """Accuracy on the missing class, as trained and with that class's logit shifted to its known share."""
    import torch

    from kdengine import bias

    held = results.predictions(record.id)
    logits, target = torch.from_numpy(held["logits"]), torch.from_numpy(held["target"])
    missing = target == MISSING
    shifted, shift = bias.corrected(logits, MISSING, 1 / logits.shape[1])

    def right(of: torch.Tensor, among: torch.Tensor) -> float:
        return (of.argmax(dim=1) == target)[among].float().mean().item()

    return {
        "missing": right(logits, missing),
        "missing_corrected": right(shifted, missing),
        "all_corrected": right(shifted, torch.ones_like(missing)),
        "shift": shift,
    }


def _figures(outcome: Outcome) -> dict[str, altair.Chart]:
    points = []
    for part in outcome.parts:
        records = outcome.of(part.label)
        if part.configuration.method == "kd" and records:
            measured = [_measure(record) for record in records]
            for key, name in (("missing", "as trained"), ("missing_corrected", "bias corrected")):
                points.append({"temperature": part.configuration.hyperparameters["temperature"], "series": name,
                               "accuracy": statistics.fmean(each[key] for each in measured)})
    return {f"Accuracy on class {MISSING}, which no student saw, against the temperature.": against_temperature(points)}


MISSING_CLASS = Recipe(
    name="missing_class",
    title="The class it never saw",
    question="Can a student recognise a class that its training images lack, from the teacher's soft targets alone?",
    parts=_parts,
    columns={
        "missing": f"On class {MISSING}",
        "missing_corrected": f"On class {MISSING}, bias corrected",
        "all_corrected": "All classes, bias corrected",
        "shift": "Shift of its logit",
    },
    measure=_measure,
    figures=_figures,
)
