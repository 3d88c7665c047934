"""Response-based against feature-based distillation."""

from __future__ import annotations

from typing import Any

from kdengine.recipes.recipe import INDEPENDENT, SCHEDULE, Recipe, race
from kdengine.sweeps import Part

_PAIRS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "quick": ("resnet20", "resnet8", {"data": "digits", "epochs": 20}),
    "lab": ("resnet50", "resnet18", {"data": "cifar10", **SCHEDULE["lab"]}),
    "paper": ("resnet50", "resnet18", {"data": "cifar10", **SCHEDULE["paper"]}),
}


def _parts(scale: str) -> list[Part]:
    return race(scale, _PAIRS[scale], {
        INDEPENDENT: ("none", {}),
        "Response-based": ("kd", {}),
        "Feature-based": ("features_mse", {}),
    })


RESPONSE_VS_FEATURE = Recipe(
    name="response_vs_feature",
    title="Response or feature",
    question="Does a student learn more from the teacher's answers, or from its feature maps?",
    parts=_parts,
    contrasts=lambda outcome: [("Feature-based", "Response-based")],
    gallery=True,
)
