"""Channel-wise distillation: match where each class, or each channel, looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdengine.losses import channel_distribution, mask_at
from kdengine.methods.adapters import Connectors
from kdengine.methods.contract import Method, deepest_stage, hyperparameter
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted


@dataclass(frozen=True)
class CWD(Method):
    """CE + the channels' softened distributions over the positions, of the logits, of the last feature map, or both.

    Known disagreement: the authors' code takes the logits before they are enlarged to the image; here they are compared
    at the image's size, as in every method.
    """

    name = "cwd"
    title = "Channel-wise"
    summary = "Learns, for each class, how the teacher spreads it over the picture: a softmax over the positions."
    formula = (
        r"\mathcal{L} = \mathrm{CE}(y, p_s) + \beta\,\tfrac{T^2}{C} \sum_{c} \mathrm{KL}\big("
        r"\sigma_{hw}(z^t_c/T)\,\Vert\,\sigma_{hw}(z^s_c/T)\big) + \gamma\,\mathcal{L}_{\text{features}}"
    )
    source = "Shu et al. 2021, arXiv 2011.13256"
    matches = "logits"
    tasks = ("segmentation",)

    temperature: float = hyperparameter(
        4.0, low=0.1, high=100.0, step=0.5, symbol="T", help="Softens both distributions over the positions."
    )
    logits_weight: float = hyperparameter(
        3.0, low=0.0, high=100.0, step=0.5, symbol=r"\beta", help="Weight of the logits' channels, one a class."
    )
    feature_weight: float = hyperparameter(
        0.0, low=0.0, high=1000.0, step=5.0, symbol=r"\gamma",
        help="Weight of the channels of the last feature map, through a 1x1 connector (the paper: 50).",
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """The last stage of each, where its weight is not 0."""
        return deepest_stage(student, teacher) if self.feature_weight else (Wanted(), Wanted())

    def adapter(
        self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator
    ) -> Connectors | None:
        """A connector for the last stage, where its weight is not 0."""
        if not self.feature_weight:
            return None
        return Connectors(list(student.features.values()), list(teacher.features.values()), generator)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: Connectors | None) -> dict[str, Tensor]:
        """See Method.terms."""
        terms = {"cross_entropy": batch.cross_entropy(student.logits)}
        if self.logits_weight:
            distance = channel_distribution(student.logits, teacher.logits, batch.mask, temperature=self.temperature)
            terms["channels"] = self.logits_weight * distance
        if adapter:
            (ours, theirs), = adapter(list(student.features.values()), list(teacher.features.values()))
            distance = channel_distribution(
                ours, theirs, mask_at(batch.mask, ours.shape[2:]), temperature=self.temperature)
            terms["features"] = self.feature_weight * distance
        return terms
