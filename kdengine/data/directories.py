"""How a data set lies on disk: a folder for each split."""

from __future__ import annotations

from pathlib import Path

from kdengine.errors import KDError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""What counts as an image, in either case."""
VALIDATION = ("val", "validation")


def has_splits(place: Path) -> bool:
    """Whether it has a `train` and one more split. Opens no file."""
    return (place / "train").is_dir() and any((place / name).is_dir() for name in (*VALIDATION, "test"))


def split_folders(place: Path) -> dict[str, Path]:
    """The folder of each split by its role: train, test, and validation where there is one."""
    if not place.is_dir():
        raise KDError(f"{place} is a file; an image folder is needed.")
    if not (place / "train").is_dir():
        raise KDError(f"{place} has no folder train. An image folder holds train/<class>/<image>, one of masks "
                      "train/images and train/masks, and the same under test, val or both.")
    given = [place / name for name in VALIDATION if (place / name).is_dir()]
    if len(given) == 2:
        raise KDError(f"{place} has both val and validation, which mean the same; keep one.")
    folders = {"train": place / "train"}
    if (place / "test").is_dir():
        folders["test"] = place / "test"
        if given:
            folders["validation"] = given[0]
    elif given:
        folders["test"] = given[0]
    else:
        raise KDError(f"{place} has no folder test and no folder val; at least one is needed, to measure on.")
    return folders


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name. Hidden entries (`.ipynb_checkpoints`, `._photo.jpg`) are nobody's data."""
    try:
        return sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise KDError(f"{folder} cannot be read: {error.strerror}.") from error


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, by name."""
    return [each for each in entries(folder) if each.is_dir()]


def is_picture(path: Path) -> bool:
    """Whether a file counts as an image, by its name."""
    return path.suffix.lower() in EXTENSIONS
