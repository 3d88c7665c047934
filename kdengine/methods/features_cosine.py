"""Feature-based distillation by direction: match where the channel vectors point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdengine.losses import feature_cosine, mask_at
from kdengine.methods.adapters import Connectors
from kdengine.methods.contract import Method, hyperparameter
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted, pair_stages

STAGES = 3


@dataclass(frozen=True)
class FeaturesCosine(Method):
    """CE + gamma * mean over the three deepest stage pairs (low, mid, high) of 1 - cosine over the channels."""

    name = "features_cosine"
    title = "Feature directions"
    summary = "Learns the direction of the teacher's features at the three deepest stages, whatever their length."
    formula = r"\mathcal{L} = \mathrm{CE}(y, p_s) + \gamma\,\tfrac13 \sum_i \big(1 - \cos(W_i f^s_i, f^t_i)\big)"
    source = "the segmentation-laboratory form, at strides 4, 8 and 16"
    matches = "features"

    gamma: float = hyperparameter(
        0.5, low=0.0, high=100.0, step=0.1, symbol=r"\gamma", help="Weight of the feature term beside cross-entropy."
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """The three deepest pairs."""
        pairs = pair_stages(student, teacher)[-STAGES:]
        return Wanted(tuple(ours.name for ours, _ in pairs)), Wanted(tuple(theirs.name for _, theirs in pairs))

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> Connectors:
        """One connector a stage pair."""
        return Connectors(list(student.features.values()), list(teacher.features.values()), generator)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: Connectors) -> dict[str, Tensor]:
        """See Method.terms."""
        pairs = adapter(list(student.features.values()), list(teacher.features.values()))
        distances = [feature_cosine(ours, theirs, mask_at(batch.mask, ours.shape[2:])) for ours, theirs in pairs]
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "features": self.gamma * torch.stack(distances).mean(),
        }
