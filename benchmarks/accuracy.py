"""What the speed costs in accuracy: our KD beside the published loop on CIFAR-10, `python -m benchmarks.accuracy`.

Both train resnet8 from the shipped CIFAR-10 teacher on the same images, from the same first weights, once a seed; both
report the last epoch on the whole test split.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.sides import BATCH, ours, published
from kdengine import data, models
from kdengine.configuration import Configuration
from kdengine.devices import choose_device, device_name
from kdengine.measures import evaluation, metrics
from kdengine.measures.uncertainty import mean_interval
from kdengine.models.network import Network
from kdengine.runs import references
from kdengine.training.teacher_cache import TeacherCache, key

TEACHER, STUDENT, DATA = "cifar10-teacher", "resnet8", "cifar10"


def main() -> None:
    """Print one table: test accuracy of both sides by seed, and a 95% interval of their difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000, help="of the training split (%(default)s)")
    parser.add_argument("--epochs", type=int, default=10, help="of each run (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each side, 2 or more (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the yardstick's loader (%(default)s)")
    given = parser.parse_args()
    device = choose_device("auto")
    held = data.load(DATA, share=given.images / len(data.load(DATA).train))
    print(f"{device_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}; "
          f"{TEACHER} -> {STUDENT}, {len(held.train):,} images, {given.epochs} epochs, {len(held.test):,} test images",
          flush=True)
    print(f"{'seed':<8}{'published':>12}{'ours':>12}{'minutes':>16}{'minutes':>12}")
    differences, sides = [], ([], [])
    for seed in range(given.seeds):
        row = []
        for side in (_published, _ours):
            start = time.perf_counter()
            network = side(held, device, given, seed)
            logits = evaluation.predict(network, held.test.to(device))
            row.append((metrics.top_k(logits, held.test.target, 1), (time.perf_counter() - start) / 60))
        for accuracies, (accuracy, _) in zip(sides, row, strict=True):
            accuracies.append(accuracy)
        differences.append(row[1][0] - row[0][0])
        print(f"{seed:<8}{row[0][0]:>12.2%}{row[1][0]:>12.2%}{row[0][1]:>16.1f}{row[1][1]:>12.1f}", flush=True)
    print(f"{'mean':<8}" + "".join(f"{statistics.fmean(each):>12.2%}" for each in sides))
    sure = mean_interval(differences)
    print(f"ours - published: {100 * sure.mean:+.2f} points, 95% {100 * sure.low:+.2f} to {100 * sure.high:+.2f} "
          f"(paired by seed)")


def _published(held: data.DataSet, device: torch.device, given: argparse.Namespace, seed: int) -> Network:
    torch.manual_seed(seed)  # the loader's order and crops
    student = _student(held, device, seed)
    epoch = published(_teacher(held, device), student, held.train, device, given.workers, epochs=given.epochs)
    for _ in range(given.epochs):
        epoch()
    return student


def _ours(held: data.DataSet, device: torch.device, given: argparse.Namespace, seed: int) -> Network:
    student = _student(held, device, seed)
    with tempfile.TemporaryDirectory() as folder:
        asked = Configuration(epochs=given.epochs, batch_size=BATCH, seed=seed)
        kept = TeacherCache(Path(folder), key(teacher=TEACHER))
        ours(_teacher(held, device), student, held.train, device, asked, kept)()
    return student


def _student(held: data.DataSet, device: torch.device, seed: int) -> Network:
    return models.build(STUDENT, held.classes, seed=seed, mean=held.mean, std=held.std).to(device)


def _teacher(held: data.DataSet, device: torch.device) -> Network:
    return references.open_teacher(TEACHER, held.classes, held.size).to(device)


if __name__ == "__main__":
    main()
