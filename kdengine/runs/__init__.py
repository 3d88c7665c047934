"""Runs and what they leave: started, watched, listed, judged; their checkpoints, and the catalogue of networks.

A run is a folder (`store`), written by a worker process (`worker`, `session`) and read by whoever looks. What nobody
trains is read without torch. The functions here are for pages and for who uses the library: plain data in and out.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdengine import paths
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.runs import checkpoints, control, results, store, verdicts, watched
from kdengine.runs.catalogue import fit_to_show, teacher_of
from kdengine.runs.checks import check
from kdengine.runs.control import remove, resume, stop
from kdengine.runs.diagnosis import diagnose
from kdengine.runs.estimates import Pace, estimate, pace
from kdengine.runs.examples import (
    confusion,
    farthest_examples,
    hard_examples,
    images_of,
    mask_disagreements,
    misses,
    telling_example,
    typical_masks,
)
from kdengine.runs.fidelity import HeatFidelity, heat_fidelity
from kdengine.runs.networks import (
    default_teacher,
    families,
    method_title,
    shipped_families,
    student_titles,
    teachers,
    teaching_size,
)
from kdengine.runs.origins import other_images
from kdengine.runs.records import ACTIVE
from kdengine.runs.schema import RunData, Watched
from kdengine.runs.store import rename

if TYPE_CHECKING:
    import numpy


def list_checkpoints() -> dict[str, dict[str, Any]]:
    """Shipped checkpoints by name, each with its identity: architecture, classes, method, data, scores, ..."""
    return checkpoints.shipped()


def list_runs() -> list[RunData]:
    """Runs, newest first: record as plain data, with `state` as it is now and `name`, what somebody called it, or None.

    `ignored` names the fields of its file that this version does not know. See `list_unreadable` for the others.
    """
    return store.as_data()


def list_unreadable() -> list[dict[str, str]]:
    """What lies among runs, checkpoints and shipped results and cannot be read: kind, name, and the reason."""
    return [{"kind": kind, "name": name, "reason": reason}
            for kind, (_, wrong) in _kinds().items() for name, reason in wrong().items()]


def start(configurations: Sequence[Configuration]) -> list[str]:
    """Train a group of students side by side in a process of its own; returns the runs' ids at once."""
    return control.submit(configurations)


def watch(run: str) -> Watched:
    """A run as it is now: its record as plain data, with state, name, history (a row an epoch), progress and log.

    pausing: whether it is to wait after a coming epoch; paused: whether it has come to where it waits.
    """
    state = store.state(run)
    record = store.read(run)
    return typing.cast(Watched, dataclasses.asdict(record) | {
        "state": state, "name": store.name(run), "log": store.log(run),
        "history": store.history(run), "progress": store.progress(run),
        "pausing": state in ACTIVE and store.pauses(run, record.configuration.epochs - 1),
        "paused": state in ACTIVE and store.pauses(run, record.status["epoch"]),
    })


def pause(ids: Sequence[str], epoch: int | None = None) -> None:
    """Have a group of runs wait once `epoch` epochs are complete, None: the one in training, for two minutes at most.
    """
    if epoch is None:  # one of them may be an epoch ahead for a moment
        epoch = 1 + max(store.read(run).status["epoch"] for run in ids)
    for run in ids:
        control.pause(run, epoch)


def go_on(ids: Sequence[str]) -> None:
    """End a pause."""
    for run in ids:
        control.go_on(run)


def move_aside(kind: str, name: str) -> Path:
    """Move what `list_unreadable` names, or a run, into `.aside` beside it, where nothing reads it; returns its place.

    Nothing is deleted, see `bring_back`. Raises KDError for a run that is active, a checkpoint or shipped result that
    can be read, and what cannot be moved.
    """
    root, wrong = _kinds()[kind]
    aside = root / ".aside"
    places = (aside / (name if not number else f"{name}.{number}") for number in itertools.count())
    try:
        aside.mkdir(exist_ok=True)
        place = next(place for place in places if not place.exists())
        if name in wrong():
            return (root / name).rename(place)
    except OSError as error:
        raise KDError(f"{root / name} cannot be moved: {error.strerror}.") from error
    if kind != "run":
        raise KDError(f"There is no {kind} {name!r} that cannot be read.")
    control.relocate(name, place)
    return place


def bring_back(name: str, place: Path) -> None:
    """Undo `move_aside`, which moved what is called so to that place. Raises KDError where that is not possible."""
    there = place.parent.parent / name
    if there.exists():
        raise KDError(f"There is a {there} meanwhile, and it is not overwritten.")
    try:
        place.rename(there)
    except OSError as error:
        raise KDError(f"{place} cannot be moved back: {error.strerror}.") from error


def _kinds() -> dict[str, tuple[Path, Callable[[], dict[str, str]]]]:
    """What is read from folders that others write to: the folder, and what in it cannot be read."""
    return {"run": (paths.runs_root(), store.unreadable),
            "checkpoint": (paths.checkpoints_root(), checkpoints.unreadable),
            "shipped result": (paths.checkpoints_root() / results.SHIPPED, results.unreadable)}


def results_table() -> list[dict[str, Any]]:
    """The results table: one row a shipped checkpoint or finished run, keys as in `kdengine.runs.results.COLUMNS`."""
    return results.rows()


def judge(pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Whether the networks of each pair of finished runs or shipped results differ on their test images.

    Of each pair the change of the headline from the second to the first, its interval, and the verdict as text; see
    `kdengine.runs.verdicts.of_pairs`. The correction is over these pairs.
    """
    return [dataclasses.asdict(each) for each in verdicts.of_pairs(pairs, results.finished(), results.predictions)]


def answers_over_epochs(run: str) -> numpy.ndarray:
    """The logits of a run after each complete epoch, float32 [epochs, images, classes], for the first test images.

    How many images, `kdengine.runs.watched.count` says. No epochs of a segmentation run, or one from before they were
    kept; NaN in an epoch of which none were.
    """
    import numpy

    record = store.read(run)
    classes, tested = len(record.data.get("classes", ())), record.data.get("test", 0)
    if not classes or not tested or record.data.get("task") == "segmentation":
        return numpy.zeros((0, 0, 0), numpy.float32)
    some = watched.count(tested, classes, record.configuration.epochs)
    return watched.read(store.directory(run), some, classes)[:len(store.history(run))]


def snapshots(run: str) -> dict[int, str]:
    """References of a run's student as it was after earlier epochs, by epoch; empty where none were kept, or no run.
    """
    try:
        return {epoch: str(path) for epoch, path in watched.snapshots(store.directory(run)).items()}
    except KDError:
        return {}


__all__ = [
    "HeatFidelity", "Pace", "answers_over_epochs", "bring_back", "check", "confusion", "default_teacher",
    "diagnose", "estimate", "families", "farthest_examples", "fit_to_show", "go_on", "hard_examples",
    "heat_fidelity", "images_of", "judge", "list_checkpoints", "list_runs", "list_unreadable", "mask_disagreements",
    "method_title", "misses", "move_aside", "other_images", "pace", "pause", "remove", "rename", "results_table",
    "resume", "shipped_families", "snapshots", "start", "stop", "student_titles", "teacher_of", "teachers",
    "teaching_size", "telling_example", "typical_masks", "watch",
]
