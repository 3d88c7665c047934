"""Imagenette: photos of ten ImageNet classes that are easy to tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from kdengine.data.content import Content
from kdengine.data.directories import has_splits
from kdengine.data.folder import image_outline, read_image_folder
from kdengine.data.public import Public
from kdengine.data.source import Outline


@dataclass(frozen=True)
class Imagenette(Public):
    """About 9,500 training and 3,900 test photos, shorter side 160 pixels. J. Howard, Imagenette (2019).

    Its class folders are WordNet ids, and its folder `val` is the test split.
    """

    class_names: ClassVar[Mapping[str, str]] = {
        "n01440764": "tench",
        "n02102040": "English springer",
        "n02979186": "cassette player",
        "n03000684": "chain saw",
        "n03028079": "church",
        "n03394916": "French horn",
        "n03417042": "garbage truck",
        "n03425413": "gas pump",
        "n03445777": "golf ball",
        "n03888257": "parachute",
    }

    def published(self, root: Path) -> Path | None:
        """See Public.published."""
        place = root / self.layout
        return place if has_splits(place) else None

    def decode(self, place: Path, root: Path, image_size: int | None) -> Content:
        """See Public.decode."""
        return read_image_folder(place, root, image_size, self.class_names)

    def known_classes(self) -> tuple[str, ...]:
        """See Source.known_classes."""
        return tuple(self.class_names.values())

    def outline_of(self, place: Path, image_size: int | None) -> Outline:
        """See Public.outline_of."""
        return image_outline(place, image_size, self.class_names)

    def fetch(self, into: Path) -> None:
        """See Public.fetch."""
        from torchvision import datasets

        datasets.Imagenette(into, size="160px", download=True)


IMAGENETTE = Imagenette(
    name="imagenette",
    title="Imagenette",
    summary="13,394 photos of ten ImageNet classes, at 64 x 64 pixels unless another size is asked for.",
    views="crop+flip",
    classes=10,
    download_bytes=99_003_388,
    layout="imagenette2-160",
)
