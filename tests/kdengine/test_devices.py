"""What a process does to its memory and its threads."""

import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import torch

from kdengine import devices
from kdengine.configuration import Configuration
from kdengine.devices import workers
from kdengine.runs import control, session, worker

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
    monkeypatch.setattr(control, "_launch", lambda ids: None)
    monkeypatch.setattr("kdengine.devices.keep_freed_memory", lambda: order.append("keeps"))
    monkeypatch.setattr(worker, "_wait_for_slot", lambda stack, held, release: order.append("waits"))
    monkeypatch.setattr(session, "Session", lambda *_, **__: order.append("trains"))
    worker.work(control.submit([Configuration()]))
    assert order == ["waits", "keeps", "trains"]


def test_workers_share_the_threads_and_leave_them_as_they_were():
    torch.set_num_threads(4)
    with pytest.raises(ZeroDivisionError), workers(2, 2) as pool:
        assert set(pool.map(lambda _: torch.get_num_threads(), range(8))) == {2}
        pool.submit(lambda: 1 / 0).result()
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize(("answer", "calls"), [(1, [(-3, 2**30), (-1, 2**31 - 1)]), (0, [(-3, 2**30)])])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told to keep memory")
def test_a_library_that_refuses_the_first_setting_is_left_as_it_was(monkeypatch, answer, calls):
    made = []
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda _: SimpleNamespace(
        mallopt=lambda what, value: made.append((what, value)) or answer))
    devices.keep_freed_memory()
    assert made == calls


def test_one_thread_is_of_its_caller_alone_and_given_back():
    torch.set_num_threads(3)
    with pytest.raises(ZeroDivisionError), devices.one_thread():
        assert torch.get_num_threads() == 1
        assert in_thread(torch.get_num_threads) == 3
        raise ZeroDivisionError
    assert torch.get_num_threads() == 3


def in_thread(do):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(do).result()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_threads_that_are_inside_together_leave_in_any_order_and_none_stays_at_one(order):
    torch.set_num_threads(3)
    with ExitStack() as stack:
        pools = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(3)]  # one thread each, new to torch
        inside = [devices.one_thread() for _ in pools]
        for pool, each in zip(pools, inside, strict=True):
            pool.submit(each.__enter__).result()
            assert pool.submit(torch.get_num_threads).result() == 1
        for place in order:
            pools[place].submit(inside[place].__exit__, None, None, None).result()
            assert pools[place].submit(torch.get_num_threads).result() == 3
        assert [pool.submit(torch.get_num_threads).result() for pool in pools] == [3, 3, 3]
    assert torch.get_num_threads() == 3
    assert in_thread(torch.get_num_threads) == 3


def test_many_threads_in_and_out_leave_the_number_as_it_was():
    torch.set_num_threads(3)

    def use(_):
        with devices.one_thread():
            inside = torch.get_num_threads()
        return inside, torch.get_num_threads()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(use, range(200))) == {(1, 3)}
    assert torch.get_num_threads() == 3
    assert in_thread(torch.get_num_threads) == 3


def test_the_load_of_others_is_all_work_but_this_process_s_own(monkeypatch):
    """In two seconds all cores worked for 3.5 more, this process for 1.5 of them: others used one core."""
    clock = SimpleNamespace(perf_counter=lambda: now["clock"], process_time=lambda: now["own"])
    monkeypatch.setattr(devices, "time", clock)
    monkeypatch.setattr(devices.psutil, "cpu_times", lambda: SimpleNamespace(**now["all"]))
    now = {"clock": 10.0, "own": 4.0,
           "all": {"user": 5.0, "nice": 1.0, "system": 1.0, "idle": 50.0, "iowait": 1.0, "steal": 0.0, "guest": 0.0}}
    load = devices.OthersLoad()
    now |= {"clock": 12.0, "own": 5.5,
            "all": {"user": 7.0, "nice": 1.5, "system": 1.5, "idle": 55.0, "iowait": 9.0, "steal": 0.5, "guest": 7.0}}
    assert load.cores() == pytest.approx(1.0)
    now["own"] = 9.0  # counted more finely than the system's own
    assert load.cores() == 0.0
    now["all"] = {"user": 9.5, "system": 5.0, "idle": 60.0}  # as on macOS and Windows, which have fewer kinds
    assert load.cores() == pytest.approx((9.5 + 5.0 - 9.0 - 3.0) / 2)
