"""Where things lie: the project's own folders, the same wherever the program was started.

Where kdengine was installed outside of its source tree they are folders of the user's.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from kdengine import files

PROJECT = Path(__file__).resolve().parent.parent
"""The folder that kdengine lies in: its source tree, or where packages are installed."""
_PACKAGED = Path(__file__).resolve().parent / "shipped"
"""Checkpoints that are installed with the package; the source tree has them elsewhere."""
_LONGEST_NAME = 200
"""Bytes; file systems take 255, and endings are added."""

BAD_NAME = "its name is too long, or holds what cannot be shown or typed; give it another"
"""Why something on disk with a name that `child` refuses cannot be used."""


def runs_root() -> Path:
    """Where runs are written: KDENGINE_RUNS, or `runs/` in the project."""
    return _place("KDENGINE_RUNS", "runs")


def data_root() -> Path:
    """Where data sets are found and downloaded to: KDENGINE_DATA, or `data/` in the project."""
    return _place("KDENGINE_DATA", "data")


def checkpoints_root() -> Path:
    """Where shipped checkpoints lie: KDENGINE_CHECKPOINTS, or `checkpoints/` in the project.

    Of an installed package they are put into the user's folder when it is first asked for: others are added there.
    """
    root = _place("KDENGINE_CHECKPOINTS", "checkpoints")
    if _PACKAGED.is_dir() and not root.exists() and not os.environ.get("KDENGINE_CHECKPOINTS"):
        with files.writing(root), files.replacing(root) as made:
            made.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(_PACKAGED, made, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    return root


def reports_root() -> Path:
    """Where the lab reports lie that were measured earlier: `results/` in the project."""
    return _home() / "results"


def child(root: Path, name: str) -> Path | None:
    """What is called `name` in a folder; None where that is no plain name.

    A plain name is not empty, not hidden, can be shown, and leads nowhere else: neither `..` nor a path.
    """
    plain = name.isprintable() and 0 < len(name.encode()) <= _LONGEST_NAME
    return root / name if plain and name[0] != "." and "\\" not in name and Path(name).name == name else None


def _place(variable: str, folder: str) -> Path:
    """A relative path is relative to the project, not to where the program happens to run."""
    return (_home() / Path(os.environ.get(variable) or folder).expanduser()).resolve()


def _home() -> Path:
    """The source tree; a folder of the user's where there is none."""
    if (PROJECT / "pyproject.toml").is_file():
        return PROJECT
    import platformdirs

    return platformdirs.user_data_path("kdengine")
