"""Intervals and tests against closed forms, exact counting and scipy's own."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_rel

from kdengine import uncertainty


@pytest.mark.parametrize(("right", "count"), [(0, 10), (5, 10), (303, 360), (360, 360)])
def test_the_interval_of_a_share_is_wilson_s(right, count):
    expected = binomtest(right, count).proportion_ci(method="wilson")
    sure = uncertainty.share_interval(right / count, count)
    assert (sure.low, sure.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert sure.mean == right / count
    assert sure.std is None


def test_the_interval_of_a_mean_is_student_s_t():
    # t(0.975) with 2 degrees of freedom is 4.30265 (any table); the standard deviation of 1, 2, 3 is 1.
    sure = uncertainty.mean_interval([1.0, 2.0, 3.0])
    assert sure.mean == pytest.approx(2)
    assert sure.std == pytest.approx(1)
    assert (sure.low, sure.high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), abs=1e-5)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 1), (10, 0), (7, 7), (1, 30)])
def test_mcnemar_is_the_exact_binomial(first, second):
    n = first + second
    if n == 0:
        expected = 1.0
    else:
        probabilities = [math.comb(n, k) / 2**n for k in range(n + 1)]
        expected = sum(p for p in probabilities if p <= probabilities[first] * (1 + 1e-9))
    assert uncertainty.mcnemar(first, second) == pytest.approx(expected)


def test_the_bootstrap_of_a_difference_agrees_with_resampling_image_by_image():
    only_first, only_second, count = 30, 10, 200
    images = [1] * only_first + [-1] * only_second + [0] * (count - only_first - only_second)
    drawn = random.Random(1)
    means = sorted(sum(drawn.choices(images, k=count)) / count for _ in range(4000))
    sure = uncertainty.difference_interval(only_first, only_second, count)
    assert sure.mean == pytest.approx(0.1)
    assert sure.low == pytest.approx(means[100], abs=0.011)  # two steps of one image, and the draw's own noise
    assert sure.high == pytest.approx(means[3899], abs=0.011)
    assert sure == uncertainty.difference_interval(only_first, only_second, count)


def test_no_discordant_image_leaves_no_interval():
    sure = uncertainty.difference_interval(0, 0, 50)
    assert (sure.mean, sure.low, sure.high) == (0, 0, 0)


def test_pairs_share_their_seed():
    first, second = [0.71, 0.74, 0.69], [0.66, 0.70, 0.67]
    assert uncertainty.paired_t(first, second) == pytest.approx(ttest_rel(first, second).pvalue)
    assert uncertainty.paired_t(first, first) == 1.0
    # The same change in every seed leaves no variation to judge by; here the subtractions round differently.
    assert 0.81 - 0.71 != 0.32 - 0.22
    assert uncertainty.paired_t([0.81, 0.32, 0.5], [0.71, 0.22, 0.4]) == 1.0


def test_holm_on_a_worked_example():
    # Smallest first: 0.01 * 4; 0.02 * 3 = 0.06; 0.03 * 2 = 0.06; 0.5 * 1.
    assert uncertainty.holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_lowers(values):
    adjusted = uncertainty.holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, adjusted, strict=True))
    ranked = [q for _, q in sorted(zip(values, adjusted, strict=True))]
    assert ranked == sorted(ranked)


def test_a_p_value_in_words():
    assert uncertainty.told(0.0312) == "p = 0.031"
    assert uncertainty.told(0.0002) == "p < 0.001"
