"""The networks that are there: which are fit to be shown, what each is called, and which know the same classes.

Told by the headers of checkpoints and the records of runs; no network is opened. checkpoints: as
`kdengine.list_checkpoints` gives them. runs: as `kdengine.list_runs` does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdengine import trust
from kdengine.errors import KDError
from kdengine.runs import checkpoints
from kdengine.runs.checkpoints import describe, has_record
from kdengine.runs.records import FINISHED, headline, is_first_stage
from kdengine.runs.references import TEACHER_OF, imagenet_teacher, locate

CLASSIFICATION, SEGMENTATION = "classification", "segmentation"
PHOTOGRAPHS = "photograph"
"""The family of the packaged networks that know ImageNet's 1000 classes."""


@dataclass(frozen=True)
class Entry:
    """A network as people speak of it. note: what else tells it from others. method: None where nobody knows it."""

    name: str
    note: str
    method: str | None = None


@dataclass
class Family:
    """Networks of the same classes, by reference: those that can be compared.

    first: the one that the others are held against, their teacher where there is one.
    """

    title: str
    data: str | None
    """The data set whose images are theirs; None where that is any photograph."""
    size: int | None = None
    """Pixels of an image's side that all of them take; None where each takes its own."""
    first_role: str = "Teacher"
    other_role: str = "Student"
    about: str = ""
    networks: dict[str, Entry] = field(default_factory=dict)
    first: str = ""


def families(
    task: str, checkpoints: Mapping[str, dict[str, Any]], runs: Sequence[Mapping[str, Any]], titles: Mapping[str, str]
) -> dict[str, Family]:
    """The networks of a task by family: shipped ones, those trained here, their teachers, and the packaged ones.

    titles: of the data sets, in the order in which they are listed; their families come first, then those of folders.
    """
    by_key: dict[str, Family] = {}
    for data, networks in shipped(task, checkpoints).items():
        references = [each for each in (networks["teacher"], *networks["students"]) if each]
        for reference in references:
            about = checkpoints.get(reference) or checkpoints[reference.removeprefix(TEACHER_OF)]
            family = by_key.setdefault(
                *_family(task, data, about["input_size"], f"{titles.get(data, data)} (shipped)"))
            family.networks[reference] = (
                _shipped_entry(task, reference, about, references, networks["teacher"]) if reference in checkpoints
                else Entry(about["teacher"]["reference"], "ImageNet weights, these classes"))
            if reference == networks["teacher"]:
                family.first = reference
    if task == CLASSIFICATION:
        by_key[PHOTOGRAPHS] = _photographs()
    for run in runs:
        if not fit_to_show(run) or run["data"].get("task", CLASSIFICATION) != task:
            continue
        data = run["configuration"]["data"]
        family = by_key.setdefault(*_family(task, data, run["data"].get("size"), run["data"].get("title", data)))
        family.networks[run["id"]] = _run_entry(run)
        if teacher := teacher_of(run["id"], run):
            family.networks.setdefault(teacher, Entry(run["teacher"]["architecture"], run["teacher"]["reference"]))
            family.first = family.first or teacher
    for family in by_key.values():
        family.first = family.first or next(iter(family.networks))
    listed = list(titles)
    return dict(sorted(by_key.items(), key=lambda item: (
        listed.index(item[1].data) if item[1].data in listed else len(listed) + (item[0] == PHOTOGRAPHS))))


def _family(task: str, data: str, size: int | None, title: str) -> tuple[str, Family]:
    """The key and, where it is new, the family of a network. Those that segment are told apart by their size too."""
    if task == SEGMENTATION:
        return f"{data} {size}", Family(title, data, size)
    return data, Family(title, data)


def _shipped_entry(
    task: str, reference: str, about: Mapping[str, Any], among: Sequence[str], teacher: str | None
) -> Entry:
    from kdengine import methods

    note = f"{reference}, {_labels_read(about)}"
    # Of those that segment several have the same method, set in other ways: only their names tell.
    called = _shortened(reference, among)
    if task == CLASSIFICATION:
        called = "Teacher" if reference == teacher else methods.titled(about.get("method"))
    return Entry(f"{called} · {about['architecture']}", note, about.get("method"))


def _labels_read(about: Mapping[str, Any]) -> str:
    """How many labels a checkpoint's network learned from."""
    if about.get("method") == "kd" and about.get("hyperparameters", {}).get("alpha") == 1:
        return "no labels"  # alpha is the teacher's share: nothing is left to the labels
    labels = about["data"].get("labels_per_class")
    return "all labels" if labels is None else f"{labels} labels per class"


def _shortened(name: str, among: Sequence[str]) -> str:
    """A checkpoint's name without the words that all those names begin with; its last word stays."""
    words = [each.split("-")[:-1] for each in among]
    shared = 0
    while all(each[shared:shared + 1] == words[0][shared:shared + 1] != [] for each in words):
        shared += 1
    return "-".join(name.split("-")[shared:])


def _run_entry(run: Mapping[str, Any]) -> Entry:
    from kdengine import methods

    config = run["configuration"]
    when = time.strftime("%d %b %H:%M", time.localtime(run["created"]))
    # What sets networks apart comes first: on a narrow screen the end is cut off.
    usual = f"{methods.titled(config['method'], config['hyperparameters'])} · {config['student']} · {when}"
    if run["name"]:
        return Entry(run["name"], f"{usual}, {run['id']}", config["method"])
    return Entry(usual, run["id"], config["method"])


def _photographs() -> Family:
    return Family(
        "Photograph (ImageNet)", None, None, "Larger network", "Smaller network",
        "Two networks trained on ImageNet independently: neither was distilled from the other.",
        {"efficientnet_lite2": Entry("EfficientNet-Lite2", "efficientnet_lite2"),
         "efficientnet_lite0": Entry("EfficientNet-Lite0, trained independently", "efficientnet_lite0")},
        "efficientnet_lite2",
    )


def fit_to_show(about: Mapping[str, Any]) -> bool:
    """Whether a checkpoint or run is a network of its own, to be shown, compared and taught by.

    A run that has not finished is none, nor is a first stage.
    """
    if "configuration" in about:
        return about["state"] == FINISHED and not is_first_stage(about["configuration"]["method"])
    return not is_first_stage(about.get("method"))


def best_teacher(data: str, checkpoints: Mapping[str, dict[str, Any]]) -> str | None:
    """The shipped checkpoint that knows a data set best: trained on all its labels, highest validation accuracy.

    What a file says of its own scores counts only among equals: those with a record of theirs
    (`checkpoints.has_record`) come before those without.
    """
    best = {
        name: (has_record(name, about), headline(about["scores"]["validation"]))
        for name, about in checkpoints.items()
        if fit_to_show(about) and about["data"]["name"] == data
        and all(about["data"][few] is None for few in ("labels_per_class", "labelled_images", "without_class"))
        and "validation" in about["scores"]  # imported weights were never measured here
        and (":" not in about["architecture"] or trust.trusted(about["architecture"]))
    }
    return max(best, key=lambda name: best[name], default=None)


def teachers(
    data: str, checkpoints: Mapping[str, dict[str, Any]], runs: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """What may teach a data set, the best shipped one first: by reference the digest of its weights, empty of a run."""
    digests = {name: about["digest"] for name, about in checkpoints.items()
               if about["data"]["name"] == data and fit_to_show(about)}
    digests |= {run["id"]: "" for run in runs if run["configuration"]["data"] == data and fit_to_show(run)}
    best = best_teacher(data, checkpoints)
    return dict(sorted(digests.items(), key=lambda item: item[0] != best))


def shipped(task: str, checkpoints: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Checkpoints of a task by the data set they know: `teacher`, a reference or None, and `students`, names.

    The teacher is the ImageNet network that taught one of them, where one did, else `best_teacher`. Files without a
    record of theirs name no teacher where others have one.
    """
    networks = {name: about for name, about in checkpoints.items() if about["task"] == task and fit_to_show(about)}
    by_data: dict[str, dict[str, Any]] = {}
    for data in dict.fromkeys(about["data"]["name"] for about in networks.values()):
        students = [name for name in networks if networks[name]["data"]["name"] == data]
        credible = [name for name in students if has_record(name, networks[name])] or students
        taught_by = (imagenet_teacher(name, networks[name]) for name in credible)
        best = best_teacher(data, checkpoints)  # of another task where a header says so of this data set
        teacher = next(filter(None, taught_by), None) or (best if best in students else None)
        by_data[data] = {"teacher": teacher, "students": [name for name in students if name != teacher]}
    return by_data


def teacher_of(name: str, about: Mapping[str, Any]) -> str | None:
    """The reference of the network that taught a checkpoint or run, as it taught it.

    None where it had no teacher, and where that one is gone or not fit to be shown. about: its identity, or its record.
    """
    if imagenet := imagenet_teacher(name, about):
        return imagenet
    teacher = about.get("teacher") or {}
    reference = teacher.get("reference")
    path = reference and locate(reference)
    if reference and not path:  # a run that is gone: it may have been kept, with the very same weights
        digest = teacher.get("digest")
        return next((kept for kept, each in checkpoints.shipped().items() if each["digest"] == digest), None)
    try:
        return reference if path and fit_to_show(describe(path)) else None
    except KDError:  # damaged since
        return None
