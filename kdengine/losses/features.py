"""Losses on feature maps [B, C, H, W]. `mask` is bool [B, H, W] at the maps' size; None counts every position."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.errors import KDError
from kdengine.losses.directions import unit
from kdengine.losses.reduction import mask_at, masked, mean_over, softened

NORMS = ("l2", "smooth_l1")


def feature_distance(student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, norm: str = "l2") -> Tensor:
    """Mean over the elements that count of (s - t)^2 (`l2`) or of the Huber form with knee 1 (`smooth_l1`).

    student, teacher: feature maps [B, C, H, W] of one shape. smooth_l1: d^2 / 2 for |d| < 1, |d| - 1/2 beyond.
    Source: the response/feature laboratory form of FitNets (Romero et al. 2015, arXiv 1412.6550), on every stage.
    """
    if norm not in NORMS:
        raise KDError(f"norm is {norm!r}; allowed are {', '.join(NORMS)}.")
    distance = F.mse_loss if norm == "l2" else F.smooth_l1_loss
    values = distance(masked(student, mask), masked(teacher, mask), reduction="none")
    return mean_over(values.mean(dim=1), mask)


def feature_cosine(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 - cosine of the channel vectors, mean over the positions that count; in [0, 2].

    student, teacher: [B, C, H, W] of one shape. A vector of zeros has cosine 0. Neither map's scale matters.
    Source: the segmentation-laboratory form, on the maps at strides 4, 8 and 16.
    """
    return mean_over(1 - F.cosine_similarity(masked(student, mask), masked(teacher, mask), dim=1), mask)


def attention_map(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """Where a map is active: mean over channels of f^2, made a unit vector over the positions; [B, H, W]."""
    energy = masked(features, mask).pow(2).mean(dim=1)
    return unit(energy.flatten(1)).view_as(energy)


def attention(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean square difference of the two attention maps over the positions that count.

    student [B, C_s, H, W], teacher [B, C_t, H, W]: any numbers of channels. Neither map's scale matters.
    Source: Zagoruyko and Komodakis 2017, arXiv 1612.03928. Known disagreement: the paper takes the norm of the
    difference, the authors' code its mean square; this is the code's.
    """
    return mean_over((attention_map(student, mask) - attention_map(teacher, mask)).pow(2), mask)


def channel_distribution(
    student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, temperature: float = 4.0
) -> Tensor:
    """CWD: T^2 KL(softmax(t / T) || softmax(s / T)), softmax over the positions of each channel; mean over channels.

    student, teacher: logits or feature maps [B, C, H, W] of one shape; temperature > 0. Positions that do not count
    take no part; mean over the images that have any. In nats. A constant added to a channel changes nothing.
    Source: Shu et al. 2021, arXiv 2011.13256.
    """
    logarithms = []
    for each in (student, teacher):
        scores = softened(masked(each, mask), temperature).flatten(2)
        if mask is not None:
            counts = mask.flatten(1)
            # An image of which nothing counts keeps finite numbers; it is left out below.
            left_out = ~counts & counts.any(dim=1, keepdim=True)
            scores = scores.masked_fill(left_out[:, None], -torch.inf)
        logarithms.append(F.log_softmax(scores, dim=2))
    ours, theirs = logarithms
    # -inf less -inf would be NaN where a position does not count.
    difference = torch.where(theirs.isinf(), 0, theirs - torch.where(theirs.isinf(), 0, ours))
    values = (theirs.exp() * difference).sum(dim=2).mean(dim=1)
    return mean_over(values, None if mask is None else mask.flatten(1).any(dim=1)) * temperature**2


def neuron_selectivity(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """NST: squared maximum mean discrepancy between the two sets of channel maps, kernel (a . b)^2.

    student [B, C_s, H, W], teacher [B, C_t, H, W]. Each channel's map is a unit vector over the positions. Mean over
    pairs of channels and over the images that count: mean k(t, t') + mean k(s, s') - 2 mean k(s, t). Through Gram
    matrices over positions, [B, C, C'], never the product [B, C, C', H W].
    Source: Huang and Wang 2017, arXiv 1707.01219.
    """
    ours, theirs = (unit(masked(each, mask).flatten(2)) for each in (student, teacher))

    def kernel(first: Tensor, second: Tensor) -> Tensor:
        return (first @ second.transpose(1, 2)).pow(2).mean(dim=(1, 2))

    values = kernel(theirs, theirs) + kernel(ours, ours) - 2 * kernel(ours, theirs)
    return mean_over(values, None if mask is None else mask.flatten(1).any(dim=1))


def fsp_matrix(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """The flow between two stages: mean over positions of the outer product of their channels, [B, C_1, C_2].

    first [B, C_1, H, W], second [B, C_2, H, W]. 0 for an image of which nothing counts. Source: Yim et al. 2017, CVPR.
    """
    count = first[0, 0].numel() if mask is None else mask.flatten(1).sum(dim=1).clamp(min=1)[:, None, None]
    return masked(first, mask).flatten(2) @ masked(second, mask).flatten(2).transpose(1, 2) / count


def fsp(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean square difference of two flow matrices [B, C_1, C_2] of one shape.

    Source: Yim et al. 2017, CVPR, as a mean rather than a sum over the elements.
    """
    return F.mse_loss(student, teacher)


def variational_information(
    mean: Tensor, teacher: Tensor, variance: Tensor, mask: Tensor | None = None
) -> Tensor:
    """VID: 0.5 ((t - mu)^2 / sigma^2 + ln sigma^2), mean over the elements that count; may be negative.

    The negative log-likelihood, but for ln(2 pi) / 2, of the teacher's map under a Gaussian that the student predicts.
    mean, teacher: [B, C, H, W]; variance: sigma^2 > 0, [C], one a channel. Source: Ahn et al. 2019, arXiv 1904.05835,
    as a mean rather than a sum over the elements. Known disagreement: one public port forgets to train the variance.
    """
    variance = variance.view(1, -1, 1, 1)
    error = masked(teacher, mask) - masked(mean, mask)
    return mean_over((0.5 * (error.pow(2) / variance + variance.log())).mean(dim=1), mask)


def factor_distance(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference of two factors [B, C, H, W], each made a unit vector an image.

    Source: Kim et al. 2018, arXiv 1802.04977, with p = 1, as a mean rather than a sum over the elements.
    """
    ours, theirs = (unit(masked(each, mask).flatten(1)).view_as(each) for each in (student, teacher))
    return mean_over((ours - theirs).abs().mean(dim=1), mask)


def hierarchical_context(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """HCL: mean square difference of the maps, and of the maps pooled to 4x4, 2x2 and 1x1, averaged with weights.

    student, teacher: [B, C, H, W] of one shape. A level that is not smaller than the map is left out; those used weigh
    1, 1/2, 1/4, ... in turn, divided by their sum. Pooling is the mean over a cell's positions that count.
    Source: Chen et al. 2021, arXiv 2104.09044, with the weights of the authors' code.
    """
    difference = masked(student, mask) - masked(teacher, mask)  # pooling is linear: one map to pool, not two
    total, weight, weights = mean_over(difference.pow(2).mean(dim=1), mask), 1.0, 1.0
    for size in (4, 2, 1):
        if size >= min(difference.shape[2:]):
            continue
        pooled, counts = F.adaptive_avg_pool2d(difference, size), None
        if mask is not None:
            counts = mask_at(mask, (size, size))
            share = F.adaptive_avg_pool2d(mask[:, None].to(difference), size)
            pooled = pooled / torch.where(counts[:, None], share, 1)
        weight /= 2
        total = total + weight * mean_over(pooled.pow(2).mean(dim=1), counts)
        weights += weight
    return total / weights
