"""Label smoothing: the teacher that knows nothing, a uniform soft target."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kdengine.methods.contract import Method, hyperparameter
from kdengine.signals import Batch, Signals


@dataclass(frozen=True)
class LabelSmoothing(Method):
    """Cross-entropy with labels mixed with the uniform distribution."""

    name = "label_smoothing"
    title = "Label smoothing"
    summary = "Learns from labels softened evenly over all classes, without a teacher."
    formula = r"\mathcal{L} = \mathrm{CE}\big((1-\varepsilon)\,y + \tfrac{\varepsilon}{C},\; p_s\big)"
    source = "Szegedy et al. 2016, arXiv 1512.00567"
    matches = "nothing"
    needs_teacher = False

    smoothing: float = hyperparameter(
        0.1, low=0.0, high=0.9, step=0.05, symbol=r"\varepsilon", help="Share of the label spread over all classes."
    )

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: None) -> dict[str, Tensor]:
        """See Method.terms."""
        return {"cross_entropy": batch.cross_entropy(student.logits, smoothing=self.smoothing)}
