"""What is told of data before they are loaded is what loading finds, and is told without opening a picture."""

import pytest
import torch
from PIL import Image

from kdengine import data
from kdengine.data import content, pictures
from kdengine.errors import DataMissing, KDError
from kdengine.losses import IGNORE
from tests.kdengine import tiny


def write(place, *, side=(40, 40), names=("one", "two"), counts=(7, 5), splits=("train", "test")):
    for split in splits:
        for name, count in zip(names, counts, strict=True):
            (place / split / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", side, (number, 0, 0)).save(place / split / name / f"{number}.png")


@pytest.mark.parametrize("spec", ["digits", "shapes", "shapes_segmentation", "folder:pictures", "folder:wide",
                                  "folder:validated", "folder:tiles", "folder:unheld",
                                  "folder:unsplit", "cifar100", "imagenette", "oxford_pet"])
@pytest.mark.parametrize("image_size", [None, 48])
def test_it_says_of_data_what_loading_finds(tmp_path, monkeypatch, spec, image_size):
    root = tmp_path / "data"
    write(root / "pictures")
    write(root / "wide", side=(100, 80))
    write(root / "validated", splits=("train", "val", "test"))
    write(root / "cifar100")
    write(root / "imagenette", names=("n01440764", "n02102040"))
    tiny.write_tiles(root / "tiles", train=6, val=2, test=2)
    tiny.write_tiles(root / "unheld", train=9, test=2)
    tiny.write_tiles(root / "unsplit", **{".": 14})
    tiny.write_tiles(root / "oxford_pet", train=6, val=2, test=2)
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "read_picture", lambda *_: pytest.fail("it opens pictures"))
        known = data.outline(spec, image_size=image_size)
    held = data.load(spec, image_size=image_size)
    assert (known.task, known.classes) == (held.task, held.classes)
    assert known.size == held.size or (known.size is None and spec in (
        "folder:pictures", "folder:validated", "cifar100", "imagenette") and image_size is None)
    if held.task == "classification":
        assert known.smallest == torch.bincount(held.train.target).min()
    else:
        assert known.smallest == len(held.train)


@pytest.mark.parametrize("spec", ["digits", "folder:pictures"])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_it_refuses_as_many_labels_as_loading_does(tmp_path, spec, share):
    write(tmp_path / "data" / "pictures")
    most = content.share_count(data.outline(spec).smallest, share)
    for asked in (most, most + 1):
        refused = []
        for look in (data.outline, data.load):
            try:
                look(spec, share=share, labels_per_class=asked)
            except KDError as error:
                refused.append(str(error).partition(", all")[0])
        assert len(refused) == 2 * (asked > most)
        assert len(set(refused)) <= 1
    held = data.load(spec, share=share, labels_per_class=most)
    assert (held.train.target != IGNORE).sum() == most * len(held.classes)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_it_refuses_as_many_masks_as_loading_does(tmp_path, share):
    tiny.write_tiles(tmp_path / "data" / "tiles", train=6, val=2, test=2)
    most = round(6 * share)
    for look in (data.outline, data.load):
        look("folder:tiles", share=share, labelled_images=most)
        with pytest.raises(KDError, match=rf"labelled_images is {most + 1}; allowed is from 1 to {most}"):
            look("folder:tiles", share=share, labelled_images=most + 1)


def test_the_classes_of_a_published_data_set_are_known_without_it(shared_data):
    import pickle

    for name, key in (("cifar10", "label_names"), ("cifar100", "fine_label_names")):
        folder = {"cifar10": "cifar-10-batches-py/batches.meta", "cifar100": "cifar-100-python/meta"}[name]
        assert data.known_classes(name) == tuple(pickle.loads((shared_data / folder).read_bytes())[key])
        with pytest.raises(DataMissing):
            data.outline(name)


def test_known_classes_are_as_many_as_the_list_says_and_none_stands_twice():
    for name, source in data.SOURCES.items():
        known = data.known_classes(name)
        if known is not None:
            assert len(set(known)) == len(known) == source.classes, name
    assert [name for name in data.SOURCES if data.known_classes(name)] == [
        "cifar10", "cifar100", "fashion_mnist", "imagenette", "voc2012", "oxford_pet"]
