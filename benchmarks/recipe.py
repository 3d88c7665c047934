"""A whole recipe, its teacher included, from the command to the last result: `python -m benchmarks.recipe`.

Left as it is: ResNet-50 -> ResNet-18 on CIFAR-10 for 20 epochs, which is for a GPU. It begins with nothing trained or
kept; the data are read from the data root. `of product` is what all students of a group would reach together if they
were alike, their teacher's forwards not counted.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

import torch

from benchmarks.matrix import product_rate
from kdengine import recipes
from kdengine.devices import choose_device, device_name
from kdengine.recipes import comparison


def main() -> None:
    """Print the recipe's networks with their training rates, and the minutes of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=tuple(recipes.RECIPES), default="response_vs_feature", help="(%(default)s)")
    parser.add_argument("--scale", default="lab", help="quick, lab or paper (%(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="of each network (%(default)s)")
    given = parser.parse_args()
    device = choose_device("auto")
    rate = product_rate(device, torch.bfloat16)
    print(f"{device_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}; {given.recipe} at "
          f"{given.scale}, {given.epochs} epochs; bfloat16 product {rate / 1e12:,.2f} TFLOP/s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KDENGINE_RUNS"] = folder
        start = time.perf_counter()
        asked = recipes.plan(given.recipe, given.scale, epochs=given.epochs)
        outcome = recipes.run(asked)
        rows = len(comparison.rows(outcome))
        seconds = time.perf_counter() - start
    if outcome.failures or outcome.missing:
        raise SystemExit(f"Not all of it could be trained: {dict(outcome.failures)} {outcome.missing}")
    print(f"{'network':<28}{'architecture':<20}{'test accuracy':>14}{'side by side':>14}{'images a second':>17}"
          f"{'of product':>12}")
    for (label, _), record in outcome.records.items():
        result = record.result
        # A group's clock is one for all of it: together they do as many times the work.
        work = 3 * result["flops"] * result["side_by_side"] * result["images_per_second"]
        print(f"{label:<28}{record.configuration.student:<20}{result['test']['top1']:>14.2%}"
              f"{result['side_by_side']:>14}{result['images_per_second']:>17,.0f}{work / rate:>12.2f}")
    print(f"all of it, {rows} rows: {seconds / 60:.1f} minutes")


if __name__ == "__main__":
    main()
