"""The learning rate over the epochs, and what a label counts where rare classes are to be heard."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdengine.configuration import Configuration
from kdengine.views import Split

DECAYS = (0.625, 0.75, 0.875)
"""Shares of the epochs at which the `step` schedule divides the learning rate by 10: 150, 180, 210 of 240."""


def learning_rate_at(configuration: Configuration, progress: float, step: float) -> float:
    """The learning rate of a step that begins at `progress` epochs and is `step` epochs long.

    Linear warm-up over `warmup_epochs`, reaching the full rate at its end; then constant, cosine to 0, or divided by
    10 at each of DECAYS.
    """
    warmup, epochs = configuration.warmup_epochs, configuration.epochs
    scale = 1.0
    if progress < warmup:
        scale = min(1.0, (progress + step) / warmup)
    elif configuration.schedule == "cosine":
        scale = 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (epochs - warmup)))
    elif configuration.schedule == "step":
        scale = 0.1 ** sum(progress >= share * epochs for share in DECAYS)
    assert configuration.learning_rate is not None  # the usual one was taken where none was given
    return configuration.learning_rate * scale


def balanced_weights(split: Split, classes: int) -> Tensor:
    """What a label of each class counts so that rare classes are heard: median share / share, float32 [classes].

    The share is of all labels (or pixels) that are there; a class that is not there gets 1. After Eigen and Fergus
    2015, arXiv 1411.4734, who take the share among the pixels of images in which a class appears.
    """
    counts = torch.stack([(split.target == label).sum() for label in range(classes)])
    there = counts > 0
    return torch.where(there, counts[there].median() / counts.clamp(min=1), 1.0).float()
