"""The results table: one row a finished run or shipped checkpoint, and what may be said of a change. Needs no torch."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdengine import files
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.measures import uncertainty
from kdengine.paths import checkpoints_root, child, runs_root
from kdengine.runs import costs, store, verdicts
from kdengine.runs.checkpoints import SHIPPED, describe
from kdengine.runs.records import (
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
from kdengine.runs.verdicts import Predictions, Verdict

_KEPT = (RECORD, HISTORY, PREDICTIONS, STUDENT)
"""The files of a run that are kept."""

COLUMNS: dict[str, str] = {
    "name": "Run",
    "called": "Called",
    "data": "Data",
    "student": "Network",
    "method": "Method",
    "teacher": "Teacher",
    "epochs": "Epochs",
    "seed": "Seed",
    "labels": "Labels",
    "loss": "Test loss",
    "accuracy": "Test accuracy",
    "miou": "Test mIoU",
    "low": "95% from",
    "high": "to",
    "change": "Change",
    "change_low": "Change from",
    "change_high": "Change to",
    "verdict": "Versus independent",
    "kl_to_teacher": "KL to teacher",
    "agreement": "Agreement",
    "calibration_error": "Calibration error",
    "parameters": "Parameters",
    "mflops": "MFLOPs",
    "milliseconds": "ms / image",
    "milliseconds_low": "ms from",
    "milliseconds_high": "ms to",
    "machine": "Machine then",
    "memory": "Peak MB",
    "memory_of": "Peak MB of",
}
_PERCENT = {"accuracy", "miou", "low", "high", "agreement", "calibration_error"}
_DECIMALS = {"loss": ".4f", "kl_to_teacher": ".4f", "mflops": ",.1f", "memory": ",.0f"}
_MARKUP = re.compile(r"[\\|`\[\]<!]")
_POINTS = {"change", "change_low", "change_high"}


def finished() -> dict[str, Record]:
    """Records by name: shipped checkpoints as they were made, then this machine's finished runs, newest first.

    First stages are no results, kept or not.
    """
    shipped = dict(sorted(_shipped()[0].items(), key=lambda item: (item[1].created, item[1].id)))
    own = {record.id: record for record in store.all_runs() if record.state == FINISHED and record.id not in shipped}
    return {name: record for name, record in (shipped | own).items()
            if not is_first_stage(record.configuration.method)}


def unreadable() -> dict[str, str]:
    """The folders of shipped results whose records cannot be read, by name, and why."""
    return _shipped()[1]


def folder(name: str) -> Path:
    """Where a result's files lie. Raises KDError where there is no such result."""
    for root in (checkpoints_root() / SHIPPED, runs_root()):
        path = child(root, name)
        if path and (path / RECORD).is_file():
            return path
    raise KDError(f"There is no result {name!r}.")


def history(name: str) -> list[dict[str, Any]]:
    """A result's rows, one an epoch."""
    return read_rows(folder(name) / HISTORY)


def rows(method: str | None = None) -> list[dict[str, Any]]:
    """The table: one dict a result, keys as in COLUMNS; None where a value does not exist.

    method: the only one whose results are wanted; they are judged in the company of all others too.
    """
    records = finished()
    names = [name for name, record in records.items() if method in (None, record.configuration.method)]
    judged = verdicts.of_networks(names, records, predictions)
    return [_row(name, records[name], judged.get(name)) for name in names]


def no_baseline(table: Sequence[dict[str, Any]]) -> str | None:
    """Which rows have no change for want of an independent student, and how to get one; None where all have."""
    alone = [row["name"] for row in table if row["change"] is None and row["method"] != "none"]
    if not alone:
        return None
    named = ", ".join(alone[:3]) + (f" and {len(alone) - 3} more" if len(alone) > 3 else "")
    return (f"No baseline yet for {named}: a change is told against a student that is trained without a teacher and is "
            "equal in all else. Train it with the same settings and seed: the method none, Independent student.")


def as_text(value: Any, column: str) -> str:
    """A cell as people read it: accuracies in percent, a dash where there is nothing."""
    if value is None:
        return "–"
    if column in _PERCENT:
        return f"{100 * value:.2f}%"
    if column in _POINTS:
        return f"{100 * value:+.2f} pts"
    if isinstance(value, float):
        return f"{value:{_DECIMALS.get(column, '.2f')}}"
    return f"{value:,}" if column == "parameters" else str(value)


def markdown(table: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    named = any(row["called"] for row in table)  # few people name their runs
    columns = [column for column in COLUMNS if named or column != "called"]
    cells = [[as_text(row[column], column) for column in columns] for row in table]
    return "\n".join(markdown_table([COLUMNS[column] for column in columns], cells)) + "\n"


def markdown_table(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table. What would be read as a picture, a link or another cell is escaped."""
    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(_MARKUP.sub(r"\\\g<0>", " ".join(cell.split())) for cell in row) + " |"

    return [line(titles), "|" + " --- |" * len(titles), *map(line, cells)]


def comma_separated(table: list[dict[str, Any]]) -> str:
    """The rows as CSV, numbers unrounded, an empty cell where there is nothing.

    A text that a spreadsheet would compute gets an apostrophe before it.
    """
    def cell(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value

    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(COLUMNS))
    writer.writeheader()
    writer.writerows({column: cell(row[column]) for column in COLUMNS} for row in table)
    return text.getvalue()


def _row(name: str, record: Record, judged: Verdict | None) -> dict[str, Any]:
    configuration, test = record.configuration, record.result["test"]
    sure = interval(name, record)
    change_low, change_high = (judged and judged.interval) or (None, None)
    speed, memory = costs.speed([record]), record.result.get("peak_memory")
    quick, slow = speed.quartiles or (None, None)
    settings = ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
                         for key, value in configuration.hyperparameters.items())
    return {
        "name": name,
        "called": store.name(name),
        "data": configuration.data,
        "student": configuration.student,
        "method": f"{configuration.method} ({settings})" if settings else configuration.method,
        "teacher": configuration.teacher,
        "epochs": configuration.epochs,
        "seed": configuration.seed,
        "labels": record.data["labelled"],
        "loss": test.get("loss"),
        "accuracy": test.get("top1"),
        "miou": test.get("miou"),
        "low": sure and sure.low,
        "high": sure and sure.high,
        "change": judged and judged.change,
        "change_low": change_low,
        "change_high": change_high,
        "verdict": judged and judged.text,
        "kl_to_teacher": test.get("kl_to_teacher"),
        "agreement": test.get("agreement"),
        "calibration_error": test.get("calibration_error"),
        "parameters": record.result["parameters"],
        "mflops": record.result["flops"] / 1e6,
        "milliseconds": speed.milliseconds,
        "milliseconds_low": quick,
        "milliseconds_high": slow,
        "machine": {True: costs.BUSY, False: "quiet", None: None}[speed.busy],
        "memory": memory and memory["megabytes"],
        "memory_of": costs.memory_of(record.result),
    }


def predictions(name: str) -> dict[str, Any] | None:
    """What a result predicts on its test split, as numpy arrays; None where nothing that fits its record is stored.

    Floats logits [N, C] and whole numbers target [N]; of segmentation whole numbers confusion [N, C, C], one matrix
    an image.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder(name)
    record = read_record(path / RECORD)
    test, classes = record.result.get("test"), len(record.data.get("classes", ()))
    try:
        arrays = load_file(path / PREDICTIONS)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):  # gone, damaged, or of a type numpy lacks
        return None
    if test is None:
        return None
    fitting = ({"confusion": ("iu", (test["n"], classes, classes))} if "miou" in test
               else {"logits": ("f", (test["n"], classes)), "target": ("iu", (test["n"],))})
    for part, (kinds, shape) in fitting.items():
        if part not in arrays or arrays[part].dtype.kind not in kinds or arrays[part].shape != shape:
            return None
    if "miou" in test and (arrays["confusion"] < 0).any():
        return None
    return {part: arrays[part] for part in fitting}


def interval(name: str, record: Record, stored: Predictions = predictions) -> uncertainty.Interval | None:
    """The headline of a result's test scores with its interval over the test images.

    None where that takes predictions which are gone: an mIoU is no share of independent pixels.
    """
    test = record.result["test"]
    if "miou" not in test:
        return uncertainty.share_interval(test["top1"], test["n"])
    arrays = stored(name)
    return None if arrays is None else uncertainty.mean_iou_interval(arrays["confusion"])


def interval_of(records: Mapping[str, Record], stored: Predictions = predictions) -> uncertainty.Interval | None:
    """The mean headline of runs that are equal but for the seed, by name, with its interval, within [0, 1].

    Over the test images where there is one, see `interval`; over the seeds where there are more.
    """
    if len(records) > 1:
        return uncertainty.mean_interval(
            [headline(record.result["test"]) for record in records.values()]).within_a_share()
    (name, record), = records.items()
    return interval(name, record, stored)


def check_names(names: Sequence[str], *, replace: bool = False) -> None:
    """Raise KDError unless checkpoints can be kept under these names: told apart, plain, and new or to be replaced."""
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
            raise KDError(f"{name!r} is no name for a checkpoint. Allowed are letters, digits, dots, dashes and "
                          "underscores, 100 at most, with no dot and no dash in front.")
        if names.count(name) > 1:
            raise KDError(f"Two networks would both be kept as {name}. Keep them one by one, under names of their own: "
                          "python -m kdengine runs RUN --keep NAME.")
        there = [path for path in (_checkpoint(name), checkpoints_root() / SHIPPED / name) if path.exists()]
        if there and not replace:
            raise KDError(f"There is a checkpoint {name} already ({there[0]}), and it is not overwritten. Choose "
                          "another name, or say --replace.")


def names_to_keep(name: str, configurations: Sequence[Configuration]) -> list[str]:
    """The names that the students of one group are kept under: a single one has this name, several add their method's.

    Where a method stands twice, what tells its configurations apart comes behind that.
    """
    if len(configurations) == 1:
        return [name]
    names = []
    for each in configurations:
        twins = [_values_as_text(other) for other in configurations if other.method == each.method]
        apart = [f"{field}-{value}" for field, value in _values_as_text(each).items()
                 if any(other.get(field) != value for other in twins)]
        method = each.method.rpartition(":")[2]  # of a user's own its class alone
        names.append("-".join([name, method, *(re.sub(r"[^A-Za-z0-9._-]", "-", part) for part in apart)]))
    return names


def _values_as_text(configuration: Configuration) -> dict[str, str]:
    """A configuration's values as they may stand in a name, its hyperparameters among them."""
    values = dataclasses.asdict(configuration)
    values |= values.pop("hyperparameters")
    return {field: f"{value:g}" if isinstance(value, float) else str(value) for field, value in values.items()}


def keep(run: str, name: str, *, replace: bool = False) -> Path:
    """Make a finished run a shipped checkpoint of that name, with its record, history and predictions.

    Returns the checkpoint's path. All of it appears, or nothing: the checkpoint itself comes last. Raises KDError
    where the run has not finished or has lost a file, and as `check_names`.
    """
    check_names([name], replace=replace)
    record = store.read(run)
    if record.state != FINISHED:
        raise KDError(f"Run {run} is {store.state(run)}; only a finished run can be kept.")
    source, target, checkpoint = store.directory(run), checkpoints_root() / SHIPPED / name, _checkpoint(name)
    if missing := [file for file in _KEPT if not (source / file).is_file()]:
        raise KDError(f"Run {run} has lost {', '.join(missing)}, so it cannot be kept. Train it again.")
    if describe(source / STUDENT)["digest"] != record.files.get(STUDENT):
        raise KDError(f"The weights of run {run} are not those its record names, so it cannot be kept. Train it again.")
    place = files.temporary(checkpoint)  # swept later, should this process be killed
    new, old = place / "new", place / "old"
    with files.writing(checkpoint), contextlib.ExitStack() as stack:
        target.parent.mkdir(parents=True, exist_ok=True)
        stack.callback(files.discard, place)
        new.mkdir(parents=True)
        for file in _KEPT:
            shutil.copyfile(source / file, new / file)
        student = (new / STUDENT).rename(place / STUDENT)
        if replace and target.exists():
            target.rename(old)
        try:
            new.rename(target)  # fails where somebody was quicker: a folder with files in it is never replaced
            student.replace(checkpoint)
        except OSError:
            if not new.exists():
                target.rename(new)
            if old.exists():
                old.rename(target)
            raise
    return checkpoint


def _checkpoint(name: str) -> Path:
    return checkpoints_root() / f"{name}.safetensors"


def _shipped() -> tuple[dict[str, Record], dict[str, str]]:
    """The records of shipped results by name, and of what cannot be read the reason."""
    return store.read_folders(checkpoints_root() / SHIPPED)
