"""Folders of pictures with a mask each, for segmentation: `train/images/*`, `train/masks/*`, and so val and test.

A mask has its image's name, or that and a suffix. What its values mean is looked at in `mask_values`; `classes.txt`
beside the splits names the classes, see `class_names`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from kdengine.data import cache
from kdengine.data.class_names import FILE, read_class_names
from kdengine.data.content import VALIDATION_SHARE, Content, content, held_out, left_of_three, split_in_three
from kdengine.data.directories import (
    EXTENSIONS,
    held_out_note,
    left_out_note,
    pictures_in,
    split_folders,
    split_notes,
    subfolders,
)
from kdengine.data.mask_values import Reading, read_values, survey
from kdengine.data.pictures import opened_mask, picture_shape, picture_tensor, read_picture
from kdengine.data.source import Outline
from kdengine.errors import KDError
from kdengine.views import Split

VIEWS = "zoom+flip"
DEFAULT_SIZE = 128
"""Height and width where none is asked for."""
IMAGES = ("images", "image", "imgs", "img", "jpegimages")
MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation", "gt", "seg", "segmentation", "segmentations",
         "segmentationclass", "ground_truth", "groundtruth")
"""What the folders of images and of masks are called, in either case."""
SUFFIXES = ("_mask", "_label", "_gt", "_seg")
"""What a mask's name may have behind its image's."""
_STRETCH = 0.02
"""How far the aspect ratio, or the size, of a mask may be from its image's."""

Pairs = Sequence[tuple[Path, Path]]
"""Images beside their masks."""


class Parts(NamedTuple):
    """The two folders of a split."""

    images: Path
    masks: Path


def is_mask_folder(place: Path) -> bool:
    """Whether its training split, or itself where it has no splits, has images and masks. Opens no file."""
    try:
        folder = split_folders(place).get("train", place)
        return any(_named(folder, IMAGES)) and any(_named(folder, MASKS))
    except KDError:
        return False


def count_classes(place: Path) -> int | None:
    """How many classes the folder's classes.txt names; None where there is none. Raises KDError as reading it does."""
    names = read_class_names(place)
    return len(names.names) if names else None


def mask_outline(place: Path, image_size: int | None) -> Outline:
    """What is known of a mask folder from its names alone. Raises KDError as `read_mask_folder` does, for those."""
    folders = split_folders(place)
    images = len(_pairs(_parts(folders.get("train", place))))
    if not folders:
        images = left_of_three(images)
    elif "validation" not in folders:
        images -= held_out(images, VALIDATION_SHARE)
    names = read_class_names(place)
    return Outline("segmentation", names.names if names else None, image_size or DEFAULT_SIZE, images)


def read_mask_folder(place: Path, root: Path, image_size: int | None) -> Content:
    """The content of a mask folder, decoded or from the cache in the data root. Raises KDError.

    `val` (or `valid`, `validation`) selects and `test` reports, as in an image folder; without splits, a tenth of the
    images selects and a tenth reports. image_size: all are brought to so many pixels a side, whatever their shape, so
    that nothing is cut off; None is DEFAULT_SIZE.
    """
    folders = split_folders(place)
    parts = {split: _parts(folder) for split, folder in (folders or {"train": place}).items()}
    splits: Mapping[str, Pairs] = {split: _pairs(each) for split, each in parts.items()}
    notes = split_notes(folders) if folders else []
    if not folders:
        splits, note = split_in_three(splits["train"], key=lambda pair: 0)
        notes.append(note)
    if parts["train"].masks.name.lower() != "masks":
        notes.append(f"The masks were taken from the folder {parts['train'].masks.name}.")
    names = read_class_names(place)

    def reading() -> Reading:
        masks = {split: [mask for _, mask in pairs] for split, pairs in splits.items()}
        return read_values(survey(masks, by_color=names is not None and names.colored), names)

    used = {path for pairs in splits.values() for pair in pairs for path in pair} | {place / FILE}
    notes += left_out_note(place, [place, *folders.values(), *(each for both in parts.values() for each in both)], used)
    decoded = read_pairs(splits, names, reading, root, image_size)
    return replace(decoded, notes=(*notes, *decoded.notes, *held_out_note(folders)))


def read_pairs(
    splits: Mapping[str, Pairs], meaning: object, reading: Callable[[], Reading], root: Path, image_size: int | None
) -> Content:
    """The content of these images and masks by split, decoded or from the cache in the data root. Raises KDError.

    reading: what the masks' values mean; asked only where nothing is in the cache. meaning: all that decides it,
    besides the masks. image_size: as in `read_mask_folder`.
    """
    size = image_size or DEFAULT_SIZE
    paths = [path for pairs in splits.values() for pair in pairs for path in pair]
    key = cache.key(
        ("masks", meaning, {split: len(pairs) for split, pairs in splits.items()}, size),
        ((f"{path.parent.name}/{path.name}", path) for path in paths),
    )

    def decode() -> Content:
        means = reading()
        decoded = {split: _decoded(pairs, size, means) for split, pairs in splits.items()}
        data_by_split = {split: each for split, (each, _) in decoded.items()}
        notes = means.notes + _size_note([path for _, others in decoded.values() for path in others])
        return content(means.classes, data_by_split["train"], data_by_split["test"], data_by_split.get("validation"),
                       notes=notes)

    return cache.cached(root, key, decode)


def _named(folder: Path, names: Sequence[str]) -> list[Path]:
    return [each for each in subfolders(folder) if each.name.lower() in names]


def _parts(folder: Path) -> Parts:
    """The folders of images and of masks in a split. Raises KDError where there are none, or more than one of a kind.
    """
    parts = []
    for names in (IMAGES, MASKS):
        folders = _named(folder, names)
        if len(folders) > 1:
            raise KDError(f"{folder} has both {folders[0].name} and {folders[1].name}; it is not clear which to read. "
                          "Keep one.")
        if not folders:
            raise KDError(f"{folder} has no folder {names[0]}. A mask folder holds images/<name> and masks/<name> in "
                          "each split.")
        parts += folders
    return Parts(*parts)


def _pairs(parts: Parts) -> Pairs:
    """A split's images beside their masks, by name."""
    images, masks = _by_name(parts.images), _by_name(parts.masks)
    if not images or not masks:
        folder = parts.masks if images else parts.images
        raise KDError(f"{folder} has no images. Images are files ending in {', '.join(EXTENSIONS)}; masks are images "
                      "too, not text.")
    for name in [each for each in masks if each not in images]:
        bare = next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)
        if bare not in masks:
            masks[bare] = masks.pop(name)
    alone = sorted(images.keys() ^ masks.keys())
    if alone:
        raise KDError(f"{parts.images.parent}: {alone[0]!r} is in only one of {parts.images.name} and "
                      f"{parts.masks.name}, as are {len(alone) - 1} others. Each image needs a mask of its own name, "
                      f"or of that with {', '.join(SUFFIXES)} behind it.")
    return [(path, masks[name]) for name, path in images.items()]


def _by_name(folder: Path) -> dict[str, Path]:
    """The pictures in a folder by name, without their endings. Raises KDError where two have the same."""
    path_by_name: dict[str, Path] = {}
    for path in pictures_in(folder):
        if path.stem in path_by_name:
            raise KDError(f"{folder} has both {path_by_name[path.stem].name} and {path.name}; it is not clear which to "
                          "read. Keep one.")
        path_by_name[path.stem] = path
    return path_by_name


def _decoded(pairs: Pairs, size: int, reading: Reading) -> tuple[Split, list[Path]]:
    """Images and masks at size x size, and which masks had another size than their image.

    In threads: Pillow decodes outside the interpreter's lock.
    """
    images = torch.empty(len(pairs), 3, size, size, dtype=torch.uint8)
    masks = torch.empty(len(pairs), size, size, dtype=torch.int16)
    resize = partial(Image.Image.resize, size=(size, size))

    def decode(place: int) -> Path | None:
        path, mask_path = pairs[place]
        with opened_mask(mask_path) as mask:
            mask_size = mask.size
            masks[place] = reading.read(resize(mask, resample=Image.Resampling.NEAREST))
        image = read_picture(path)
        images[place] = picture_tensor(resize(image, resample=Image.Resampling.BILINEAR))
        if mask_size == image.size:
            return None
        declared = width, height = picture_shape(path)  # a large picture was halved
        if not _agree(mask_size, image.size):
            turned = (width > height) != (image.width > image.height)
            its = f"{height} x {width} (turned upright)" if turned else f"{width} x {height}"
            raise KDError(f"{mask_path} is {mask_size[0]} x {mask_size[1]} pixels, its image {its}; a mask has its "
                          "image's size, or its shape.")
        return None if mask_size in (declared, declared[::-1]) else mask_path

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        others = [path for path in pool.map(decode, range(len(pairs))) if path]
    return Split(images, masks), others


def _agree(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes are of one shape, or nearly the same."""
    across, down = one[0] / other[0], one[1] / other[1]
    close = all(abs(mine - its) <= max(2, _STRETCH * its) for mine, its in zip(one, other, strict=True))
    return close or abs(across / down - 1) <= _STRETCH


def _size_note(others: Sequence[Path]) -> tuple[str, ...]:
    if not others:
        return ()
    masks = "1 mask has" if len(others) == 1 else f"{len(others):,} masks have"
    return (f"{masks} another size than the image (the first is {others[0].name}); brought to its frame by the nearest "
            "pixel.",)
