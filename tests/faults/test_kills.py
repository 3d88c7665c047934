"""Processes killed with SIGKILL, at any moment: nothing that was written is lost, and nothing half written is seen."""

import os
import random
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

import kdengine
from kdengine import files, paths
from kdengine.configuration import Configuration
from kdengine.runs import control, processes, records, references, store, watched, worker

EPOCHS = 12
ASKED = Configuration(method="kd", teacher="digits-teacher", share=0.1, epochs=EPOCHS, batch_size=32,
                      precision="float32", threads=1, device="cpu")
PATIENCE_S = 300


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Weights and rows of a run that was never killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDENGINE_RUNS", str(tmp_path_factory.mktemp("undisturbed")))
        patch.setattr(processes, "launch", lambda *_: None)
        run, = control.submit([ASKED])
        worker.work([run])
        return student(run), rows(run)


def student(run):
    return load_file(store.directory(run) / records.STUDENT)


def rows(run):
    return [{key: value for key, value in row.items() if key not in ("seconds", "own_seconds", "images_per_second")}
            for row in store.history(run)]


def until(condition):
    """Wait for another process; fails, rather than hangs, when it never happens."""
    deadline, tick = time.monotonic() + PATIENCE_S, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        tick.wait(0.01)


class Reader:
    """Reads a run's record and history without a pause, as a page would, and keeps what it cannot read."""

    def __init__(self, run):
        self.run, self.wrong, self.reads = run, [], 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.read)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def read(self):
        reached = 0
        while not self.done.wait(0.005):
            try:
                epoch = store.read(self.run).status["epoch"]
                assert epoch >= reached
                reached = epoch
                assert [row["epoch"] for row in store.history(self.run)][:epoch] == list(range(1, epoch + 1))
                assert [record.id for record in store.all_runs() if record.id == self.run] == [self.run]
            except Exception as error:
                self.wrong.append(error)
            self.reads += 1


def kill(run, moment):
    """Kill the run's worker at a moment, most often some time after its next epoch, else as it starts.

    One that ended by itself before is none to kill.
    """
    reached, soon = store.read(run).status["epoch"], moment.random() < 0.25
    pause_s = moment.uniform(0, 4 if soon else 0.4)
    until(lambda: soon or store.read(run).status["epoch"] > reached or store.state(run) not in records.ACTIVE)
    threading.Event().wait(pause_s)
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if run in process.cmdline():
                process.kill()
                process.wait()
    until(lambda: not store.alive(run))


def train_killing(seed, most, undisturbed):
    """One run, its worker killed at most so often, and resumed each time to its end; returns how often it was killed.
    """
    moment, kills = random.Random(seed), 0
    run, = control.submit([ASKED])
    with Reader(run) as reader:
        while kills < most:
            kill(run, moment)
            if store.state(run) == records.FINISHED:
                break
            kills += 1
            assert store.state(run) == records.INTERRUPTED
            reached = store.read(run).status["epoch"]
            assert rows(run)[:reached] == undisturbed[1][:reached]
            if reached:
                assert (store.directory(run) / f"resume-{reached}.pt").is_file()
                references.open_reference(run)
            control.resume([run])
        until(lambda: not store.alive(run))  # a finished one's worker still tidies up
    assert store.state(run) == records.FINISHED, store.log(run)
    assert reader.wrong == []
    assert reader.reads > 10
    weights, history = undisturbed
    assert rows(run) == history
    assert all(torch.equal(weights[name], tensor) for name, tensor in student(run).items())
    answers = kdengine.runs.answers_over_epochs(run)
    assert len(answers) == ASKED.epochs and np.isfinite(answers).all()
    left = {path.name for path in store.directory(run).iterdir()}
    assert left == {records.RECORD, records.HISTORY, records.PROGRESS, records.STUDENT, records.BEST_STUDENT,
                    records.PREDICTIONS, watched.FILE, watched.SNAPSHOTS, store.LOCK, store.LOG}
    return kills


def test_a_worker_killed_now_and_then_ends_as_if_it_had_not_been(undisturbed):
    assert train_killing(0, 3, undisturbed) >= 1


@pytest.mark.slow
def test_a_hundred_kills_lose_nothing(undisturbed):
    kills = seed = 0
    while kills < 100:
        seed += 1
        kills += train_killing(seed, 100 - kills, undisturbed)
    assert seed < 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot copy a process")
def test_a_submit_killed_at_any_touch_of_the_disk_leaves_whole_runs_or_none(monkeypatch):
    """Of a method of two stages: two runs, each with its record in it or not there."""
    monkeypatch.setattr(processes, "launch", lambda *_: None)
    asked = Configuration(method="fsp", teacher="digits-teacher", epochs=1)
    control.submit([asked])  # imports what it needs
    root = paths.runs_root()
    seen, touches, ended = set(), 0, False
    while not ended:
        shutil.rmtree(root, ignore_errors=True)
        touches += 1
        child = os.fork()
        if child == 0:
            _submit_and_die(asked, root, touches)
        _, status = os.waitpid(child, 0)
        ended = os.WIFEXITED(status)
        assert os.WIFSIGNALED(status) != ended
        there = {path.name for path in root.glob("[!.]*")} if root.exists() else set()
        assert {record.id for record in store.all_runs()} == there
        assert {store.state(run) for run in there} <= {records.INTERRUPTED}
        seen.add(len(there))
        _age(root)
        files.sweep(root)
        assert {path.name for path in root.glob("*")} == there
    assert touches > 12
    assert seen == {0, 1, 2}


def _submit_and_die(asked, root, touches):
    """In a copy of this process: submit, and be killed at the so-manieth touch of the runs folder."""
    left = touches

    def count(event, given):
        nonlocal left
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "fcntl.flock") and (
                event == "fcntl.flock" or str(given[0]).startswith(str(root))):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(count)
        control.submit([asked])
    finally:
        os._exit(0 if left > 0 else 1)


def _age(root):
    """As if all in a folder had been written yesterday."""
    for path in root.glob("*"):
        os.utime(path, (time.time() - 86_400,) * 2)
