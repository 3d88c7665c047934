"""Robustness to colour: can a student inherit it from a teacher that was tuned for it?"""

from __future__ import annotations

import dataclasses
import functools
import statistics
from typing import TYPE_CHECKING, Any

from kdengine.colors import INDEPENDENT
from kdengine.recipes.columns import Column, test_images
from kdengine.recipes.parts import crd, students, teacher
from kdengine.recipes.recipe import SCHEDULE, Outcome, Recipe
from kdengine.runs.records import Record
from kdengine.runs.sweeps import Part

if TYPE_CHECKING:
    from torch import Tensor

    from kdengine.views import Split

TUNED = "crop+flip+jitter"
"""The views the tuned teacher trains under; the test images' colours are changed as strongly."""
_PAIRS: dict[str, tuple[str, str, dict[str, Any], int]] = {
    # Drawn scenes, which are always there, at their smallest. Jitter costs the plain teacher 9 points of accuracy, the
    # tuned one 5, measured with seed 0; all of it takes five minutes and a half on two cores.
    "quick": ("resnet20", "resnet8", {"data": "shapes", "image_size": 48, "share": 0.5, "epochs": 10}, 3),
    "lab": ("vgg16_bn", "vgg11_bn", {"data": "cifar100", **SCHEDULE["lab"]}, 10),
    "paper": ("vgg16_bn", "vgg11_bn", {"data": "cifar100", **SCHEDULE["paper"]}, 30),
}


COLUMNS = {
    "jittered": Column("Colours changed", count=test_images),
    "drop": Column("Drop", lambda value: f"{100 * value:.2f} pts"),
    "same_answer": Column("Same answer", count=test_images),
}
"""What `measure` measures."""


def tuned(plain: Part, epochs: int) -> Part:
    """A teacher trained on from another one, for so many epochs, on images whose colours are changed."""
    configuration = dataclasses.replace(plain.configuration, views=TUNED, epochs=epochs, learning_rate=0.01)
    return Part("Colour-tuned teacher", configuration, start=plain.label, seeded=False)


def _parts(scale: str) -> list[Part]:
    large, small, settings, tuning = _PAIRS[scale]
    plain = teacher("Plain teacher", student=large, **settings)
    tuned_teacher = tuned(plain, tuning)
    return [
        plain,
        tuned_teacher,
        *students(plain.label, {
            INDEPENDENT: ("none", {}),
            "KD, plain teacher": ("kd", {}),
            "CRD, plain teacher": crd(scale),
        }, student=small, **settings),
        *students(tuned_teacher.label, {
            "KD, colour-tuned teacher": ("kd", {}),
            "CRD, colour-tuned teacher": crd(scale),
        }, student=small, **settings),
    ]


@functools.lru_cache(maxsize=1)
def _test(spec: str, image_size: int | None) -> tuple[Split, Split]:
    """The test split as it is, and with every image's colours changed once."""
    from kdengine import data, views

    clean = data.load(spec, image_size=image_size).test
    return clean, views.jittered(clean, views.policy(TUNED).jitter, seed=0)


def measure(record: Record) -> dict[str, float]:
    """Accuracy on the changed images, what it lost, and how often the answer stayed the same."""
    import torch

    from kdengine.measures import evaluation, metrics
    from kdengine.runs import references

    clean, jittered = _test(record.configuration.data, record.configuration.image_size)
    network = references.open_reference(record.id)
    before, after = (evaluation.predict(network, split) for split in (clean, jittered))

    def right(logits: Tensor) -> float:
        return metrics.top_k(logits, clean.target, 1)

    with torch.inference_mode():
        return {"jittered": right(after), "drop": right(before) - right(after),
                "same_answer": metrics.agreement(after, before)}


def _remarks(outcome: Outcome) -> list[str]:
    """How often the students of either teacher keep their answer."""
    sentences = []
    for method in ("KD", "CRD"):
        kept = {teacher: statistics.fmean(outcome.measures[label, record.configuration.seed]["same_answer"]
                                          for record in records)
                for teacher in ("colour-tuned", "plain")
                if (records := outcome.of(label := f"{method}, {teacher} teacher"))}
        if len(kept) == 2:
            sentences.append(f"{method}: the student of the color-tuned teacher keeps its answer on "
                             f"{kept['colour-tuned']:.2%} of the images when their colors change, that of the plain "
                             f"one on {kept['plain']:.2%}.")
    return sentences


COLOUR_INVARIANCE = Recipe(
    name="colour_invariance",
    title="Robustness to colour",
    question="Does a student of a colour-tuned teacher keep its answer when the colours change?",
    parts=_parts,
    columns=COLUMNS,
    measure=measure,
    remarks=_remarks,
    gallery=True,
)
