"""Intervals and tests against closed forms, exact counting and scipy's own."""

import itertools
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest, bootstrap, permutation_test, ttest_rel

from kdengine.measures import metrics, uncertainty


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


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.95, 0.975, 0.99]))
def test_the_interval_of_a_difference_leaves_0_out_where_mcnemar_rejects(first, second, confidence):
    sure = uncertainty.difference_interval(first, second, 120, confidence)
    assert -1 <= sure.low <= sure.mean <= sure.high <= 1
    assert (sure.low > 0 or sure.high < 0) == (uncertainty.mcnemar(first, second) < 1 - confidence)


def test_the_interval_of_a_difference_holds_the_exact_one():
    # 8 of 10 discordant images: of any table of exact 95% intervals, 0.4439 to 0.9748. Resampling ends at 0.00.
    sure = uncertainty.difference_interval(8, 2, 100)
    assert sure.low == pytest.approx((2 * 0.4439 - 1) / 10, abs=2e-5)
    assert sure.high == pytest.approx(0.12, abs=0.0101)
    wider = uncertainty.difference_interval(8, 2, 100, 0.99)
    assert wider.low < sure.low < sure.high < wider.high


def test_the_interval_of_a_difference_agrees_with_resampling_image_by_image():
    only_first, only_second, count = 30, 10, 200
    images = [1] * only_first + [-1] * only_second + [0] * (count - only_first - only_second)
    drawn = random.Random(1)
    means = sorted(sum(drawn.choices(images, k=count)) / count for _ in range(4000))
    sure = uncertainty.difference_interval(only_first, only_second, count)
    assert sure.mean == pytest.approx(0.1)
    assert sure.low == pytest.approx(means[100], abs=0.011)  # two steps of one image, and the draw's own noise
    assert sure.high == pytest.approx(means[3899], abs=0.011)
    assert sure == uncertainty.difference_interval(only_first, only_second, count)


def test_no_discordant_image_still_leaves_the_share_that_would_rarely_be_seen():
    """Of 50 images none, at 95%: Clopper and Pearson's upper end for 0 of 50."""
    for count, confidence in (50, 0.95), (12, 0.95), (50, 0.99):
        sure = uncertainty.difference_interval(0, 0, count, confidence)
        most = beta.ppf((1 + confidence) / 2, 1, count)
        assert (sure.mean, sure.low, sure.high) == (0, pytest.approx(-most), pytest.approx(most))


# --- mIoU


def matrices(seed, count, classes=3, right=20):
    """Confusion matrices of a network, one an image, most of its pixels right; of the last class few images have any.
    """
    drawn = np.random.default_rng(seed)
    counts = drawn.integers(0, 8, (count, classes, classes)) + right * np.eye(classes, dtype=np.int64)
    without = drawn.random(count) < 0.7
    counts[without, -1] = counts[without, :, -1] = 0
    return counts


def slow_mean_iou(counts):
    """Of one confusion matrix, class by class."""
    found = []
    for label in range(len(counts)):
        union = counts[label].sum() + counts[:, label].sum() - counts[label, label]
        found += [counts[label, label] / union] if union else []
    return sum(found) / len(found)


def by_enumeration(first, second):
    """The p-value over all 2^N ways in which the two networks can change places."""
    observed = abs(slow_mean_iou(first.sum(0)) - slow_mean_iou(second.sum(0)))
    as_far = 0
    for swapped in itertools.product((False, True), repeat=len(first)):
        swap = np.array(swapped)[:, None, None]
        ours, theirs = np.where(swap, second, first).sum(0), np.where(swap, first, second).sum(0)
        as_far += abs(slow_mean_iou(ours) - slow_mean_iou(theirs)) >= observed - 1e-12
    return as_far / 2 ** len(first)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(14, 24))
def test_the_p_value_of_a_difference_in_miou_is_that_of_all_swaps(seed, count, right):
    first, second = matrices(seed, count), matrices(seed + 1, count, right=right)
    exact = by_enumeration(first, second)
    p = uncertainty.mean_iou_test(first, second)
    noise = 5 * math.sqrt(exact * (1 - exact) / 2000) + 1 / 2000  # five standard errors of 2,000 tosses
    assert p == pytest.approx(exact, abs=noise)
    assert 0 < p <= 1


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_the_middle_of_an_miou_is_the_metric_itself(seed, count):
    first, second = (matrices(each, count) for each in (seed, seed + 1))
    ours, theirs = (metrics.mean_iou(torch.from_numpy(each).sum(0)) for each in (first, second))
    assert uncertainty.mean_iou_interval(first).mean == pytest.approx(ours)
    assert uncertainty.mean_iou_difference(first, second).mean == pytest.approx(ours - theirs, abs=1e-12)


def test_the_bootstraps_of_an_miou_agree_with_resampling_image_by_image():
    first, second = matrices(1, 30), matrices(2, 30, right=15)
    drawn = random.Random(1)
    alone, apart = [], []
    for _ in range(2000):
        chosen = drawn.choices(range(30), k=30)
        ours, theirs = (slow_mean_iou(each[chosen].sum(0)) for each in (first, second))
        alone.append(ours)
        apart.append(ours - theirs)
    for sure, values in (
        (uncertainty.mean_iou_interval(first), alone), (uncertainty.mean_iou_difference(first, second), apart),
    ):
        values.sort()
        spread = values[1949] - values[49]
        assert (sure.low, sure.high) == pytest.approx((values[49], values[1949]), abs=0.1 * spread)
        assert sure.low < sure.mean < sure.high
        assert sure.std is None


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(14, 24), st.sampled_from([0.95, 0.99]))
def test_the_interval_of_a_difference_in_miou_holds_0_where_the_test_does_not_reject(seed, right, confidence):
    first, second = matrices(seed, 9), matrices(seed + 1, 9, right=right)
    sure = uncertainty.mean_iou_difference(first, second, confidence=confidence)
    if uncertainty.mean_iou_test(first, second) >= 1 - confidence:
        assert sure.low <= 0 <= sure.high


def test_counts_kept_in_few_bits_are_summed_in_more():
    counts = np.full((12, 2, 2), 30_000, dtype=np.int16)
    assert uncertainty.mean_iou_interval(counts).mean == pytest.approx(1 / 3)
    assert uncertainty.mean_iou_difference(counts, counts.transpose(0, 2, 1)).mean == 0


def test_a_network_does_not_differ_from_itself():
    counts = matrices(3, 20)
    assert uncertainty.mean_iou_difference(counts, counts) == uncertainty.Interval(0, 0, 0)
    assert uncertainty.mean_iou_test(counts, counts) == 1


def test_networks_that_differ_on_every_image_differ():
    good, bad = matrices(4, 25, right=40), matrices(4, 25, right=10)
    assert uncertainty.mean_iou_difference(good, bad).low > 0.2
    assert uncertainty.mean_iou_test(good, bad) == 1 / 2001  # no toss of 25 coins is as far but by one chance in 2^24


@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_which_network_is_named_first_turns_the_sign_alone(seed):
    first, second = matrices(seed, 12), matrices(seed + 1, 12)
    forth, back = uncertainty.mean_iou_difference(first, second), uncertainty.mean_iou_difference(second, first)
    assert (back.mean, back.low, back.high) == pytest.approx((-forth.mean, -forth.high, -forth.low), abs=1e-12)
    assert uncertainty.mean_iou_test(first, second) == uncertainty.mean_iou_test(second, first)


def by_image(seed, count, gain=0.0):
    """Values of two networks on the same images, which differ by `gain` and more from image to image."""
    generator = np.random.default_rng(seed)
    first = generator.random(count)
    return first, first - gain + 0.2 * generator.standard_normal(count)


def mean_difference(first, second, axis=-1):
    return np.mean(first, axis) - np.mean(second, axis)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(2, 10), st.sampled_from([0.0, 0.2]))
def test_the_p_value_of_a_difference_of_means_is_that_of_all_swaps(seed, count, gain):
    first, second = by_image(seed, count, gain)
    exact = permutation_test((first, second), mean_difference, permutation_type="samples", n_resamples=np.inf).pvalue
    p = uncertainty.image_mean_test(first, second)
    assert p == pytest.approx(exact, abs=5 * math.sqrt(exact * (1 - exact) / 2000) + 1 / 2000)


def test_the_bootstraps_of_means_are_scipy_s():
    """Its percentiles of 10,000 resamples; ours are of 2,000, so they lie within a tenth of the interval's width."""
    first, second = by_image(5, 60, 0.1)
    for ours, (data, statistic) in (
        (uncertainty.image_mean_interval(first), ((first,), np.mean)),
        (uncertainty.image_mean_difference(first, second), ((first, second), mean_difference)),
    ):
        expected = bootstrap(data, statistic, paired=True, method="percentile", n_resamples=9_999,
                             rng=np.random.default_rng(1)).confidence_interval
        assert ours.mean == pytest.approx(statistic(*data))
        noise = (expected.high - expected.low) / 10
        assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), abs=noise)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.05, 0.1]), st.sampled_from([0.95, 0.99]))
def test_the_interval_of_a_difference_of_means_holds_0_where_the_test_does_not_reject(seed, gain, confidence):
    first, second = by_image(seed, 30, gain)
    sure = uncertainty.image_mean_difference(first, second, confidence=confidence)
    assert sure.low <= sure.mean <= sure.high
    if uncertainty.image_mean_test(first, second) >= 1 - confidence:
        assert sure.low <= 0 <= sure.high


def test_pairs_share_their_seed():
    first, second = [0.71, 0.74, 0.69], [0.66, 0.70, 0.67]
    assert uncertainty.paired_t(first, second) == pytest.approx(ttest_rel(first, second).pvalue)
    assert uncertainty.paired_t(first, first) == 1.0
    # The same change in every seed leaves no variation to judge by; here the subtractions round differently.
    assert 0.81 - 0.71 != 0.32 - 0.22
    assert uncertainty.paired_t([0.81, 0.32, 0.5], [0.71, 0.22, 0.4]) == 1.0


@given(st.integers(1, 40), st.lists(st.integers(300, 359), min_size=3, max_size=5))
def test_seeds_that_gain_the_same_number_of_images_say_nothing_of_a_method(gained, alone):
    # Of 400 images, near 80 to 90 percent: as single floats these differences are not equal, and p was about 1e-10.
    ours, theirs = ([(count + more) / 400 for count in alone] for more in (gained, 0))
    assert uncertainty.paired_t(ours, theirs) == 1.0


def test_a_spread_of_one_image_in_ten_thousand_is_no_rounding():
    assert uncertainty.paired_t([0.5001, 0.6, 0.7], [0.5, 0.6, 0.7]) < 1.0


def test_holm_on_a_worked_example():
    # Smallest first: 0.01 * 4; 0.02 * 3 = 0.06; 0.03 * 2 = 0.06; 0.5 * 1.
    assert uncertainty.holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])


def test_the_levels_of_holm_on_a_worked_example():
    # Smallest first: 0.004 of 4 passes 0.05 / 4; 0.02 fails 0.05 / 3, and all after it are judged there too.
    levels = uncertainty.holm_levels([0.03, 0.004, 0.5, 0.02])
    assert levels == pytest.approx([1 - 0.05 / 3, 1 - 0.05 / 4, 1 - 0.05 / 3, 1 - 0.05 / 3])
    assert uncertainty.holm_levels([0.2]) == [0.95]
    assert uncertainty.holm_levels([]) == []
    assert uncertainty.holm_levels([0.5, 0.01, 0.01]) == pytest.approx([0.95, 1 - 0.05 / 3, 1 - 0.05 / 3])


@given(st.lists(st.sampled_from([0.001, 0.01, 0.02, 0.5]), min_size=1, max_size=6), st.randoms())
def test_the_level_of_a_comparison_does_not_depend_on_the_order(values, random):
    order = list(range(len(values)))
    random.shuffle(order)
    shuffled = uncertainty.holm_levels([values[place] for place in order])
    assert shuffled == [uncertainty.holm_levels(values)[place] for place in order]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_an_adjusted_p_value_is_small_where_the_own_one_is_below_its_level(values):
    for p, adjusted, level in zip(values, uncertainty.holm(values), uncertainty.holm_levels(values), strict=True):
        if abs(p - (1 - level)) > 1e-9:
            assert (adjusted < 0.05) == (p < 1 - level)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_lowers(values):
    adjusted = uncertainty.holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, adjusted, strict=True))
    ranked = [q for _, q in sorted(zip(values, adjusted, strict=True))]
    assert ranked == sorted(ranked)


def test_a_p_value_in_words():
    assert uncertainty.p_text(0.0312) == "p = 0.031"
    assert uncertainty.p_text(0.0002) == "p < 0.001"


def test_what_a_page_asks_for_again_is_not_computed_again(monkeypatch):
    first, second = matrices(11, 20), matrices(12, 20)
    drawn, draw = [], uncertainty._draws
    monkeypatch.setattr(uncertainty, "_draws", lambda count: drawn.append(count) or draw(count))
    answers = [uncertainty.mean_iou_difference(*pair) for pair in
               ((first, second), (first.copy(), second.copy()), (second, first), (first[:5], second[:5]))]
    assert answers[0] == answers[1] != answers[2]
    assert drawn == [20, 20, 5]


@pytest.mark.parametrize(("size", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_needed_are_those_of_the_tables(size, seeds):
    """Paired t-test, two-sided, alpha 0.05, power 0.8, by effect size: G*Power 3 (Faul et al. 2007)."""
    assert uncertainty.seeds_needed(size, 1.0) == uncertainty.seeds_needed(-2 * size, 2.0) == seeds


def test_seeds_needed_at_the_ends():
    assert uncertainty.seeds_needed(0.01, 0.0) == uncertainty.seeds_needed(1.0, 1e-3) == 3
    assert uncertainty.seeds_needed(0.0, 0.0) is None
    assert uncertainty.seeds_needed(0.001, 1.0) is None
    assert uncertainty.seeds_needed(1.0, 1.0, alpha=0.01) > 10
