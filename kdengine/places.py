"""Where things lie: the project's own folders, the same wherever the program was started."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def runs_root() -> Path:
    """Where runs are written: KDENGINE_RUNS, or `runs/` in the project."""
    return _place("KDENGINE_RUNS", "runs")


def data_root() -> Path:
    """Where data sets are found and downloaded to: KDENGINE_DATA, or `data/` in the project."""
    return _place("KDENGINE_DATA", "data")


def checkpoints_root() -> Path:
    """Where shipped checkpoints lie: KDENGINE_CHECKPOINTS, or `checkpoints/` in the project."""
    return _place("KDENGINE_CHECKPOINTS", "checkpoints")


def _place(variable: str, folder: str) -> Path:
    """A relative path is relative to the project, not to where the program happens to run."""
    return (PROJECT / Path(os.environ.get(variable) or folder).expanduser()).resolve()
