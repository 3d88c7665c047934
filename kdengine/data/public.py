"""Public data sets: found where torchvision puts them or as an image folder, downloaded only when asked."""

from __future__ import annotations

import http.client
import tarfile
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from kdengine.data.content import Content
from kdengine.data.directories import has_splits
from kdengine.data.folder import image_outline, read_image_folder
from kdengine.data.mask_folder import is_mask_folder, mask_outline, read_mask_folder
from kdengine.data.source import Outline, Source
from kdengine.errors import DataMissing, KDError
from kdengine.files import discard, sweep, temporary


@dataclass(frozen=True)
class Public(Source):
    """A data set that torchvision can download. layout: the folder torchvision keeps it in, under the data root."""

    download_bytes: int = field(kw_only=True)
    layout: str = field(kw_only=True)

    class_names: ClassVar[Mapping[str, str]] = {}
    """What the class folders of its image-folder form are to be called, where that is not their own name."""

    @abstractmethod
    def published(self, root: Path) -> Path | None:
        """The folder of the published files, all of them there; None otherwise. Opens no file."""

    @abstractmethod
    def decode(self, place: Path, root: Path, image_size: int | None) -> Content:
        """The content of the published files in `place`. Raises KDError where they are damaged."""

    @abstractmethod
    def outline_of(self, place: Path, image_size: int | None) -> Outline:
        """What is known of the published files in `place` without decoding them."""

    @abstractmethod
    def fetch(self, into: Path) -> None:
        """Let torchvision download it into this folder."""

    def found(self, root: Path) -> str | None:
        """See Source.found."""
        place = self.published(root) or self._image_folder(root)
        return str(place) if place else None

    def read(self, root: Path, path: str, image_size: int | None) -> Content:
        """See Source.read."""
        del path
        if place := self.published(root):
            return self.decode(place, root, image_size)
        if place := self._image_folder(root):
            if self.task == "segmentation":
                return read_mask_folder(place, root, image_size)
            return read_image_folder(place, root, image_size, self.class_names)
        raise self._missing(root)

    def outline(self, root: Path, path: str, image_size: int | None) -> Outline:
        """See Source.outline."""
        del path
        if place := self.published(root):
            return self.outline_of(place, image_size)
        if place := self._image_folder(root):
            if self.task == "segmentation":
                return mask_outline(place, image_size)
            return image_outline(place, image_size, self.class_names)
        raise self._missing(root)

    def _missing(self, root: Path) -> DataMissing:
        inside = "images and masks" if self.task == "segmentation" else "<class>/<image>"
        return DataMissing(
            f"{self.title} is not on this machine. Download it ({self.download_bytes / 1e6:.0f} MB) with "
            f"`python -m kdengine data {self.name} --download`, or put it as a folder with {inside} in train and test "
            f"at {root / self.name}.",
            self.download_bytes,
        )

    def download(self, root: Path) -> None:
        """See Source.download. It appears under the data root when it is whole; already there, nothing is done."""
        if self.found(root):
            return
        target = root / self.layout
        if target.exists():
            raise KDError(f"{target} is there but not complete. Delete it, then download again.")
        try:
            root.mkdir(parents=True, exist_ok=True)
            sweep(root)
            unfinished = temporary(root / self.name)
            try:
                unfinished.mkdir()
                self._fetch(unfinished)
                (unfinished / self.layout).rename(target)
            finally:
                discard(unfinished)
        except OSError as error:
            raise KDError(f"{self.title} cannot be written to {root}: {error.strerror}. Choose another data root with "
                          "KDENGINE_DATA.") from error

    def _fetch(self, into: Path) -> None:
        try:
            self.fetch(into)
        # urllib's errors are OSErrors; torchvision raises RuntimeError where a checksum or every mirror fails
        except (OSError, RuntimeError, http.client.HTTPException, tarfile.TarError, EOFError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise KDError(f"The download of {self.title} failed: {reason}. Nothing was kept; try again when the "
                          f"network is there, or put it as a folder at {into.parent / self.name}.") from error

    def _image_folder(self, root: Path) -> Path | None:
        """The folder of its name, where that holds what its task needs: images by class, or images and masks."""
        place = root / self.name
        return place if has_splits(place) and is_mask_folder(place) == (self.task == "segmentation") else None
