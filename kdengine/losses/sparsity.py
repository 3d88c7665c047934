"""Losses on which neurons fire."""

from __future__ import annotations

import torch
from torch import Tensor

from kdengine.losses.reduction import masked, mean_over


def activation_boundary(
    student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, margin: float = 1.0
) -> Tensor:
    """How far the student's pre-activations are from firing, by a margin, exactly where the teacher's do.

    student, teacher: values before the ReLU, [B, C, H, W] of one shape; mask bool [B, H, W]. Mean over the elements of
    (s + m)^2 where the teacher does not fire (t <= 0) and s > -m, (s - m)^2 where it fires (t > 0) and s <= m, else 0.
    Source: Heo et al. 2019, arXiv 1811.03233, as a mean rather than a sum over the elements.
    """
    student, fires = masked(student, mask), teacher > 0
    short = torch.where(fires, (margin - student).clamp(min=0), (student + margin).clamp(min=0))
    return mean_over(short.pow(2).mean(dim=1), mask)
