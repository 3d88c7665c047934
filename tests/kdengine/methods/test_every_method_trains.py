"""Every method, for real: on pictures and on masks it lowers its own loss and beats chance by far, side by side."""

import dataclasses
import shutil
import subprocess
import sys

import pytest

from kdengine.configuration import Configuration
from kdengine.methods import METHODS
from kdengine.runs import control, records, store, worker
from tests.kdengine import tiny

pytestmark = pytest.mark.slow

CLASSES = ("apple", "bicycle", "bottle", "cloud", "sea")
PER_CLASS = 300
CHANCE = 1 / len(CLASSES)


@pytest.fixture
def pictures(shared_data, tmp_path):
    """Five classes of CIFAR-100 as an image folder."""
    subprocess.run([sys.executable, shared_data / "unpack.py", "cifar100", tmp_path / "all", "--folder",
                    "--per-class", str(PER_CLASS)], check=True, capture_output=True)
    for split in ("train", "test"):
        for name in CLASSES:
            shutil.move(tmp_path / "all" / "cifar100" / split / name, tmp_path / "five" / split / name)
    return tmp_path / "five"


@pytest.fixture(autouse=True)
def this_process_is_the_worker(monkeypatch):
    monkeypatch.setattr(control, "_launch", lambda ids: None)


def scores_and_falls(settings, task, teacher):
    """Trains every method of a task side by side: for each its name, headline, and by how much its loss fell."""
    names = [name for name, each in METHODS.items() if task in each.tasks]
    ids = control.submit([dataclasses.replace(settings, method=name, teacher=teacher) for name in names])
    for run in ids:
        if first := store.read(run).configuration.initial:
            worker.work([first])
            rows = store.history(first)
            assert store.state(first) == records.FINISHED, store.read(first).status
            assert len(rows) == 1
    worker.work(ids)
    told = []
    for run in ids:
        record, rows = store.read(run), store.history(run)
        assert record.state == records.FINISHED, (run, record.status)
        # From the second epoch: a warm-up of a twelfth of eight epochs is over by then.
        fell = rows[1]["loss"] - rows[-1]["loss"]
        told.append((record.configuration.method, round(records.headline(record.result["test"]), 3), round(fell, 3)))
    return told


def test_every_method_lowers_its_loss_and_beats_chance_by_far(pictures):
    settings = Configuration(data=f"folder:{pictures}", batch_size=32, learning_rate=0.03, threads=1,
                             precision="float32", epochs=5)
    teacher, = control.submit([dataclasses.replace(settings, student="resnet20", epochs=6)])
    worker.work([teacher])
    taught = store.read(teacher).result["test"]["top1"]
    assert taught > 2.5 * CHANCE
    told = scores_and_falls(settings, "classification", teacher)
    # Chance is 20% of 500 test pictures, standard deviation 1.8 points: 40% is eleven of those away.
    assert not [each for each in told if each[1] <= 2 * CHANCE or each[2] <= 0]


def test_every_method_for_masks_lowers_its_loss_and_beats_chance_by_far(tmp_path):
    tiny.write_tiles(tmp_path / "tiles", train=120, val=8, test=40)
    settings = Configuration(data=f"folder:{tmp_path / 'tiles'}", image_size=tiny.TILED_SIZE, student="fpn_tiny",
                             batch_size=16, learning_rate=0.03, threads=1, precision="float32", epochs=8)
    teacher, = control.submit([dataclasses.replace(settings, student="fpn_compact")])
    worker.work([teacher])
    # Who guesses each pixel's class among three has a mIoU of 1/5: a ninth in common, five ninths in either.
    assert records.headline(store.read(teacher).result["test"]) > 2 / 5
    told = scores_and_falls(settings, "segmentation", teacher)
    assert len(told) >= 20
    assert not [each for each in told if each[1] <= 2 / 5 or each[2] <= 0]
