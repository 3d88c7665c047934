"""One class's bias, set after training: for a class that a student never saw an image of."""

from __future__ import annotations

import torch
from torch import Tensor

from kdengine.errors import KDError, out_of_range


def corrected(logits: Tensor, class_index: int, share: float) -> tuple[Tensor, float]:
    """Logits with one constant added to one class, so that `share` of the items is predicted as it; and the constant.

    logits: [N, C], finite, N >= 1, C >= 2. share: in [0, 1], for instance the class's known share of the data. Returns
    float64 [N, C], since rounding to less could move an item, and the constant in nats. Reads no label.

    An item is predicted as the class once the constant exceeds its gap, the largest other logit minus the class's.
    The constant is midway between the k-th and the (k + 1)-th smallest gap, k = round(share * N); it is 1 below the
    smallest for k = 0 and 1 above the largest for k = N. Equal gaps go together: k is then the nearest number that
    splits none, the lower of two as near.

    Source: Hinton et al. 2015 (arXiv 1503.02531, section 3), where a student distilled without an image of a class
    names it too rarely until its bias is raised. They choose the bias that is best on the test set; here the class's
    share decides, so that nothing is fitted to the labels the student is measured on.

    Raises KDError for logits of another shape, a class they do not have, or a share out of range.
    """
    if logits.dim() != 2 or len(logits) < 1 or logits.shape[1] < 2:
        raise KDError(f"logits are {list(logits.shape)}; must be [N, C] of one item or more and two classes or more.")
    if class_index not in range(logits.shape[1]):
        raise out_of_range("class_index", class_index, 0, logits.shape[1] - 1)
    if not 0 <= share <= 1:
        raise out_of_range("share", share, 0, 1)
    logits = logits.double()
    own = logits[:, class_index]
    others = torch.cat([logits[:, :class_index], logits[:, class_index + 1:]], dim=1)
    gaps = (others.amax(dim=1) - own).sort().values
    bounds = torch.cat([gaps[:1] - 2, gaps, gaps[-1:] + 2])  # the k smallest gaps end at bounds[k]
    possible = (bounds[:-1] < bounds[1:]).nonzero().flatten()
    k = possible[(possible - round(share * len(logits))).abs().argmin()]
    constant = (bounds[k] + bounds[k + 1]) / 2
    moved = logits.clone()
    moved[:, class_index] += constant
    return moved, constant.item()
