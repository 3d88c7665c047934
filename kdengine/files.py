"""Files and folders that appear whole or not at all, on disks that fill up, are read-only or serve several machines."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EDQUOT, ENOSPC, EPERM, EROFS
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from kdengine.errors import KDError

_HOST = re.sub(r"[^A-Za-z0-9-]", "_", platform.node()) or "localhost"
_TEMPORARY = re.compile(r"\..+\.(?P<host>[^.]+)\.(?P<process>\d+)\.\d+\.partial")
_LEFT_S = 3600.0
"""Age from which a temporary file counts as left behind, where its writer cannot be asked: a write takes seconds."""
_ADVICE: dict[int | None, str] = {
    **dict.fromkeys((ENOSPC, EDQUOT), "Free some space there, then try again."),
    **dict.fromkeys((EROFS, EACCES, EPERM), "Make it writable, or choose another folder."),
}
MOST_BYTES = 16 * 2**20
"""Of JSON in one file. The longest record of a thousand classes has 0.2 MB."""
DEEPEST = 24
"""How deep JSON may be nested; a record is nested five deep."""
Text = Annotated[str, Meta(max_length=4096)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Some = Annotated[int, Meta(ge=1, le=2**53)]
Share = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0)]
Time = Annotated[float, Meta(ge=0, lt=253402300800)]
"""Seconds since 1970, before the year 10000."""
Scalar = bool | Whole | float | Text | None
Values = dict[Text, Scalar | list[Scalar]]


def temporary(path: Path) -> Path:
    """The hidden name beside a path under which it is written first: of this host, process and thread alone."""
    return path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.{threading.get_ident()}.partial")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write a file or a new folder: it takes the path's place at the end, and is gone where anything failed.

    Readers see what was there before or what is there now, never a part.
    """
    written = temporary(path)
    try:
        yield written
        written.replace(path)
    except BaseException:
        discard(written)
        raise


def discard(path: Path) -> None:
    """Delete a file or a folder with all in it, as far as the disk lets us."""
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sweep(folder: Path, left_s: float = _LEFT_S) -> None:
    """Delete what writers that are gone have left in a folder under temporary names, never what one is writing.

    Nothing of a living process of this host goes. Of others neither, while it is younger than `left_s` seconds: they
    may be of another machine or container. 0 is right where nobody else can be writing.
    """
    with suppress(OSError):  # there is no such folder, or another process sweeps it too
        for path in folder.iterdir():
            name = _TEMPORARY.fullmatch(path.name)
            if name and time.time() - path.lstat().st_mtime >= left_s and not _lives(name):
                discard(path)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turns what the disk of a file or folder refuses into a KDError that says why, and what to do."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno, "Look at its disk, or choose another folder.")
        raise KDError(f"{place} cannot be written: {(error.strerror or str(error)).rstrip('.')}. {advice}") from error


def free(folder: Path) -> int:
    """Bytes left to us on a folder's disk; the folder need not be there yet. Raises OSError where nobody can tell."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _lives(name: re.Match[str]) -> bool:
    import psutil

    return name["host"] == _HOST and psutil.pid_exists(int(name["process"]))


def content(path: Path, most: int = MOST_BYTES) -> bytes | None:
    """A file's bytes; None where there is no file. Raises KDError where it cannot be read, or is larger."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
            raise KDError(f"{path.name} is not a file")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise KDError(f"{path.name} cannot be opened: {error.strerror}") from error
    if len(data) > most:
        raise KDError(f"{path.name} holds more than {most:,} bytes")
    return data


def decode(text: bytes | str, shape: Any) -> Any:
    """The value in JSON text, in that shape; fields that the shape does not name stay as they are.

    Raises KDError where the text is no JSON, or the value does not have that shape.
    """
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise KDError(str(error)) from error
    if _deeper(value, DEEPEST):
        raise KDError(f"it is nested more than {DEEPEST} deep")
    return whole(value, convert(value, shape))


def convert(value: Any, shape: Any) -> Any:
    """A plain value in a type: whole numbers pass for floats, nothing else passes for another. Raises KDError."""
    try:
        return msgspec.convert(value, shape)
    except ValueError as error:
        raise KDError(str(error).replace("`$.", "`")) from error


def whole(original: Any, read: Any) -> Any:
    """What was read of a value, together with its fields that no type names, as they are."""
    if not isinstance(original, dict) or not isinstance(read, dict):
        return read
    return original | {name: whole(original.get(name), value) for name, value in read.items()}


def unnamed(original: dict[str, Any], read: dict[str, Any], place: str = "") -> Iterator[str]:
    """The fields of a value that are not in what was read of it, as `status.color`."""
    for name, value in original.items():
        if name not in read:
            yield place + name
        elif isinstance(value, dict) and isinstance(read[name], dict):
            yield from unnamed(value, read[name], f"{place}{name}.")


def _deeper(value: Any, levels: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_deeper(each, levels - 1) for each in inside)


def as_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON text. A NaN or infinity becomes null: no other JSON reader takes them."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """JSON written to a neighbouring file, then renamed: readers see the old text or the new, never a part."""
    with replacing(path) as written:
        written.write_text(as_json(value, indent=1), encoding="utf-8")


def read_json(path: Path, shape: Any = dict[str, Any]) -> dict[str, Any]:
    """The object in a file; empty where there is none that can be read and has the shape."""
    try:
        text = content(path)
        return {} if text is None else decode(text, shape)
    except KDError:
        return {}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
