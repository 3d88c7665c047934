"""Where a data set comes from: what every source can answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from kdengine.data.content import Content


@dataclass(frozen=True)
class Outline:
    """What is known of a data set on this machine without opening its pictures; None where only they would tell.

    classes: their names, in the order of their numbers. size: height and width of its images, in pixels. smallest: how
    many training images the class with the fewest has; masks count as one class.
    """

    task: str
    classes: tuple[str, ...] | None = None
    size: int | None = None
    smallest: int | None = None


@dataclass(frozen=True)
class Source(ABC):
    """A data set, or a kind of them, by name.

    views: the default view policy's name. classes: how many, None where that depends. download_bytes: the size of
    the download that brings it, None where there is none. task: `classification` or `segmentation`; a source that can
    hold either says the commoner.
    """

    name: str
    title: str
    summary: str
    views: str
    classes: int | None = None
    download_bytes: int | None = None
    task: str = "classification"

    takes_path: ClassVar[bool] = False
    """Whether it is written `name:PATH`."""

    @abstractmethod
    def found(self, root: Path) -> str | None:
        """Where it lies on this machine, for people; None where it does not. Opens no file."""

    @abstractmethod
    def read(self, root: Path, path: str, image_size: int | None) -> Content:
        """Its content at `image_size` (None: its own size). Raises DataMissing or KDError.

        path: what follows the name and a colon, empty where nothing does.
        """

    @abstractmethod
    def outline(self, root: Path, path: str, image_size: int | None) -> Outline:
        """What is known of that content within a moment. Raises as `read` does, for what can be told so soon."""

    def known_classes(self) -> tuple[str, ...] | None:
        """Its classes where they are known without it being on this machine; None otherwise."""
        return None

    @abstractmethod
    def download(self, root: Path) -> None:
        """Bring it under the data root. Raises KDError where that fails, or where there is nothing to download."""

    def task_at(self, root: Path, path: str) -> str:
        """The task of the data at this path; opens no image. Raises KDError where there is none."""
        del root, path
        return self.task

    def views_for(self, task: str) -> str:
        """The default view policy's name for content of a task."""
        del task
        return self.views

    def describe(self, root: Path) -> dict[str, Any]:
        """What it is and whether it is there, as plain data, see `kdengine.data.describe`."""
        place = self.found(root)
        return {
            "name": self.name,
            "title": self.title,
            "summary": self.summary,
            "task": self.task,
            "classes": self.classes,
            "views": self.views,
            "present": place is not None,
            "found": place,
            "download_bytes": self.download_bytes,
        }
