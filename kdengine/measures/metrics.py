"""What is measured of predictions and heat maps: plain functions of plain tensors. Accuracies are in [0, 1]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.errors import KDError
from kdengine.losses import IGNORE, kl_divergence

CALIBRATION_BINS = 15


def soften(logits: Tensor, temperature: float) -> Tensor:
    """softmax(logits / T) over the last dimension; temperature > 0."""
    if temperature <= 0:
        raise KDError(f"temperature is {temperature!r}; allowed is a number above 0.")
    return F.softmax(logits / temperature, dim=-1)


def entropy(probabilities: Tensor) -> Tensor:
    """-sum p ln p over the last dimension, in nats, with 0 ln 0 = 0."""
    return -torch.special.xlogy(probabilities, probabilities).sum(dim=-1)


def top_k(logits: Tensor, target: Tensor, k: int) -> float:
    """Share of items [N, C] whose target [N] is among the k largest logits. With C <= k it is 1."""
    k = min(k, logits.shape[1])
    return _share((logits.topk(k, dim=1).indices == target[:, None]).any(dim=1))


def agreement(student: Tensor, teacher: Tensor) -> float:
    """Share of items on which two sets of logits [N, C] have the same top class."""
    return _share(student.argmax(dim=1) == teacher.argmax(dim=1))


def kl_to_teacher(student: Tensor, teacher: Tensor) -> float:
    """Mean over items of KL(teacher || student) at T = 1, in nats; logits [N, C]."""
    return kl_divergence(student, teacher).item()


def divergences(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of each item at T = 1, in nats: [N] of logits [N, C]; their mean is `kl_to_teacher`."""
    log_teacher = F.log_softmax(teacher, dim=1)
    return (log_teacher.exp() * (log_teacher - F.log_softmax(student, dim=1))).sum(dim=1)


def calibration_error(logits: Tensor, target: Tensor) -> float:
    """Expected calibration error with 15 equal-width bins of the top probability (Guo et al., arXiv 1706.04599).

    sum over bins of (share of items in the bin) * |accuracy - mean confidence|, in [0, 1]. A bin is (low, high].
    """
    confidence, predicted = F.softmax(logits.double(), dim=1).max(dim=1)
    correct = (predicted == target).double()
    bins = (confidence * CALIBRATION_BINS).ceil().long().clamp(1, CALIBRATION_BINS) - 1
    gap = torch.zeros(CALIBRATION_BINS, dtype=torch.double, device=logits.device)
    gap.index_add_(0, bins, correct - confidence)
    return (gap.abs().sum() / len(target)).item()


def confusion(predicted: Tensor, target: Tensor, classes: int) -> Tensor:
    """How often each class was taken for each, an image: long [B, classes, classes], truth down, answer across.

    predicted, target: class numbers [B, ...]; a target of IGNORE counts nowhere. On the tensors' device.
    """
    counts = target != IGNORE
    image = torch.arange(len(target), device=target.device).view(-1, *[1] * (target.dim() - 1)).expand_as(target)
    place = (image * classes + target) * classes + predicted
    return place[counts].bincount(minlength=len(target) * classes**2).view(-1, classes, classes)


def class_iou(counts: Tensor) -> Tensor:
    """Intersection over union of each class, float64 [C] of a confusion matrix [C, C]; NaN where the union is empty."""
    counts = counts.double()
    right = counts.diagonal()
    return right / (counts.sum(0) + counts.sum(1) - right)  # 0 / 0 is NaN


def mean_iou(counts: Tensor) -> float:
    """Mean of `class_iou` over the classes with a union that is not empty."""
    return class_iou(counts).nanmean().item()


def pixel_accuracy(counts: Tensor) -> float:
    """Share of the pixels that count whose class is right, of a confusion matrix [C, C]."""
    return counts.diagonal().sum().item() / counts.sum().item()


def map_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of heat maps [N, h, w], pair by pair: float64 [N] in [-1, 1].

    Ties share their mean rank. NaN where a map is constant and so has no ranking.
    """
    from scipy.stats import rankdata

    ranks = [torch.from_numpy(rankdata(each.flatten(1).double().cpu().numpy(), axis=1)) for each in (first, second)]
    ours, theirs = (each - each.mean(dim=1, keepdim=True) for each in ranks)
    return ((ours * theirs).sum(dim=1) / (ours.norm(dim=1) * theirs.norm(dim=1))).clamp(-1, 1)


def map_cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of the angle between heat maps [N, h, w] taken as vectors, pair by pair: float64 [N]; 0 where one is 0."""
    return F.cosine_similarity(first.flatten(1).double().cpu(), second.flatten(1).double().cpu(), dim=1)


def map_overlap(first: Tensor, second: Tensor, share: float = 0.2) -> Tensor:
    """Intersection over union of the hottest `share` of the positions of heat maps [N, h, w], pair by pair.

    float64 [N] in [0, 1]. Positions that tie for the last place share it: a map often has many zeros.
    """
    ours, theirs = (_hottest(each.flatten(1).double().cpu(), share) for each in (first, second))
    return torch.minimum(ours, theirs).sum(dim=1) / torch.maximum(ours, theirs).sum(dim=1)


def _hottest(heat: Tensor, share: float) -> Tensor:
    """How far each position of [N, K] is among the hottest `share` of its row: 1, 0, or a part of the last place."""
    count = max(1, round(share * heat.shape[1]))
    least = heat.topk(count, dim=1).values[:, -1:]
    above, tied = (heat > least).double(), (heat == least).double()
    return above + tied * (count - above.sum(dim=1, keepdim=True)) / tied.sum(dim=1, keepdim=True)


def _share(items: Tensor) -> float:
    """How many of bool [N] are true, over N: two counts, so that equal counts give equal shares to the last digit."""
    return items.sum().item() / len(items)
