"""What a recipe is: a named lab experiment, declared as the networks it trains and what it draws from them."""

from __future__ import annotations

import dataclasses
import functools
import shlex
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from kdengine.configuration import Configuration
from kdengine.errors import KDError, unknown_name
from kdengine.recipes.columns import Column, Printed
from kdengine.runs import results, sweeps
from kdengine.runs.records import Record, headline
from kdengine.runs.sweeps import Part

if TYPE_CHECKING:
    from altair.typing import ChartType

    from kdengine.recipes.look import Look

SCALES = {
    "quick": "minutes on two CPU cores: small networks, few epochs",
    "lab": "what a lab sheet asks for: 40 epochs; needs a GPU",
    "paper": "as long as published comparisons train: 240 epochs, learning rate x 0.1 at 150, 180 and 210",
}
SCHEDULE: dict[str, dict[str, Any]] = {"lab": {"epochs": 40}, "paper": {"epochs": 240, "schedule": "step"}}
"""Settings of the two long scales that every recipe shares."""
SETTINGS = ("data", "share", "image_size", "epochs", "batch_size", "optimizer", "learning_rate")
"""The fields of every network's configuration that a plan may change."""
LABELS = ("labels_per_class", "labelled_images")
"""The fields of every student's configuration that a plan may change: a teacher reads all labels."""
HYPERPARAMETERS = {"temperature": "T", "kl_weight": r"\beta"}
"""The hyperparameters that a plan may change, in every method that has them, and the symbol each goes by."""
CHANGES = (*SETTINGS, *LABELS, *HYPERPARAMETERS, "teacher", "student", "skip", "only")
"""What of a plan may be changed: settings of every network, how many labels the students read, hyperparameters of the
methods, and the architectures; and the labels of the students that are left out, or of the only ones that are trained.
"""


@dataclass(frozen=True)
class Plan:
    """A recipe at one scale, with so many seeds, and what was changed of it: all that decides what is trained.

    changes: values by the names in CHANGES. Raises KDError for an unknown scale or change, seeds below 1, or one
    teacher for a recipe that compares several.
    """

    recipe: Recipe
    scale: str = "quick"
    seeds: int = 1
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise unknown_name("scale", self.scale, SCALES)
        if self.seeds < 1:
            raise KDError(f"seeds is {self.seeds}; allowed is 1 or more. Three or more can speak of a method.")
        for name in self.changes:
            if name not in CHANGES:
                raise unknown_name("change", name, CHANGES)
        sweeps.check(self.parts)

    @functools.cached_property
    def parts(self) -> list[Part]:
        """Its networks, teachers before their students."""
        parts = self._selected(self.recipe.parts(self.scale))
        if "teacher" in self.changes:
            self._require_one("teachers", {part.configuration.student for part in parts if not part.seeded})
        for name in self._changed_hyperparameters:
            values = {f"{value:g}" for part in parts if (value := _hyperparameter(part, name)) is not None}
            self._require_one(f"{name}s", values)
        return [dataclasses.replace(part, configuration=self._changed(part)) for part in parts]

    def seeds_of(self, part: Part) -> range:
        """The seeds a part is trained with."""
        return part.seeds(self.seeds)

    @property
    def networks(self) -> list[dict[str, Any]]:
        """Its parts as plain data: label, network, method, teacher and start (labels, or None).

        No teacher where the method does not listen to one.
        """
        from kdengine import methods

        return [{"label": part.label, "network": part.configuration.student, "method": part.configuration.method,
                 "teacher": (part.teacher or part.configuration.teacher) if methods.find(
                     part.configuration.method).needs_teacher else None, "start": part.start} for part in self.parts]

    @property
    def values(self) -> dict[str, list[Any]]:
        """What it trains with, by those names in CHANGES that a value can be set for: several where it compares them.

        Settings and labels are the first student's. A hyperparameter that no method has is left out, and of the two
        kinds of labels the one that data of another task have.
        """
        first = next(part.configuration for part in self.parts if part.taught)
        labels = "labelled_images" if self.recipe.headline == "mIoU" else "labels_per_class"
        teachers: list[str | None] = [part.configuration.student for part in self.parts if not part.seeded]
        values: dict[str, list[Any]] = {name: [getattr(first, name)] for name in (*SETTINGS, labels)}
        values |= {"teacher": list(dict.fromkeys(teachers or [first.teacher])), "student": [first.student]}
        for name in HYPERPARAMETERS:
            each = [value for part in self.parts if (value := _hyperparameter(part, name)) is not None]
            values |= {name: list(dict.fromkeys(each))} if each else {}
        return values

    @property
    def arguments(self) -> list[str]:
        """What runs it after `python -m kdengine`."""
        changes = [word for name, value in self.changes.items()
                   for each in (value if name in ("skip", "only") else [value])
                   for word in (f"--{name.replace('_', '-')}", str(each))]
        return ["recipe", self.recipe.name, "--scale", self.scale, "--seeds", str(self.seeds), *changes]

    @property
    def command(self) -> str:
        """The command line that runs it."""
        return shlex.join(["python", "-m", "kdengine", *self.arguments])

    @property
    def files(self) -> Mapping[str, str]:
        """The text of each file that its command names; they lie beside its report."""
        return {}

    @property
    def identity(self) -> str:
        """Equal for plans that train the same."""
        return self.command

    @property
    def setting(self) -> str:
        """What is trained on what, and how much of it: the title line of its report."""
        teachers, taught = ([part.configuration for part in self.parts if part.seeded == seeded]
                            for seeded in (False, True))
        first = taught[0]
        labels = " or ".join(dict.fromkeys(map(_labels_read, taught)))
        epochs = f"{first.epochs} epoch{'s' if first.epochs > 1 else ''}"
        seeds = "one seed" if self.seeds == 1 else f"{self.seeds} seeds"
        return ", ".join([
            " to ".join(filter(None, [_named(teachers) or first.teacher, _named(taught)])),
            first.data + (f" at {first.image_size} px" if first.image_size else ""),
            "all training images" if first.share == 1 else f"{first.share:.3g} of the training images",
            labels, epochs, *(f"{name.replace('_', ' ')} {self.changes[name]:g}"
                              for name in self._changed_hyperparameters), seeds])

    @property
    def _changed_hyperparameters(self) -> list[str]:
        return [name for name in HYPERPARAMETERS if name in self.changes]

    def _require_one(self, what: str, values: set[str]) -> None:
        """Raise KDError where a recipe compares several values of what is to be one for all."""
        if len(values) > 1:
            raise KDError(f"{self.recipe.name} compares the {what} {', '.join(sorted(values))}; one for all of them "
                          "leaves nothing to compare.")

    def _selected(self, parts: list[Part]) -> list[Part]:
        students = [part.label for part in parts if part.taught]
        skipped, only = self.changes.get("skip", ()), self.changes.get("only", students)
        for label in (*skipped, *only):
            if label not in students:
                raise unknown_name("student", label, students)
        left_out = {label for label in students if label in skipped or label not in only}
        return [part for part in parts if part.label not in left_out]

    def _changed(self, part: Part) -> Configuration:
        changing = (*SETTINGS, *LABELS) if part.taught else SETTINGS
        settings = {name: self.changes[name] for name in changing if name in self.changes}
        if "optimizer" in settings:  # whose usual rate is another
            settings = {"learning_rate": None} | settings
        if part.configuration.teacher and "teacher" in self.changes:  # one that is there already
            settings["teacher"] = self.changes["teacher"]
        architecture = self.changes.get("student" if part.taught else "teacher")
        if architecture is not None:
            from kdengine import models

            started = part.configuration.pretrained and models.can_start(architecture)
            settings |= {"student": architecture, "pretrained": started}
        fields = {name: self.changes[name] for name in self._changed_hyperparameters
                  if _hyperparameter(part, name) is not None}
        if fields:
            settings["hyperparameters"] = part.configuration.hyperparameters | fields
        return dataclasses.replace(part.configuration, **settings)


def _named(configurations: Sequence[Configuration]) -> str:
    """The architectures of several networks, each once."""
    return ", ".join(dict.fromkeys(each.student for each in configurations))


def _labels_read(student: Configuration) -> str:
    if student.labels_per_class:
        return f"{student.labels_per_class} labels per class"
    return f"masks of {student.labelled_images} images" if student.labelled_images else "every label"


def _hyperparameter(part: Part, name: str) -> float | None:
    """A hyperparameter of a part's method; None where it has none. CRD's temperature, a sharpness, is no T."""
    from kdengine import methods

    method = methods.method(part.configuration.method, **part.configuration.hyperparameters)
    declared = any((each.name, each.metadata["symbol"]) == (name, HYPERPARAMETERS[name])
                   for each in dataclasses.fields(method))
    return getattr(method, name) if declared else None


class Source(Protocol):
    """Where what lies behind records comes from: this machine's runs, or files that outlived theirs."""

    def finished(self) -> Mapping[str, Record]:
        """All results there are, by name: the same networks may be judged in other company too."""

    def history(self, run: str) -> list[dict[str, Any]]:
        """A run's rows, one an epoch."""

    def predictions(self, run: str) -> dict[str, Any] | None:
        """What a run answers to the test images, as `kdengine.runs.verdicts` reads it; None where that is gone."""


@dataclass(frozen=True)
class Outcome:
    """What of a plan has been trained so far: the finished record of each part by (label, seed).

    failures: why parts have failed, by (label, seed). source: where what lies behind the records is. measured: the
    recipe's own columns, by (label, seed), where they were kept; None measures them. looks: the pictures of
    its gallery, where they were kept; None makes them.
    """

    plan: Plan
    records: Mapping[tuple[str, int], Record]
    failures: Mapping[tuple[str, int], str] = field(default_factory=dict)
    source: Source = results
    measured: Mapping[tuple[str, int], dict[str, float]] | None = None
    looks: Sequence[Sequence[Look]] | None = None

    @property
    def parts(self) -> Sequence[Part]:
        """The plan's parts, trained or not."""
        return self.plan.parts

    @property
    def missing(self) -> list[tuple[str, int]]:
        """The networks by (label, seed) that are neither trained nor failed yet."""
        wanted = [(part.label, seed) for part in self.parts for seed in self.plan.seeds_of(part)]
        return [key for key in wanted if key not in self.records and key not in self.failures]

    @functools.cached_property
    def measures(self) -> Mapping[tuple[str, int], dict[str, float]]:
        """The recipe's own columns of each record, by (label, seed)."""
        if self.measured is not None:
            return self.measured
        return {key: self.plan.recipe.measure(record) for key, record in self.records.items()}

    def everything(self) -> Mapping[str, Record]:
        """All results there are now, by name, these among them."""
        return {**self.source.finished(), **{record.id: record for record in self.records.values()}}

    def of(self, label: str) -> list[Record]:
        """The finished records of one part, by seed."""
        return [record for (each, _), record in sorted(self.records.items()) if each == label]

    def scores(self, label: str) -> dict[str, float]:
        """The headline of one part that has finished, on `validation` and on `test`: means over its seeds."""
        return {split: statistics.fmean(headline(record.result[split]) for record in self.of(label))
                for split in ("validation", "test")}

    def teachers(self) -> list[Record]:
        """The finished records of the networks that are there to teach."""
        return [record for part in self.parts if not part.seeded for record in self.of(part.label)]


def _nothing(record: Record) -> dict[str, float]:
    return {}


def _no_figures(outcome: Outcome) -> dict[str, ChartType]:
    return {}


def _no_remarks(outcome: Outcome) -> list[str]:
    return []


def _no_contrasts(outcome: Outcome) -> list[tuple[str, str]]:
    return []


def _every(outcome: Outcome, label: str) -> bool:
    return True


@dataclass(frozen=True)
class Recipe:
    """A named experiment.

    question: what it answers, in a sentence. parts(scale): the networks, teachers before their students.
    columns: further columns of its table by key; measure(record) gives their values for one run. contrasts(outcome):
    the pairs of labels its question is about, to be held against each other. ranks: whether the highest of its test
    accuracies may be named: not where it tunes. leads: whether the first of its own figures answers its question, and
    not the test accuracies. judges(outcome, label): whether that network is to be judged against the independent
    student.
    figures(outcome): charts by caption. remarks(outcome): sentences computed from its numbers. gallery: whether it
    ends with pictures of what its networks do, see `gallery`. headline: what it compares networks by, `accuracy` or
    `mIoU`. printed: tables of lab sheets to be held against; apart: in what these are known to differ from what is
    trained here.
    """

    name: str
    title: str
    question: str
    parts: Callable[[str], list[Part]]
    columns: Mapping[str, Column] = field(default_factory=dict)
    measure: Callable[[Record], dict[str, float]] = _nothing
    figures: Callable[[Outcome], dict[str, ChartType]] = _no_figures
    remarks: Callable[[Outcome], list[str]] = _no_remarks
    contrasts: Callable[[Outcome], list[tuple[str, str]]] = _no_contrasts
    ranks: bool = True
    leads: bool = False
    judges: Callable[[Outcome, str], bool] = _every
    gallery: bool = False
    headline: str = "accuracy"
    printed: Sequence[Printed] = ()
    apart: str = ""
