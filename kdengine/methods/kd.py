"""Response-based distillation: match the teacher's softened output distribution."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kdengine.losses import kl_divergence
from kdengine.methods.contract import Method, hyperparameter
from kdengine.signals import Batch, Signals


@dataclass(frozen=True)
class KD(Method):
    """(1 - alpha) CE + alpha T^2 KL(teacher || student), Hinton's distillation.

    alpha is the teacher's share: 0 is plain training and never reads the teacher's value, 1 never reads a label. T^2
    holds in every branch, so a sweep over alpha has no jump.
    """

    name = "kd"
    title = "Logit matching"
    summary = "Learns the teacher's softened distribution over the classes (response-based distillation)."
    formula = (
        r"\mathcal{L} = (1-\alpha)\,\mathrm{CE}(y, p_s) + \alpha\,T^2\,"
        r"\mathrm{KL}\big(\sigma(z_t/T)\,\Vert\,\sigma(z_s/T)\big)"
    )
    source = "Hinton et al. 2015, arXiv 1503.02531"
    matches = "logits"

    temperature: float = hyperparameter(
        4.0, low=0.1, high=100.0, step=0.5, symbol="T", help="Softens both distributions; 1 leaves them as they are."
    )
    alpha: float = hyperparameter(
        0.9, low=0.0, high=1.0, step=0.05, symbol=r"\alpha", help="The teacher's share; the labels get 1 - alpha."
    )

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: None) -> dict[str, Tensor]:
        """See Method.terms. A term of weight 0 is left out, so what it does not read cannot spoil it."""
        terms = {}
        if self.alpha < 1:
            labels = batch.cross_entropy(student.logits)
            terms["cross_entropy"] = (1 - self.alpha) * labels
        if self.alpha > 0:
            divergence = kl_divergence(student.logits, teacher.logits, batch.mask, temperature=self.temperature)
            terms["kl"] = self.alpha * divergence
        return terms
