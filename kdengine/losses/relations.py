"""Losses on relations between the images of a batch. All are 0 for a batch of one image, which has none.

Embeddings are [B, D]; student and teacher may differ in D, since only distances, angles and similarities are compared.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.losses.directions import unit


def rkd_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 between the pair distances, each network's divided by its own mean over the pairs.

    student [B, D_s], teacher [B, D_t]; mean over all B^2 pairs. Invariant to rotation, shift and scale of either.
    Source: Park et al. 2019, arXiv 1904.05068. As in the authors' code: a mean in place of the sum, and the distances
    that are 0 (of an image to itself, of two equal embeddings) are left out of the mean they are divided by.
    """
    return F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))


def rkd_angle(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 between the cosines of the angle at j in every triple of images (i, j, k).

    student [B, D_s], teacher [B, D_t]; mean over all B^3 triples; a cosine with two equal embeddings is 0. Invariant
    to rotation, shift and scale of either. Source: Park et al. 2019, arXiv 1904.05068, a mean in place of the sum.
    """
    return F.smooth_l1_loss(_cosines(student), _cosines(teacher))


def similarity(student: Tensor, teacher: Tensor) -> Tensor:
    """SP: square Frobenius distance of the Gram matrices, each row a unit vector, divided by B^2.

    student, teacher: activations [B, ...], flattened; either may have its own shape. Invariant to rotation and scale
    of either. Source: Tung and Mori 2019, arXiv 1907.09682.
    """
    if len(student) < 2:
        return student.sum() * 0
    grams = []
    for activations in (student, teacher):
        rows = activations.flatten(1)
        grams.append(unit(rows @ rows.T))
    return (grams[0] - grams[1]).pow(2).mean()


def pkt(student: Tensor, teacher: Tensor) -> Tensor:
    """KL between the two networks' conditional similarities of the batch, teacher first, divided by B^2.

    student [B, D_s], teacher [B, D_t]. Similarity is (cosine + 1) / 2 in [0, 1], no less than 1e-7; each row is made
    to sum to 1. The length of an embedding does not matter. Source: Passalis and Tefas 2018, arXiv 1803.10837. As in
    the authors' code, an image's similarity to itself counts too, and the sum is divided by B^2.
    """
    logarithms = []
    for embeddings in (student, teacher):
        rows = unit(embeddings)
        similarities = ((rows @ rows.T + 1) / 2).clamp(min=1e-7)
        logarithms.append((similarities / similarities.sum(dim=1, keepdim=True)).log())
    ours, theirs = logarithms
    return F.kl_div(ours, theirs, reduction="none", log_target=True).mean()


def _relative_distances(embeddings: Tensor) -> Tensor:
    """Euclidean distances of all pairs [B, B], divided by the mean of those that are not 0."""
    distances = _differences(embeddings).norm(dim=2)
    mean = distances.sum() / (distances > 0).sum().clamp(min=1)
    return distances / torch.where(mean > 0, mean, 1)


def _cosines(embeddings: Tensor) -> Tensor:
    """cos of the angle i-j-k at [j, i, k]."""
    directions = unit(_differences(embeddings))
    return directions @ directions.transpose(1, 2)


def _differences(embeddings: Tensor) -> Tensor:
    """From image j to image i at [j, i]: [B, B, D].

    Not through the Gram matrix: far from the origin its differences of squares have no digits left.
    """
    return embeddings[None] - embeddings[:, None]
