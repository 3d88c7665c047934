"""What every test starts from: its own seed and its own folders, never the developer's."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from kdengine.runs import processes, worker

# The suite runs in several processes at once; a thread pool in each would have them wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
# A busy machine is slow, not wrong.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

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


@pytest.fixture
def hand_on(monkeypatch):
    """In place of `processes.launch`: hands the locks to this process, as to one that has yet to begin.

    What was started counts as alive; `worker.work` and `recipes.run` take the locks up.
    """
    handed = {}
    monkeypatch.setattr(processes, "_handed_on", handed)

    def launch(arguments, log, locks):
        handed.update({str(path): os.dup(lock.descriptor) for path, lock in locks.items()})

    yield launch
    for descriptor in handed.values():
        os.close(descriptor)


@pytest.fixture
def waiting(monkeypatch, hand_on):
    """What is started waits in the queue: this process is its worker, once the test lets it work."""
    monkeypatch.setattr(processes, "launch", hand_on)


@pytest.fixture
def launched(monkeypatch, hand_on):
    """The words after `python -m kdengine` of what was started; it waits, see `waiting`."""
    seen = []

    def launch(arguments, log, locks):
        seen.append(arguments)
        hand_on(arguments, log, locks)

    monkeypatch.setattr(processes, "launch", launch)
    return seen


@pytest.fixture
def nobody(monkeypatch):
    """What is started has no worker."""
    monkeypatch.setattr(processes, "launch", lambda *_: None)


@pytest.fixture
def train_here(monkeypatch, hand_on):
    """This process is the worker: a group is trained as soon as it is started."""
    def launch(arguments, log, locks):
        hand_on(arguments, log, locks)
        worker.work(arguments[1:])

    monkeypatch.setattr(processes, "launch", launch)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real CIFAR, Imagenette and CamVid beside the project; the test skips where they are not."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the real pictures in {os.path.relpath(SHARED)}, which are not on this machine")
    return SHARED
