"""The devices a network can run on, and what each does best."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import psutil
import torch
from torch import nn

from kdengine.errors import KDError

_WORKING = ("user", "nice", "system", "irq", "softirq", "steal")
"""The kinds of CPU time in which a core works, for whomever; systems have some of them or all."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def choose_device(device: str) -> torch.device:
    """The device asked for; `auto` takes an NVIDIA GPU, else Apple's, else the CPU. Raises KDError if it is absent."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, present in there.items() if present)
    if not there[device]:
        raise KDError(f"This machine has no {device} device. It has: {', '.join(n for n, ok in there.items() if ok)}.")
    return torch.device(device)


def cores() -> int:
    """How many CPU cores this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(allowed(0)) if allowed else os.cpu_count() or 1


class OthersLoad:
    """How much of this machine other processes use, from the moment this is made.

    All CPU time but this process's own. The system counts it in hundredths of a second: within a quarter of a second
    two cores are told to a twentieth. A GPU is not looked at.
    """

    def __init__(self) -> None:
        self._began, self._used = time.perf_counter(), _seconds_of_others()

    def cores(self) -> float:
        """The cores that others have used since, in the mean."""
        return max(0.0, (_seconds_of_others() - self._used) / (time.perf_counter() - self._began))


def _seconds_of_others() -> float:
    times = psutil.cpu_times()
    return sum(getattr(times, kind, 0.0) for kind in _WORKING) - time.process_time()


def device_name(device: torch.device) -> str:
    """What the device calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        # Linux's platform.processor() is empty or just "x86_64".
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware itself multiplies bfloat16; elsewhere it is emulated, and slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def memory_formats(device: torch.device) -> tuple[str, ...]:
    """torch's names of how maps may lie in this device's memory, the usual one first: most networks are faster so."""
    return ("channels_last", "contiguous_format") if device.type in ("cpu", "cuda") else ("contiguous_format",)


def set_memory_format(network: nn.Module, memory_format: str) -> None:
    """Lay a network's weights so; its maps follow them, whatever way the images lie."""
    network.to(memory_format=getattr(torch, memory_format))


def compiled(network: nn.Module) -> nn.Module:
    """The same network, with the same weights, as one program that torch makes of it when it first runs.

    On an NVIDIA GPU its kernels are started together, as CUDA graphs. Sets what torch.compile does in this process.
    """
    # Else a network with hooks runs the program of an equal one without, and nobody sees its features.
    torch._dynamo.config.skip_nnmodule_hook_guards = False
    # Of students side by side each kind has a program, and one more for the last, smaller batch: 8 are soon used up.
    torch._dynamo.config.recompile_limit = 64
    on_gpu = next(network.parameters()).device.type == "cuda"
    mode = "reduce-overhead" if on_gpu else None
    return cast(nn.Module, torch.compile(network, fullgraph=True, dynamic=False, mode=mode))


@contextmanager
def compiling(what: str) -> Iterator[None]:
    """Turn whatever a compiler, or the lack of one, can raise into a KDError that says it was about `what`."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise KDError(f"torch.compile cannot make a program of {what} on this machine ({type(error).__name__}: "
                      f"{reason}). Train with --compile never, or mend what it names.") from error


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a network runs at a precision: `float32` or `bfloat16`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, in a process that trains and then ends.

    A layer's maps are megabytes. glibc hands such blocks back to the system and asks for them again at every step, with
    a page fault for every 4 KiB: a step of resnet8 takes 1.1 to 1.4 times as long on two cores. Other C libraries are
    left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    # Either call ends glibc's own adapting. An older one refuses so large a first threshold: the second alone would
    # have every large block handed back at once.
    if mallopt and mallopt(_M_MMAP_THRESHOLD, 2**30):
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one CPU thread, for what a person waits for while a run may be in training.

    On two cores of which a run holds one, Grad-CAM of a photo with two ImageNet networks takes 0.2 s on one thread and
    5 s on two, since every layer waits for the thread that has no core. On two idle cores a second thread saves 0.1 s.
    Only the calling Python thread is held to one: several may be inside at once, and leave in any order.
    """
    with _SETTING:  # a thread that meets torch for the first time takes over what was set last, by whomever
        before = torch.get_num_threads()
    _set_own_threads(1)
    try:
        yield
    finally:
        _set_own_threads(before)


_SETTING = threading.Lock()


def _set_own_threads(count: int) -> None:
    """Set torch's CPU threads of the calling Python thread, and leave those of threads to come as they were.

    torch has a number for each Python thread, and one that a new thread begins with: `set_num_threads` sets both.
    """
    with _SETTING, ThreadPoolExecutor(1) as fresh:
        usual = fresh.submit(torch.get_num_threads).result()
        torch.set_num_threads(count)
        fresh.submit(torch.set_num_threads, usual).result()


@contextmanager
def workers(count: int, threads: int) -> Iterator[ThreadPoolExecutor]:
    """`count` Python threads, each with `threads` CPU threads of torch; they end with the block."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)  # MKL's number is one for all threads


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
