"""CIFAR-100 itself, in both of its forms, where the real pictures lie beside the project."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from kdengine import data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unpacked(shared_data, tmp_path_factory):
    """One root with the published files, one with an image folder of the first 20 images of each class."""
    published, folder = tmp_path_factory.mktemp("published"), tmp_path_factory.mktemp("folder")
    for target, options in ((published, ()), (folder, ("--folder", "--per-class", "20"))):
        command = [sys.executable, shared_data / "unpack.py", "cifar100", target, *options]
        subprocess.run(command, check=True, capture_output=True)
    yield published, folder
    (published / "cifar-100-python/train").unlink()  # 150 MB that pytest would keep for three sessions


def test_both_forms_are_the_same_data_set(unpacked):
    published, folder = (data.load("cifar100", root=root) for root in unpacked)
    assert (len(published.train), len(published.validation), len(published.test)) == (45_000, 5_000, 10_000)
    assert (len(folder.train), len(folder.validation), len(folder.test)) == (1_800, 200, 2_000)
    assert published.classes == folder.classes
    assert (len(folder.classes), folder.classes[0], folder.classes[99]) == (100, "apple", "worm")
    assert published.size == folder.size == 32
    assert (published.train.target.bincount() == 450).all()
    assert (published.validation.target.bincount() == 50).all()
    for name in ("train", "test"):  # each image of the folder is a published one of the same class
        parts = [published.train, published.validation] if name == "train" else [published.test]
        known = {
            image.numpy().tobytes(): label
            for part in parts for image, label in zip(part.images, part.target.tolist(), strict=True)
        }
        split = getattr(folder, name)
        assert [known[image.numpy().tobytes()] for image in split.images] == split.target.tolist()


def test_normalisation_is_the_one_everybody_uses(unpacked):
    """The usual constants of CIFAR-100's training set (.5071 .4865 .4409, .2673 .2564 .2762); 45,000 of it here."""
    found = data.load("cifar100", root=unpacked[0])
    assert found.mean == pytest.approx((0.5071, 0.4865, 0.4409), abs=1e-3)
    assert found.std == pytest.approx((0.2673, 0.2564, 0.2762), abs=1e-3)


def test_cached_and_decoded_are_one(unpacked):
    root = unpacked[0]
    first = data.load("cifar100", root=root)
    for path in (root / ".decoded").iterdir():
        path.unlink()
    again = data.load("cifar100", root=root)
    assert again.digest == first.digest
    assert torch.equal(again.train.images, first.train.images)
