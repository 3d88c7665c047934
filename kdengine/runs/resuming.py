"""What a run goes on from: the state of its learner after an epoch, or the student of its first stage."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from kdengine import files
from kdengine.runs import store
from kdengine.runs.records import ADAPTER, STUDENT
from kdengine.training import Learner

_RESUME = "resume-"
"""How the files begin that hold a learner's whole state after an epoch."""


def start_from(learner: Learner, run: str) -> None:
    """Take over the student that another run left, and of its adapter what this learner's adapter has too."""
    folder = store.directory(run)
    learner.network.net.load_state_dict(load_file(folder / STUDENT))
    if learner.adapter and (folder / ADAPTER).is_file():
        own = learner.adapter.state_dict()
        left = load_file(folder / ADAPTER)
        learner.adapter.load_state_dict(own | {name: value for name, value in left.items() if name in own})


def resume_file(run: str, epoch: int) -> Path:
    """Where a learner's whole state after an epoch lies."""
    return store.directory(run) / f"{_RESUME}{epoch}.pt"


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a learner's state, whole or not at all. Raises OSError where the disk refuses it."""
    with files.replacing(path) as written, written.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch hides what the disk said behind an error of its own
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def forget_states(folder: Path, but: Path | None = None) -> None:
    """Delete the states a run could have gone on from, of earlier epochs too: a worker may have been killed here."""
    for path in folder.glob(f"{_RESUME}*.pt"):
        if path != but:
            with suppress(OSError):  # it only takes room
                path.unlink()
