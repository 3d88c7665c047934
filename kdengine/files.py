"""Files and folders that appear whole or not at all, on disks that fill up, are read-only or serve several machines."""

from __future__ import annotations

import os
import platform
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EDQUOT, ENOSPC, EPERM, EROFS
from pathlib import Path

from kdengine.errors import KDError

_HOST = re.sub(r"[^A-Za-z0-9-]", "_", platform.node()) or "localhost"
_TEMPORARY = re.compile(r"\..+\.(?P<host>[^.]+)\.(?P<process>\d+)\.\d+\.partial")
_LEFT_S = 3600.0
"""Age from which a temporary file counts as left behind, where its writer cannot be asked: a write takes seconds."""
_ADVICE = {
    **dict.fromkeys((ENOSPC, EDQUOT), "Free some space there, then try again."),
    **dict.fromkeys((EROFS, EACCES, EPERM), "Make it writable, or choose another folder."),
}


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
