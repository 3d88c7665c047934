"""Folders of images and masks: what is read, what counts as no class, and a sentence for everything that can be wrong.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image

from kdengine import data
from kdengine.data.cache import FOLDER
from kdengine.errors import KDError
from kdengine.losses import IGNORE


def cached(root):
    return sorted((root / FOLDER).glob("*"))


def values(path):
    """A mask's values as the file holds them: long [H, W]."""
    return torch.from_numpy(np.array(Image.open(path)).astype(np.int64))


def save_mask(place, array, mode=None):
    Image.fromarray(np.asarray(array), mode).save(place)


# --- end to end ---------------------------------------------------------------------------------------------------


def test_three_splits(make_mask_folder, tmp_path):
    place = make_mask_folder(train=5, val=2, test=3)
    pets = data.load("folder:pets", root=tmp_path, image_size=16)
    assert (pets.name, pets.title, pets.task, pets.views) == ("folder:pets", "pets", "segmentation", "zoom+flip")
    assert pets.classes == ("background", "cat", "dog")
    assert [len(split) for split in (pets.train, pets.validation, pets.test)] == [5, 2, 3]
    assert pets.train.target.dtype == torch.int16
    for name, split in (("train", pets.train), ("val", pets.validation), ("test", pets.test)):
        for number, (image, mask) in enumerate(zip(split.images, split.target, strict=True)):
            pixels = np.array(Image.open(place / name / "images" / f"{number:03d}.png"))
            assert torch.equal(image, torch.from_numpy(pixels).permute(2, 0, 1))
            held = values(place / name / "masks" / f"{number:03d}.png")
            assert torch.equal(mask.long(), torch.where(held == 255, IGNORE, held))
    assert data.task_of("folder:pets", tmp_path) == "segmentation"


@pytest.mark.parametrize("only", ["test", "val", "validation"])
def test_the_only_other_split_is_test_and_a_tenth_of_train_selects(make_mask_folder, tmp_path, only):
    make_mask_folder(train=20, **{only: 3})
    found = data.load("folder:pets", root=tmp_path, image_size=16)
    assert [len(split) for split in (found.train, found.validation, found.test)] == [18, 2, 3]
    both = torch.cat([found.train.images, found.validation.images])
    assert len({image.numpy().tobytes() for image in both}) == 20


def test_a_picture_is_stretched_whole_and_its_mask_keeps_its_values(make_mask_folder, tmp_path):
    """Wide pictures: left half red, right half blue. Nothing is cut off, and a mask has no values in between."""
    place = make_mask_folder(size=(16, 4), values=(0, 2), train=3, test=1)
    halves = np.zeros((4, 16, 3), dtype=np.uint8)
    halves[:, :8, 0], halves[:, 8:, 2] = 255, 255
    for number in range(3):
        Image.fromarray(halves).save(place / "train/images" / f"{number:03d}.png")
    found = data.load("folder:pets", root=tmp_path, image_size=32)
    assert found.train.images.shape[1:] == (3, 32, 32)
    red, blue = found.train.images[:, 0], found.train.images[:, 2]
    assert (red[:, :, :15] == 255).all() and (red[:, :, 17:] == 0).all()
    assert (blue[:, :, :15] == 0).all() and (blue[:, :, 17:] == 255).all()
    enlarged = values(place / "test/masks/000.png").repeat_interleave(8, 0).repeat_interleave(2, 1)
    assert torch.equal(found.test.target[0].long(), enlarged)
    smaller = data.load("folder:pets", root=tmp_path, image_size=8)
    assert set(smaller.test.target.unique().tolist()) <= {0, 2}


def test_where_no_size_is_asked_for_it_is_128(make_mask_folder, tmp_path):
    make_mask_folder(train=2, test=1)
    assert data.load("folder:pets", root=tmp_path).size == 128


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_an_image_may_be_of_another_kind_than_its_mask(make_mask_folder, tmp_path, suffix):
    place = make_mask_folder(suffix=suffix, train=2, test=1)
    for part in ("images", "masks"):
        (place / "train" / part / ".DS_Store").write_bytes(b"nobody's data")
        (place / "train" / part / "notes.txt").write_text("nor this")
    found = data.load("folder:pets", root=tmp_path, image_size=16)
    assert len(found.train) + len(found.validation) == 2


# --- as people lay them ------------------------------------------------------------------------------------------


def test_what_was_read_rightly_is_read_as_before(make_mask_folder, tmp_path):
    """The digest that these pixels and masks had before masks were looked at more closely."""
    make_mask_folder(train=5, val=2, test=3)
    assert data.load("folder:pets", root=tmp_path, image_size=16).digest == "618abd0442321809"


@pytest.mark.slow
def test_camvid_is_read_as_before(shared_data, tmp_path):
    (tmp_path / "camvid").symlink_to(shared_data / "camvid")
    found = data.load("folder:camvid", root=tmp_path, image_size=64)
    assert (found.digest, len(found.classes)) == ("00d9482e73e268c1", 12)
    named = tmp_path / "named"
    named.mkdir()
    for split in ("train", "val", "test"):
        (named / split).symlink_to(shared_data / "camvid" / split)
    names = ("sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian",
             "bicyclist")
    (named / "classes.txt").write_text("\n".join(names) + "\n")
    found = data.load("folder:named", root=tmp_path, image_size=64)
    assert (found.digest, len(found.classes)) == ("9bb3014bf2fda4a4", 11)


@pytest.mark.parametrize(("images", "masks"), [
    ("images", "labels"), ("image", "mask"), ("Images", "Masks"), ("imgs", "annotations"), ("images", "gt"),
    ("img", "segmentations"), ("JPEGImages", "SegmentationClass"), ("images", "ground_truth")])
def test_folders_of_other_names_are_images_and_masks_and_never_two_classes(make_mask_folder, tmp_path, images, masks):
    place = make_mask_folder(train=4, test=2)
    first = data.load("folder:pets", root=tmp_path, image_size=16)
    for split in ("train", "test"):
        (place / split / "images").rename(place / split / images)
        (place / split / "masks").rename(place / split / masks)
    assert data.task_of("folder:pets", tmp_path) == "segmentation"
    found = data.load("folder:pets", root=tmp_path, image_size=16)
    assert (found.task, found.classes, found.digest) == ("segmentation", first.classes, first.digest)
    said = () if masks.lower() == "masks" else (f"The masks were taken from the folder {masks}.",)
    assert found.notes == said + first.notes


@pytest.mark.parametrize(("images", "masks"), [("images", "truth"), ("pictures", "masks"), ("images", "train")])
def test_folders_that_look_like_images_and_masks_are_not_taken_for_two_classes(
    make_mask_folder, tmp_path, images, masks
):
    place = make_mask_folder(train=4, test=2)
    for split in ("train", "test"):
        (place / split / "images").rename(place / split / f"{images} ")
        (place / split / "masks").rename(place / split / masks)
        (place / split / f"{images} ").rename(place / split / images)
    with pytest.raises(KDError, match=r"with files of the same names\. If they are images and masks, call them images "
                                      r"and masks\. If they are two classes, give them other names"):
        data.load("folder:pets", root=tmp_path)
    with pytest.raises(KDError, match="with files of the same names"):
        data.outline("folder:pets", root=tmp_path)
    for path in (place / "train" / masks).iterdir():  # files of their own: two classes that are called like this
        path.rename(path.with_name(f"other-{path.name}"))
    assert data.load("folder:pets", root=tmp_path).task == "classification"


@pytest.mark.parametrize("suffix", ["_mask", "_label", "_gt", "_seg"])
def test_a_mask_may_have_a_suffix_behind_its_image_s_name(make_mask_folder, tmp_path, suffix):
    place = make_mask_folder(train=4, test=2)
    first = data.load("folder:pets", root=tmp_path, image_size=16)
    for path in place.glob("*/masks/*"):
        path.rename(path.with_stem(path.stem + suffix))
    assert data.load("folder:pets", root=tmp_path, image_size=16).digest == first.digest


def test_images_and_masks_without_splits_are_split_the_same_way_every_time(make_mask_folder, tmp_path):
    place = make_mask_folder(train=30)
    for part in ("images", "masks"):
        (place / "train" / part).rename(place / part)
    (place / "train").rmdir()
    assert data.task_of("folder:pets", tmp_path) == "segmentation"
    found = data.load("folder:pets", root=tmp_path, image_size=16)
    assert [len(each) for each in (found.train, found.validation, found.test)] == [24, 3, 3]
    masks = {image.numpy().tobytes(): mask for split in (found.train, found.validation, found.test)
             for image, mask in zip(split.images, split.target, strict=True)}
    assert len(masks) == 30
    for number in range(30):
        image = torch.from_numpy(np.array(Image.open(place / "images" / f"{number:03d}.png"))).permute(2, 0, 1)
        held = values(place / "masks" / f"{number:03d}.png")
        assert torch.equal(masks[image.contiguous().numpy().tobytes()].long(), torch.where(held == 255, IGNORE, held))
    assert found.notes[0] == ("There are no folders train and test, so the pictures were split here, the same way "
                              "every time: 24 train, 3 validation, 3 test.")


@pytest.mark.parametrize("size", [(32, 32), (8, 8), (15, 15), (14, 16), (17, 16)])
def test_a_mask_of_another_size_is_brought_to_its_image_s_frame_and_said(make_mask_folder, tmp_path, size):
    place = make_mask_folder(values=(0, 1), train=4, test=2)
    path = place / "test/masks/001.png"
    resized = Image.open(path).resize(size, Image.Resampling.NEAREST)
    resized.save(path)
    found = data.load("folder:pets", root=tmp_path, image_size=16)
    expected = torch.from_numpy(np.array(resized.resize((16, 16), Image.Resampling.NEAREST)).astype(np.int16))
    assert torch.equal(found.test.target[1], expected)
    assert found.notes[-2] == ("1 mask has another size than the image (the first is 001.png); brought to its frame by "
                               "the nearest pixel.")


def test_a_mask_of_an_image_s_frame_before_it_was_turned_is_refused(make_mask_folder, tmp_path):
    """The image is stored on its side and turned by its EXIF orientation; its mask was drawn on the stored one."""
    place = make_mask_folder(size=(24, 16), train=4, test=2)
    path = place / "train/images/000.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)
    with pytest.raises(KDError, match=r"masks/000\.png is 24 x 16 pixels, its image 16 x 24 \(turned upright\)"):
        data.load("folder:pets", root=tmp_path, image_size=16)


def test_a_mask_of_a_picture_that_is_halved_is_no_other_size(make_mask_folder, tmp_path, monkeypatch):
    from kdengine.data import pictures

    monkeypatch.setattr(pictures, "KEPT_PIXELS", 16 * 16 - 1)
    make_mask_folder(train=4, test=2)
    found = data.load("folder:pets", root=tmp_path, image_size=16)
    assert len(found.notes) == 3  # what the values are, and what is void


@pytest.mark.parametrize(("change", "told"), [
    (lambda place: (place / "train/labels").mkdir(), "train has both labels and masks; it is not clear which to read"),
    (lambda place: Image.new("RGB", (16, 16)).save(place / "train/images/000.jpg"),
     r"images has both 000\.jpg and 000\.png; it is not clear which to read"),
    (lambda place: Image.new("L", (16, 16)).save(place / "train/masks/000_mask.png"),
     r"train: '000_mask' is in only one of images and masks, as are 0 others"),
])
def test_what_could_be_read_in_two_ways_is_refused(make_mask_folder, tmp_path, change, told):
    change(make_mask_folder(train=4, test=2))
    with pytest.raises(KDError, match=told):
        data.load("folder:pets", root=tmp_path, image_size=16)


def test_labels_that_are_text_are_no_masks(make_mask_folder, tmp_path):
    """Boxes in text files, as detectors want them."""
    place = make_mask_folder(train=4, test=2)
    for split in ("train", "test"):
        (place / split / "masks").rename(place / split / "labels")
        for path in (place / split / "labels").iterdir():
            path.rename(path.with_suffix(".txt"))
    with pytest.raises(KDError, match=r"train/labels has no images\. .*masks are images too, not text"):
        data.load("folder:pets", root=tmp_path, image_size=16)


# --- class numbers ------------------------------------------------------------------------------------------------


def test_a_number_without_a_name_is_no_class(make_mask_folder, tmp_path):
    place = make_mask_folder(classes=("background", "", "  cat  ", ""), values=(0, 1, 255), train=3, test=2)
    held = values(place / "test/masks/000.png")
    held[0, :2] = torch.tensor([2, 7])
    save_mask(place / "test/masks/000.png", held.to(torch.uint8))
    found = data.load("folder:pets", root=tmp_path, image_size=16)
    assert found.classes == ("background", "cat")  # empty lines are none
    for number, mask in enumerate(found.test.target):
        held = values(place / "test/masks" / f"{number:03d}.png")
        assert torch.equal(mask.long(), torch.where(held < 2, held, IGNORE))
    void = sum((values(path) == 255).sum().item() for path in place.glob("*/masks/*"))
    assert found.notes[:-1] == (
        "The values of the masks were taken as class numbers, named in classes.txt from 0 on.",
        f"Left out, as no class by custom: 255 ({void} pixels, {void / 1280:.1%} of all, in 5 masks). These pixels "
        "count nowhere.",
        "Left out, as without a name in classes.txt: 2, 7 (2 pixels, 0.2% of all, in 1 mask). These pixels count "
        "nowhere.",
    )


def test_without_classes_txt_classes_are_called_by_their_numbers_up_to_the_largest_in_training(
    make_mask_folder, tmp_path,
):
    place = make_mask_folder(classes=None, values=(0, 3, 255), train=4, test=2)
    beyond = np.zeros((16, 16), dtype=np.uint8)
    beyond[0] = 4
    save_mask(place / "test/masks/000.png", beyond)
    found = data.load("folder:pets", root=tmp_path, image_size=16)
    assert found.classes == ("class 0", "class 1", "class 2", "class 3")
    assert found.test.target[0, :, 0].tolist() == [IGNORE] + [0] * 15  # a class that training does not have
    assert set(found.test.target[1].unique().tolist()) == {IGNORE, 0, 3}
    assert found.notes[0] == ("The values of the masks were taken as class numbers from 0 to 3; classes.txt can name "
                              "them.")
    assert found.notes[2:-1] == (
        "Left out, as in no training mask: 4 (16 pixels, 1.0% of all, in 1 mask). These pixels count nowhere.",
        "No training mask holds class 1, class 2.",
    )


@pytest.mark.parametrize("mode", ["P", "1", "L", "I;16"])
def test_a_mask_of_any_kind_of_one_channel_is_taken_by_its_values(make_mask_folder, tmp_path, mode):
    place = make_mask_folder(classes=("background", "cat"), values=(0, 1), train=3, test=1)
    held = values(place / "test/masks/000.png")
    if mode == "P":  # a place in the palette, whatever its colour
        image = Image.fromarray(held.numpy().astype(np.uint8)).convert("P")
        image.putdata(held.flatten().tolist())
        image.putpalette([200, 10, 10, 10, 200, 10])
    elif mode == "1":
        image = Image.fromarray(held.numpy().astype(bool))
    else:
        image = Image.fromarray(held.numpy().astype(np.uint16 if mode == "I;16" else np.uint8))
    image.save(place / "test/masks/000.png")
    assert Image.open(place / "test/masks/000.png").mode == mode
    found = data.load("folder:pets", root=tmp_path, image_size=16)
    assert torch.equal(found.test.target[0].long(), held)


def test_sixteen_bits_that_are_no_class_are_none(make_mask_folder, tmp_path):
    place = make_mask_folder(train=3, test=1)
    sixteen = np.zeros((16, 16), dtype=np.uint16)
    sixteen[0], sixteen[1], sixteen[2], sixteen[3] = 2, 300, 40_000, 65_535
    save_mask(place / "test/masks/000.png", sixteen)
    found = data.load("folder:pets", root=tmp_path, image_size=16)
    assert found.test.target[0, :, 0].tolist() == [2, IGNORE, IGNORE, IGNORE, *[0] * 12]


# --- part of it ---------------------------------------------------------------------------------------------------


def test_a_smaller_share_lies_in_a_larger(make_mask_folder, tmp_path):
    make_mask_folder(train=40, val=1, test=1)
    whole, half, tenth = (
        data.load("folder:pets", root=tmp_path, image_size=16, share=share) for share in (1, 0.5, 0.1))
    assert [len(each.train) for each in (whole, half, tenth)] == [40, 20, 4]
    shown = [{image.numpy().tobytes() for image in each.train.images} for each in (whole, half, tenth)]
    assert shown[2] < shown[1] < shown[0]
    masks = {image.numpy().tobytes(): mask for image, mask in zip(whole.train.images, whole.train.target, strict=True)}
    for image, mask in zip(tenth.train.images, tenth.train.target, strict=True):
        assert torch.equal(mask, masks[image.numpy().tobytes()])
    assert whole.digest == tenth.digest
    assert len(tenth.test) == 1


@pytest.mark.parametrize("asked", [{"labels_per_class": 2}, {"without_class": 1}])
def test_what_needs_one_class_an_image_is_refused(make_mask_folder, tmp_path, asked):
    make_mask_folder(train=4, test=1)
    with pytest.raises(KDError, match=r"folder:pets has a mask for each image, not a label;.*Use share to"):
        data.load("folder:pets", root=tmp_path, image_size=16, **asked)


def test_some_images_keep_their_masks_and_the_others_have_none(make_mask_folder, tmp_path):
    make_mask_folder(train=10, test=1)
    whole, few = (data.load("folder:pets", root=tmp_path, image_size=16, labelled_images=each) for each in (None, 3))
    assert (len(few.train), int(few.train.labelled.sum()), few.labelled_images) == (9, 3, 3)
    assert torch.equal(few.train.images, whole.train.images)
    assert torch.equal(few.train.target[few.train.labelled], whole.train.target[few.train.labelled])
    assert torch.equal(few.test.target, whole.test.target)
    assert few.digest == whole.digest
    with pytest.raises(KDError, match=r"labelled_images is 6; allowed is from 1 to 5"):
        data.load("folder:pets", root=tmp_path, image_size=16, share=0.5, labelled_images=6)


def test_images_of_one_class_each_have_no_masks_to_keep(tmp_path):
    with pytest.raises(KDError, match=r"digits has one class an image, not a mask;.*Use labels_per_class to keep"):
        data.load("digits", root=tmp_path, labelled_images=3)


# --- the cache ----------------------------------------------------------------------------------------------------


def test_the_second_load_decodes_nothing(make_mask_folder, tmp_path, monkeypatch):
    make_mask_folder(train=6, test=2)
    first = data.load("folder:pets", root=tmp_path)
    assert [path.suffix for path in cached(tmp_path)] == [".safetensors"]
    for name in ("mask_folder.read_picture", "mask_folder.opened_mask", "mask_values.opened_mask"):
        monkeypatch.setattr(f"kdengine.data.{name}", lambda path: pytest.fail(f"{path} was decoded"))
    again = data.load("folder:pets", root=tmp_path)
    assert (again.digest, again.classes, again.notes) == (first.digest, first.classes, first.notes)
    assert len(first.notes) == 3
    for name in ("train", "validation", "test"):
        assert torch.equal(getattr(again, name).images, getattr(first, name).images)
        assert torch.equal(getattr(again, name).target, getattr(first, name).target)


def test_a_changed_mask_name_or_size_is_another_key(make_mask_folder, tmp_path):
    place = make_mask_folder(train=6, test=2)

    def digest_after(change, size=16):
        change()
        return data.load("folder:pets", root=tmp_path, image_size=size).digest

    digests = [
        digest_after(lambda: None),
        digest_after(lambda: save_mask(place / "test/masks/000.png", np.ones((16, 16), dtype=np.uint8))),
        digest_after(lambda: (place / "classes.txt").write_text("background\ncat\nowl\n")),
        digest_after(lambda: (place / "classes.txt").write_text("0 = background\n1 = cat\n2 = ignore\n255 = owl\n")),
        digest_after(lambda: None, size=24),
    ]
    assert len(set(digests)) == len(cached(tmp_path)) == 5


# --- what there is ------------------------------------------------------------------------------------------------


def test_a_mask_folder_in_the_root_is_described(make_mask_folder, make_folder, tmp_path):
    place = make_mask_folder("pets", train=1, test=1)
    make_mask_folder("unnamed", classes=None, train=1, test=1)
    make_folder("flowers", train={"a": 1, "b": 1}, test={"a": 1})
    rows = {row["name"]: row for row in data.describe(tmp_path)}
    pets = rows["folder:pets"]
    assert (pets["task"], pets["views"], pets["classes"], pets["found"]) == (
        "segmentation", "zoom+flip", 3, str(place))
    assert rows["folder:unnamed"]["classes"] is None  # only its masks would tell
    assert (rows["folder:flowers"]["task"], rows["folder:flowers"]["views"]) == ("classification", "crop+flip")


def test_a_classes_txt_that_cannot_be_used_hides_no_other_data_set(make_mask_folder, tmp_path):
    (make_mask_folder("pets", train=1, test=1) / "classes.txt").write_text("only one\n")
    (make_mask_folder("more", train=1, test=1) / "classes.txt").write_bytes(b"\xff\xfe\x00")
    rows = {row["name"]: row for row in data.describe(tmp_path)}
    assert [rows[f"folder:{name}"]["classes"] for name in ("more", "pets")] == [None, None]


def test_every_data_set_has_one_task(make_mask_folder, make_folder, tmp_path):
    make_mask_folder("pets", train=1, test=1)
    make_folder("flowers", train={"a": 1, "b": 1}, test={"a": 1})
    tasks = {name: data.task_of(name, tmp_path) for name in (*data.SOURCES, "folder:pets", "folder:flowers")
             if name != "folder"}
    segmenting = {"shapes_segmentation", "voc2012", "oxford_pet", "folder:pets"}
    assert {name for name, task in tasks.items() if task == "segmentation"} == segmenting
    assert set(tasks.values()) == {"segmentation", "classification"}
    with pytest.raises(KDError, match="There is no folder 'nowhere'"):
        data.task_of("folder:nowhere", tmp_path)
    with pytest.raises(KDError, match="Unknown data set 'pets'"):
        data.task_of("pets", tmp_path)


# --- what can be wrong --------------------------------------------------------------------------------------------


def write(name, content):
    return lambda place: (place / name).write_bytes(content)


def remove(name):
    return lambda place: (place / name).unlink()


def save(name, array, as_name=None):
    def change(place):
        (place / name).unlink()
        save_mask(place / (as_name or name), array)

    return change


@pytest.mark.parametrize(("change", "told"), [
    (remove("train/masks/001.png"), r"train: '001' is in only one of images and masks, as are 0 others\."),
    (remove("test/images/000.png"), r"test: '000' is in only one of images and masks"),
    (save("train/masks/002.png", np.zeros((16, 13), dtype=np.uint8)),
     r"002\.png is 13 x 16 pixels, its image 16 x 16; a mask has its image's size, or its shape\."),
    (save("test/masks/000.png", np.zeros((16, 16), dtype=np.float32), "test/masks/000.tif"),
     r"test/masks/000\.tif is a picture of mode F; a mask has one channel, a palette, or RGB colours\."),
    (write("test/masks/000.png", b"no picture"), r"test/masks/000\.png is not a picture"),
    (lambda place: os.truncate(place / "train/masks/001.png", 60), r"train/masks/001\.png is damaged or cut short"),
    (write("train/images/001.png", b""), r"train/images/001\.png is empty"),
    (write("classes.txt", b""), r"classes\.txt names 0 different classes in 0 lines; at least 2"),
    (write("classes.txt", b"cat\n"), r"classes\.txt names 1 different classes in 1 lines"),
    (write("classes.txt", b"cat\ndog\ncat\n"), r"classes\.txt names 2 different classes in 3 lines.*each once"),
    (write("classes.txt", b"\xff\xfe\x00cat"), r"classes\.txt cannot be read as text"),
])
def test_what_is_wrong_is_named(make_mask_folder, tmp_path, change, told):
    change(make_mask_folder(train=4, test=2))
    with pytest.raises(KDError, match=told):
        data.load("folder:pets", root=tmp_path, image_size=16)
    assert cached(tmp_path) == []


@pytest.mark.parametrize("names", [None, ("background", "cat", "dog")])
@pytest.mark.parametrize("held", [(0,), (1,), (255,)])
def test_masks_with_only_one_number_have_no_classes(make_mask_folder, tmp_path, held, names):
    make_mask_folder(classes=names, values=held, train=4, test=2)
    with pytest.raises(KDError, match=rf"The training masks hold only one class; at least 2.*values: {held[0]}\."):
        data.load("folder:pets", root=tmp_path, image_size=16)


def test_a_split_without_masks_says_how_a_split_lies(make_mask_folder, tmp_path):
    place = make_mask_folder(train=4, test=2)
    for path in (place / "test/masks").iterdir():
        path.unlink()
    (place / "test/masks").rmdir()
    with pytest.raises(KDError, match=r"test has no folder masks\. A mask folder holds images/<name> and masks/<name>"):
        data.load("folder:pets", root=tmp_path)


def test_a_split_without_images_is_named(make_mask_folder, tmp_path):
    make_mask_folder(train=4, test=0)
    with pytest.raises(KDError, match=r"test/images has no images"):
        data.load("folder:pets", root=tmp_path)


def test_one_training_image_leaves_nothing_to_select_by(make_mask_folder, tmp_path):
    make_mask_folder(train=1, test=1)
    with pytest.raises(KDError, match="too few to hold a validation split out of"):
        data.load("folder:pets", root=tmp_path, image_size=16)
