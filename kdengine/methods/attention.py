"""Attention transfer: match where the network is active."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kdengine.losses import attention, mask_at, total
from kdengine.methods.adapters import meet
from kdengine.methods.contract import Method, every_stage, hyperparameter
from kdengine.signals import Batch, Signals, Stage, Wanted


@dataclass(frozen=True)
class Attention(Method):
    """CE + beta * sum over stages of the mean square difference of the attention maps."""

    name = "attention"
    title = "Attention transfer"
    summary = "Learns where the teacher's feature maps are active, at every stage; channels may differ."
    formula = (
        r"\mathcal{L} = \mathrm{CE}(y, p_s) + \beta \sum_i \tfrac{1}{n_i}\Big\lVert \tfrac{A^s_i}{\lVert A^s_i\rVert}"
        r" - \tfrac{A^t_i}{\lVert A^t_i\rVert} \Big\rVert^2, \quad A = \tfrac1C \sum_c f_c^2"
    )
    source = "Zagoruyko and Komodakis 2017, arXiv 1612.03928"
    matches = "features"

    beta: float = hyperparameter(
        1000.0, low=0.0, high=100_000.0, step=100.0, symbol=r"\beta",
        help="Weight of the attention term beside cross-entropy.",
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """Every stage that both have."""
        return every_stage(student, teacher)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: None) -> dict[str, Tensor]:
        """See Method.terms."""
        pairs = [meet(*pair) for pair in zip(student.features.values(), teacher.features.values(), strict=True)]
        distance = total(attention(ours, theirs, mask_at(batch.mask, ours.shape[2:])) for ours, theirs in pairs)
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "attention": self.beta * distance,
        }
