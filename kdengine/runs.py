"""Runs: from configurations to records. Start, stop, resume, list. Needs no torch to list.

Training happens in a child process of its own session (`python -m kdengine worker ID...`), so it outlives the page
and the server that started it. A run is alive exactly while its worker holds the run's lock file. Nothing else is
kept: what holds no lock, is past its starting grace and is not finished was interrupted, and can be resumed.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdengine import processes
from kdengine.errors import KDError, unknown_name
from kdengine.places import runs_root
from kdengine.records import (
    ACTIVE,
    HISTORY,
    INTERRUPTED,
    PROGRESS,
    QUEUED,
    RECORD,
    RESUMABLE,
    Configuration,
    Record,
    one_group,
    read_json,
    read_record,
    read_rows,
)

if TYPE_CHECKING:
    from kdengine.data import Outline
    from kdengine.signals import Stage

LOCK, STOP, LOG = "lock", "stop", "log.txt"
GRACE_S = 30.0
"""How long a queued run may be without a worker before it counts as interrupted: the start of a Python process."""
FIRST_STAGE_SHARE = 1 / 8
"""Epochs of a first stage, as a share of the whole: 30 of 240 in the published comparisons (Tian et al. 2020)."""
START_S = 5.0
"""A worker's start, mostly torch's import."""


def submit(configurations: Sequence[Configuration]) -> list[str]:
    """Queue one group of students, to be trained side by side, and start its worker; returns the runs' ids.

    A method of two stages gets a run for its first stage too, queued before; the group waits for it and starts from
    the student and adapter it leaves.

    Raises KDError, before anything is written, for what can be known to be wrong: unknown names, hyperparameters
    out of range, a method without its teacher, students that share no views.
    """
    _check(configurations)
    return _queue([_after_first_stage(_resolved(each)) for each in configurations])


def _resolved(configuration: Configuration) -> Configuration:
    """With every hyperparameter's value, so that the record still says it when a default has changed."""
    from kdengine import methods

    method = methods.method(configuration.method, **configuration.hyperparameters)
    return dataclasses.replace(configuration, hyperparameters=dataclasses.asdict(method))


def _after_first_stage(configuration: Configuration) -> Configuration:
    """The configuration, starting from a run of its method's first stage where it has one; that run is queued here."""
    first = _first_stage(configuration)
    if first is None:
        return configuration
    run, = _queue([first])
    return dataclasses.replace(configuration, initial=run)


def _first_stage(configuration: Configuration) -> Configuration | None:
    """Of the run that a method of two stages starts from; None where it has one stage."""
    from kdengine.methods import METHODS

    first = METHODS[configuration.method].first_stage
    if first is None:
        return None
    own = {each.name for each in dataclasses.fields(first)}
    given = {name: value for name, value in configuration.hyperparameters.items() if name in own}
    return dataclasses.replace(
        configuration, method=first.name, hyperparameters=given, epochs=first_epochs(configuration))


def first_epochs(configuration: Configuration) -> int:
    """How many epochs the first stage of a method of two stages gets, beside those of the second."""
    return math.ceil(FIRST_STAGE_SHARE * configuration.epochs)


def _queue(configurations: Sequence[Configuration]) -> list[str]:
    """Write the runs of one group and start their worker."""
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    group = f"{stamp}-{secrets.token_hex(2)}"
    ids = []
    for place, configuration in enumerate(configurations):
        run = f"{group}-{place + 1}-{configuration.method}"
        status = {"state": QUEUED, "reason": None, "epoch": 0, "launched": now}
        (runs_root() / run).mkdir(parents=True)
        Record(run, group, now, configuration, status).save(runs_root() / run)
        ids.append(run)
    _launch(ids)
    return ids


def estimate(configurations: Sequence[Configuration]) -> dict[str, float]:
    """What a group will take on this machine: seconds in all, and training images per second of all students together.

    From a few steps of each network, measured here and now. Loading, measuring the teacher and testing are counted
    as one more epoch, and START_S; a first stage as its share of the epochs.
    """
    from kdengine import checkpoints, data, methods, models, speeds
    from kdengine.devices import choose_device

    _check(configurations)
    shared = configurations[0]
    device = choose_device(shared.device)
    held = data.load(shared.data, labels_per_class=shared.labels_per_class, share=shared.share,
                     without_class=shared.without_class, image_size=shared.image_size)
    taught = 0.0
    if any(methods.METHODS[each.method].needs_teacher for each in configurations):
        teacher = checkpoints.open_teacher(shared.teacher, held.classes, held.size).to(device)
        taught = speeds.seconds_now(teacher, shared.batch_size, shared.precision, training=False)
    step, first_steps = taught, 0.0
    for each in configurations:
        student = models.build(each.student, held.classes, input_size=held.size).to(device)
        learnt = speeds.seconds_now(student, shared.batch_size, each.precision, training=True)
        step += learnt
        if methods.METHODS[each.method].first_stage:
            first_steps += first_epochs(each) * (learnt + taught)
    steps = len(held.train) / shared.batch_size
    seconds = START_S + steps * ((shared.epochs + 1) * step + first_steps)
    return {"seconds": seconds, "images_per_second": shared.batch_size / step}


def stop(run: str) -> None:
    """Ask a run to stop; its last complete epoch is kept. Raises KDError where it is not active."""
    if state(run) not in ACTIVE:
        raise KDError(f"Run {run} is {state(run)}; only a queued or running one can be stopped.")
    (directory(run) / STOP).touch()


def resume(runs: Sequence[str]) -> None:
    """Continue stopped, failed or interrupted runs from their last complete epoch.

    Runs of one group that stand at the same epoch go on side by side; each ends with the weights it would have had
    without the pause (bit-equal on the CPU). Raises KDError where a run cannot be resumed.
    """
    together: dict[tuple[str, int], list[str]] = {}
    for run in runs:
        now = state(run)
        if now not in RESUMABLE:
            raise KDError(f"Run {run} is {now}; only {', '.join(RESUMABLE)} runs can be resumed.")
        record = read(run)
        together.setdefault((record.group, record.status["epoch"]), []).append(run)
    for group in together.values():
        for run in group:
            (directory(run) / STOP).unlink(missing_ok=True)
            set_state(read(run), QUEUED, reason=None, launched=time.time())
        _launch(group)


def stop_requested(run: str) -> bool:
    """Whether someone asked the run to stop since it was last started."""
    return (directory(run) / STOP).exists()


def set_state(record: Record, state: str, **details: Any) -> None:
    """Move a run to a state and write its record. While a worker lives, it alone does so."""
    record.status |= {"state": state, **details}
    record.save(directory(record.id))


def remove(run: str) -> None:
    """Delete a run and all its files. Raises KDError while it is active."""
    if state(run) in ACTIVE:
        raise KDError(f"Run {run} is {state(run)}; stop it first.")
    shutil.rmtree(directory(run))


def directory(run: str) -> Path:
    """The folder of a run. Raises KDError where there is no such run."""
    path = runs_root() / run
    if Path(run).name != run or not (path / RECORD).is_file():
        raise KDError(f"There is no run {run!r} in {runs_root()}. `python -m kdengine runs` lists them.")
    return path


def read(run: str) -> Record:
    """A run's record."""
    return read_record(directory(run) / RECORD)


def history(run: str) -> list[dict[str, Any]]:
    """A run's rows, one an epoch."""
    return read_rows(directory(run) / HISTORY)


def progress(run: str) -> dict[str, Any]:
    """How far the run's worker is: phase, epoch, epochs, images, of, images_per_second, seconds_left; or empty."""
    return read_json(directory(run) / PROGRESS)


def log(run: str) -> str:
    """What the run's worker printed, warnings and tracebacks included."""
    path = directory(run) / LOG
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def all_runs() -> list[Record]:
    """Every readable record, newest first."""
    found = []
    for path in runs_root().glob(f"*/{RECORD}"):
        try:
            found.append(read_record(path))
        except KDError:
            continue  # a foreign or damaged file must not hide the others; `read` says what is wrong with it
    return sorted(found, key=lambda record: (record.created, record.id), reverse=True)


def state(run: str) -> str:
    """The run's state, `interrupted` where its worker is gone."""
    record = read(run)
    if record.state not in ACTIVE or alive(run):
        return record.state
    record = read(run)  # it may have ended between the two looks
    if record.state not in ACTIVE:
        return record.state
    fresh = record.state == QUEUED and time.time() - record.status["launched"] < GRACE_S
    return QUEUED if fresh else INTERRUPTED


def alive(run: str) -> bool:
    """Whether a worker holds the run's lock."""
    return processes.held(directory(run) / LOCK)


def _check(configurations: Sequence[Configuration]) -> None:
    """Raise KDError for all that a group's worker could only fail with, as far as a moment tells: no picture is opened.

    Names, hyperparameters, device and threads; what the data are, and whether these networks and methods fit them.
    """
    from kdengine import checkpoints, methods, models, views
    from kdengine.devices import choose_device, cores

    one_group(configurations)
    shared = configurations[0]
    if shared.views is not None:
        views.policy(shared.views)
    for each in configurations:
        if each.method not in methods.METHODS:
            raise unknown_name("method", each.method, methods.METHODS)
        method = methods.method(each.method, **each.hyperparameters)
        if method.needs_teacher and each.teacher is None:
            raise KDError(f"Method {method.name!r} needs a teacher. Name a checkpoint or a run (--teacher).")
        models.require(each.student, start=each.pretrained)
    choose_device(shared.device)
    if shared.threads is not None and shared.threads > cores():
        raise KDError(f"threads is {shared.threads}; this process has {cores()} CPU cores, and more threads than cores "
                      "wait for each other. Leave it out, or take fewer.")
    known = outline(shared)
    taught = None
    if shared.teacher is not None:
        taught = checkpoints.check_teacher(shared.teacher, known.task, known.classes, known.size)
    for each in configurations:
        check_student(each, known, taught)


def outline(configuration: Configuration) -> Outline:
    """What is known of a run's data within a moment; raises as `data.outline`."""
    from kdengine import data

    return data.outline(
        configuration.data, labels_per_class=configuration.labels_per_class, share=configuration.share,
        without_class=configuration.without_class, image_size=configuration.image_size,
    )


def check_student(
    configuration: Configuration, known: Outline, taught: Sequence[Stage] | None
) -> tuple[Stage, ...] | None:
    """The student's stages; raises KDError unless it fits the data, and its method it, the teacher and their task.

    known: of the data. taught: the teacher's stages, None where there is no teacher. A network of the user's own is
    built to see that, once the classes are known; None where they are not.
    """
    from kdengine import methods, models
    from kdengine.signals import largest_convolutions
    from kdengine.training import check_task

    student = models.MODELS.get(configuration.student)
    if student is None and known.classes is not None:
        student = models.build(configuration.student, known.classes, input_size=known.size)
    if student is None:
        return None
    for stage in filter(None, (_first_stage(configuration), configuration)):
        method = methods.method(stage.method, **stage.hyperparameters)
        check_task(method, configuration.student, student.task, known.task)
        if method.needs_teacher:
            wanted, _ = method.wants(student.stages, taught)
            if configuration.student not in models.MODELS:
                largest_convolutions(student, student.stages, wanted.weights)
    return student.stages


def _launch(runs: Sequence[str]) -> None:
    """Start a worker. All runs write to the first one's log."""
    processes.launch(["worker", *runs], directory(runs[0]) / LOG)
