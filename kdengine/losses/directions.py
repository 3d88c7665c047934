"""Vectors without their length."""

from __future__ import annotations

import torch
from torch import Tensor


def unit(vectors: Tensor) -> Tensor:
    """The vectors along the last dimension at length 1; zeros (a length of at most 1e-12) stay zeros, gradient 0.

    Dividing by a smallest length instead would give a vector of zeros a gradient of 1e12.
    """
    length = vectors.norm(dim=-1, keepdim=True)
    there = length > 1e-12
    return torch.where(there, vectors / torch.where(there, length, 1), 0)
