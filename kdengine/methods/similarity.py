"""Similarity-preserving distillation: match which images of the batch excite the network alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kdengine.losses import similarity
from kdengine.methods.contract import Method, deepest_stage, hyperparameter
from kdengine.signals import Batch, Signals, Stage, Wanted


@dataclass(frozen=True)
class Similarity(Method):
    """CE + beta * square distance of the batch's row-normalised Gram matrices of the last feature map."""

    name = "similarity"
    title = "Similarity preserving"
    summary = "Learns which images of a batch the teacher finds alike, by its last feature map."
    formula = (
        r"\mathcal{L} = \mathrm{CE}(y, p_s) + \tfrac{\beta}{B^2} \big\lVert \hat G^s - \hat G^t \big\rVert_F^2,"
        r" \quad G = F F^\top"
    )
    source = "Tung and Mori 2019, arXiv 1907.09682"
    matches = "relations"

    beta: float = hyperparameter(
        3000.0, low=0.0, high=100_000.0, step=100.0, symbol=r"\beta",
        help="Weight of the relations beside cross-entropy.",
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """The last stage of each."""
        return deepest_stage(student, teacher)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: None) -> dict[str, Tensor]:
        """See Method.terms."""
        (ours,), (theirs,) = student.features.values(), teacher.features.values()
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "similarity": self.beta * similarity(ours, theirs),
        }
