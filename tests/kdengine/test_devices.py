"""What a process does to its memory and its threads."""

import subprocess
import sys

import pytest
import torch

from kdengine import runs, session, worker
from kdengine.devices import workers
from kdengine.records import Configuration

LAYERS, PAGES = 8, 4 * 2**20 * 4 // 4096
FAULTS = f"""
import resource
import torch
from kdengine.devices import keep_freed_memory

def layers():
    return [torch.ones(4, 2**20) for _ in range({LAYERS})]

keep_freed_memory()
layers()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    layers()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told to keep memory")
def test_memory_that_is_kept_is_not_asked_for_again():
    """Twenty rounds may touch the pages of two anew: how blocks lie in the heap differs from process to process."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 2 * LAYERS * PAGES


def test_a_process_that_trains_keeps_its_memory_and_one_that_waits_does_not(monkeypatch):
    order = []
    monkeypatch.setattr(runs, "_launch", lambda ids: None)
    monkeypatch.setattr("kdengine.devices.keep_freed_memory", lambda: order.append("keeps"))
    monkeypatch.setattr(worker, "_wait_for_slot", lambda stack, held, release: order.append("waits"))
    monkeypatch.setattr(session, "Session", lambda *_, **__: order.append("trains"))
    worker.work(runs.submit([Configuration()]))
    assert order == ["waits", "keeps", "trains"]


def test_workers_share_the_threads_and_leave_them_as_they_were():
    torch.set_num_threads(4)
    with pytest.raises(ZeroDivisionError), workers(2, 2) as pool:
        assert set(pool.map(lambda _: torch.get_num_threads(), range(8))) == {2}
        pool.submit(lambda: 1 / 0).result()
    assert torch.get_num_threads() == 4
