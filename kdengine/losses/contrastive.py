"""Losses that tell each image's own pair of embeddings from pairs of different images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.losses.directions import unit
from kdengine.losses.reduction import softened


def noise_contrastive(scores: Tensor, *, count: int) -> Tensor:
    """NCE of telling the true pair from K noise pairs: mean over the rows, in nats.

    scores: [B, 1 + K], unnormalised model probabilities > 0, the true pair's first. count: images the noise is drawn
    from, each with probability 1 / count.

    -ln(p_0 / (p_0 + K / n)) - sum over the noise of ln((K / n) / (p_k + K / n)).
    Source: Tian et al. 2020 (CRD), arXiv 1910.10699; Gutmann and Hyvarinen 2010.
    """
    noise = (scores.shape[1] - 1) / count
    true, others = scores[:, 0], scores[:, 1:]
    accepted = -torch.log(true / (true + noise))
    # log1p: a noise pair's p_k n / K is about 1 / K or less, of which 1 + 1 / K keeps only a few digits.
    rejected = torch.log1p(others / noise).sum(dim=1)
    return (accepted + rejected).mean()


def info_nce(student: Tensor, teacher: Tensor, *, temperature: float = 0.07) -> Tensor:
    """Cross-entropy of finding each image's own partner in the batch, both ways, averaged; in nats.

    student, teacher: embeddings [B, D], compared by cosine / temperature. 0 for a batch of one, which has no other.
    Sources: the laboratory form of CRD (Tian et al. 2020, arXiv 1910.10699); van den Oord et al. 2018, arXiv
    1807.03748.
    """
    similarities = softened(unit(student) @ unit(teacher).T, temperature)
    own = torch.arange(len(student), device=student.device)
    return (F.cross_entropy(similarities, own) + F.cross_entropy(similarities.T, own)) / 2
