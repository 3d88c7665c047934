"""The devices a network can run on, and what each does best."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch

from kdengine.errors import KDError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def choose_device(asked: str) -> torch.device:
    """The device asked for; `auto` takes an NVIDIA GPU, else Apple's, else the CPU. Raises KDError if it is absent."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        asked = next(name for name, present in there.items() if present)
    if not there[asked]:
        raise KDError(f"This machine has no {asked} device. It has: {', '.join(n for n, ok in there.items() if ok)}.")
    return torch.device(asked)


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


def memory_format(device: torch.device) -> torch.memory_format:
    """Channels last, which convolutions on CPUs and NVIDIA GPUs run fastest in; plain on other devices."""
    return torch.channels_last if device.type in ("cpu", "cuda") else torch.contiguous_format


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
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one CPU thread, for what a person waits for while a run may be in training.

    On two cores of which a run holds one, Grad-CAM of a photo with two ImageNet networks takes 0.2 s on one thread and
    5 s on two, since every layer waits for the thread that has no core. On two idle cores a second thread saves 0.1 s.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def workers(count: int, threads: int) -> Iterator[ThreadPoolExecutor]:
    """`count` Python threads, each with `threads` CPU threads of torch; they end with the block."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)  # MKL's number is one for all threads


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
