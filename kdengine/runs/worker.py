"""The process that trains one group of runs: `python -m kdengine worker ID...`."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from kdengine import files
from kdengine.errors import KDError
from kdengine.paths import checkpoints_root, runs_root
from kdengine.runs import processes, store
from kdengine.runs.records import FAILED, FINISHED, QUEUED, RESUMABLE, STARTING, STOPPED, Record
from kdengine.runs.schema import State

SLOTS = max(1, (os.cpu_count() or 1) // 8)
"""How many groups this machine trains at once; the rest waits its turn. A small network keeps 8 cores busy."""

_LOCK_PATIENCE_S = 5.0  # a page's probe may hold a run's lock for a moment
_POLL_S = 0.25


def work(ids: Sequence[str]) -> None:
    """Train the runs of one group, from the queue to their results. Returns when all have ended.

    A run whose lock another worker holds is left to that worker, and one that is not queued is left alone. What goes
    wrong becomes the runs' reason; the traceback of what was not foreseen goes to the log. Raises KDError where not
    even the reason can be written.
    """
    with ExitStack() as stack:
        locks = {run: lock for run in ids if (lock := _take_lock(stack, run))}

        def release(run: str) -> None:
            locks[run].release()

        records = []
        for record in map(store.read, locks):
            if record.state == QUEUED:
                records.append(record)
            else:
                release(record.id)
        for folder in (runs_root(), checkpoints_root()):
            files.sweep(folder)
        try:
            _wait_for_slot(stack, records, release)
            if not records:
                return
            for record in records:
                store.set_state(record, STARTING, started=time.time())
            from kdengine.devices import keep_freed_memory  # these bring torch, which a waiting worker does without
            from kdengine.runs.session import Session

            keep_freed_memory()
            Session(records, release).train()
        except KDError as error:
            _fail(records, str(error))
        except Exception as error:
            with suppress(OSError):  # the log may be on a full disk
                traceback.print_exc()
            _fail(records, f"{type(error).__name__}: {error}")


def _take_lock(stack: ExitStack, run: str) -> processes.Lock | None:
    """The run's lock, held until the stack closes; None where another worker holds it.

    With it, what an earlier worker left half written is swept.
    """
    folder = store.directory(run)
    with files.writing(folder):
        lock = processes.take(folder / store.LOCK, _LOCK_PATIENCE_S)
    if lock is not None:
        stack.enter_context(lock)
        files.sweep(folder, left_s=0)
    return lock


def _wait_for_slot(stack: ExitStack, records: list[Record], release: Callable[[str], None]) -> None:
    """Hold one of the machine's training slots, oldest queued run first.

    Runs that end meanwhile, stopped or without their first stage, are taken out of `records` and released: they may
    be resumed or removed while the others wait. torch is not imported yet: a waiting worker costs a few megabytes, and
    until a slot is free it looks at nothing but its own runs.
    """
    slots = runs_root() / ".slots"
    with files.writing(slots):
        slots.mkdir(exist_ok=True)
    while True:
        for record in list(records):
            if end := _early_end(record):
                state, reason = end
                store.set_state(record, state, reason=reason, ended=time.time())
                records.remove(record)
                release(record.id)
        if not records:
            return
        free = [slot for slot in (slots / f"{slot}.lock" for slot in range(SLOTS)) if not processes.held(slot)]
        if free and all(map(_ready, records)) and not _older_in_queue(records):
            for slot in free:
                with files.writing(slot):
                    lock = processes.take(slot, 0)
                if lock is not None:  # else another worker was quicker
                    stack.enter_context(lock)
                    return
        time.sleep(_POLL_S)


def _early_end(record: Record) -> tuple[State, str] | None:
    """State and reason of a run that ends before it began; None while it may begin."""
    if store.stop_requested(record.id):
        return STOPPED, "Stopped before it began."
    initial = record.configuration.initial
    if initial is None:
        return None
    try:
        now = store.state(initial)
    except KDError:
        return FAILED, f"Its first stage, {initial}, has been removed. Start a new run."
    if now in RESUMABLE:
        return FAILED, f"Its first stage, {initial}, was {now}. Resume that one first, then this one."
    return None


def _ready(record: Record) -> bool:
    """Whether the run it starts from, if any, has finished."""
    initial = record.configuration.initial
    return initial is None or store.state(initial) == FINISHED


def _older_in_queue(records: list[Record]) -> bool:
    """Whether a living worker has been waiting for longer than this one."""
    def turn(record: Record) -> tuple[float, str]:
        return record.status["launched"], record.group

    own, ids = min(map(turn, records)), {record.id for record in records}
    return any(
        record.state == QUEUED and record.id not in ids and turn(record) < own and _waits(record)
        for record in store.all_runs()
    )


def _waits(record: Record) -> bool:
    """Whether a queued run of anybody waits for nothing but its turn. One that cannot be looked at takes no turn."""
    try:
        return _ready(record) and store.alive(record.id)
    except KDError:
        return False


def _fail(records: list[Record], reason: str) -> None:
    """End what has not ended yet. Raises KDError where that cannot be written."""
    unwritten = None
    for record in records:
        if record.state not in (FINISHED, STOPPED, FAILED):
            try:
                store.set_state(record, FAILED, reason=reason, ended=time.time())
            except KDError as error:
                unwritten = error
    if unwritten:
        raise KDError(f"{reason} That could not be noted in the record: {unwritten}") from unwritten
