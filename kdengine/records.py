"""What a run is on disk: its configuration, its record, its history. Plain data; needs no torch.

`runs/<id>/` holds `record.json` (written whole, then renamed), `history.jsonl` (one row an epoch, append-only) and
`progress.json` (rewritten about once a second). A reader never sees half a record, and a line that a crash cut
short is passed over.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import numbers
import os
import reprlib
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdengine import schema
from kdengine.errors import KDError, out_of_range, unknown_name
from kdengine.files import replacing
from kdengine.schema import Data, Environment, Result, Row, Status, Teacher, Text, Time, Values, Whole

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
COMPILE = ("never", "always")


def _from_no_format(held: dict[str, Any]) -> dict[str, Any]:
    """Records without a number. Where labels were withheld, batches held those that chance brought; and whether
    students were compiled could be left to a measurement, whose outcome stands in the environment."""
    asked, ran, data = held.get("configuration", {}), held.get("environment") or {}, held.get("data") or {}
    few_masks = "labelled" in data and 2 * data["labelled"] < data["train"]
    if asked.get("labels_per_class") is not None or few_masks:
        asked = {"labelled_share": 0.0} | asked
    if asked.get("compile") == "auto":
        asked = asked | {"compile": "always" if ran.get("compiled") else "never"}
    parts = {name: {split: _counted(scores) for split, scores in held[name].items()}
             for name in ("result", "teacher") if isinstance(held.get(name), dict)}
    return held | parts | ({"configuration": asked} if asked else {})


def _counted(scores: Any) -> Any:
    """Scores whose shares of images were means of single floats, as counts over counts; anything else as it is."""
    if not isinstance(scores, dict) or "miou" in scores or not isinstance(count := scores.get("n"), int):
        return scores
    shares = {name: scores[name] for name in ("top1", "top5", "agreement") if isinstance(scores.get(name), float)}
    return scores | {name: round(share * count) / count for name, share in shares.items() if 0 <= share <= 1 <= count}


_UPGRADES: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (_from_no_format,)
"""What brings a record, as its file holds it, from the format of that number to the next."""
FORMAT = len(_UPGRADES)
"""The format that records are written in."""
_MEANT = {bool: "true or false", int: "a whole number", float: "a number", str: "a text",
          dict: "numbers, texts, true and false by their names"}
_HISTORY_MOST = 256 * 2**20

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
_FINISHED_NEEDS = {
    "data": ("digest", "labelled", "train", "validation", "test", "size", "classes", "views"),
    "environment": ("python", "system", "packages", "device", "device_name", "threads", "commit"),
    "result": ("test", "validation", "parameters", "megabytes", "flops", "latency", "training_seconds",
               "images_per_second", "side_by_side"),
}
"""What has no usual value and is read of whatever has finished."""
_CHOICES = {"class_weights": CLASS_WEIGHTS, "optimizer": tuple(LEARNING_RATES), "schedule": SCHEDULES,
            "device": DEVICES, "precision": PRECISIONS, "compile": COMPILE}
_SHARED = ("data", "labels_per_class", "labelled_images", "labelled_share", "share", "without_class", "image_size",
           "views", "class_weights", "teacher", "epochs", "batch_size", "seed", "device", "threads", "compile")


@dataclass(frozen=True)
class Configuration:
    """Everything that decides a run's numbers, for one student. Out of range raises KDError.

    data: a data set's name, or `folder:PATH`. labels_per_class: how many labels a class the student may read; None
    is all. labelled_images: how many training images keep their masks, where the data have masks; None is all.
    labelled_share: where labels are withheld, the part of each batch that has one at least, in [0, 1]; with 0 it is
    what chance brings. share: part of the training images used, in (0, 1]. without_class: number of a class whose
    training images are all left out; None is no class. views: a view policy's name; None is the data set's own.
    teacher: a checkpoint's reference, None where no teacher takes part. pretrained: whether the student starts from
    published weights, where its architecture has any. class_weights: what labels count in cross-entropy, all the same
    or, with `balanced`, those of rare classes more. learning_rate: None is the optimiser's usual one.
    initial: a run whose student, and adapter where it fits, this one starts from: the first of two linked runs.
    warmup_epochs: linear, may be fractional. schedule `step`: x 0.1 at 62.5%, 75% and 87.5% of the epochs (150, 180,
    210 of 240). threads: CPU threads, None is torch's choice. precision `auto`: what
    is settled for this machine, with how maps lie in memory (`kdengine.speeds`). compile: whether torch compiles the
    students, which then take turns; `always`, or the run fails.
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
                schema.convert(plain, shape)
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
        if not 0 < self.learning_rate < math.inf:
            raise KDError(f"learning_rate is {self.learning_rate!r}; allowed is a number above 0.")

    def shared(self) -> dict[str, Any]:
        """The part that all students of one group have in common: data, views, teacher, seed, batch and epochs."""
        return {name: getattr(self, name) for name in _SHARED}


@dataclass
class Record:
    """One student's run, from what was asked to what came out.

    teacher, data, environment and result are filled in as they become known; the types say what each holds, and a
    record that is read holds nothing else in their place. ignored: the fields of its file that nobody here knows, as
    `status.color`; those inside the parts stay where they are, and are written again.
    """

    id: Text
    group: Text
    created: Time
    configuration: Configuration
    status: Status
    teacher: Teacher | None = None
    data: Data = field(default_factory=dict)
    environment: Environment = field(default_factory=dict)
    result: Result = field(default_factory=dict)
    files: dict[Text, Text] = field(default_factory=dict)
    format: int = FORMAT
    ignored: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """The state that was last written; `runs.state` also knows whether the worker still lives."""
        return self.status["state"]

    def save(self, directory: Path) -> None:
        """Write the record, whole or not at all."""
        written = dataclasses.asdict(self)
        del written["ignored"]
        write_json(directory / RECORD, written)


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


def has_headline(scores: dict[str, Any]) -> bool:
    """Whether scores say one of the two numbers that `headline` may be."""
    return "miou" in scores or "top1" in scores


def told(scores: dict[str, Any]) -> str:
    """The headline of test scores as part of a sentence, with how many images it was measured on."""
    if "miou" in scores:
        return f"mIoU {scores['miou']:.2%} on {scores['n']} test images"
    return f"{scores['top1']:.2%} of {scores['n']} test images right"


def read_record(path: Path) -> Record:
    """The record in a file, as the types of `Record` say. Raises KDError, with the reason, for anything else.

    Missing fields that have a usual value get it. A finished record holds all that tables, reports and pages read.
    """
    try:
        text = schema.content(path)
        if text is not None:
            return parse(schema.decode(text, dict[str, Any]), path.parent.name)
    except KDError as error:
        raise KDError(f"{path} is not a readable record: {str(error).rstrip('.')}.") from error
    raise KDError(f"There is no record at {path}.")


def parse(held: dict[str, Any], folder: str) -> Record:
    """The record that JSON holds, see `read_record`. folder: the name of the folder it lies in.

    Raises KDError for anything else.
    """
    held = _completed(_upgraded(held), folder)
    record = schema.convert(held, Record)
    record.ignored = list(schema.unnamed(held, dataclasses.asdict(record)))
    for part in ("status", "teacher", "data", "environment", "result"):
        setattr(record, part, schema.whole(held.get(part), getattr(record, part)))
    _require_results(record)
    return record


def _upgraded(held: dict[str, Any]) -> dict[str, Any]:
    """A record as a file holds it, brought to today's format one step after the other."""
    number = schema.convert(held.get("format", 0), schema.Count)
    if number > FORMAT:
        raise KDError(f"its format is {number}, and this version reads formats up to {FORMAT}; update the project")
    try:
        for step in _UPGRADES[number:]:
            held = step(held)
    except (LookupError, TypeError, AttributeError) as error:  # a step trusts the shape its format had
        raise KDError(f"it is no record of format {number}") from error
    return {name: value for name, value in held.items() if name != "ignored"} | {"format": FORMAT}


def _completed(held: dict[str, Any], folder: str) -> dict[str, Any]:
    """With the usual values of what is missing. What has another shape than meant is left for the types to refuse."""
    asked, data = held.get("configuration"), held.get("data")
    held = {"id": folder, "group": held.get("id", folder), "created": 0.0} | held
    if isinstance(held.get("status"), dict):
        held["status"] = {"reason": None, "epoch": 0, "launched": held["created"]} | held["status"]
    if data and isinstance(data, dict) and isinstance(asked, dict):
        name = data.get("name", asked.get("data", Configuration.data))
        held["data"] = {"name": name, "title": name, "task": "classification"} | data
    return held


def _require_results(record: Record) -> None:
    """Raise KDError where a record lacks what its state promises, or scores say neither top-1 accuracy nor mIoU."""
    measured = {"teacher's validation": record.teacher and record.teacher["validation"],
                "teacher's test": record.teacher and record.teacher["test"],
                "validation": record.result.get("validation"), "test": record.result.get("test")}
    for name, scores in measured.items():
        if scores is not None and not has_headline(scores):
            raise KDError(f"its {name} scores hold neither top1 nor miou")
    if record.state == FINISHED:
        for part, needed in _FINISHED_NEEDS.items():
            if missing := [name for name in needed if name not in getattr(record, part)]:
                raise KDError(f"it is finished, and its {part} lacks {', '.join(missing)}")
        iou = record.result["test"].get("iou")
        if "miou" in record.result["test"] and (iou is None or len(iou) != len(record.data["classes"])):
            raise KDError("its test scores do not hold one iou a class")


def as_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON text. A NaN or infinity becomes null: no other JSON reader takes them."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """JSON written to a neighbouring file, then renamed: readers see the old text or the new, never a part."""
    with replacing(path) as written:
        written.write_text(as_json(value, indent=1), encoding="utf-8")


def read_json(path: Path, shape: Any = dict[str, Any]) -> dict[str, Any]:
    """The object in a file; empty where there is none that can be read and has the shape."""
    try:
        text = schema.content(path)
        return {} if text is None else schema.decode(text, shape)
    except KDError:
        return {}


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add one row to a history. A line that a crash cut short is closed first."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write((as_json(row) + "\n").encode())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """A history's rows by epoch, the last row of an epoch where a resumed run wrote it twice; [] without a file.

    A line that is no row, as a crash or a stranger left it, is passed over.
    """
    try:
        lines = (schema.content(path, _HISTORY_MOST) or b"").splitlines()
    except KDError:
        return []
    rows: dict[int, dict[str, Any]] = {}
    for line in lines:
        try:
            row = schema.decode(line, Row)
        except KDError:
            continue
        if has_headline(row["validation"]):
            rows[row["epoch"]] = row
    return [rows[epoch] for epoch in sorted(rows)]


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
    shapes, told = typing.get_type_hints(Configuration, include_extras=True), {}
    for name, plain in typing.get_type_hints(Configuration).items():
        args = typing.get_args(plain)
        kind = args[0] if type(None) in args else typing.get_origin(plain) or plain
        told[name] = shapes[name], _MEANT[kind]
    return told


def _plain(value: Any) -> Any:
    """A value with numpy's numbers as plain ones."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool | int) else value


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
