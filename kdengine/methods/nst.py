"""Neuron selectivity transfer: match the distribution of what the channels respond to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kdengine.losses import mask_at, neuron_selectivity, total
from kdengine.methods.adapters import meet
from kdengine.methods.contract import Method, every_stage, hyperparameter
from kdengine.signals import Batch, Signals, Stage, Wanted


@dataclass(frozen=True)
class NST(Method):
    """CE + beta * sum over stages of the squared maximum mean discrepancy of the channel maps."""

    name = "nst"
    title = "Neuron selectivity"
    summary = "Learns the distribution of the teacher's channel maps; how many channels there are does not matter."
    formula = r"\mathcal{L} = \mathrm{CE}(y, p_s) + \beta \sum_i \mathrm{MMD}^2_{(a^\top b)^2}\big(f^s_i, f^t_i\big)"
    source = "Huang and Wang 2017, arXiv 1707.01219"
    matches = "features"

    beta: float = hyperparameter(
        50.0, low=0.0, high=1000.0, step=5.0, symbol=r"\beta", help="Weight of the term beside cross-entropy."
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """Every stage that both have."""
        return every_stage(student, teacher)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: None) -> dict[str, Tensor]:
        """See Method.terms."""
        pairs = [meet(*pair) for pair in zip(student.features.values(), teacher.features.values(), strict=True)]
        distance = total(neuron_selectivity(a, b, mask_at(batch.mask, a.shape[2:])) for a, b in pairs)
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "selectivity": self.beta * distance,
        }
