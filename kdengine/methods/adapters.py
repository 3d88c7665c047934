"""What methods train beside the student: connectors between feature maps, and heads that embed them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdengine.losses.directions import unit
from kdengine.signals import Batch

Module = TypeVar("Module", bound=nn.Module)


class Connectors(nn.Module):
    """One 1x1 convolution a pair of maps, from the student's channels to the teacher's; maps meet at the smaller size.

    Built from example features, student first, paired in order. rectified: batch normalisation and ReLU follow, as in
    the teacher's own stages.
    """

    def __init__(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], generator: torch.Generator, *,
        rectified: bool = False,
    ) -> None:
        super().__init__()
        self.maps = nn.ModuleList()
        for ours, theirs in zip(student, teacher, strict=True):
            connector = nn.Conv2d(ours.shape[1], theirs.shape[1], kernel_size=1, bias=False)
            after = (nn.BatchNorm2d(theirs.shape[1]), nn.ReLU())
            self.maps.append(nn.Sequential(connector, *after) if rectified else connector)
        draw(self, generator)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """(connected student map, teacher map) for each pair, both [B, C_t, H, W]."""
        pairs = []
        for connector, ours, theirs in zip(self.maps, student, teacher, strict=True):
            ours, theirs = meet(ours, theirs)
            pairs.append((connector(ours), theirs))
        return pairs


class Embedding(nn.Module):
    """A linear map of a vector to the unit sphere of `size` dimensions."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, size)

    def forward(self, vectors: Tensor) -> Tensor:
        """Unit vectors [B, size] of [B, inputs]."""
        return unit(self.linear(vectors))


def draw(module: Module, generator: torch.Generator) -> Module:
    """Fill all weights from the generator alone (Kaiming, as before a linear layer); biases become 0."""
    for each in module.modules():
        if isinstance(each, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(each.weight, nonlinearity="linear", generator=generator)
            if each.bias is not None:
                nn.init.zeros_(each.bias)
    return module


def meet(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps at the smaller height and width of the two, by average pooling."""
    size = smaller(student, teacher)
    return pooled(student, size), pooled(teacher, size)


def smaller(student: Tensor, teacher: Tensor) -> tuple[int, int]:
    """The smaller height and width of two maps."""
    return min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])


def pooled(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps [B, C, H, W] averaged to `size`; of that size already, as they are."""
    return features if features.shape[2:] == size else F.adaptive_avg_pool2d(features, size)


def vector(features: Tensor) -> Tensor:
    """A map's mean over its positions: [B, C] of [B, C, H, W]."""
    return features.mean(dim=(2, 3))


def warm_up(batch: Batch) -> float:
    """A factor that rises linearly from 0 to 1 over the first min(20, epochs / 12) epochs."""
    return min(1.0, batch.progress / min(20.0, batch.epochs / 12))
