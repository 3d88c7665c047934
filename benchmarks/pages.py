"""Server start to first page, page to page, and Grad-CAM of a picture: `python -m benchmarks.pages`."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

import kdengine
from benchmarks.matrix import product_rate, reached
from benchmarks.real import browser, chromium, server, settle
from explorer.pages import PAGES
from kdengine.paths import PROJECT

PATHS = ("", *(title.lower() for title in PAGES if title != "Start"))
NETWORKS = ("efficientnet_lite0", "efficientnet_lite2")
PICTURE = PROJECT / "docs" / "start.png"
"""A large picture, whatever is on it: it is decoded and resized as an uploaded photo is."""


def main() -> None:
    """Print one table: seconds, median of the repeats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="fresh servers to start (%(default)s)")
    repeats = parser.parse_args().repeats
    if chromium() is None:
        raise SystemExit("This benchmark needs Chromium from the system's packages.")
    started: list[float] = []
    opened: dict[str, list[float]] = {page: [] for page in PATHS}
    again: dict[str, list[float]] = {page: [] for page in PATHS}
    with browser() as launched, tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            begin = time.perf_counter()
            with server(Path(folder) / "runs") as address:
                _open(launched, address)
                started.append(time.perf_counter() - begin)
                for seconds in (opened, again):
                    for page in PATHS:
                        begin = time.perf_counter()
                        _open(launched, f"{address}/{page}")
                        seconds[page].append(time.perf_counter() - begin)
    print(f"seconds, median of {repeats} fresh servers")
    print(f"{'server start to first page drawn':<36}{statistics.median(started):>8.2f}")
    print(f"{'page':<20}{'first visit':>16}{'second visit':>16}")
    for page in PATHS:
        print(f"{page or 'start':<20}{statistics.median(opened[page]):>16.2f}{statistics.median(again[page]):>16.2f}")
    seconds, share = _grad_cam(repeats)
    print(f"Grad-CAM of one picture, {' and '.join(NETWORKS)}, once loaded: {seconds:.2f}, at {share:.2f} of a float32 "
          "matrix product's rate")


def _grad_cam(repeats: int) -> tuple[float, float]:
    """From a photo to what two ImageNet networks say of it and where they look, after a first time.

    Median seconds, and what part of a matrix product's rate the networks reach in them.
    """
    networks = [kdengine.open_network(name) for name in NETWORKS]
    photo = Image.open(PICTURE).convert("RGB")

    def look() -> None:
        for network in networks:
            said = kdengine.predict(network, photo)["probabilities"]
            kdengine.explain.heat_map(network, photo, said.index(max(said)))

    look()
    return reached(look, product_rate(torch.device("cpu"), torch.float32), repeats)


def _open(launched: object, url: str) -> None:
    page = launched.new_page()
    page.goto(url)
    page.get_by_role("heading", level=1).wait_for()
    settle(page)
    page.close()


if __name__ == "__main__":
    main()
