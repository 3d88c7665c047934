"""Distilling a segmentation network: by its answers, by its feature maps, and by both."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from altair.typing import ChartType

from kdengine.charts import class_ious, learning_rates, total_losses
from kdengine.colors import INDEPENDENT
from kdengine.recipes.columns import Printed
from kdengine.recipes.parts import race
from kdengine.recipes.recipe import SCHEDULE, Outcome, Recipe
from kdengine.runs.records import Record
from kdengine.runs.sweeps import Part

COMBINED = "Combined"
_SETTINGS: dict[str, Any] = {"optimizer": "adamw", "batch_size": 16, "labels_per_class": None}
_PAIRS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "quick": ("fpn_compact", "fpn_tiny", {**_SETTINGS, "data": "shapes_segmentation", "epochs": 10, "batch_size": 32}),
    "lab": ("fpn_efficientnet_lite2", "fpn_compact", {
        **_SETTINGS, "data": "folder:camvid", "image_size": 512, **SCHEDULE["lab"]}),
    "paper": ("deeplabv3_resnet50", "fpn_compact", {
        **_SETTINGS, "data": "voc2012", "image_size": 512, **SCHEDULE["paper"]}),
}
_METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    INDEPENDENT: ("none", {}),
    "Response-based": ("combined", {"cross_entropy_weight": 1.0, "kl_weight": 0.7, "temperature": 4.0,
                                    "feature_weight": 0.0}),
    "Feature-based": ("features_cosine", {"gamma": 0.5}),
    COMBINED: ("combined", {"cross_entropy_weight": 1.0, "kl_weight": 0.7, "temperature": 4.0, "feature_weight": 0.5,
                            "features": "cosine"}),
}


def _parts(scale: str) -> list[Part]:
    # A few hundred photographs are too few to train a large encoder from nothing.
    return race(scale, _PAIRS[scale], _METHODS, pretrained=scale != "quick")


def _figures(outcome: Outcome) -> dict[str, ChartType]:
    histories = {part.label: outcome.source.history(record.id) for part in outcome.parts
                 for record in outcome.of(part.label)[:1]}
    tested = {part.label: records for part in outcome.parts if (records := outcome.of(part.label))}
    classes = next(iter(tested.values()))[0].data["classes"] if tested else []
    students = {label: rows for label, rows in histories.items() if label in _METHODS}
    return {
        "Total training loss of each student, first seed; methods sum different terms, so only a curve's own course "
        "says something.": total_losses(students),
        "Learning rate.": learning_rates(students),
        "Test IoU of each class, mean over the seeds.": class_ious(
            {label: _class_ious(records) for label, records in tested.items()}, classes, legend=True),
    }


def _class_ious(records: Sequence[Record]) -> list[float | None]:
    """The IoU of each class, a mean over the networks; None where none has a pixel of it."""
    each_class = zip(*(record.result["test"]["iou"] for record in records), strict=True)
    return [statistics.fmean(values) if (values := [iou for iou in ious if iou is not None]) else None
            for ious in each_class]


SEGMENTATION_KD = Recipe(
    name="segmentation_kd",
    title="Segmentation",
    question="Does a small segmentation network learn more from the teacher's answers, its feature maps, or both?",
    parts=_parts,
    figures=_figures,
    contrasts=lambda outcome: [("Feature-based", "Response-based")],
    gallery=True,
    headline="mIoU",
    printed=(Printed("a lab sheet: 512 px, 30 epochs", "folder:camvid", {
        INDEPENDENT: {"accuracy": 0.6245}, "Response-based": {"accuracy": 0.6387},
        "Feature-based": {"accuracy": 0.6412}}),),
    apart="The sheet trains a student of 2.81 million parameters once, on images of 512 pixels and on classes of its "
          "own choice. Fewer pixels cost most of all in thin classes: poles, signs, fences.",
)
