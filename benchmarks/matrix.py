"""What a machine's matrix units can do, and what part of that something reaches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from kdengine import models
from kdengine.devices import synchronize
from kdengine.measures import evaluation


def product_rate(device: torch.device, kind: torch.dtype) -> float:
    """Floating-point operations a second of a matrix product of 2048 x 2048 (8192 on a GPU), the best of six."""
    side = 8192 if device.type == "cuda" else 2048
    factor = torch.randn(side, side, device=device, dtype=kind)
    times = []
    for _ in range(6):
        synchronize(device)
        start = time.perf_counter()
        factor @ factor
        synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * side**3 / min(times)


def training_flops(architecture: str, classes: int) -> int:
    """Floating-point operations of a training step, an image: a forward, and a backward of twice its work."""
    return 3 * evaluation.flops(models.build(architecture, [str(number) for number in range(classes)]))


def reached(work: Callable[[], object], rate: float, repeats: int) -> tuple[float, float]:
    """Median seconds of some work on the CPU, and what part of a rate its convolutions and products reach in them."""
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times)
    return seconds, counter.get_total_flops() / seconds / rate
