"""Runs started, paused, stopped, resumed and removed.

Training happens in a child process of its own session (`python -m kdengine worker ID...`), so it outlives the page
and the server that started it. The worker is handed the locks of its runs when it is started: a run's folder appears
with its record in it and its lock held.
"""

from __future__ import annotations

import dataclasses
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from kdengine import files, trust
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.paths import runs_root
from kdengine.runs import processes
from kdengine.runs.checks import check
from kdengine.runs.first_stages import first_stage
from kdengine.runs.records import (
    ACTIVE,
    FAILED,
    FINISHED,
    QUEUED,
    RESUMABLE,
    Record,
)
from kdengine.runs.store import LOCK, LOG, PAUSE, STOP, directory, read, set_state, state, stop_requested

_LOCK_PATIENCE_S = 2.0  # another process's look may hold it for a moment
NETWORKS_KEPT = 10
"""How often a run's weights are on disk at most: the student, the best one and one being written, an adapter, and two
resume states of weights and two moments each."""
SPARE_BYTES = 20_000_000
"""Room for the rest of a run: predictions, history, snapshots, log, record."""
PAUSE_S = 120.0
"""How long a paused group keeps its training slot; then it is stopped, and can be resumed."""


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
    students = []
    for each in map(_resolved, configurations):
        if first := first_stage(each):
            groups.append(_group([first]))
            each = dataclasses.replace(each, initial=groups[-1][0].id)
        students.append(each)
    groups.append(_group(students))
    _require_space([record for group in groups for record in group])
    _start(groups)
    return [record.id for record in groups[-1]]


def _resolved(configuration: Configuration) -> Configuration:
    """With every hyperparameter's value, so that the record still says it when a default has changed."""
    from kdengine import methods

    method = methods.method(configuration.method, **configuration.hyperparameters)
    return dataclasses.replace(configuration, hyperparameters=dataclasses.asdict(method))


def _group(configurations: Sequence[Configuration]) -> list[Record]:
    """The records of one group's runs, queued now."""
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    group = f"{stamp}-{secrets.token_hex(2)}"
    return [
        Record(f"{group}-{place}-{configuration.method.rpartition(':')[2]}", group, now, configuration,
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
                            locks[record.id] = _first_lock(stack, made / LOCK)
                    if not processes.HANDS_ON:
                        locks[record.id] = _first_lock(stack, folder / LOCK)
            for group in groups:
                _launch({record.id: locks[record.id] for record in group})
        except BaseException:
            for folder in folders.values():
                files.discard(folder)
            raise


def _first_lock(stack: ExitStack, path: Path) -> processes.Lock:
    """The lock of a run that is new, held until the stack closes."""
    lock = processes.take(path, _LOCK_PATIENCE_S)
    assert lock is not None  # no worker knows the run yet
    return stack.enter_context(lock)


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


def resume(runs: Sequence[str]) -> None:
    """Continue stopped, failed or interrupted runs from their last complete epoch.

    Runs of one group that stand at the same epoch go on side by side; each ends with the weights it would have had
    without the pause (bit-equal on the CPU). Raises KDError where a run cannot be resumed, the disk has no room for it
    or refuses, and where no process can be started; before any of them is, where its network or its teacher's is code
    that is not trusted, or its teacher or its first stage is gone.
    """
    with ExitStack() as stack:
        locks = {run: stack.enter_context(_take_lock(run, "only {} runs can be resumed"))
                 for run in dict.fromkeys(runs)}
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
    from kdengine.runs import references

    configuration = record.configuration
    for name in (configuration.student, configuration.method):
        if ":" in name:
            trust.require(name)
    if configuration.initial is not None:
        try:
            directory(configuration.initial)
        except KDError:
            raise KDError(f"Run {record.id} starts from the run {configuration.initial}, and there is no run of that "
                          "name any more. Give its folder that name back, or start a new run.") from None
    if configuration.teacher is not None:
        references.require(configuration.teacher)


def give_up(run: str, reason: str) -> None:
    """Have a run whose worker is gone end as failed. Raises KDError where it is alive or finished."""
    with _take_lock(run, "only {} runs can be given up"):
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


def _take_lock(run: str, rule: str) -> processes.Lock:
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
