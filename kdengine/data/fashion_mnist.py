"""Fashion-MNIST: grey pictures of clothes."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.data import cache
from kdengine.data.content import Content, content
from kdengine.data.pictures import resized
from kdengine.data.public import Public
from kdengine.data.source import Outline
from kdengine.errors import KDError
from kdengine.views import Split

SIZE = 32
"""Height and width where none is asked for."""
SYSTEM_PLACE = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts the published files."""

_CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class FashionMNIST(Public):
    """60,000 training and 10,000 test images of 28 x 28, as 32 x 32 RGB. Xiao et al. 2017, arXiv 1708.07747.

    A border of 2 black pixels (the ground of these pictures is black) brings them to 32 without resampling.
    """

    def published(self, root: Path) -> Path | None:
        """See Public.published: torchvision's folder, else the system's."""
        for place in (root / self.layout / "raw", SYSTEM_PLACE):
            if all(_file(place, name).is_file() for names in _FILES.values() for name in names):
                return place
        return None

    def known_classes(self) -> tuple[str, ...]:
        """See Source.known_classes."""
        return _CLASSES

    def outline_of(self, place: Path, image_size: int | None) -> Outline:
        """See Public.outline_of. Of the 60,000 a tenth is held out."""
        del place
        return Outline(self.task, _CLASSES, image_size or SIZE, smallest=5400)

    def decode(self, place: Path, root: Path, image_size: int | None) -> Content:
        """See Public.decode."""
        size = image_size or SIZE
        files = ((name, _file(place, name)) for names in _FILES.values() for name in names)
        return cache.cached(root, cache.key((self.name, size), files), lambda: self._decode(place, size))

    def fetch(self, into: Path) -> None:
        """See Public.fetch."""
        from torchvision import datasets

        datasets.FashionMNIST(into, download=True)

    def _decode(self, place: Path, size: int) -> Content:
        splits = {}
        for split, (images, labels) in _FILES.items():
            gray, target = _read_idx(_file(place, images)), _read_idx(_file(place, labels))
            if gray.dim() != 3 or gray.shape[1:] != (28, 28) or target.shape != gray.shape[:1] or target.max() > 9:
                raise KDError(f"{place / images} and {labels} do not belong together, or are not Fashion-MNIST.")
            color = F.pad(gray, (2, 2, 2, 2))[:, None].repeat(1, 3, 1, 1)
            splits[split] = Split(resized(color, size), target.long())
        return content(_CLASSES, splits["train"], splits["test"])


def _file(place: Path, name: str) -> Path:
    """Where the file of that name lies, if it is there: plain, else compressed."""
    plain = place / name
    return plain if plain.is_file() else place / f"{name}.gz"


def _read_idx(path: Path) -> Tensor:
    """The uint8 tensor in an IDX file: two zero bytes, type 8, number of dimensions, their sizes, the values."""
    damaged = KDError(f"{path} is damaged or cut short. Delete it and bring the data set again.")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise damaged from error
    if data[:3] != b"\0\0\x08" or len(data) < 4:
        raise damaged
    start = 4 + 4 * data[3]
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4)]
    if not math.prod(shape) or len(data) != start + math.prod(shape):
        raise damaged
    return torch.frombuffer(bytearray(data[start:]), dtype=torch.uint8).view(shape)


FASHION_MNIST = FashionMNIST(
    name="fashion_mnist",
    title="Fashion-MNIST",
    summary="70,000 grey pictures of clothes, 28 x 28 pixels.",
    views="crop+flip",
    classes=10,
    download_bytes=30_878_645,
    layout="FashionMNIST",
)
