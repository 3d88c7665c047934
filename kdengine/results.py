"""The results table: one row a finished run or shipped checkpoint, and what may be said of a change. Needs no torch."""

from __future__ import annotations

import csv
import dataclasses
import io
import shutil
from pathlib import Path
from typing import Any

from kdengine import runs, uncertainty
from kdengine.errors import KDError
from kdengine.places import checkpoints_root, runs_root
from kdengine.records import (
    FINISHED,
    HISTORY,
    PREDICTIONS,
    RECORD,
    STUDENT,
    Record,
    headline,
    is_first_stage,
    read_record,
    read_rows,
)

SHIPPED = "records"
"""Where, in the checkpoints folder, each shipped checkpoint's record, history and predictions lie."""

COLUMNS: dict[str, str] = {
    "name": "Run",
    "data": "Data",
    "student": "Network",
    "method": "Method",
    "seed": "Seed",
    "labels": "Labels",
    "loss": "Test loss",
    "accuracy": "Test accuracy",
    "miou": "Test mIoU",
    "low": "95% from",
    "high": "to",
    "change": "Change",
    "verdict": "Versus independent",
    "kl_to_teacher": "KL to teacher",
    "agreement": "Agreement",
    "calibration_error": "Calibration error",
    "parameters": "Parameters",
    "milliseconds": "ms / image",
}
_PERCENT = {"accuracy", "miou", "low", "high", "agreement", "calibration_error"}
_POINTS = {"change"}


def finished() -> dict[str, Record]:
    """Records by name: shipped checkpoints as they were made, then this machine's finished runs, newest first.

    First stages are no results, kept or not.
    """
    shipped = {}
    for path in checkpoints_root().glob(f"{SHIPPED}/*/{RECORD}"):
        try:
            shipped[path.parent.name] = read_record(path)
        except KDError:
            continue  # a damaged record must not hide the others
    shipped = dict(sorted(shipped.items(), key=lambda item: (item[1].created, item[1].id)))
    own = {record.id: record for record in runs.all_runs() if record.state == FINISHED}
    return {name: record for name, record in (shipped | own).items()
            if not is_first_stage(record.configuration.method)}


def folder(name: str) -> Path:
    """Where a result's files lie. Raises KDError where there is no such result."""
    for path in (checkpoints_root() / SHIPPED / name, runs_root() / name):
        if Path(name).name == name and (path / RECORD).is_file():
            return path
    raise KDError(f"There is no result {name!r}.")


def history(name: str) -> list[dict[str, Any]]:
    """A result's rows, one an epoch."""
    return read_rows(folder(name) / HISTORY)


def rows() -> list[dict[str, Any]]:
    """The table: one dict a result, keys as in COLUMNS; None where a value does not exist."""
    records = finished()
    return [_row(name, record, records) for name, record in records.items()]


def as_text(value: Any, column: str) -> str:
    """A cell as people read it: accuracies in percent, a dash where there is nothing."""
    if value is None:
        return "–"
    if column in _PERCENT:
        return f"{100 * value:.2f}%"
    if column in _POINTS:
        return f"{100 * value:+.2f} pts"
    if isinstance(value, float):
        return f"{value:.4f}" if column in ("loss", "kl_to_teacher") else f"{value:.2f}"
    return f"{value:,}" if column == "parameters" else str(value)


def markdown(table: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(as_text(row[column], column) for column in COLUMNS) + " |" for row in table]
    return "\n".join(lines) + "\n"


def comma_separated(table: list[dict[str, Any]]) -> str:
    """The rows as CSV, numbers unrounded, an empty cell where there is nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(COLUMNS))
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def independent_twin(record: Record, among: dict[str, Record]) -> str | None:
    """The name of a `none` run equal in everything but the method (and the teacher it does not listen to).

    Same data, to the digest, and same configuration; None where there is none.
    """
    if record.configuration.method == "none":
        return None
    wanted = _but_for_method(record)
    for name, other in among.items():
        if other.configuration.method == "none" and _but_for_method(other) == wanted:
            return name
    return None


def _but_for_method(record: Record) -> dict[str, Any]:
    left_out = ("method", "hyperparameters", "teacher", "initial", "precision", "device", "threads", "compile")
    same = {key: value for key, value in dataclasses.asdict(record.configuration).items() if key not in left_out}
    return same | {"digest": record.data["digest"]}


def _row(name: str, record: Record, among: dict[str, Record]) -> dict[str, Any]:
    asked, test = record.configuration, record.result["test"]
    sure = interval(name, record)
    change, verdict = _against_twin(name, record, among)
    settings = ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
                         for key, value in asked.hyperparameters.items())
    return {
        "name": name,
        "data": asked.data,
        "student": asked.student,
        "method": f"{asked.method} ({settings})" if settings else asked.method,
        "seed": asked.seed,
        "labels": record.data["labelled"],
        "loss": test["loss"],
        "accuracy": test.get("top1"),
        "miou": test.get("miou"),
        "low": sure and sure.low,
        "high": sure and sure.high,
        "change": change,
        "verdict": verdict,
        "kl_to_teacher": test.get("kl_to_teacher"),
        "agreement": test.get("agreement"),
        "calibration_error": test.get("calibration_error"),
        "parameters": record.result["parameters"],
        "milliseconds": record.result["latency"]["median_ms"],
    }


def _against_twin(name: str, record: Record, among: dict[str, Record]) -> tuple[float | None, str | None]:
    """Change of the headline, and what one seed allows to say: whether these two networks differ on these images."""
    twin = independent_twin(record, among)
    if twin is None:
        return None, None
    change = headline(record.result["test"]) - headline(among[twin].result["test"])
    compared = difference(name, twin)
    if compared is None:
        return change, None
    _, p = compared
    return change, f"{'differ' if p < 0.05 else 'not distinguishable'} ({uncertainty.told(p)})"


def interval(name: str, record: Record) -> uncertainty.Interval | None:
    """The headline of a result's test scores with its interval over the test images.

    None where that takes predictions which are gone: an mIoU is no share of independent pixels.
    """
    test = record.result["test"]
    if "miou" not in test:
        return uncertainty.share_interval(test["top1"], test["n"])
    held = predictions(name)
    return None if held is None else uncertainty.mean_iou_interval(held["confusion"])


def difference(first: str, second: str) -> tuple[uncertainty.Interval, float] | None:
    """How much higher one result's headline is than another's on the same test images, and how likely by chance.

    McNemar's test for accuracies, randomisation for mIoU; None where predictions are gone.
    """
    ours, theirs = predictions(first), predictions(second)
    if ours is None or theirs is None:
        return None
    if "confusion" in ours:
        return uncertainty.mean_iou_difference(ours["confusion"], theirs["confusion"])
    first_right, second_right = _right(ours), _right(theirs)
    alone = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    return uncertainty.difference_interval(*alone, len(first_right)), uncertainty.mcnemar(*alone)


def predictions(name: str) -> dict[str, Any] | None:
    """What a result predicts on its test split, as numpy arrays; None where nothing is stored.

    logits [N, C] and target [N]; of segmentation confusion [N, C, C], one matrix an image.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(folder(name) / PREDICTIONS)
    except (FileNotFoundError, SafetensorError):
        return None


def _right(held: dict[str, Any]) -> Any:
    """bool [N]: which test images are answered rightly."""
    return held["logits"].argmax(axis=1) == held["target"]


def keep(run: str, name: str) -> Path:
    """Make a finished run a shipped checkpoint of that name, with its record, history and predictions.

    Returns the checkpoint's path. Raises KDError where the run has not finished.
    """
    record = runs.read(run)
    if record.state != FINISHED:
        raise KDError(f"Run {run} is {runs.state(run)}; only a finished run can be kept.")
    source, target = runs.directory(run), checkpoints_root() / SHIPPED / name
    target.mkdir(parents=True, exist_ok=True)
    for file in (RECORD, HISTORY, PREDICTIONS):
        shutil.copyfile(source / file, target / file)
    checkpoint = checkpoints_root() / f"{name}.safetensors"
    shutil.copyfile(source / STUDENT, checkpoint)
    return checkpoint
