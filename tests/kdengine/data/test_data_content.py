"""Holding out, thinning and withholding labels; the digest; what a data set says of its pixels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdengine.data.content import (
    content,
    digest,
    drop_class,
    hold_out,
    select,
    take_share,
    withhold_labels,
    withhold_masks,
)
from kdengine.data.dataset import DataSet
from kdengine.errors import KDError
from kdengine.losses import IGNORE
from kdengine.views import Split

targets = st.lists(st.integers(0, 3), min_size=1, max_size=80).map(torch.tensor)


def numbered(target):
    """A split whose image i is filled with the number i, so an image can be told from any other."""
    target = torch.as_tensor(target)
    images = torch.arange(len(target), dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2).contiguous()
    return Split(images, target)


def numbers(split):
    return split.images[:, 0, 0, 0].tolist()


def counts(target):
    return dict(zip(*(each.tolist() for each in target.unique(return_counts=True)), strict=True))


@given(targets, st.floats(0.01, 0.99))
def test_holding_out_is_stratified_disjoint_and_complete(target, share):
    kept, held = hold_out(target, share, "any")
    assert sorted(kept.tolist() + held.tolist()) == list(range(len(target)))
    assert kept.tolist() == sorted(kept.tolist())
    assert held.tolist() == sorted(held.tolist())
    of_held = counts(target[held])
    for label, count in counts(target).items():
        taken = of_held.get(label, 0)
        if count == 1:
            assert taken == 0
        else:
            assert 1 <= taken <= count - 1
            assert abs(taken - share * count) <= 0.5 or taken in (1, count - 1)


@given(targets, st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_smaller_share_lies_in_a_larger(target, one, other):
    small, large = (take_share(numbered(target), share) for share in sorted((one, other)))
    assert set(numbers(small)) <= set(numbers(large))
    assert numbers(small) == sorted(numbers(small))
    of_small = counts(small.target)
    for label, count in counts(target).items():
        assert of_small[label] >= 1
        assert abs(of_small[label] - min(one, other) * count) <= 0.5 or of_small[label] == 1
    assert torch.equal(small.target, target[numbers(small)])


@given(targets, st.integers(0, 3), st.floats(0.01, 1))
def test_a_class_left_out_takes_nothing_else_along(target, label, share):
    rest = drop_class(numbered(target), label)
    assert numbers(rest) == [place for place, each in enumerate(target.tolist()) if each != label]
    assert torch.equal(rest.target, target[target != label])
    if len(rest):  # each class is shuffled apart, so a share of the rest is what it was beside the class
        beside = drop_class(take_share(numbered(target), share), label)
        assert numbers(take_share(rest, share)) == numbers(beside)


@given(targets)
def test_fewer_labels_are_among_more(target):
    split, classes = numbered(target), tuple("abcd")
    most = min(counts(target).values())
    before = torch.zeros(len(target), dtype=torch.bool)
    for number in range(1, most + 1):
        withheld = withhold_labels(split, number, classes)
        assert torch.equal(withheld.images, split.images)
        assert counts(withheld.target[withheld.labelled]) == dict.fromkeys(counts(target), number)
        assert torch.equal(withheld.target[withheld.labelled], target[withheld.labelled])
        assert (withheld.target[~withheld.labelled] == IGNORE).all()
        assert bool((withheld.labelled | ~before).all())
        before = withheld.labelled


def masked(count):
    """A split of images told apart, each with a mask of a class of its own."""
    return numbered(torch.arange(count, dtype=torch.int16)[:, None, None].expand(-1, 2, 2).contiguous())


@given(st.integers(1, 40))
def test_fewer_masks_are_among_more(count):
    split, before = masked(count), set()
    for number in range(1, count + 1):
        withheld = withhold_masks(split, number)
        assert torch.equal(withheld.images, split.images)
        kept = set(withheld.labelled.nonzero().flatten().tolist())
        assert len(kept) == number
        assert before < kept
        assert torch.equal(withheld.target[withheld.labelled], split.target[withheld.labelled])
        assert (withheld.target[~withheld.labelled] == IGNORE).all()
        before = kept


@pytest.mark.parametrize("number", [-1, 0, 4])
def test_masks_beyond_the_images_are_refused(number):
    with pytest.raises(KDError, match=rf"labelled_images is {number}; allowed is from 1 to 3, all the images"):
        withhold_masks(masked(3), number)


@pytest.mark.parametrize("number", [-1, 0, 3])
def test_labels_beyond_the_smallest_class_are_refused(number):
    with pytest.raises(KDError, match=rf"labels_per_class is {number}; allowed is from 1 to 2, .* 'tulip'"):
        withhold_labels(numbered([0, 0, 0, 1, 1]), number, ("rose", "tulip"))


def test_what_is_held_out_depends_on_the_purpose():
    target = torch.zeros(200, dtype=torch.long)
    one, other = (hold_out(target, 0.5, purpose)[1].tolist() for purpose in ("validation", "test"))
    assert one != other
    assert 25 < len(set(one) & set(other)) < 75  # independent halves of 200 share 50, standard deviation 3.5


def test_what_is_held_out_is_no_run_of_neighbours():
    held = hold_out(torch.zeros(1000, dtype=torch.long), 0.1, "validation")[1].double()
    assert abs(held.mean() - 499.5) < 4 * 288.7 / 10  # 100 of 1000 at random: four standard errors


def test_a_class_is_shuffled_apart_from_the_others():
    """Adding a class changes nothing for those before it: a folder that gains a class keeps its validation images."""
    few, more = torch.zeros(50, dtype=torch.long), torch.tensor([0] * 50 + [1] * 20)
    assert hold_out(few, 0.2, "validation")[1].tolist() == [
        each for each in hold_out(more, 0.2, "validation")[1].tolist() if each < 50
    ]


def test_without_a_validation_split_a_tenth_of_each_class_is_held_out():
    whole = numbered([0] * 40 + [1] * 20)
    made = content(("a", "b"), whole, test=numbered([0, 1]))
    assert counts(made.validation.target) == {0: 4, 1: 2}
    assert sorted(numbers(made.train) + numbers(made.validation)) == list(range(60))


@given(st.integers(2, 80), st.floats(0.01, 0.99))
def test_of_masks_a_share_of_all_is_taken(count, share):
    masks = torch.randint(3, (count, 2, 2), generator=torch.Generator().manual_seed(count)).to(torch.int16)
    whole = numbered(masks)
    kept, held = hold_out(masks, share, "any")
    assert sorted(kept.tolist() + held.tolist()) == list(range(count))
    assert abs(len(held) - share * count) <= 0.5 or len(held) in (1, count - 1)
    fewer = take_share(whole, share)
    assert abs(len(fewer) - share * count) <= 0.5 or len(fewer) == 1
    assert numbers(fewer) == sorted(numbers(fewer))
    assert torch.equal(fewer.target, masks[numbers(fewer)])
    # As of labels that are all alike.
    assert held.tolist() == hold_out(torch.zeros(count, dtype=torch.long), share, "any")[1].tolist()


def test_content_with_masks_is_for_segmentation():
    labels, masks = numbered([0, 0, 1, 1]), numbered(torch.zeros(30, 2, 2, dtype=torch.int16))
    assert content(("a", "b"), labels, test=labels).task == "classification"
    made = content(("a", "b"), masks, test=masks)
    assert made.task == "segmentation"
    assert (len(made.train), len(made.validation)) == (27, 3)


def test_a_given_validation_split_is_left_alone():
    whole, other = numbered([0, 0, 1, 1]), numbered([1, 0])
    made = content(("a", "b"), whole, test=whole, validation=other)
    assert made.train is whole
    assert made.validation is other


def test_nothing_to_hold_out_is_an_error():
    with pytest.raises(KDError, match="more than one training image"):
        content(("a", "b"), numbered([0, 1]), test=numbered([0, 1]))


def test_the_digest_sees_classes_pixels_targets_shapes_and_order():
    split = numbered([0, 1, 1])
    base = digest(("a", "b"), split)
    assert len(base) == 16
    assert base == digest(("a", "b"), numbered([0, 1, 1]))
    pixels = split.images.clone()
    pixels[2, 1, 0, 1] += 1
    others = [
        digest(("a", "c"), split), digest(("ab",), split), digest(("a", "b"), Split(pixels, split.target)),
        digest(("a", "b"), numbered([0, 1, 0])), digest(("a", "b"), select(split, torch.tensor([1, 0, 2]))),
        digest(("a", "b"), Split(split.images.reshape(3, 3, 1, 4), split.target)), digest(("a", "b"), split, split),
    ]
    assert len({base, *others}) == 1 + len(others)


def data_set(images):
    split = Split(images, torch.zeros(len(images), dtype=torch.long))
    return DataSet("x", "X", "classification", ("a", "b"), split, split, split, "none", "0" * 16)


def test_mean_and_deviation_are_exact():
    images = torch.randint(0, 256, (50, 3, 6, 6), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images[:, 2] //= 8
    flat = images.double().div(255).transpose(0, 1).flatten(1)
    found = data_set(images)
    assert found.mean == pytest.approx(flat.mean(1).tolist(), abs=1e-14)
    assert found.std == pytest.approx(flat.std(1, correction=0).tolist(), abs=1e-14)
    assert found.size == 6


def test_half_black_half_white_has_the_closed_form():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    images[1] = 255
    assert data_set(images).mean == (0.5, 0.5, 0.5)
    assert data_set(images).std == (0.5, 0.5, 0.5)


def test_a_constant_channel_keeps_normalisation_finite():
    images = torch.full((2, 3, 4, 4), 51, dtype=torch.uint8)
    assert data_set(images).mean == pytest.approx((0.2, 0.2, 0.2))
    assert data_set(images).std == (1.0, 1.0, 1.0)
