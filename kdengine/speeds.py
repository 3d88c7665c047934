"""How fast this machine runs a network, by a short measurement; what was measured is remembered beside the runs."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from kdengine.devices import autocast, compiled, compiling, device_name, lay, memory_formats, synchronise, workers
from kdengine.models.network import Network
from kdengine.places import runs_root
from kdengine.records import read_json, write_json

_AGREE = 1.5
"""Times by which two measurements of one thing may differ: a busy machine is many times slower."""
_WORTH = 1.1
"""How many times faster another way must be to be chosen: a smaller gain is within the noise of the measurement."""
_ENOUGH_S = 5.0
"""Seconds after which nothing is measured a further time: where a step takes so long, the noise in it is small."""
_LONG_S = 1200.0
"""Seconds of training from which compiling is tried: what is clearly faster then saves the two minutes it takes."""
_measured: set[tuple[Path, str]] = set()
"""What this process has measured, and where that is remembered."""


class Way(NamedTuple):
    """How a network runs: in `float32` or `bfloat16` (autocast), its maps in memory in a torch memory format."""

    precision: str
    memory_format: str


def usual(precision: str, device: torch.device) -> Way:
    """A precision in the memory format in which most networks are fastest on a device: what is taken unmeasured."""
    return Way(precision, memory_formats(device)[0])


def fastest(
    network: Network, batch_size: int, precisions: Sequence[str] = ("float32", "bfloat16"), *, backward: bool
) -> Way:
    """The way in which a step of this network takes the fewest seconds on its device: a forward, or a backward too.

    Of those in the precisions allowed: the first precision, in the device's usual memory format, where no other is
    clearly faster. Measured and remembered, so that equal runs of a machine choose equally.
    """
    formats = memory_formats(next(network.parameters()).device)
    ways = [Way(*each) for each in product(("float32", "bfloat16"), formats)]
    what = f"{'training' if backward else 'forward'}, each way"
    seconds = _remembered(network, batch_size, what, lambda: _step_seconds(
        {" ".join(way): (_copy(network, backward, way.memory_format), way.precision) for way in ways}, batch_size))

    def price(way: Way) -> float:
        unusual = (way.precision != precisions[0]) + (way.memory_format != formats[0])
        return seconds[" ".join(way)] * _WORTH**unusual

    return min((way for way in ways if way.precision in precisions), key=price)


def student_threads(network: Network, batch_size: int, way: Way, students: int) -> int | None:
    """CPU threads for each of several such students, so that as many as there are threads for train at once.

    network: as it lies in `way`. None where they best take turns, each with all threads: on a GPU, for one student, and
    where that is clearly faster. In doubt at once: beside other work, threads that share a step wait for each other,
    students of one thread do not. Measured and remembered, as `fastest`.
    """
    threads = torch.get_num_threads()
    at_once = min(students, threads)
    if at_once == 1 or next(network.parameters()).device.type != "cpu":
        return None
    seconds = _remembered(network, batch_size, f"{' '.join(way)} {at_once} students", lambda: {
        "turn": _training_seconds(network, batch_size, way.precision),
        "at once": _seconds_at_once(network, batch_size, way.precision, at_once),
    })
    clearly = seconds["at once"] > _WORTH * at_once * seconds["turn"]
    return None if clearly else threads // at_once


def compiling_pays(network: Network, batch_size: int, way: Way, steps: int) -> bool:
    """Whether so many training steps of a network, as it lies in `way`, get clearly faster by compiling it.

    Not tried for less than _LONG_S of training. Measured and remembered, as `fastest`. Raises KDError where this
    machine cannot compile the network.
    """
    what = " ".join(way)
    alone = _remembered(network, batch_size, what, lambda: {
        "turn": _training_seconds(network, batch_size, way.precision)})
    if steps * alone["turn"] < _LONG_S:
        return False
    with compiling(network.architecture):
        seconds = _remembered(network, batch_size, f"{what} compiled", lambda: _step_seconds({
            "as it is": (_copy(network, True), way.precision),
            "compiled": (compiled(_copy(network, True)), way.precision),
        }, batch_size))
    return seconds["as it is"] > _WORTH * seconds["compiled"]


def seconds_now(network: Network, batch_size: int, precision: str, *, backward: bool) -> float:
    """Seconds of one step as fast as the machine is at this moment; `auto` is the fastest way."""
    if precision == "auto":
        way = fastest(network, batch_size, backward=backward)
    else:
        way = usual(precision, next(network.parameters()).device)
    return _step_seconds({"now": (_copy(network, backward, way.memory_format), way.precision)}, batch_size)["now"]


def _copy(network: Network, backward: bool, memory_format: str | None = None) -> Network:
    """One that can be measured: a student in training, a teacher in evaluation; as the network lies, or otherwise."""
    copied = copy.deepcopy(network).requires_grad_(backward).train(backward)
    if memory_format:
        lay(copied, memory_format)
    return copied


def _training_seconds(network: Network, batch_size: int, precision: str) -> float:
    return _step_seconds({"turn": (_copy(network, True), precision)}, batch_size)["turn"]


def _seconds_at_once(network: Network, batch_size: int, precision: str, at_once: int) -> float:
    """Seconds in which so many copies of a network take a training step, all at the same time."""
    copies = [_copy(network, True) for _ in range(at_once)]
    with workers(at_once, torch.get_num_threads() // at_once) as pool:
        return max(pool.map(lambda each: _step_seconds({"": (each, precision)}, batch_size)[""], copies))


def _step_seconds(ways: Mapping[str, tuple[nn.Module, str]], batch_size: int) -> dict[str, float]:
    """Seconds of one step of each of these networks at its precision: a forward, and in training a backward.

    They are timed in turns, three times each after one to warm up (once where that takes long), and the best counts.
    """
    best = dict.fromkeys(ways, math.inf)
    for repeat in range(4):
        if repeat == 1:
            began = time.perf_counter()  # the first warms up, and may have compiled
        if repeat > 1 and time.perf_counter() - began > _ENOUGH_S:
            break
        for way, (network, precision) in ways.items():
            images = _images(network, batch_size)
            synchronise(images.device)
            start = time.perf_counter()
            _step(network, images, precision)
            synchronise(images.device)
            if repeat:
                best[way] = min(best[way], time.perf_counter() - start)
    return best


def _step(network: nn.Module, images: torch.Tensor, precision: str) -> None:
    with torch.set_grad_enabled(network.training):
        with autocast(images.device, precision):
            logits = network(images)
        if network.training:
            logits.float().logsumexp(dim=1).mean().backward()
    network.zero_grad(set_to_none=True)


def _images(network: nn.Module, batch_size: int) -> torch.Tensor:
    size = network.input_size
    return torch.rand(batch_size, 3, size, size, device=next(network.parameters()).device)


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
