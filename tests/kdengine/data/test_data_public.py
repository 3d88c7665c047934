"""Public data sets: where each is found, what is said where it is not, and downloads that fail. Needs no network."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import subprocess
import sys
import urllib.error

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from kdengine import data
from kdengine.data import fashion_mnist
from kdengine.errors import DataMissing, KDError

PUBLIC = ("cifar10", "cifar100", "fashion_mnist", "imagenette", "voc2012", "oxford_pet")
SEGMENTING = ("voc2012", "oxford_pet")


@pytest.fixture(autouse=True)
def no_system_place(tmp_path, monkeypatch):
    """A machine that has Debian's package must not decide what is found."""
    monkeypatch.setattr(fashion_mnist, "SYSTEM_PLACE", tmp_path / "system")


def described(root):
    return {row["name"]: row for row in data.describe(root)}


# --- what there is ------------------------------------------------------------------------------------------------


def test_every_data_set_is_described_in_display_order(tmp_path):
    rows = data.describe(tmp_path / "not made yet")
    drawn = ("digits", "shapes", "shapes_tied", "shapes_segmentation")
    assert [row["name"] for row in rows] == [*drawn, *PUBLIC, "folder"] == list(data.SOURCES)
    assert [row["present"] for row in rows] == [True] * 4 + [False] * 7
    assert [row["classes"] for row in rows] == [10, 10, 10, 11, 10, 100, 10, 10, 21, 3, None]
    assert [row["download_bytes"] is not None for row in rows] == [False] * 4 + [True] * 6 + [False]
    assert {row["name"] for row in rows if row["task"] == "segmentation"} == {"shapes_segmentation", *SEGMENTING}
    for row in rows:
        assert row["title"]
        assert row["summary"]
        assert (row["found"] is not None) == row["present"]


def test_image_folders_in_the_root_are_described_and_public_ones_not_twice(make_folder, tmp_path):
    flowers = make_folder("flowers", train={"a": 1, "b": 1, "c": 1}, test={"a": 1})
    cifar = make_folder("cifar10", train={"a": 1, "b": 1}, test={"a": 1})
    make_folder("imagenette2-160", train={"a": 1, "b": 1}, val={"a": 1})
    make_folder("no-splits", other={"a": 1})
    rows = described(tmp_path)
    assert list(rows) == [*data.SOURCES, "folder:flowers"]
    assert (rows["folder:flowers"]["found"], rows["folder:flowers"]["classes"]) == (str(flowers), 3)
    assert rows["cifar10"]["found"] == str(cifar)
    assert rows["imagenette"]["present"]
    assert rows["folder"]["present"]


def test_describing_imports_neither_torchvision_nor_scikit_learn():
    code = ("import sys; from kdengine import data; data.describe(); "
            "print([name for name in ('torchvision', 'sklearn', 'scipy') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("name", "size"), list(zip(PUBLIC, (170, 169, 31, 99, 2000, 811), strict=True)))
def test_a_missing_one_says_its_size_and_the_two_ways_out(tmp_path, name, size):
    with pytest.raises(DataMissing) as caught:
        data.load(name, root=tmp_path)
    told = str(caught.value)
    assert f"({size} MB)" in told
    assert f"`python -m kdengine data {name} --download`" in told
    assert str(tmp_path / name) in told
    assert caught.value.download_bytes == data.SOURCES[name].download_bytes
    assert round(caught.value.download_bytes / 1e6) == size


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in SEGMENTING])
def test_each_is_read_as_an_image_folder_of_its_name(make_folder, tmp_path, name):
    make_folder(name, train={"x": 12, "y": 11}, val={"x": 2}, test={"x": 1, "y": 1})
    found = data.load(name, root=tmp_path)
    assert (found.name, found.title, found.views) == (name, data.SOURCES[name].title, "crop+flip")
    assert (len(found.train), len(found.validation), len(found.test)) == (23, 2, 2)
    assert found.classes == ("x", "y")


@pytest.mark.parametrize("name", SEGMENTING)
def test_each_with_masks_is_read_as_a_mask_folder_of_its_name(make_mask_folder, tmp_path, name):
    make_mask_folder(name, train=3, val=2, test=1)
    found = data.load(name, root=tmp_path, image_size=16)
    assert (found.name, found.title, found.views) == (name, data.SOURCES[name].title, "zoom+flip")
    assert (found.task, found.classes) == ("segmentation", ("background", "cat", "dog"))
    assert (len(found.train), len(found.validation), len(found.test)) == (3, 2, 1)


@pytest.mark.parametrize("name", ["cifar10", "voc2012"])
def test_a_folder_of_its_name_that_is_for_the_other_task_is_not_it(make_folder, make_mask_folder, tmp_path, name):
    other = data.SOURCES["cifar10" if name == "voc2012" else "voc2012"].task
    make_folder("voc2012", train={"a": 3, "b": 3}, test={"a": 1})
    make_mask_folder("cifar10", train=3, test=1)
    with pytest.raises(DataMissing, match=f"{data.SOURCES[name].title} is not on this machine"):
        data.load(name, root=tmp_path)
    rows = described(tmp_path)
    assert not rows[name]["present"]
    assert rows[f"folder:{name}"]["task"] == other == data.load(f"folder:{name}", root=tmp_path).task


# --- CIFAR --------------------------------------------------------------------------------------------------------


@pytest.fixture
def make_cifar(tmp_path, monkeypatch):
    """Writes CIFAR files of a few random images under tmp_path, and lets torchvision expect their checksums."""

    def make(name, per_file=20):
        published = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
        count = {"cifar10": 10, "cifar100": 100}[name]
        key = {"cifar10": "labels", "cifar100": "fine_labels"}[name]
        place = tmp_path / published.base_folder
        place.mkdir()
        generator = np.random.default_rng(0)
        written = {}

        def write(filename, held):
            (place / filename).write_bytes(pickle.dumps(held))
            return hashlib.md5((place / filename).read_bytes()).hexdigest()

        for part in ("train_list", "test_list"):
            sums = []
            for filename, _ in getattr(published, part):
                pixels = generator.integers(0, 256, (per_file, 3072), dtype=np.uint8)
                labels = [number % 4 for number in range(per_file)]
                written[filename] = pixels.reshape(-1, 3, 32, 32), labels
                sums.append([filename, write(filename, {"data": pixels, key: labels})])
            monkeypatch.setattr(published, part, sums)
        names = [f"class {number}" for number in range(count)]
        meta = published.meta | {"md5": write(published.meta["filename"], {published.meta["key"]: names})}
        monkeypatch.setattr(published, "meta", meta)
        return place, written

    return make


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_in_torchvisions_layout(make_cifar, tmp_path, name):
    place, written = make_cifar(name)
    assert described(tmp_path)[name]["found"] == str(place)
    found = data.load(name, root=tmp_path)
    *train, test = written.values()
    images = torch.from_numpy(np.concatenate([images for images, _ in train]))
    target = torch.tensor([label for _, labels in train for label in labels])
    assert found.classes == tuple(f"class {number}" for number in range({"cifar10": 10, "cifar100": 100}[name]))
    assert torch.equal(found.test.images, torch.from_numpy(test[0]))
    assert found.test.target.tolist() == test[1]
    assert found.validation.target.bincount().tolist() == [round(len(images) / 40 + 1e-9)] * 4
    position = {image.numpy().tobytes(): number for number, image in enumerate(images)}
    places = []
    for split in (found.train, found.validation):
        numbers = [position[image.numpy().tobytes()] for image in split.images]
        assert split.target.tolist() == target[numbers].tolist()
        assert numbers == sorted(numbers)
        places += numbers
    assert sorted(places) == list(range(len(images)))
    assert data.load(name, root=tmp_path).digest == found.digest
    assert data.load(name, root=tmp_path, image_size=16).train.images.shape[2:] == (16, 16)


def test_published_images_at_their_own_size_are_decoded_once(make_cifar, tmp_path):
    make_cifar("cifar10")
    make_fashion(tmp_path / "FashionMNIST/raw")
    for name, files in (("cifar10", 1), ("fashion_mnist", 2)):
        unasked, asked = (data.load(name, root=tmp_path, image_size=size) for size in (None, 32))
        assert asked.digest == unasked.digest
        assert len(list((tmp_path / ".decoded").iterdir())) == files


def test_a_cifar_file_that_was_not_published_is_never_unpickled(make_cifar, tmp_path):
    place, _ = make_cifar("cifar10")

    class Harm:
        def __reduce__(self):
            return (pathlib_touch, (str(tmp_path / "harmed"),))

    (place / "data_batch_3").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(KDError, match=r"cifar-10-batches-py is damaged: its files are not those"):
        data.load("cifar10", root=tmp_path)
    assert not (tmp_path / "harmed").exists()


def pathlib_touch(path):
    open(path, "w").close()  # noqa: PTH123  what a hostile pickle would call


def test_half_of_cifar_is_not_there(make_cifar, tmp_path):
    place, _ = make_cifar("cifar10")
    (place / "test_batch").unlink()
    assert not described(tmp_path)["cifar10"]["present"]
    with pytest.raises(DataMissing):
        data.load("cifar10", root=tmp_path)
    with pytest.raises(KDError, match=r"cifar-10-batches-py is there but not complete\. Delete it"):
        data.download("cifar10", tmp_path)


# --- Fashion-MNIST ------------------------------------------------------------------------------------------------


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def make_fashion(place, compressed=False):
    place.mkdir(parents=True)
    generator = np.random.default_rng(0)
    written = {}
    for part, count in (("train", 40), ("t10k", 10)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        written[part] = images, labels
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = place / f"{part}-{kind}-ubyte"
            if compressed:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(idx(array)))
            else:
                path.write_bytes(idx(array))
    return written


@pytest.mark.parametrize(("folder", "compressed"), [("FashionMNIST/raw", False), ("system", True)])
def test_fashion_mnist_is_padded_not_stretched(tmp_path, folder, compressed):
    written = make_fashion(tmp_path / folder, compressed)
    assert described(tmp_path)["fashion_mnist"]["found"] == str(tmp_path / folder)
    found = data.load("fashion_mnist", root=tmp_path)
    images, labels = written["t10k"]
    assert found.classes[0] == "T-shirt/top"
    assert found.classes[9] == "Ankle boot"
    assert found.test.images.shape == (10, 3, 32, 32)
    for channel in range(3):
        assert torch.equal(found.test.images[:, channel, 2:30, 2:30], torch.from_numpy(images))
    assert found.test.images.sum() == 3 * int(images.sum(dtype=np.int64))  # the border is black
    assert found.test.target.tolist() == labels.tolist()
    assert (len(found.train), len(found.validation)) == (30, 10)  # a class of four gives one


def test_torchvision_reads_the_same_fashion_mnist(tmp_path):
    make_fashion(tmp_path / "FashionMNIST/raw")
    theirs = datasets.FashionMNIST(tmp_path, train=False)
    ours = data.load("fashion_mnist", root=tmp_path)
    assert torch.equal(ours.test.images[:, 0, 2:30, 2:30], theirs.data)
    assert torch.equal(ours.test.target, theirs.targets)
    assert list(ours.classes) == theirs.classes


@pytest.mark.parametrize("damage", [lambda whole: whole[:1000], lambda whole: b"", lambda whole: b"\1" + whole[1:],
                                    lambda whole: whole + b"\0", lambda whole: whole[:6], lambda whole: whole[:4]])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_idx_file_is_named(tmp_path, damage, compressed):
    make_fashion(tmp_path / "FashionMNIST/raw", compressed)
    path = tmp_path / "FashionMNIST/raw" / ("t10k-images-idx3-ubyte" + (".gz" if compressed else ""))
    whole = gzip.decompress(path.read_bytes()) if compressed else path.read_bytes()
    path.write_bytes(gzip.compress(damage(whole)) if compressed else damage(whole))
    with pytest.raises(KDError, match=rf"{path.name} is damaged or cut short"):
        data.load("fashion_mnist", root=tmp_path)


def test_a_cut_gzip_is_named(tmp_path):
    make_fashion(tmp_path / "FashionMNIST/raw", compressed=True)
    path = tmp_path / "FashionMNIST/raw/t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(KDError, match=r"idx3-ubyte\.gz is damaged or cut short"):
        data.load("fashion_mnist", root=tmp_path)


def test_labels_of_another_file_are_refused(tmp_path):
    make_fashion(tmp_path / "FashionMNIST/raw")
    place = tmp_path / "FashionMNIST/raw"
    (place / "t10k-labels-idx1-ubyte").write_bytes((place / "train-labels-idx1-ubyte").read_bytes())
    with pytest.raises(KDError, match="do not belong together"):
        data.load("fashion_mnist", root=tmp_path)


# --- Imagenette ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["imagenette2-160", "imagenette"])
def test_imagenette_has_readable_names(make_folder, tmp_path, place):
    ids = list(datasets.Imagenette._WNID_TO_CLASS)
    folder = make_folder(place, size=(20, 16), suffix=".jpg", train=dict.fromkeys(ids, 2), val=dict.fromkeys(ids, 1))
    found = data.load("imagenette", root=tmp_path)
    assert found.classes == tuple(names[0] for names in datasets.Imagenette._WNID_TO_CLASS.values())
    assert (found.classes[0], found.classes[6], found.size) == ("tench", "garbage truck", 64)
    assert (len(found.train), len(found.validation), len(found.test)) == (10, 10, 10)
    assert data.load("imagenette", root=tmp_path, image_size=96).size == 96
    as_folder = data.load(f"folder:{folder}", root=tmp_path)  # the same files under a key of their own: other names
    assert as_folder.classes == tuple(ids)
    assert torch.equal(as_folder.test.images, found.test.images)


# --- downloads ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize("failure", [urllib.error.URLError("no route to host"), TimeoutError("timed out"),
                                     ConnectionResetError(104, "Connection reset by peer")])
def test_without_a_network_a_download_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch, name, failure):
    def unreachable(*_arguments, **_options):
        raise failure

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(KDError, match=f"The download of {data.SOURCES[name].title} failed: .*Nothing was kept"):
        data.download(name, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not described(tmp_path)[name]["present"]


def test_a_download_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    class BreaksOff:
        def __init__(self, root, download):
            assert download
            make_fashion(root / "FashionMNIST/raw")
            raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(datasets, "FashionMNIST", BreaksOff)
    with pytest.raises(KDError, match=r"failed: File not found or corrupted\."):
        data.download("fashion_mnist", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_appears_whole_and_is_not_repeated(tmp_path, monkeypatch):
    class Downloads:
        count = 0

        def __init__(self, root, download):
            assert download
            Downloads.count += 1
            make_fashion(root / "FashionMNIST/raw")
            assert not described(tmp_path)["fashion_mnist"]["present"]

    left = tmp_path / ".fashion_mnist.elsewhere.1.7.partial"  # by a process that was killed
    left.mkdir()
    os.utime(left, (1000, 1000))
    monkeypatch.setattr(datasets, "FashionMNIST", Downloads)
    data.download("fashion_mnist", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["FashionMNIST"]
    assert len(data.load("fashion_mnist", root=tmp_path).test) == 10
    data.download("fashion_mnist", tmp_path)
    assert Downloads.count == 1


def test_a_root_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(KDError, match=r"cannot be written to .*file/data: Not a directory.*KDENGINE_DATA"):
        data.download("cifar10", tmp_path / "file/data")


def test_an_image_that_is_there_needs_no_download(make_folder, tmp_path):
    place = make_folder("cifar10", train={"a": 1, "b": 1}, test={"a": 1})
    data.download("cifar10", tmp_path)
    assert Image.open(place / "test/a/000.png").size == (16, 16)
