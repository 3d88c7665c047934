"""The student on its own: what every distilled student is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kdengine.colors import INDEPENDENT
from kdengine.methods.contract import Method
from kdengine.signals import Batch, Signals


@dataclass(frozen=True)
class Independent(Method):
    """Plain cross-entropy with the labels."""

    name = "none"
    title = INDEPENDENT
    summary = "Learns from the labels alone, without a teacher."
    formula = r"\mathcal{L} = \mathrm{CE}(y, p_s)"
    source = "the baseline of every distillation table"
    matches = "nothing"
    needs_teacher = False

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: None) -> dict[str, Tensor]:
        """See Method.terms."""
        return {"cross_entropy": batch.cross_entropy(student.logits)}
