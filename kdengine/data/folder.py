"""Folders of a person's own pictures: `train/<class>/*`, `val/<class>/*`, `test/<class>/*`; or with masks.

Without split folders, `<class>/*` is split here.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdengine.data import cache
from kdengine.data.content import VALIDATION_SHARE, Content, content, held_out, split_in_three
from kdengine.data.directories import (
    EXTENSIONS,
    has_splits,
    held_out_note,
    left_out_note,
    no_train,
    pictures_in,
    split_folders,
    split_notes,
    subfolders,
)
from kdengine.data.mask_folder import (
    IMAGES,
    MASKS,
    VIEWS,
    count_classes,
    is_mask_folder,
    mask_outline,
    read_mask_folder,
)
from kdengine.data.pictures import picture_shape, picture_tensor, read_picture
from kdengine.data.source import Outline, Source
from kdengine.errors import KDError
from kdengine.views import Split

DEFAULT_SIZE = 64
"""Height and width of images that do not all share one small square size of their own."""
_A_MOMENT = 4_000
"""Headers of pictures that are read within about a second."""


@dataclass(frozen=True)
class Folder(Source):
    """Any image folder, or folder of images and masks, by its path: absolute, or relative to the data root."""

    takes_path = True

    def found(self, root: Path) -> str | None:
        """See Source.found: the data root, where an image folder lies in it."""
        return str(root) if image_folders(root) else None

    def read(self, root: Path, path: str, image_size: int | None) -> Content:
        """See Source.read. Raises KDError that names the file or folder at fault."""
        place = self._place(root, path)
        return (read_mask_folder if is_mask_folder(place) else read_image_folder)(place, root, image_size)

    def outline(self, root: Path, path: str, image_size: int | None) -> Outline:
        """See Source.outline."""
        place = self._place(root, path)
        return (mask_outline if is_mask_folder(place) else image_outline)(place, image_size)

    def task_at(self, root: Path, path: str) -> str:
        """See Source.task_at."""
        return _task(self._place(root, path))

    def views_for(self, task: str) -> str:
        """See Source.views_for."""
        return VIEWS if task == "segmentation" else self.views

    def download(self, root: Path) -> None:
        """See Source.download."""
        raise KDError(f"An image folder is your own; there is nothing to download. Put it into {root}, or name it by "
                      "its path.")

    def _place(self, root: Path, path: str) -> Path:
        """The folder a path means. Raises KDError where there is none."""
        if not path:
            raise KDError("A folder needs its path: write folder:PATH, for instance folder:flowers for the folder "
                          f"{root / 'flowers'}, or folder:/home/me/flowers.")
        try:
            place = root / Path(path).expanduser()
            place.stat()
        except (OSError, RuntimeError, ValueError) as error:  # none there; no such user's home; not a path at all
            raise KDError(f"There is no folder {path!r} in {root} or, as an absolute path, on this machine.") from error
        return place

    def describe_one(self, place: Path) -> dict[str, Any]:
        """See Source.describe: the image folder of that name in the data root."""
        return self.describe(place.parent) | {
            "name": f"{self.name}:{place.name}",
            "title": place.name,
            "task": _task(place),
            "views": self.views_for(_task(place)),
            "classes": _count(place),
            "found": str(place),
        }


def image_folders(root: Path) -> list[Path]:
    """The image folders directly in the data root, by name."""
    return [place for place in subfolders(root) if has_splits(place)] if root.is_dir() else []


def image_outline(place: Path, image_size: int | None, names: Mapping[str, str] | None = None) -> Outline:
    """What is known of an image folder from its names alone. Raises KDError as `read_image_folder` does, for those."""
    classes, splits, _ = _listed(place, split_folders(place), names)
    counts = Counter(label for _, label in splits["train"])
    smallest = min(counts.values())
    if "validation" not in splits:
        smallest -= held_out(smallest, VALIDATION_SHARE)
    return Outline("classification", classes, image_size or _likely_size([path for each in splits.values()
                                                                          for path, _ in each]), smallest)


def read_image_folder(
    place: Path, root: Path, image_size: int | None, names: Mapping[str, str] | None = None
) -> Content:
    """The content of an image folder, decoded or from the cache in the data root.

    names: what to call the classes of some folders; the others are called as their folder. `val` (or `valid`,
    `validation`) selects and `test` reports; where only one is there, it is test, and a tenth of train is held out to
    select. Without splits, `<class>/*`, a tenth of each class selects and a tenth reports. image_size: None is the
    images' own size where all are square, equal and at most 64, else 64. Raises KDError.
    """
    folders = split_folders(place)
    classes, splits, notes = _listed(place, folders, names)
    paths = [path for pictures in splits.values() for path, _ in pictures]
    key = cache.key(
        (classes, {split: len(pictures) for split, pictures in splits.items()}, image_size),
        ((path.relative_to(place).as_posix(), path) for path in paths),
    )

    def decode() -> Content:
        size = image_size or _own_size(paths)
        decoded = {
            split: Split(_pixels([path for path, _ in pictures], size), torch.tensor([label for _, label in pictures]))
            for split, pictures in splits.items()
        }
        return content(classes, decoded["train"], decoded["test"], decoded.get("validation"))

    looked_into = [place, *folders.values(), *(path.parent for path in paths)]
    notes += left_out_note(place, looked_into, set(paths)) + held_out_note(folders)
    return replace(cache.cached(root, key, decode), notes=tuple(notes))


def _listed(
    place: Path, folders: Mapping[str, Path], names: Mapping[str, str] | None
) -> tuple[tuple[str, ...], dict[str, list[tuple[Path, int]]], list[str]]:
    """The classes of an image folder, each split's images with their class numbers, and notes. Raises KDError.

    folders: by split, empty where there are none.
    """
    if folders:
        labels = [each.name for each in subfolders(folders["train"])]
        notes = split_notes(folders)
        splits = {split: _pictures(folder, labels) for split, folder in folders.items()}
    else:
        labels = [each.name for each in subfolders(place)]
        if sum(bool(pictures_in(place / label)) for label in labels) < 2:
            raise no_train(place)
        splits, note = split_in_three(_pictures(place, labels), key=lambda picture: picture[1])
        notes = [note]
    _require_no_masks(folders.get("train", place), labels)
    if len(labels) < 2:
        raise KDError(f"{folders['train']} has {len(labels)} class folders; at least 2 are needed. Put the images of "
                      "each class into a folder of its own: train/<class>/<image>.")
    names = names or {}
    return tuple(names.get(label, label) for label in labels), splits, notes


def _require_no_masks(folder: Path, labels: list[str]) -> None:
    """Raise KDError where two class folders look like images and their masks: one is called so, and the files pair up.
    """
    if len(labels) != 2 or not {label.lower() for label in labels} & {*IMAGES, *MASKS}:
        return
    first, second = ({path.stem for path in pictures_in(folder / label)} for label in labels)
    if first == second:
        raise KDError(f"{folder} holds {labels[0]} and {labels[1]}, with files of the same names. If they are images "
                      "and masks, call them images and masks. If they are two classes, give them other names, or their "
                      "files names of their own.")


def _task(place: Path) -> str:
    return "segmentation" if is_mask_folder(place) else "classification"


def _count(place: Path) -> int | None:
    """How many classes a folder has; None where only its masks would tell, or it cannot be read as it lies there."""
    try:
        return count_classes(place) if is_mask_folder(place) else len(subfolders(split_folders(place)["train"]))
    except KDError:  # said when the folder is loaded; the list of all data sets must not fail for it
        return None


def _pictures(folder: Path, labels: list[str]) -> list[tuple[Path, int]]:
    """Every image of a split with its class, in order. Raises KDError for an unknown or an empty class folder."""
    pictures = []
    for each in subfolders(folder):
        if each.name not in labels:
            raise KDError(f"{each} is a class that train does not have; a network could never name it. Add it to "
                          "train, or take it away.")
        images = pictures_in(each)
        if not images:
            raise KDError(f"{each} has no images. Images are files ending in {', '.join(EXTENSIONS)}; add some, or "
                          "take the folder away.")
        pictures += [(path, labels.index(each.name)) for path in images]
    if not pictures:
        raise KDError(f"{folder} has no class folders. Put the images of each class into a folder of its own: "
                      f"{folder.name}/<class>/<image>.")
    return pictures


def _likely_size(paths: list[Path]) -> int | None:
    """What `_own_size` gives, where a moment tells; None elsewhere. The first image alone may tell."""
    first, across = picture_shape(paths[0])
    if first != across or first >= DEFAULT_SIZE:
        return DEFAULT_SIZE
    return _own_size(paths) if len(paths) <= _A_MOMENT else None


def _own_size(paths: list[Path]) -> int:
    """The one square size of all images, if there is one of at most 64; else 64. Reads headers alone."""
    first, _ = picture_shape(paths[0])
    same = first <= DEFAULT_SIZE and all(picture_shape(path) == (first, first) for path in paths)
    return first if same else DEFAULT_SIZE


def _pixels(paths: list[Path], size: int) -> Tensor:
    """uint8 [N, 3, size, size]. In threads, since Pillow decodes outside the interpreter's lock."""
    images = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)

    def decode(number: int) -> None:
        images[number] = picture_tensor(read_picture(paths[number]), size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(decode, range(len(paths))):
            pass
    return images
