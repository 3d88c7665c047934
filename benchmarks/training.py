"""An epoch of KD beside what people run now: `python -m benchmarks.training`.

All sides train the same networks at the same batch size, in turns, each in a process of its own: what one does to its
memory must not help another. The pictures are noise: only speed is measured. `pip install torchdistill` adds a column.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import torch

from benchmarks import sides
from benchmarks.matrix import product_rate, training_flops
from benchmarks.sides import BATCH
from kdengine import models
from kdengine.configuration import Configuration
from kdengine.devices import choose_device, device_name, keep_freed_memory
from kdengine.training.teacher_cache import TeacherCache, key
from kdengine.views import Split

PAIRS = (("resnet56", "resnet20"), ("resnet56", "resnet8"), ("vgg13_bn", "vgg8_bn"))
CLASSES = tuple(str(number) for number in range(100))
MEAN, STD = (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)


def main() -> None:
    """Print one table: images a second of each side, and the ratios, each the median over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1280, help="of one epoch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="in which the sides take turns (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the published loop's loader (%(default)s)")
    given = parser.parse_args()
    device = choose_device("auto")
    print(f"{device_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}; "
          f"{given.images} images of 32 x 32 an epoch, batch {BATCH}, median of {given.rounds} rounds")
    product = product_rate(device, torch.bfloat16)
    print(f"matrix product: {product_rate(device, torch.float32) / 1e9:,.0f} GFLOP/s in float32, "
          f"{product / 1e9:,.0f} in bfloat16")
    names = ["bare", "published", "live", "warm"]
    if importlib.util.find_spec("torchdistill"):
        names.insert(2, "torchdistill")
    titles = (*names, "publ./bare", "live/publ.", "warm/publ.", "of product")
    print(f"{'images a second':<24}" + "".join(f"{title:>14}" for title in titles))
    for pair in PAIRS:
        rates: dict[str, list[float]] = {name: [] for name in names}
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            opened = {name: stack.enter_context(_Side(name, pair, given.images, given.workers, folder))
                      for name in names}
            for _ in range(given.rounds):
                for name, side in opened.items():
                    rates[name].append(given.images / side.seconds())
        middle = {name: statistics.median(values) for name, values in rates.items()}
        ratios = (middle["published"] / middle["bare"], middle["live"] / middle["published"],
                  middle["warm"] / middle["published"],
                  middle["warm"] * training_flops(pair[1], len(CLASSES)) / product)
        print(f"{' -> '.join(pair):<24}" + "".join(f"{rate:>14,.0f}" for rate in middle.values())
              + "".join(f"{ratio:>14.2f}" for ratio in ratios), flush=True)


class _Side:
    """One side, ready to train, in a process that ends with the block."""

    def __init__(self, *given: object) -> None:
        self.process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _open, given)

    def __enter__(self) -> _Side:
        self.seconds()  # warm-up: kernels chosen, workers started once, the teacher's answers computed and kept
        return self

    def __exit__(self, *_: object) -> None:
        self.process.shutdown()

    def seconds(self) -> float:
        """Of one epoch."""
        return self.process.submit(_epoch).result()


_opened: list[Callable[[], float]] = []
"""In a side's process: how it trains for an epoch."""


def _open(name: str, pair: tuple[str, str], images: int, workers: int, folder: str) -> None:
    device = choose_device("auto")
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (images, 3, 32, 32), generator=generator, dtype=torch.uint8)
    split = Split(pictures, torch.randint(0, len(CLASSES), (images,), generator=generator))
    teacher, student = (
        models.build(each, CLASSES, seed=seed, mean=MEAN, std=STD).to(device)
        for seed, each in enumerate(pair)
    )
    if name == "bare":
        _opened.append(sides.bare(teacher, student, split, device))
    elif name in ("live", "warm"):
        keep_freed_memory()  # as the processes do that train a run
        cache = TeacherCache(Path(folder), key(teacher=pair[0])) if name == "warm" else None
        _opened.append(sides.ours(teacher, student, split, device, Configuration(epochs=1, batch_size=BATCH), cache))
    else:
        _opened.append(getattr(sides, name)(teacher, student, split, device, workers))


def _epoch() -> float:
    return _opened[0]()


if __name__ == "__main__":
    main()
