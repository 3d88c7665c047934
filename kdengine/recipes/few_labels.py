"""Few labels, many pictures: what a teacher is worth where labels are dear."""

from __future__ import annotations

from typing import Any

from kdengine.colors import INDEPENDENT
from kdengine.recipes.parts import students, teacher
from kdengine.recipes.recipe import SCHEDULE, Recipe
from kdengine.runs.sweeps import Part

_SETTINGS: dict[str, tuple[str | None, str, dict[str, Any], int]] = {
    "quick": ("resnet20", "resnet8", {"data": "digits", "epochs": 20}, 5),
    # Its teacher brings ImageNet's weights and is not trained here.
    "lab": (None, "resnet8x4_imagenet", {"data": "imagenette", "image_size": 128, **SCHEDULE["lab"]}, 10),
    "paper": ("resnet56", "resnet20", {"data": "cifar10", **SCHEDULE["paper"]}, 40),
}
_PACKAGED = "efficientnet_lite2"


def _parts(scale: str) -> list[Part]:
    large, small, settings, labels = _SETTINGS[scale]
    own = [] if large is None else [teacher("Teacher", student=large, **settings)]
    packaged = {"teacher": _PACKAGED} if large is None else {}
    return [*own, *students("Teacher" if own else None, {
        INDEPENDENT: ("none", {}),
        "Label smoothing": ("label_smoothing", {}),
        "Logit matching": ("kd", {"alpha": 1.0}),  # reads no label at all
        "Feature matching": ("features_mse", {}),
    }, student=small, labels_per_class=labels, **packaged, **settings)]


FEW_LABELS = Recipe(
    name="few_labels",
    title="Few labels",
    question="What is a teacher worth to a student that has many pictures, and a label for only a few of them?",
    parts=_parts,
    contrasts=lambda outcome: [("Feature matching", "Logit matching")],
    gallery=True,
)
