"""Runs on disk: a folder each, found, read and listed. Needs no torch.

A run is alive exactly while its worker holds the run's lock file: what holds no lock and is not finished was
interrupted, and can be resumed.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any, Unpack, cast

from kdengine import files
from kdengine.errors import KDError
from kdengine.files import content, read_json
from kdengine.paths import BAD_NAME, child, runs_root
from kdengine.runs import processes
from kdengine.runs.records import (
    ACTIVE,
    HISTORY,
    INTERRUPTED,
    PREDICTIONS,
    PROGRESS,
    RECORD,
    STUDENT,
    Record,
    read_record,
    read_rows,
)
from kdengine.runs.schema import Change, Progress, RunData, State, Status

LOCK, STOP, PAUSE, LOG, NAME = "lock", "stop", "pause", "log.txt", "name.txt"
LONGEST_NAME = 80
TRAINING = "Training"
"""The phase of a worker's progress in which images are counted."""
PAUSED = "Paused"
"""The phase of a worker that waits, see `pause`."""


def pauses(run: str, epoch: int) -> bool:
    """Whether a run is to wait now that `epoch` epochs are complete."""
    with suppress(OSError, ValueError):  # gone meanwhile; or no number of ours
        return int((directory(run) / PAUSE).read_text()) <= epoch
    return False


def stop_requested(run: str) -> bool:
    """Whether someone asked the run to stop since it was last started."""
    return (directory(run) / STOP).exists()


def set_state(record: Record, state: State, **details: Unpack[Change]) -> None:
    """Move a run to a state and write its record. While a worker lives, it alone does so.

    Raises KDError where the disk refuses it; it stays as it was then, on disk and here.
    """
    status: Status = {**record.status, "state": state, **details}
    folder = directory(record.id)
    with files.writing(folder / RECORD):
        dataclasses.replace(record, status=status).save(folder)
    record.status = status


def rename(run: str, name: str) -> None:
    """Give a run a name of one's own, in one line of at most LONGEST_NAME characters; an empty one takes it away.

    Its id, by which others know it, stays. Raises KDError for another name, and where the disk refuses.
    """
    name = name.strip()
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise KDError(f"{name[:LONGEST_NAME]!r} is no name for a run. Allowed is one line of {LONGEST_NAME} characters "
                      "at most.")
    path = directory(run) / NAME
    with files.writing(path):
        if not name:
            path.unlink(missing_ok=True)
            return
        with files.replacing(path) as written:
            written.write_text(name, encoding="utf-8")


def name(run: str) -> str | None:
    """What somebody called a run; None where nobody did, or nothing of the sort stands in its file."""
    with suppress(OSError, ValueError), (runs_root() / run / NAME).open(encoding="utf-8") as file:
        text = file.read(LONGEST_NAME + 1).strip()
        return text if text.isprintable() and 0 < len(text) <= LONGEST_NAME else None
    return None


def directory(run: str) -> Path:
    """The folder of a run: its name is the run's, whatever its record says. Raises KDError where there is no such run.
    """
    path = child(runs_root(), run)
    if path is None or not (path / RECORD).is_file():
        raise KDError(f"There is no run {run!r} in {runs_root()}. `python -m kdengine runs` lists them.")
    return path


def read(run: str) -> Record:
    """A run's record. It goes by the name of its folder, also where that was renamed."""
    return dataclasses.replace(read_record(directory(run) / RECORD), id=run)


def history(run: str) -> list[dict[str, Any]]:
    """A run's rows, one an epoch."""
    return read_rows(directory(run) / HISTORY)


def progress(run: str) -> dict[str, Any]:
    """How far the run's worker is: phase, epoch, epochs, images, of, images_per_second, seconds_left; or empty."""
    fields = read_json(directory(run) / PROGRESS, Progress)
    if fields and (fields["images_per_second"] is None) != (fields["seconds_left"] is None):
        return {}
    return {} if fields and fields["phase"] == TRAINING and not fields["of"] * fields["epochs"] else fields


def log(run: str) -> str:
    """What the run's worker printed, warnings and tracebacks included."""
    path = directory(run) / LOG
    try:
        text = content(path)
    except KDError as error:
        return str(error)
    return (text or b"").decode(errors="replace")


def all_runs() -> list[Record]:
    """Every readable record, newest first; what cannot be read hides no other, see `unreadable`."""
    return sorted(_all()[0].values(), key=lambda record: (record.created, record.id), reverse=True)


def listed() -> list[tuple[Record, State]]:
    """Every readable record, newest first, and the run's state as it is now."""
    runs = []
    for record in all_runs():
        with suppress(KDError):  # removed meanwhile, or listed by `unreadable`
            runs.append((record, state(record.id)))
    return runs


def as_data() -> list[RunData]:
    """Every readable record, newest first, as plain data with its state now and its name."""
    return [cast(RunData, dataclasses.asdict(record) | {"state": state, "name": name(record.id)})
            for record, state in listed()]


def unreadable() -> dict[str, str]:
    """The folders of runs that cannot be read, by name, and why."""
    records, wrong = _all()
    for name in (name for name, record in records.items() if record.state in ACTIVE):
        try:
            processes.held(runs_root() / name / LOCK)
        except KDError as error:
            wrong[name] = str(error)
    return wrong


def _all() -> tuple[dict[str, Record], dict[str, str]]:
    records, wrong = read_folders(runs_root())
    return {name: dataclasses.replace(record, id=name) for name, record in records.items()}, wrong


def read_folders(root: Path) -> tuple[dict[str, Record], dict[str, str]]:
    """The records in the folders of a folder, by name, and of those that cannot be read the reason.

    Hidden folders, and those that hold nothing a run leaves, are none.
    """
    records, wrong = {}, {}
    for path in sorted(root.glob("[!.]*/")):
        try:
            if child(root, path.name) is None:
                raise KDError(BAD_NAME)
            records[path.name] = read_record(path / RECORD)
        except KDError as error:
            if _was_run(path):
                wrong[path.name] = str(error)
    return records, wrong


def _was_run(path: Path) -> bool:
    """Whether a folder is still there and holds what a run leaves, as far as we may look."""
    try:
        return any(each.name in (RECORD, HISTORY, PROGRESS, STUDENT, PREDICTIONS, LOG) for each in path.iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True


def state(run: str) -> State:
    """The run's state, `interrupted` where its worker is gone."""
    record = read(run)
    if record.state not in ACTIVE or alive(run):
        return record.state
    record = read(run)  # it may have ended between the two looks
    return INTERRUPTED if record.state in ACTIVE else record.state


def alive(run: str) -> bool:
    """Whether a worker holds the run's lock."""
    return processes.held(directory(run) / LOCK)
