"""CIFAR-10 and CIFAR-100: photos of 32 x 32 pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kdengine.data import cache
from kdengine.data.content import Content, content
from kdengine.data.pictures import resized
from kdengine.data.public import Public
from kdengine.data.source import Outline
from kdengine.errors import KDError
from kdengine.views import Split

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10 as Published

SIZE = 32
"""Height and width where none is asked for."""


@dataclass(frozen=True)
class Cifar(Public):
    """50,000 training and 10,000 test images. A. Krizhevsky, Learning Multiple Layers of Features (2009).

    files: the published files, in order. names: the classes, in the order of their numbers.
    """

    files: tuple[str, ...] = field(kw_only=True)
    names: tuple[str, ...] = field(kw_only=True)

    def known_classes(self) -> tuple[str, ...]:
        """See Source.known_classes."""
        return self.names

    def published(self, root: Path) -> Path | None:
        """See Public.published."""
        place = root / self.layout
        return place if all((place / name).is_file() for name in self.files) else None

    def decode(self, place: Path, root: Path, image_size: int | None) -> Content:
        """See Public.decode. The files are pickles: torchvision opens them only after it has checked their MD5."""
        size = image_size or SIZE
        key = cache.key((self.name, size), ((name, place / name) for name in self.files))
        return cache.cached(root, key, lambda: self._decode(place, size))

    def outline_of(self, place: Path, image_size: int | None) -> Outline:
        """See Public.outline_of. Of the 50,000 a tenth is held out."""
        del place
        return Outline(self.task, self.names, image_size or SIZE, smallest=45_000 // len(self.names))

    def fetch(self, into: Path) -> None:
        """See Public.fetch."""
        self._published_class()(into, download=True)

    def _decode(self, place: Path, size: int) -> Content:
        try:
            published = [self._published_class()(place.parent, train=train) for train in (True, False)]
        except RuntimeError as error:
            raise KDError(f"{place} is damaged: its files are not those that were published. Delete it, then "
                          f"`python -m kdengine data {self.name} --download`.") from error
        train, test = (
            Split(resized(torch.from_numpy(each.data).permute(0, 3, 1, 2).contiguous(), size),
                  torch.tensor(each.targets))
            for each in published
        )
        return content(tuple(published[0].classes), train, test)

    def _published_class(self) -> type[Published]:
        from torchvision import datasets

        return {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[self.name]


CIFAR10 = Cifar(
    name="cifar10",
    title="CIFAR-10",
    summary="60,000 photos of 32 x 32 pixels: animals and vehicles.",
    views="crop+flip",
    classes=10,
    download_bytes=170_498_071,
    layout="cifar-10-batches-py",
    files=(*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"),
    names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
CIFAR100 = Cifar(
    name="cifar100",
    title="CIFAR-100",
    summary="60,000 photos of 32 x 32 pixels, 600 of each class.",
    views="crop+flip",
    classes=100,
    download_bytes=169_001_437,
    layout="cifar-100-python",
    files=("train", "test", "meta"),
    names=(
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
        "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee",
        "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant",
        "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower",
        "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom",
        "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate",
        "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark",
        "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower",
        "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor", "train", "trout", "tulip",
        "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    ),
)
