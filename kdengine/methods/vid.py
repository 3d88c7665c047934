"""Variational information distillation: predict the teacher's features, and how sure that prediction is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdengine.losses import mask_at, total, variational_information
from kdengine.methods.adapters import draw, meet
from kdengine.methods.contract import Method, every_stage, hyperparameter
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted

START_VARIANCE = 5.0
SMALLEST_VARIANCE = 1e-5


class Predictor(nn.Module):
    """A Gaussian over the teacher's map: its mean from the student's, its variance one trained number a channel."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, bias=False), nn.ReLU(), nn.Conv2d(outputs, outputs, 1, bias=False), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 1, bias=False),
        )
        # softplus of it, plus the smallest, is the variance
        self.scale = nn.Parameter(torch.full((outputs,), math.log(math.expm1(START_VARIANCE - SMALLEST_VARIANCE))))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [B, C, H, W] and variance [C]."""
        return self.mean(features), F.softplus(self.scale) + SMALLEST_VARIANCE


@dataclass(frozen=True)
class VID(Method):
    """CE + beta * sum over stages of the Gaussian negative log-likelihood of the teacher's map."""

    name = "vid"
    title = "Variational information"
    summary = "Keeps as much information about the teacher's features as possible; channels it cannot tell weigh less."
    formula = (
        r"\mathcal{L} = \mathrm{CE}(y, p_s) + \beta \sum_i \tfrac12 \Big[ \tfrac{(f^t_i - \mu_i(f^s_i))^2}{\sigma_i^2}"
        r" + \ln \sigma_i^2 \Big]"
    )
    source = "Ahn et al. 2019, arXiv 1904.05835"
    matches = "features"

    beta: float = hyperparameter(
        1.0, low=0.0, high=100.0, step=0.1, symbol=r"\beta", help="Weight of the term beside cross-entropy."
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """Every stage that both have."""
        return every_stage(student, teacher)

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> nn.ModuleList:
        """One predictor a stage pair."""
        pairs = zip(student.features.values(), teacher.features.values(), strict=True)
        return draw(nn.ModuleList(Predictor(a.shape[1], b.shape[1]) for a, b in pairs), generator)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: nn.ModuleList) -> dict[str, Tensor]:
        """See Method.terms."""
        distances = []
        for predict, *pair in zip(adapter, student.features.values(), teacher.features.values(), strict=True):
            ours, theirs = meet(*pair)
            mean, variance = predict(ours)
            distances.append(variational_information(mean, theirs, variance, mask_at(batch.mask, ours.shape[2:])))
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "information": self.beta * total(distances),
        }
