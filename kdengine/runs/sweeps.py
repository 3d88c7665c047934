"""Sweeps: many runs, some of which start from others. What is finished is never trained again.

A sweep keeps no state of its own: a part is done when a finished run of exactly its configuration lies in the runs
folder. So a sweep that was cut off, at any point, is finished by starting it again.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kdengine import files
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.paths import runs_root
from kdengine.runs import control, processes, store
from kdengine.runs.records import ACTIVE, FAILED, FINISHED, INTERRUPTED, RESUMABLE, STOPPED, Record
from kdengine.runs.schema import State
from kdengine.runs.worker import SLOTS

_LOCK = ".sweeps.lock"
_POLL_S = 1.0
_TRIES = 3
"""How often a run is resumed at one and the same epoch before its worker counts as unable to go on."""


@dataclass(frozen=True)
class Part:
    """One network of a sweep.

    label: what tables call it, unique in its sweep. teacher, start: labels of the parts that teach it, and that it
    starts from, None where there is none; they stand before it. seeded: whether it is trained once a seed; a part
    that is not is trained once. Its configuration has its first seed.
    """

    label: str
    configuration: Configuration
    teacher: str | None = None
    start: str | None = None
    seeded: bool = True

    @property
    def taught(self) -> bool:
        """Whether a teacher takes part: another network of the sweep, or one that is there already."""
        return self.teacher is not None or self.configuration.teacher is not None

    def seeds(self, count: int) -> range:
        """The seeds it is trained with in a sweep of so many."""
        first = self.configuration.seed
        return range(first, first + (count if self.seeded else 1))


@dataclass(frozen=True)
class ObservedRun:
    """A run's record, and its state when it was looked at: `interrupted` where its worker was gone."""

    record: Record
    state: State


Ids = dict[tuple[str, int], str]
"""Runs by (label, seed)."""


def run(
    parts: Sequence[Part], seeds: int = 1, on_change: Callable[[int, int], None] = lambda done, of: None,
    keep_going: Callable[[], bool] = lambda: True, needed: Callable[[set[str]], set[str]] = lambda runs: set(),
) -> Ids:
    """Train every part that is not finished, and return the finished runs.

    Parts that can share views and a teacher are trained side by side; as many groups at once as the machine has
    training slots. Interrupted runs are resumed; what had been stopped or had failed before is taken up once more. A
    part that fails meanwhile, or that somebody stops, is left out, and so is what leans on it. on_change(done, of)
    is called when a run has finished. keep_going() is asked about once a second; once it is False, and on Ctrl-C, what
    is training stops at its last complete epoch, but for those that needed(runs) keeps for somebody else.
    """
    wanted = _wanted(parts, seeds)
    again = {each.record.id for each in _look(wanted).values() if each.state in (STOPPED, FAILED)}
    tries: Counter[tuple[str, int]] = Counter()
    reported = -1
    try:
        while True:
            with _sweep_lock():
                runs = _look(wanted)
                going = keep_going()
                busy = going and _advance(wanted, runs, tries, again)
            done = {key: each.record.id for key, each in runs.items() if each.state == FINISHED}
            if len(done) != reported:
                reported = len(done)
                on_change(reported, len(wanted))
            if not going:
                _stop(runs, needed)
            if not busy:
                return done
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        _stop(_look(wanted), needed)
        raise


def _sweep_lock() -> processes.Lock:
    """One process at a time looks and starts: two sweeps that share a network would both train it."""
    with files.writing(runs_root()):
        runs_root().mkdir(parents=True, exist_ok=True)
        lock = processes.take(runs_root() / _LOCK, math.inf)
    assert lock is not None  # this patience has no end
    return lock


def look(parts: Sequence[Part], seeds: int = 1) -> dict[tuple[str, int], ObservedRun | None]:
    """The run of each part of a sweep as it is now, by (label, seed); None where it has none yet."""
    wanted = _wanted(parts, seeds)
    runs = _look(wanted)
    return {key: runs.get(key) for key in wanted}


def _wanted(parts: Sequence[Part], seeds: int) -> dict[tuple[str, int], Part]:
    """Every run of the sweep, its seed in its configuration."""
    wanted = {}
    for part in parts:
        for seed in part.seeds(seeds):
            configuration = dataclasses.replace(part.configuration, seed=seed)
            wanted[part.label, seed] = dataclasses.replace(part, configuration=configuration)
    return wanted


def _look(wanted: dict[tuple[str, int], Part]) -> dict[tuple[str, int], ObservedRun]:
    """The run of each part, where there is one: the first that finished, as others may lean on it, else the newest.

    Whether a run's worker lives is looked up after its record is read, and the record is read again where it does not:
    what has finished in between counts as finished.
    """
    by_configuration: dict[Hashable, Record] = {}
    for record in store.all_runs():
        key = _key(record.configuration)
        if key not in by_configuration or record.state == FINISHED:
            by_configuration[key] = record
    runs: dict[tuple[str, int], ObservedRun] = {}
    for place, part in wanted.items():
        configuration = _concrete(part, wanted, runs)
        if configuration is not None and (matching := by_configuration.get(_key(configuration))):
            with suppress(KDError):  # it has been removed meanwhile
                runs[place] = _observed(matching)
    return runs


def _observed(record: Record) -> ObservedRun:
    if record.state not in ACTIVE:
        return ObservedRun(record, record.state)
    state = store.state(record.id)
    return ObservedRun(store.read(record.id), state)


def _concrete(
    part: Part, wanted: dict[tuple[str, int], Part], runs: dict[tuple[str, int], ObservedRun]
) -> Configuration | None:
    """The part's configuration with the runs it leans on by id; None while they are not finished."""
    leans: dict[str, Any] = {}
    for field, label in (("teacher", part.teacher), ("initial", part.start)):
        if label is None:
            continue
        own = label, part.configuration.seed
        each = runs.get(own if own in wanted else next(key for key in wanted if key[0] == label))
        if each is None or each.state != FINISHED:
            return None
        leans[field] = each.record.id
    return dataclasses.replace(part.configuration, **leans)


def _key(configuration: Configuration) -> Hashable:
    """Equal for configurations of equal numbers. A method's own first stage is no part of it: runs add it."""
    from kdengine import methods

    fields = dataclasses.asdict(configuration)
    try:
        method = methods.method(configuration.method, **configuration.hyperparameters)
    except KDError:  # a run of a method, or with a field, that is no more: it equals nothing asked for today
        return json.dumps(fields, sort_keys=True)
    fields["hyperparameters"] = tuple(dataclasses.asdict(method).items())
    if method.first_stage:
        del fields["initial"]
    return tuple(fields.items())


def _stop(runs: dict[tuple[str, int], ObservedRun], needed: Callable[[set[str]], set[str]]) -> None:
    kept = needed({each.record.id for each in runs.values()})
    for each in runs.values():
        if each.record.id in kept:
            continue
        for run in (each.record.id, each.record.configuration.initial):  # it may be waiting for its first stage
            if run is not None:
                with suppress(KDError):  # it is not active, or has ended just now
                    control.stop(run)


def _advance(
    wanted: dict[tuple[str, int], Part], runs: dict[tuple[str, int], ObservedRun], tries: Counter[tuple[str, int]],
    again: set[str],
) -> bool:
    """Start or resume one group where a slot is free; False when nothing is training and nothing is left to start.

    tries: how often this sweep has resumed a run at an epoch. again: runs that had ended before this sweep began and
    are to be taken up once more.
    """
    active = {each.record.group for each in runs.values() if each.state in ACTIVE}
    if len(active) >= SLOTS:
        return True
    if together := _cut_off(runs, tries, again):
        before = {initial for record in together  # first stages, cut off too
                  if (initial := record.configuration.initial) is not None}
        _resume([each for each in sorted(before) if store.state(each) in (STOPPED, INTERRUPTED)])
        _resume([record.id for record in together])
        return True
    groups: dict[str, dict[Hashable, Configuration]] = {}  # two parts of one configuration are one run
    for key, part in wanted.items():
        if key not in runs and (configuration := _concrete(part, wanted, runs)) is not None:
            groups.setdefault(json.dumps(configuration.shared()), {})[_key(configuration)] = configuration
    if groups:
        control.submit(list(next(iter(groups.values())).values()))
        return True
    return bool(active)


def _resume(ids: list[str]) -> None:
    try:
        control.resume(ids)
    except KDError:
        if all(store.state(run) in RESUMABLE for run in ids):  # else somebody else has just resumed it
            raise


def _cut_off(
    runs: dict[tuple[str, int], ObservedRun], tries: Counter[tuple[str, int]], again: set[str]
) -> list[Record]:
    """The runs of one group that are to go on now. One whose worker dies at one epoch too often has failed for good."""
    ended = {each.record.id: each for each in runs.values()
             if each.state == INTERRUPTED or each.record.id in again or _first_stage_cut_off(each)}
    together: list[Record] = []
    for run, each in ended.items():
        if together and together[0].group != each.record.group:
            continue
        epoch = each.record.status["epoch"]
        tries[run, epoch] += 1
        if tries[run, epoch] > _TRIES:
            with suppress(KDError):  # somebody has just resumed it
                control.give_up(run, f"Its worker died {_TRIES} more times at epoch {epoch + 1}. "
                                f"`python -m kdengine runs {run} --log` may say why.")
        else:
            together.append(each.record)
    again -= {record.id for record in together}
    return together


def _first_stage_cut_off(each: ObservedRun) -> bool:
    """Whether a run failed only because its first stage was stopped or interrupted."""
    if each.state == FAILED and each.record.configuration.initial is not None:
        with suppress(KDError):  # the first stage has been removed
            return store.state(each.record.configuration.initial) in (STOPPED, INTERRUPTED)
    return False


def check(parts: Sequence[Part]) -> None:
    """Raise KDError where a label stands twice or leans on one that does not stand before it."""
    labels: set[str] = set()
    for part in parts:
        if part.label in labels:
            raise KDError(f"The label {part.label!r} stands twice in one sweep.")
        for label in (part.teacher, part.start):
            if label is not None and label not in labels:
                raise KDError(f"{part.label!r} leans on {label!r}, which does not stand before it.")
        labels.add(part.label)
