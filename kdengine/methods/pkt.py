"""Probabilistic knowledge transfer: match the distribution of who is similar to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kdengine.losses import pkt
from kdengine.methods.adapters import vector
from kdengine.methods.contract import Method, deepest_stage, hyperparameter
from kdengine.signals import Batch, Signals, Stage, Wanted


@dataclass(frozen=True)
class PKT(Method):
    """CE + beta * KL between the conditional similarities of the batch, on the pooled features of the last stage."""

    name = "pkt"
    title = "Probabilistic transfer"
    summary = "Learns the teacher's probability that one image of the batch would pick another as its neighbour."
    formula = (
        r"\mathcal{L} = \mathrm{CE}(y, p_s) + \tfrac{\beta}{B^2} \sum_{i,j} p^t_{j|i} \ln \tfrac{p^t_{j|i}}{p^s_{j|i}}"
    )
    source = "Passalis and Tefas 2018, arXiv 1803.10837"
    matches = "relations"

    beta: float = hyperparameter(
        30_000.0, low=0.0, high=1_000_000.0, step=1000.0, symbol=r"\beta",
        help="Weight of the relations beside cross-entropy.",
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """The last stage of each."""
        return deepest_stage(student, teacher)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: None) -> dict[str, Tensor]:
        """See Method.terms."""
        ours, theirs = (vector(*signals.features.values()) for signals in (student, teacher))
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "similarities": self.beta * pkt(ours, theirs),
        }
