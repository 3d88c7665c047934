"""Metrics against hand-worked values and independent references."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from kdengine.errors import KDError
from kdengine.losses import IGNORE
from kdengine.measures import metrics


def test_softened_distribution_of_the_handout():
    # REFERENCE: softmax of [10, 2, -3], worked out from exp(8) and exp(13), exp(8/5) and exp(13/5).
    logits = torch.tensor([10.0, 2.0, -3.0], dtype=torch.float64)
    for temperature in (1.0, 5.0):
        weights = [1.0, math.exp(-8 / temperature), math.exp(-13 / temperature)]
        expected = [weight / sum(weights) for weight in weights]
        assert metrics.soften(logits, temperature).tolist() == pytest.approx(expected, rel=1e-12)
    assert metrics.soften(logits, 5.0).tolist() == pytest.approx([0.784, 0.158, 0.058], abs=5e-4)


def test_entropy_of_certain_and_uniform():
    assert metrics.entropy(torch.tensor([1.0, 0.0])).item() == 0
    assert metrics.entropy(torch.full((5,), 0.2)).item() == pytest.approx(math.log(5), rel=1e-6)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(KDError, match="temperature is 0"):
        metrics.soften(torch.zeros(2), 0)


def test_top_k():
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [3.0, 1.0, 2.0]])
    target = torch.tensor([0, 0, 2, 1])
    assert metrics.top_k(logits, target, 1) == 0.25
    assert metrics.top_k(logits, target, 2) == 0.5
    assert metrics.top_k(logits, target, 5) == 1.0


@pytest.mark.parametrize("right", [301, 347, 352])
def test_shares_are_counts_over_counts_to_the_last_digit(right):
    logits = torch.tensor([[1.0, 0.0]] * right + [[0.0, 1.0]] * (359 - right))
    counts = torch.tensor([[right, 359 - right], [0, 0]])
    assert metrics.top_k(logits, torch.zeros(359, dtype=torch.long), 1) == right / 359
    assert metrics.agreement(logits, torch.tensor([[1.0, 0.0]] * 359)) == right / 359
    assert metrics.pixel_accuracy(counts) == right / 359


def test_agreement_and_kl():
    student, teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    assert metrics.agreement(student, teacher) == 0.5
    p, q = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-1))
    same = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    other = (1 - p) * math.log((1 - p) / q) + p * math.log(p / (1 - q))
    assert metrics.kl_to_teacher(student, teacher) == pytest.approx((same + other) / 2, rel=1e-6)


def test_calibration_error_of_a_known_confidence():
    # Ten predictions of confidence 0.8, five of them right: |0.5 - 0.8| in one bin.
    logits = torch.tensor([[math.log(4.0), 0.0]]).repeat(10, 1)
    target = torch.tensor([0, 1] * 5)
    assert metrics.calibration_error(logits, target) == pytest.approx(0.3, abs=1e-6)


def test_calibration_error_equals_a_loop_over_bins():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 4, generator=generator, dtype=torch.float64) * 2
    target = torch.randint(4, (500,), generator=generator)
    probabilities = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == target.numpy()
    expected = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert metrics.calibration_error(logits, target) == pytest.approx(expected, rel=1e-9)


def heats(seed, count, *size, levels=1_000):
    """Heat maps in [0, 1]; with few levels many of a map's values are equal."""
    return torch.randint(levels, (count, *size), generator=torch.Generator().manual_seed(seed)).double() / (levels - 1)


@given(st.integers(0, 10_000), st.sampled_from([3, 1_000]))
def test_map_correlation_is_spearman_s_of_each_pair(seed, levels):
    first, second = (heats(each, 3, 4, 5, levels=levels) for each in (seed, seed + 1))
    expected = [spearmanr(*(each.flatten() for each in pair))[0] for pair in zip(first, second, strict=True)]
    assert metrics.map_correlation(first, second).tolist() == pytest.approx(expected)
    assert metrics.map_correlation(first, 2 * first**3).tolist() == pytest.approx([1] * 3)  # ranks alone count


def test_a_constant_map_has_no_ranking_and_says_so():
    first = torch.stack([torch.ones(2, 3), torch.arange(6).view(2, 3)])
    assert metrics.map_correlation(first, heats(0, 2, 2, 3)).isnan().tolist() == [True, False]


def test_map_cosine_on_worked_examples():
    first = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]], [[0.3, 0.4]]])
    second = torch.tensor([[[1.0, 1.0]], [[1.0, 1.0]], [[0.6, 0.8]]])
    assert metrics.map_cosine(first, second).tolist() == pytest.approx([math.sqrt(0.5), 0, 1])


def test_map_overlap_is_intersection_over_union_of_the_hottest_fifth():
    first, second = torch.zeros(1, 2, 5), torch.zeros(1, 2, 5)
    first[0, 0, :2] = torch.tensor([1.0, 0.9])
    second[0, 0, 1:3] = torch.tensor([1.0, 0.9])
    assert metrics.map_overlap(first, first).item() == 1
    assert metrics.map_overlap(first, second).item() == pytest.approx(1 / 3)


def test_positions_that_tie_for_the_last_place_share_it():
    """Of ten, two are the hottest: the first map has one, and nine zeros share the other place."""
    first, second = torch.zeros(1, 1, 10), torch.zeros(1, 1, 10)
    first[0, 0, 0] = second[0, 0, 9] = 1
    both = 8 * 1 / 9 + 2 * 1 / 9  # eight zeros of both, and each one's peak is a zero of the other
    assert metrics.map_overlap(first, second).item() == pytest.approx(both / (4 - both))
    assert metrics.map_overlap(first, first).item() == pytest.approx(1)


@given(st.integers(0, 10_000), st.sampled_from([2, 4, 1_000]))
def test_two_maps_are_as_alike_as_the_other_two_way_round_and_wherever_they_lie(seed, levels):
    first, second = (heats(each, 2, 5, 5, levels=levels) for each in (seed, seed + 1))
    order = torch.randperm(25, generator=torch.Generator().manual_seed(seed))
    moved = [each.flatten(1)[:, order].view(2, 5, 5) for each in (first, second)]
    for measure, least in ((metrics.map_correlation, -1), (metrics.map_cosine, 0), (metrics.map_overlap, 0)):
        values = measure(first, second)
        assert ((least <= values) & (values <= 1 + 1e-12)).all()
        torch.testing.assert_close(measure(second, first), values)
        torch.testing.assert_close(measure(*moved), values)
        torch.testing.assert_close(measure(first[1:], second[1:])[0], values[1])


# --- segmentation


def answered(seed, shape, classes):
    """Answers and truth of a shape [N, H, W], or [N]; some pixels have no class, and some classes do not occur."""
    generator = torch.Generator().manual_seed(seed)
    target, predicted = (torch.randint(each, shape, generator=generator) for each in (max(1, classes - 1), classes))
    predicted = torch.where(torch.rand(shape, generator=generator) < 0.5, target, predicted)
    target[torch.rand(shape, generator=generator) < 0.2] = IGNORE
    return predicted, target


def slow_confusion(predicted, target, classes):
    counts = np.zeros((len(target), classes, classes), dtype=np.int64)
    for place in np.ndindex(*target.shape):
        if target[place] != IGNORE:
            counts[place[0], target[place], predicted[place]] += 1
    return counts


def slow_iou(predicted, target, classes):
    """Of each class, from the sets of its pixels; None where neither has any."""
    found = []
    for label in range(classes):
        truth = {place for place in np.ndindex(*target.shape) if target[place] == label}
        answer = {place for place in np.ndindex(*target.shape) if predicted[place] == label and target[place] != IGNORE}
        found.append(len(truth & answer) / len(truth | answer) if truth | answer else None)
    return found


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([(1, 1, 1), (3, 4, 2), (2, 5, 5), (6,)]), st.integers(2, 6))
def test_confusion_and_what_is_made_of_it_equal_a_loop_over_the_pixels(seed, shape, classes):
    predicted, target = answered(seed, shape, classes)
    expected = slow_confusion(predicted.numpy(), target.numpy(), classes)
    counts = metrics.confusion(predicted, target, classes)
    assert counts.dtype == torch.long
    np.testing.assert_array_equal(counts.numpy(), expected)
    total = counts.sum(dim=0)
    of_classes = slow_iou(predicted.numpy(), target.numpy(), classes)
    found = metrics.class_iou(total)
    assert found.dtype == torch.float64
    assert [None if math.isnan(each) else each for each in found.tolist()] == pytest.approx(of_classes)
    there = [each for each in of_classes if each is not None]
    if there:
        assert metrics.mean_iou(total) == pytest.approx(sum(there) / len(there))
        right = (predicted == target).sum() / (target != IGNORE).sum()
        assert metrics.pixel_accuracy(total) == pytest.approx(right.item(), abs=1e-6)


def test_iou_by_hand():
    # Class 0: 3 right, 1 taken for 1; class 1: 2 right, 2 taken for 0. Class 2 is nowhere.
    counts = torch.tensor([[3, 1, 0], [2, 2, 0], [0, 0, 0]])
    assert metrics.class_iou(counts)[:2].tolist() == pytest.approx([3 / 6, 2 / 5])
    assert math.isnan(metrics.class_iou(counts)[2])
    assert metrics.mean_iou(counts) == pytest.approx((3 / 6 + 2 / 5) / 2)
    assert metrics.pixel_accuracy(counts) == pytest.approx(5 / 8)


def test_a_class_that_is_only_answered_counts_as_0():
    assert metrics.mean_iou(torch.tensor([[3, 1], [0, 0]])) == pytest.approx((3 / 4 + 0) / 2)


def test_an_answer_where_there_is_no_truth_counts_nowhere():
    truth = torch.tensor([[[0, 1], [IGNORE, IGNORE]]])
    for answer in (0, 1):
        predicted = torch.tensor([[[0, 1], [answer, answer]]])
        assert metrics.confusion(predicted, truth, 2).tolist() == [[[1, 0], [0, 1]]]
    assert metrics.confusion(predicted, torch.full_like(truth, IGNORE), 2).tolist() == [[[0, 0], [0, 0]]]


def test_divergences_are_by_item_and_their_mean_is_the_kl_to_the_teacher():
    student, teacher = torch.randn(2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p, q = (np.exp(each.numpy()) / np.exp(each.numpy()).sum(axis=1, keepdims=True) for each in (teacher, student))
    assert metrics.divergences(student, teacher).tolist() == pytest.approx((p * np.log(p / q)).sum(axis=1))
    assert metrics.divergences(student, teacher).mean().item() == pytest.approx(metrics.kl_to_teacher(student, teacher))
