"""Losses on the weights themselves."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def weight_distance(
    student: Tensor, teacher: Tensor, rows: Tensor | None = None, columns: Tensor | None = None
) -> Tensor:
    """Mean square difference of two layers' weights, the student's mapped to the teacher's shape.

    student, teacher: [out, ...], each taken as a matrix [out, in k k]. rows: [out_t, out_s], columns:
    [(in k k)_s, (in k k)_t]; None where the shapes already agree. mean (rows W_s columns - W_t)^2.
    Source: "match intermediate weights" as the courses teach it.
    """
    ours, theirs = student.flatten(1), teacher.flatten(1)
    if rows is not None:
        ours = rows @ ours
    if columns is not None:
        ours = ours @ columns
    return F.mse_loss(ours, theirs)
