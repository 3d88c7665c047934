"""What a student was after its epochs, so that its learning can be looked at: its answers, and its weights.

`answers.f16` in a run's folder holds logits in half precision, [epochs, images, classes]: of the first images of the
test split, as many as fit (`count`). `snapshots/EPOCH.safetensors` are checkpoints of earlier epochs (`every`).
Nothing is chosen by them; the reported numbers come from the last epoch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

FILE = "answers.f16"
_MOST_IMAGES = 400
_MOST_BYTES = 4 * 2**20
SNAPSHOTS = "snapshots"
_MOST_SNAPSHOTS, _FEWEST_SNAPSHOTS = 20, 3
MOST_SNAPSHOT_BYTES = 8 * 2**20
"""Of all snapshots of a run."""


def count(test: int, classes: int, epochs: int) -> int:
    """How many of `test` images are watched: at most 400, and 4 MiB in all epochs, but one at least."""
    return max(1, min(test, _MOST_IMAGES, _MOST_BYTES // (2 * classes * epochs)))


def put(folder: Path, epoch: int, logits: Tensor) -> None:
    """Write the logits [N, C] of an epoch, counted from 1, in their place.

    What lies behind it is cut off: it is of an epoch that is trained again. Earlier epochs that nobody watched are NaN.
    """
    import numpy

    content = logits.cpu().numpy().astype(numpy.float16)
    path = folder / FILE
    path.touch()
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        start = (epoch - 1) * content.nbytes
        missing = max(0, start - size) // content.itemsize
        file.write(numpy.full(missing, numpy.nan, numpy.float16).tobytes())
        file.seek(start)
        file.write(content.tobytes())
        file.truncate()


def read(folder: Path, images: int, classes: int) -> numpy.ndarray:
    """The logits of every whole epoch, float32 [epochs, images, classes]; no epochs where nothing was watched."""
    import numpy

    try:
        stored = numpy.fromfile(folder / FILE, numpy.float16)
    except OSError:
        stored = numpy.zeros(0, numpy.float16)
    whole = len(stored) // (images * classes)
    return stored[:whole * images * classes].reshape(whole, images, classes).astype(numpy.float32)


def every(epochs: int, size: int) -> int | None:
    """A network of `size` bytes is kept once in so many epochs; None where that would be too seldom to be of use.

    At most 20 times in all `epochs`, and 8 MiB together.
    """
    most = min(_MOST_SNAPSHOTS, epochs - 1, MOST_SNAPSHOT_BYTES // size)  # the last epoch's are the run's result
    return None if most < _FEWEST_SNAPSHOTS else -(-epochs // (most + 1))


def snapshot(folder: Path, epoch: int) -> Path:
    """Where the checkpoint of an epoch lies in a run's folder."""
    return folder / SNAPSHOTS / f"{epoch}.safetensors"


def snapshots(folder: Path) -> dict[int, Path]:
    """The checkpoints that were kept, by epoch from the first."""
    paths = (folder / SNAPSHOTS).glob("*.safetensors")
    return dict(sorted((int(path.stem), path) for path in paths if path.stem.isascii() and path.stem.isdigit()))
