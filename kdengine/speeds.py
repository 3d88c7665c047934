"""How fast this machine runs a network, by a short measurement; what was measured is remembered beside the runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch

from kdengine.devices import device_name, workers
from kdengine.models.network import Network
from kdengine.places import runs_root
from kdengine.records import read_json, write_json
from kdengine.training import step_seconds

_AGREE = 1.5
"""Times by which two measurements of one thing may differ: a busy machine is many times slower."""
_WORTH = 1.1
"""How many times faster another way must be to be chosen: a smaller gain is within the noise of the measurement."""
_measured: set[tuple[Path, str]] = set()
"""What this process has measured, and where that is remembered."""


def faster_precision(network: Network, batch_size: int, *, backward: bool) -> str:
    """`bfloat16` where autocast is clearly faster for this network on its device, else `float32`.

    Measured and remembered, so that equal runs of a machine choose equally.
    """
    seconds = _remembered(network, batch_size, "training" if backward else "forward", lambda: step_seconds(
        network, batch_size, ("float32", "bfloat16"), backward=backward))
    return "bfloat16" if seconds["float32"] > _WORTH * seconds["bfloat16"] else "float32"


def student_threads(network: Network, batch_size: int, precision: str, students: int) -> int | None:
    """CPU threads for each of several such students, so that as many as there are threads for train at once.

    None where they best take turns, each with all threads: on a GPU, for one student, and where that is clearly faster.
    In doubt at once: beside other work, threads that share a step wait for each other, students of one thread do not.
    Measured and remembered, as `faster_precision`.
    """
    threads = torch.get_num_threads()
    at_once = min(students, threads)
    if at_once == 1 or next(network.parameters()).device.type != "cpu":
        return None
    seconds = _remembered(network, batch_size, f"{precision} {at_once} students", lambda: {
        "turn": step_seconds(network, batch_size, (precision,), backward=True)[precision],
        "at once": _seconds_at_once(network, batch_size, precision, at_once),
    })
    clearly = seconds["at once"] > _WORTH * at_once * seconds["turn"]
    return None if clearly else threads // at_once


def seconds_now(network: Network, batch_size: int, precision: str, *, backward: bool) -> float:
    """Seconds of one step as fast as the machine is at this moment; `auto` is the faster precision."""
    if precision == "auto":
        precision = faster_precision(network, batch_size, backward=backward)
    return step_seconds(network, batch_size, (precision,), backward=backward)[precision]


def _seconds_at_once(network: Network, batch_size: int, precision: str, at_once: int) -> float:
    """Seconds in which so many copies of a network take a training step, all at the same time."""
    with workers(at_once, torch.get_num_threads() // at_once) as pool:
        return max(pool.map(
            lambda each: step_seconds(each, batch_size, (precision,), backward=True)[precision],
            [copy.deepcopy(network) for _ in range(at_once)],
        ))


def _remembered(
    network: Network, batch_size: int, what: str, measure: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """Seconds by way of doing it, for this network, device, number of threads and torch: the fewest ever measured.

    A process measures once, so that the students of a race choose equally; the next one measures again, until one
    agrees with the fewest before it: the first may have been taken while the machine was busy.
    """
    key = " ".join(str(part) for part in (
        network.architecture, network.input_size, batch_size, what,
        device_name(next(network.parameters()).device), torch.get_num_threads(), torch.__version__,
    ))
    path = runs_root() / ".speeds.json"
    before = read_json(path).get(key, {})
    seconds = before.get("seconds")
    if before.get("settled") or (path, key) in _measured:
        return seconds
    now = measure()
    _measured.add((path, key))
    settled = seconds is not None and all(1 / _AGREE < now[way] / seconds[way] < _AGREE for way in now)
    seconds = {way: min(now[way], (seconds or now)[way]) for way in now}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, read_json(path) | {key: {"seconds": seconds, "settled": settled}})
    return seconds
