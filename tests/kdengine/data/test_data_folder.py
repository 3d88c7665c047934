"""Image folders, end to end: roles of the splits, sizes, the cache, and a sentence for everything that can be wrong."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from PIL import Image

from kdengine import data
from kdengine.data.cache import FOLDER
from kdengine.errors import KDError


def cached(root):
    return sorted((root / FOLDER).glob("*"))


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)


# --- end to end ---------------------------------------------------------------------------------------------------


def test_three_splits(make_folder, tmp_path):
    place = make_folder(train={"tulip": 3, "rose": 2}, val={"rose": 1, "tulip": 1}, test={"tulip": 2})
    flowers = data.load("folder:flowers", root=tmp_path)
    assert (flowers.name, flowers.title, flowers.views, flowers.size) == ("folder:flowers", "flowers", "crop+flip", 16)
    assert flowers.classes == ("rose", "tulip")
    assert flowers.train.target.tolist() == [0, 0, 1, 1, 1]
    assert flowers.validation.target.tolist() == [0, 1]
    assert flowers.test.target.tolist() == [1, 1]
    names = ["rose/000", "rose/001", "tulip/000", "tulip/001", "tulip/002"]
    for image, name in zip(flowers.train.images, names, strict=True):
        assert torch.equal(image, pixels(place / "train" / f"{name}.png"))
    assert torch.equal(flowers.test.images[1], pixels(place / "test/tulip/001.png"))
    assert torch.equal(data.load(f"folder:{place}", root=tmp_path / "elsewhere").train.images, flowers.train.images)


@pytest.mark.parametrize("only", ["test", "val", "validation"])
def test_the_only_other_split_is_test_and_a_tenth_of_train_selects(make_folder, tmp_path, only):
    place = make_folder(train={"a": 20, "b": 10}, **{only: {"a": 2, "b": 1}})
    found = data.load("folder:flowers", root=tmp_path)
    assert found.test.target.tolist() == [0, 0, 1]
    assert torch.equal(found.test.images[2], pixels(place / only / "b/000.png"))
    assert found.validation.target.tolist() == [0, 0, 1]
    assert found.train.target.bincount().tolist() == [18, 9]
    both = torch.cat([found.train.images, found.validation.images])
    assert len({image.numpy().tobytes() for image in both}) == 30


def test_every_allowed_ending_in_either_case_and_nothing_else(make_folder, tmp_path):
    place = make_folder(train={"a": 2, "b": 2}, test={"a": 1})
    for name in ("x.PNG", "x.jpg", "x.JPEG", "x.webp", "x.Bmp"):
        Image.new("RGB", (16, 16)).save(place / "train/a" / name)
    for name in (".DS_Store", "._x.jpg", "notes.txt", "Thumbs.db"):
        (place / "train/a" / name).write_bytes(b"not a picture")
    (place / "train/.ipynb_checkpoints").mkdir()
    (place / "train/readme.png").write_bytes(b"not in a class folder")
    found = data.load("folder:flowers", root=tmp_path)
    assert len(found.train) + len(found.validation) == 2 + 5 + 2
    assert found.classes == ("a", "b")


@pytest.mark.parametrize(
    ("size", "asked", "expected"),
    [((16, 16), None, 16), ((64, 64), None, 64), ((65, 65), None, 64), ((16, 17), None, 64), ((16, 16), 24, 24)],
)
def test_the_size_is_the_images_own_where_it_can_be(make_folder, tmp_path, size, asked, expected):
    make_folder(size=size, train={"a": 2, "b": 2}, test={"a": 1, "b": 1})
    found = data.load("folder:flowers", root=tmp_path, image_size=asked)
    assert found.size == expected
    assert found.train.images.shape[2:] == (expected, expected)


def test_one_image_of_another_size_makes_it_the_default(make_folder, tmp_path):
    place = make_folder(train={"a": 2, "b": 2}, test={"a": 1, "b": 1})
    Image.new("RGB", (17, 17)).save(place / "test/b/000.png")
    assert data.load("folder:flowers", root=tmp_path).size == 64


# --- as people lay them ------------------------------------------------------------------------------------------


def test_what_was_read_rightly_is_read_as_before(make_folder, tmp_path):
    """The digest that these pixels had before folders were looked at more closely."""
    make_folder(train={"tulip": 3, "rose": 2}, val={"rose": 1, "tulip": 1}, test={"tulip": 2})
    found = data.load("folder:flowers", root=tmp_path)
    assert found.digest == "847848c6a52067c6"
    assert found.notes == ()


@pytest.mark.parametrize(("names", "notes"), [
    (("Train", "Val", "Test"), ("The folder Train was taken as the train split.",
                                "The folder Val was taken as the validation split.",
                                "The folder Test was taken as the test split.")),
    (("train", "valid", "test"), ("The folder valid was taken as the validation split.",)),
    (("TRAINING", "validation", "testing"), ("The folder TRAINING was taken as the train split.",
                                             "The folder testing was taken as the test split.")),
])
def test_splits_of_other_names_are_taken_and_said(make_folder, tmp_path, names, notes):
    train, validation, test = names
    place = make_folder(**{train: {"a": 3, "b": 2}, validation: {"a": 1, "b": 2}, test: {"b": 1}})
    found = data.load("folder:flowers", root=tmp_path)
    assert [len(each) for each in (found.train, found.validation, found.test)] == [5, 3, 1]
    assert torch.equal(found.validation.images[1], pixels(place / validation / "b/000.png"))
    assert found.notes == notes
    assert "folder:flowers" in {row["name"] for row in data.describe(tmp_path)}


@pytest.mark.parametrize(("only", "notes"), [
    ("test", ("There is no folder val: a tenth of train was held out to select by.",)),
    ("val", ("There is no folder test: val was taken as the test split, and a tenth of train was held out to select "
             "by.",)),
    ("Valid", ("There is no folder test: Valid was taken as the test split, and a tenth of train was held out to "
               "select by.",)),
])
def test_validation_that_reports_is_said(make_folder, tmp_path, only, notes):
    make_folder(train={"a": 20, "b": 10}, **{only: {"a": 2, "b": 1}})
    found = data.load("folder:flowers", root=tmp_path)
    assert [len(each) for each in (found.train, found.validation, found.test)] == [27, 3, 3]
    assert found.notes == notes


def test_tiffs_and_gifs_are_read(make_folder, tmp_path):
    place = make_folder(train={"a": 2, "b": 2}, test={"a": 1})
    generator = np.random.default_rng(7)
    for name in ("1.tif", "2.TIFF", "3.gif"):
        image = Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        image.save(place / "test/a" / name)
    found = data.load("folder:flowers", root=tmp_path)
    assert len(found.test) == 4
    assert torch.equal(found.test.images[1], pixels(place / "test/a/1.tif"))
    assert torch.equal(found.test.images[2], pixels(place / "test/a/2.TIFF"))
    assert len(found.notes) == 1  # of these none was left out; what selects is said


def test_what_is_left_out_is_counted_and_named(make_folder, tmp_path):
    place = make_folder(train={"a": 2, "b": 2}, test={"a": 1})
    for name in ("train/a/1.heic", "train/a/.hidden", "train/b/notes.txt", "train/loose.png", "Thumbs.db"):
        (place / name).write_bytes(b"?")
    for name in ("more", "test/a/deeper"):
        (place / name).mkdir()
    found = data.load("folder:flowers", root=tmp_path)
    assert found.notes == (
        "6 files or folders were left out: Thumbs.db, more, train/loose.png and 3 more. Read are pictures (.png, .jpg, "
        ".jpeg, .webp, .bmp, .gif, .tif, .tiff) in the places where they belong.",
        "There is no folder val: a tenth of train was held out to select by.")
    assert data.load("folder:flowers", root=tmp_path).notes == found.notes  # from the cache
    assert len(cached(tmp_path)) == 1


def test_class_folders_without_splits_are_split_the_same_way_every_time(make_folder, tmp_path):
    place = make_folder("flat", rose={"": 20}, tulip={"": 10})
    found = data.load("folder:flat", root=tmp_path)
    assert found.classes == ("rose", "tulip")
    assert [each.target.bincount().tolist() for each in (found.train, found.validation, found.test)] == [
        [16, 8], [2, 1], [2, 1]]
    every = torch.cat([each.images for each in (found.train, found.validation, found.test)])
    assert len({image.numpy().tobytes() for image in every}) == 30
    shutil.copytree(place, tmp_path / "elsewhere" / "flat")
    assert data.load("folder:flat", root=tmp_path / "elsewhere").digest == found.digest
    assert found.notes == ("There are no folders train and test, so the pictures were split here, the same way every "
                           "time: 24 train, 3 validation, 3 test.",)


def test_class_folders_too_small_to_be_split_are_refused(make_folder, tmp_path):
    make_folder("flat", rose={"": 2}, tulip={"": 1})
    with pytest.raises(KDError, match="no class has three pictures to split into train, validation and test"):
        data.load("folder:flat", root=tmp_path)


def test_two_folders_for_one_split_are_refused(make_folder, tmp_path):
    make_folder(train={"a": 2, "b": 2}, Test={"a": 1}, testing={"a": 1})
    with pytest.raises(KDError, match=r"flowers has both Test and testing, which mean the same: test\. Keep one"):
        data.load("folder:flowers", root=tmp_path)
    assert "folder:flowers" in {row["name"] for row in data.describe(tmp_path)}


# --- the cache ----------------------------------------------------------------------------------------------------


def same(one, other):
    assert one.digest == other.digest
    assert one.classes == other.classes
    for name in ("train", "validation", "test"):
        assert torch.equal(getattr(one, name).images, getattr(other, name).images)
        assert torch.equal(getattr(one, name).target, getattr(other, name).target)


@pytest.fixture
def undecodable(monkeypatch):
    """From here on, decoding a picture fails the test."""

    def forbid():
        monkeypatch.setattr("kdengine.data.folder.read_picture", lambda path: pytest.fail(f"{path} was decoded"))

    return forbid


def test_the_second_load_decodes_nothing(make_folder, tmp_path, undecodable):
    make_folder(train={"a": 12, "b": 10}, test={"a": 1})
    first = data.load("folder:flowers", root=tmp_path)
    assert [path.suffix for path in cached(tmp_path)] == [".safetensors"]  # nothing half-written is left
    undecodable()
    same(first, data.load("folder:flowers", root=tmp_path))
    same(first, data.load("folder:flowers", root=tmp_path, labels_per_class=None, share=1))
    assert data.load("folder:flowers", root=tmp_path, share=0.5).digest == first.digest


def test_what_a_killed_process_left_half_written_is_swept_when_something_is_kept(make_folder, tmp_path):
    make_folder(train={"a": 12, "b": 10}, test={"a": 1})
    (tmp_path / FOLDER).mkdir()
    left = tmp_path / FOLDER / ".x.safetensors.elsewhere.1.7.partial"
    left.touch()
    os.utime(left, (1000, 1000))
    data.load("folder:flowers", root=tmp_path)
    assert [path.suffix for path in cached(tmp_path)] == [".safetensors"]


@pytest.mark.parametrize("damage", ["cut", "pixel", "empty", "header", "stranger"])
def test_a_damaged_cache_file_is_rebuilt(make_folder, tmp_path, undecodable, damage):
    make_folder(train={"a": 12, "b": 10}, test={"a": 1})
    first = data.load("folder:flowers", root=tmp_path)
    path, = cached(tmp_path)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[-5] ^= 1
    path.write_bytes({
        "cut": whole[: len(whole) // 2], "pixel": bytes(changed), "empty": b"", "header": b"\xff" * 64,
        "stranger": (2).to_bytes(8, "little") + b"{}",
    }[damage])
    same(first, data.load("folder:flowers", root=tmp_path))
    assert path.read_bytes() == whole
    undecodable()
    same(first, data.load("folder:flowers", root=tmp_path))


def test_a_cache_file_cut_while_in_use_does_not_touch_what_was_loaded(make_folder, tmp_path):
    make_folder(train={"a": 12, "b": 10}, test={"a": 1})
    first = data.load("folder:flowers", root=tmp_path)
    from_cache = data.load("folder:flowers", root=tmp_path)
    path, = cached(tmp_path)
    os.truncate(path, 0)
    same(first, from_cache)


def test_a_changed_renamed_moved_or_added_image_is_another_key(make_folder, tmp_path):
    place = make_folder(train={"a": 3, "b": 3}, val={"a": 2}, test={"a": 1, "b": 1})
    digests = [data.load("folder:flowers", root=tmp_path).digest]

    def count_after(change):
        change()
        digests.append(data.load("folder:flowers", root=tmp_path).digest)
        return len(cached(tmp_path))

    assert count_after(lambda: Image.new("RGB", (16, 16)).save(place / "train/a/001.png")) == 2
    assert count_after(lambda: (place / "train/a/001.png").rename(place / "train/a/009.png")) == 3
    assert count_after(lambda: (place / "val").rename(place / "validation")) == 4
    assert count_after(lambda: (place / "test/b/000.png").rename(place / "train/b/003.png") and
                       (place / "test/b").rmdir()) == 5
    assert count_after(lambda: None) == 5
    assert digests[2] == digests[3]  # validation is val by another name
    assert len(set(digests)) == 4


def test_another_size_is_another_key(make_folder, tmp_path):
    make_folder(train={"a": 3, "b": 3}, test={"a": 1})
    assert [data.load("folder:flowers", root=tmp_path, image_size=size).size for size in (None, 8, 16)] == [16, 8, 16]
    assert len(cached(tmp_path)) == 3


def test_a_copy_elsewhere_has_the_same_key(make_folder, tmp_path, undecodable):
    place = make_folder(train={"a": 12, "b": 10}, test={"a": 1})
    first = data.load("folder:flowers", root=tmp_path)
    shutil.copytree(place, tmp_path / "copy")
    undecodable()
    same(first, data.load("folder:copy", root=tmp_path))


def test_a_root_that_cannot_be_written_to_is_no_obstacle(make_folder, tmp_path):
    """A file where the cache's folder would be: unwritable for every user, root included."""
    make_folder(train={"a": 12, "b": 10}, test={"a": 1})
    (tmp_path / FOLDER).write_text("in the way")
    same(data.load("folder:flowers", root=tmp_path), data.load("folder:flowers", root=tmp_path))
    assert (tmp_path / FOLDER).read_text() == "in the way"


def test_a_full_disk_is_no_obstacle_and_leaves_nothing(make_folder, tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def full(tensors, path, metadata):
        path.write_bytes(b"the beginning")
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    make_folder(train={"a": 12, "b": 10}, test={"a": 1})
    assert len(data.load("folder:flowers", root=tmp_path).train) == 20
    assert cached(tmp_path) == []


def test_loads_at_the_same_time_agree_and_leave_one_file(make_folder, tmp_path, monkeypatch):
    """All decode before any writes, so that every one of them writes the same file."""
    from kdengine.data import cache

    make_folder(train={"a": 20, "b": 20}, test={"a": 1})
    write, together = cache._write, Barrier(3)

    def write_together(path, content):
        together.wait(timeout=60)
        write(path, content)

    monkeypatch.setattr(cache, "_write", write_together)
    with ThreadPoolExecutor(3) as pool:
        loads = list(pool.map(lambda _: data.load("folder:flowers", root=tmp_path), range(3)))
    for each in loads:
        same(each, loads[0])
    assert len(cached(tmp_path)) == 1
    same(data.load("folder:flowers", root=tmp_path), loads[0])


# --- what can be wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["folder", "folder:"])
def test_a_folder_without_a_path_says_how_to_write_it(tmp_path, spec):
    with pytest.raises(KDError, match="write folder:PATH, for instance folder:flowers"):
        data.load(spec, root=tmp_path)


@pytest.mark.parametrize("path", ["absent", "~nobody-of-that-name/x", "a\0b", "x" * 300])
def test_a_folder_that_is_not_there(tmp_path, path):
    with pytest.raises(KDError, match="There is no folder"):
        data.load(f"folder:{path}", root=tmp_path)


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "flowers").touch()
    with pytest.raises(KDError, match="flowers is a file; an image folder is needed"):
        data.load("folder:flowers", root=tmp_path)


def change_nothing(place):
    del place


@pytest.mark.parametrize(
    ("splits", "change", "told"),
    [
        ({"test": {"a": 1}}, change_nothing, r"flowers has no folder train\."),
        ({"train": {"a": 1, "b": 1}}, change_nothing, "flowers has no folder test and no folder val"),
        ({"train": {"a": 1, "b": 1}, "val": {"a": 1}, "validation": {"a": 1}}, change_nothing,
         "flowers has both val and validation"),
        ({"train": {"a": 2, "b": 0}, "test": {"a": 1}}, change_nothing, r"train/b has no images.*\.png, \.jpg"),
        ({"train": {"a": 2, "b": 2}, "test": {"a": 1, "b": 0}}, change_nothing, "test/b has no images"),
        ({"train": {"a": 2, "b": 2}, "test": {"c": 1}}, change_nothing, "test/c is a class that train does not have"),
        ({"train": {"a": 2}, "test": {"a": 1}}, change_nothing, "train has 1 class folders; at least 2"),
        ({"train": {"a": 2, "b": 2}, "test": {}}, lambda place: (place / "test").mkdir(),
         "test has no class folders"),
        ({"train": {"a": 1, "b": 1}, "test": {"a": 1}}, change_nothing, "No class has more than one training image"),
        ({"train": {"a": 2, "b": 2}, "test": {"a": 1}},
         lambda place: (place / "train/b/001.png").write_bytes(b"no picture"), r"train/b/001\.png is not a picture"),
        ({"train": {"a": 2, "b": 2}, "test": {"a": 1}},
         lambda place: (place / "test/a/000.png").write_bytes(b""), r"test/a/000\.png is empty"),
        ({"train": {"a": 2, "b": 2}, "test": {"a": 1}},
         lambda place: os.truncate(place / "train/a/001.png", 300), r"train/a/001\.png is damaged or cut short"),
    ],
)
def test_what_is_wrong_is_named(make_folder, tmp_path, splits, change, told):
    change(make_folder(**splits))
    with pytest.raises(KDError, match=told):
        data.load("folder:flowers", root=tmp_path)
    assert cached(tmp_path) == []


def test_a_dangling_link_is_named(make_folder, tmp_path):
    place = make_folder(train={"a": 2, "b": 2}, test={"a": 1})
    (place / "train/a/link.png").symlink_to(place / "nowhere.png")
    with pytest.raises(KDError, match=r"train/a/link\.png cannot be read: No such file"):
        data.load("folder:flowers", root=tmp_path)


def test_there_is_nothing_to_download(tmp_path):
    with pytest.raises(KDError, match=f"nothing to download. Put it into {tmp_path}"):
        data.download("folder", tmp_path)
