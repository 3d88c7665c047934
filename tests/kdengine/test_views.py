"""Views are a pure function of (split, policy, seed, epoch)."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import functional

from kdengine.errors import KDError
from kdengine.signals import IGNORE
from kdengine.views import POLICIES, Policy, Split, jittered, policy, seed_from, steps_per_epoch, views


def make_split(count=23, size=8):
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(count) % 4)


def rendered(split, name, seed=0, epoch=0, size=5):
    parts = list(views(split, POLICIES[name], seed, epoch).batches(size))
    return torch.cat([index for index, _, _ in parts]), torch.cat([images for _, images, _ in parts])


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


def by_torchvision(image, colours):
    """One image [3, H, W] in [0, 1] with its brightness, contrast, saturation and hue adjusted in turn."""
    for adjust, value in zip(
        (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation, functional.adjust_hue),
        colours.tolist(), strict=True,
    ):
        image = adjust(image, value)
    return image


def coloured(split, colours):
    """The split in its own order, every image with the given row of colours."""
    drawn = views(split, Policy(jitter=1.0), 0, 0)
    order = torch.arange(len(split))
    return replace(drawn, order=order, colours=torch.as_tensor(colours).expand(len(split), 4)).render(0, len(split))


def special_split():
    """Noise, and images in which hue or saturation has no meaning or a tie: greys, black, white, pure colours."""
    pure = torch.tensor([[0, 0, 0], [255, 255, 255], [90, 90, 90], [255, 0, 0], [0, 255, 0], [0, 0, 255],
                         [255, 255, 0], [0, 255, 255], [255, 0, 255], [7, 7, 3], [3, 7, 7], [7, 3, 7]])
    images = pure[:, :, None, None].expand(-1, 3, 8, 8).to(torch.uint8)
    return Split(torch.cat([make_split(20).images, images]), torch.zeros(32, dtype=torch.long))


@pytest.mark.parametrize("colours", [
    [0.0, 1, 1, 0], [0.4, 1, 1, 0], [1.7, 1, 1, 0],  # brightness alone
    [1, 0.0, 1, 0], [1, 0.4, 1, 0], [1, 1.7, 1, 0],  # contrast
    [1, 1, 0.0, 0], [1, 1, 0.4, 0], [1, 1, 1.7, 0],  # saturation
    [1, 1, 1, -0.5], [1, 1, 1, -0.25], [1, 1, 1, -0.07], [1, 1, 1, 0.07], [1, 1, 1, 1 / 6], [1, 1, 1, 0.25],  # hue
    [1.3, 0.7, 1.4, 0.1], [0.6, 1.4, 0.6, -0.1],
])
def test_each_adjustment_is_that_of_torchvision(colours):
    split = special_split()
    colours = torch.tensor(colours, dtype=torch.float32)
    expected = torch.stack([by_torchvision(image, colours) for image in split.images.float() / 255])
    torch.testing.assert_close(coloured(split, colours), expected, rtol=0, atol=1e-5)


def test_jitter_is_torchvisions_with_the_factors_drawn_for_each_image():
    split = make_split(60)
    drawn = views(split, POLICIES["crop+flip+jitter"], 5, 3)
    plain = views(split, POLICIES["crop+flip"], 5, 3).render(0, 60)
    expected = torch.stack([by_torchvision(*each) for each in zip(plain, drawn.colours, strict=True)])
    torch.testing.assert_close(drawn.render(0, 60), expected, rtol=0, atol=1e-5)
    assert len(drawn.colours.unique(dim=0)) == 60


def test_factor_1_and_hue_0_change_nothing():
    split = special_split()
    # Hue goes through numbers up to 6, whose last bit is 5e-7: far below half a step of a uint8, 2e-3.
    torch.testing.assert_close(coloured(split, [1.0, 1, 1, 0]), split.images.float() / 255, rtol=0, atol=1e-6)


def test_hue_is_in_turns_of_the_full_circle():
    red = Split(torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1), torch.zeros(1, dtype=torch.long))
    for turn, colour in [(1 / 3, [0, 1, 0]), (-1 / 3, [0, 0, 1]), (0.5, [0, 1, 1]), (0.25, [0.5, 1, 0])]:
        assert coloured(red, [1, 1, 1, turn]).flatten().tolist() == pytest.approx(colour, abs=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_factors_fill_the_range_of_their_strength(strength):
    colours = views(make_split(4000, 1), Policy(jitter=strength), 0, 0).colours
    low, high = colours.amin(0), colours.amax(0)
    reach = strength * torch.tensor([1, 1, 1, 0.25])
    centre = torch.tensor([1.0, 1, 1, 0])
    torch.testing.assert_close(low, centre - reach, rtol=0, atol=0.01)
    torch.testing.assert_close(high, centre + reach, rtol=0, atol=0.01)
    assert bool((low >= centre - reach - 1e-6).all()) and bool((high <= centre + reach + 1e-6).all())
    torch.testing.assert_close(colours.mean(0), centre, rtol=0, atol=0.04)
    if strength:
        off_diagonal = torch.corrcoef(colours.T) - torch.eye(4)
        assert off_diagonal.abs().max() < 0.07  # the four are drawn apart; standard error 0.016


def test_jitter_leaves_order_crops_and_flips_as_they_were():
    split = make_split()
    plain, coloured = (views(split, POLICIES[name], 4, 2) for name in ("crop+flip", "crop+flip+jitter"))
    generator = torch.Generator().manual_seed(seed_from("views", 4, 2))  # what was drawn before there was a jitter
    order = torch.randperm(23, generator=generator)
    offsets = torch.randint(0, 9, (23, 2), generator=generator)
    flips = torch.rand(23, generator=generator) < 0.5
    for drawn in (plain, coloured):
        assert torch.equal(drawn.order, order)
        assert torch.equal(drawn.offsets, offsets)
        assert torch.equal(drawn.flips, flips)
    assert not torch.equal(plain.render(0, 23), coloured.render(0, 23))


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(KDError, match=r"jitter is .*; allowed is a number from 0 to 1"):
        Policy(jitter=strength)
    with pytest.raises(KDError, match=r"jitter is .*; allowed is a number from 0 to 1"):
        jittered(make_split(), strength, 0)


def test_a_jittered_split_is_the_same_every_time_and_keeps_its_targets():
    split = make_split(300)
    once, again, other = (jittered(split, 0.5, seed) for seed in (1, 1, 2))
    assert once.images.dtype == torch.uint8
    assert torch.equal(once.images, again.images)
    assert torch.equal(once.target, split.target)
    changed = (once.images != other.images).flatten(1).any(1)
    assert changed.all()
    fewer = jittered(Split(split.images[:7], split.target[:7]), 0.5, 1)
    assert torch.equal(fewer.images, once.images[:7])


def test_a_jittered_split_is_torchvisions_rounded():
    split = make_split(30)
    generator = torch.Generator().manual_seed(seed_from("jittered", 9))
    colours = torch.tensor([1.0, 1, 1, 0]) + (2 * torch.rand(30, 4, generator=generator) - 1) * torch.tensor(
        [0.4, 0.4, 0.4, 0.1])
    exact = torch.stack([by_torchvision(*each) for each in zip(split.images.float() / 255, colours, strict=True)])
    found = jittered(split, 0.4, 9).images
    assert (found - 255 * exact).abs().max() <= 0.5 + 255e-5  # the nearest whole number


def test_strength_0_gives_every_colour_back():
    every = torch.arange(256).expand(3, -1)
    split = Split(torch.stack([every[0], every[1].flip(0), every[2].roll(85)]).view(1, 3, 16, 16).to(torch.uint8),
                  torch.zeros(1, dtype=torch.long))
    assert torch.equal(jittered(split, 0.0, 0).images, split.images)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(2, 20))
def test_batches_have_the_asked_size_and_never_train_on_a_left_over_image(count, size):
    sizes = [len(index) for index, _, _ in views(make_split(count, 2), Policy(), 0, 0).batches(size)]
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
