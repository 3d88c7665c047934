"""What every test starts from: its own seed and its own folders, never the developer's."""

import os
from pathlib import Path

import pytest
import torch

# The suite runs in several processes at once; a thread pool in each would have them wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """Runs and data sets of a test lie in its temporary folder; the shipped checkpoints are the project's. No code is
    trusted.

    Whatever a test did to torch's seed or its threads ends with it.
    """
    monkeypatch.setenv("KDENGINE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("KDENGINE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("KDENGINE_CHECKPOINTS", raising=False)
    monkeypatch.setenv("KDENGINE_TRUST", "")
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real CIFAR, Imagenette and CamVid beside the project; the test skips where they are not."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the real pictures in {os.path.relpath(SHARED)}, which are not on this machine")
    return SHARED
