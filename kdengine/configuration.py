"""What decides a run's numbers: the configuration of one student, each value in its range. Needs no torch."""

from __future__ import annotations

import functools
import math
import numbers
import reprlib
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kdengine.errors import KDError, out_of_range, unknown_name
from kdengine.files import Text, Values, Whole, convert

LEARNING_RATES = {"sgd": 0.05, "adam": 1e-3, "adamw": 1e-3}
"""Optimisers and the learning rate each starts from where none is given."""
CLASS_WEIGHTS = ("equal", "balanced")
SCHEDULES = ("constant", "cosine", "step")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16")
COMPILE = ("never", "always")
_MEANT = {bool: "true or false", int: "a whole number", float: "a number", str: "a text",
          dict: "numbers, texts, true and false by their names"}
_RANGES: dict[str, tuple[float | None, float | None]] = {
    "epochs": (1, None),
    "batch_size": (2, None),
    "seed": (0, 2**63 - 1),
    "momentum": (0, 0.9999),
    "weight_decay": (0, None),
    "warmup_epochs": (0, None),
    "labels_per_class": (1, None),
    "labelled_images": (1, None),
    "labelled_share": (0, 1),
    "without_class": (0, None),
    "image_size": (8, 1024),
    "threads": (1, None),
}
_CHOICES = {"class_weights": CLASS_WEIGHTS, "optimizer": tuple(LEARNING_RATES), "schedule": SCHEDULES,
            "device": DEVICES, "precision": PRECISIONS, "compile": COMPILE}
_SHARED = ("data", "labels_per_class", "labelled_images", "labelled_share", "share", "without_class", "image_size",
           "views", "class_weights", "teacher", "epochs", "batch_size", "seed", "device", "threads", "compile")


@dataclass(frozen=True)
class Configuration:
    """Everything that decides a run's numbers, for one student. Out of range raises KDError.

    data: a data set's name, or `folder:PATH`. labels_per_class: how many labels per class the student may read; None
    is all. labelled_images: how many training images keep their masks, where the data have masks; None is all.
    labelled_share: where labels are withheld, the part of each batch that has one at least, in [0, 1]; with 0 it is
    what chance brings. share: part of the training images used, in (0, 1]. without_class: number of a class whose
    training images are all left out; None is no class. views: a view policy's name; None is the data set's own.
    teacher: a checkpoint's reference, None where no teacher takes part. pretrained: whether the student starts from
    published weights, where its architecture has any. class_weights: what labels count in cross-entropy, all the same
    or, with `balanced`, those of rare classes more. learning_rate: None is the optimiser's usual one.
    initial: a run whose student, and adapter where it fits, this one starts from: the first of two linked runs.
    warmup_epochs: linear, may be fractional. schedule `step`: x 0.1 at 62.5%, 75% and 87.5% of the epochs (150, 180,
    210 of 240). threads: CPU threads, None is torch's choice. precision `auto`: what is settled for this machine, with
    how maps lie in memory (`kdengine.training.speeds`). compile: whether torch compiles the students, which then take
    turns; `always`, or the run fails.
    """

    data: Text = "digits"
    student: Text = "resnet8"
    method: Text = "none"
    hyperparameters: Values = field(default_factory=dict)
    teacher: Text | None = None
    initial: Text | None = None
    pretrained: bool = False
    labels_per_class: Whole | None = None
    labelled_images: Whole | None = None
    labelled_share: float = 0.5
    share: float = 1.0
    without_class: Whole | None = None
    image_size: Whole | None = None
    views: Text | None = None
    class_weights: Text = "equal"
    epochs: Whole = 30
    batch_size: Whole = 64
    optimizer: Text = "sgd"
    learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Text = "cosine"
    warmup_epochs: float = 0.0
    seed: Whole = 0
    device: Text = "auto"
    precision: Text = "auto"
    threads: Whole | None = None
    compile: Text = "never"

    def __post_init__(self) -> None:
        for name, (shape, meant) in _fields().items():
            plain = _plain(getattr(self, name))
            object.__setattr__(self, name, plain)
            try:
                convert(plain, shape)
            except KDError:
                raise KDError(f"{name} is {reprlib.repr(getattr(self, name))}; allowed is {meant}.") from None
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise unknown_name(name, str(getattr(self, name)), allowed)
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            if not math.isfinite(value) or value < low or (high is not None and value > high):
                raise out_of_range(name, value, low, high)
        if not 0 < self.share <= 1:
            raise KDError(f"share is {self.share!r}; allowed is a number above 0 and at most 1.")
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", LEARNING_RATES[self.optimizer])
        elif not 0 < self.learning_rate < math.inf:
            raise KDError(f"learning_rate is {self.learning_rate!r}; allowed is a number above 0.")

    def shared(self) -> dict[str, Any]:
        """The part that all students of one group have in common: data, views, teacher, seed, batch and epochs."""
        return {name: getattr(self, name) for name in _SHARED}


def one_group(configurations: Iterable[Configuration]) -> None:
    """Raise KDError unless the configurations, one at least, can be trained side by side."""
    shared = [each.shared() for each in configurations]
    if not shared:
        raise KDError("No configuration is given, so there is nothing to train; name one student at least.")
    first, *others = shared
    for other in others:
        for name, value in first.items():
            if other[name] != value:
                raise KDError(f"Students side by side share {name}; given were {value!r} and {other[name]!r}.")


@functools.cache
def _fields() -> dict[str, tuple[Any, str]]:
    """What each field of a configuration may be: the type, and the words for it."""
    shapes, fields = typing.get_type_hints(Configuration, include_extras=True), {}
    for name, plain in typing.get_type_hints(Configuration).items():
        args = typing.get_args(plain)
        kind = args[0] if type(None) in args else typing.get_origin(plain) or plain
        fields[name] = shapes[name], _MEANT[kind]
    return fields


def _plain(value: Any) -> Any:
    """A value with numpy's numbers as plain ones."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool | int) else value
