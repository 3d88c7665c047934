"""Handwritten digits that come with scikit-learn: real images that need no download."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kdengine.data import cache
from kdengine.data.content import Content, content, hold_out, select
from kdengine.data.pictures import picture, resized
from kdengine.data.source import Outline, Source
from kdengine.errors import KDError
from kdengine.views import Split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

SIZE = 32
"""Height and width where none is asked for."""
BLOCKS, INK = 8, 16
"""Blocks along a side of a digit, and how much ink one can hold: it counts the 4 x 4 pixels of a scan."""


@dataclass(frozen=True)
class Digits(Source):
    """1,797 digits of 8 x 8 pixels and 17 grey values, as 32 x 32 RGB; 70% train, 10% validation, 20% test.

    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998); the
    test set of it, in scikit-learn's copy.
    """

    def found(self, root: Path) -> str:
        """See Source.found."""
        del root
        return "inside scikit-learn"

    def read(self, root: Path, path: str, image_size: int | None) -> Content:
        """See Source.read."""
        del path
        key = cache.key((self.name, version("scikit-learn"), image_size), ())
        # Decoding is quick; importing scikit-learn is not (3 s), and every run would wait for it.
        return cache.cached(root, key, lambda: self._decode(image_size or SIZE))

    def outline(self, root: Path, path: str, image_size: int | None) -> Outline:
        """See Source.outline."""
        del root, path
        return Outline(self.task, tuple(map(str, range(10))), image_size or SIZE, smallest=122)

    def download(self, root: Path) -> None:
        """See Source.download."""
        raise KDError("The digits come with scikit-learn; there is nothing to download.")

    def _decode(self, size: int) -> Content:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = _pictures(torch.from_numpy(digits.images), size)
        whole = Split(images, torch.from_numpy(digits.target).long())
        rest, test = hold_out(whole.target, 0.2, "test")
        train, validation = hold_out(whole.target[rest], 0.1 / 0.8, "validation")
        return content(
            tuple(str(name) for name in digits.target_names),
            train=select(whole, rest[train]), validation=select(whole, rest[validation]), test=select(whole, test),
        )


def drawn_digit(counts: Sequence[int]) -> Image.Image:
    """The picture of a digit somebody drew, as those of the data set are made: 32 x 32 RGB.

    counts: how many of the 4 x 4 pixels of each of 8 x 8 blocks bear ink, row by row. Raises KDError for any other
    number of blocks, and for what is no whole number from 0 to 16.
    """
    if len(counts) != BLOCKS**2 or any(each not in range(INK + 1) for each in counts):
        raise KDError(f"A drawn digit is {BLOCKS**2} whole numbers from 0 to {INK}, one for each block of pixels.")
    return picture(_pictures(torch.tensor(counts).reshape(1, BLOCKS, BLOCKS), SIZE)[0])


def _pictures(counts: torch.Tensor, size: int) -> torch.Tensor:
    """uint8 [N, 3, size, size] of the ink in blocks [N, 8, 8]."""
    images = ((counts.to(torch.int64) * 255 + INK // 2) // INK).to(torch.uint8)  # 0..16 to 0..255, to the nearest
    return resized(images[:, None].expand(-1, 3, -1, -1), size)
