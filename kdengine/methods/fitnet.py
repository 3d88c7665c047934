"""FitNets: a hint from one stage in the middle of the teacher, in one run or, as first published, in two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdengine.losses import feature_distance, mask_at
from kdengine.methods.adapters import Connectors
from kdengine.methods.contract import Method, hyperparameter
from kdengine.methods.kd import KD
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted, pair_stages


@dataclass(frozen=True)
class FitNetOriginalFirst(Method):
    """The hint alone: no label, no logits; the student's layers behind the hint learn nothing yet."""

    name = "fitnet_original_first"
    title = "Hint training"
    summary = "Learns the middle stage of the teacher through a regressor, and nothing else."
    formula = r"\mathcal{L} = \big\lVert r(f^s_m) - f^t_m \big\rVert^2 / n"
    source = "Romero et al. 2015, arXiv 1412.6550, equation 3"
    matches = "features"

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """The middle pair of stages."""
        pairs = pair_stages(student, teacher)
        ours, theirs = pairs[len(pairs) // 2]
        return Wanted((ours.name,)), Wanted((theirs.name,))

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> Connectors:
        """The regressor: 1x1 convolution, batch normalisation, ReLU.

        Without the normalisation, beta = 100 at a learning rate of 0.05 diverges within ten steps.
        """
        return Connectors(list(student.features.values()), list(teacher.features.values()), generator, rectified=True)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: Connectors) -> dict[str, Tensor]:
        """See Method.terms."""
        (ours, theirs), = adapter(list(student.features.values()), list(teacher.features.values()))
        return {"hint": feature_distance(ours, theirs, mask_at(batch.mask, ours.shape[2:]))}


@dataclass(frozen=True)
class FitNet(FitNetOriginalFirst):
    """CE + beta * the hint, in one run: the form of today's comparison tables."""

    name = "fitnet"
    title = "Hints"
    summary = "Learns one stage in the middle of the teacher through a regressor, together with the labels."
    formula = r"\mathcal{L} = \mathrm{CE}(y, p_s) + \beta\,\big\lVert r(f^s_m) - f^t_m \big\rVert^2 / n"
    source = "Romero et al. 2015, arXiv 1412.6550, in the one-stage form of Tian et al. 2020, arXiv 1910.10699"

    beta: float = hyperparameter(
        100.0, low=0.0, high=1000.0, step=10.0, symbol=r"\beta", help="Weight of the hint beside cross-entropy."
    )

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: Connectors) -> dict[str, Tensor]:
        """See Method.terms."""
        hint = super().terms(student, teacher, batch, adapter)["hint"]
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "hint": self.beta * hint,
        }


@dataclass(frozen=True)
class FitNetOriginal(KD):
    """Two runs, as first published: the hint alone, then logit matching from the student it left."""

    name = "fitnet_original"
    title = "FitNet in two stages"
    summary = "First learns one middle stage of the teacher, then its logits: two linked runs."
    formula = (
        r"\mathcal{L}_1 = \big\lVert r(f^s_m) - f^t_m \big\rVert^2 / n, \quad "
        r"\mathcal{L}_2 = (1-\alpha)\,\mathrm{CE} + \alpha\,T^2\,\mathrm{KL}"
    )
    source = "Romero et al. 2015, arXiv 1412.6550"
    matches = "features"
    first_stage = FitNetOriginalFirst
