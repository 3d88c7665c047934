"""The networks that there are now: the catalogue, asked of the folders of checkpoints and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdengine.errors import KDError
from kdengine.runs import catalogue, checkpoints, references, store
from kdengine.runs.catalogue import Family


def families(task: str = "classification") -> dict[str, Family]:
    """Networks that can be compared, by family: shipped, trained here, packaged; see `kdengine.runs.catalogue`."""
    from kdengine import data

    titles = {each["name"]: each["title"] for each in data.describe()}
    return catalogue.families(task, checkpoints.shipped(), store.as_data(), titles)


def default_teacher(data: str) -> str | None:
    """The shipped checkpoint that knows a data set best: see `kdengine.runs.catalogue.best_teacher`."""
    return catalogue.best_teacher(data, checkpoints.shipped())


def teachers(data: str) -> dict[str, str]:
    """What may teach a data set, the best shipped one first: by reference the digest of its weights, empty of a run."""
    return catalogue.teachers(data, checkpoints.shipped(), store.as_data())


def shipped_families(task: str = "classification") -> dict[str, dict[str, Any]]:
    """Shipped checkpoints of a task by the data set they know: `teacher`, a reference or None, and `students`, names.
    """
    return catalogue.shipped(task, checkpoints.shipped())


def teaching_size(teacher: str, data: str) -> int | None:
    """The image size at which a checkpoint or run can teach a data set; None where that is the data set's own.

    Opens the data set, no network. Raises KDError where it cannot teach this: it takes no part in distillation, knows
    other classes, has another task, is of an architecture that cannot be built, or the data set has no such size.
    """
    from kdengine import data as sets
    from kdengine import models

    path = references.locate(teacher)
    if path is None:
        raise KDError(f"The teacher {teacher} is gone. Choose another one.")
    about, data_set = checkpoints.describe(path), sets.load(data)
    if not catalogue.fit_to_show(about):
        raise KDError(f"{teacher} is the first stage of a method, not a network to learn from. Choose another teacher.")
    if about["task"] != data_set.task or tuple(about["classes"]) != data_set.classes:
        raise KDError(f"The teacher {teacher} was trained for other classes than {data_set.title} has. Choose one that "
                      "was trained on this data set.")
    models.require(about["architecture"])
    size = about["input_size"]
    if size == data_set.size:
        return None
    sets.load(data, image_size=size)
    return size


def method_title(name: str | None, hyperparameters: Mapping[str, Any] | None = None) -> str:
    """What a method, or first stage, is called on screen: see `kdengine.methods.titled`."""
    from kdengine import methods

    return methods.titled(name, hyperparameters)


def student_titles(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the runs of a group are called beside each other, by id: see `kdengine.methods.told_apart`.

    By a name of its own where it has one. runs: as `list_runs` gives them.
    """
    from kdengine import methods

    titles = methods.told_apart([(run["configuration"]["method"], run["configuration"]["hyperparameters"])
                                 for run in runs])
    named = {run["id"]: run["name"] or title for run, title in zip(runs, titles, strict=True)}
    return named if len({*named.values()}) == len(named) else dict(zip(named, titles, strict=True))
