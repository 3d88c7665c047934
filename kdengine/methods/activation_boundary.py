"""Activation boundaries: match which neurons fire, then train on the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdengine.losses import activation_boundary, mask_at, total
from kdengine.methods.adapters import Connectors
from kdengine.methods.contract import Method, hyperparameter
from kdengine.methods.kd import KD
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted, pair_stages


@dataclass(frozen=True)
class ActivationBoundaryFirst(Method):
    """The boundaries alone: no label, no logits. On pre-activations of every stage, through 1x1 connectors."""

    name = "activation_boundary_first"
    title = "Boundary training"
    summary = "Learns which of the teacher's neurons fire, stage by stage, and nothing else."
    formula = (
        r"\mathcal{L} = \beta \sum_i \overline{[t_i \le 0]\,(s_i + m)_+^2 + [t_i > 0]\,(m - s_i)_+^2}, \quad m = 1"
    )
    source = "Heo et al. 2019, arXiv 1811.03233"
    matches = "sparsity"

    beta: float = hyperparameter(
        1.0, low=0.0, high=100.0, step=0.5, symbol=r"\beta", help="Weight of the boundaries, in the first run."
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """Pre-activations of every stage that both have."""
        pairs = pair_stages(student, teacher)
        return (Wanted(preactivations=tuple(ours.name for ours, _ in pairs)),
                Wanted(preactivations=tuple(theirs.name for _, theirs in pairs)))

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> Connectors:
        """One connector a stage pair."""
        return Connectors(list(student.preactivations.values()), list(teacher.preactivations.values()), generator)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: Connectors) -> dict[str, Tensor]:
        """See Method.terms."""
        pairs = adapter(list(student.preactivations.values()), list(teacher.preactivations.values()))
        distance = total(activation_boundary(a, b, mask_at(batch.mask, a.shape[2:])) for a, b in pairs)
        return {"boundary": self.beta * distance}


@dataclass(frozen=True)
class ActivationBoundary(KD):
    """Two runs: the boundaries alone, then the task from the student they left."""

    name = "activation_boundary"
    title = "Activation boundaries"
    summary = "First learns which of the teacher's neurons fire, then the labels: two linked runs."
    formula = (
        r"\mathcal{L}_1 = \beta \sum_i \overline{[t_i \le 0]\,(s_i + m)_+^2 + [t_i > 0]\,(m - s_i)_+^2}, \quad "
        r"\mathcal{L}_2 = (1-\alpha)\,\mathrm{CE} + \alpha\,T^2\,\mathrm{KL}"
    )
    source = ActivationBoundaryFirst.source
    matches = "sparsity"
    first_stage = ActivationBoundaryFirst

    alpha: float = hyperparameter(
        0.0, low=0.0, high=1.0, step=0.05, symbol=r"\alpha",
        help="The share of the teacher's logits in the second run; 0 is labels alone.",
    )
    beta: float = hyperparameter(
        1.0, low=0.0, high=100.0, step=0.5, symbol=r"\beta", help="Weight of the boundaries, in the first run."
    )
