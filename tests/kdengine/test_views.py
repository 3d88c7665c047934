"""Views are a pure function of (split, policy, seed, epoch)."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kdengine.errors import KDError
from kdengine.signals import IGNORE
from kdengine.views import POLICIES, Policy, Split, policy, steps_per_epoch, views


def make_split(count=23, size=8):
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(count) % 4)


def rendered(split, name, seed=0, epoch=0, size=5):
    parts = list(views(split, POLICIES[name], seed, epoch).batches(size))
    return torch.cat([index for index, _ in parts]), torch.cat([images for _, images in parts])


@pytest.mark.parametrize("name", POLICIES)
def test_same_arguments_same_pixels_whatever_the_batch_size(name):
    split = make_split()
    order, images = rendered(split, name, seed=4, epoch=2, size=5)
    again_order, again = rendered(split, name, seed=4, epoch=2, size=11)
    assert torch.equal(order, again_order)
    assert torch.equal(images, again)


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}])
def test_another_seed_or_epoch_gives_another_order_and_other_crops(other):
    split = make_split()
    order, images = rendered(split, "crop+flip")
    other_order, other_images = rendered(split, "crop+flip", **other)
    assert not torch.equal(order, other_order)
    assert not torch.equal(images[order.argsort()], other_images[other_order.argsort()])


def test_every_image_is_shown_once_and_unchanged_by_policy_none():
    split = make_split()
    order, images = rendered(split, "none")
    assert sorted(order.tolist()) == list(range(len(split)))
    assert torch.equal(images, split.images[order].float() / 255)


def test_a_crop_is_a_window_of_the_zero_padded_image():
    split = make_split()
    drawn = views(split, Policy(padding=2), 7, 0)
    padded = F.pad(split.images, [2] * 4).float() / 255
    images = drawn.render(0, len(split))
    for place, (index, (row, column)) in enumerate(zip(drawn.order.tolist(), drawn.offsets.tolist(), strict=True)):
        assert torch.equal(images[place], padded[index, :, row:row + 8, column:column + 8])
    assert {0, 4} <= set(drawn.offsets.flatten().tolist()) <= set(range(5))


def test_a_flip_mirrors_about_half_of_the_images():
    split = make_split(400)
    drawn = views(split, POLICIES["flip"], 0, 0)
    images = drawn.render(0, 400)
    original = split.images[drawn.order].float() / 255
    assert torch.equal(images[drawn.flips], original[drawn.flips].flip(3))
    assert torch.equal(images[~drawn.flips], original[~drawn.flips])
    assert 150 < drawn.flips.sum() < 250


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(2, 20))
def test_batches_have_the_asked_size_and_never_train_on_a_left_over_image(count, size):
    sizes = [len(index) for index, _ in views(make_split(count, 2), Policy(), 0, 0).batches(size)]
    assert sum(sizes) == count
    assert len(sizes) == steps_per_epoch(count, size)
    assert all(each == size for each in sizes[:-1])
    assert sizes[-1] <= size + 1
    assert sizes[-1] > 1 or count == 1


def test_an_unlabelled_image_is_marked_by_its_target():
    split = Split(torch.zeros(3, 3, 2, 2, dtype=torch.uint8), torch.tensor([1, IGNORE, 0]))
    assert split.labelled.tolist() == [True, False, True]


def test_an_unknown_policy_names_the_known_ones():
    with pytest.raises(KDError, match=r"Unknown view policy 'crops'\. Did you mean 'crop'\?"):
        policy("crops")
