"""A data set as the engine uses it: three splits in memory, and what a network must know of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from kdengine.views import Split


@dataclass(frozen=True)
class DataSet:
    """Images with one class each, or with a mask each, split in three, on the CPU.

    name: what it was loaded by, `digits` or `folder:flowers`. task: `classification` or `segmentation`. train,
    validation, test: uint8 [N, 3, H, H], and long [N], of which only train can hold IGNORE, or int16 [N, H, H]. views:
    the default view policy's name. digest: 16 hexadecimal digits over the classes and all splits, before
    `without_class`, `share`, `labels_per_class` and `labelled_images` took anything away. labels_per_class: labels left
    of each class of train, None for all. labelled_images: images of train left with their mask, None for all. share:
    part of the training images left. without_class: number of the class whose training images were left out, None for
    no class. boxes: long [len(test), 4], left, top, right and bottom (exclusive), in pixels, of what is seen of the
    object that names a test image; None where nobody knows. notes: sentences for people on how a folder was read: what
    was taken for what, and what was left out.
    """

    name: str
    title: str
    task: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    views: str
    digest: str
    labels_per_class: int | None = None
    labelled_images: int | None = None
    share: float = 1.0
    without_class: int | None = None
    boxes: Tensor | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Height and width of every image, in pixels."""
        return self.train.images.shape[-1]

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel of train, in [0, 1]."""
        return self._moments[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel of train (over all pixels), in (0, 0.5]; 1 for a constant channel."""
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """From the counts of the 256 values: exact, and without a copy of the images as floats."""
        values = torch.arange(256, dtype=torch.float64) / 255
        means, deviations = [], []
        for channel in range(self.train.images.shape[1]):
            counts = torch.bincount(self.train.images[:, channel].reshape(-1), minlength=256).double()
            share = counts / counts.sum()
            mean = (share * values).sum()
            deviation = (share * (values - mean) ** 2).sum().sqrt()
            means.append(float(mean))
            deviations.append(float(deviation) if counts.count_nonzero() > 1 else 1.0)
        return tuple(means), tuple(deviations)
