"""Data sets as pages show them: what they are, how a folder was read, one picture of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdengine.data import photographs, pictures, sets
from kdengine.data.dataset import DataSet
from kdengine.errors import KDError
from kdengine.paths import data_root

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image


def about(data: str) -> dict[str, Any]:
    """A data set, or `folder:PATH`, as `describe` tells of it, there or not; and `place`, the folder it belongs in.

    Raises KDError for a name that is no data set's.
    """
    sets.require(data)
    name, _, path = data.partition(":")
    about = next(each for each in sets.describe() if each["name"] == name)
    if not path:
        return about | {"place": str(data_root() / name)}
    place = data_root() / path
    return about | {"name": data, "title": place.name, "present": place.is_dir(), "place": str(place)}


def notes(data: str) -> tuple[str, ...]:
    """How a folder was read, in sentences for people: what was taken for what, and what was left out.

    Reads it where that has not been done yet; nothing is said of data sets that are no folders. Raises KDError where it
    cannot be read.
    """
    return sets.load(data).notes


def require_below_data_root(data: str) -> None:
    """Raise KDError where a data set is a folder that does not lie below the data root, links followed.

    The sentence is the same whether there is anything or not: who sees a page learns nothing of the rest of the disk.
    """
    name, _, path = data.partition(":")
    if name != "folder":
        return
    root, folder = data_root(), Path(path)
    # A way out and in again is refused too: whether it leads anywhere would tell what lies outside.
    inside = not (folder.is_absolute() or ".." in folder.parts or path.startswith("~"))
    try:
        place = (root / folder).resolve()
        inside = inside and place != root and place.is_relative_to(root) and place.is_dir()
    except (OSError, RuntimeError, ValueError):  # a name too long, a loop of links, not a path at all
        inside = False
    if not inside:
        raise KDError(f"There is no such folder in the data folder, {root}. Pages read nothing outside of it. Put the "
                      "folder there, or a copy of it, and name it by its path from there, for instance flowers. The "
                      "command line takes any path.")


def example(data: DataSet, index: int) -> tuple[Image, int]:
    """A test picture and its class number; index from 0 to `len(data.test) - 1`."""
    return pictures.picture(data.test.images[index]), int(data.test.target[index])


def masked_example(data: DataSet, index: int) -> tuple[Image, numpy.ndarray]:
    """A test picture and its mask: int16 [H, W], class numbers, negative where a pixel counts nowhere.

    index: from 0 to `len(data.test) - 1`.
    """
    return pictures.picture(data.test.images[index]), data.test.target[index].numpy().copy()


def sample_photographs() -> list[dict[str, Any]]:
    """Photographs that are on every machine: title, credit (to be shown), path, classes that fit."""
    return photographs.photographs()
