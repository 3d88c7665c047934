"""Public data sets of photographs with masks: PASCAL VOC 2012 and Oxford-IIIT Pet."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from kdengine.data.content import Content
from kdengine.data.mask_folder import DEFAULT_SIZE, VIEWS, read_pairs
from kdengine.data.mask_values import numbered
from kdengine.data.public import Public
from kdengine.data.source import Outline
from kdengine.errors import KDError


@dataclass(frozen=True)
class PublicMasks(Public):
    """A published data set whose splits are lists of names. names: its classes, in the order of their numbers."""

    names: tuple[str, ...] = field(kw_only=True)

    lists: ClassVar[Mapping[str, str]]
    """The list of each split, a path in the layout."""
    first_number: ClassVar[int] = 0
    """The number that its masks give to the first class."""

    @abstractmethod
    def pair(self, place: Path, name: str) -> tuple[Path, Path]:
        """The image and the mask of a name in the lists."""

    def published(self, root: Path) -> Path | None:
        """See Public.published."""
        place = root / self.layout
        return place if all((place / name).is_file() for name in self.lists.values()) else None

    def known_classes(self) -> tuple[str, ...]:
        """See Source.known_classes."""
        return self.names

    def outline_of(self, place: Path, image_size: int | None) -> Outline:
        """See Public.outline_of."""
        del place
        return Outline(self.task, self.names, image_size or DEFAULT_SIZE)

    def decode(self, place: Path, root: Path, image_size: int | None) -> Content:
        """See Public.decode."""
        splits = {}
        for split, name in self.lists.items():
            try:
                lines = (place / name).read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise KDError(f"{place / name} cannot be read as text: {error}.") from error
            splits[split] = [self.pair(place, line.split()[0]) for line in lines if line.strip()]
        reading = numbered(self.names, self.first_number)
        return read_pairs(splits, reading, lambda: reading, root, image_size)


class VOC(PublicMasks):
    """PASCAL VOC 2012: every pixel is one of twenty kinds of things, or background.

    1,464 training images. The 1,449 of the published validation split are the test split, as is usual: the masks of
    the published test split are secret. Everingham et al. 2010, International Journal of Computer Vision 88.
    """

    lists: ClassVar[Mapping[str, str]] = {
        "train": "VOC2012/ImageSets/Segmentation/train.txt", "test": "VOC2012/ImageSets/Segmentation/val.txt",
    }

    def pair(self, place: Path, name: str) -> tuple[Path, Path]:
        """See PublicMasks.pair."""
        return place / f"VOC2012/JPEGImages/{name}.jpg", place / f"VOC2012/SegmentationClass/{name}.png"

    def fetch(self, into: Path) -> None:
        """See Public.fetch."""
        from torchvision.datasets import VOCSegmentation

        VOCSegmentation(str(into), year="2012", image_set="train", download=True)


class Pet(PublicMasks):
    """Oxford-IIIT Pet: 3,680 training and 3,669 test images. Parkhi et al. 2012, Cats and Dogs, CVPR."""

    lists: ClassVar[Mapping[str, str]] = {"train": "annotations/trainval.txt", "test": "annotations/test.txt"}
    first_number = 1

    def pair(self, place: Path, name: str) -> tuple[Path, Path]:
        """See PublicMasks.pair."""
        return place / f"images/{name}.jpg", place / f"annotations/trimaps/{name}.png"

    def fetch(self, into: Path) -> None:
        """See Public.fetch."""
        from torchvision.datasets import OxfordIIITPet

        OxfordIIITPet(str(into), target_types="segmentation", download=True)


VOC2012 = VOC(
    name="voc2012",
    title="PASCAL VOC 2012",
    summary="2,913 photographs with masks of 20 kinds of things and the background; 128 x 128 unless asked otherwise.",
    views=VIEWS,
    classes=21,
    download_bytes=1_999_639_040,
    task="segmentation",
    layout="VOCdevkit",
    names=(
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "television",
    ),
)
OXFORD_PET = Pet(
    name="oxford_pet",
    title="Oxford-IIIT Pet",
    summary="7,349 photographs of cats and dogs with masks: pet, background, border; 128 x 128 unless asked otherwise.",
    views=VIEWS,
    classes=3,
    download_bytes=811_092_049,
    task="segmentation",
    layout="oxford-iiit-pet",
    names=("pet", "background", "border"),
)
