"""Flow of solution procedure: match how features change from one stage to the next, then train on the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from kdengine.errors import KDError
from kdengine.losses import fsp, fsp_matrix, mask_at, total
from kdengine.methods.adapters import Connectors, meet
from kdengine.methods.contract import Method, every_stage, hyperparameter
from kdengine.methods.kd import KD
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted


@dataclass(frozen=True)
class FSPFirst(Method):
    """The flow matrices of consecutive stages alone: no label, no logits.

    The paper asks for equal channels; a 1x1 connector brings the student's to the teacher's. Known disagreement: the
    comparison tables name a weight of 50, beside code that weighs the flow 1 in its own run and 0 in the next. Alone
    in a run, 50 makes a ResNet-8 diverge at the usual learning rate of 0.05 (digits, epoch 2).
    """

    name = "fsp_first"
    title = "Flow training"
    summary = "Learns how the teacher's features flow from each stage to the next, and nothing else."
    formula = r"\mathcal{L} = \beta \sum_i \lVert G^s_i - G^t_i \rVert^2 / n_i, \quad G_i = f_i^\top f_{i+1} / HW"
    source = "Yim et al. 2017, CVPR"
    matches = "relations"

    beta: float = hyperparameter(
        1.0, low=0.0, high=1000.0, step=1.0, symbol=r"\beta", help="Weight of the flow in the first of the two runs."
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """Every stage that both have. Raises KDError where that is one: a flow needs two."""
        if min(len(student), len(teacher)) < 2:
            raise KDError(f"A flow is from stage to stage; the student has {len(student)}, the teacher {len(teacher)}. "
                          "Take networks of two stages or more.")
        return every_stage(student, teacher)

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> Connectors:
        """One connector a stage pair."""
        return Connectors(list(student.features.values()), list(teacher.features.values()), generator)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: Connectors) -> dict[str, Tensor]:
        """See Method.terms."""
        pairs = adapter(list(student.features.values()), list(teacher.features.values()))
        distances = []
        for (ours, theirs), (our_next, their_next) in pairwise(pairs):
            ours, our_next = meet(ours, our_next)
            theirs, their_next = meet(theirs, their_next)
            mask = mask_at(batch.mask, ours.shape[2:])
            distances.append(fsp(fsp_matrix(ours, our_next, mask), fsp_matrix(theirs, their_next, mask)))
        return {"flow": self.beta * total(distances)}


@dataclass(frozen=True)
class FSP(KD):
    """Two runs: the flow alone, then the task from the student it left."""

    name = "fsp"
    title = "Flow between stages"
    summary = "First learns how the teacher's features flow from stage to stage, then the labels: two linked runs."
    formula = (
        r"\mathcal{L}_1 = \beta \sum_i \lVert G^s_i - G^t_i \rVert^2 / n_i, \quad \mathcal{L}_2 = "
        r"(1-\alpha)\,\mathrm{CE} + \alpha\,T^2\,\mathrm{KL}"
    )
    source = FSPFirst.source
    matches = "relations"
    first_stage = FSPFirst

    alpha: float = hyperparameter(
        0.0, low=0.0, high=1.0, step=0.05, symbol=r"\alpha",
        help="The share of the teacher's logits in the second run; 0 is labels alone, as published.",
    )
    beta: float = hyperparameter(
        1.0, low=0.0, high=1000.0, step=1.0, symbol=r"\beta", help="Weight of the flow in the first of the two runs."
    )
