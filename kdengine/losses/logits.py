"""Losses on the output: labels, softened distributions, and what they are made of.

Classes lie along dimension 1: logits are [B, C] for classification and [B, C, H, W] for segmentation. Every term is
the mean over the positions that count (images, or unmasked pixels), and 0 where none counts. `mask` is bool, shaped
like the target; None counts every position.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.losses.reduction import masked, mean_over, positions, softened

IGNORE = -100
"""The target of an unlabelled image and of an ignored pixel (torch's own `ignore_index`)."""


def cross_entropy(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, weights: Tensor | None = None, *, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy with the labels, in nats; `smoothing` e makes the label (1 - e) one-hot + e / C.

    logits [B, C, ...], target long [B, ...] in [0, C) or IGNORE, smoothing in [0, 1). An IGNORE target never counts.

    -sum_c q_c log softmax(z)_c with q = (1 - e) one-hot + e / C. weights [C], one a class: each position counts as much
    as its label's weight, and the mean is over the weights (torch's own definition where e = 0).
    Source: Szegedy et al. 2016, arXiv 1512.00567 (the same e / C spread over all classes, the true one included).
    """
    _, counts = _labels(target, mask)
    values = F.cross_entropy(
        masked(logits, counts), target, reduction="none", ignore_index=IGNORE, label_smoothing=smoothing)
    if weights is None:
        return mean_over(values, counts)
    share = torch.where(counts, weights[torch.where(counts, target, 0)], 0).to(values)
    total = share.sum()
    return (share * values).sum() / torch.where(total > 0, total, 1)


def kl_divergence(
    student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, temperature: float = 1.0
) -> Tensor:
    """T^2 KL(softmax(t / T) || softmax(s / T)), in nats: sum over classes, mean over the positions that count.

    student, teacher: logits [B, C, ...] of one shape; temperature > 0. The gradient with respect to a student logit
    is T (p_s - p_t) / positions; for T -> infinity it tends to (z_s - z_t) / C / positions with centred logits.

    Computed with log-softmax throughout, so a logit gap of 500 stays finite. Source: Hinton et al. 2015, arXiv
    1503.02531. Known disagreement: torch's `batchmean` divides by B alone (4096 times too large on a 64x64 map); DeiT's
    code divides by the number of elements (C times too small); torchdistill drops T^2 at alpha = 0.
    """
    log_student, log_teacher = (_log_softened(masked(each, mask), temperature) for each in (student, teacher))
    values = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=1)
    return mean_over(values, mask) * temperature**2


def target_class_kl(
    student: Tensor, teacher: Tensor, target: Tensor, mask: Tensor | None = None, *, temperature: float = 4.0
) -> Tensor:
    """TCKD: T^2 KL between the binary distributions (true class, all others together).

    student, teacher: logits [B, C, ...]; target long [B, ...]; an IGNORE target never counts. How hard the teacher
    finds the image. Source: Zhao et al. 2022, arXiv 2203.08679.
    """
    label, counts = _labels(target, mask)
    binary = []
    for logits in (student, teacher):
        log_p = _log_softened(masked(logits, counts), temperature)
        others = log_p.scatter(1, label, -torch.inf).logsumexp(dim=1)
        binary.append(torch.stack([log_p.gather(1, label).squeeze(1), others]))
    ours, theirs = binary
    return mean_over((theirs.exp() * (theirs - ours)).sum(dim=0), counts) * temperature**2


def non_target_kl(
    student: Tensor, teacher: Tensor, target: Tensor, mask: Tensor | None = None, *, temperature: float = 4.0
) -> Tensor:
    """NCKD: T^2 KL between the distributions over the classes that are not the true one, each made to sum to 1.

    Arguments as in `target_class_kl`. 0 with two classes: one wrong class is no distribution. The dark knowledge
    itself, no longer weighted by how unsure the teacher is. Source: Zhao et al. 2022, arXiv 2203.08679.
    Known disagreement: the authors' code masks the true class by -1000, which a logit gap of 500 at small T undoes.
    """
    label, counts = _labels(target, mask)
    # -inf leaves the true class out of the softmax; then 0 in both makes its part of the sum 0.
    ours, theirs = (
        _log_softened(masked(each, counts).scatter(1, label, -torch.inf), temperature).scatter(1, label, 0)
        for each in (student, teacher)
    )
    return mean_over((theirs.exp() * (theirs - ours)).sum(dim=1), counts) * temperature**2


def dkd(
    student: Tensor, teacher: Tensor, target: Tensor, mask: Tensor | None = None, *,
    target_weight: float = 1.0, non_target_weight: float = 8.0, temperature: float = 4.0,
) -> Tensor:
    """Decoupled distillation: a TCKD + b NCKD. Arguments as in `target_class_kl`.

    The classical loss is TCKD + (1 - p_t(true)) NCKD: there the surer the teacher, the less its dark knowledge
    counts; here it always counts b. Source: Zhao et al. 2022, arXiv 2203.08679.
    """
    settings = {"temperature": temperature}
    return (target_weight * target_class_kl(student, teacher, target, mask, **settings)
            + non_target_weight * non_target_kl(student, teacher, target, mask, **settings))


def standardized(logits: Tensor) -> Tensor:
    """Logits z-scored over the classes: (z - mean) / (standard deviation + 1e-7), logits [B, C, ...].

    The sample standard deviation (divided by C - 1). Source: Sun et al. 2024, arXiv 2403.01427.
    """
    return (logits - logits.mean(dim=1, keepdim=True)) / (logits.std(dim=1, keepdim=True) + 1e-7)


def inter_class_relation(
    student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, temperature: float = 1.0
) -> Tensor:
    """tau^2 (1 - Pearson correlation over the classes of softmax(z / tau)), mean over the positions that count.

    student, teacher: logits [B, C, ...] of one shape. A uniform distribution has correlation 0.
    Source: Huang et al. 2022 (DIST), arXiv 2205.10536.
    """
    return temperature**2 * _one_minus_pearson(*_softened_rows(student, teacher, mask, temperature))


def intra_class_relation(
    student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, temperature: float = 1.0
) -> Tensor:
    """tau^2 (1 - Pearson correlation over the batch of each class's softmax(z / tau)), mean over the classes.

    student, teacher: logits [B, C, ...] of one shape; every position that counts is one of the batch. 0 where fewer
    than two count. A class as probable everywhere has correlation 0. Source: Huang et al. 2022 (DIST), arXiv
    2205.10536.
    """
    ours, theirs = _softened_rows(student, teacher, mask, temperature)
    if len(ours) < 2:
        return ours.sum() * 0
    return temperature**2 * _one_minus_pearson(ours.T, theirs.T)


def _log_softened(logits: Tensor, temperature: float) -> Tensor:
    return F.log_softmax(softened(logits, temperature), dim=1)


def _labels(target: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The target as an index [B, 1, ...], 0 where there is none, and the positions that count and have one."""
    known = target != IGNORE
    return target.clamp(min=0).unsqueeze(1), known if mask is None else mask & known


def _softened_rows(
    student: Tensor, teacher: Tensor, mask: Tensor | None, temperature: float
) -> tuple[Tensor, Tensor]:
    ours, theirs = (_log_softened(positions(each, mask), temperature).exp() for each in (student, teacher))
    return ours, theirs


def _one_minus_pearson(first: Tensor, second: Tensor) -> Tensor:
    """1 - the correlation of each row, mean over the rows; 0 where there is no row."""
    if not len(first):
        return first.sum() * 0
    first, second = (each - each.mean(dim=1, keepdim=True) for each in (first, second))
    return 1 - F.cosine_similarity(first, second, dim=1, eps=1e-8).mean()
