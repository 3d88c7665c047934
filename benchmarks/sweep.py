"""Tuning T and alpha in 19 runs, beside 19 runs of the loop that public scripts use: `python -m benchmarks.sweep`.

First T = 1 to 10 at alpha 0.1, then alpha = 0.2 to 1 at one T, resnet56 -> resnet8, on scans of digits. Our side is all
that happens from the command to the last result: processes, data, the teacher's own scores, validation each epoch, the
test. The yardstick is one run, measured before, between and after the two steps, 19 times over: its training and a
validation each epoch, in a process that is running already.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time

import torch

from benchmarks.matrix import product_rate, training_flops
from benchmarks.sides import BATCH, published
from kdengine import data, models
from kdengine.configuration import Configuration
from kdengine.devices import choose_device, device_name
from kdengine.measures import evaluation
from kdengine.runs import store, sweeps
from kdengine.runs.sweeps import Part

TEACHER, STUDENT, DATA = "resnet56", "resnet8", "digits"
STEPS = (
    [(temperature, 0.1) for temperature in range(1, 11)],
    [(4, tenth / 10) for tenth in range(2, 11)],
)


def main() -> None:
    """Print one table: minutes of both sides, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15, help="of each run, as in the quick recipe (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the yardstick's loader (%(default)s)")
    given = parser.parse_args()
    device = choose_device("auto")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KDENGINE_RUNS"] = folder
        teacher = Part("Teacher", Configuration(data=DATA, student=TEACHER, epochs=1), seeded=False)
        _trained([teacher])  # not counted: the yardstick's teacher costs nothing either
        count = sum(map(len, STEPS))
        print(f"{device_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}; {count} runs of "
              f"{given.epochs} epochs, {len(data.load(DATA).train)} images, batch {BATCH}")
        yardstick = [_published(device, given.epochs, given.workers)]
        ours = 0.0
        for step in STEPS:
            start = time.perf_counter()
            _trained([teacher, *(_part(*point, given.epochs) for point in step)])
            ours += time.perf_counter() - start
            yardstick.append(_published(device, given.epochs, given.workers))
        done = [record for record in store.all_runs() if record.teacher]
    theirs = count * statistics.median(yardstick)
    training = sum(record.result["training_seconds"] / record.result["side_by_side"] for record in done)
    rate = sum(given.epochs * each.data["train"] for each in done) / training
    share = rate * training_flops(STUDENT, len(done[0].data["classes"])) / product_rate(device, torch.bfloat16)
    print(f"CPU threads of each student: {', '.join({str(each.environment['student_threads']) for each in done})}; "
          f"{training / 60:.1f} minutes of ours are training, at {share:.2f} of a bfloat16 matrix product's rate")
    print(f"{'':<12}{'minutes':>10}{'seconds a run':>16}")
    for name, seconds in (("published", theirs), ("ours", ours)):
        print(f"{name:<12}{seconds / 60:>10.1f}{seconds / count:>16.1f}")
    print(f"published / ours: {theirs / ours:.2f}")


def _part(temperature: float, alpha: float, epochs: int) -> Part:
    return Part(
        f"T {temperature}, alpha {alpha}",
        Configuration(data=DATA, student=STUDENT, method="kd", epochs=epochs, batch_size=BATCH,
                      hyperparameters={"temperature": float(temperature), "alpha": alpha}),
        teacher="Teacher",
    )


def _trained(parts: list[Part]) -> None:
    """Train all of them; ends the benchmark where one fails, since the rest would look fast."""
    done = sweeps.run(parts)
    for part in parts:
        if (part.label, 0) not in done:
            raise SystemExit(f"{part.label} could not be trained.")


def _published(device: torch.device, epochs: int, workers: int) -> float:
    """Seconds of one run of the yardstick."""
    held = data.load(DATA)
    start = time.perf_counter()
    teacher, student = (
        models.build(name, held.classes, mean=held.mean, std=held.std).to(device) for name in (TEACHER, STUDENT))
    epoch = published(teacher, student, held.train, device, workers, epochs=epochs)
    for _ in range(epochs):
        epoch()
        evaluation.predict(student, held.validation.to(device), BATCH)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
