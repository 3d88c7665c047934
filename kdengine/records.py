"""What a run is on disk: its configuration, its record, its history. Plain data; needs no torch.

`runs/<id>/` holds `record.json` (written whole, then renamed), `history.jsonl` (one row an epoch, append-only) and
`progress.json` (rewritten about once a second). A reader never sees half a record, and a line that a crash cut
short is passed over.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdengine.errors import KDError, out_of_range, unknown_name

RECORD, HISTORY, PROGRESS = "record.json", "history.jsonl", "progress.json"
STUDENT, BEST_STUDENT, ADAPTER = "student.safetensors", "student-best.safetensors", "adapter.safetensors"
PREDICTIONS = "predictions.safetensors"

QUEUED, STARTING, RUNNING = "queued", "starting", "running"
FINISHED, STOPPED, FAILED, INTERRUPTED = "finished", "stopped", "failed", "interrupted"
ACTIVE = (QUEUED, STARTING, RUNNING)
RESUMABLE = (STOPPED, FAILED, INTERRUPTED)

FIRST_STAGE = "_first"
"""How the names of first stages end: methods that run before another, and are no result of their own."""

LEARNING_RATES = {"sgd": 0.05, "adam": 1e-3, "adamw": 1e-3}
"""Optimisers and the learning rate each starts from where none is given."""
CLASS_WEIGHTS = ("equal", "balanced")
SCHEDULES = ("constant", "cosine", "step")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16")
COMPILE = ("auto", "always", "never")

_RANGES: dict[str, tuple[float | None, float | None]] = {
    "epochs": (1, None),
    "batch_size": (2, None),
    "seed": (0, 2**63 - 1),
    "momentum": (0, 0.9999),
    "weight_decay": (0, None),
    "warmup_epochs": (0, None),
    "labels_per_class": (1, None),
    "without_class": (0, None),
    "image_size": (8, 1024),
    "threads": (1, None),
}
_CHOICES = {"class_weights": CLASS_WEIGHTS, "optimizer": tuple(LEARNING_RATES), "schedule": SCHEDULES,
            "device": DEVICES, "precision": PRECISIONS, "compile": COMPILE}
_SHARED = ("data", "labels_per_class", "share", "without_class", "image_size", "views", "class_weights",
           "teacher", "epochs", "batch_size", "seed", "device", "threads", "compile")


@dataclass(frozen=True)
class Configuration:
    """Everything that decides a run's numbers, for one student. Out of range raises KDError.

    data: a data set's name, or `folder:PATH`. labels_per_class: how many labels a class the student may read; None
    is all. share: part of the training images used, in (0, 1]. without_class: number of a class whose training images
    are all left out; None is no class. views: a view policy's name; None is the data set's own. teacher: a
    checkpoint's reference, None where no teacher takes part. pretrained: whether the student starts from published
    weights, where its architecture has any. class_weights: what labels count in cross-entropy, all the same or, with
    `balanced`, those of rare classes more. learning_rate: None is the optimiser's usual one.
    initial: a run whose student, and adapter where it fits, this one starts from: the first of two linked runs.
    warmup_epochs: linear, may be fractional. schedule `step`: x 0.1 at 62.5%, 75% and 87.5% of the epochs (150, 180,
    210 of 240). threads: CPU threads, None is torch's choice. precision `auto`: the fastest, by a measurement that also
    chooses how maps lie in memory. compile: whether torch compiles the students, which then take turns; `auto`
    where that saves time, `always` or the run fails.
    """

    data: str = "digits"
    student: str = "resnet8"
    method: str = "none"
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    teacher: str | None = None
    initial: str | None = None
    pretrained: bool = False
    labels_per_class: int | None = None
    share: float = 1.0
    without_class: int | None = None
    image_size: int | None = None
    views: str | None = None
    class_weights: str = "equal"
    epochs: int = 30
    batch_size: int = 64
    optimizer: str = "sgd"
    learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    warmup_epochs: float = 0.0
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    compile: str = "auto"

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise unknown_name(name, str(getattr(self, name)), allowed)
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            if not _is_number(value) or value < low or (high is not None and value > high):
                raise out_of_range(name, value, low, high)
        if not _is_number(self.share) or not 0 < self.share <= 1:
            raise KDError(f"share is {self.share!r}; allowed is a number above 0 and at most 1.")
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", LEARNING_RATES[self.optimizer])
        if not _is_number(self.learning_rate) or self.learning_rate <= 0:
            raise KDError(f"learning_rate is {self.learning_rate!r}; allowed is a number above 0.")

    def shared(self) -> dict[str, Any]:
        """The part that all students of one group have in common: data, views, teacher, seed, batch and epochs."""
        return {name: getattr(self, name) for name in _SHARED}


@dataclass
class Record:
    """One student's run, from what was asked to what came out.

    teacher, data, environment and result are filled in as they become known. `status` holds state, reason, epoch
    (completed epochs) and times in seconds since 1970.
    """

    id: str
    group: str
    created: float
    configuration: Configuration
    status: dict[str, Any]
    teacher: dict[str, Any] | None = None
    data: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """The state that was last written; `runs.state` also knows whether the worker still lives."""
        return self.status["state"]

    def save(self, directory: Path) -> None:
        """Write the record, whole or not at all."""
        write_json(directory / RECORD, dataclasses.asdict(self))


def is_first_stage(method: str | None) -> bool:
    """Whether a method runs only before another: what it leaves is no result, and teaches nobody."""
    return method is not None and method.endswith(FIRST_STAGE)


def headline(scores: dict[str, Any]) -> float:
    """The one number of a network's scores that tables and curves show: mIoU where there is one, else top-1 accuracy.
    """
    return scores["miou"] if "miou" in scores else scores["top1"]


def headline_name(scores: dict[str, Any]) -> str:
    """What `headline` is of these scores: `mIoU` or `accuracy`."""
    return "mIoU" if "miou" in scores else "accuracy"


def told(scores: dict[str, Any]) -> str:
    """The headline of test scores as part of a sentence, with how many images it was measured on."""
    if "miou" in scores:
        return f"mIoU {scores['miou']:.2%} on {scores['n']} test images"
    return f"{scores['top1']:.2%} of {scores['n']} test images right"


def read_record(path: Path) -> Record:
    """The record in a file. Raises KDError where it is missing or is not a record."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return Record(**{**held, "configuration": Configuration(**held["configuration"])})
    except FileNotFoundError:
        raise KDError(f"There is no record at {path}.") from None
    except (ValueError, TypeError, KeyError) as error:
        raise KDError(f"{path} is not a readable record: {error}") from error


def write_json(path: Path, value: Any) -> None:
    """JSON written to a neighbouring file, then renamed: readers see the old text or the new, never a part.

    A NaN or infinity becomes null: no other JSON reader takes them.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(_finite(value), indent=1, allow_nan=False), encoding="utf-8")
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where the file is missing or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add one row to a history. A line that a crash cut short is closed first."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write((json.dumps(_finite(row), allow_nan=False) + "\n").encode())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """A history's rows by epoch, the last row of an epoch where a resumed run wrote it twice; [] without a file."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    rows: dict[int, dict[str, Any]] = {}
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows[row["epoch"]] = row
    return [rows[epoch] for epoch in sorted(rows)]


def one_group(configurations: Iterable[Configuration]) -> None:
    """Raise KDError unless the configurations can be trained side by side."""
    first, *others = (each.shared() for each in configurations)
    for other in others:
        for name, value in first.items():
            if other[name] != value:
                raise KDError(f"Students side by side share {name}; given were {value!r} and {other[name]!r}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
