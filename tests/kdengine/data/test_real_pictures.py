"""Real pictures, from the command line: a folder of five classes, and CIFAR-100 in both of its forms."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from kdengine import models
from kdengine.__main__ import main
from kdengine.runs import checkpoints, results

FIVE = ("apple", "castle", "orange", "sea", "wolf")
"""Classes of CIFAR-100 that a small network tells apart after seconds of training."""
PER_CLASS = 60
MEAN, STD = (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)
ALIKE = ["--device", "cpu", "--precision", "float32", "--threads", "1", "--json"]


@pytest.fixture(scope="module")
def pictures(shared_data, tmp_path_factory):
    """A data root with two image folders: `cifar100`, the first 60 images of each class a split; `five` of it."""
    root = tmp_path_factory.mktemp("pictures")
    unpack(shared_data, root, "--folder", "--per-class", str(PER_CLASS))
    for name in FIVE:
        copy(root / "cifar100", f"*/{name}/*", root / "five")
    yield root
    shutil.rmtree(root)


@pytest.fixture
def both_forms(shared_data, tmp_path):
    """Two data roots with the same 10,000 test images: an image folder (100 images a class), the published files."""
    folder, published = tmp_path / "folder", tmp_path / "published"
    unpack(shared_data, folder, "--folder", "--per-class", "100")
    unpack(shared_data, published)
    yield folder, published
    shutil.rmtree(folder)  # 0.6 GB with the decoded images, which pytest would keep for three sessions
    shutil.rmtree(published)


def unpack(shared_data, target, *options):
    command = [sys.executable, shared_data / "unpack.py", "cifar100", target, *options]
    subprocess.run(command, check=True, capture_output=True)


def copy(source, pattern, target):
    for path in source.glob(pattern):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def run(capsys, *words):
    """What a command that must succeed prints."""
    status = main([str(word) for word in words])
    told = capsys.readouterr()
    assert status == 0, told.err
    return told.out


def test_a_folder_of_five_classes_is_learnt_and_distilled(capsys, pictures, train_here):
    """From a folder of pictures to a teacher, two students and their records.

    Chance is 20% of 300 test images right, with a standard deviation of 2.3 points. The bound is twice chance: nearly
    nine of those away, so no network passes that learnt nothing; five seeds of each of the three gave 66% to 81%.
    """
    training = ["--data", "folder:five", "--data-root", pictures, "--epochs", "6", "--batch-size", "32", *ALIKE]
    (teacher, taught), = json.loads(run(capsys, "train", "--model", "resnet8", *training)).items()
    distilled = json.loads(run(capsys, "distill", "--teacher", teacher, "--student", "resnet8", "--seed", "1",
                               "--method", "kd", "--method", "none", *training))

    assert [each["configuration"]["method"] for each in distilled.values()] == ["kd", "none"]
    for record in (taught, *distilled.values()):
        held, scored = record["data"], record["result"]["test"]
        assert held["name"] == "folder:five"
        assert held["classes"] == list(FIVE)
        assert held["size"] == 32
        assert (held["train"], held["labelled"], held["validation"], held["test"]) == (270, 270, 30, 300)
        assert held["digest"] == taught["data"]["digest"]
        assert scored["n"] == 300
        assert scored["top5"] is None
        assert scored["top1"] > 0.4
        assert record["result"]["validation"]["n"] == 30
    assert taught["teacher"] is None
    for record in distilled.values():
        assert record["teacher"]["reference"] == teacher
        assert record["teacher"]["digest"] == taught["files"]["student.safetensors"]
        assert record["teacher"]["test"] == pytest.approx(taught["result"]["test"])
        # They agree at least where both are right, which cannot be on fewer images than this.
        both_right = record["result"]["test"]["top1"] + taught["result"]["test"]["top1"] - 1
        assert record["result"]["test"]["agreement"] >= both_right

    kept = {row["name"]: row for row in results.rows()}
    assert set(distilled) | {teacher} <= set(kept)
    measured = json.loads(run(capsys, "evaluate", teacher, "--data-root", pictures, "--json"))
    assert measured["top1"] == taught["result"]["test"]["top1"]
    assert measured["loss"] == pytest.approx(taught["result"]["test"]["loss"])


def test_cifar100_is_measured_from_an_image_folder(capsys, pictures, tmp_path):
    """The first two test images of each class, scored as a plain loop over the files scores them."""
    copy(pictures, "cifar100/*/*/0000[01].png", tmp_path)
    classes = sorted(path.name for path in (pictures / "cifar100" / "test").iterdir())
    network = models.build("resnet8", classes, seed=3, mean=MEAN, std=STD).eval()
    torch.save(network.net.state_dict(), tmp_path / "foreign.pth")
    path = tmp_path / "network.safetensors"
    run(capsys, "import", tmp_path / "foreign.pth", path, "--model", "resnet8", "--data", "cifar100",
        "--mean", *MEAN, "--std", *STD, "--data-root", tmp_path)
    measured = json.loads(run(capsys, "evaluate", path, "--data-root", tmp_path, "--json"))
    assert tuple(checkpoints.describe(path)["classes"]) == tuple(classes)

    right, losses = [], []
    for label, name in enumerate(classes):
        for file in sorted((tmp_path / "cifar100" / "test" / name).iterdir()):
            pixels = (np.asarray(Image.open(file), dtype=np.float32) / 255 - MEAN) / STD
            with torch.no_grad():
                logits = network.net(torch.tensor(pixels.transpose(2, 0, 1)[None], dtype=torch.float32))
            right.append(logits.argmax().item() == label)
            losses.append(F.cross_entropy(logits, torch.tensor([label])).item())
    assert measured["n"] == len(right) == 200
    assert measured["top1"] == pytest.approx(np.mean(right), abs=1e-9)
    assert measured["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.slow
def test_cifar100_scores_the_same_from_an_image_folder_and_from_the_published_files(capsys, both_forms):
    """A network trained on one form, measured on both: the same 10,000 images, in another order.

    Right by chance is 1% of them, with a standard deviation of 0.1 points; the two short epochs here give about 9%.
    """
    folder, published = both_forms
    (name, trained), = json.loads(run(capsys, "train", "--data", "cifar100", "--data-root", folder,
                                      "--model", "resnet8", "--epochs", "2", *ALIKE)).items()
    assert (trained["data"]["train"], trained["data"]["validation"], trained["data"]["test"]) == (9_000, 1_000, 10_000)
    first, second = (json.loads(run(capsys, "evaluate", name, "--data-root", root, "--json"))
                     for root in (folder, published))
    assert first["n"] == second["n"] == 10_000
    assert first["top1"] == trained["result"]["test"]["top1"] > 0.02
    # In another order images share a batch with others; a last bit may differ, and once in a while a tie's winner.
    for measure in ("top1", "top5", "loss", "calibration_error"):
        assert second[measure] == pytest.approx(first[measure], abs=2e-4)
