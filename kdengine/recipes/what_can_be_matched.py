"""One method of each of the six kinds, racing on one pair."""

from __future__ import annotations

from typing import Any

from kdengine.colors import INDEPENDENT
from kdengine.recipes.parts import race
from kdengine.recipes.recipe import SCHEDULE, Recipe
from kdengine.runs.sweeps import Part

_PAIRS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "quick": ("resnet20", "resnet8", {"data": "digits", "epochs": 20}),
    "lab": ("resnet56", "resnet20", {"data": "cifar10", **SCHEDULE["lab"]}),
    "paper": ("resnet56", "resnet20", {"data": "cifar100", **SCHEDULE["paper"]}),
}


def _parts(scale: str) -> list[Part]:
    return race(scale, _PAIRS[scale], {
        INDEPENDENT: ("none", {}),
        "Logits (KD)": ("kd", {}),
        "Weights": ("weights", {}),
        "Features (MSE)": ("features_mse", {}),
        "Gradients (input)": ("input_gradient", {}),
        "Sparsity (AB)": ("activation_boundary", {}),
        "Relations (RKD)": ("rkd", {}),
    })


WHAT_CAN_BE_MATCHED = Recipe(
    name="what_can_be_matched",
    title="What can be matched",
    question="Logits, weights, features, gradients, sparsity, relations: what of a teacher is worth matching?",
    parts=_parts,
    gallery=True,
)
