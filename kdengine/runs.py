"""Runs: from configurations to records. Start, stop, resume, list. Needs no torch to list.

Training happens in a child process of its own session (`python -m kdengine worker ID...`), so it outlives the page
and the server that started it. A run is alive exactly while its worker holds the run's lock file, which it is handed
when it is started: a run's folder appears with its record in it and its lock held. Nothing else is kept: what holds no
lock and is not finished was interrupted, and can be resumed.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdengine import files, processes, trust
from kdengine.errors import KDError, unknown_name
from kdengine.places import BAD_NAME, child, runs_root
from kdengine.records import (
    ACTIVE,
    FAILED,
    FINISHED,
    HISTORY,
    INTERRUPTED,
    PREDICTIONS,
    PROGRESS,
    QUEUED,
    RECORD,
    RESUMABLE,
    STUDENT,
    Configuration,
    Record,
    one_group,
    read_json,
    read_record,
    read_rows,
)
from kdengine.schema import Progress, content

if TYPE_CHECKING:
    from kdengine.data import DataSet, Outline
    from kdengine.signals import Stage

LOCK, STOP, PAUSE, LOG, NAME = "lock", "stop", "pause", "log.txt", "name.txt"
LONGEST_NAME = 80
_LOCK_PATIENCE_S = 2.0  # another process's look may hold it for a moment
NETWORKS_KEPT = 10
"""How often a run's weights are on disk at most: the student, the best one and one being written, an adapter, and two
resume states of weights and two moments each."""
SPARE_BYTES = 20_000_000
"""Room for the rest of a run: predictions, history, snapshots, log, record."""
FIRST_STAGE_SHARE = 1 / 8
"""Epochs of a first stage, as a share of the whole: 30 of 240 in the published comparisons (Tian et al. 2020)."""
TRAINING = "Training"
"""The phase of a worker's progress in which images are counted."""
PAUSED = "Paused"
"""The phase of a worker that waits, see `pause`."""
PAUSE_S = 120.0
"""How long a paused group keeps its training slot; then it is stopped, and can be resumed."""
START_S = 5.0
"""A worker's start, mostly torch's import."""


def submit(configurations: Sequence[Configuration]) -> list[str]:
    """Queue one group of students, to be trained side by side, and start its worker; returns the runs' ids.

    A method of two stages gets a run for its first stage too, queued before; the group waits for it and starts from
    the student and adapter it leaves.

    Raises KDError, before anything is written, for what can be known to be wrong: unknown names, hyperparameters
    out of range, a method without its teacher, students that share no views, a disk without room for them. Also where
    the disk refuses their folders or no process can be started: then nothing of them stays.
    """
    check(configurations)
    groups: list[list[Record]] = []
    asked = []
    for each in map(_resolved, configurations):
        if first := _first_stage(each):
            groups.append(_group([first]))
            each = dataclasses.replace(each, initial=groups[-1][0].id)
        asked.append(each)
    groups.append(_group(asked))
    _require_space([record for group in groups for record in group])
    _start(groups)
    return [record.id for record in groups[-1]]


def _resolved(configuration: Configuration) -> Configuration:
    """With every hyperparameter's value, so that the record still says it when a default has changed."""
    from kdengine import methods

    method = methods.method(configuration.method, **configuration.hyperparameters)
    return dataclasses.replace(configuration, hyperparameters=dataclasses.asdict(method))


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


def _group(configurations: Sequence[Configuration]) -> list[Record]:
    """The records of one group's runs, queued now."""
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    group = f"{stamp}-{secrets.token_hex(2)}"
    return [
        Record(f"{group}-{place}-{configuration.method}", group, now, configuration,
               {"state": QUEUED, "reason": None, "epoch": 0, "launched": now})
        for place, configuration in enumerate(configurations, start=1)
    ]


def _start(groups: Sequence[Sequence[Record]]) -> None:
    """Make the runs' folders and start a worker for each group: all of it, or nothing of it stays."""
    folders = {record.id: runs_root() / record.id for group in groups for record in group}
    with files.writing(runs_root()), ExitStack() as stack:
        try:
            locks: dict[str, processes.Lock] = {}
            for group in groups:
                for record in group:
                    folder = folders[record.id]
                    with files.replacing(folder) as made:
                        made.mkdir(parents=True)
                        record.save(made)
                        if processes.HANDS_ON:  # held before anyone sees the run
                            locks[record.id] = stack.enter_context(processes.take(made / LOCK, 0))
                    if not processes.HANDS_ON:
                        locks[record.id] = stack.enter_context(processes.take(folder / LOCK, _LOCK_PATIENCE_S))
            for group in groups:
                _launch({record.id: locks[record.id] for record in group})
        except BaseException:
            for folder in folders.values():
                files.discard(folder)
            raise


@dataclass(frozen=True)
class Pace:
    """Seconds of one step on this machine as it is now: of the teacher, and of each student by itself.

    It depends on the networks, the size of the images, the batch and the precision; on nothing else that is set.
    """

    teacher: float
    students: tuple[float, ...]


def pace(configurations: Sequence[Configuration]) -> Pace:
    """Measure a few steps of each network of a group. Takes seconds; raises KDError as `check`."""
    from kdengine import checkpoints, methods, models, speeds
    from kdengine.devices import choose_device

    check(configurations)
    shared = configurations[0]
    device, held = choose_device(shared.device), _data(shared)
    taught = 0.0
    if any(methods.METHODS[each.method].needs_teacher for each in configurations):
        teacher = checkpoints.open_teacher(shared.teacher, held.classes, held.size).to(device)
        taught = speeds.seconds_now(teacher, shared.batch_size, shared.precision, training=False)
    alike: dict[tuple[str, str], float] = {}
    for each in configurations:
        if (each.student, each.precision) not in alike:
            student = models.build(each.student, held.classes, input_size=held.size).to(device)
            alike[each.student, each.precision] = speeds.seconds_now(
                student, shared.batch_size, each.precision, training=True)
    return Pace(taught, tuple(alike[each.student, each.precision] for each in configurations))


def estimate(configurations: Sequence[Configuration], paced: Pace) -> dict[str, float]:
    """What a group will take at this pace: seconds in all, and training images per second of all students together.

    Loading, measuring the teacher and testing are counted as one more epoch, and START_S; a first stage as its share
    of the epochs. Raises KDError as `check`.
    """
    from kdengine import methods

    check(configurations)
    shared = configurations[0]
    step = paced.teacher + sum(paced.students)
    first_steps = sum(first_epochs(each) * (paced.teacher + learnt)
                      for each, learnt in zip(configurations, paced.students, strict=True)
                      if methods.METHODS[each.method].first_stage)
    steps = len(_data(shared).train) / shared.batch_size
    seconds = START_S + steps * ((shared.epochs + 1) * step + first_steps)
    return {"seconds": seconds, "images_per_second": shared.batch_size / step}


def _data(shared: Configuration) -> DataSet:
    from kdengine import data

    return data.load(
        shared.data, labels_per_class=shared.labels_per_class, labelled_images=shared.labelled_images,
        share=shared.share, without_class=shared.without_class, image_size=shared.image_size,
    )


def stop(run: str) -> None:
    """Ask a run to stop; its last complete epoch is kept. Raises KDError where it is not active, or the disk refuses.
    """
    if state(run) not in ACTIVE:
        raise KDError(f"Run {run} is {state(run)}; only a queued or running one can be stopped.")
    request = directory(run) / STOP
    with files.writing(request):
        request.touch()


def pause(run: str, epoch: int) -> None:
    """Have a run wait, and its group with it, once `epoch` epochs are complete.

    It keeps its place for PAUSE_S seconds, then it is stopped; `go_on` ends the pause before. Not a number of it
    changes. Raises KDError where it is not active, or the disk refuses.
    """
    if state(run) not in ACTIVE:
        raise KDError(f"Run {run} is {state(run)}; only a queued or running one can be paused.")
    with files.writing(directory(run)), files.replacing(directory(run) / PAUSE) as written:
        written.write_text(str(epoch))


def go_on(run: str) -> None:
    """End a pause, or a wish for one. Raises KDError where there is no such run, or the disk refuses."""
    with files.writing(directory(run)):
        (directory(run) / PAUSE).unlink(missing_ok=True)


def pauses(run: str, epoch: int) -> bool:
    """Whether a run is to wait now that `epoch` epochs are complete."""
    with suppress(OSError, ValueError):  # gone meanwhile; or no number of ours
        return int((directory(run) / PAUSE).read_text()) <= epoch
    return False


def resume(runs: Sequence[str]) -> None:
    """Continue stopped, failed or interrupted runs from their last complete epoch.

    Runs of one group that stand at the same epoch go on side by side; each ends with the weights it would have had
    without the pause (bit-equal on the CPU). Raises KDError where a run cannot be resumed, the disk has no room for it
    or refuses, and where no process can be started; before any of them is, where its network or its teacher's is code
    that is not trusted, or its teacher or its first stage is gone.
    """
    with ExitStack() as stack:
        locks = {run: stack.enter_context(_taken(run, "only {} runs can be resumed")) for run in dict.fromkeys(runs)}
        records = [read(run) for run in locks]
        for record in records:
            _require_all_there(record)
        _require_space(records)
        together: dict[tuple[str, int], list[Record]] = {}
        for record in records:
            together.setdefault((record.group, record.status["epoch"]), []).append(record)
        for group in together.values():
            for record in group:
                set_state(record, QUEUED, reason=None, launched=time.time())
                with files.writing(directory(record.id)):
                    for request in (STOP, PAUSE):
                        (directory(record.id) / request).unlink(missing_ok=True)
            try:
                _launch({record.id: locks[record.id] for record in group})
            except KDError as error:
                for record in group:
                    set_state(record, FAILED, reason=str(error), ended=time.time())
                raise


def _require_all_there(record: Record) -> None:
    from kdengine import checkpoints

    asked = record.configuration
    if ":" in asked.student:
        trust.require(asked.student)
    if asked.initial is not None:
        try:
            directory(asked.initial)
        except KDError:
            raise KDError(f"Run {record.id} starts from the run {asked.initial}, and there is no run of that name any "
                          "more. Give its folder that name back, or start a new run.") from None
    if asked.teacher is not None:
        checkpoints.require(asked.teacher)


def stop_requested(run: str) -> bool:
    """Whether someone asked the run to stop since it was last started."""
    return (directory(run) / STOP).exists()


def set_state(record: Record, state: str, **details: Any) -> None:
    """Move a run to a state and write its record. While a worker lives, it alone does so.

    Raises KDError where the disk refuses it; it stays as it was then, on disk and here.
    """
    status = record.status | {"state": state, **details}
    folder = directory(record.id)
    with files.writing(folder / RECORD):
        dataclasses.replace(record, status=status).save(folder)
    record.status = status


def give_up(run: str, reason: str) -> None:
    """Have a run whose worker is gone end as failed. Raises KDError where it is alive or finished."""
    with _taken(run, "only {} runs can be given up"):
        set_state(read(run), FAILED, reason=reason)


def remove(run: str) -> None:
    """Delete a run and all its files. Raises KDError while it is active, and where the disk refuses."""
    gone = files.temporary(directory(run))
    relocate(run, gone)
    with files.writing(gone):
        shutil.rmtree(gone)


def relocate(run: str, place: Path) -> None:
    """Move a run's folder, all of it at once for whoever looks. Raises KDError as `remove`."""
    folder = directory(run)
    with files.writing(folder):
        lock = None if state(run) in ACTIVE else processes.take(folder / LOCK, _LOCK_PATIENCE_S)
        if lock is None:
            raise KDError(f"Run {run} is {state(run)}; stop it first.")
        with lock:
            if not processes.HANDS_ON:
                lock.release()
            folder.rename(place)


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
    with suppress(OSError, ValueError), (runs_root() / run / NAME).open(encoding="utf-8") as held:
        found = held.read(LONGEST_NAME + 1).strip()
        return found if found.isprintable() and 0 < len(found) <= LONGEST_NAME else None
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
    held = read_json(directory(run) / PROGRESS, Progress)
    if held and (held["images_per_second"] is None) != (held["seconds_left"] is None):
        return {}
    return {} if held and held["phase"] == TRAINING and not held["of"] * held["epochs"] else held


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


def listed() -> list[tuple[Record, str]]:
    """Every readable record, newest first, and the run's state as it is now."""
    found = []
    for record in all_runs():
        with suppress(KDError):  # removed meanwhile, or listed by `unreadable`
            found.append((record, state(record.id)))
    return found


def unreadable() -> dict[str, str]:
    """The folders of runs that cannot be read, by name, and why."""
    found, wrong = _all()
    for name in (name for name, record in found.items() if record.state in ACTIVE):
        try:
            processes.held(runs_root() / name / LOCK)
        except KDError as error:
            wrong[name] = str(error)
    return wrong


def _all() -> tuple[dict[str, Record], dict[str, str]]:
    found, wrong = read_folders(runs_root())
    return {name: dataclasses.replace(record, id=name) for name, record in found.items()}, wrong


def read_folders(root: Path) -> tuple[dict[str, Record], dict[str, str]]:
    """The records in the folders of a folder, by name, and of those that cannot be read the reason.

    Hidden folders, and those that hold nothing a run leaves, are none.
    """
    found, wrong = {}, {}
    for path in sorted(root.glob("[!.]*/")):
        try:
            if child(root, path.name) is None:
                raise KDError(BAD_NAME)
            found[path.name] = read_record(path / RECORD)
        except KDError as error:
            if _was_run(path):
                wrong[path.name] = str(error)
    return found, wrong


def _was_run(path: Path) -> bool:
    """Whether a folder is still there and holds what a run leaves, as far as we may look."""
    try:
        return any(each.name in (RECORD, HISTORY, PROGRESS, STUDENT, PREDICTIONS, LOG) for each in path.iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True


def state(run: str) -> str:
    """The run's state, `interrupted` where its worker is gone."""
    record = read(run)
    if record.state not in ACTIVE or alive(run):
        return record.state
    record = read(run)  # it may have ended between the two looks
    return INTERRUPTED if record.state in ACTIVE else record.state


def alive(run: str) -> bool:
    """Whether a worker holds the run's lock."""
    return processes.held(directory(run) / LOCK)


def check(configurations: Sequence[Configuration]) -> None:
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
        if each.warmup_epochs > each.epochs:
            raise KDError(f"warmup_epochs is {each.warmup_epochs:g} of {each.epochs} epochs, so the learning rate is "
                          "never reached; allowed are at most as many as there are epochs.")
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
        configuration.data, labels_per_class=configuration.labels_per_class,
        labelled_images=configuration.labelled_images, share=configuration.share,
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


def _require_space(records: Sequence[Record]) -> None:
    """Raise KDError where the disk has less room than these runs may take."""
    with files.writing(runs_root()):
        left = files.free(runs_root())
    needed = sum(map(_bytes, records))
    if left < needed:
        raise KDError(f"{runs_root()} has {left / 1e6:,.1f} MB left on its disk; this needs about {needed / 1e6:,.1f} "
                      "MB. Free some space there, or choose another folder with KDENGINE_RUNS.")


def _bytes(record: Record) -> int:
    """What a run may take of the disk, roughly; of a network of the user's own without its weights."""
    from kdengine import models

    student = record.configuration.student
    weights = models.parameters(student) if student in models.MODELS else 0
    return SPARE_BYTES + NETWORKS_KEPT * 4 * weights


def _taken(run: str, rule: str) -> processes.Lock:
    """The lock of a run that has ended without finishing. Raises KDError that tells the rule for any other."""
    now = state(run)
    if now in ACTIVE and stop_requested(run):
        raise KDError(f"Run {run} is still stopping; try again in a moment.")
    if now in RESUMABLE:
        with files.writing(directory(run)):
            lock = processes.take(directory(run) / LOCK, _LOCK_PATIENCE_S)
        if lock is None:
            now = state(run)  # somebody else was quicker
        elif (now := read(run).state) != FINISHED:
            return lock
        else:
            lock.release()
    raise KDError(f"Run {run} is {now}; {rule.format(', '.join(RESUMABLE))}.")


def _launch(locks: Mapping[str, processes.Lock]) -> None:
    """Start the worker of one group's runs, given with their locks. All write to the first one's log."""
    folders = [directory(run) for run in locks]
    processes.launch(["worker", *locks], folders[0] / LOG,
                     {folder / LOCK: lock for folder, lock in zip(folders, locks.values(), strict=True)})
