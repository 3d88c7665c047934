"""Sweeps: many runs, some of which start from others. What is finished is never trained again.

A sweep keeps no state of its own: a part is done when a finished run of exactly its configuration lies in the runs
folder. So a sweep that was cut off, at any point, is finished by starting it again.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from kdengine import runs
from kdengine.errors import KDError
from kdengine.records import ACTIVE, FAILED, FINISHED, INTERRUPTED, STOPPED, Configuration, Record
from kdengine.worker import SLOTS

_POLL_S = 0.3
_TRIES = 3
"""How often a run is resumed at one and the same epoch before its worker counts as unable to go on."""


@dataclass(frozen=True)
class Part:
    """One network of a sweep.

    label: what tables call it, unique in its sweep. teacher, start: labels of the parts that teach it, and that it
    starts from, None where there is none; they stand before it. seeded: whether it is trained once a seed; a part
    that is not is trained once, with seed 0.
    """

    label: str
    configuration: Configuration
    teacher: str | None = None
    start: str | None = None
    seeded: bool = True


Ids = dict[tuple[str, int], str]
"""Runs by (label, seed)."""


def run(
    parts: Sequence[Part], seeds: int = 1, on_change: Callable[[int, int], None] = lambda done, of: None,
    keep_going: Callable[[], bool] = lambda: True,
) -> Ids:
    """Train every part that is not finished, and return the finished runs.

    Parts that can share views and a teacher are trained side by side; as many groups at once as the machine has
    training slots. Interrupted runs are resumed. A part whose run failed, or whose teacher's did, is left out.
    on_change(done, of) is called when a run has finished. keep_going() is asked a few times a second; once it is
    False, and on Ctrl-C, what is training stops at its last complete epoch.
    """
    wanted = _wanted(parts, seeds)
    told = -1
    tries: Counter[tuple[str, int]] = Counter()
    try:
        while True:
            found = _found(wanted)
            done = {key: record.id for key, record in found.items() if record.state == FINISHED}
            if len(done) != told:
                told = len(done)
                on_change(told, len(wanted))
            if not keep_going():
                _stop(found)
                return done
            if not _advance(wanted, found, tries):
                return done
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        _stop(_found(wanted))
        raise


def records(parts: Sequence[Part], seeds: int = 1) -> dict[tuple[str, int], Record | None]:
    """The run of each part of a sweep by (label, seed), None where it has none yet."""
    wanted = _wanted(parts, seeds)
    found = _found(wanted)
    return {key: found.get(key) for key in wanted}


def finished(parts: Sequence[Part], seeds: int = 1) -> Ids:
    """The runs of a sweep that have finished so far."""
    return {key: record.id for key, record in _found(_wanted(parts, seeds)).items() if record.state == FINISHED}


def failures(parts: Sequence[Part], seeds: int = 1) -> dict[tuple[str, int], str]:
    """Why parts of a sweep have failed, by (label, seed)."""
    found = _found(_wanted(parts, seeds)).items()
    return {key: record.status["reason"] for key, record in found if record.state == FAILED}


def _wanted(parts: Sequence[Part], seeds: int) -> dict[tuple[str, int], Part]:
    """Every run of the sweep, its seed in its configuration."""
    wanted = {}
    for part in parts:
        for seed in range(seeds if part.seeded else 1):
            configuration = dataclasses.replace(part.configuration, seed=seed)
            wanted[part.label, seed] = dataclasses.replace(part, configuration=configuration)
    return wanted


def _found(wanted: dict[tuple[str, int], Part]) -> dict[tuple[str, int], Record]:
    """The run of each part, where there is one: the first that finished, as others may lean on it, else the newest."""
    held: dict[Hashable, Record] = {}
    for record in runs.all_runs():
        key = _key(record.configuration)
        if key not in held or record.state == FINISHED:
            held[key] = record
    found: dict[tuple[str, int], Record] = {}
    for place, part in wanted.items():
        configuration = _concrete(part, wanted, found)
        if configuration is not None and (record := held.get(_key(configuration))):
            found[place] = record
    return found


def _concrete(
    part: Part, wanted: dict[tuple[str, int], Part], found: dict[tuple[str, int], Record]
) -> Configuration | None:
    """The part's configuration with the runs it leans on by id; None while they are not finished."""
    leans = {}
    for field, label in (("teacher", part.teacher), ("initial", part.start)):
        if label is None:
            continue
        seed = part.configuration.seed if (label, part.configuration.seed) in wanted else 0
        record = found.get((label, seed))
        if record is None or record.state != FINISHED:
            return None
        leans[field] = record.id
    return dataclasses.replace(part.configuration, **leans)


def _key(configuration: Configuration) -> Hashable:
    """Equal for configurations of equal numbers. A method's own first stage is no part of it: runs add it."""
    from kdengine import methods

    asked = dataclasses.asdict(configuration)
    try:
        method = methods.method(configuration.method, **configuration.hyperparameters)
    except KDError:  # a run of a method, or with a field, that is no more: it equals nothing asked for today
        return json.dumps(asked, sort_keys=True)
    asked["hyperparameters"] = tuple(dataclasses.asdict(method).items())
    if method.first_stage:
        del asked["initial"]
    return tuple(asked.items())


def _stop(found: dict[tuple[str, int], Record]) -> None:
    for record in found.values():
        for run in (record.id, record.configuration.initial):  # it may be waiting for its first stage
            if run is not None:
                with suppress(KDError):  # it is not active, or has ended just now
                    runs.stop(run)


def _advance(
    wanted: dict[tuple[str, int], Part], found: dict[tuple[str, int], Record], tries: Counter[tuple[str, int]]
) -> bool:
    """Start or resume one group where a slot is free; False when nothing is training and nothing is left to start.

    tries: how often this sweep has resumed a run at an epoch.
    """
    states = {key: runs.state(record.id) for key, record in found.items()}
    active = {found[key].group for key, state in states.items() if state in ACTIVE}
    if len(active) >= SLOTS:
        return True
    cut_off = [found[key] for key, state in states.items() if _cut_off(found[key], state)]
    together = {record.id: record for record in cut_off if record.group == cut_off[0].group}
    for record in list(together.values()):
        tries[record.id, record.status["epoch"]] += 1
        if tries[record.id, record.status["epoch"]] > _TRIES and record.state != STOPPED:
            del together[record.id]
            runs.set_state(record, FAILED, reason=(
                f"Its worker died {_TRIES} more times at epoch {record.status['epoch'] + 1}. "
                f"`python -m kdengine runs {record.id} --log` may say why."))
    if together:
        before = {record.configuration.initial for record in together.values()} - {None}  # first stages, cut off too
        runs.resume([each for each in sorted(before) if runs.state(each) in (STOPPED, INTERRUPTED)])
        runs.resume(list(together))
        return True
    groups: dict[str, dict[Hashable, Configuration]] = {}  # two parts of one configuration are one run
    for key, part in wanted.items():
        if key not in found and (configuration := _concrete(part, wanted, found)) is not None:
            groups.setdefault(json.dumps(configuration.shared()), {})[_key(configuration)] = configuration
    if groups:
        runs.submit(list(next(iter(groups.values())).values()))
        return True
    return bool(active)


def _cut_off(record: Record, state: str) -> bool:
    """Whether a run can go on: it was stopped or interrupted, or failed because its first stage was."""
    if state == FAILED and record.configuration.initial is not None:
        with suppress(KDError):  # the first stage has been removed
            return runs.state(record.configuration.initial) in (STOPPED, INTERRUPTED)
    return state in (STOPPED, INTERRUPTED)


def check(parts: Sequence[Part]) -> None:
    """Raise KDError where a label stands twice or leans on one that does not stand before it."""
    seen: set[str] = set()
    for part in parts:
        if part.label in seen:
            raise KDError(f"The label {part.label!r} stands twice in one sweep.")
        for label in (part.teacher, part.start):
            if label is not None and label not in seen:
                raise KDError(f"{part.label!r} leans on {label!r}, which does not stand before it.")
        seen.add(part.label)
