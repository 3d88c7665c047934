"""How far a group's worker is, for whoever looks on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kdengine import files
from kdengine.runs import store
from kdengine.runs.records import PROGRESS, Record
from kdengine.runs.store import PAUSED, TRAINING

_PROGRESS_S = 1.0


class ProgressFile:
    """Writes `progress.json` beside each record: at each phase, and about once a second while training.

    Counts images, so that nothing waits for the device.
    """

    def __init__(self, records: list[Record], epochs: int, first_epoch: int) -> None:
        self.runs = [record.id for record in records]
        self.epochs = epochs
        self.first_epoch = self.epochs_done = first_epoch
        self.images_per_epoch = 0
        self.name = ""
        self.began = self.last = time.monotonic()

    def phase(self, name: str) -> None:
        """Enter a phase; the clock of images per second starts with it."""
        self.name = name
        self.began = time.monotonic()
        self._write(0)

    def step(self, images: int) -> None:
        """Called once a batch with the images of this epoch seen so far."""
        if time.monotonic() - self.last >= _PROGRESS_S:
            self._write(images)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A phase of training in which it waits; it does not count as slow."""
        stopped, self.name = time.monotonic(), PAUSED
        self._write(0)
        yield
        self.name = TRAINING
        self.began += time.monotonic() - stopped
        self._write(0)

    def leave(self, run: str) -> None:
        """Write no more beside a run that has ended."""
        self.runs.remove(run)

    def _write(self, images: int) -> None:
        self.last = time.monotonic()
        images_done = (self.epochs_done - self.first_epoch) * self.images_per_epoch + images
        # Counted from the start of the training phase; another phase has no rate.
        rate = images_done / (self.last - self.began) if images_done and self.name == TRAINING else None
        left = (self.epochs - self.epochs_done) * self.images_per_epoch - images
        for run in self.runs:
            with suppress(OSError):  # a full disk: the training can do without a progress bar
                files.write_json(store.directory(run) / PROGRESS, {
                    "phase": self.name, "epoch": self.epochs_done, "epochs": self.epochs,
                    "images": images, "of": self.images_per_epoch,
                    "images_per_second": rate, "seconds_left": left / rate if rate else None,
                })
