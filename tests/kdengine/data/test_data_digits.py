"""The embedded digits, and the subsets that every data set is loaded with."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from kdengine import data
from kdengine.data.content import digest
from kdengine.errors import KDError
from kdengine.losses import IGNORE
from kdengine.views import POLICIES


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def digits(root):
    return data.load("digits", root=root)


def splits(digits):
    return digits.train, digits.validation, digits.test


def test_sizes_types_and_names(digits):
    assert [len(split) for split in splits(digits)] == [1259, 179, 359]
    assert sum(map(len, splits(digits))) == 1797
    for split in splits(digits):
        assert (split.images.dtype, split.images.shape[1:]) == (torch.uint8, (3, 32, 32))
        assert split.target.dtype == torch.long
        assert split.labelled.all()
    assert digits.classes == tuple("0123456789")
    assert (digits.name, digits.task, digits.size) == ("digits", "classification", 32)
    assert digits.views == "crop"
    assert not POLICIES[digits.views].flip


def test_every_split_is_stratified(digits):
    whole = np.bincount(load_digits().target)
    for split, share in zip(splits(digits), (0.7, 0.1, 0.2), strict=True):
        assert np.abs(np.bincount(split.target) - share * whole).max() <= 1.5


def slow_bilinear(gray):
    """32 x 32 from 8 x 8 by the textbook: pixel centres, edges repeated, the two nearest in each direction."""
    at = (np.arange(32) + 0.5) / 4 - 0.5
    low = np.floor(at).astype(int)
    part = at - low
    weights = np.zeros((32, 8))
    for row in range(32):
        weights[row, min(max(low[row], 0), 7)] += 1 - part[row]
        weights[row, min(max(low[row] + 1, 0), 7)] += part[row]
    return weights @ gray @ weights.T


def test_pixels_and_labels_are_scikit_learns(digits):
    """Each image is found again among the originals, once, by an independent resize; so no image is in two splits."""
    source = load_digits()
    expected = np.stack([slow_bilinear(gray * 255 / 16) for gray in source.images]).reshape(1797, -1)
    images = torch.cat([split.images for split in splits(digits)])
    target = torch.cat([split.target for split in splits(digits)]).numpy()
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])
    found = images[:, 0].reshape(1797, -1).numpy().astype(float)
    distance = (found**2).sum(1)[:, None] - 2 * found @ expected.T + (expected**2).sum(1)[None]
    nearest = distance.argmin(1)
    assert np.abs(found - expected[nearest]).max() <= 1.5  # rounded thrice: scaled, and after each direction
    assert sorted(nearest) == list(range(1797))
    assert np.array_equal(target, source.target[nearest])
    assert (images.min(), images.max()) == (0, 255)


def test_two_loads_are_one_data_set(digits, root, tmp_path):
    assert digits.digest == digest(digits.classes, *splits(digits))
    for place in (root, tmp_path):  # from the cache, and decoded anew
        again = data.load("digits", root=place)
        assert again.digest == digits.digest
        for one, other in zip(splits(digits), splits(again), strict=True):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.target, other.target)


def test_another_size_holds_the_same_digits(digits, root):
    small = data.load("digits", root=root, image_size=8)
    assert small.size == 8
    assert torch.equal(small.test.target, digits.test.target)
    assert small.digest != digits.digest
    source = {gray.tobytes() for gray in ((load_digits().images * 255 + 8) // 16).astype(np.uint8)}
    assert all(image[0].numpy().tobytes() in source for image in small.test.images)


def test_withheld_labels_leave_every_image(digits, root):
    few = data.load("digits", root=root, labels_per_class=5)
    assert torch.equal(few.train.images, digits.train.images)
    assert few.train.target[few.train.labelled].bincount().tolist() == [5] * 10
    assert (few.train.target == IGNORE).sum() == 1259 - 50
    assert (few.labels_per_class, few.share, few.digest) == (5, 1.0, digits.digest)
    assert torch.equal(few.test.target, digits.test.target)
    again = data.load("digits", root=root, labels_per_class=5)
    assert torch.equal(few.train.target, again.train.target)


def test_a_share_thins_train_alone(digits, root):
    tenth = data.load("digits", root=root, share=0.1)
    assert abs(len(tenth.train) - 125.9) <= 5
    assert (len(tenth.validation), len(tenth.test)) == (179, 359)
    assert (tenth.share, tenth.digest) == (0.1, digits.digest)
    fifth = data.load("digits", root=root, share=0.2)
    in_fifth = {image.numpy().tobytes() for image in fifth.train.images}
    assert all(image.numpy().tobytes() in in_fifth for image in tenth.train.images)


def test_a_class_is_left_out_of_train_alone(digits, root):
    rest = data.load("digits", root=root, without_class=3)
    kept = digits.train.target != 3
    assert torch.equal(rest.train.images, digits.train.images[kept])
    assert torch.equal(rest.train.target, digits.train.target[kept])
    for split in ("validation", "test"):
        assert torch.equal(getattr(rest, split).images, getattr(digits, split).images)
        assert torch.equal(getattr(rest, split).target, getattr(digits, split).target)
    assert (rest.without_class, rest.classes, rest.digest) == (3, digits.classes, digits.digest)
    pixels = digits.train.images[kept].double() / 255
    assert rest.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert rest.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), abs=1e-12)


def test_labels_and_share_are_of_the_classes_that_are_left(root):
    few = data.load("digits", root=root, without_class=3, labels_per_class=5, share=0.2)
    assert few.train.target[few.train.labelled].bincount().tolist() == [5, 5, 5, 0, 5, 5, 5, 5, 5, 5]
    beside = data.load("digits", root=root, share=0.2)
    assert torch.equal(few.train.images, beside.train.images[beside.train.target != 3])


@pytest.mark.parametrize("label", [-1, 10, 1.5])
def test_a_class_there_is_not_is_refused_with_those_there_are(root, label):
    with pytest.raises(KDError, match=rf"without_class is {label}; allowed is the number of a class: 0 0, 1 1, .*9 9"):
        data.load("digits", root=root, without_class=label)


def test_labels_are_counted_in_what_the_share_left(root):
    with pytest.raises(KDError, match="labels_per_class is 20; allowed is from 1 to 12"):
        data.load("digits", root=root, share=0.1, labels_per_class=20)


@pytest.mark.parametrize("share", [0, -0.5, 1.01, float("nan")])
def test_a_share_out_of_range_is_refused(root, share):
    with pytest.raises(KDError, match=r"share is .*; allowed is a number above 0 and up to 1"):
        data.load("digits", root=root, share=share)


@pytest.mark.parametrize("size", [7, 1025])
def test_an_image_size_out_of_range_is_refused(root, size):
    with pytest.raises(KDError, match=f"image_size is {size}; allowed is a number from 8 to 1024"):
        data.load("digits", root=root, image_size=size)


def test_unknown_names_and_stray_paths_are_refused(root):
    with pytest.raises(KDError, match=r"Unknown data set 'digit'\. Did you mean 'digits'"):
        data.load("digit", root=root)
    with pytest.raises(KDError, match="'digits:x' gives digits a path"):
        data.load("digits:x", root=root)


def test_there_is_nothing_to_download(root):
    with pytest.raises(KDError, match="nothing to download"):
        data.download("digits", root)


def test_a_data_set_cannot_be_changed(digits):
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits.share = 0.5
