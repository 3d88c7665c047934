"""How a data set lies on disk: a folder for each split, and in it a folder for each class, or images and masks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from kdengine.errors import KDError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""What counts as a picture, in either case: all that `read_picture` reads."""
SPLITS = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}
"""What a folder is for, by its name in either case."""


def has_splits(place: Path) -> bool:
    """Whether it is a folder with a `train` and one more split; False where it cannot be looked into."""
    try:
        roles = _by_role(place)
    except KDError:
        return False
    return "train" in roles and len(roles) > 1


def split_folders(place: Path) -> dict[str, Path]:
    """The folder of each split by its role: train, test, and validation where there is one; {} where there is none.

    Where only `val` or `test` is there beside `train`, it is test. Raises KDError for splits that make no sense.
    """
    if not place.is_dir():
        raise KDError(f"{place} is a file; an image folder is needed.")
    roles = _by_role(place)
    for role, folders in roles.items():
        if len(folders) > 1:
            names = " and ".join(each.name for each in folders)
            raise KDError(f"{place} has both {names}, which mean the same: {role}. Keep one.")
    folder_by_role = {role: folders[0] for role, folders in roles.items()}
    if folder_by_role and "train" not in folder_by_role:
        raise no_train(place)
    if folder_by_role and "test" not in folder_by_role:
        if "validation" not in folder_by_role:
            raise KDError(f"{place} has no folder test and no folder val; at least one is needed, to measure on.")
        folder_by_role["test"] = folder_by_role.pop("validation")
    return {role: folder_by_role[role] for role in ("train", "validation", "test") if role in folder_by_role}


def split_notes(folders: Mapping[str, Path]) -> list[str]:
    """What was taken for which split, where that is not what its name says."""
    notes = [f"The folder {folder.name} was taken as the {role} split." for role, folder in folders.items()
             if folder.name not in (role, "val") and SPLITS[folder.name.lower()] == role]
    if SPLITS[folders["test"].name.lower()] == "validation":
        notes.append(f"There is no folder test: {folders['test'].name} was taken as the test split, and a tenth of "
                     "train was held out to select by.")
    return notes


def no_train(place: Path) -> KDError:
    """The error for a folder in which nothing is found."""
    return KDError(f"{place} has no folder train. An image folder holds train/<class>/<picture>, one of masks "
                   "train/images and train/masks, and the same under test, val or both; without splits it holds "
                   "<class>/<picture>, or images and masks.")


def held_out_note(folders: Mapping[str, Path]) -> list[str]:
    """Where there are train and test alone: what selects. See `split_notes` for folders without test."""
    if not folders or "validation" in folders or SPLITS[folders["test"].name.lower()] == "validation":
        return []
    return ["There is no folder val: a tenth of train was held out to select by."]


def left_out_note(place: Path, folders: Iterable[Path], used: Collection[Path]) -> list[str]:
    """What lies in these folders and was not used, in a sentence; no sentence where that is nothing.

    folders: those that were looked into, `place` among them. used: the pictures and other files that were read.
    """
    folders = list(dict.fromkeys(folders))
    accounted_for = {*folders, *used}
    left = [each for folder in folders for each in entries(folder) if each not in accounted_for]
    if not left:
        return []
    names = listed([each.relative_to(place).as_posix() for each in left], most=3)
    what = "file or folder was" if len(left) == 1 else "files or folders were"
    return [f"{len(left):,} {what} left out: {names}. Read are pictures ({', '.join(EXTENSIONS)}) in the places where "
            "they belong."]


def listed(things: Sequence[object], most: int = 8) -> str:
    """The first of some things, in words, and how many more there are."""
    more = f" and {len(things) - most:,} more" if len(things) > most else ""
    return ", ".join(str(each) for each in things[:most]) + more


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name. Hidden entries (`.ipynb_checkpoints`, `._photo.jpg`) are nobody's data."""
    try:
        return sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise KDError(f"{folder} cannot be read: {error.strerror}.") from error


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, by name."""
    return [each for each in entries(folder) if each.is_dir()]


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder, by name, as their endings tell."""
    return [each for each in entries(folder) if each.suffix.lower() in EXTENSIONS]


def _by_role(place: Path) -> dict[str, list[Path]]:
    roles: dict[str, list[Path]] = {}
    for each in subfolders(place):
        if role := SPLITS.get(each.name.lower()):
            roles.setdefault(role, []).append(each)
    return roles
