"""Processes of the engine's own that outlive the page or the command that started them, and their locks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kdengine.errors import KDError
from kdengine.places import PROJECT, checkpoints_root, data_root, runs_root

_probing = threading.Lock()


def launch(arguments: Sequence[str], log: Path) -> None:
    """Start `python -m kdengine ARGUMENTS` in a session of its own; it writes to `log`.

    It has this process's places, and trusts what this process trusts.
    """
    paths = [str(PROJECT), os.environ.get("PYTHONPATH")]
    environment = os.environ | {
        "KDENGINE_RUNS": str(runs_root()),
        "KDENGINE_DATA": str(data_root()),
        "KDENGINE_CHECKPOINTS": str(checkpoints_root()),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }
    if os.name == "nt":
        apart: dict[str, Any] = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    else:
        apart = {"start_new_session": True}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "kdengine", *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, **apart,
        )
    # Reaped when it ends, so that a long-lived server collects no zombies.
    threading.Thread(target=process.wait, daemon=True).start()


def held(lock: Path) -> bool:
    """Whether some process holds a lock file.

    Probes are serialised inside this process: two of one file would otherwise see each other. Raises KDError where
    that cannot be told, as of a file that belongs to somebody else.
    """
    if not lock.exists():
        return False  # and none is made: its folder may have been removed meanwhile
    with _probing:
        probe = FileLock(lock)
        try:
            probe.acquire(timeout=0)
        except Timeout:
            return True
        except OSError as error:
            raise KDError(f"Whether anybody holds {lock} cannot be told: {error.strerror}.") from error
        probe.release()
        return False
