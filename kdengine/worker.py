"""The process that trains one group of runs: `python -m kdengine worker ID...`."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack

from filelock import FileLock, Timeout

from kdengine import runs
from kdengine.errors import KDError
from kdengine.places import runs_root
from kdengine.records import FAILED, FINISHED, QUEUED, RESUMABLE, STARTING, STOPPED, Record

SLOTS = max(1, (os.cpu_count() or 1) // 8)
"""How many groups this machine trains at once; the rest waits its turn. A small network keeps 8 cores busy."""

_LOCK_PATIENCE_S = 5.0  # a page's probe may hold a run's lock for a moment
_POLL_S = 0.25


def work(ids: Sequence[str]) -> None:
    """Train the runs of one group, from the queue to their results. Returns when all have ended.

    A run whose lock another worker holds is left to that worker. What goes wrong becomes the runs' reason; the
    traceback of what was not foreseen goes to the log.
    """
    with ExitStack() as stack:
        locks = {run: lock for run in ids if (lock := _taken(stack, run))}
        mine = list(locks)
        mine = _wait_for_slot(stack, mine)
        if not mine:
            return
        held = [runs.read(run) for run in mine]
        for record in held:
            runs.set_state(record, STARTING, started=time.time())
        try:
            from kdengine.devices import keep_freed_memory  # these bring torch, which a waiting worker does without
            from kdengine.session import Session

            keep_freed_memory()
            Session(held, release=lambda run: locks[run].release()).train()
        except KDError as error:
            _fail(held, str(error))
        except Exception as error:
            traceback.print_exc()
            _fail(held, f"{type(error).__name__}: {error}")


def _taken(stack: ExitStack, run: str) -> FileLock | None:
    """The run's lock, held until the stack closes; None where another worker holds it."""
    lock = FileLock(runs.directory(run) / runs.LOCK, timeout=_LOCK_PATIENCE_S)
    try:
        stack.enter_context(lock.acquire())
    except Timeout:
        return None
    return lock


def _wait_for_slot(stack: ExitStack, mine: list[str]) -> list[str]:
    """Hold one of the machine's training slots, oldest queued run first; returns the runs not stopped meanwhile.

    torch is not imported yet: a waiting worker costs a few megabytes.
    """
    slots = runs_root() / ".slots"
    slots.mkdir(exist_ok=True)
    while True:
        for run in [run for run in mine if runs.stop_requested(run)]:
            runs.set_state(runs.read(run), STOPPED, reason="Stopped before it began.", ended=time.time())
            mine.remove(run)
        for run, reason in _without_first_stage(mine).items():
            runs.set_state(runs.read(run), FAILED, reason=reason, ended=time.time())
            mine.remove(run)
        if not mine:
            return mine
        if all(_ready(runs.read(run)) for run in mine) and not _older_in_queue(mine):
            for slot in range(SLOTS):
                try:
                    stack.enter_context(FileLock(slots / f"{slot}.lock").acquire(timeout=0))
                    return mine
                except Timeout:
                    continue
        time.sleep(_POLL_S)


def _ready(record: Record) -> bool:
    """Whether the run it starts from, if any, has finished."""
    initial = record.configuration.initial
    return initial is None or runs.state(initial) == FINISHED


def _without_first_stage(mine: list[str]) -> dict[str, str]:
    """Runs whose first stage ended without finishing, and the reason to give."""
    failed = {}
    for run in mine:
        initial = runs.read(run).configuration.initial
        if initial and (ended := runs.state(initial)) in RESUMABLE:
            failed[run] = f"Its first stage, {initial}, was {ended}. Resume that one first, then this one."
    return failed


def _older_in_queue(mine: list[str]) -> bool:
    """Whether a living worker has been waiting for longer than this one."""
    def turn(record: Record) -> tuple[float, str]:
        return record.status["launched"], record.group

    own = min(turn(runs.read(run)) for run in mine)
    return any(
        record.state == QUEUED and record.id not in mine and turn(record) < own and _waits(record)
        for record in runs.all_runs()
    )


def _waits(record: Record) -> bool:
    """Whether a queued run of anybody waits for nothing but its turn. One that cannot be looked at takes no turn."""
    try:
        return _ready(record) and runs.alive(record.id)
    except KDError:
        return False


def _fail(held: list[Record], reason: str) -> None:
    for record in held:
        if record.state not in (FINISHED, STOPPED, FAILED):
            runs.set_state(record, FAILED, reason=reason, ended=time.time())
