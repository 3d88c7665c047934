"""Losses on what the input does to the output."""

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
