"""Tuning T and alpha of logit matching, on validation images kept apart from the test images."""

from __future__ import annotations

from typing import Any

from altair.typing import ChartType

from kdengine.charts import grid
from kdengine.colors import INDEPENDENT
from kdengine.recipes.parts import race
from kdengine.recipes.recipe import SCHEDULE, Outcome, Recipe
from kdengine.runs.sweeps import Part

_TENTHS = tuple(tenth / 10 for tenth in range(1, 11))
_GRIDS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "quick": ((1.0, 2.0, 4.0, 8.0), (0.1, 0.5, 0.9, 1.0)),
    "lab": (tuple(map(float, range(1, 11))), _TENTHS),
    "paper": (tuple(map(float, range(1, 11))), _TENTHS),
}
_PAIRS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "quick": ("resnet20", "resnet8", {"data": "digits", "epochs": 15}),
    "lab": ("resnet56", "resnet20", {"data": "cifar10", **SCHEDULE["lab"]}),
    "paper": ("resnet56", "resnet20", {"data": "cifar10", **SCHEDULE["paper"]}),
}


def _parts(scale: str) -> list[Part]:
    temperatures, alphas = _GRIDS[scale]
    points = {
        f"T {temperature:g}, alpha {alpha:g}": ("kd", {"temperature": temperature, "alpha": alpha})
        for temperature in temperatures for alpha in alphas
    }
    return race(scale, _PAIRS[scale], {INDEPENDENT: ("none", {}), **points})


def _points(outcome: Outcome) -> list[dict[str, Any]]:
    """Each finished point of the grid: label, temperature, alpha, and mean validation and test accuracy."""
    points = []
    for part in outcome.parts:
        if part.configuration.method == "kd" and outcome.of(part.label):
            points.append({"label": part.label, **part.configuration.hyperparameters, **outcome.scores(part.label)})
    return points


def _chosen(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """The point the whole grid chooses, and the one of the two steps with its first; empty while a point is missing.

    On validation accuracy alone; of equal points the first: the smallest T, then the smallest alpha.
    """
    points = _points(outcome)
    if not points or outcome.missing:
        return {}

    def best(among: list[dict[str, Any]]) -> dict[str, Any]:
        return max(among, key=lambda point: point["validation"])

    lowest = min(point["alpha"] for point in points)
    first = best([point for point in points if point["alpha"] == lowest])
    second = best([point for point in points if point["temperature"] == first["temperature"]])
    return {"first": first, "second": second, "grid": best(points)}


def _figures(outcome: Outcome) -> dict[str, ChartType]:
    points = _points(outcome)
    if not points:
        return {}
    chosen = {point["label"] for step, point in _chosen(outcome).items() if step == "grid"}
    return {"Validation accuracy over T and alpha, the chosen point outlined; the test images take no part in it.":
            grid([{"x": point["temperature"], "y": point["alpha"], "chosen": point["label"] in chosen, **point}
                  for point in points], "temperature", "alpha")}


def _remarks(outcome: Outcome) -> list[str]:
    chosen = _chosen(outcome)
    if not chosen:
        return []
    first, second, whole = chosen["first"], chosen["second"], chosen["grid"]
    return [
        f"Tuning in two steps: at alpha {first['alpha']:g} the best T is {first['temperature']:g}; at that T the best "
        f"alpha is {second['alpha']:g} (validation {second['validation']:.2%}, test {second['test']:.2%}).",
        f"The whole grid chooses {whole['label']} (validation {whole['validation']:.2%}, test {whole['test']:.2%}).",
    ]


def _judges(outcome: Outcome, label: str) -> bool:
    """Only what validation chose is judged on the test images."""
    return label in {point["label"] for step, point in _chosen(outcome).items() if step != "first"}


TEMPERATURE_ALPHA = Recipe(
    name="temperature_alpha",
    title="Tuning T and alpha",
    question="Which temperature and which share of the teacher serve the student best?",
    parts=_parts,
    figures=_figures,
    leads=True,
    remarks=_remarks,
    ranks=False,
    judges=_judges,
)
