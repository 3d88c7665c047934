"""A sweep of one's own: what a file asks for, as a plan like that of every recipe."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdengine.charts import against, grid
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.paths import child, runs_root
from kdengine.recipes import sweep_file
from kdengine.recipes.parts import labels
from kdengine.recipes.recipe import Outcome, Plan, Recipe
from kdengine.recipes.sweep_file import Sweep
from kdengine.runs import results, store, sweeps
from kdengine.runs.sweeps import Part

if TYPE_CHECKING:
    from altair.typing import ChartType

NAME, FILE = "sweep", "sweep.toml"
_TEACHER = "Teacher"


@dataclass(frozen=True)
class _Student:
    """A student of a sweep. called: its method, without its settings. lists: its values of the fields that are lists.
    varied: these, and those of its hyperparameters in which the students of its method differ.
    """

    label: str
    configuration: Configuration
    called: str
    lists: Mapping[str, Any]
    varied: Mapping[str, Any]


@dataclass(frozen=True)
class OwnSweep(Plan):
    """A sweep as a plan. text: its file's; nothing of a plan but the seeds can be changed beside it."""

    scale: str = "own"
    text: str = ""

    def __post_init__(self) -> None:
        sweeps.check(self.parts)

    @property
    def arguments(self) -> list[str]:
        """See Plan.arguments."""
        return [NAME, "--config", FILE]

    @property
    def files(self) -> Mapping[str, str]:
        """See Plan.files."""
        return {FILE: self.text}

    @property
    def identity(self) -> str:
        """See Plan.identity. Comments and the order of keys are no part of it."""
        return repr((self.parts, self.seeds))


def read_sweep(text: str, *, confined: bool = False) -> OwnSweep:
    """The plan that a file's text asks for, see `sweep_file`. Raises KDError for a text that asks for none.

    confined: as pages want it, also for a folder that is not below the data root, and for a teacher that is a path.
    """
    from kdengine import data

    sweep = sweep_file.read(text)
    if confined:
        _require_confined([*sweep.students, *filter(None, [sweep.teacher])])
    students = _students(sweep)
    teachers = [Part(_TEACHER, sweep.teacher, seeded=False)] if sweep.teacher else []
    taught_by = _TEACHER if teachers else None
    parts = [*teachers, *(Part(each.label, each.configuration, taught_by) for each in students)]
    return OwnSweep(Recipe(
        name=NAME,
        title="A sweep of your own",
        question="What do these methods and settings change, trained on the same views of the same data?",
        parts=lambda scale: parts,
        figures=functools.partial(_figures, students),
        remarks=functools.partial(_remarks, students),
        # The highest of several settings' test scores would be chosen on test images.
        ranks=all(len(each) == 1 for each in _settings(students).values()),
        headline="mIoU" if data.task_of(parts[0].configuration.data) == "segmentation" else "accuracy",
    ), seeds=sweep.seeds, text=text)


def write_sweep(names: Sequence[str], version: str) -> str:
    """The file of runs or shipped results, which `read_sweep` takes. Raises KDError for those that make no one sweep.

    version: of the program, for the comment in it.
    """
    finished = results.finished()
    records = [finished.get(name) or store.read(name) for name in names]
    if not records:
        raise KDError("No run is named, so there is nothing to write; name one at least.")
    return sweep_file.write([record.configuration for record in records],
                            f"KD Explorer {version}: {', '.join(names)}")


def _require_confined(configurations: Sequence[Configuration]) -> None:
    from kdengine import data

    for each in configurations:
        data.require_below_data_root(each.data)
        if each.teacher is not None and child(runs_root(), each.teacher) is None:
            raise KDError(f"The teacher {each.teacher!r} is a path; allowed here is a shipped checkpoint, a run, or a "
                          "packaged network, by its name.")


def _students(sweep: Sweep) -> list[_Student]:
    together = sweep.students[:sweep.lists.count(sweep.lists[0])]  # those of one value of every list
    called = labels([(each.method, each.hyperparameters) for each in together])
    students = []
    for place, (configuration, lists) in enumerate(zip(sweep.students, sweep.lists, strict=True)):
        fields = configuration.hyperparameters
        others = [each.hyperparameters for each in together if each.method == configuration.method]
        varied = {name: value for name, value in fields.items() if any(each[name] != value for each in others)}
        method, = labels([(configuration.method, {})])
        students.append(_Student(called[place % len(together)] + _listed(lists), configuration, method, lists,
                                 {**varied, **lists}))
    return students


def _listed(lists: Mapping[str, Any]) -> str:
    """The values of the fields that are lists, as they follow a name."""
    return "".join(f", {_words(name)} {value:g}" for name, value in lists.items())


def _settings(students: Sequence[_Student]) -> dict[str, list[_Student]]:
    """The students among which validation chooses: those of one method, and one value of every list, by both."""
    groups: dict[str, list[_Student]] = {}
    for each in students:
        groups.setdefault(each.called + _listed(each.lists), []).append(each)
    return groups


def _chosen(students: Sequence[_Student], outcome: Outcome) -> dict[str, str]:
    """The label that validation chooses by what it is chosen among; empty while a network is missing.

    Of equal ones the first. No test image takes part in it.
    """
    trained = {} if outcome.missing else {
        called: [each.label for each in among if outcome.of(each.label)]
        for called, among in _settings(students).items() if len(among) > 1}
    return {called: max(among, key=lambda label: outcome.scores(label)["validation"])
            for called, among in trained.items() if among}


def _figures(students: Sequence[_Student], outcome: Outcome) -> dict[str, ChartType]:
    """A heat map of each method of which two fields vary; of those of which one does, a line, for each field a chart.
    """
    headline, chosen = outcome.plan.recipe.headline, set(_chosen(students, outcome).values())
    drawn: dict[str, ChartType] = {}
    lines: dict[str, list[dict[str, Any]]] = {}
    for called in dict.fromkeys(each.called for each in students):
        own = [each for each in students if each.called == called and outcome.of(each.label)]
        names = list(dict.fromkeys(name for each in students if each.called == called for name in each.varied))
        if len(names) == 2 and own:
            x, y = names
            outlined = ", what validation chooses outlined" if chosen.intersection(each.label for each in own) else ""
            drawn[f"Validation {headline} of {called} over {_words(x)} and {_words(y)}{outlined}; the test images take "
                  "no part in it."] = grid(
                [{"x": each.varied[x], "y": each.varied[y], "chosen": each.label in chosen,
                  **outcome.scores(each.label)} for each in own], _words(x), _words(y), headline)
        elif len(names) == 1:
            lines.setdefault(names[0], []).extend(
                {"x": each.varied[names[0]], "series": called, "score": outcome.scores(each.label)["validation"]}
                for each in own)
    for name, points in lines.items():
        if points := [*points, *_flat(students, outcome, points)]:
            drawn[f"Validation {headline} over {_words(name)}; the test images take no part in it."] = against(
                points, _words(name), f"Validation {headline}")
    return drawn


def _flat(
    students: Sequence[_Student], outcome: Outcome, points: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The independent student beside a line, where it has no such field."""
    return [{"x": x, "series": each.called, "score": outcome.scores(each.label)["validation"]}
            for each in students if each.configuration.method == "none" and not each.varied and outcome.of(each.label)
            for x in dict.fromkeys(point["x"] for point in points)]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _remarks(students: Sequence[_Student], outcome: Outcome) -> list[str]:
    """What validation chooses, and how that does on the test images."""
    settings, sentences = _settings(students), []
    for called, label in _chosen(students, outcome).items():
        scores = outcome.scores(label)
        sentences.append(f"Of {len(settings[called])} settings of {called}, validation chooses {label} (validation "
                         f"{scores['validation']:.2%}, test {scores['test']:.2%}).")
    return sentences
