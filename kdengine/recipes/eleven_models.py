"""A whole lab sheet in one command: three teachers, eight students, and all that is asked of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdengine.colors import INDEPENDENT
from kdengine.recipes import colour_invariance, six_methods, teacher_capacity
from kdengine.recipes.columns import Printed
from kdengine.recipes.parts import crd, students, teacher
from kdengine.recipes.recipe import SCHEDULE, Recipe
from kdengine.runs.sweeps import Part

if TYPE_CHECKING:
    pass

_PAIRS: dict[str, tuple[str, str, str, dict[str, Any], int]] = {
    "quick": ("resnet20", "resnet32", "resnet8", {"data": "shapes", "image_size": 48, "share": 0.5, "epochs": 10}, 3),
    "lab": ("vgg16_bn", "vgg19_bn", "vgg11_bn", {"data": "cifar100", **SCHEDULE["lab"]}, 10),
    "paper": ("vgg16_bn", "vgg19_bn", "vgg11_bn", {"data": "cifar100", **SCHEDULE["paper"]}, 30),
}


def _parts(scale: str) -> list[Part]:
    large, larger, small, settings, tuning = _PAIRS[scale]
    plain = teacher("Teacher", student=large, **settings)
    tuned = colour_invariance.tuned(plain, tuning)
    return [
        plain,
        teacher("Larger teacher", student=larger, **settings),
        tuned,
        *students(plain.label, six_methods.methods(scale), student=small, **settings),
        *students(tuned.label, {"CRD, colour-tuned teacher": crd(scale)}, student=small, **settings),
        *students("Larger teacher", {"Logit matching, larger teacher": ("kd", {})}, student=small, **settings),
    ]


ELEVEN_MODELS = Recipe(
    name="eleven_models",
    title="The whole sheet: eleven models",
    question="Six ways to train one student, a larger teacher, a teacher tuned for colour: what does each of them buy?",
    parts=_parts,
    columns=colour_invariance.COLUMNS,
    measure=colour_invariance.measure,
    figures=teacher_capacity.capacity,
    contrasts=lambda outcome: [("CRD, colour-tuned teacher", "CRD"),
                               ("Logit matching, larger teacher", "Logit matching")],
    gallery=True,
    printed=(Printed("a lab report, one run", "cifar100", {
        "Teacher": {"accuracy": 0.74},
        INDEPENDENT: {"accuracy": 0.6612, "jittered": 0.4623, "same_answer": 0.5331},
        "Logit matching": {"accuracy": 0.6927},
        "Label smoothing": {"accuracy": 0.6699},
        "DKD": {"accuracy": 0.6933},
        "Hints": {"accuracy": 0.6793},
        "CRD": {"accuracy": 0.6977, "jittered": 0.5052, "same_answer": 0.5871},
        "CRD, colour-tuned teacher": {"accuracy": 0.7016, "jittered": 0.5586, "same_answer": 0.6547},
    }),),
    apart="The lab report trains VGG-16 and VGG-11 on all of CIFAR-100, once, and prints no interval. Its student "
          "alone is weaker than VGG-11 with batch norm trained to the end (70.8 %).",
)
