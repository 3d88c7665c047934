"""The drawn scenes: what is drawn, where it lies, and that colour tells the kind only where it is tied to it."""

import colorsys
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kdengine import data
from kdengine.data import shapes
from kdengine.errors import KDError

AREAS = {
    "circle": math.pi * 0.85**2,
    "ellipse": math.pi * 0.6,
    "ring": math.pi * (0.9 - 0.3),
    "square": 1.5**2,
    "rectangle": 1.9 * 1.0,
    "cross": 2 * 1.8 * 0.6 - 0.6**2,
    "diamond": 2 * 0.65,
    "triangle": 3 * math.sqrt(3) / 4,
    # Ten triangles between a corner at 1, the next inner one at 0.45, 36 degrees on, and the middle.
    "star": 5 * 0.45 * math.sin(math.pi / 5),
    # A disc without its lens with a disc of radius^2 0.5, 0.45 away: two circular segments.
    "crescent": math.pi * 0.9 - (
        0.9 * math.acos((0.45**2 + 0.9 - 0.5) / (2 * 0.45 * math.sqrt(0.9)))
        + 0.5 * math.acos((0.45**2 + 0.5 - 0.9) / (2 * 0.45 * math.sqrt(0.5)))
        - 0.5 * math.sqrt(4 * 0.45**2 * 0.9 - (0.45**2 + 0.9 - 0.5) ** 2)
    ),
}


@pytest.fixture(scope="module")
def drawn():
    return shapes.scenes(300, 64, "here")


@pytest.mark.parametrize("kind", shapes.KINDS)
def test_a_kind_has_the_area_geometry_says(kind):
    points = (torch.arange(1200) + 0.5) / 600 - 1
    v, u = torch.meshgrid(points, points, indexing="ij")
    inside = shapes.KINDS[kind](u, v)
    assert inside.float().mean() * 4 == pytest.approx(AREAS[kind], rel=3e-3)
    # Nothing reaches beyond the square that the box and the margin reckon with.
    assert not shapes.KINDS[kind](torch.tensor(1.01), torch.tensor(0.0))
    assert not shapes.KINDS[kind](torch.tensor(0.0), torch.tensor(1.01))


def test_scenes_are_balanced_and_of_the_right_form(drawn):
    assert (drawn.images.dtype, tuple(drawn.images.shape)) == (torch.uint8, (300, 3, 64, 64))
    assert torch.bincount(drawn.target).tolist() == [30] * 10
    left, top, right, bottom = drawn.boxes.unbind(1)
    assert ((left >= 0) & (left < right) & (right <= 64)).all()
    assert ((top >= 0) & (top < bottom) & (bottom <= 64)).all()


def test_the_same_seed_gives_the_same_scenes_and_more_of_them_begin_alike(drawn):
    again, fewer, other = (shapes.scenes(count, 64, seed) for count, seed in ((300, "here"), (250, "here"), (300, 0)))
    assert torch.equal(again.images, drawn.images)
    assert torch.equal(fewer.images, drawn.images[:250])
    assert not torch.equal(other.images, drawn.images)


def test_the_box_ends_where_the_large_object_ends(monkeypatch):
    monkeypatch.setattr(shapes, "MOST_OBJECTS", 1)
    without_noise(monkeypatch)
    alone = shapes.scenes(20, 96, "alone")
    for image, box in zip(alone.images, alone.boxes.tolist(), strict=True):
        brightness = image.float().max(dim=0).values
        rows, columns = (brightness >= brightness.max() / 2 - 1).nonzero(as_tuple=True)
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box == [int(each) for each in seen]


def hues(drawn):
    """The hue, in [0, 1), of the middle colour within each scene's box."""
    found = []
    for image, (left, top, right, bottom) in zip(drawn.images, drawn.boxes.tolist(), strict=True):
        pixels = image[:, top:bottom, left:right].reshape(3, -1).float() / 255
        most = pixels[:, (pixels.max(0).values - pixels.min(0).values).topk(len(pixels[0]) // 3).indices]
        found.append(colorsys.rgb_to_hsv(*most.median(dim=1).values.tolist())[0])
    return np.array(found)


def circular(first, second):
    apart = np.abs(first - second) % 1
    return np.minimum(apart, 1 - apart)


def test_colour_tells_the_kind_only_where_it_is_tied(drawn):
    tied = shapes.scenes(300, 64, "here", tied=True)
    assert torch.equal(tied.boxes, drawn.boxes)  # the same scenes in other colours
    own = drawn.target.numpy() / 10
    assert (circular(hues(tied), own) < 0.06).mean() > 0.9
    assert (circular(hues(drawn), own) < 0.06).mean() < 0.25  # by chance: 0.12


def test_it_loads_like_any_data_set(tmp_path):
    free, tied = (data.load(name, root=tmp_path, image_size=48) for name in ("shapes", "shapes_tied"))
    assert [len(split) for split in (free.train, free.validation, free.test)] == [4000, 500, 1000]
    assert (free.classes, free.size, free.task) == (tuple(shapes.KINDS), 48, "classification")
    assert torch.equal(free.test.images, tied.test.images)  # colour is free in both
    assert not torch.equal(free.train.images, tied.train.images)
    assert torch.equal(free.boxes, shapes.scenes(1000, 48, "test").boxes)
    again = data.load("shapes", root=tmp_path, image_size=48)  # from the disk
    assert torch.equal(again.boxes, free.boxes) and again.digest == free.digest
    assert data.load("digits", root=tmp_path).boxes is None


def test_with_masks_it_is_the_same_scenes(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "COUNTS", {"train": 60, "validation": 20, "test": 40})
    plain, masked = (data.load(name, root=tmp_path, image_size=48) for name in ("shapes", "shapes_segmentation"))
    assert (masked.task, masked.views, masked.classes) == ("segmentation", "flip", ("background", *shapes.KINDS))
    for split in ("train", "validation", "test"):
        whole, mask = getattr(plain, split), getattr(masked, split).target
        assert torch.equal(getattr(masked, split).images, whole.images)
        assert (mask.dtype, mask.shape) == (torch.int16, (len(whole), 48, 48))
    # In its box every scene shows the kind that names it, up to a pixel that two objects share before its ends.
    for mask, label, (left, top, right, bottom) in zip(
        masked.test.target, plain.test.target, plain.boxes.tolist(), strict=True,
    ):
        seen = mask[top:bottom, left:right] == label + 1
        for line in (seen.any(dim=0), seen.any(dim=1)):
            assert line[:2].any() and line[-2:].any()
    assert masked.boxes is None
    again = data.load("shapes_segmentation", root=tmp_path, image_size=48)  # from the disk
    assert again.digest == masked.digest != plain.digest
    assert torch.equal(again.test.target, masked.test.target)


def without_noise(monkeypatch):
    """From here on, scenes stand before black and have the pure colours of their objects."""
    black = shapes._background
    monkeypatch.setattr(shapes, "_background", lambda uniform, size: 0 * black(uniform, size))
    monkeypatch.setattr(torch, "randn", lambda shape, generator: torch.zeros(shape))


def test_a_scene_has_one_to_four_objects(drawn):
    """A quarter of the scenes show one kind alone, and a few more whose small objects are of that kind or hidden."""
    alone = [set(mask.unique().tolist()) == {0, label + 1}
             for mask, label in zip(drawn.masks, drawn.target.tolist(), strict=True)]
    assert 0.2 < np.mean(alone) < 0.4
    assert max(len(mask.unique()) for mask in drawn.masks) == 1 + 4


@pytest.mark.parametrize("visible", [0.7, 1.0])
def test_a_mask_says_which_kind_is_seen_where(monkeypatch, visible):
    """Every kind has its own colour here, so what is seen at a pixel of one colour can be told from the picture.

    At 0.7 the large object stands behind the others, at 1.0 before them.
    """
    without_noise(monkeypatch)
    monkeypatch.setattr(shapes, "_VISIBLE", visible)
    drawn = shapes.scenes(40, 64, "masks", tied=True)
    checked = []
    for image, mask in zip(drawn.images.float() / 255, drawn.masks, strict=True):
        patches = F.pad(image[None], [1] * 4, mode="replicate")[0].unfold(1, 3, 1).unfold(2, 3, 1).flatten(3)
        plain = ((patches.amax(3) - patches.amin(3)) < 0.01).all(dim=0).numpy()  # of one colour all around
        red, green, blue = image.numpy()
        for row, column in zip(*plain.nonzero(), strict=True):
            pixel = red[row, column], green[row, column], blue[row, column]
            hue = colorsys.rgb_to_hsv(*pixel)[0]
            kind = 0 if max(pixel) == 0 else 1 + round(10 * hue) % 10
            assert mask[row, column] == kind
            checked.append(kind)
    assert len(checked) > 0.75 * drawn.masks.numel()
    assert set(checked) == set(range(11))


def test_a_pixel_is_of_an_object_that_covers_half_of_it(monkeypatch):
    monkeypatch.setattr(shapes, "MOST_OBJECTS", 1)
    without_noise(monkeypatch)
    alone = shapes.scenes(20, 96, "alone")
    for image, mask, label in zip(alone.images, alone.masks, alone.target, strict=True):
        brightness = image.float().max(dim=0).values
        assert torch.equal(mask, torch.where(brightness >= brightness.max() / 2 - 1, label + 1, 0).to(torch.int16))


@given(st.integers(8, 1024).filter(lambda size: not 48 <= size <= 96))
@settings(max_examples=10, deadline=None)
def test_other_sizes_are_refused(size):
    with pytest.raises(KDError, match=f"image_size of shapes is {size}; allowed is a number from 48 to 96"):
        data.load("shapes", image_size=size)


def test_there_is_nothing_to_download():
    with pytest.raises(KDError, match="drawn by this program"):
        data.download("shapes")


@pytest.mark.parametrize("turn", [0.0, 0.5, math.pi / 2, 4.0])
def test_an_object_is_turned_and_never_bent(turn):
    size, (x, y), radius = 60, (0.4, 0.55), 0.3
    u, v = shapes._frame(torch.tensor([[x, y]]), torch.tensor([radius]), torch.tensor([turn]), size)
    points = ((np.arange(2 * size) + 0.5) / (2 * size)).astype(np.float32)
    for row, column in ((3, 7), (40, 100), (88, 21), (119, 0)):
        right, up = (points[column] - x) / radius, (y - points[row]) / radius  # rows go down
        angle = math.atan2(up, right) - turn
        away = math.hypot(up, right)
        assert u[0, row, column].item() == pytest.approx(away * math.cos(angle), abs=1e-5)
        assert v[0, row, column].item() == pytest.approx(away * math.sin(angle), abs=1e-5)
