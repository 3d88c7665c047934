"""Relational distillation: match distances and angles between the images of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kdengine.losses import rkd_angle, rkd_distance
from kdengine.methods.adapters import vector
from kdengine.methods.contract import Method, deepest_stage, hyperparameter
from kdengine.signals import Batch, Signals, Stage, Wanted


@dataclass(frozen=True)
class RKD(Method):
    """CE + beta * distances + gamma * angles, on the pooled features of the last stage."""

    name = "rkd"
    title = "Relational distillation"
    summary = "Learns the distances between pairs of images and the angles in triples, in the teacher's feature space."
    formula = (
        r"\mathcal{L} = \mathrm{CE}(y, p_s) + \beta\,\ell_\delta(\psi_D^s, \psi_D^t)"
        r" + \gamma\,\ell_\delta(\psi_A^s, \psi_A^t)"
    )
    source = "Park et al. 2019, arXiv 1904.05068"
    matches = "relations"

    distance_weight: float = hyperparameter(
        25.0, low=0.0, high=500.0, step=5.0, symbol=r"\beta", help="Weight of the distances between pairs."
    )
    angle_weight: float = hyperparameter(
        50.0, low=0.0, high=500.0, step=5.0, symbol=r"\gamma", help="Weight of the angles in triples."
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """The last stage of each."""
        return deepest_stage(student, teacher)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: None) -> dict[str, Tensor]:
        """See Method.terms."""
        ours, theirs = (vector(*signals.features.values()) for signals in (student, teacher))
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "distance": self.distance_weight * rkd_distance(ours, theirs),
            "angle": self.angle_weight * rkd_angle(ours, theirs),
        }
