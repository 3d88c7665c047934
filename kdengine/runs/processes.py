"""Processes of the engine's own that outlive the page or the command that started them, and the locks they live by.

Whoever starts a process takes its locks and hands them on. So it counts as alive from the moment it is wanted, before
it has run a line of Python, and not a moment longer than it lives, whatever a clock says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from kdengine.errors import KDError
from kdengine.paths import PROJECT, checkpoints_root, data_root, runs_root

HANDS_ON = os.name != "nt"
"""Whether an open lock file can be handed on to a child, and its folder renamed. Windows can do neither."""
_POLL_S = 0.02
_VARIABLE = "KDENGINE_LOCKS"
"""Tells a process which locks it was started with: as JSON, the number of the descriptor by lock file."""
_handed_on: dict[str, int] = json.loads(os.environ.pop(_VARIABLE, "{}"))
_probing = threading.Lock()


class Lock:
    """A lock file that this process holds until it lets go of it or ends.

    handed_on: whether the process was started with it.
    """

    def __init__(self, descriptor: int, handed_on: bool = False) -> None:
        self.descriptor = descriptor
        self.handed_on = handed_on
        self._open = True

    def release(self) -> None:
        """Let go of it; a process that was started with it goes on holding it. Twice is once."""
        if self._open:
            self._open = False
            os.close(self.descriptor)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def take(path: Path, patience_s: float) -> Lock | None:
    """The lock of a file: the one this process was started with, else taken now; its folder must be there.

    None where another process holds it for longer than the patience. Raises OSError where the disk refuses the file.
    """
    if (descriptor := _handed_on.pop(str(path), None)) is not None:
        os.set_inheritable(descriptor, False)
        return Lock(descriptor, handed_on=True)
    lock = Lock(_opened(path, os.O_CREAT))
    deadline = time.monotonic() + patience_s
    try:
        while not lock_descriptor(lock.descriptor, blocking=False):
            if time.monotonic() >= deadline:
                lock.release()
                return None
            time.sleep(_POLL_S)
    except BaseException:
        lock.release()
        raise
    return lock


def held(path: Path) -> bool:
    """Whether some process holds the lock of a file. No file is made.

    Looks are serialised inside this process: two at one file would otherwise see each other. Raises KDError where it
    cannot be told, as of a file that belongs to somebody else.
    """
    with _probing:
        try:
            with Lock(_opened(path)) as lock:
                return not lock_descriptor(lock.descriptor, blocking=False)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise KDError(f"Whether anybody holds {path} cannot be told: {error.strerror}.") from error


def _opened(path: Path, how: int = 0) -> int:
    """A lock file's descriptor. One that may only be read, another user's or on a read-only disk, can be locked too."""
    try:
        return os.open(path, os.O_RDWR | how, 0o644)
    except OSError as error:
        try:
            return os.open(path, os.O_RDONLY)
        except OSError:
            raise error from None


def launch(arguments: Sequence[str], log: Path, locks: Mapping[Path, Lock]) -> None:
    """Start `python -m kdengine ARGUMENTS` in a session of its own; it writes to `log`.

    It has this process's places, and trusts what this process trusts. locks: by lock file, those of this process that
    the new one holds from its first moment on; `take` finds them there. They stay with this process too until it
    releases them. Raises KDError where no process can be started.
    """
    paths = [str(PROJECT), os.environ.get("PYTHONPATH")]
    environment = os.environ | {
        "KDENGINE_RUNS": str(runs_root()),
        "KDENGINE_DATA": str(data_root()),
        "KDENGINE_CHECKPOINTS": str(checkpoints_root()),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    if HANDS_ON:
        descriptors = {str(path): lock.descriptor for path, lock in locks.items()}
        environment[_VARIABLE] = json.dumps(descriptors)
        apart["pass_fds"] = tuple(descriptors.values())
    else:
        for lock in locks.values():
            lock.release()  # the new process takes it by itself
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "kdengine", *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, **apart,
            )
        except OSError as error:
            raise KDError(f"No process can be started: {error.strerror or error}. Try again when this machine has "
                          "room for one.") from error
    # Reaped when it ends, so that a long-lived server collects no zombies.
    threading.Thread(target=process.wait, daemon=True).start()
    while not HANDS_ON and process.poll() is None and not all(map(held, locks)):
        time.sleep(_POLL_S)
