"""Factor transfer: the teacher's features are first paraphrased, then matched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdengine.losses import factor_distance, mask_at
from kdengine.methods.adapters import draw, meet
from kdengine.methods.contract import Method, deepest_stage, hyperparameter
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted

RATE = 0.5
"""Channels of a factor, as a share of the teacher's."""


def _layers(channels: Sequence[int], layer: type[nn.Module]) -> nn.Sequential:
    parts: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        parts += [layer(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1)]
    return nn.Sequential(*parts)


class Paraphraser(nn.Module):
    """An autoencoder of the teacher's last feature map; the code is the teacher's factor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        code = max(1, round(RATE * channels))
        self.encoder = _layers([channels, channels, code, code], nn.Conv2d)
        self.decoder = _layers([code, code, channels, channels], nn.ConvTranspose2d)


class Factors(nn.Module):
    """The paraphraser, and in the second run the translator that gives the student's factor."""

    def __init__(self, student: Tensor, teacher: Tensor, *, translates: bool) -> None:
        super().__init__()
        self.paraphraser = Paraphraser(teacher.shape[1])
        if translates:
            ours, code = student.shape[1], max(1, round(RATE * teacher.shape[1]))
            self.translator = _layers([ours, ours, code, code], nn.Conv2d)


@dataclass(frozen=True)
class FactorFirst(Method):
    """The paraphraser alone: an autoencoder of the teacher's features. The student does not learn."""

    name = "factor_first"
    title = "Paraphraser training"
    summary = "Trains an autoencoder of the teacher's last features; the student waits."
    formula = r"\mathcal{L} = \big\lVert f^t - D(E(f^t)) \big\rVert^2 / n"
    source = "Kim et al. 2018, arXiv 1802.04977"
    matches = "features"
    trains_student = False

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """The last stage of each."""
        return deepest_stage(student, teacher)

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> Factors:
        """The paraphraser."""
        (ours,), (theirs,) = student.features.values(), teacher.features.values()
        return draw(Factors(ours, theirs, translates=False), generator)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: Factors) -> dict[str, Tensor]:
        """See Method.terms."""
        features, = teacher.features.values()
        paraphraser = adapter.paraphraser
        return {"reconstruction": F.mse_loss(paraphraser.decoder(paraphraser.encoder(features)), features)}


@dataclass(frozen=True)
class Factor(Method):
    """CE + beta * the mean absolute difference of the normalised factors; the paraphraser stays as it was trained."""

    name = "factor"
    title = "Factor transfer"
    summary = "Learns a paraphrase of the teacher's last features, trained first: two linked runs."
    formula = (
        r"\mathcal{L}_1 = \big\lVert f^t - D(E(f^t)) \big\rVert^2 / n, \quad "
        r"\mathcal{L}_2 = \mathrm{CE}(y, p_s) + \beta\,\Big\lVert \tfrac{F_s}{\lVert F_s\rVert}"
        r" - \tfrac{F_t}{\lVert F_t\rVert} \Big\rVert_1 / n"
    )
    source = FactorFirst.source
    matches = "features"
    first_stage = FactorFirst

    beta: float = hyperparameter(
        200.0, low=0.0, high=5000.0, step=25.0, symbol=r"\beta", help="Weight of the factors beside cross-entropy."
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """The last stage of each."""
        return deepest_stage(student, teacher)

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> Factors:
        """Paraphraser and translator."""
        (ours,), (theirs,) = student.features.values(), teacher.features.values()
        return draw(Factors(ours, theirs, translates=True), generator)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: Factors) -> dict[str, Tensor]:
        """See Method.terms."""
        (ours,), (theirs,) = student.features.values(), teacher.features.values()
        with torch.no_grad():
            factor = adapter.paraphraser.eval().encoder(theirs)
        ours, factor = meet(adapter.translator(ours), factor)
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "factors": self.beta * factor_distance(ours, factor, mask_at(batch.mask, ours.shape[2:])),
        }
