"""Decoupled distillation: the true class and the others, weighed apart."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kdengine.losses import non_target_kl, target_class_kl
from kdengine.methods.adapters import warm_up
from kdengine.methods.contract import Method, hyperparameter
from kdengine.signals import Batch, Signals


@dataclass(frozen=True)
class DKD(Method):
    """CE + w (a TCKD + b NCKD) with a linear warm-up w over the first min(20, epochs / 12) epochs.

    Both parts read the label to know which class is the true one, so an unlabelled image reaches neither.
    """

    name = "dkd"
    title = "Decoupled distillation"
    summary = "Weighs how sure the teacher is apart from how it ranks the wrong classes."
    formula = r"\mathcal{L} = \mathrm{CE}(y, p_s) + w\,T^2\,(\alpha\,\mathrm{TCKD} + \beta\,\mathrm{NCKD})"
    source = "Zhao et al. 2022, arXiv 2203.08679"
    matches = "logits"

    target_weight: float = hyperparameter(
        1.0, low=0.0, high=20.0, step=0.5, symbol=r"\alpha", help="Weight of the true class against all others."
    )
    non_target_weight: float = hyperparameter(
        8.0, low=0.0, high=20.0, step=0.5, symbol=r"\beta",
        help="Weight of the wrong classes among themselves (the authors: 2 to 8 by pair).",
    )
    temperature: float = hyperparameter(
        4.0, low=0.1, high=100.0, step=0.5, symbol="T", help="Softens both distributions; 1 leaves them as they are."
    )

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: None) -> dict[str, Tensor]:
        """See Method.terms."""
        inputs = student.logits, teacher.logits, batch.target, batch.supervised
        strength = warm_up(batch)
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "target_class": strength * self.target_weight * target_class_kl(*inputs, temperature=self.temperature),
            "non_target": strength * self.non_target_weight * non_target_kl(*inputs, temperature=self.temperature),
        }
