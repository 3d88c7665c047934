"""How this machine runs a network: in which precision, its maps how in memory. Both touch the last digits of numbers.

So they follow the machine and the network alone, never the load of the moment: what was settled by a measurement, on
request and while the machine was quiet, else what the hardware is made for. Equal runs of one machine are equal.
"""

from __future__ import annotations

import copy
import math
import os
import statistics
import time
from collections.abc import Mapping
from itertools import product
from typing import Any, Literal, NamedTuple, TypedDict

import torch
from torch import nn

from kdengine.devices import (
    OthersLoad,
    autocast,
    device_name,
    memory_formats,
    multiplies_bfloat16,
    set_memory_format,
    synchronize,
)
from kdengine.errors import KDError
from kdengine.files import read_json, write_json
from kdengine.models.network import Network
from kdengine.paths import runs_root

FILE = ".speeds.json"
"""Beside the runs: what is settled for this machine."""
_VERSION = 2
"""Counted up when a choice would be made otherwise, so that nothing settled the old way is found."""
_ROUNDS = 3
_AGREE = 1.25
"""Times by which the rounds of one measurement may differ on a quiet machine."""
_WORTH = 1.1
"""How many times faster another way must be to be chosen: a smaller gain is within the noise of the measurement."""
_BUSY = 0.1
"""Cores in use by others from which a machine is not quiet."""
_LOOK_S = 1.0
"""Seconds over which it is looked whether others use the machine."""


class _Entry(TypedDict):
    network: str
    classes: int
    input_size: int
    batch_size: int
    training: bool
    machine: str
    way: tuple[Literal["float32", "bfloat16"], Literal["channels_last", "contiguous_format"]]
    seconds: dict[str, float]


class _File(TypedDict):
    version: Literal[2]  # _VERSION
    settled: dict[str, _Entry]


class Execution(NamedTuple):
    """How a network runs: in `float32` or `bfloat16` (autocast), its maps in memory in a torch memory format."""

    precision: str
    memory_format: str


def default_execution(network: Network, precision: str = "auto") -> Execution:
    """What its device is made for, unmeasured: in a given precision, or with `auto` in the one that is mostly faster.

    That is bfloat16 where the hardware multiplies it. But convolutions of one channel each have nothing to multiply:
    EfficientNet-Lite0 takes twice as long in bfloat16 on a CPU.
    """
    device = _device(network)
    if precision == "auto":
        depthwise = any(isinstance(each, nn.Conv2d) and each.groups > 1 for each in network.modules())
        fast = multiplies_bfloat16(device) and not (depthwise and device.type == "cpu")
        precision = "bfloat16" if fast else "float32"
    return Execution(precision, memory_formats(device)[0])


def execution(network: Network, batch_size: int, precision: str = "auto", *, training: bool) -> Execution:
    """The way in which this machine runs a network on its device.

    training: a forward and a backward, or a forward alone. With precision `auto` it is the one that is settled, where
    one is, else the usual one; with another precision always the usual one, so that machines can be compared.
    """
    entry = _settled().get(_key(network, batch_size, training)) if precision == "auto" else None
    return Execution(*entry["way"]) if entry else default_execution(network, precision)


def settle(network: Network, batch_size: int, *, training: bool) -> Execution:
    """Measure the ways this machine can run a network in, and settle the fastest for good; one that is settled stays.

    Another precision or memory format than the usual one must be clearly faster. Raises KDError where others use the
    cores (a GPU is not looked at) or measurements do not agree, and nothing is settled then; also where that cannot be
    written down.
    """
    key, device = _key(network, batch_size, training), _device(network)
    if entry := _settled().get(key):
        return Execution(*entry["way"])
    _require_quiet()
    ways = [Execution(*each) for each in product(("float32", "bfloat16"), memory_formats(device))]
    rounds = [
        _step_seconds({each: (_copied(network, training, each), each.precision) for each in ways}, batch_size)
        for _ in range(_ROUNDS)
    ]
    _require_quiet()
    for each in ways:
        fewest, most = (bound(seconds[each] for seconds in rounds) for bound in (min, max))
        if most > _AGREE * fewest:
            raise KDError(f"A step of {network.architecture} took {1e3 * fewest:.1f} ms and {1e3 * most:.1f} ms in two "
                          "measurements of the same: this machine is busy. Nothing was settled; try again when it is "
                          "quiet.")
    seconds = {each: statistics.median(measured[each] for measured in rounds) for each in ways}
    preferred = default_execution(network)

    def price(each: Execution) -> float:
        return seconds[each] * _WORTH ** sum(ours != theirs for ours, theirs in zip(each, preferred, strict=True))

    chosen = min(ways, key=price)
    entry = {"network": network.architecture, "classes": len(network.classes), "input_size": network.input_size,
             "batch_size": batch_size, "training": training, "machine": _machine(device), "way": list(chosen),
             "seconds": {" ".join(each): seconds[each] for each in ways}}
    path = runs_root() / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"version": _VERSION, "settled": _settled() | {key: entry}})
    except OSError as error:
        raise KDError(f"{path} cannot be written, so nothing can be settled: {error.strerror}.") from error
    return chosen


def settled(device: torch.device) -> list[dict[str, Any]]:
    """What is settled for a device, with this number of threads and version of torch.

    By network, classes, input_size, batch_size and training: the way, and the seconds of each way that was measured.
    """
    return [entry for _, entry in sorted(_settled().items()) if entry["machine"] == _machine(device)]


def seconds_now(network: Network, batch_size: int, precision: str, *, training: bool) -> float:
    """Seconds of one step as fast as the machine is at this moment, in the way a run would take."""
    chosen = execution(network, batch_size, precision, training=training)
    return _step_seconds({chosen: (_copied(network, training, chosen), chosen.precision)}, batch_size)[chosen]


def student_threads(device: torch.device, students: int) -> int | None:
    """CPU threads for each of several students, so that as many as there are threads for train at once.

    None where they take turns, each with all threads: on a GPU, and for one student. At once is 1.2 to 1.3 times as
    fast on two cores, and beside other work threads that share a step wait for each other.
    """
    at_once = min(students, torch.get_num_threads())
    return torch.get_num_threads() // at_once if at_once > 1 and device.type == "cpu" else None


def _settled() -> dict[str, Any]:
    return read_json(runs_root() / FILE, _File).get("settled", {})


def _key(network: Network, batch_size: int, training: bool) -> str:
    what = "training" if training else "forward"
    shape = f"{network.architecture} {len(network.classes)} {network.input_size} {batch_size}"
    return f"{shape} {what} {_machine(_device(network))}"


def _machine(device: torch.device) -> str:
    return f"{device_name(device)} {torch.get_num_threads()} {torch.__version__}"


def _device(network: Network) -> torch.device:
    return next(network.parameters()).device


def _require_quiet() -> None:
    """Raise KDError where others use the machine now: this process sleeps meanwhile."""
    load = OthersLoad()
    time.sleep(_LOOK_S)
    if (cores := load.cores()) > _BUSY:
        raise KDError(f"Other work takes {cores:.1f} of {os.cpu_count()} cores, so a measurement would say little. "
                      "Nothing was settled; try again when the machine is quiet.")


def _copied(network: Network, training: bool, chosen: Execution) -> Network:
    """One that can be measured: a student in training, a teacher in evaluation."""
    copied = copy.deepcopy(network).requires_grad_(training).train(training)
    set_memory_format(copied, chosen.memory_format)
    return copied


def _step_seconds(ways: Mapping[Execution, tuple[Network, str]], batch_size: int) -> dict[Execution, float]:
    """Seconds of one step of each of these networks at its precision: a forward, and in training a backward.

    They are timed in turns, three times each after one to warm up, and the best counts.
    """
    best = dict.fromkeys(ways, math.inf)
    for repeat in range(4):
        for each, (network, precision) in ways.items():
            images = torch.rand(batch_size, 3, network.input_size, network.input_size, device=_device(network))
            synchronize(images.device)
            start = time.perf_counter()
            _step(network, images, precision)
            synchronize(images.device)
            if repeat:
                best[each] = min(best[each], time.perf_counter() - start)
    return best


def _step(network: nn.Module, images: torch.Tensor, precision: str) -> None:
    with torch.set_grad_enabled(network.training):
        with autocast(images.device, precision):
            logits = network(images)
        if network.training:
            logits.float().logsumexp(dim=1).mean().backward()
    network.zero_grad(set_to_none=True)
