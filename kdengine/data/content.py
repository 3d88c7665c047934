"""What a data set holds once decoded: its classes and three splits, whole, before any label is withheld."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from kdengine.errors import KDError
from kdengine.losses import IGNORE
from kdengine.views import Split, seed_from

Item = TypeVar("Item")
VALIDATION_SHARE = 0.1
"""Of each class of train, held out where there is no validation split."""


@dataclass(frozen=True)
class Content:
    """Classes and decoded splits, on the CPU, every image labelled: with its class, or with a mask.

    digest: 16 hexadecimal digits over the classes and every split's images and targets. boxes: where the object that
    names each test image lies, as `DataSet.boxes`; None where nobody knows. notes: as `DataSet.notes`.
    """

    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    digest: str
    boxes: Tensor | None = None
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """`segmentation` where the targets are masks, else `classification`."""
        return "segmentation" if self.train.target.dim() > 1 else "classification"


def content(
    classes: tuple[str, ...], train: Split, test: Split, validation: Split | None = None, boxes: Tensor | None = None,
    notes: tuple[str, ...] = (),
) -> Content:
    """The content of these splits; without a validation split, a tenth of each class of train is held out for it.

    Raises KDError where no class has two training images, so that there is nothing to hold out.
    """
    if validation is None:
        train_index, validation_index = hold_out(train.target, VALIDATION_SHARE, "validation")
        if not len(validation_index):
            raise KDError("No class has more than one training image, too few to hold a validation split out of. "
                          "Add images, or a validation split.")
        train, validation = select(train, train_index), select(train, validation_index)
    return Content(classes, train, validation, test, digest(classes, train, validation, test), boxes, notes)


def digest(classes: tuple[str, ...], *splits: Split) -> str:
    """16 hexadecimal digits of the SHA-256 over class names, and images and targets with their shapes, in order."""
    total = hashlib.sha256(repr(classes).encode())
    for split in splits:
        for tensor in (split.images, split.target):
            total.update(repr((str(tensor.dtype), tuple(tensor.shape))).encode())
            total.update(tensor.contiguous().numpy().data)
    return total.hexdigest()[:16]


def select(split: Split, index: Tensor) -> Split:
    """The images at `index`, long [n], in that order."""
    return Split(split.images[index], split.target[index])


def hold_out(target: Tensor, share: float, purpose: str) -> tuple[Tensor, Tensor]:
    """Indices kept and indices held out, both ascending: `share` of each class, the same ones every time.

    Masks have no one class: `share` of them all.

    A class of two or more gives at least one image and keeps at least one; a class of one keeps it.
    """
    held_out_by_class = [index[: held_out(len(index), share)] for index in _by_class(target, purpose)]
    taken = torch.zeros(len(target), dtype=torch.bool)
    taken[torch.cat(held_out_by_class)] = True
    return (~taken).nonzero().flatten(), taken.nonzero().flatten()


_TEST_SHARE, _SELECTING_SHARE = 0.1, 0.1 / 0.9
"""Of all, and of what is left: a tenth each."""


def split_in_three(items: Sequence[Item], key: Callable[[Item], int]) -> tuple[dict[str, list[Item]], str]:
    """Items by split (train, validation, test; 80, 10 and 10% of each class, the same every time), and a note of it.

    key: the class number of an item. Raises KDError where no class has three items.
    """
    target = torch.tensor([key(item) for item in items])
    rest, test = hold_out(target, _TEST_SHARE, "test")
    train, validation = hold_out(target[rest], _SELECTING_SHARE, "validation")
    index = {"train": rest[train], "validation": rest[validation], "test": test}
    if not all(len(each) for each in index.values()):
        raise KDError("There are no split folders, and no class has three pictures to split into train, validation and "
                      "test. Add pictures.")
    counts = ", ".join(f"{len(each):,} {split}" for split, each in index.items())
    return ({split: [items[each] for each in index[split].tolist()] for split in index},
            f"There are no folders train and test, so the pictures were split here, the same way every time: {counts}.")


def left_of_three(count: int) -> int:
    """How many of a class of `count` images `split_in_three` trains on."""
    rest = count - held_out(count, _TEST_SHARE)
    return rest - held_out(rest, _SELECTING_SHARE)


def held_out(count: int, share: float) -> int:
    """How many of a class of `count` images are held out: see `hold_out`."""
    return min(max(_rounded(share * count), 1), count - 1)


def share_count(count: int, share: float) -> int:
    """How many of a class of `count` images are left of `share` of it: see `take_share`."""
    return max(_rounded(share * count), 1)


def drop_class(split: Split, label: int) -> Split:
    """The split of labels without the images of class number `label`, in its order."""
    return select(split, (split.target != label).nonzero().flatten())


def take_share(split: Split, share: float) -> Split:
    """`share` in (0, 1] of each class, at least one image, in the split's order; a smaller share lies in a larger.

    Of masks, which have no one class, `share` of them all.
    """
    index = torch.cat([index[: share_count(len(index), share)] for index in _by_class(split.target, "share")])
    return select(split, index.sort().values)


def withhold_labels(split: Split, labels_per_class: int, classes: tuple[str, ...]) -> Split:
    """The same images with `labels_per_class` labels of each class and IGNORE for the others.

    Fewer labels are among more. Raises KDError below 1 and above what the smallest class has.
    """
    by_class = _by_class(split.target, "labels")
    smallest = min(by_class, key=len)
    require_labels(labels_per_class, len(smallest), f", {classes[int(split.target[smallest[0]])]!r},")
    target = torch.full_like(split.target, IGNORE)
    for index in by_class:
        target[index[:labels_per_class]] = split.target[index[:labels_per_class]]
    return Split(split.images, target)


def withhold_masks(split: Split, labelled_images: int) -> Split:
    """The same images, of which `labelled_images` keep their masks; the others' pixels are all IGNORE.

    The masks that a smaller number keeps are among those that a larger one keeps. Raises KDError below 1 and
    above what there are.
    """
    require_masks(labelled_images, len(split))
    shuffled, = _by_class(split.target, "labels")
    labelled, target = shuffled[:labelled_images], torch.full_like(split.target, IGNORE)
    target[labelled] = split.target[labelled]
    return Split(split.images, target)


def require_labels(labels_per_class: int, smallest: int, name: str = "") -> None:
    """Raise KDError unless the smallest class, of `smallest` training images, has so many labels to give."""
    if not 1 <= labels_per_class <= smallest:
        raise KDError(f"labels_per_class is {labels_per_class!r}; allowed is from 1 to {smallest}, all that the "
                      f"smallest class{name} has in this training split.")


def require_masks(labelled_images: int, images: int) -> None:
    """Raise KDError unless so many of this many training images can keep their masks."""
    if not 1 <= labelled_images <= images:
        raise KDError(f"labelled_images is {labelled_images!r}; allowed is from 1 to {images}, all the images in this "
                      "training split.")


def _by_class(target: Tensor, purpose: str) -> list[Tensor]:
    """Each class's indices, shuffled by a hash: unlike a generator's, that order is the same in every version.

    Masks count as one class.
    """
    if target.dim() > 1:
        target = torch.zeros(len(target), dtype=torch.long)
    shuffled = []
    for label in target.unique().tolist():
        index = (target == label).nonzero().flatten().tolist()
        place = {each: seed_from(purpose, label, number) for number, each in enumerate(index)}
        shuffled.append(torch.tensor(sorted(index, key=place.__getitem__)))
    return shuffled


def _rounded(count: float) -> int:
    """Half goes up, so that the count never falls while the share grows."""
    return math.floor(count + 0.5)
