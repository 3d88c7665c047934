"""Any weighted sum of labels, response, features and relations: the laboratory sheet's own loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdengine.losses import feature_cosine, feature_distance, kl_divergence, mask_at, similarity
from kdengine.methods.adapters import Connectors
from kdengine.methods.contract import Method, hyperparameter
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted, pair_stages

STAGES = 3
FEATURES = ("cosine", "l2")


@dataclass(frozen=True)
class Combined(Method):
    """alpha CE + beta T^2 KL + gamma features + delta relations, all four weights free.

    Features: mean over the three deepest stage pairs of 1 - cosine, or of the mean square difference, through 1x1
    connectors. Relations: similarity-preserving, on the last stage. A term of weight 0 is left out.
    """

    name = "combined"
    title = "Combined"
    summary = "Any weighted sum of labels, the teacher's logits, its features and its relations."
    formula = (
        r"\mathcal{L} = \alpha\,\mathrm{CE}(y, p_s) + \beta\,T^2\,\mathrm{KL}(p_t \Vert p_s)"
        r" + \gamma\,\mathcal{L}_{\text{features}} + \delta\,\mathcal{L}_{\text{relations}}"
    )
    source = "the segmentation-laboratory form; see kd, features_cosine, features_mse and similarity for its parts"
    matches = "logits"

    cross_entropy_weight: float = hyperparameter(
        1.0, low=0.0, high=10.0, step=0.1, symbol=r"\alpha", help="Weight of the labels."
    )
    kl_weight: float = hyperparameter(
        0.7, low=0.0, high=10.0, step=0.1, symbol=r"\beta", help="Weight of the teacher's softened distribution."
    )
    temperature: float = hyperparameter(
        4.0, low=0.1, high=100.0, step=0.5, symbol="T", help="Softens both distributions; 1 leaves them as they are."
    )
    feature_weight: float = hyperparameter(
        0.5, low=0.0, high=100.0, step=0.1, symbol=r"\gamma", help="Weight of the features at the three deepest stages."
    )
    features: str = hyperparameter(
        "cosine", choices=FEATURES, symbol=r"\mathcal{L}_{\text{features}}", help="How feature maps are compared."
    )
    relation_weight: float = hyperparameter(
        0.0, low=0.0, high=100_000.0, step=100.0, symbol=r"\delta",
        help="Weight of the similarity of the batch's images (similarity alone: 3000).",
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """The three deepest pairs; nothing where neither features nor relations have a weight."""
        if not (self.feature_weight or self.relation_weight):
            return Wanted(), Wanted()
        pairs = pair_stages(student, teacher)[-STAGES:]
        return Wanted(tuple(ours.name for ours, _ in pairs)), Wanted(tuple(theirs.name for _, theirs in pairs))

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> Connectors:
        """One connector a stage pair."""
        return Connectors(list(student.features.values()), list(teacher.features.values()), generator)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: Connectors) -> dict[str, Tensor]:
        """See Method.terms."""
        ours, theirs = list(student.features.values()), list(teacher.features.values())
        terms = {}
        if self.cross_entropy_weight:
            labels = batch.cross_entropy(student.logits)
            terms["cross_entropy"] = self.cross_entropy_weight * labels
        if self.kl_weight:
            divergence = kl_divergence(student.logits, teacher.logits, batch.mask, temperature=self.temperature)
            terms["kl"] = self.kl_weight * divergence
        if self.feature_weight:
            compare = feature_cosine if self.features == "cosine" else feature_distance
            distances = [compare(a, b, mask_at(batch.mask, a.shape[2:])) for a, b in adapter(ours, theirs)]
            terms["features"] = self.feature_weight * torch.stack(distances).mean()
        if self.relation_weight:
            terms["relations"] = self.relation_weight * similarity(ours[-1], theirs[-1])
        if not terms:
            terms["cross_entropy"] = student.logits.sum() * 0
        return terms
