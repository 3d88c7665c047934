"""Views are a pure function of (split, policy, seed, epoch)."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import functional

from kdengine.errors import KDError
from kdengine.losses import IGNORE
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


def by_torchvision(image, colors):
    """One image [3, H, W] in [0, 1] with its brightness, contrast, saturation and hue adjusted in turn."""
    for adjust, value in zip(
        (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation, functional.adjust_hue),
        colors.tolist(), strict=True,
    ):
        image = adjust(image, value)
    return image


def colored(split, colors):
    """The split in its own order, every image with the given row of colours."""
    drawn = views(split, Policy(jitter=1.0), 0, 0)
    order = torch.arange(len(split))
    return replace(drawn, order=order, colors=torch.as_tensor(colors).expand(len(split), 4)).render(0, len(split))


def special_split():
    """Noise, and images in which hue or saturation has no meaning or a tie: greys, black, white, pure colours."""
    pure = torch.tensor([[0, 0, 0], [255, 255, 255], [90, 90, 90], [255, 0, 0], [0, 255, 0], [0, 0, 255],
                         [255, 255, 0], [0, 255, 255], [255, 0, 255], [7, 7, 3], [3, 7, 7], [7, 3, 7]])
    images = pure[:, :, None, None].expand(-1, 3, 8, 8).to(torch.uint8)
    return Split(torch.cat([make_split(20).images, images]), torch.zeros(32, dtype=torch.long))


@pytest.mark.parametrize("colors", [
    [0.0, 1, 1, 0], [0.4, 1, 1, 0], [1.7, 1, 1, 0],  # brightness alone
    [1, 0.0, 1, 0], [1, 0.4, 1, 0], [1, 1.7, 1, 0],  # contrast
    [1, 1, 0.0, 0], [1, 1, 0.4, 0], [1, 1, 1.7, 0],  # saturation
    [1, 1, 1, -0.5], [1, 1, 1, -0.25], [1, 1, 1, -0.07], [1, 1, 1, 0.07], [1, 1, 1, 1 / 6], [1, 1, 1, 0.25],  # hue
    [1.3, 0.7, 1.4, 0.1], [0.6, 1.4, 0.6, -0.1],
])
def test_each_adjustment_is_that_of_torchvision(colors):
    split = special_split()
    colors = torch.tensor(colors, dtype=torch.float32)
    expected = torch.stack([by_torchvision(image, colors) for image in split.images.float() / 255])
    torch.testing.assert_close(colored(split, colors), expected, rtol=0, atol=1e-5)


def test_jitter_is_torchvisions_with_the_factors_drawn_for_each_image():
    split = make_split(60)
    drawn = views(split, POLICIES["crop+flip+jitter"], 5, 3)
    plain = views(split, POLICIES["crop+flip"], 5, 3).render(0, 60)
    expected = torch.stack([by_torchvision(*each) for each in zip(plain, drawn.colors, strict=True)])
    torch.testing.assert_close(drawn.render(0, 60), expected, rtol=0, atol=1e-5)
    assert len(drawn.colors.unique(dim=0)) == 60


def test_factor_1_and_hue_0_change_nothing():
    split = special_split()
    # Hue goes through numbers up to 6, whose last bit is 5e-7: far below half a step of a uint8, 2e-3.
    torch.testing.assert_close(colored(split, [1.0, 1, 1, 0]), split.images.float() / 255, rtol=0, atol=1e-6)


def test_hue_is_in_turns_of_the_full_circle():
    red = Split(torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1), torch.zeros(1, dtype=torch.long))
    for turn, color in [(1 / 3, [0, 1, 0]), (-1 / 3, [0, 0, 1]), (0.5, [0, 1, 1]), (0.25, [0.5, 1, 0])]:
        assert colored(red, [1, 1, 1, turn]).flatten().tolist() == pytest.approx(color, abs=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_factors_fill_the_range_of_their_strength(strength):
    colors = views(make_split(4000, 1), Policy(jitter=strength), 0, 0).colors
    low, high = colors.amin(0), colors.amax(0)
    reach = strength * torch.tensor([1, 1, 1, 0.25])
    center = torch.tensor([1.0, 1, 1, 0])
    torch.testing.assert_close(low, center - reach, rtol=0, atol=0.01)
    torch.testing.assert_close(high, center + reach, rtol=0, atol=0.01)
    assert bool((low >= center - reach - 1e-6).all()) and bool((high <= center + reach + 1e-6).all())
    torch.testing.assert_close(colors.mean(0), center, rtol=0, atol=0.04)
    if strength:
        off_diagonal = torch.corrcoef(colors.T) - torch.eye(4)
        assert off_diagonal.abs().max() < 0.07  # the four are drawn apart; standard error 0.016


def test_jitter_leaves_order_crops_and_flips_as_they_were():
    split = make_split()
    plain, colored = (views(split, POLICIES[name], 4, 2) for name in ("crop+flip", "crop+flip+jitter"))
    generator = torch.Generator().manual_seed(seed_from("views", 4, 2))  # what was drawn before there was a jitter
    order = torch.randperm(23, generator=generator)
    offsets = torch.randint(0, 9, (23, 2), generator=generator)
    flips = torch.rand(23, generator=generator) < 0.5
    for drawn in (plain, colored):
        assert torch.equal(drawn.order, order)
        assert torch.equal(drawn.offsets, offsets)
        assert torch.equal(drawn.flips, flips)
    assert not torch.equal(plain.render(0, 23), colored.render(0, 23))


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
    colors = torch.tensor([1.0, 1, 1, 0]) + (2 * torch.rand(30, 4, generator=generator) - 1) * torch.tensor(
        [0.4, 0.4, 0.4, 0.1])
    exact = torch.stack([by_torchvision(*each) for each in zip(split.images.float() / 255, colors, strict=True)])
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


# --- masks, and zoom


CODES = torch.tensor([40, 80, 120, 160])
"""The colour of each class in `coded_split`; a pixel of it without a class is WITHOUT, and what is outside is 0."""
WITHOUT = 220


def coded_split(count=40, size=20):
    """Images whose colour says what their mask says, in cells of 5 x 5 pixels."""
    generator = torch.Generator().manual_seed(8)
    cells = torch.randint(-1, len(CODES), (count, size // 5, size // 5), generator=generator)
    cells = cells.repeat_interleave(5, 1).repeat_interleave(5, 2)
    images = torch.where(cells < 0, WITHOUT, CODES[cells])[:, None].expand(-1, 3, -1, -1).to(torch.uint8)
    return Split(images, torch.where(cells < 0, IGNORE, cells).to(torch.int16))


def said(images):
    """The mask that the colours of images [B, 3, H, W] say, each pixel's own; -1 where it is no one colour of CODES."""
    values = images[:, 0] * 255
    mask = torch.full(values.shape, -1)
    for number, code in [*enumerate(CODES.tolist()), (IGNORE, WITHOUT), (IGNORE, 0)]:
        mask[(values - code).abs() < 0.01] = number
    return mask


@pytest.mark.parametrize("name", [name for name, each in POLICIES.items() if each.zoom == 1])
def test_a_mask_moves_with_its_image(name):
    split = coded_split()
    drawn = views(split, replace(POLICIES[name], jitter=0.0), 3, 1)
    images, target = drawn.render(0, len(split)), drawn.target(0, len(split))
    assert target.dtype == torch.long
    assert torch.equal(target, said(images))
    assert torch.equal(views(split, POLICIES[name], 3, 1).target(0, len(split)), target)  # colours move nothing
    outside = images[:, 0] == 0
    assert outside.any() == (POLICIES[name].padding > 0)
    assert (target[outside] == IGNORE).all()


@pytest.mark.parametrize("policy", [POLICIES["zoom+flip"], Policy(padding=3, flip=True, zoom=2.0)])
def test_a_zoomed_mask_agrees_with_its_image_wherever_that_is_of_one_colour(policy):
    split = coded_split()
    drawn = views(split, policy, 3, 1)
    images, target = drawn.render(0, len(split)), drawn.target(0, len(split))
    # Between two colours the image is a mixture; inside a patch of one colour it is not.
    patches = images[:, :1].unfold(2, 3, 1).unfold(3, 3, 1).flatten(4)
    plain = (patches.amax(4) - patches.amin(4) < 1e-3)[:, 0]
    assert plain.float().mean() > 0.2
    assert torch.equal(target[:, 1:-1, 1:-1][plain], said(images)[:, 1:-1, 1:-1][plain])
    assert set(target[:, 1:-1, 1:-1][plain].tolist()) == {IGNORE, 0, 1, 2, 3}


def looked_up(image, mask, window):
    """The slow reference of a zoom: float64 [3, H, W] and [H, W], and where rounding could decide otherwise.

    Pixel centres lie at (i + 1/2) / H. The image is read between its four nearest pixels, the mask at the nearest.
    """
    shown, across, down = window
    height, width = mask.shape
    seen, answer, doubtful = np.zeros((3, height, width)), np.full((height, width), IGNORE), np.zeros(mask.shape, bool)

    def inside(row, column):
        return 0 <= row < height and 0 <= column < width

    for i in range(height):
        for j in range(width):
            y = (((2 * i + 1) / height - 1) * shown + down + 1) * height / 2 - 0.5
            x = (((2 * j + 1) / width - 1) * shown + across + 1) * width / 2 - 0.5
            top, left = math.floor(y), math.floor(x)
            for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                if inside(row, column):
                    seen[:, i, j] += (1 - abs(y - row)) * (1 - abs(x - column)) * image[:, row, column]
            nearest = math.floor(y + 0.5), math.floor(x + 0.5)
            if inside(*nearest):
                answer[i, j] = mask[nearest]
            doubtful[i, j] = min(abs(y + 0.5 - round(y + 0.5)), abs(x + 0.5 - round(x + 0.5))) < 1e-4
    return seen, answer, doubtful


def test_a_zoom_is_that_of_the_slow_reference():
    """Noise, and more rows than columns; what the window shows from beyond the image is 0, and IGNORE in its mask."""
    generator = torch.Generator().manual_seed(5)
    split = Split(torch.randint(0, 256, (12, 3, 14, 9), generator=generator).to(torch.uint8),
                  torch.randint(0, 30, (12, 14, 9), generator=generator).to(torch.int16))
    drawn = views(split, Policy(zoom=1.8), 2, 0)
    images, target = drawn.render(0, 12), drawn.target(0, 12)
    outside = []
    for place, index in enumerate(drawn.order.tolist()):
        seen, answer, doubtful = looked_up(
            split.images[index].double().numpy() / 255, split.target[index].numpy(), drawn.windows[place].tolist())
        np.testing.assert_allclose(images[place].numpy(), seen, atol=1e-4)
        np.testing.assert_array_equal(target[place].numpy()[~doubtful], answer[~doubtful])
        assert doubtful.mean() < 0.1
        outside.append((answer == IGNORE).mean())
    assert min(outside) == 0 and max(outside) > 0.2


@pytest.mark.parametrize("zoom", [1.0, 1.5, 3.0])
def test_windows_are_drawn_from_the_whole_range_of_their_zoom(zoom):
    shown, across, down = views(make_split(6000, 1), Policy(zoom=zoom), 0, 0).windows.unbind(1)
    scale = shown.log() / math.log(zoom) if zoom > 1 else shown.log()  # uniform on [-1, 1], but for no zoom
    assert bool((scale.abs() <= 1 + 1e-5).all())
    # A window smaller than the image lies in it, a larger one holds it.
    room = (1 - shown).abs()
    assert bool((across.abs() <= room + 1e-6).all()) and bool((down.abs() <= room + 1e-6).all())
    if zoom == 1:
        assert bool((shown == 1).all()) and not across.any() and not down.any()
        return
    for each in (scale, across / room, down / room):
        ordered = each.sort().values
        uniform = torch.linspace(-1, 1, 6000)
        assert (ordered - uniform).abs().max() < 0.06  # Kolmogorov and Smirnov's distance, doubled: 0.04 at 2%
    off_diagonal = torch.corrcoef(torch.stack([scale, across / room, down / room])) - torch.eye(3)
    assert off_diagonal.abs().max() < 0.06  # drawn apart; standard error 0.013


def test_zoom_leaves_every_other_draw_as_it_was():
    split = make_split()
    generator = torch.Generator().manual_seed(seed_from("views", 4, 2))  # what was drawn before there was a zoom
    order = torch.randperm(23, generator=generator)
    offsets = torch.randint(0, 9, (23, 2), generator=generator)
    flips = torch.rand(23, generator=generator) < 0.5
    colors = torch.tensor([1.0, 1, 1, 0]) + 0.4 * torch.tensor([1, 1, 1, 0.25]) * (
        2 * torch.rand(23, 4, generator=generator) - 1)
    for zoom in (1.0, 1.5):
        drawn = views(split, Policy(padding=4, flip=True, zoom=zoom, jitter=0.4), 4, 2)
        assert torch.equal(drawn.order, order)
        assert torch.equal(drawn.offsets, offsets)
        assert torch.equal(drawn.flips, flips)
        assert torch.equal(drawn.colors, colors)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("size", [2, 7, 64])
def test_the_same_masks_and_pixels_whatever_the_batch_size(name, size):
    split = coded_split(25, 30)
    drawn = views(split, POLICIES[name], 6, 0)
    parts = list(drawn.batches(size))
    assert torch.equal(torch.cat([images for _, images, _ in parts]), drawn.render(0, 25))
    assert torch.equal(torch.cat([target for _, _, target in parts]), drawn.target(0, 25))


def test_labels_come_in_the_order_of_their_images():
    split = make_split()
    drawn = views(split, POLICIES["zoom+flip"], 0, 0)
    assert torch.equal(drawn.target(3, 9), split.target[drawn.order[3:9]])


@pytest.mark.parametrize("zoom", [0.5, 0.0, float("nan"), float("inf")])
def test_a_zoom_out_of_range_is_refused(zoom):
    with pytest.raises(KDError, match=rf"zoom is {zoom}; allowed is a number of at least 1\."):
        Policy(zoom=zoom)


def test_an_image_is_labelled_where_any_pixel_of_its_mask_is():
    masks = torch.full((3, 2, 2), IGNORE, dtype=torch.int16)
    masks[0, 1, 1], masks[2] = 0, 5
    assert Split(torch.zeros(3, 3, 2, 2, dtype=torch.uint8), masks).labelled.tolist() == [True, False, True]


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_inside_of_an_image_is_what_has_a_class_where_all_pixels_have_one(name):
    split = coded_split()
    drawn = views(Split(split.images, split.target.clamp(min=0)), POLICIES[name], 3, 1)
    inside = drawn.inside(4, 30)
    assert inside.dtype == torch.bool
    assert torch.equal(inside, drawn.target(4, 30) != IGNORE)
    assert inside.all() == (POLICIES[name].padding == 0 and POLICIES[name].zoom == 1)


# --- few labels


def withheld(count, known):
    """A split of which only the first `known` images have a label."""
    split = make_split(count)
    split.target[known:] = IGNORE
    return split


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 200), st.data(), st.sampled_from([0.25, 0.5, 0.75, 1.0]), st.integers(2, 64))
def test_each_batch_has_its_part_of_labels(count, data, share, size):
    known = data.draw(st.integers(1, count))
    split = withheld(count, known)
    shown = views(split, POLICIES["none"], 0, 0, share)
    assert len(shown.order) == count
    labelled = split.labelled[shown.order]
    if known >= share * count:  # chance brings as many
        assert sorted(shown.order.tolist()) == list(range(count))
        return
    assert int(labelled.sum()) == math.floor(share * count)
    for index, _, target in shown.batches(size):
        assert abs(int((target != IGNORE).sum()) - share * len(index)) < 1
    shown_labels = shown.order[labelled].bincount(minlength=count)[:known]
    assert shown_labels.max() - shown_labels.min() <= 1  # no labelled image is preferred
    others = shown.order[~labelled]
    assert len(others.unique()) == len(others)  # the others are shown once at most


@pytest.mark.parametrize("epoch", range(6))
def test_labels_that_are_just_as_many_as_fit_are_spread_evenly_too(epoch):
    """Two of five, where half are asked for: chance would put both into one batch."""
    shown = views(withheld(5, 2), POLICIES["none"], 0, epoch, 0.5)
    assert [int((target != IGNORE).sum()) for _, _, target in shown.batches(2)] == [1, 1]
    assert sorted(shown.order.tolist()) == list(range(5))


def test_an_image_shown_twice_is_shown_as_two_views():
    split = withheld(40, 2)
    shown = views(split, POLICIES["crop"], 0, 0, 0.5)
    first, second, *_ = (shown.order == 0).nonzero().flatten().tolist()
    assert not torch.equal(shown.render(first, first + 1), shown.render(second, second + 1))


def test_with_all_labels_the_order_is_as_it_always_was():
    split = make_split()
    generator = torch.Generator().manual_seed(seed_from("views", 3, 1))
    assert torch.equal(views(split, POLICIES["crop"], 3, 1, 0.5).order, torch.randperm(len(split), generator=generator))


def test_another_epoch_shows_others_of_the_unlabelled():
    split = withheld(100, 10)
    shown = [set(views(split, POLICIES["none"], 0, epoch, 0.5).order.tolist()) for epoch in range(8)]
    assert shown[0] != shown[1]
    assert set.union(*shown) == set(range(100))


def test_a_share_whose_product_rounds_leaves_as_many_as_are_due():
    # 0.137 * 3000 lies just above 411 in double, and just below in float.
    shown = views(withheld(3000, 411), POLICIES["none"], 0, 0, 0.137)
    assert len(shown.order) == 3000
