"""Folders of pictures with a mask each, for segmentation: `train/images/*`, `train/masks/*`, and so val and test.

A mask is a picture of class numbers, of its image's name and size. `classes.txt` beside the splits names the classes,
one a line; a number without a line, and 255, is no class: such pixels count nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kdengine.data import cache
from kdengine.data.content import Content, content
from kdengine.data.directories import entries, is_picture, split_folders
from kdengine.data.pictures import picture_tensor, read_class_numbers, read_picture
from kdengine.data.source import Outline
from kdengine.errors import KDError
from kdengine.signals import IGNORE
from kdengine.views import Split

VIEWS = "zoom+flip"
DEFAULT_SIZE = 128
"""Height and width where none is asked for."""
VOID = 255
"""The class number that means none, by custom."""
_NAMES = "classes.txt"

Pairs = Sequence[tuple[Path, Path]]
"""Images beside their masks."""


def is_mask_folder(place: Path) -> bool:
    """Whether its training split has images and masks. Opens no file."""
    return (place / "train" / "images").is_dir() and (place / "train" / "masks").is_dir()


def class_names(place: Path) -> tuple[str, ...] | None:
    """The names in the folder's classes.txt; None where there is none. Raises KDError where it cannot be read."""
    try:
        lines = (place / _NAMES).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise KDError(f"{place / _NAMES} cannot be read as text: {error}.") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) < 2 or len(set(names)) < len(names):
        raise KDError(f"{place / _NAMES} names {len(set(names))} different classes in {len(names)} lines; at least 2 "
                      "are needed, each once, in the order of their numbers.")
    return names


def mask_outline(place: Path, image_size: int | None) -> Outline:
    """What is known of a mask folder without opening a picture. Raises KDError where its splits are not there."""
    split_folders(place)
    return Outline("segmentation", class_names(place), image_size or DEFAULT_SIZE)


def read_mask_folder(place: Path, root: Path, image_size: int | None) -> Content:
    """The content of a mask folder, decoded or from the cache in the data root. Raises KDError.

    `val` (or `validation`) selects and `test` reports, as in an image folder. Without classes.txt the classes are
    called by their numbers, up to the largest in a training mask.
    """
    splits = {split: _pairs(folder) for split, folder in split_folders(place).items()}
    return read_pairs(splits, class_names(place), root, image_size)


def read_pairs(
    splits: dict[str, Pairs], classes: tuple[str, ...] | None, root: Path, image_size: int | None,
    first_number: int = 0,
) -> Content:
    """The content of these images and masks by split, decoded or from the cache in the data root. Raises KDError.

    image_size: all are brought to so many pixels a side, whatever their shape, so that nothing is cut off; None is
    DEFAULT_SIZE. first_number: what the masks give to the first class.
    """
    size = image_size or DEFAULT_SIZE
    paths = [path for pairs in splits.values() for pair in pairs for path in pair]
    key = cache.key(
        ("masks", classes, {split: len(pairs) for split, pairs in splits.items()}, size, first_number),
        ((f"{path.parent.name}/{path.name}", path) for path in paths),
    )

    def decode() -> Content:
        decoded = {split: _decoded(pairs, size, first_number) for split, pairs in splits.items()}
        names = classes or _numbered(decoded["train"][1])
        return content(names, **{split: Split(images, _classed(values, len(names)))
                                 for split, (images, values) in decoded.items()})

    return cache.cached(root, key, decode)


def _pairs(folder: Path) -> Pairs:
    """A split's images beside their masks, by name."""
    parts: dict[str, dict[str, Path]] = {}
    for part in ("images", "masks"):
        if not (folder / part).is_dir():
            raise KDError(f"{folder} has no folder {part}. A mask folder holds images/<name> and masks/<name> in each "
                          "split.")
        parts[part] = {path.stem: path for path in entries(folder / part) if is_picture(path)}
    alone = sorted(parts["images"].keys() ^ parts["masks"].keys())
    if alone:
        raise KDError(f"{folder}: {alone[0]!r} is in only one of images and masks, as are {len(alone) - 1} others. "
                      "Each image needs a mask of its own name.")
    if not parts["images"]:
        raise KDError(f"{folder / 'images'} has no images.")
    return [(path, parts["masks"][name]) for name, path in parts["images"].items()]


def _decoded(pairs: Pairs, size: int, first_number: int) -> tuple[Tensor, Tensor]:
    """uint8 [N, 3, size, size] and int16 [N, size, size]. In threads: Pillow decodes outside the interpreter's lock."""
    images = torch.empty(len(pairs), 3, size, size, dtype=torch.uint8)
    masks = torch.empty(len(pairs), size, size, dtype=torch.int16)

    def decode(place: int) -> None:
        path, mask_path = pairs[place]
        image, mask = read_picture(path), read_class_numbers(mask_path)
        if image.size != mask.size:
            raise KDError(f"{mask_path} is {mask.width} x {mask.height} pixels, its image {image.width} x "
                          f"{image.height}; a mask has its image's size.")
        resize = partial(Image.Image.resize, size=(size, size))
        images[place] = picture_tensor(resize(image, resample=Image.Resampling.BILINEAR))
        values = np.array(resize(mask, resample=Image.Resampling.NEAREST), dtype=np.int16)
        masks[place] = torch.from_numpy(values) - first_number

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(decode, range(len(pairs))):
            pass
    return images, masks


def _numbered(values: Tensor) -> tuple[str, ...]:
    """Names for the classes of masks that nobody named."""
    found = values[values != VOID]
    largest = int(found.max()) if found.numel() else 0
    if largest < 1:
        raise KDError("The training masks hold only one class number; at least 2 are needed. A mask is a picture whose "
                      "values are class numbers: 0, 1, 2, ...")
    return tuple(f"class {each}" for each in range(largest + 1))


def _classed(values: Tensor, classes: int) -> Tensor:
    """The masks with IGNORE where a value is no class."""
    return torch.where((values >= 0) & (values < classes), values, IGNORE).to(torch.int16)
