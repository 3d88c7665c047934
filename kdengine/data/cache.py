"""Decoded data sets on disk, each under a key of what it was decoded from. A cache: deleting it loses only time."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import PIL

from kdengine.data.content import Content, digest
from kdengine.errors import KDError
from kdengine.files import replacing, sweep
from kdengine.views import Split

FOLDER = ".decoded"
"""Inside the data root."""
_VERSION = 2
"""Counted up when decoding, the reading of masks or splitting changes, so that nothing decoded the old way is found."""
_HEADER = "content"
"""The key in the file's header; its value is one JSON string: classes, digest and notes."""
_BOXES = "boxes"
_SPLITS = ("train", "validation", "test")


def key(facts: object, files: Iterable[tuple[str, Path]]) -> str:
    """32 hexadecimal digits of the SHA-256 over `facts`, and the name and bytes of every file.

    Also over the version of Pillow: another decoder may give other pixels. Raises KDError for an unreadable file.
    """
    total = hashlib.sha256(repr((_VERSION, PIL.__version__, facts)).encode())
    for name, path in files:
        try:
            with path.open("rb") as file:
                total.update(repr((name, hashlib.file_digest(file, "sha256").digest())).encode())
        except OSError as error:
            raise KDError(f"{path} cannot be read: {error.strerror}.") from error
    return total.hexdigest()[:32]


def cached(root: Path, key: str, decode: Callable[[], Content]) -> Content:
    """The content under `key`; where there is none, or a damaged one, it is decoded and kept.

    A data root that cannot be written to only means that it is decoded again the next time.
    """
    path = root / FOLDER / f"{key}.safetensors"
    content = _read(path)
    if content is None:
        content = decode()
        _write(path, content)
    return content


def _read(path: Path) -> Content | None:
    """What is there, whole: its pixels have the digest that its header states. None otherwise."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header = json.loads(file.metadata()[_HEADER])
            boxes = file.get_tensor(_BOXES).clone() if _BOXES in file.keys() else None  # noqa: SIM118  it is no dict
            # Copied, since the file is mapped: were it cut short later, reading a mapped page would kill the process.
            train, validation, test = (
                Split(*(file.get_tensor(f"{name}.{part}").clone() for part in ("images", "target")))
                for name in _SPLITS
            )
        classes, stated, notes = tuple(header["classes"]), header["digest"], tuple(header["notes"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    if digest(classes, train, validation, test) != stated:
        return None
    return Content(classes, train, validation, test, digest=stated, boxes=boxes, notes=notes)


def _write(path: Path, content: Content) -> None:
    """Whole or not at all: of two processes at once, the later leaves the same file."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {
        f"{name}.{part}": getattr(getattr(content, name), part).contiguous()
        for name in _SPLITS for part in ("images", "target")
    }
    if content.boxes is not None:
        tensors[_BOXES] = content.boxes
    header = {_HEADER: json.dumps({"classes": content.classes, "digest": content.digest, "notes": content.notes})}
    with contextlib.suppress(OSError, SafetensorError):  # read-only or full: see `cached`
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        with replacing(path) as written:
            save_file(tensors, written, metadata=header)
