"""The one reader of what others wrote: JSON of records, histories and headers, held to the shape that is meant.

The shapes are the types below. A field they do not name is left as it is, and nobody reads it. Needs no torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from kdengine.files import Amount, Count, Share, Some, Text, Time, Values

State = Literal["queued", "starting", "running", "finished", "stopped", "failed", "interrupted"]


class Worth(TypedDict, total=False):
    """What a network's answers are worth; either `top1` or `miou` is there."""

    loss: float | None
    top1: Share
    top5: Share | None
    miou: Share
    iou: list[Share | None]
    pixel_accuracy: Share | None
    calibration_error: Amount | None
    kl_to_teacher: float | None
    agreement: Share | None


class Measures(Worth):
    """What answers are worth on some images. n: how many these are."""

    n: NotRequired[Some]


class Scores(Worth):
    """What answers are worth on the images a network is judged by. n: how many these are."""

    n: Some


class Status(TypedDict):
    """Where a run stands. epoch: completed epochs. Times are seconds since 1970."""

    state: State
    reason: str | None
    epoch: Count
    launched: Time
    started: NotRequired[Time]
    ended: NotRequired[Time]


class Change(TypedDict, total=False):
    """What else of a status may change with the state."""

    reason: str | None
    epoch: Count
    launched: Time
    started: Time
    ended: Time


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
    """Milliseconds of one forward of one image. others_cores: CPU cores that other processes used meanwhile; busy:
    whether that makes the figure worth little. Older records say neither."""

    median_ms: Amount
    std_ms: Amount
    quartiles_ms: NotRequired[Annotated[list[Amount], Meta(min_length=2, max_length=2)]]
    mean_ms: NotRequired[Amount]
    repeats: NotRequired[Some]
    threads: NotRequired[Some]
    device: NotRequired[Text]
    others_cores: NotRequired[Amount]
    busy: NotRequired[bool]


class Memory(TypedDict):
    """The most memory in use, in 10^6 bytes. of: `process`, or `GPU`; both serve all students side by side."""

    megabytes: Amount
    of: Text


class Result(TypedDict, total=False):
    """What came out of a run; empty before it has finished. training_seconds: of all that trained side by side;
    own_seconds: of this student's steps alone, not there in older records."""

    test: Scores
    validation: Measures
    parameters: Count
    megabytes: Amount
    flops: Count
    latency: Latency
    peak_memory: Memory | None
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


class RunData(TypedDict):
    """A run as plain data: its record, its state now, and what somebody called it. ignored: see `Record`."""

    id: Text
    group: Text
    created: Time
    configuration: dict[str, Any]
    status: Status
    teacher: Teacher | None
    data: Data
    environment: Environment
    result: Result
    files: dict[Text, Text]
    format: int
    ignored: list[str]
    state: State
    name: str | None


class Watched(RunData):
    """A run as it is now, see `kdengine.watch`. progress: empty before there is any."""

    log: str
    history: list[dict[str, Any]]
    progress: dict[str, Any]
    pausing: bool
    paused: bool


class TrainedOn(TypedDict):
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
    data: NotRequired[TrainedOn]
    teacher: NotRequired[TaughtBy | None]
    scores: NotRequired[Measured]
    epoch: NotRequired[Count]
    seed: NotRequired[Count]
    run: NotRequired[Text]
    source: NotRequired[Text]
