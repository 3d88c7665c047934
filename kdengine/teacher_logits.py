"""A teacher's logits for replayable views, kept on disk: the second run with the same views never asks the teacher.

Views are a pure function of (split, policy, seed, epoch), so what a teacher says of an epoch's views is right under
augmentation: it saw the very pixels that the student sees (Beyer et al., arXiv 2106.05237). One file an epoch: float16,
a row a view, in the order shown. Rows are centred, which changes no softmax, so that their largest numbers are small;
they are computed in fixed chunks and rounded before anyone reads them. So the run that computes them and the run that
finds them get the same numbers, to the bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdengine.devices import autocast, memory_format
from kdengine.models.folding import folded
from kdengine.models.network import Network
from kdengine.views import Views

CHUNK = 256
"""Views a forward of the teacher. Fixed: another grouping would give other last digits."""
LARGEST = 65504.0
"""The largest number of float16; beyond it a softmax says 1 or 0 anyway."""
LIMIT_BYTES = 2_000_000_000
"""What all epochs of all teachers may take; the least recently used go first."""


@dataclass(frozen=True)
class TeacherLogits:
    """Where one teacher's logits of one split's views lie.

    folder: of all teachers. key: everything besides seed and epoch that decides the numbers.
    """

    folder: Path
    key: str
    limit_bytes: int = LIMIT_BYTES

    def epoch(
        self, teacher: Network, views: Views, seed: int, epoch: int, precision: str,
        keep_going: Callable[[], bool] = lambda: True,
    ) -> Tensor | None:
        """The logits of an epoch's views, float16 [N, C] on the split's device, in the order shown.

        From disk, or else computed and put there; a folder that cannot be written to only means that they are computed
        again the next time. keep_going() is asked between chunks; None once it says no.
        """
        path = self.folder / self.key / f"{seed}-{epoch}.npy"
        device = views.split.images.device
        found = _read(path, len(views.order), len(teacher.classes))
        if found is not None:
            return found.to(device)
        logits = _asked(teacher, views, precision, keep_going)
        if logits is not None:
            self._write(path, logits)
        return logits

    def _write(self, path: Path, logits: Tensor) -> None:
        """Under a name of its own, then renamed: of two processes at once, the later leaves the same file."""
        temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.save(file, logits.cpu().numpy())
            temporary.replace(path)
            self._make_room()
        except OSError:  # read-only or full
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _make_room(self) -> None:
        """Delete the least recently used epochs beyond the limit. One that a run is reading stays readable to it."""
        held = []
        for path in self.folder.glob("*/*.npy"):
            with contextlib.suppress(OSError):  # another process was quicker
                held.append((path.stat().st_mtime, path.stat().st_size, path))
        total = sum(size for _, size, _ in held)
        for _, size, path in sorted(held):
            if total <= self.limit_bytes:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size


def key(**facts: object) -> str:
    """32 hexadecimal digits over everything that decides a teacher's numbers, and over torch's version."""
    told = repr((2, torch.__version__, CHUNK, sorted(facts.items())))
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _asked(teacher: Network, views: Views, precision: str, keep_going: Callable[[], bool]) -> Tensor | None:
    device = views.split.images.device
    teacher = folded(teacher)
    parts = []
    for start in range(0, len(views.order), CHUNK):
        if not keep_going():
            return None
        images = views.render(start, min(start + CHUNK, len(views.order)))
        with torch.no_grad(), autocast(device, precision):
            logits = teacher(images.contiguous(memory_format=memory_format(device)))
        logits = logits.float()
        centred = logits - logits.mean(dim=1, keepdim=True)
        parts.append(centred.clamp(-LARGEST, LARGEST).half())
    return torch.cat(parts)


def _read(path: Path, count: int, classes: int) -> Tensor | None:
    """What is there, whole; None otherwise. Its time is renewed, so that what is used is not what makes room."""
    try:
        found = np.load(path, allow_pickle=False)
        os.utime(path)
    except (OSError, ValueError, EOFError):
        return None
    if found.shape != (count, classes) or found.dtype != np.float16:
        return None
    return torch.from_numpy(found)
