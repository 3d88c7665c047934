"""Feature-based distillation: match the teacher's feature maps through 1x1 connectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdengine.losses import NORMS, feature_distance, mask_at, total
from kdengine.methods.adapters import Connectors
from kdengine.methods.contract import Method, every_stage, hyperparameter
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted


@dataclass(frozen=True)
class FeaturesMSE(Method):
    """CE + beta * sum over stages of the mean square difference between connected student and teacher maps."""

    name = "features_mse"
    title = "Feature matching"
    summary = "Learns the teacher's feature maps at every stage, through 1x1 connectors (feature-based distillation)."
    formula = r"\mathcal{L} = \mathrm{CE}(y, p_s) + \beta \sum_i \big\lVert W_i f^s_i - f^t_i \big\rVert^2 / n_i"
    source = "the laboratory form of FitNets, Romero et al. 2015, arXiv 1412.6550"
    matches = "features"

    beta: float = hyperparameter(
        0.1, low=0.0, high=1000.0, step=0.1, symbol=r"\beta", help="Weight of the feature term beside cross-entropy."
    )
    norm: str = hyperparameter(
        "l2", choices=NORMS, symbol="p", help="l2 squares every difference; smooth_l1 is gentler to large ones."
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """Every stage that both have, aligned at the deep end."""
        return every_stage(student, teacher)

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> Connectors:
        """One connector a stage pair."""
        return Connectors(list(student.features.values()), list(teacher.features.values()), generator)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: Connectors) -> dict[str, Tensor]:
        """See Method.terms."""
        pairs = adapter(list(student.features.values()), list(teacher.features.values()))
        distance = total(
            feature_distance(ours, theirs, mask_at(batch.mask, ours.shape[2:]), norm=self.norm)
            for ours, theirs in pairs
        )
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "features": self.beta * distance,
        }
