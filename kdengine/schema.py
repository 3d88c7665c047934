"""The one reader of what others wrote: JSON of records, histories and headers, held to the shape that is meant.

The shapes are the types below. A field they do not name is left as it is, and nobody reads it. Needs no torch.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from kdengine.errors import KDError

MOST_BYTES = 16 * 2**20
"""Of JSON in one file. The longest record of a thousand classes has 0.2 MB."""
DEEPEST = 24
"""How deep JSON may be nested; a record is nested five deep."""

Text = Annotated[str, Meta(max_length=4096)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Some = Annotated[int, Meta(ge=1, le=2**53)]
Share = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0)]
Time = Annotated[float, Meta(ge=0, lt=253402300800)]
"""Seconds since 1970, before the year 10000."""
Scalar = bool | Whole | float | Text | None
Values = dict[Text, Scalar | list[Scalar]]


class Measures(TypedDict):
    """What a network's answers are worth; either `top1` or `miou` is there. n: how many images it was measured on."""

    n: NotRequired[Some]
    loss: NotRequired[float | None]
    top1: NotRequired[Share]
    top5: NotRequired[Share | None]
    miou: NotRequired[Share]
    iou: NotRequired[list[Share | None]]
    pixel_accuracy: NotRequired[Share | None]
    calibration_error: NotRequired[Amount | None]
    kl_to_teacher: NotRequired[float | None]
    agreement: NotRequired[Share | None]


class Scores(Measures):
    """Measures of the images a network is judged by."""

    n: Some


class Status(TypedDict):
    """Where a run stands. epoch: completed epochs. Times are seconds since 1970."""

    state: Literal["queued", "starting", "running", "finished", "stopped", "failed", "interrupted"]
    reason: str | None
    epoch: Count
    launched: Time
    started: NotRequired[Time]
    ended: NotRequired[Time]


class Teacher(TypedDict):
    """A run's teacher, and its own scores on the run's data."""

    reference: Text
    architecture: Text
    digest: Text
    parameters: Count
    validation: Measures
    test: Scores


class Data(TypedDict, total=False):
    """A run's data as it found them; empty before it has opened them. train, validation, test: images."""

    name: Text
    title: Text
    task: Literal["classification", "segmentation"]
    classes: Annotated[list[Text], Meta(min_length=1)]
    size: Some
    digest: Text
    labels_per_class: Some | None
    labelled_images: Some | None
    share: Share
    without_class: Count | None
    views: Text
    notes: list[Text]
    train: Count
    labelled: Count
    validation: Count
    test: Count


class Environment(TypedDict, total=False):
    """What a run ran on, and how. precision, memory_formats: by role, student and teacher."""

    python: Text
    system: Text
    packages: dict[Text, Text]
    device: Text
    device_name: Text
    threads: Some
    student_threads: Some | None
    precision: dict[Text, Text]
    memory_formats: dict[Text, Text]
    memory_format: Text
    """Of all networks, in records from before each had its own."""
    layout: dict[Text, Text]
    """What `memory_formats` was called for a while."""
    teacher_cache: bool
    compiled: bool
    commit: Text | None


class Latency(TypedDict):
    """Milliseconds of one forward of one image."""

    median_ms: Amount
    std_ms: Amount
    mean_ms: NotRequired[Amount]
    repeats: NotRequired[Some]
    threads: NotRequired[Some]
    device: NotRequired[Text]


class Result(TypedDict, total=False):
    """What came out of a run; empty before it has finished. training_seconds: of all that trained side by side;
    own_seconds: of this student's steps alone, not there in older records."""

    test: Scores
    validation: Measures
    parameters: Count
    megabytes: Amount
    flops: Count
    latency: Latency
    peak_memory: Values | None
    training_seconds: Amount
    own_seconds: Amount
    images_per_second: Amount
    side_by_side: Some


class Row(TypedDict):
    """One epoch of a history. terms: the parts of the training loss by name. seconds: of all that trained side by side.
    """

    epoch: Some
    loss: float | None
    terms: dict[Text, float | None]
    learning_rate: float | None
    seconds: Amount
    own_seconds: NotRequired[Amount]
    validation: Measures


class Progress(TypedDict):
    """How far a run's worker is. of: images an epoch."""

    phase: Text
    epoch: Count
    epochs: Count
    images: Count
    of: Count
    images_per_second: Amount | None
    seconds_left: Amount | None


class Taught(TypedDict):
    """What a network was trained on, as its checkpoint tells it."""

    name: Text
    digest: NotRequired[Text | None]
    labels_per_class: NotRequired[Some | None]
    labelled_images: NotRequired[Some | None]
    share: NotRequired[Share]
    without_class: NotRequired[Count | None]


class TaughtBy(TypedDict):
    """A checkpoint's teacher."""

    reference: Text
    digest: NotRequired[Text]


class Measured(TypedDict, total=False):
    """A checkpoint's scores by split."""

    validation: Measures
    test: Scores


class Identity(TypedDict):
    """What a checkpoint says of itself. mean, std: of each color channel, for images in [0, 1]."""

    architecture: Text
    classes: Annotated[list[Text], Meta(min_length=1, max_length=100_000)]
    input_size: Annotated[int, Meta(ge=8, le=1024)]
    mean: Annotated[list[Annotated[float, Meta(ge=-1e3, le=1e3)]], Meta(min_length=3, max_length=3)]
    std: Annotated[list[Annotated[float, Meta(ge=1e-6, le=1e3)]], Meta(min_length=3, max_length=3)]
    digest: Text
    task: NotRequired[Literal["classification", "segmentation"]]
    method: NotRequired[Text | None]
    hyperparameters: NotRequired[Values]
    data: NotRequired[Taught]
    teacher: NotRequired[TaughtBy | None]
    scores: NotRequired[Measured]
    epoch: NotRequired[Count]
    seed: NotRequired[Count]
    run: NotRequired[Text]
    source: NotRequired[Text]


def content(path: Path, most: int = MOST_BYTES) -> bytes | None:
    """A file's bytes; None where there is no file. Raises KDError where it is none that can be read, or larger."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
            raise KDError(f"{path.name} is not a file")
        with path.open("rb") as file:
            held = file.read(most + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise KDError(f"{path.name} cannot be opened: {error.strerror}") from error
    if len(held) > most:
        raise KDError(f"{path.name} holds more than {most:,} bytes")
    return held


def decode(text: bytes | str, shape: Any) -> Any:
    """The value in JSON text, in that shape and with what else is there. Raises KDError where it is neither."""
    try:
        held = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise KDError(str(error)) from error
    if _deeper(held, DEEPEST):
        raise KDError(f"it is nested more than {DEEPEST} deep")
    return whole(held, convert(held, shape))


def convert(value: Any, shape: Any) -> Any:
    """A plain value in a type: whole numbers pass for floats, nothing else passes for another. Raises KDError."""
    try:
        return msgspec.convert(value, shape)
    except ValueError as error:
        raise KDError(str(error).replace("`$.", "`")) from error


def whole(held: Any, read: Any) -> Any:
    """What was read of a value, with the fields that no type names as they are."""
    if not isinstance(held, dict) or not isinstance(read, dict):
        return read
    return held | {name: whole(held.get(name), value) for name, value in read.items()}


def unnamed(held: dict[str, Any], read: dict[str, Any], place: str = "") -> Iterator[str]:
    """The fields of a value that are not in what was read of it, as `status.color`."""
    for name, value in held.items():
        if name not in read:
            yield place + name
        elif isinstance(value, dict) and isinstance(read[name], dict):
            yield from unnamed(value, read[name], f"{place}{name}.")


def _deeper(value: Any, levels: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_deeper(each, levels - 1) for each in inside)
