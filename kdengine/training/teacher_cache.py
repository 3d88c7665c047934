"""What a teacher says of replayable views, kept on disk: the second run with the same views never asks the teacher.

Views are a pure function of (split, policy, seed, epoch), so what a teacher says of an epoch's views is right under
augmentation: it saw the very pixels that the student sees (Beyer et al., arXiv 2106.05237). Views that change nothing
are the same in every epoch, so there one pass serves them all. One file an epoch and signal: float16, a row a view.
Logits of images are centred, which changes no softmax, so that their largest numbers are small; all are computed in
fixed chunks and rounded before anyone reads them. So the run that computes them and the run that finds them get the
same numbers, to the bit.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import math
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdengine.devices import autocast
from kdengine.files import free, replacing, sweep
from kdengine.models.folding import folded
from kdengine.models.network import Network
from kdengine.signals import Signals, Wanted, largest_convolutions, observing, promoted
from kdengine.views import Policy, Split, Views

CHUNK = 256
"""Views a forward of the teacher. Fixed: another grouping would give other last digits."""
LARGEST = 65504.0
"""The largest number of float16; beyond it a softmax says 1 or 0 anyway."""
LIMIT_BYTES = 2_500_000_000
"""What all epochs of all teachers may take; the least recently used go first. CIFAR-100's logits of 240 epochs fit in.
"""
LEAVES_BYTES = 500_000_000
"""What it leaves free of its disk: what is kept here can be computed again, the students beside it cannot be written.
"""
STILL = Policy()
"""The policy whose views are the images themselves."""
LOGITS, FEATURES, PREACTIVATIONS, EXPLANATIONS = "logits", "features-", "preactivations-", "explanations-"
"""What rows are of; a stage's name follows the last three."""


@dataclass(frozen=True)
class Epoch:
    """What a teacher says of one epoch's views.

    rows: by what they are of, float16 [N, ...] on the split's device. weights: as Signals has them. places: long [N],
    the row of the view shown i-th.
    """

    rows: dict[str, Tensor]
    weights: dict[str, Tensor]
    places: Tensor

    def batch(self, start: int, stop: int) -> Signals:
        """What the teacher says of the views shown from `start` to `stop`, float32."""
        places = self.places[start:stop]
        selected = {what: promoted(rows[places]) for what, rows in self.rows.items()}

        def maps(kind: str) -> dict[str, Tensor]:
            return {what.removeprefix(kind): rows for what, rows in selected.items() if what.startswith(kind)}

        return Signals(selected[LOGITS], maps(FEATURES), maps(PREACTIVATIONS), self.weights,
                       explanations=maps(EXPLANATIONS))


@dataclass(frozen=True)
class TeacherCache:
    """Where one teacher's signals of one split's views lie.

    folder: of all teachers. key: everything besides seed and epoch that decides the numbers.
    """

    folder: Path
    key: str
    limit_bytes: int = LIMIT_BYTES

    def fits(self, wanted: Wanted, teacher: Network, split: Split, policy: Policy, epochs: int) -> bool:
        """Whether what a student wants of a teacher is kept: where a run's epochs fit into the limit all together.

        Keeping the last of them only would help nobody: the next run begins with the first. The input gradient is not
        kept, and asks for a backward pass at every step.
        """
        height, width = split.images.shape[2:]
        channels = {stage.name: stage.channels for stage in teacher.stages}
        cells = {stage.name: math.ceil(height / stage.stride) * math.ceil(width / stage.stride)
                 for stage in teacher.stages}
        numbers = len(teacher.classes) * (height * width if split.target.dim() > 1 else 1)
        numbers += sum(channels[name] * cells[name] for name in wanted.features + wanted.preactivations)
        numbers += sum(cells[name] for name in wanted.explanations)
        different = 1 if policy == STILL else epochs
        return not wanted.input_gradient and 2 * numbers * len(split) * different <= self.limit_bytes

    def epoch(
        self, teacher: Network, views: Views, seed: int, epoch: int, wanted: Wanted, precision: str,
        keep_going: Callable[[], bool] = lambda: True, *, kept: Wanted | None = None,
    ) -> Epoch | None:
        """What is wanted of a teacher on an epoch's views, the input gradient apart.

        From disk, or else computed and put there; a folder that cannot be written to only means that they are computed
        again the next time. kept: the part that is put there, where all that the run's students want does not fit;
        None is all. keep_going() is asked between chunks; None once it says no.
        """
        device = views.order.device
        places = torch.arange(len(views.order), device=device)
        name = f"{seed}-{epoch}"
        if views.policy == STILL:
            name, places, views = "still", views.order, replace(views, order=places)
        read = {what: self._read(f"{name}.{what}", len(views.order)) for what in _names(wanted)}
        rows = {what: each for what, each in read.items() if each is not None}
        if len(rows) < len(read):
            computed = _asked(teacher, views, wanted, precision, keep_going)
            if computed is None:
                return None
            rows = computed
            put = _names(wanted if kept is None else kept)
            for what, each in rows.items():
                if what in put:
                    self._write(f"{name}.{what}", each)
            self._make_room()
        weights = largest_convolutions(teacher, teacher.stages, wanted.weights)
        return Epoch({what: each.to(device) for what, each in rows.items()},
                     {stage: each.detach() for stage, each in weights.items()}, places)

    def _read(self, name: str, count: int) -> Tensor | None:
        """The rows in the file, where it is there and whole; else None. Its time is renewed: files in use go last."""
        for path in (self.folder / self.key).glob(f"{glob.escape(name)}.*.npy"):
            with contextlib.suppress(OSError, ValueError, EOFError):
                array = np.load(path, mmap_mode="c", allow_pickle=False)
                if array.dtype == np.float16 and len(array) == count and path == self._path(name, array):
                    os.utime(path)
                    return torch.from_numpy(array)
        return None

    def _write(self, name: str, rows: Tensor) -> None:
        """Whole or not at all: of two processes at once, the later leaves the same file."""
        content = rows.cpu().numpy()
        path = self._path(name, content)
        with contextlib.suppress(OSError):  # read-only
            path.parent.mkdir(parents=True, exist_ok=True)
            if free(path.parent) < content.nbytes + LEAVES_BYTES:
                return
            with replacing(path) as written, written.open("wb") as file:
                np.save(file, content)

    def _path(self, name: str, content: np.ndarray) -> Path:
        """A file's name tells the checksum of what is in it, and so whether it is damaged."""
        checksum = zlib.crc32(content.data, zlib.crc32(repr(content.shape).encode()))
        return self.folder / self.key / f"{name}.{checksum:08x}.npy"

    def _make_room(self) -> None:
        """Delete the least recently used files beyond the limit. One that a run is reading stays readable to it."""
        for folder in self.folder.glob("*"):
            sweep(folder)
        files = []
        for path in self.folder.glob("*/*.npy"):
            with contextlib.suppress(OSError):  # another process was quicker
                files.append((path.stat().st_mtime, path.stat().st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.limit_bytes:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size


def key(**facts: object) -> str:
    """32 hexadecimal digits over everything that decides a teacher's numbers, and over torch's version."""
    text = repr((3, torch.__version__, CHUNK, sorted(facts.items())))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _names(wanted: Wanted) -> tuple[str, ...]:
    """The names of the rows that are kept where this is wanted."""
    return (LOGITS, *(FEATURES + each for each in wanted.features),
            *(PREACTIVATIONS + each for each in wanted.preactivations),
            *(EXPLANATIONS + each for each in wanted.explanations))


def _asked(
    teacher: Network, views: Views, wanted: Wanted, precision: str, keep_going: Callable[[], bool]
) -> dict[str, Tensor] | None:
    device = views.order.device
    count = len(views.order)
    rows: dict[str, Tensor] = {}
    with observing(folded(teacher), teacher.stages, replace(wanted, weights=())) as look:
        for start in range(0, count, CHUNK):
            if not keep_going():
                return None
            stop = min(start + CHUNK, count)
            images = views.render(start, stop)
            with torch.no_grad(), autocast(device, precision):
                # The students read rounded logits: of two that become equal, theirs and this name the same class.
                signals = look(images, None, lambda logits: _rounded(_centerd(logits)).argmax(dim=1))
            parts = {LOGITS: _centerd(signals.logits)}
            parts |= {FEATURES + name: each for name, each in signals.features.items()}
            parts |= {PREACTIVATIONS + name: each for name, each in signals.preactivations.items()}
            parts |= {EXPLANATIONS + name: each for name, each in signals.explanations.items()}
            for what, part in parts.items():
                if what not in rows:
                    rows[what] = torch.empty(count, *part.shape[1:], dtype=torch.float16, device=device)
                rows[what][start:stop] = _rounded(part)
    return rows


def _rounded(part: Tensor) -> Tensor:
    """As float16, which is what is kept."""
    return part.clamp(-LARGEST, LARGEST).half()


def _centerd(logits: Tensor) -> Tensor:
    """[B, C] with a mean of 0 in each row. Maps [B, C, H, W] stay: losses compare them across pixels too."""
    return logits - logits.mean(dim=1, keepdim=True) if logits.dim() == 2 else logits
