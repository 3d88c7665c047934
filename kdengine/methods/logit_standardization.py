"""Distillation of standardised logits: the ranking matters, the magnitude does not."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kdengine.losses import kl_divergence, standardized
from kdengine.methods.contract import Method, hyperparameter
from kdengine.signals import Batch, Signals


@dataclass(frozen=True)
class LogitStandardization(Method):
    """Free weights of CE and of T^2 KL on logits z-scored over the classes, image by image."""

    name = "logit_standardization"
    title = "Logit standardization"
    summary = "Learns the teacher's ranking of the classes; each image's logits are first scaled to one spread."
    formula = (
        r"\mathcal{L} = \lambda\,\mathrm{CE}(y, p_s) + \beta\,T^2\,"
        r"\mathrm{KL}\big(\sigma(\mathcal{Z}(z_t)/T)\,\Vert\,\sigma(\mathcal{Z}(z_s)/T)\big)"
    )
    source = "Sun et al. 2024, arXiv 2403.01427"
    matches = "logits"

    cross_entropy_weight: float = hyperparameter(
        0.1, low=0.0, high=10.0, step=0.1, symbol=r"\lambda", help="Weight of the labels."
    )
    kl_weight: float = hyperparameter(9.0, low=0.0, high=50.0, step=0.5, symbol=r"\beta", help="Weight of the teacher.")
    temperature: float = hyperparameter(
        2.0, low=0.1, high=100.0, step=0.5, symbol="T", help="Softens both standardised distributions."
    )

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: None) -> dict[str, Tensor]:
        """See Method.terms."""
        divergence = kl_divergence(
            standardized(student.logits), standardized(teacher.logits), batch.mask, temperature=self.temperature
        )
        labels = batch.cross_entropy(student.logits)
        return {"cross_entropy": self.cross_entropy_weight * labels, "kl": self.kl_weight * divergence}
