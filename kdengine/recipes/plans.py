"""The lab experiments, in display order. Adding one: a file, a line here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdengine import files
from kdengine.errors import KDError, unknown_name
from kdengine.paths import runs_root
from kdengine.recipes.colour_invariance import COLOUR_INVARIANCE
from kdengine.recipes.eleven_models import ELEVEN_MODELS
from kdengine.recipes.few_labels import FEW_LABELS
from kdengine.recipes.missing_class import MISSING_CLASS
from kdengine.recipes.recipe import SCALES, Outcome, Plan, Recipe
from kdengine.recipes.response_vs_feature import RESPONSE_VS_FEATURE
from kdengine.recipes.segmentation_kd import SEGMENTATION_KD
from kdengine.recipes.six_methods import SIX_METHODS
from kdengine.recipes.teacher_capacity import TEACHER_CAPACITY
from kdengine.recipes.temperature_alpha import TEMPERATURE_ALPHA
from kdengine.recipes.what_can_be_matched import WHAT_CAN_BE_MATCHED
from kdengine.runs import processes, sweeps
from kdengine.runs.records import FAILED, FINISHED

if TYPE_CHECKING:
    from kdengine.signals import Stage

_LOCK, _STOP, _LOG = "lock", "stop", "log.txt"
_LOCK_PATIENCE_S = 2.0  # a page's probe may hold it for a moment

RECIPES: dict[str, Recipe] = {
    each.name: each
    for each in (
        RESPONSE_VS_FEATURE, TEMPERATURE_ALPHA, SIX_METHODS, COLOUR_INVARIANCE, TEACHER_CAPACITY, WHAT_CAN_BE_MATCHED,
        MISSING_CLASS, FEW_LABELS, ELEVEN_MODELS, SEGMENTATION_KD,
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises KDError for an unknown one."""
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


def plan(name: str, scale: str = "quick", seeds: int = 1, **changes: Any) -> Plan:
    """A recipe as it is to be run; changes that are None change nothing. Raises KDError as `Plan`."""
    return Plan(recipe(name), scale, seeds, {key: value for key, value in changes.items() if value is not None})


def check(plan: Plan) -> None:
    """Raise KDError for all that some part of a plan could only fail with, perhaps after hours, and data not here."""
    from kdengine import data
    from kdengine.runs import checks, inputs

    stages: dict[str, Sequence[Stage] | None] = {}
    for part in plan.parts:
        configuration = part.configuration
        checks.check_alone(configuration, taught=part.taught)
        outline = inputs.outline(configuration)
        taught = checks.teacher_stages(configuration, outline) if part.teacher is None else stages[part.teacher]
        stages[part.label] = checks.check_student(configuration, outline, taught)
    for name, size in {(part.configuration.data, part.configuration.image_size) for part in plan.parts}:
        data.load(name, image_size=size)


def run(plan: Plan, on_change: Callable[[int, int], None] = lambda done, of: None) -> Outcome:
    """Train what a plan has not trained yet, and return all of it, or what there is once `stop` was called.

    See `sweeps.run`. Raises KDError while another process runs the same plan, and, before anything is trained, as
    `check`.
    """
    place = _place(plan)
    with _take_lock(plan) as lock:
        if not lock.handed_on:  # where `start` began it, a stop may have been asked for since
            _forget_stop(plan)
        check(plan)
        sweeps.run(plan.parts, plan.seeds, on_change, lambda: not (place / _STOP).exists())
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
    """Ask the process that runs a plan to stop what it trains at the last complete epoch, and to end."""
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
        parts = each.parts(scale)
        scales[scale] = {
            "about": SCALES[scale],
            "data": parts[0].configuration.data,
            "share": parts[0].configuration.share,
            "epochs": parts[0].configuration.epochs,
            "labels_per_class": parts[-1].configuration.labels_per_class,
            "parts": [{"label": part.label, "network": part.configuration.student,
                       "method": part.configuration.method, "teacher": part.teacher or part.configuration.teacher,
                       "start": part.start}
                      for part in parts],
        }
    return {"name": each.name, "title": each.title, "question": each.question, "scales": scales}


def progress(plan: Plan) -> dict[str, Any]:
    """How far a plan is: running, and in `networks` the label, seed, run, state, epoch, epochs and reason of each.

    The state is one of a run's, or `waiting` where there is none yet.
    """
    networks = []
    for (label, seed), each in sweeps.look(plan.parts, plan.seeds).items():
        networks.append({
            "label": label,
            "seed": seed,
            "run": each and each.record.id,
            "state": each.state if each else "waiting",
            "epoch": each.record.status["epoch"] if each else 0,
            "epochs": next(part.configuration.epochs for part in plan.parts if part.label == label),
            "reason": each and each.record.status["reason"],
        })
    return {"running": running(plan), "networks": networks, "log": log(plan)}


def _place(plan: Plan) -> Path:
    """Where a plan's lock, stop and log lie: beside the runs, one folder for each plan."""
    digest = hashlib.sha256(plan.identity.encode()).hexdigest()[:12]
    return runs_root() / ".recipes" / f"{plan.recipe.name}-{digest}"


def _take_lock(plan: Plan) -> processes.Lock:
    """The lock of who runs a plan. Raises KDError where another process does."""
    place = _place(plan)
    with files.writing(place):
        place.mkdir(parents=True, exist_ok=True)
        lock = processes.take(place / _LOCK, _LOCK_PATIENCE_S)
    if lock is None:
        raise KDError(f"{plan.recipe.name} is being run like this already, by another process. Wait for it, or stop "
                      "it on the Recipes page.")
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
