"""What every loss shares: temperature, and the mean over the positions that count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.errors import KDError


def softened(scores: Tensor, temperature: float) -> Tensor:
    """scores / temperature. Raises KDError where the temperature is not above 0."""
    if temperature <= 0:
        raise KDError(f"temperature is {temperature!r}; allowed is a number above 0.")
    return scores / temperature


def mean_over(values: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of `values` where `mask` is true; 0, with a gradient of 0, where it is true nowhere."""
    if mask is None:
        return values.mean()
    # where, not a product: a masked infinity times 0 would be NaN.
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def total(distances: Iterable[Tensor]) -> Tensor:
    """The sum of scalars, one a stage; of at least one."""
    return reduce(add, distances)


def mask_at(mask: Tensor, size: Sequence[int]) -> Tensor:
    """The mask for feature maps of `size` (H, W): bool [B, H, W].

    mask: bool [B], one an image, or [B, H', W']. A cell counts when any pixel it covers does.
    """
    if mask.dim() == 1:
        return mask[:, None, None].expand(-1, *size)
    return F.adaptive_max_pool2d(mask[:, None].float(), tuple(size))[:, 0] > 0


def masked(features: Tensor, mask: Tensor | None) -> Tensor:
    """Maps or logits [B, C, ...] with zeros where `mask` [B, ...] is false."""
    return features if mask is None else torch.where(mask[:, None], features, 0)


def positions(logits: Tensor, mask: Tensor | None) -> Tensor:
    """The positions that count as rows [N, C], from [B, C, ...] and a mask [B, ...]."""
    rows = logits.movedim(1, -1)
    return rows.reshape(-1, rows.shape[-1]) if mask is None else rows[mask]
