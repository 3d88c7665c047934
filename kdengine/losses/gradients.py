"""Losses on what the input does to the output, and the maps that show it."""

from __future__ import annotations

from torch import Tensor

from kdengine.losses.directions import unit
from kdengine.losses.reduction import masked, mean_over


def input_gradient(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """Square distance of the two input gradients, each a unit vector an image; mean over the images that count.

    student, teacher: gradient of the true class's logit with respect to the image, [B, 3, H, W]; mask bool [B]. In
    [0, 4]: 2 - 2 cosine, where neither is all zero. Neither gradient's scale matters.
    Sources: Srinivas and Fleuret 2018, arXiv 1803.00443; Czarnecki et al. 2017, arXiv 1706.04859.
    """
    ours, theirs = (unit(masked(each.flatten(1), mask)) for each in (student, teacher))
    return mean_over((ours - theirs).pow(2).sum(dim=1), mask)


def grad_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """Where a stage speaks for a class: the sum of its channels, each weighted by its mean gradient, cut at 0.

    features: a stage's output [B, C, h, w]; gradients: of the class's logit there, of the same shape. Maps [B, h, w].
    Source: Selvaraju et al. 2017, arXiv 1610.02391, equations 1 and 2.
    """
    return (gradients.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1).relu()


def explanation_cosine(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 - cosine of the two explanations, each a vector an image; mean over the images that count.

    student, teacher: maps [B, ...] of one shape, nowhere below 0; mask bool [B]. In [0, 1]: 0 where one is a multiple
    of the other, 1 where they share no place, or where one is all zero. Neither map's scale matters.
    Source: Parchami-Araghi et al. 2024, arXiv 2402.03119, equation 3.
    """
    ours, theirs = (unit(masked(each.flatten(1), mask)) for each in (student, teacher))
    return mean_over(1 - (ours * theirs).sum(dim=1), mask)
