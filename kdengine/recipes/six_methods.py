"""Six ways to train one student, compared, and ranked by how close each comes to the teacher."""

from __future__ import annotations

from typing import Any

from kdengine.colors import INDEPENDENT
from kdengine.recipes.parts import crd, race
from kdengine.recipes.recipe import SCHEDULE, Recipe
from kdengine.runs.sweeps import Part

_PAIRS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "quick": ("resnet20", "resnet8", {"data": "digits", "epochs": 20}),
    "lab": ("vgg16_bn", "vgg11_bn", {"data": "cifar100", **SCHEDULE["lab"]}),
    "paper": ("vgg16_bn", "vgg11_bn", {"data": "cifar100", **SCHEDULE["paper"]}),
}


def methods(scale: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """The six ways, the first of them without a teacher: (method, hyperparameters) by label."""
    return {
        INDEPENDENT: ("none", {}),
        "Logit matching": ("kd", {}),
        "Label smoothing": ("label_smoothing", {}),
        "DKD": ("dkd", {}),
        "Hints": ("fitnet", {}),
        "CRD": crd(scale),
    }


def _parts(scale: str) -> list[Part]:
    return race(scale, _PAIRS[scale], methods(scale))


SIX_METHODS = Recipe(
    name="six_methods",
    title="Six methods",
    question="Which of six ways of training brings a student furthest, and which closest to its teacher?",
    parts=_parts,
    gallery=True,
)
