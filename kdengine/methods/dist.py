"""DIST: match correlations of the predictions rather than the predictions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kdengine.losses import inter_class_relation, intra_class_relation
from kdengine.methods.contract import Method, hyperparameter
from kdengine.signals import Batch, Signals


@dataclass(frozen=True)
class DIST(Method):
    """CE + beta tau^2 (1 - correlation over classes) + gamma tau^2 (1 - correlation over the batch)."""

    name = "dist"
    title = "DIST"
    summary = "Learns how the teacher's predictions vary over the classes, and over the batch, up to scale and shift."
    formula = (
        r"\mathcal{L} = \mathrm{CE}(y, p_s) + \beta\,\tau^2 (1 - \rho_{\text{classes}})"
        r" + \gamma\,\tau^2 (1 - \rho_{\text{batch}})"
    )
    source = "Huang et al. 2022, arXiv 2205.10536"
    matches = "logits"

    inter_weight: float = hyperparameter(
        1.0, low=0.0, high=20.0, step=0.5, symbol=r"\beta", help="Weight of the relation between the classes."
    )
    intra_weight: float = hyperparameter(
        1.0, low=0.0, high=20.0, step=0.5, symbol=r"\gamma", help="Weight of the relation between the images."
    )
    temperature: float = hyperparameter(
        1.0, low=0.1, high=100.0, step=0.5, symbol=r"\tau", help="Softens both predictions (the authors: 4 on CIFAR)."
    )

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: None) -> dict[str, Tensor]:
        """See Method.terms."""
        inputs = student.logits, teacher.logits, batch.mask
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "inter_class": self.inter_weight * inter_class_relation(*inputs, temperature=self.temperature),
            "intra_class": self.intra_weight * intra_class_relation(*inputs, temperature=self.temperature),
        }
