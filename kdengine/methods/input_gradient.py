"""Match which pixels the answer depends on: the gradient of the true class's logit at the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kdengine.losses import input_gradient
from kdengine.methods.contract import Method, hyperparameter
from kdengine.signals import Batch, Signals, Stage, Wanted


@dataclass(frozen=True)
class InputGradient(Method):
    """CE + beta * square distance of the normalised input gradients, over the labelled images.

    Unstable alone, as its authors say; it costs a second backward through the student.
    """

    name = "input_gradient"
    title = "Input gradients"
    summary = "Learns which pixels the teacher's answer depends on. Costs a second backward."
    formula = (
        r"\mathcal{L} = \mathrm{CE}(y, p_s) + \beta\,\Big\lVert \tfrac{\nabla_x z^s_y}{\lVert \nabla_x z^s_y \rVert}"
        r" - \tfrac{\nabla_x z^t_y}{\lVert \nabla_x z^t_y \rVert} \Big\rVert^2"
    )
    source = "Srinivas and Fleuret 2018, arXiv 1803.00443; Czarnecki et al. 2017, arXiv 1706.04859"
    matches = "gradients"
    tasks = ("classification",)

    beta: float = hyperparameter(
        20.0, low=0.0, high=1000.0, step=1.0, symbol=r"\beta", help="Weight of the gradients beside cross-entropy."
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """The input gradient of each."""
        return Wanted(input_gradient=True), Wanted(input_gradient=True)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: None) -> dict[str, Tensor]:
        """See Method.terms."""
        ours, theirs = student.input_gradient, teacher.input_gradient
        assert ours is not None and theirs is not None  # both are wanted
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "gradients": self.beta * input_gradient(ours, theirs, batch.supervised),
        }
