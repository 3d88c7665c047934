"""How sure a number is: intervals and tests for shares of images, and for means over seeds. scipy does the statistics.

Two different questions. Over images: would these networks do the same on other images? Over seeds: would the method do
the same with other first weights and another order of the images? One seed answers only the first.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import statistics
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy

Answer = TypeVar("Answer")

CONFIDENCE, ALPHA = 0.95, 0.05
SEEDS_FOR_A_METHOD = 3
"""Fewer seeds say nothing of a method."""
_MOST_SEEDS = 1_000
_RESAMPLES = 10_000
_RESAMPLES_OF_IMAGES = 2_000
"""Fewer: each sums what was measured of all images anew."""
_ROUNDING = 1e-9
"""Shares of images that differ by less differ by the rounding of a subtraction alone."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% interval [low, high]; std over the seeds, None where there is one."""

    mean: float
    low: float
    high: float
    std: float | None = None

    def within_a_share(self) -> Interval:
        """Cut off at 0 and 1: Student's t knows no bounds, a share does."""
        return dataclasses.replace(self, low=max(0.0, self.low), high=min(1.0, self.high))


def _once(compute: Callable[..., Answer]) -> Callable[..., Answer]:
    """A function of arrays that computes each answer once in a process: a page asks for it again at every click."""
    answers: dict[bytes, Answer] = {}

    @functools.wraps(compute)
    def answer(*counts: numpy.ndarray, **settings: float) -> Answer:
        content = hashlib.sha256(repr(settings).encode())
        for each in counts:
            content.update(f"{each.dtype} {each.shape} ".encode())
            content.update(each.tobytes())
        key = content.digest()
        if key not in answers:
            answers[key] = compute(*counts, **settings)
        return answers[key]

    return answer


def share_interval(share: float, count: int) -> Interval:
    """The interval of a share measured on `count` items (Wilson's score interval), within [0, 1].

    It is what another sample of images of the same kind would do to this one network; not what another seed would.
    """
    z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)  # the first page shows it: no scipy here
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Student's t interval of the mean over two or more seeds, with their standard deviation (n - 1)."""
    import numpy
    from scipy.stats import t

    mean, std = float(numpy.mean(values)), float(numpy.std(values, ddof=1))
    half = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * std / len(values) ** 0.5
    return Interval(mean, mean - half, mean + half, std)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar p-value, from how many items one network alone gets right and the other alone.

    Binomial(n, 1/2) over the n discordant items; 1.0 when there is none. It speaks of these two networks on these
    images, never of the methods that trained them.
    """
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return 1.0 if discordant == 0 else float(binomtest(only_first, discordant).pvalue)


@functools.cache
def difference_interval(
    only_first: int, only_second: int, count: int, confidence: float = CONFIDENCE
) -> Interval:
    """The difference of two networks' accuracies on the same `count` images.

    only_first, only_second: how many images one network alone gets right. A bootstrap over the images, percentiles,
    widened to the exact interval given how many of these there are (Clopper and Pearson 1934, Biometrika 26): so it
    holds 0 wherever `mcnemar` does not reject at that confidence. Where there is none, it reaches as far as the share
    of such images may (Clopper and Pearson again). The same counts give the same interval.
    """
    import numpy
    from scipy.stats import binomtest

    discordant = only_first + only_second
    if not discordant:  # even so they may differ on as many of all images as would rarely leave none among these
        most = 1 - ((1 - confidence) / 2) ** (1 / count)
        return Interval(0.0, -most, most)
    shares = numpy.array([only_first, only_second, count - discordant]) / count
    drawn = numpy.random.default_rng(0).multinomial(count, shares, size=_RESAMPLES)
    low, high = _percentiles((drawn[:, 0] - drawn[:, 1]) / count, confidence)
    exact = binomtest(only_first, discordant).proportion_ci(confidence, method="exact")
    exact_bounds = [(2 * float(bound) - 1) * discordant / count for bound in (exact.low, exact.high)]
    return Interval((only_first - only_second) / count, min(low, exact_bounds[0]), max(high, exact_bounds[1]))


@_once
def mean_iou_interval(counts: numpy.ndarray) -> Interval:
    """The mIoU of confusion matrices [N, C, C], one an image: bootstrap over the images, percentiles.

    It is what another sample of images of the same kind would do to this one network. Same counts, same interval.
    """
    return _interval(_flat(counts), _mean_iou)


@_once
def mean_iou_difference(
    first: numpy.ndarray, second: numpy.ndarray, *, confidence: float = CONFIDENCE
) -> Interval:
    """The first network's mIoU less the second's on the same images, [N, C, C] each.

    A bootstrap over the images, both networks on the same draws; percentiles, widened to hold 0 where `mean_iou_test`
    does not reject at that confidence.
    """
    return _difference_interval(_flat(first), _flat(second), _mean_iou, mean_iou_test(first, second), confidence)


@_once
def mean_iou_test(first: numpy.ndarray, second: numpy.ndarray) -> float:
    """How likely by chance alone two networks' mIoU on the same images, [N, C, C] each, are as far apart: p-value.

    A two-sided randomisation test: on each image the two networks' answers change places or not, by the toss of a coin.
    It is counted over 2,000 rounds of tosses, so it is never below 1 / 2,001. It speaks of these two networks on these
    images, never of the methods that trained them.
    """
    return _randomisation(_flat(first), _flat(second), _mean_iou)


def image_mean_interval(values: numpy.ndarray) -> Interval:
    """The mean of a value an image, [N]: bootstrap over the images, percentiles. Same values, same interval."""
    return _interval(values[:, None], _mean_of(len(values)))


def image_mean_difference(
    first: numpy.ndarray, second: numpy.ndarray, *, confidence: float = CONFIDENCE
) -> Interval:
    """The mean of the first less the second, values of the same images, [N] each; made as `mean_iou_difference`."""
    return _difference_interval(
        first[:, None], second[:, None], _mean_of(len(first)), image_mean_test(first, second), confidence)


def image_mean_test(first: numpy.ndarray, second: numpy.ndarray) -> float:
    """How likely by chance alone two means over the same images, of [N] each, are as far apart; as `mean_iou_test`."""
    return _randomisation(first[:, None], second[:, None], _mean_of(len(first)))


_Statistic = Callable[["numpy.ndarray"], "numpy.ndarray"]
"""What is made of a row summed over images, [..., K]: a number, [...]."""


def _mean_of(count: int) -> _Statistic:
    """The mean over `count` images of their summed values [..., 1]."""
    return lambda sums: sums[..., 0] / count


def _interval(rows: numpy.ndarray, statistic: _Statistic) -> Interval:
    """Of rows [N, K], one an image: bootstrap over the images, percentiles."""
    low, high = _percentiles(statistic(_draws(len(rows)) @ rows))
    return Interval(float(statistic(rows.sum(axis=0))), low, high)


def _difference_interval(
    ours: numpy.ndarray, theirs: numpy.ndarray, statistic: _Statistic, p: float, confidence: float
) -> Interval:
    """Of the difference between two rows an image, [N, K] each; it holds 0 where p does not reject."""
    draws = _draws(len(ours))
    low, high = _percentiles(statistic(draws @ ours) - statistic(draws @ theirs), confidence)
    if p >= 1 - confidence:
        low, high = min(low, 0.0), max(high, 0.0)
    return Interval(_difference(ours, theirs, statistic), low, high)


def _randomisation(ours: numpy.ndarray, theirs: numpy.ndarray, statistic: _Statistic) -> float:
    """The p-value of `mean_iou_test`, for two rows an image, [N, K] each."""
    import numpy

    kept = numpy.random.default_rng(0).integers(0, 2, size=(_RESAMPLES_OF_IMAGES, len(ours))).astype(float)
    by_chance = statistic(kept @ ours + (1 - kept) @ theirs) - statistic((1 - kept) @ ours + kept @ theirs)
    as_far = int((numpy.abs(by_chance) >= abs(_difference(ours, theirs, statistic)) - _ROUNDING).sum())
    return (1 + as_far) / (1 + len(by_chance))


def _difference(ours: numpy.ndarray, theirs: numpy.ndarray, statistic: _Statistic) -> float:
    return float(statistic(ours.sum(axis=0)) - statistic(theirs.sum(axis=0)))


def _flat(counts: numpy.ndarray) -> numpy.ndarray:
    return counts.reshape(len(counts), -1).astype(float)


@functools.lru_cache(maxsize=2)
def _draws(count: int) -> numpy.ndarray:
    """How often each of `count` images is drawn in each resample: [resamples, count]. Shared; not to be written to."""
    import numpy

    return numpy.random.default_rng(0).multinomial(count, numpy.full(count, 1 / count), size=_RESAMPLES_OF_IMAGES)


def mean_ious(counts: numpy.ndarray) -> numpy.ndarray:
    """The mIoU of each image alone, [N], of confusion matrices [N, C, C]; 0 where no pixel of it counts."""
    return _mean_iou(_flat(counts))


def _mean_iou(counts: numpy.ndarray) -> numpy.ndarray:
    """The mean IoU over the classes that are there, of flattened confusion matrices [..., C * C]."""
    import numpy

    classes = math.isqrt(counts.shape[-1])
    matrices = counts.reshape(*counts.shape[:-1], classes, classes)
    right = matrices.diagonal(axis1=-2, axis2=-1)
    union = matrices.sum(axis=-1) + matrices.sum(axis=-2) - right
    there = union > 0
    shares = numpy.where(there, right / numpy.where(there, union, 1), 0)
    return shares.sum(axis=-1) / numpy.maximum(there.sum(axis=-1), 1)


def _percentiles(values: numpy.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float]:
    import numpy

    low, high = numpy.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_t(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p-value of the paired t-test, pairs sharing their seed.

    1.0 where all pairs differ by one and the same amount: no variation, so nothing to judge by.
    """
    import numpy
    from scipy.stats import ttest_1samp

    differences = numpy.subtract(first, second)
    return 1.0 if same(differences) else float(ttest_1samp(differences, 0.0).pvalue)


def seeds_needed(change: float, std: float, alpha: float = ALPHA, power: float = 0.8) -> int | None:
    """How many seeds a paired t-test takes to tell a mean change from 0, two-sided at alpha, with that power.

    std: of the changes from seed to seed. SEEDS_FOR_A_METHOD at least; None where `_MOST_SEEDS` would not do. The power
    is that of the noncentral t distribution (Cohen 1988, Statistical Power Analysis for the Behavioral Sciences).
    """
    from scipy.stats import nct, t

    if std == 0:
        return SEEDS_FOR_A_METHOD if change else None

    def enough(count: int) -> bool:
        bound, shift = float(t.ppf(1 - alpha / 2, count - 1)), abs(change) / std * math.sqrt(count)
        return float(nct.sf(bound, count - 1, shift) + nct.cdf(-bound, count - 1, shift)) >= power

    return next((count for count in range(SEEDS_FOR_A_METHOD, _MOST_SEEDS + 1) if enough(count)), None)


def same(values: Collection[float]) -> bool:
    """Whether values that were computed from counts are equal but for the rounding of their last digits."""
    return max(values) - min(values) < _ROUNDING


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given: the chance of one false finding among all stays below p.

    Source: Holm 1979, Scandinavian Journal of Statistics 6.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def holm_levels(p_values: Sequence[float]) -> list[float]:
    """The confidence at which each of several comparisons is judged by Holm's procedure, in the order given.

    The i-th smallest of m p-values is held against alpha / (m - i), and once one is above, so are all after it: at its
    alpha. Equal ones are judged alike, as strictly as the first of them. An interval of that confidence, dual to its
    test, leaves 0 out where the adjusted p-value is below alpha.
    """
    count = len(p_values)
    levels, passed = [0.0] * count, 0
    order = sorted(range(count), key=lambda place: p_values[place])
    for rank, place in enumerate(order):
        before = order[rank - 1]
        if rank and p_values[place] == p_values[before]:  # of equals none is before the other
            levels[place] = levels[before]
        else:
            levels[place] = 1 - ALPHA / (count - passed)
        if passed == rank and (count - rank) * p_values[place] < ALPHA:
            passed += 1
    return levels


def p_text(p: float) -> str:
    """A p-value as a table shows it."""
    return f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
