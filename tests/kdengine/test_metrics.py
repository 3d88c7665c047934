"""Metrics against hand-worked values and independent references."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from kdengine import metrics
from kdengine.errors import KDError


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


def test_map_agreement():
    first = torch.tensor([[0.0, 0.1, 0.2], [0.3, 0.9, 1.0]])
    second = torch.tensor([[0.0, 0.2, 0.1], [0.3, 0.3, 1.0]])
    assert metrics.map_correlation(first, second) == pytest.approx(spearmanr(first.flatten(), second.flatten())[0])
    assert metrics.map_correlation(first, 2 * first**3) == pytest.approx(1)  # ranks alone count
    assert metrics.map_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])) == pytest.approx(math.sqrt(0.5))
    assert math.isnan(metrics.map_correlation(first, torch.ones(2, 3)))


def test_map_overlap_is_intersection_over_union_of_the_hottest_fifth():
    first, second = torch.zeros(10), torch.zeros(10)
    first[[0, 1]] = torch.tensor([1.0, 0.9])
    second[[1, 2]] = torch.tensor([1.0, 0.9])
    assert metrics.map_overlap(first, first) == 1
    assert metrics.map_overlap(first, second) == pytest.approx(1 / 3)
