"""Hinton's experiment: a student whose transfer set lacks one class learns that class from soft targets."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from altair.typing import ChartType

from kdengine.charts import against
from kdengine.errors import KDError
from kdengine.recipes.columns import Column, test_images
from kdengine.recipes.parts import students, teacher
from kdengine.recipes.recipe import SCHEDULE, Outcome, Recipe
from kdengine.runs import results
from kdengine.runs.records import Record
from kdengine.runs.sweeps import Part

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


def _predictions(record: Record) -> dict[str, Any]:
    predictions = results.predictions(record.id)
    if predictions is None:
        raise KDError(f"The predictions of run {record.id} are gone. Remove it (python -m kdengine runs {record.id} "
                      "--remove) and run the recipe again.")
    return predictions


def _measure(record: Record) -> dict[str, float]:
    """Accuracy on the missing class, as trained and with that class's logit shifted to its known share."""
    import torch

    from kdengine.measures import bias

    predictions = _predictions(record)
    logits, target = torch.from_numpy(predictions["logits"]), torch.from_numpy(predictions["target"])
    missing = target == MISSING
    shifted, shift = bias.corrected(logits, MISSING, 1 / logits.shape[1])

    def right(of: torch.Tensor, among: torch.Tensor) -> float:
        return (of.argmax(dim=1) == target)[among].float().mean().item()

    return {
        "missing": right(logits, missing),
        "missing_corrected": right(shifted, missing),
        "all_corrected": right(shifted, torch.ones_like(missing)),
        "shift": shift,
        "images": int(missing.sum()),
    }


def _of_the_class(record: Record, measured: Mapping[str, float]) -> int:
    """How many test images of the missing class there are."""
    return int(measured["images"])


def _figures(outcome: Outcome) -> dict[str, ChartType]:
    points = []
    for part in outcome.parts:
        records = outcome.of(part.label)
        if part.configuration.method == "kd" and records:
            measured = [value for (label, _), value in outcome.measures.items() if label == part.label]
            for key, name in (("missing", "as trained"), ("missing_corrected", "bias corrected")):
                points.append({"x": part.configuration.hyperparameters["temperature"], "series": name,
                               "score": statistics.fmean(each[key] for each in measured)})
    if not points:
        return {}
    return {"Accuracy on the class that no student saw, against the temperature.":
            against(points, "temperature", "Accuracy")}


def _remarks(outcome: Outcome) -> list[str]:
    if not outcome.records:
        return []
    names = next(iter(outcome.records.values())).data["classes"]
    return [*_recognized(outcome, names[MISSING]),
            f"The missing class is {names[MISSING]!r}. Its logit is shifted until one in {len(names)} test images is "
            "named as it, which takes every class to be as frequent and reads no label."]


def _recognized(outcome: Outcome, name: str) -> list[str]:
    """How much of the missing class the hard labels teach, and the soft targets at their best."""
    means = {part.label: [statistics.fmean(outcome.measures[part.label, record.configuration.seed][key]
                                           for record in records) for key in ("missing", "missing_corrected")]
             for part in outcome.parts if part.taught and (records := outcome.of(part.label))}
    soft = [part.label for part in outcome.parts if part.label in means and part.configuration.method == "kd"]
    if not soft:
        return []
    best = max(soft, key=lambda label: means[label][1])
    hard = "".join(f"; {label}: {values[0]:.2%} and {values[1]:.2%}" for label, values in means.items()
                   if label not in soft)
    return [f"Of the test images of {name!r}, which no student's training images hold, {best} names "
            f"{means[best][0]:.2%} as trained and {means[best][1]:.2%} with its bias corrected{hard}."]


MISSING_CLASS = Recipe(
    name="missing_class",
    title="The class it never saw",
    question="Can a student recognize a class that its training images lack, from the teacher's soft targets alone?",
    parts=_parts,
    columns={
        "missing": Column("On the missing class", count=_of_the_class),
        "missing_corrected": Column("On it, bias corrected", count=_of_the_class),
        "all_corrected": Column("On all classes, bias corrected", count=test_images),
        "shift": Column("Shift of its logit", "{:+.2f} nats".format),
    },
    measure=_measure,
    figures=_figures,
    leads=True,
    remarks=_remarks,
)
