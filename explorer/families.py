"""Networks of the same classes that can be compared: of each data set those that are shipped or were trained here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import kdengine
from explorer.forms import told_apart


@dataclass(frozen=True)
class Known:
    """A network as the page speaks of it."""

    name: str
    note: str
    method: str | None = None


@dataclass
class Family:
    """Networks of the same classes that can be compared, by reference."""

    title: str
    data: str | None
    """The data set whose test images are offered; None where only photographs are."""
    first_role: str = "Teacher"
    other_role: str = "Student"
    about: str = ""
    networks: dict[str, Known] = field(default_factory=dict)
    first: str | None = None


def families() -> dict[str, Family]:
    """What can be compared: each data set that shipped checkpoints or finished runs know, and photographs."""
    titles = {each["name"]: each["title"] for each in kdengine.list_data()}
    found: dict[str, Family] = {}
    shipped = kdengine.shipped_families()
    for reference, about in kdengine.list_checkpoints().items():
        if about["task"] != "classification" or not kdengine.fit_to_show(about):
            continue
        method, data, labels = about.get("method"), about["data"]["name"], about["data"].get("labels_per_class")
        count = "all labels" if labels is None else f"{labels} labels a class"
        family = found.setdefault(data, Family(f"{titles.get(data, data)} (shipped)", data))
        family.networks[reference] = Known(
            f"{about['architecture']} · {kdengine.method_title(method)}", f"{reference}, {count}", method)
        teacher = kdengine.teacher_of(reference, about)
        # An ImageNet network: what else teaches is a checkpoint of its own.
        if teacher and teacher == shipped[data]["teacher"]:
            family.networks.setdefault(teacher, Known(about["teacher"]["reference"], "ImageNet weights, these classes"))
    for data, family in found.items():
        family.first = shipped[data]["teacher"]
    found["photograph"] = photographs()
    for run in kdengine.list_runs():
        if not kdengine.fit_to_show(run) or run["data"].get("task") == "segmentation":
            continue
        asked = run["configuration"]
        family = found.setdefault(asked["data"], Family(run["data"].get("title", asked["data"]), asked["data"]))
        when = time.strftime("%d %b %H:%M", time.localtime(run["created"]))
        title = kdengine.method_title(asked["method"], asked["hyperparameters"])
        usual = f"{asked['student']} · {title} · {when}"
        family.networks[run["id"]] = Known(
            run["name"] or usual, f"{usual}, {run['id']}" if run["name"] else run["id"], asked["method"])
        if teacher := kdengine.teacher_of(run["id"], run):
            family.networks.setdefault(teacher, Known(run["teacher"]["architecture"], run["teacher"]["reference"]))
            family.first = family.first or teacher
    for family in found.values():
        family.first = family.first or next(iter(family.networks))
    listed = list(titles)  # data sets as they are listed, digits first; then folders as they come, then photographs
    return dict(sorted(found.items(), key=lambda item: (
        listed.index(item[0]) if item[0] in titles else len(listed) + (item[0] == "photograph"))))


def photographs() -> Family:
    """The two networks that know ImageNet's 1000 classes and are installed with the program."""
    return Family(
        "Photograph (ImageNet)", None, "Larger network", "Smaller network",
        "Two networks trained on ImageNet independently: neither was distilled from the other.",
        {"efficientnet_lite2": Known("EfficientNet-Lite2", "efficientnet_lite2"),
         "efficientnet_lite0": Known("EfficientNet-Lite0, trained independently", "efficientnet_lite0")},
        "efficientnet_lite2",
    )


def names(family: Family) -> dict[str, str]:
    """What a family's networks are called on screen and in links, by reference; no two are called alike."""
    return told_apart({reference: known.name for reference, known in family.networks.items()})


def link(data: str, teacher: str, students: Sequence[str], image: int) -> dict[str, str | list[str]]:
    """The query of the Compare page's link that holds students of a data set against their teacher, on a test image.

    What the page opens with is not in it: the page would take it out, and the browser's Back lead nowhere.
    """
    found = families()
    called = names(found[data])
    query: dict[str, str | list[str]] = {f"{data} students": [called[each] for each in students],
                                         "image": str(image)}
    if teacher != found[data].first:
        query[f"{data} teacher"] = called[teacher]
    if data != next(iter(found)):
        query["family"] = told_apart({each: family.title for each, family in found.items()})[data]
    return query
