"""Disks that are full or read-only: a sentence, never a traceback, and the last complete epoch is kept.

Real ones, small file systems in memory and read-only views of folders: to the superuser no folder is unwritable.
"""

import dataclasses
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file
from streamlit.testing.v1 import AppTest

from explorer.wording import as_text
from kdengine import files, recipes
from kdengine.__main__ import main
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.recipes import plans
from kdengine.runs import checkpoints, control, processes, records, references, results, store, worker

ROOT = Path(__file__).resolve().parent.parent.parent
KD = Configuration(method="kd", teacher="digits-teacher", share=0.1, epochs=3, batch_size=32, precision="float32",
                   threads=1, device="cpu")
READ_ONLY, FULL = "Read-only file system", "No space left on device"


@contextmanager
def mounted(place, *words):
    """Something mounted on a folder; the test skips, and says why, where that is not allowed."""
    place.mkdir(parents=True, exist_ok=True)
    if shutil.which("mount") is None:
        pytest.skip("this system has no mount command")
    done = subprocess.run(["mount", *words, str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def disk(tmp_path):
    """The runs folder on a disk of its own, of 64 MB."""
    with mounted(tmp_path / "runs", "-t", "tmpfs", "-o", "size=64m", "none") as place:
        yield place


@contextmanager
def read_only(folder):
    """The folder as on a read-only disk."""
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield


def fill(place, left=0):
    """Take all room of a disk but so many bytes; returns the file that takes it."""
    filler = place / ".filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() // 4096 * 4096 - left))
    return filler


def test_a_disk_without_room_is_refused_before_anything_is_made(tmp_path, waiting):
    with mounted(tmp_path / "runs", "-t", "tmpfs", "-o", "size=40m", "none") as place:
        run, = control.submit([KD])
        control.stop(run)
        worker.work([run])
        before = store.read(run)
        fill(place, left=30_000_000)
        listed = sorted(place.rglob("*"))
        sentence = (rf"{place} has 30\.0 MB left on its disk; this needs about 4\d\.\d MB\. Free some space there, or "
                    "choose another folder with KDENGINE_RUNS")
        with pytest.raises(KDError, match=sentence):
            control.submit([dataclasses.replace(KD, method="fsp")])  # two runs: each alone would fit
        with pytest.raises(KDError, match=sentence):
            control.submit([KD, KD])
        fill(place, left=8192)
        with pytest.raises(KDError, match=r"has 0\.0 MB left on its disk; this needs about 2\d\.\d MB"):
            control.resume([run])
        assert sorted(place.rglob("*")) == listed
        assert store.read(run) == before


def test_on_a_read_only_disk_everything_reads_and_what_writes_says_why(disk, nobody):
    gone, = control.submit([KD])
    halted, = control.submit([KD])
    store.set_state(store.read(halted), records.STOPPED, reason="Stopped on request.")
    lives, = control.submit([KD])
    plan = recipes.plan("six_methods")
    recipes.stop(plan)
    with FileLock(store.directory(lives) / store.LOCK), read_only(disk):
        assert {record.id: store.state(record.id) for record in store.all_runs()} == {
            gone: "interrupted", halted: "stopped", lives: "queued"}
        assert results.rows()
        assert {each["state"] for each in recipes.progress(plan)["networks"]} == {"waiting"}
        for refused in (lambda: control.submit([KD]), lambda: control.stop(lives), lambda: control.resume([gone]),
                        lambda: control.remove(halted), lambda: recipes.start(plan), lambda: recipes.stop(plan),
                        lambda: recipes.run(plan)):
            with pytest.raises(KDError, match=rf"{disk}.* cannot be written: {READ_ONLY}\. Make it writable, or "):
                refused()
    assert {record.id for record in store.all_runs()} == {gone, halted, lives}
    assert store.read(gone).state == records.QUEUED


def test_the_command_line_says_a_sentence(disk, nobody, capsys, tmp_path):
    run, = control.submit([KD])
    words = ["distill", "--method", "kd", "--detach"]

    def told(*words):
        assert main([str(word) for word in words]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        return err

    with read_only(disk):
        for each in (words, ["runs", run, "--resume"], ["runs", run, "--remove"], ["recipe", "six_methods"]):
            assert f"cannot be written: {READ_ONLY}. Make it writable" in told(*each)
        assert main(["runs"]) == 0
        assert run in capsys.readouterr().out
    foreign = tmp_path / "weights.pth"
    torch.save(checkpoints.load(references.locate("digits-resnet8-kd")).net.state_dict(), foreign)
    fill(disk, left=100_000)
    assert "MB left on its disk; this needs about" in told(*words)
    assert FULL in told("import", foreign, disk / "mine.safetensors", "--model", "resnet8", "--data", "digits",
                        "--mean", 0, 0, 0, "--std", 1, 1, 1)
    assert FULL in told("export", "digits-resnet8-kd", disk / "x.pt", "--format", "torchscript")
    assert {path.name for path in disk.iterdir()} == {run, ".filler"}


def test_the_distill_page_says_a_sentence(disk, nobody):
    run, = control.submit([KD])
    with read_only(disk):
        for view, key in (("Demonstration", "Start"), ("Your own runs", "Start"), ("Your own runs", "Resume")):
            at = AppTest.from_file(ROOT / "pages" / "distill.py", default_timeout=120)
            at.query_params["view"] = view
            assert not at.run().exception
            button, = (each for each in at.button if each.label == key)
            button.click().run()
            assert not at.exception
            assert f"cannot be written: {READ_ONLY}." in " ".join(each.value for each in (*at.error, *at.info))
    assert [record.id for record in store.all_runs()] == [run]


def test_the_recipes_page_says_a_sentence(disk, monkeypatch):
    plan = recipes.plan("response_vs_feature")
    recipes.stop(plan)

    def press(at, label):
        button, = (each for each in at.button if each.label == label)
        button.click().run()
        assert not at.exception
        return [each.value for each in at.toast]

    said = as_text(
        f"{plans._place(plan)} cannot be written: {READ_ONLY}. Make it writable, or choose another folder.")
    with read_only(disk):
        at = AppTest.from_file(ROOT / "pages" / "recipes.py", default_timeout=120).run()
        assert press(at, "Run") == [said]
        monkeypatch.setattr(plans, "running", lambda asked: True)
        at = AppTest.from_file(ROOT / "pages" / "recipes.py", default_timeout=120).run()
        assert press(at, "Stop") == [said]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The weights and rows of the run, had its disk never been full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDENGINE_RUNS", str(tmp_path_factory.mktemp("undisturbed")))
        patch.setattr(processes, "launch", lambda *_: None)
        run, = control.submit([KD])
        worker.work([run])
        return student(run), rows(run)


def student(run):
    return load_file(store.directory(run) / records.STUDENT)


def rows(run):
    return [{key: value for key, value in row.items() if key not in ("seconds", "own_seconds", "images_per_second")}
            for row in store.history(run)]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("file", "epochs", "left", "state"), [
    (records.STUDENT, 1, 8192, records.FAILED),
    (records.STUDENT, 1, 0, records.INTERRUPTED),  # there is no room for the reason
    ("resume-2.pt", 1, 8192, records.FAILED),
    (records.RECORD, 2, 0, records.INTERRUPTED),
    (records.PREDICTIONS, 3, 8192, records.FAILED),
])
def test_a_run_whose_disk_fills_up_ends_with_the_reason_and_goes_on_where_it_was(
    disk, waiting, monkeypatch, undisturbed, file, epochs, left, state
):
    """file: before which the disk fills up to `left` bytes, once so many epochs have a row."""
    run, = control.submit([KD])
    filler, temporary = [], files.temporary

    def fills(path):
        if path.name == file and len(store.history(run)) == epochs and not filler:
            filler.append(fill(disk, left))
        return temporary(path)

    monkeypatch.setattr(files, "temporary", fills)
    sentence = f"cannot be written: {FULL}. Free some space there, then try again."
    if state == records.FAILED:
        worker.work([run])
        assert store.read(run).status["reason"] == f"{store.directory(run)} {sentence}"
    else:
        with pytest.raises(KDError) as caught:
            worker.work([run])
        assert f"That could not be noted in the record: {store.directory(run) / records.RECORD} {sentence}" in str(
            caught.value)
    assert store.state(run) == state
    reached = store.read(run).status["epoch"]
    assert reached == (3 if file == records.PREDICTIONS else 1)
    assert rows(run)[:reached] == undisturbed[1][:reached]
    assert (store.directory(run) / f"resume-{reached}.pt").is_file()
    assert not list(store.directory(run).glob(".*"))
    with pytest.raises(KDError, match="MB left on its disk; this needs about"):
        control.resume([run])
    filler[0].unlink()
    control.resume([run])
    worker.work([run])
    assert store.state(run) == records.FINISHED
    assert same(student(run), undisturbed[0])
    assert rows(run) == undisturbed[1]
    assert not list(store.directory(run).glob("resume-*"))


def test_progress_that_cannot_be_written_ends_no_training(waiting, undisturbed):
    run, = control.submit([KD])
    (store.directory(run) / records.PROGRESS).mkdir()
    worker.work([run])
    assert store.state(run) == records.FINISHED
    assert same(student(run), undisturbed[0])


def test_a_worker_that_can_write_nothing_says_so_where_it_prints(disk, nobody):
    run, = control.submit([KD])
    filler = fill(disk)
    done = subprocess.run([sys.executable, "-m", "kdengine", "worker", run], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    line, = done.stderr.splitlines()
    assert line.startswith(f"kdengine: {store.directory(run) / records.RECORD} cannot be written: {FULL}. ")
    assert store.state(run) == records.INTERRUPTED
    filler.unlink()
    assert store.read(run).status["state"] == records.QUEUED
