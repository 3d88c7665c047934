"""VOC 2012 and Oxford-IIIT Pet from small copies of their published layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from kdengine import data
from kdengine.data import public_masks
from kdengine.errors import KDError
from kdengine.losses import IGNORE

SIZE = 24
PALETTE = [each % 7 for each in range(768)]
"""Colours that say nothing of the classes."""
VOC_TRAIN, VOC_TEST = ("2007_000032", "2007_000039", "2011_003271"), ("2007_000033", "2010_000001")
PET_TRAIN, PET_TEST = ("Abyssinian_1", "beagle_10", "pug_7"), ("Abyssinian_201", "Bombay_2")


def noise(generator, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(generator.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)


def mask(generator, path, values, palette=None):
    """A PNG of the given values, or of places in a palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(generator.choice(np.array(values, dtype=np.uint8), (SIZE, SIZE)))
    if palette:
        image.putpalette(palette)
    image.save(path)


def make_voc(root):
    """Masks with every class, and 255 for the border that nobody decided."""
    generator, place = np.random.default_rng(0), root / "VOCdevkit" / "VOC2012"
    for name in (*VOC_TRAIN, *VOC_TEST, "2012_not_listed"):
        noise(generator, place / "JPEGImages" / f"{name}.jpg")
        mask(generator, place / "SegmentationClass" / f"{name}.png", [*range(21), 255], PALETTE)
    for split, names in (("train", VOC_TRAIN), ("val", VOC_TEST)):
        path = place / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in names))
    return place


def make_pet(root):
    """Trimaps: 1 pet, 2 background, 3 border. A line of a list is a name, then three numbers that say the breed."""
    generator, place = np.random.default_rng(1), root / "oxford-iiit-pet"
    for name in (*PET_TRAIN, *PET_TEST):
        noise(generator, place / "images" / f"{name}.jpg")
        mask(generator, place / "annotations" / "trimaps" / f"{name}.png", [1, 2, 3])
    (place / "annotations" / "trimaps" / f"._{PET_TRAIN[0]}.png").write_bytes(b"left over by another system")
    for split, names in (("trainval", PET_TRAIN), ("test", PET_TEST)):
        (place / "annotations" / f"{split}.txt").write_text("".join(f"{name} 1 2 1\n" for name in names))
    return place


def values(image):
    return torch.from_numpy(np.array(image).astype(np.int64))


def test_voc_is_read_from_its_lists_with_its_own_numbers(tmp_path):
    place = make_voc(tmp_path)
    row = next(row for row in data.describe(tmp_path) if row["name"] == "voc2012")
    assert (row["present"], row["found"]) == (True, str(place.parent))
    found = data.load("voc2012", root=tmp_path, image_size=SIZE)
    assert (found.task, found.views, found.title) == ("segmentation", "zoom+flip", "PASCAL VOC 2012")
    assert len(found.classes) == 21
    assert (found.classes[0], found.classes[1], found.classes[15], found.classes[20]) == (
        "background", "aeroplane", "person", "television")
    # A tenth of the training images, at least one, is held out to select by; the published val is the test split.
    assert [len(split) for split in (found.train, found.validation, found.test)] == [2, 1, 2]
    for name, ours in zip(VOC_TEST, found.test.target, strict=True):
        held = values(Image.open(place / "SegmentationClass" / f"{name}.png"))
        assert torch.equal(ours.long(), torch.where(held == 255, IGNORE, held))
    assert found.test.target.unique().tolist() == [IGNORE, *range(21)]


def test_torchvision_reads_the_same_voc(tmp_path):
    make_voc(tmp_path)
    theirs = datasets.VOCSegmentation(str(tmp_path), year="2012", image_set="val")
    ours = data.load("voc2012", root=tmp_path, image_size=SIZE).test
    assert len(theirs) == len(ours)
    for (image, held), pixels, target in zip(theirs, ours.images, ours.target, strict=True):
        assert torch.equal(values(image).permute(2, 0, 1), pixels.long())
        assert torch.equal(torch.where(values(held) == 255, IGNORE, values(held)), target.long())


def test_pets_are_read_from_their_lists_and_counted_from_0(tmp_path):
    place = make_pet(tmp_path)
    row = next(row for row in data.describe(tmp_path) if row["name"] == "oxford_pet")
    assert (row["present"], row["found"]) == (True, str(place))
    found = data.load("oxford_pet", root=tmp_path, image_size=SIZE)
    assert (found.task, found.classes) == ("segmentation", ("pet", "background", "border"))
    assert [len(split) for split in (found.train, found.validation, found.test)] == [2, 1, 2]
    for name, ours in zip(PET_TEST, found.test.target, strict=True):
        held = values(Image.open(place / "annotations" / "trimaps" / f"{name}.png"))
        assert torch.equal(ours.long(), held - 1)
    assert found.train.target.unique().tolist() == [0, 1, 2]


def test_a_pixel_without_a_number_of_a_trimap_counts_nowhere(tmp_path):
    place = make_pet(tmp_path)
    Image.fromarray(np.zeros((SIZE, SIZE), dtype=np.uint8)).save(
        place / "annotations" / "trimaps" / f"{PET_TEST[0]}.png")
    assert (data.load("oxford_pet", root=tmp_path, image_size=SIZE).test.target[0] == IGNORE).all()


def test_torchvision_reads_the_same_pets(tmp_path):
    make_pet(tmp_path)
    theirs = datasets.OxfordIIITPet(str(tmp_path), split="test", target_types="segmentation")
    ours = data.load("oxford_pet", root=tmp_path, image_size=SIZE).test
    assert len(theirs) == len(ours)
    for (image, held), pixels, target in zip(theirs, ours.images, ours.target, strict=True):
        assert torch.equal(values(image).permute(2, 0, 1), pixels.long())
        assert torch.equal(values(held) - 1, target.long())


@pytest.mark.parametrize(("source", "make", "lists"), [
    (public_masks.VOC2012, make_voc,
     [f"VOC2012/ImageSets/Segmentation/{split}.txt" for split in ("train", "val")]),
    (public_masks.OXFORD_PET, make_pet, ["annotations/trainval.txt", "annotations/test.txt"]),
])
def test_without_one_of_its_lists_it_is_not_there(tmp_path, source, make, lists):
    make(tmp_path)
    for name in lists:
        path = tmp_path / source.layout / name
        held = path.read_bytes()
        assert source.found(tmp_path) is not None
        path.unlink()
        assert source.found(tmp_path) is None
        path.write_bytes(held)


def test_a_listed_picture_that_is_not_there_is_named(tmp_path):
    place = make_voc(tmp_path)
    (place / "SegmentationClass" / f"{VOC_TRAIN[1]}.png").unlink()
    with pytest.raises(KDError, match=rf"{VOC_TRAIN[1]}\.png cannot be read: No such file"):
        data.load("voc2012", root=tmp_path, image_size=SIZE)


def test_a_list_that_is_no_text_is_named(tmp_path):
    place = make_pet(tmp_path)
    (place / "annotations" / "test.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KDError, match=r"annotations/test\.txt cannot be read as text"):
        data.load("oxford_pet", root=tmp_path, image_size=SIZE)


@pytest.mark.parametrize(("name", "make", "loader"), [
    ("voc2012", make_voc, "VOCSegmentation"), ("oxford_pet", make_pet, "OxfordIIITPet"),
])
def test_a_download_appears_whole(tmp_path, monkeypatch, name, make, loader):
    def downloads(root, *_arguments, download, **_options):
        assert download
        make(Path(root))
        assert data.SOURCES[name].found(tmp_path) is None

    monkeypatch.setattr(datasets, loader, downloads)
    data.download(name, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [data.SOURCES[name].layout]
    assert len(data.load(name, root=tmp_path, image_size=SIZE).test) == 2
