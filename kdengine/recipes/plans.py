"""The lab experiments, in display order. Adding one: a file, a line here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from kdengine import files
from kdengine.errors import KDError, unknown_name
from kdengine.files import Some, Text
from kdengine.paths import runs_root
from kdengine.recipes.colour_invariance import COLOUR_INVARIANCE
from kdengine.recipes.eleven_models import ELEVEN_MODELS
from kdengine.recipes.few_labels import FEW_LABELS
from kdengine.recipes.missing_class import MISSING_CLASS
from kdengine.recipes.recipe import CHANGES, SCALES, Outcome, Plan, Recipe
from kdengine.recipes.response_vs_feature import RESPONSE_VS_FEATURE
from kdengine.recipes.segmentation_kd import SEGMENTATION_KD
from kdengine.recipes.six_methods import SIX_METHODS
from kdengine.recipes.teacher_capacity import TEACHER_CAPACITY
from kdengine.recipes.temperature_alpha import TEMPERATURE_ALPHA
from kdengine.recipes.what_can_be_matched import WHAT_CAN_BE_MATCHED
from kdengine.recipes.where_they_look import WHERE_THEY_LOOK
from kdengine.runs import processes, sweeps
from kdengine.runs.records import ACTIVE, FAILED, FINISHED

if TYPE_CHECKING:
    from kdengine.signals import Stage

_FOLDER = ".recipes"
_LOCK, _STOP, _LOG, _PLAN = "lock", "stop", "log.txt", "plan.json"
_LOCK_PATIENCE_S = 2.0  # a page's probe may hold it for a moment

RECIPES: dict[str, Recipe] = {
    each.name: each
    for each in (
        RESPONSE_VS_FEATURE, TEMPERATURE_ALPHA, SIX_METHODS, COLOUR_INVARIANCE, TEACHER_CAPACITY, WHAT_CAN_BE_MATCHED,
        WHERE_THEY_LOOK, MISSING_CLASS, FEW_LABELS, ELEVEN_MODELS, SEGMENTATION_KD,
    )
}


class _Written(TypedDict):
    """What `plan.json` holds."""

    recipe: Text
    scale: Text
    seeds: Some
    changes: dict[Text, Any]


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises KDError for an unknown one."""
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


def plan(name: str, scale: str = "quick", seeds: int = 1, **changes: Any) -> Plan:
    """A recipe as it is to be run; changes that are None change nothing. Raises KDError as `Plan`.

    Equal changes are one plan, in whichever order they are named.
    """
    in_order = dict.fromkeys((*CHANGES, *changes))
    return Plan(recipe(name), scale, seeds, {key: value for key in in_order if (value := changes.get(key)) is not None})


def check(plan: Plan) -> None:
    """Raise KDError for all that some part of a plan could only fail with, perhaps after hours; no picture is opened.
    """
    from kdengine.runs import checks, inputs

    stages: dict[str, Sequence[Stage] | None] = {}
    for part in plan.parts:
        configuration = part.configuration
        checks.check_alone(configuration, taught=part.taught)
        outline = inputs.outline(configuration)
        taught = checks.teacher_stages(configuration, outline) if part.teacher is None else stages[part.teacher]
        stages[part.label] = checks.check_student(configuration, outline, taught)


def run(plan: Plan, on_change: Callable[[int, int], None] = lambda done, of: None) -> Outcome:
    """Train what a plan has not trained yet, and return all of it, or what there is once `stop` was called.

    See `sweeps.run`. Raises KDError while another process runs the same plan, and, before anything is trained, as
    `check`, and for data that cannot be read.
    """
    place = _place(plan)
    with _take_lock(plan) as lock:
        if not lock.handed_on:  # where `start` began it, a stop may have been asked for since
            _forget_stop(plan)
        check(plan)
        _load(plan)
        sweeps.run(plan.parts, plan.seeds, on_change, lambda: not (place / _STOP).exists(),
                   lambda runs: {run for run, others in _sharing(plan, runs).items() if others})
        return _outcome(plan)


def start(plan: Plan) -> None:
    """Run a plan in a process of its own, which outlives this one. Raises KDError where that is being done."""
    place = _place(plan)
    with _take_lock(plan) as lock, files.writing(place):
        (place / _LOG).write_bytes(b"")
        _forget_stop(plan)
        for name, text in plan.files.items():
            (place / name).write_text(text, encoding="utf-8")
        arguments = [str(place / word) if word in plan.files else word for word in plan.arguments]
        processes.launch(arguments, place / _LOG, {place / _LOCK: lock})


def stop(plan: Plan) -> None:
    """Ask the process that runs a plan to stop what it trains at the last complete epoch, and to end.

    What another recipe that is run now needs too goes on.
    """
    place = _place(plan)
    with files.writing(place):
        place.mkdir(parents=True, exist_ok=True)
        (place / _STOP).touch()


def running(plan: Plan) -> bool:
    """Whether a process runs this very plan now, or has just been started to."""
    return processes.held(_place(plan) / _LOCK)


def log(plan: Plan) -> str:
    """What the last process that `start` began has printed."""
    path = _place(plan) / _LOG
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def so_far(plan: Plan) -> Outcome:
    """What of a plan has finished; trains nothing."""
    return _outcome(plan)


def describe(each: Recipe) -> dict[str, Any]:
    """A recipe as plain data: name, title, question, and by scale what it is about, data, share, epochs,
    labels_per_class and parts.

    labels_per_class: of the students; None where they read every label. A part holds label, network, method, teacher
    and start (labels, or None).
    """
    scales = {}
    for scale in SCALES:
        plan = Plan(each, scale)
        scales[scale] = {
            "about": SCALES[scale],
            "data": plan.parts[0].configuration.data,
            "share": plan.parts[0].configuration.share,
            "epochs": plan.parts[0].configuration.epochs,
            "labels_per_class": plan.parts[-1].configuration.labels_per_class,
            "parts": plan.networks,
        }
    return {"name": each.name, "title": each.title, "question": each.question, "scales": scales}


def progress(plan: Plan) -> dict[str, Any]:
    """How far a plan is: running, begun, log, and in `networks` the label, seed, run, state, epoch, ... of each.

    begun: whether anybody has ever run this very plan: its networks may be there without, for another recipe. Of a
    network, state is one of a run's, or `waiting` where there is none yet; teaches says whether it is one of the
    teachers; shared_with are the titles of other recipes that are run now, where it is in training for them too.
    """
    by_label = {part.label: part for part in plan.parts}
    runs = sweeps.look(plan.parts, plan.seeds)
    training = {each.record.id for each in runs.values() if each and each.state in ACTIVE}
    sharing = _sharing(plan, training) if training else {}
    networks = []
    for (label, seed), each in runs.items():
        networks.append({
            "label": label,
            "seed": seed,
            "teaches": not by_label[label].seeded,
            "shared_with": sharing.get(each.record.id, []) if each else [],
            "run": each and each.record.id,
            "state": each.state if each else "waiting",
            "epoch": each.record.status["epoch"] if each else 0,
            "epochs": by_label[label].configuration.epochs,
            "reason": each and each.record.status["reason"],
        })
    return {"running": running(plan), "begun": (_place(plan) / _PLAN).is_file(), "networks": networks,
            "log": log(plan)}


def _load(plan: Plan) -> None:
    """Read each of its data sets once, so that what cannot be read is met before anything is trained."""
    from kdengine import data

    for name, size in {(part.configuration.data, part.configuration.image_size) for part in plan.parts}:
        data.load(name, image_size=size)


def _sharing(plan: Plan, runs: set[str]) -> dict[str, list[str]]:
    """For which other recipes runs are in training now too, by run."""
    titles: dict[str, list[str]] = {run: [] for run in runs}
    for other in _running_besides(_place(plan)):
        for each in sweeps.look(other.parts, other.seeds).values():
            if each and each.record.id in runs:
                titles[each.record.id].append(f"{other.recipe.title} ({other.scale})")
    return titles


def _running_besides(place: Path) -> Iterator[Plan]:
    """The plans that are run now, but for the one of that place."""
    for path in sorted((runs_root() / _FOLDER).glob(f"*/{_PLAN}")):
        if path.parent != place:
            with suppress(KDError):  # another user's, or of a recipe that is no more
                if processes.held(path.parent / _LOCK):
                    written: _Written = files.decode(files.content(path) or b"", _Written)
                    yield plan(written["recipe"], written["scale"], written["seeds"], **written["changes"])


def _place(plan: Plan) -> Path:
    """Where a plan's lock, stop and log lie: beside the runs, one folder for each plan."""
    digest = hashlib.sha256(plan.identity.encode()).hexdigest()[:12]
    return runs_root() / _FOLDER / f"{plan.recipe.name}-{digest}"


def _take_lock(plan: Plan) -> processes.Lock:
    """The lock of who runs a plan. Raises KDError where another process does."""
    place = _place(plan)
    with files.writing(place):
        place.mkdir(parents=True, exist_ok=True)
        lock = processes.take(place / _LOCK, _LOCK_PATIENCE_S)
        if lock is None:
            raise KDError(f"{plan.recipe.name} is being run like this already, by another process. Wait for it, or "
                          "stop it on the Recipes page.")
        written: _Written = {"recipe": plan.recipe.name, "scale": plan.scale, "seeds": plan.seeds,
                             "changes": dict(plan.changes)}
        files.write_json(place / _PLAN, written)
    return lock


def _forget_stop(plan: Plan) -> None:
    with files.writing(_place(plan)):
        (_place(plan) / _STOP).unlink(missing_ok=True)


def _outcome(plan: Plan) -> Outcome:
    runs = {key: each for key, each in sweeps.look(plan.parts, plan.seeds).items() if each}
    records = {key: each.record for key, each in runs.items() if each.state == FINISHED}
    failures = {key: each.record.status["reason"] or "no reason is known"
                for key, each in runs.items() if each.state == FAILED}
    return Outcome(plan, records, failures)
