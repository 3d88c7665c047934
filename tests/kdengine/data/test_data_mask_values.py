"""What masks are taken for, end to end: each kind is read and said, or refused with every reading."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kdengine import data
from kdengine.data.mask_values import numbered
from kdengine.errors import KDError
from kdengine.losses import IGNORE

SIDE = 16
RED, GREEN = (255, 0, 0), (0, 255, 0)


def bands(values, void=None):
    """A mask with a band of each value after the first: int64 [SIDE, SIDE]."""
    mask = np.full((SIDE, SIDE), values[0])
    for number, value in enumerate(values[1:]):
        mask[2 + number * 14 // len(values[1:]):2 + (number + 1) * 14 // len(values[1:]), 4:12] = value
    if void is not None:
        mask[0, :4] = void
    return mask


@pytest.fixture
def make(tmp_path):
    """Writes a folder of 10 training and 4 test pictures with masks: make(draw), draw(number) an image or an array."""

    def make(draw, *, names=None, suffix=".png", **options):
        place = tmp_path / "set"
        for split, numbers in (("train", range(10)), ("test", range(10, 14))):
            for part in ("images", "masks"):
                (place / split / part).mkdir(parents=True)
            for number in numbers:
                noise = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
                Image.fromarray(noise).save(place / split / "images" / f"{number}.png")
                mask = draw(number)
                mask = mask if isinstance(mask, Image.Image) else Image.fromarray(np.asarray(mask, dtype=np.uint8))
                mask.save(place / split / "masks" / f"{number}{suffix}", **options)
        if names:
            (place / "classes.txt").write_text("\n".join(names) + "\n")
        return place

    return make


def load(tmp_path):
    return data.load("folder:set", root=tmp_path, image_size=SIDE)


def targets(found):
    return found.test.target[0].numpy()


# --- black and white ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [None, ("background", "disc")])
def test_0_and_255_are_background_and_foreground(make, tmp_path, names):
    make(lambda number: bands((0, 255)), names=names)
    found = load(tmp_path)
    foreground = names[1] if names else "foreground"
    assert found.classes == ("background", foreground)
    assert np.array_equal(targets(found), bands((0, 1)))
    assert found.notes[:-1] == (f"The masks hold 0 and 255 alone: 0 was taken as background, 255 as {foreground}.",)


def test_the_largest_value_of_16_bits_is_foreground_too(make, tmp_path):
    make(lambda number: Image.fromarray(bands((0, 65_535)).astype(np.uint16)))
    found = load(tmp_path)
    assert np.array_equal(targets(found), bands((0, 1)))
    assert found.notes[:-1] == ("The masks hold 0 and 65535 alone: 0 was taken as background, 65535 as foreground.",)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_colours_are_read_as_grey(make, tmp_path, mode):
    make(lambda number: Image.fromarray(bands((0, 255)).astype(np.uint8)).convert(mode))
    found = load(tmp_path)
    assert np.array_equal(targets(found), bands((0, 1)))
    assert found.notes[1] == "14 masks are stored with colours that are all grey; the grey was taken as the value."


def test_0_1_and_255_are_two_classes_and_void(make, tmp_path):
    make(lambda number: bands((0, 1), void=255))
    found = load(tmp_path)
    assert found.classes == ("class 0", "class 1")
    assert np.array_equal(targets(found), bands((0, 1), void=IGNORE))
    assert found.notes[1] == ("Left out, as no class by custom: 255 (56 pixels, 1.6% of all, in 14 masks). These "
                              "pixels count nowhere.")


def test_0_and_255_with_three_names_are_refused_with_both_readings(make, tmp_path):
    place = make(lambda number: bands((0, 255)), names=("background", "cat", "dog"))
    with pytest.raises(KDError, match=r"hold 0, 255 alone, and classes\.txt names 3 classes\. If 255 is a class, say "
                                      r"in classes\.txt which one, as in `0 = background`, `255 = cat`\. If 255 is no "
                                      r"class, only one is left"):
        load(tmp_path)
    (place / "classes.txt").write_text("0 = background\n255 = cat\n")
    assert np.array_equal(targets(load(tmp_path)), bands((0, 1)))


def test_one_bit_and_palettes_are_read_by_place(make, tmp_path):
    def palette(number):
        image = Image.fromarray(bands((0, 2, 1)).astype(np.uint8)).convert("P")
        image.putdata(bands((0, 2, 1)).flatten().tolist())
        image.putpalette([9, 9, 9, 200, 10, 10, 0, 0, 0])
        return image

    make(palette)
    assert np.array_equal(targets(load(tmp_path)), bands((0, 2, 1)))


def test_palettes_that_differ_are_refused_with_both_readings(make, tmp_path):
    """The same place is red in one mask and green in another: places are no numbers, or the colours mean nothing."""

    def palette(number):
        image = Image.fromarray(bands((0, 1)).astype(np.uint8))
        image.putpalette([0, 0, 0, *(RED if number % 2 else GREEN)])
        return image

    place = make(palette)
    with pytest.raises(KDError, match=r"palettes that differ.*`#000000 = background`.*`0 = background`, `1 = \.\.\.`"):
        load(tmp_path)
    (place / "classes.txt").write_text("0 = background\n1 = disc\n")
    assert np.array_equal(targets(load(tmp_path)), bands((0, 1)))
    (place / "classes.txt").write_text("#000000 = background\n#ff0000 = red\n#00ff00 = green\n")
    assert np.array_equal(targets(load(tmp_path)), bands((0, 2)))  # mask 10 is green


# --- grey levels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("levels", "numbers"), [
    ((0, 128, 255), 128), ((0, 85, 170, 255), 170), ((0, 127), 127), ((0, 7), 7), ((0, 20, 40), 40)])
def test_few_levels_are_refused_with_both_readings(make, tmp_path, levels, numbers):
    place = make(lambda number: bands(levels))
    with pytest.raises(KDError) as refused:
        load(tmp_path)
    told = str(refused.value)
    assert f"The masks hold the values {', '.join(map(str, levels))}." in told
    lines = [f"`{level} = {'...' if level else 'background'}`" for level in levels]
    assert f"stands for a class, write into classes.txt, one a line: {', '.join(lines)}." in told
    assert f"class numbers up to {numbers}, most of them never used, write {numbers + 1} names into classes.txt" in told

    (place / "classes.txt").write_text("\n".join(f"{level} = level {level}" for level in levels))
    found = load(tmp_path)
    assert found.classes == tuple(f"level {level}" for level in levels)
    assert np.array_equal(targets(found), bands(range(len(levels))))
    assert found.notes[:-1] == (
        f"As classes.txt says: {', '.join(f'{level} is level {level}' for level in levels)}.",)

    (place / "classes.txt").write_text("\n".join(f"number {number}" for number in range(numbers + 1)))
    if 255 not in levels:
        assert np.array_equal(targets(load(tmp_path)), bands(levels))


def test_few_gaps_between_numbers_are_read_and_said(make, tmp_path):
    make(lambda number: bands((0, 1, 3, 4)))
    found = load(tmp_path)
    assert np.array_equal(targets(found), bands((0, 1, 3, 4)))
    assert found.notes[1:-1] == ("No training mask holds class 2.",)


@pytest.mark.parametrize("names", [None, ("background", "disc"), [f"name {each}" for each in range(40)]])
def test_soft_masks_are_refused_with_the_line_that_cuts_them(make, tmp_path, names):
    ramp = np.tile(np.linspace(0, 255, SIDE * 4).astype(np.uint8).reshape(4, SIDE), (4, 1))
    place = make(lambda number: ramp, names=names)
    with pytest.raises(KDError, match=r"hold 64 different grey levels, as masks with soft edges do.*"
                                      r"`0-127 = background` and `128-255 = foreground`"):
        load(tmp_path)
    (place / "classes.txt").write_text("0-99 = background\n100-199 = ignore\n200-255 = disc\n")
    found = load(tmp_path)
    assert np.array_equal(targets(found), np.select([ramp < 100, ramp < 200], [0, IGNORE], 1))
    share = ((ramp >= 100) & (ramp < 200)).mean()
    assert found.notes[1].startswith("Left out, as called ignore in classes.txt: 101, 105, 109, 113, 117, 121, 125, "
                                     f"129 and 17 more (1,400 pixels, {share:.1%} of all, in 14 masks).")


# --- JPEG ---------------------------------------------------------------------------------------------------------


def test_jpeg_masks_of_two_levels_are_read_by_the_nearer_one(make, tmp_path):
    place = make(lambda number: bands((0, 255)), suffix=".jpg", quality=90)
    assert len(np.unique(Image.open(place / "train/masks/0.jpg"))) > 2
    found = load(tmp_path)
    assert found.classes == ("background", "foreground")
    assert np.array_equal(targets(found), bands((0, 1)))
    assert len(found.notes) == 2
    assert found.notes[0].startswith("The masks are saved as JPEG, which changes values: 0 to 127 was taken as "
                                     "background, 128 to 255 as foreground; ")


@pytest.mark.parametrize(("values", "names"), [
    ((0, 1), None), ((0, 1, 2), ("a", "b", "c")), ((0, 128, 255), None), ((0, 255), ("a", "b", "c"))])
def test_other_jpeg_masks_are_refused_with_the_line_that_cuts_them(make, tmp_path, values, names):
    place = make(lambda number: bands(values), suffix=".jpg", names=names)
    with pytest.raises(KDError, match=r"saved as JPEG, which changes values: there are \d+ different ones.*as PNG.*"
                                      r"`0-127 = background` and `128-255 = foreground`"):
        load(tmp_path)
    if values == (0, 128, 255):
        (place / "classes.txt").write_text("0-63 = a\n64-191 = b\n192-255 = c\n")
        assert np.array_equal(targets(load(tmp_path)), bands((0, 1, 2)))


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("values", "told"), [
    ((0, 7), r"a value of the masks: 7 \(1,568 pixels, 43\.8% of all, in 14 masks\)\. "
             r"Say in classes\.txt, one a line, which value is which class, as in `0 = background`, `7 = disc`\.$"),
    ((0, 1, 7), r"a value of the masks: 7 \(784 pixels, 21\.9% of all, in 14 masks\).* A line `7 = ignore` says"),
    ((1, 2), r"a value of the masks: 2 \(1,568 pixels, 43\.8%"),
])
def test_a_number_without_a_name_that_is_much_is_refused(make, tmp_path, values, told):
    place = make(lambda number: bands(values), names=("background", "disc"))
    with pytest.raises(KDError, match=told):
        load(tmp_path)
    if len(values) == 3:
        (place / "classes.txt").write_text("background\ndisc\n7 = ignore\n")
        found = load(tmp_path)
        assert np.array_equal(targets(found), bands((0, 1, IGNORE)))
        assert found.notes[1] == ("Left out, as called ignore in classes.txt: 7 (784 pixels, 21.9% of all, in 14 "
                                  "masks). These pixels count nowhere.")


def test_a_number_without_a_name_that_is_little_is_left_out_and_said(make, tmp_path):
    make(lambda number: bands((0, 1), void=2), names=("background", "disc"))
    found = load(tmp_path)
    assert np.array_equal(targets(found), bands((0, 1), void=IGNORE))
    assert found.notes[1] == ("Left out, as without a name in classes.txt: 2 (56 pixels, 1.6% of all, in 14 masks). "
                              "These pixels count nowhere.")


def test_numbers_that_only_test_masks_hold_are_refused_where_they_are_much(make, tmp_path):
    make(lambda number: bands((0, 1) if number < 10 else (0, 1, 2)))
    with pytest.raises(KDError, match=r"no training mask holds cannot be learned: 2 \(224 pixels, 6\.2% of all, in 4 "
                                      r"masks\)\. Add training masks.*`2 = ignore`"):
        load(tmp_path)


def test_a_class_that_no_training_mask_holds_is_said(make, tmp_path):
    make(lambda number: bands((0, 1)), names=("background", "cat", "dog"))
    assert load(tmp_path).notes[1:-1] == ("No training mask holds dog.",)


def test_more_names_than_255_make_255_a_class(make, tmp_path):
    make(lambda number: bands((0, 255)), names=[f"name {each}" for each in range(256)])
    found = load(tmp_path)
    assert np.array_equal(targets(found), bands((0, 255)))


# --- colours ------------------------------------------------------------------------------------------------------


def in_color(number):
    colors = np.array([(0, 0, 0), RED, GREEN, (9, 9, 9)], dtype=np.uint8)
    return Image.fromarray(colors[bands((0, 1, 2), void=3)])


def test_colours_are_refused_with_those_found_and_read_where_they_are_named(make, tmp_path):
    place = make(in_color)
    with pytest.raises(KDError, match=r"hold 4 different colours, and nothing says which class each is\. Write into "
                                      r"classes\.txt, one a line: `#000000 = background`, `#00ff00 = \.\.\.`, "
                                      r"`#ff0000 = \.\.\.`, `#090909 = \.\.\.`"):
        load(tmp_path)
    (place / "classes.txt").write_text("#000000 = background\n#00ff00 = grass\n#FF0000 = car\n")
    found = load(tmp_path)
    assert found.classes == ("background", "grass", "car")
    assert np.array_equal(targets(found), bands((0, 2, 1), void=IGNORE))
    assert found.notes[:-1] == (
        "As classes.txt says: #000000 is background, #00ff00 is grass, #ff0000 is car.",
        "Left out, as not in classes.txt: #090909 (56 pixels, 1.6% of all, in 14 masks). These pixels count nowhere.",
    )


def test_where_some_masks_have_colours_the_grey_ones_are_listed_as_colours(make, tmp_path):
    white = Image.new("RGB", (SIDE, SIDE), "white")
    make(lambda number: in_color(number) if number else white)
    with pytest.raises(KDError, match=r"hold 5 different colours.*`#ffffff = \.\.\.`"):
        load(tmp_path)


def test_plain_names_do_not_say_which_colour_is_which(make, tmp_path):
    make(in_color, names=("background", "car", "grass"))
    with pytest.raises(KDError, match="hold 4 different colours"):
        load(tmp_path)


def test_a_colour_without_a_line_that_is_much_is_refused(make, tmp_path):
    make(in_color, names=("#000000 = background", "#ff0000 = car"))
    with pytest.raises(KDError, match=r"#00ff00, #090909|#090909, #00ff00"):
        load(tmp_path)


def test_a_photograph_is_no_mask(make, tmp_path):
    side = 80
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    make(lambda number: Image.fromarray(noise))
    with pytest.raises(KDError, match=r"masks/\d\.png holds more than 4,096 different colours, as a photograph does"):
        load(tmp_path)


def test_a_mask_that_can_be_seen_through_is_refused(make, tmp_path):
    def draw(number):
        image = in_color(number)
        image.putalpha(Image.fromarray((bands((0, 1)) * 255).astype(np.uint8)))
        return image

    make(draw)
    with pytest.raises(KDError, match=r"masks/\d\.png can be seen through.*Save it without transparency"):
        load(tmp_path)


# --- in every case ------------------------------------------------------------------------------------------------


def test_notes_survive_the_cache_and_do_not_change_the_digest(make, tmp_path):
    place = make(lambda number: bands((0, 255)))
    first = load(tmp_path)
    assert load(tmp_path).notes == first.notes != ()
    (place / "train" / "images" / "notes.txt").write_text("mine")
    again = load(tmp_path)
    assert again.notes == ("1 file or folder was left out: train/images/notes.txt. Read are pictures (.png, .jpg, "
                           ".jpeg, .webp, .bmp, .gif, .tif, .tiff) in the places where they belong.", *first.notes)
    assert again.digest == first.digest
    assert len(list((tmp_path / ".decoded").iterdir())) == 1  # what lies beside the pictures is not decoded again


def test_the_values_are_counted_whole_whatever_the_size_asked_for(make, tmp_path):
    """One pixel in each mask of 256: at 8 pixels a side most are gone, and are still seen."""
    def draw(number):
        mask = bands((0, 1))
        mask[15, 15] = 40
        return mask

    make(draw, names=("background", "disc"))
    found = data.load("folder:set", root=tmp_path, image_size=8)
    assert "40 (14 pixels, 0.4% of all, in 14 masks)" in found.notes[1]


def test_a_public_set_is_read_by_its_own_numbers():
    mask = Image.fromarray(np.array([[0, 1, 2, 3, 255]], dtype=np.uint8))
    assert torch.equal(numbered(("a", "b"), 1).read(mask), torch.tensor([[IGNORE, 0, 1, IGNORE, IGNORE]],
                                                                       dtype=torch.int16))
