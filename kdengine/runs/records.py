"""What a run is on disk: its configuration, its record, its history. Plain data; needs no torch.

`runs/<id>/` holds `record.json` (written whole, then renamed), `history.jsonl` (one row an epoch, append-only) and
`progress.json` (rewritten about once a second). A reader never sees half a record, and a line that a crash cut
short is passed over.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kdengine import files
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.files import (
    Text,
    Time,
    as_json,
    content,
    convert,
    decode,
    unnamed,
    whole,
    write_json,
)
from kdengine.runs.schema import Data, Environment, Result, Row, State, Status, Teacher

RECORD, HISTORY, PROGRESS = "record.json", "history.jsonl", "progress.json"
STUDENT, BEST_STUDENT, ADAPTER = "student.safetensors", "student-best.safetensors", "adapter.safetensors"
PREDICTIONS = "predictions.safetensors"
QUEUED: Final = "queued"
STARTING: Final = "starting"
RUNNING: Final = "running"
FINISHED: Final = "finished"
STOPPED: Final = "stopped"
FAILED: Final = "failed"
INTERRUPTED: Final = "interrupted"
ACTIVE = (QUEUED, STARTING, RUNNING)
RESUMABLE = (STOPPED, FAILED, INTERRUPTED)
FIRST_STAGE = "_first"
"""How the names of first stages end: methods that run before another, and are no result of their own."""


def _from_no_format(fields: dict[str, Any]) -> dict[str, Any]:
    """Records without a format number.

    Where labels were withheld, a batch had as many labelled images as chance brought. Whether students were compiled
    could be left to a measurement; its outcome stands in the environment.
    """
    configuration, data = fields.get("configuration", {}), fields.get("data") or {}
    ran = fields.get("environment") or {}
    few_masks = "labelled" in data and 2 * data["labelled"] < data["train"]
    if configuration.get("labels_per_class") is not None or few_masks:
        configuration = {"labelled_share": 0.0} | configuration
    if configuration.get("compile") == "auto":
        configuration = configuration | {"compile": "always" if ran.get("compiled") else "never"}
    parts = {name: {split: _counted(scores) for split, scores in fields[name].items()}
             for name in ("result", "teacher") if isinstance(fields.get(name), dict)}
    return fields | parts | ({"configuration": configuration} if configuration else {})


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
_HISTORY_MOST = 256 * 2**20
_FINISHED_NEEDS = {
    "data": ("digest", "labelled", "train", "validation", "test", "size", "classes", "views"),
    "environment": ("python", "system", "packages", "device", "device_name", "threads", "commit"),
    "result": ("test", "validation", "parameters", "megabytes", "flops", "latency", "training_seconds",
               "images_per_second", "side_by_side"),
}
"""The fields without a usual value that are read of every finished record."""


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
    data: Data = field(default_factory=Data)
    environment: Environment = field(default_factory=Environment)
    result: Result = field(default_factory=Result)
    files: dict[Text, Text] = field(default_factory=dict)
    format: int = FORMAT
    ignored: list[str] = field(default_factory=list)

    @property
    def state(self) -> State:
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


def headline(scores: Mapping[str, Any]) -> float:
    """The one number of a network's scores that tables and curves show: mIoU where there is one, else top-1 accuracy.
    """
    return scores["miou"] if "miou" in scores else scores["top1"]


def headline_name(scores: Mapping[str, Any]) -> str:
    """What `headline` is of these scores: `mIoU` or `accuracy`."""
    return "mIoU" if "miou" in scores else "accuracy"


def has_headline(scores: Mapping[str, Any]) -> bool:
    """Whether scores say one of the two numbers that `headline` may be."""
    return "miou" in scores or "top1" in scores


def score_text(scores: Mapping[str, Any]) -> str:
    """The headline of test scores as part of a sentence, with how many images it was measured on."""
    if "miou" in scores:
        return f"mIoU {scores['miou']:.2%} on {scores['n']} test images"
    return f"{scores['top1']:.2%} of {scores['n']} test images right"


def read_record(path: Path) -> Record:
    """The record in a file, as the types of `Record` say. Raises KDError, with the reason, for anything else.

    Missing fields that have a usual value get it. A finished record holds all that tables, reports and pages read.
    """
    try:
        text = content(path)
        if text is not None:
            return parse(decode(text, dict[str, Any]), path.parent.name)
    except KDError as error:
        raise KDError(f"{path} is not a readable record: {str(error).rstrip('.')}.") from error
    raise KDError(f"There is no record at {path}.")


def parse(fields: dict[str, Any], folder: str) -> Record:
    """The record that JSON holds, see `read_record`. folder: the name of the folder it lies in.

    Raises KDError for anything else.
    """
    fields = _completed(_upgraded(fields), folder)
    record = convert(fields, Record)
    record.ignored = list(unnamed(fields, dataclasses.asdict(record)))
    for part in ("status", "teacher", "data", "environment", "result"):
        setattr(record, part, whole(fields.get(part), getattr(record, part)))
    _require_results(record)
    return record


def _upgraded(fields: dict[str, Any]) -> dict[str, Any]:
    """A record as a file holds it, brought to today's format one step after the other."""
    number = convert(fields.get("format", 0), files.Count)
    if number > FORMAT:
        raise KDError(f"its format is {number}, and this version reads formats up to {FORMAT}; update the project")
    try:
        for step in _UPGRADES[number:]:
            fields = step(fields)
    except (LookupError, TypeError, AttributeError) as error:  # a step trusts the shape its format had
        raise KDError(f"it is no record of format {number}") from error
    return {name: value for name, value in fields.items() if name != "ignored"} | {"format": FORMAT}


def _completed(fields: dict[str, Any], folder: str) -> dict[str, Any]:
    """With the usual values of what is missing. What has another shape than meant is left for the types to refuse."""
    configuration, data = fields.get("configuration"), fields.get("data")
    fields = {"id": folder, "group": fields.get("id", folder), "created": 0.0} | fields
    if isinstance(fields.get("status"), dict):
        fields["status"] = {"reason": None, "epoch": 0, "launched": fields["created"]} | fields["status"]
    if data and isinstance(data, dict) and isinstance(configuration, dict):
        name = data.get("name", configuration.get("data", Configuration.data))
        fields["data"] = {"name": name, "title": name, "task": "classification"} | data
    return fields


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
        lines = (content(path, _HISTORY_MOST) or b"").splitlines()
    except KDError:
        return []
    rows: dict[int, dict[str, Any]] = {}
    for line in lines:
        try:
            row = decode(line, Row)
        except KDError:
            continue
        if has_headline(row["validation"]):
            rows[row["epoch"]] = row
    return [rows[epoch] for epoch in sorted(rows)]
