"""Knowledge review: each teacher stage teaches all student stages up to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdengine.losses import hierarchical_context, mask_at, total
from kdengine.methods.adapters import draw, pooled, smaller, warm_up
from kdengine.methods.contract import Method, every_stage, hyperparameter
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted

MOST_CHANNELS = 512


class Fusion(nn.Module):
    """Attention-based fusion: a student stage with what the deeper stages passed up, as the teacher's stage sees it."""

    def __init__(self, inputs: int, middle: int, outputs: int, *, fuses: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle))
        self.leave = nn.Sequential(nn.Conv2d(middle, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))
        self.weigh = nn.Conv2d(2 * middle, 2, 1) if fuses else None

    def forward(self, features: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        """(the map to hold against the teacher's, what is passed on to the shallower stage)."""
        fused = self.enter(features)
        if self.weigh is not None and deeper is not None:
            deeper = F.interpolate(deeper, size=fused.shape[2:], mode="nearest")
            weight = torch.sigmoid(self.weigh(torch.cat([fused, deeper], dim=1)))
            fused = fused * weight[:, :1] + deeper * weight[:, 1:]
        return self.leave(fused), fused


@dataclass(frozen=True)
class Review(Method):
    """CE + w beta * hierarchical context loss over fused stages, deep to shallow, with a linear warm-up w."""

    name = "review"
    title = "Knowledge review"
    summary = "Fuses the student's stages from deep to shallow and holds each against the teacher's, at several scales."
    formula = r"\mathcal{L} = \mathrm{CE}(y, p_s) + w\,\beta \sum_i \mathrm{HCL}(\mathrm{ABF}_i(f^s_{\ge i}), f^t_i)"
    source = "Chen et al. 2021, arXiv 2104.09044"
    matches = "features"

    beta: float = hyperparameter(
        5.0, low=0.0, high=100.0, step=0.5, symbol=r"\beta",
        help="Weight of the review beside cross-entropy (the authors: 0.6 to 8 by pair).",
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """Every stage that both have."""
        return every_stage(student, teacher)

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> nn.ModuleList:
        """One fusion a stage pair, shallow to deep; the deepest has nothing to fuse with."""
        ours, theirs = list(student.features.values()), list(teacher.features.values())
        middle = min(MOST_CHANNELS, ours[-1].shape[1])
        last = len(ours) - 1
        return draw(nn.ModuleList(
            Fusion(a.shape[1], middle, b.shape[1], fuses=place < last)
            for place, (a, b) in enumerate(zip(ours, theirs, strict=True))
        ), generator)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: nn.ModuleList) -> dict[str, Tensor]:
        """See Method.terms."""
        distances, passed = [], None
        stages = list(zip(adapter, student.features.values(), teacher.features.values(), strict=True))
        for fusion, ours, theirs in reversed(stages):
            fused, passed = fusion(ours, passed)
            size = smaller(fused, theirs)
            mask = mask_at(batch.mask, size)
            distances.append(hierarchical_context(pooled(fused, size), pooled(theirs, size), mask))
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "review": warm_up(batch) * self.beta * total(distances),
        }
