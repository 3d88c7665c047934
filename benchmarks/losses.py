"""What the costly losses cost, beside their naive form and beside a plain KD step: `python -m benchmarks.losses`."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.matrix import product_rate, reached
from kdengine.losses import neuron_selectivity
from kdengine.methods import method
from kdengine.models import build
from kdengine.signals import Batch, Facts, observing

BATCH, CLASSES, IMAGES = 128, 10, 50_000
METHODS = {
    "kd": "logits alone", "rkd": "distances and angles", "pkt": "conditional similarities",
    "similarity": "Gram matrices",
    "crd": "noise contrast, both banks of 50,000", "crd_batch": "InfoNCE in the batch",
}


def main() -> None:
    """Print one table of ratios, each the median over rounds in which both sides take turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="rounds (%(default)s)")
    repeats = parser.parse_args().repeats
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the threads of a busy machine wait for each other, which is no cost of a loss
    print(f"median of {repeats} rounds, one thread, float32")
    print(f"{'NST on 32x32 maps, forward and backward':<52}{'difference':>12}{'naive / Gram':>14}")
    for batch, channels in ((BATCH, 16), (32, 32), (8, 64)):
        student, teacher = (torch.randn(batch, channels, 32, 32) for _ in range(2))
        values = {each: each(student.double(), teacher.double()).item() for each in (_outer, neuron_selectivity)}
        difference = abs(values[_outer] / values[neuron_selectivity] - 1)
        naive = _ratio(lambda: _backward(_outer, student, teacher),  # noqa: B023 - called within this turn
                       lambda: _backward(neuron_selectivity, student, teacher), repeats)  # noqa: B023
        print(f"{f'batch {batch}, {channels} channels each':<52}{difference:>12.0e}{naive:>14.1f}")
    print(f"{'step resnet20 -> resnet8, batch 128':<52}{'of product':>12}{'step / KD':>14}")
    plain, rate = _step("kd"), product_rate(torch.device("cpu"), torch.float32)
    for name, what in METHODS.items():
        step = _step(name)
        _, share = reached(step, rate, repeats)
        print(f"{f'{name}: {what}':<52}{share:>12.2f}{_ratio(step, plain, repeats):>14.2f}")


def _outer(student: Tensor, teacher: Tensor) -> Tensor:
    """NST as it is often written: every product of two channel maps, [B, C, C', H W], before any sum."""
    ours, theirs = (F.normalize(each.flatten(2), dim=2) for each in (student, teacher))

    def kernel(first: Tensor, second: Tensor) -> Tensor:
        return (first[:, :, None] * second[:, None]).sum(dim=3).pow(2).mean()

    return kernel(theirs, theirs) + kernel(ours, ours) - 2 * kernel(ours, theirs)


def _backward(loss: Callable[[Tensor, Tensor], Tensor], student: Tensor, teacher: Tensor) -> None:
    student = student.detach().requires_grad_()
    loss(student, teacher).backward()


def _step(name: str) -> Callable[[], None]:
    """The method's step without its update: teacher forward, student forward, terms, backward."""
    chosen = method(name)
    classes = [str(each) for each in range(CLASSES)]
    student, teacher = build("resnet8", classes).train(), build("resnet20", classes).eval()
    images, target = torch.rand(BATCH, 3, 32, 32), torch.randint(CLASSES, (BATCH,))
    everyone = torch.ones(BATCH, dtype=torch.bool)
    batch = Batch(images, target, everyone, everyone, torch.randperm(IMAGES)[:BATCH], 1.0, 10)
    ours, theirs = chosen.wants(student.stages, teacher.stages)
    facts = Facts(IMAGES, CLASSES, torch.randint(CLASSES, (IMAGES,)))

    def signals() -> tuple:
        with observing(teacher, teacher.stages, theirs) as look, torch.no_grad():
            taught = look(images, target)
        with observing(student, student.stages, ours) as look:
            return look(images, target), taught

    adapter = chosen.adapter(*signals(), facts, torch.Generator().manual_seed(0))

    def step() -> None:
        student.zero_grad()
        sum(chosen.terms(*signals(), batch, adapter).values()).backward()

    return step


def _ratio(first: Callable[[], None], second: Callable[[], None], repeats: int) -> float:
    """How many times as long the first takes; the machine's mood in one round is the same for both."""
    first(), second()
    ratios = []
    for _ in range(repeats):
        seconds = []
        for each in (first, second):
            begin = time.perf_counter()
            each()
            seconds.append(time.perf_counter() - begin)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios)


if __name__ == "__main__":
    main()
