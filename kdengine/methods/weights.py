"""Match the weights themselves, through trained linear maps where the shapes differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdengine.losses import weight_distance
from kdengine.methods.contract import Method, hyperparameter
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted, pair_stages


class WeightMaps(nn.Module):
    """Linear maps from one layer's weight matrix [out_s, in_s] to another's [out_t, in_t], where the sizes differ."""

    rows: nn.Parameter | None
    columns: nn.Parameter | None

    def __init__(self, student: Tensor, teacher: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        ours, theirs = student.flatten(1).shape, teacher.flatten(1).shape
        for name, shape in (("rows", (theirs[0], ours[0])), ("columns", (ours[1], theirs[1]))):
            if shape[0] == shape[1]:
                self.register_parameter(name, None)
            else:
                # scaled so that a mapped weight is about as large as the weight itself
                drawn = torch.randn(shape, generator=generator) / max(shape) ** 0.5
                self.register_parameter(name, nn.Parameter(drawn))


@dataclass(frozen=True)
class Weights(Method):
    """CE + beta * mean over paired stages of the mean square difference of their largest convolutions' weights."""

    name = "weights"
    title = "Weight matching"
    summary = "Learns the teacher's weights, one convolution a stage, through linear maps where the shapes differ."
    formula = r"\mathcal{L} = \mathrm{CE}(y, p_s) + \beta\,\overline{\lVert L_i W^s_i R_i - W^t_i \rVert^2 / n_i}"
    source = "intermediate weights, as the courses on distillation list them"
    matches = "weights"

    beta: float = hyperparameter(
        1.0, low=0.0, high=1000.0, step=1.0, symbol=r"\beta", help="Weight of the weight term beside cross-entropy."
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """Weights of every stage that both have."""
        pairs = pair_stages(student, teacher)
        return (Wanted(weights=tuple(ours.name for ours, _ in pairs)),
                Wanted(weights=tuple(theirs.name for _, theirs in pairs)))

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> nn.ModuleList:
        """Linear maps for each pair of weights, where their sizes differ."""
        pairs = zip(student.weights.values(), teacher.weights.values(), strict=True)
        return nn.ModuleList(WeightMaps(*pair, generator) for pair in pairs)

    def terms(
        self, student: Signals, teacher: Signals, batch: Batch, adapter: Iterable[WeightMaps]
    ) -> dict[str, Tensor]:
        """See Method.terms."""
        distances = [
            weight_distance(ours, theirs, maps.rows, maps.columns)
            for ours, theirs, maps in zip(student.weights.values(), teacher.weights.values(), adapter, strict=True)
        ]
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "weights": self.beta * torch.stack(distances).mean(),
        }
