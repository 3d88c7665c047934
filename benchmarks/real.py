"""The real app in the real browser, for benchmarks and tests: a server of its own, and the system's Chromium."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
START_S = 60
SETTLED = '[data-testid="stApp"][data-test-script-state="notRunning"]'
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)


def chromium() -> str | None:
    """Where the system's Chromium or Chrome is; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


@contextmanager
def server(runs: Path, **environment: str) -> Iterator[str]:
    """The explorer, started from a foreign working directory, with more environment variables; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(PROJECT / "explorer" / "app.py"),
               "--server.port", str(port), "--server.headless", "true"]
    with tempfile.TemporaryDirectory() as elsewhere:
        process = subprocess.Popen(command, cwd=elsewhere, env=os.environ | {"KDENGINE_RUNS": str(runs), **environment},
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            _until_healthy(address, process)
            yield address
        finally:
            process.terminate()
            process.wait()


def _until_healthy(address: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"The server did not answer within {START_S} s (exit status {process.poll()}).")


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium, through playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        try:
            yield launched
        finally:
            launched.close()


def settle(page: Any) -> None:
    """Wait until the script has run and nothing on the page is stale."""
    page.locator(SETTLED).wait_for(timeout=START_S * 1000)
