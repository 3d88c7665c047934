"""Runs: from configuration to record, through real workers that are stopped, killed and resumed."""

import dataclasses
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors.torch import load_file

import kdengine
from kdengine import models, paths, training
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.measures import evaluation
from kdengine.runs import (
    checkpoints,
    control,
    opening,
    processes,
    records,
    references,
    results,
    session,
    store,
    watched,
    worker,
)
from kdengine.training import speeds
from tests.kdengine import made

SMALL = {"share": 0.1, "epochs": 2, "batch_size": 32, "precision": "float32", "threads": 1}
TEACHER = "digits-teacher"
PATIENCE_S = 120
LAUNCH = processes.launch


def configuration(method="none", **given):
    return Configuration(**{**SMALL, "method": method, "teacher": TEACHER, **given})


@pytest.fixture
def pictures(tmp_path):
    """A folder of two classes with six training images each, in the data root."""
    place = tmp_path / "data" / "pictures"
    for split, count in (("train", 6), ("test", 2)):
        for name in ("left", "right"):
            (place / split / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (32, 32), (number, 0, 0)).save(place / split / name / f"{number}.png")
    return place


OWN = """
from torch import nn

def mlp(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, classes))

def pooling(classes):
    return nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3 * 16 * 16, classes))

def probabilities(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, classes), nn.Softmax(1))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of a person's own networks, a teacher of them that knows the digits, and one that knows `pictures`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDENGINE_TRUST", "own_of_runs")
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own_of_runs.py").write_text(OWN)
    teacher = models.build("own_of_runs:mlp", [str(digit) for digit in range(10)])
    checkpoints.save(teacher, tmp_path / "mlp-teacher")
    checkpoints.save(models.build("resnet8", ("left", "right"), input_size=16), tmp_path / "two-classes-of-16")


def finish(*configurations):
    """Submit a group and train it in this process."""
    ids = control.submit(configurations)
    worker.work(ids)
    return ids


def until(condition):
    """Wait for another process; fails, rather than hangs, when it never happens."""
    deadline, tick = time.monotonic() + PATIENCE_S, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        tick.wait(0.05)


def ended(run):
    """Wait until the run's worker is gone."""
    FileLock(store.directory(run) / store.LOCK).acquire(timeout=PATIENCE_S).lock.release()


def student(run):
    return load_file(store.directory(run) / records.STUDENT)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_group_leaves_complete_records(waiting):
    ids = finish(configuration("kd", hyperparameters={"temperature": 4.0, "alpha": 0.9}), configuration())
    for run in ids:
        record, folder = store.read(run), store.directory(run)
        assert record.state == store.state(run) == "finished"
        assert record.ignored == []  # else a field it writes is missing in `schema`
        assert record.status["epoch"] == 2
        assert [row["epoch"] for row in store.history(run)] == [1, 2]
        teacher = checkpoints.describe(references.locate(TEACHER))
        assert record.teacher["digest"] == teacher["digest"]
        assert record.teacher["test"]["top1"] == pytest.approx(teacher["scores"]["test"]["top1"])
        assert record.data["train"] == record.data["labelled"] < 200
        assert record.environment["packages"]["torch"] == torch.__version__.split("+")[0] or torch.__version__
        assert record.environment["precision"]["student"] == "float32"
        assert record.result["side_by_side"] == 2
        test = record.result["test"]
        predictions = load_file(folder / records.PREDICTIONS)
        assert test["n"] == len(predictions["target"])
        assert (predictions["logits"].argmax(1) == predictions["target"]).double().mean().item() == pytest.approx(
            test["top1"])
        assert test["kl_to_teacher"] >= 0
        about = checkpoints.describe(folder / records.STUDENT)
        assert about["digest"] == record.files[records.STUDENT]
        assert about["scores"]["test"] == test
        names = {path.name for path in folder.iterdir()} - {store.LOG}
        assert names == {records.RECORD, records.HISTORY, records.PROGRESS, records.STUDENT, records.BEST_STUDENT,
                         records.PREDICTIONS, watched.FILE, store.LOCK}


def test_times_are_taken_alone_once_the_whole_group_has_trained(waiting, monkeypatch):
    """Also where a student's training ends before that of another."""
    seen, measure = [], evaluation.latency

    def latency(network):
        seen.append([(store.read(run).status["epoch"], threading.active_count()) for run in ids])
        return measure(network)

    monkeypatch.setattr(evaluation, "latency", latency)
    ids = control.submit([configuration("kd", threads=2), configuration(threads=2), configuration("rkd", threads=2)])
    threads = threading.active_count()
    worker.work(ids)
    assert seen == 3 * [3 * [(2, threads)]]  # none of those that trained at the same time is left
    for run in ids:
        latency = store.read(run).result["latency"]
        assert latency["repeats"] >= 50 and latency["busy"] == (latency["others_cores"] > 0.1 * os.cpu_count())


@pytest.mark.parametrize(("asked", "nats", "taken"), [
    ("auto", 0.0019, "bfloat16"), ("auto", 0.0021, "float32"), ("bfloat16", 0.0021, "bfloat16"),
])
def test_a_teacher_answers_in_half_precision_where_that_changes_little(waiting, monkeypatch, asked, nats, taken):
    """Else in the usual way of float32, which is another in memory here."""
    monkeypatch.setattr(speeds, "execution", lambda *_, **__: speeds.Execution("bfloat16", "contiguous_format"))
    monkeypatch.setattr(evaluation, "rounding", lambda *_: nats)
    laid, lay = {}, opening.set_memory_format
    monkeypatch.setattr(opening, "set_memory_format", lambda network, how: (
        laid.update({network.architecture: how}) or lay(network, how)))
    run, = finish(configuration("kd", epochs=1, precision=asked))
    environment = store.read(run).environment
    assert environment["precision"] == {"student": "bfloat16", "teacher": taken}
    assert environment["memory_formats"] == {
        "student": "contiguous_format", "teacher": "contiguous_format" if taken == "bfloat16" else "channels_last"}
    assert list(laid.values()) == [environment["memory_formats"][role] for role in ("teacher", "student")]


def test_networks_lie_in_memory_as_is_fastest_and_stay_so(waiting, monkeypatch):
    """What was settled when it began holds for the run, whatever is settled later."""
    ways = {False: speeds.Execution("float32", "channels_last"), True: speeds.Execution("float32", "contiguous_format")}
    monkeypatch.setattr(speeds, "execution", lambda *_, training: ways[training])
    lain, train = [], training.train

    def seen(learners, teacher, *what, **how):
        lain.append([each.net.conv1.weight.is_contiguous() for each in (learners[0].network, teacher)])
        train(learners, teacher, *what, **how)

    monkeypatch.setattr(training, "train", seen)
    undisturbed, = finish(configuration("kd", precision="auto"))
    run, = control.submit([configuration("kd", precision="auto")])
    with monkeypatch.context() as patch:
        patch.setattr(session, "_STOP_LOOK_S", 0)
        patch.setattr(store, "stop_requested", lambda run: store.read(run).status["epoch"] == 1)
        worker.work([run])
    assert store.state(run) == records.STOPPED
    monkeypatch.setattr(speeds, "execution", lambda *_, training: ways[not training])
    control.resume([run])
    worker.work([run])
    assert lain == [[True, False]] * 3
    assert store.read(run).environment["memory_formats"] == {"student": "contiguous_format", "teacher": "channels_last"}
    assert same(student(run), student(undisturbed))


def test_a_teacher_that_answered_otherwise_is_asked_again(waiting, monkeypatch):
    for way in (speeds.Execution("float32", "channels_last"), speeds.Execution("float32", "contiguous_format"),
                speeds.Execution("bfloat16", "channels_last")):
        monkeypatch.setattr(speeds, "execution", lambda *_, way=way, **__: way)
        monkeypatch.setattr(evaluation, "rounding", lambda *_: 0.0)
        finish(*[configuration("kd", precision="auto", epochs=1)] * 2)
    assert len(list((paths.runs_root() / ".teacher-cache").iterdir())) == 3


@pytest.mark.parametrize(("asked", "threads", "compiled"), [("never", 1, False), ("always", None, True)])
def test_students_are_compiled_where_that_is_asked_for_and_take_turns_then(
    waiting, monkeypatch, asked, threads, compiled
):
    """And a run goes on as it began."""
    monkeypatch.setattr(speeds, "student_threads", lambda *_: 1)
    monkeypatch.setattr("kdengine.training.learner.compiled", lambda network: torch.compile(network, backend="eager"))
    both = [configuration(name, compile=asked, share=0.05) for name in ("kd", "none")]
    undisturbed = finish(*both)
    ids = control.submit(both)
    with monkeypatch.context() as patch:
        patch.setattr(session, "_STOP_LOOK_S", 0)
        patch.setattr(store, "stop_requested", lambda run: store.read(run).status["epoch"] == 1)
        worker.work(ids)
    control.resume(ids)
    worker.work(ids)
    for run in ids:
        record = store.read(run)
        assert record.state == records.FINISHED
        assert record.environment["compiled"] == compiled
        assert record.environment["student_threads"] == threads
        assert same(student(run), student(undisturbed.pop(0)))


def test_where_torch_cannot_compile_a_run_that_asks_for_it_says_so(waiting, monkeypatch):
    def fails(network):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr("kdengine.training.learner.compiled", fails)
    run, = finish(configuration(compile="always", share=0.05))
    record = store.read(run)
    assert record.state == records.FAILED
    assert ("torch.compile cannot make a program of resnet8 on this machine (RuntimeError: no C++ compiler)."
            in record.status["reason"])


@pytest.mark.parametrize("precision", ["auto", pytest.param("float32", marks=pytest.mark.slow)])
def test_equal_runs_beside_a_busy_process_are_bit_equal(waiting, precision):
    """Nothing that touches a number follows the load of the moment."""
    spin = [sys.executable, "-c", "while True: pass"]
    digests, ways = set(), set()
    for number in range(5):
        busy = [subprocess.Popen(spin) for _ in range(number % 3)]  # quiet, busy, busier, and again
        try:
            run, = finish(configuration("kd", precision=precision, threads=None, epochs=1))
        finally:
            for process in busy:
                process.kill()
                process.wait()
        record = store.read(run)
        digests.add(record.files[records.STUDENT])
        ways.add((record.environment["precision"]["student"], record.environment["memory_formats"]["student"]))
    assert len(digests) == 1
    assert ways == {tuple(speeds.default_execution(models.build("resnet8", ["0", "1"]), precision))}


def test_a_settled_way_is_taken_and_recorded(waiting, monkeypatch):
    network = models.build("resnet8", ["0"] * 10, input_size=32)
    monkeypatch.setattr(speeds, "_require_quiet", lambda: None)
    seconds = {("bfloat16", "contiguous_format"): 0.5}
    monkeypatch.setattr(speeds, "_step_seconds", lambda ways, _: {way: seconds.get(way, 1.0) for way in ways})
    torch.set_num_threads(SMALL["threads"])
    speeds.settle(network, SMALL["batch_size"], training=True)
    run, = finish(configuration(precision="auto", epochs=1))
    environment = store.read(run).environment
    assert environment["precision"]["student"] == "bfloat16"
    assert environment["memory_formats"]["student"] == "contiguous_format"
    run, = finish(configuration(precision="bfloat16", epochs=1))  # asked for: the usual way of it, on every machine
    assert store.read(run).environment["memory_formats"]["student"] == "channels_last"


def test_a_student_trained_at_once_with_others_goes_on_alone_as_it_began(waiting, monkeypatch):
    """Two students on a thread each; one is stopped after its first epoch and goes on when the other is done."""
    monkeypatch.setattr(speeds, "student_threads", lambda *_: 1)
    asked = [configuration(name, threads=2, epochs=2) for name in ("kd", "none")]
    given, train = [], training.train

    def seen(*what, **how):
        given.append(how["student_threads"])
        train(*what, **how)

    monkeypatch.setattr(training, "train", seen)
    undisturbed, _ = finish(*asked)
    environment = store.read(undisturbed).environment
    assert (environment["threads"], environment["student_threads"]) == (2, 1)

    ids = control.submit(asked)
    with monkeypatch.context() as patch:
        patch.setattr(session, "_STOP_LOOK_S", 0)
        patch.setattr(store, "stop_requested", lambda run: run == ids[0] and store.read(run).status["epoch"] == 1)
        worker.work(ids)
    assert [store.state(run) for run in ids] == [records.STOPPED, records.FINISHED]
    monkeypatch.setattr(speeds, "student_threads", lambda *_: None)  # as is right for one alone
    control.resume(ids[:1])
    worker.work(ids[:1])
    assert store.read(ids[0]).environment["student_threads"] == 1
    assert given == [1, 1, 1]
    assert same(student(ids[0]), student(undisturbed))


@pytest.mark.parametrize(("began", "cached"), [
    ({"teacher_cache": True}, True), ({"teacher_cache": False}, False), ({}, False),
])
def test_a_run_goes_on_with_the_live_teacher_or_the_kept_one_as_it_began(waiting, monkeypatch, began, cached):
    """Runs begun before anything was kept say nothing of it."""
    given, train = [], training.train

    def seen(*what, **how):
        given.append(how["teacher_cache"] is not None)
        train(*what, **how)

    monkeypatch.setattr(training, "train", seen)
    run, = control.submit([configuration("kd", epochs=2)])
    with monkeypatch.context() as patch:
        patch.setattr(session, "_STOP_LOOK_S", 0)
        patch.setattr(store, "stop_requested", lambda run: store.read(run).status["epoch"] == 1)
        worker.work([run])
    control.resume([run])
    record = store.read(run)
    del record.environment["teacher_cache"]
    record.environment |= began
    record.save(store.directory(run))
    worker.work([run])
    assert given == [True, cached]
    assert store.read(run).state == records.FINISHED


def test_a_class_left_out_is_in_the_record_and_in_no_training_image(waiting):
    left, whole = (store.read(finish(configuration("kd", epochs=1, **given))[0])
                   for given in ({"without_class": 3}, {}))
    assert (left.data["without_class"], whole.data["without_class"]) == (3, None)
    assert 0 < whole.data["train"] - left.data["train"] < 0.2 * whole.data["train"]
    assert left.data["classes"] == whole.data["classes"]
    assert left.result["test"]["n"] == whole.result["test"]["n"]
    about = checkpoints.describe(store.directory(left.id) / records.STUDENT)
    assert about["data"]["without_class"] == 3


def test_an_adapter_is_saved_beside_the_student_never_inside(waiting):
    run, = finish(configuration("features_mse", epochs=1))
    adapter = load_file(store.directory(run) / records.ADAPTER)
    assert [name for name in adapter if name.startswith("maps.")] == list(adapter)
    assert not any("maps" in name for name in student(run))


def test_a_stopped_and_resumed_run_equals_an_undisturbed_one_to_the_bit(waiting, monkeypatch):
    asked = configuration("features_mse", epochs=3)
    whole, = finish(asked)
    run, = control.submit([asked])
    stopped = threading.Event()

    def stop_in_second_epoch(path, row):
        records_append(path, row)
        if not stopped.is_set():
            stopped.set()
            (store.directory(run) / store.STOP).touch()

    records_append = records.append_row
    monkeypatch.setattr(records, "append_row", stop_in_second_epoch)
    monkeypatch.setattr("kdengine.runs.session._STOP_LOOK_S", 0)
    worker.work([run])
    assert store.state(run) == "stopped"
    assert store.read(run).status["epoch"] == 1
    control.resume([run])
    worker.work([run])
    assert store.state(run) == "finished"
    assert same(student(run), student(whole))
    drop = ("seconds", "own_seconds", "images_per_second")
    rows = [[{key: value for key, value in row.items() if key not in drop} for row in store.history(each)]
            for each in (run, whole)]
    assert rows[0] == rows[1]


def test_a_killed_worker_leaves_an_interrupted_run_that_can_be_resumed():
    asked = configuration("kd", epochs=40, hyperparameters={"temperature": 4.0, "alpha": 1.0})
    run, = control.submit([asked])
    until(lambda: len(store.history(run)) >= 2 or store.state(run) not in records.ACTIVE)
    assert store.state(run) == "running", store.log(run)
    listed = subprocess.run(["pgrep", "-f", f"worker {run}"], capture_output=True, text=True, check=True)
    process = int(listed.stdout.split()[0])
    assert os.getsid(process) != os.getsid(0)  # a session of its own: closing this one does not end it
    os.kill(process, signal.SIGKILL)
    ended(run)
    assert store.state(run) == "interrupted"
    reached = store.read(run).status["epoch"]
    assert 2 <= reached < 40
    control.resume([run])
    until(lambda: store.read(run).status["epoch"] > reached or store.state(run) not in records.ACTIVE)
    assert store.state(run) == "running", store.log(run)
    control.stop(run)
    ended(run)
    assert store.state(run) == "stopped"
    assert [row["epoch"] for row in store.history(run)] == list(range(1, store.read(run).status["epoch"] + 1))


def test_a_run_outlives_the_process_that_started_it():
    code = (f"from kdengine.configuration import Configuration; from kdengine.runs import control; "
            f"print(control.submit([Configuration(**{dataclasses.asdict(configuration(epochs=1))!r})])[0])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    run = done.stdout.strip()
    until(lambda: store.state(run) not in records.ACTIVE)
    assert store.state(run) == "finished", store.log(run)


def test_a_nan_fails_the_run_with_its_place_and_keeps_the_last_finite_epoch(waiting):
    bad, good = finish(configuration(learning_rate=1e30), configuration("label_smoothing", hyperparameters={}))
    assert store.state(bad) == "failed"
    assert "Epoch 1, step " in store.read(bad).status["reason"]
    assert store.read(bad).status["epoch"] == 0
    assert store.state(good) == "finished"


def test_a_run_that_ends_early_is_free_while_its_group_goes_on(waiting, monkeypatch):
    monkeypatch.setattr("kdengine.runs.session._STOP_LOOK_S", 0)
    monkeypatch.setattr("kdengine.runs.progress._PROGRESS_S", 0)
    bad, halted, good = control.submit([configuration(learning_rate=1e30, epochs=3), configuration(seed=0, epochs=3),
                                        configuration("label_smoothing", epochs=3)])
    append, seen = records.append_row, []

    def look(path, row):
        append(path, row)
        if path.parent.name == good:
            seen.append((store.state(bad), store.state(halted), store.progress(good)["epoch"]))
            if row["epoch"] == 1:
                (store.directory(halted) / store.STOP).touch()
            if row["epoch"] == 2:
                control.remove(bad)  # and the rest must not miss it
                monkeypatch.setattr(store, "state", lambda run: "gone" if run == bad else state(run))

    state = store.state
    monkeypatch.setattr(records, "append_row", look)
    worker.work([bad, halted, good])
    assert seen == [("running", "running", 0), ("failed", "stopped", 1), ("gone", "stopped", 2)]
    assert state(good) == "finished"
    assert store.read(halted).status["epoch"] == 1
    control.resume([halted])
    worker.work([halted])
    assert state(halted) == "finished"


@pytest.mark.parametrize(("what", "sentence"), [
    ("data", "The pictures of digits are not those this run began with"),
    ("teacher", "The teacher digits-teacher is not the one this run began with"),
])
def test_a_run_is_not_resumed_on_other_data_or_another_teacher(waiting, monkeypatch, what, sentence):
    run, = finish(configuration(epochs=1))
    record = store.read(run)
    record.configuration = dataclasses.replace(record.configuration, epochs=2)
    getattr(record, what)["digest"] = "another"
    store.set_state(record, "stopped")
    control.resume([run])
    worker.work([run])
    assert store.state(run) == "failed"
    assert sentence in store.read(run).status["reason"]


def test_what_has_gone_meanwhile_fails_the_run_with_a_sentence(waiting, pictures):
    run, = control.submit([configuration(data=f"folder:{pictures}", teacher=None)])
    shutil.rmtree(pictures)
    worker.work([run])
    assert store.state(run) == "failed"
    assert str(pictures) in store.read(run).status["reason"]


def test_what_nobody_foresaw_is_a_reason_too(waiting, monkeypatch, capsys):
    def breaks(*_, **__):
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr("kdengine.data.load", breaks)
    run, = finish(configuration())
    assert store.read(run).status["reason"] == "RuntimeError: the disk is on fire"
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("wrong", "sentence"), [
    ({"data": "digit"}, "Unknown data set 'digit'"),
    ({"views": "twist"}, "Unknown view policy 'twist'"),
    ({"method": "kdd"}, "Unknown method 'kdd'"),
    ({"student": "resnet9"}, "Unknown network 'resnet9'"),
    ({"method": "kd", "teacher": None}, "Method 'kd' needs a teacher"),
    ({"teacher": "digits-techer"}, "Unknown checkpoint 'digits-techer'. Did you mean 'digits-teacher'?"),
    ({"method": "kd", "hyperparameters": {"alpha": 2}}, "kd's alpha is 2"),
    ({"data": "cifar100", "teacher": None}, "CIFAR-100 is not on this machine."),
    ({"data": "folder:nowhere", "teacher": None}, "There is no folder 'nowhere'"),
    ({"data": "folder:empty", "teacher": None}, "has no folder train"),
    ({"data": "shapes", "teacher": "shapes-teacher", "image_size": 200},
     "image_size of shapes is 200; allowed is a number from 48 to 96."),
    ({"share": 1.0, "labels_per_class": 123}, "labels_per_class is 123; allowed is from 1 to 122"),
    ({"share": 0.1, "labels_per_class": 13}, "labels_per_class is 13; allowed is from 1 to 12"),
    ({"data": "folder:pictures", "labels_per_class": 6, "share": 1.0, "teacher": None},
     "labels_per_class is 6; allowed is from 1 to 5"),
    ({"without_class": 10}, "without_class is 10; allowed is the number of a class: 0 0, 1 1"),
    ({"threads": 3}, "threads is 3; this process has 2 CPU cores"),
    ({"warmup_epochs": 50.0}, "warmup_epochs is 50 of 2 epochs, so the learning rate is never reached"),
    ({"method": "kd", "teacher": "efficientnet_lite0"}, "'0' is none of the 1000 ImageNet classes"),
    ({"teacher": "shapes-teacher"}, "The teacher shapes-teacher knows 10 classes (circle, ellipse, ring, ...); the "
                                    "data set has 10 classes (0, 1, 2, ...)."),
    ({"teacher": "shapes-segmentation-teacher"}, "is for segmentation; these data are for classification."),
    ({"image_size": 64}, "The teacher digits-teacher takes images of 32 pixels; these have 64. Set --image-size 32"),
    ({"data": "folder:pictures", "teacher": "two-classes-of-16"}, "takes images of 16 pixels; these have 32. Set"),
    ({"student": "fpn_tiny"}, "fpn_tiny is for segmentation; these data have one class an image."),
    ({"method": "cwd"}, "Method 'cwd' is for segmentation; this is classification."),
    ({"student": "own_of_runs:mlp", "method": "fitnet"}, "The student has no feature maps"),
    ({"student": "own_of_runs:mlp", "method": "factor"}, "The student has no feature maps"),  # so has its first stage
    ({"student": "own_of_runs:mlp", "method": "fitnet_original"}, "The student has no feature maps"),
    ({"student": "own_of_runs:pooling", "method": "weights"}, "There is no convolution in net.0"),
    ({"student": "own_of_runs:probabilities"}, "own_of_runs:probabilities returns probabilities"),
    ({"teacher": "mlp-teacher", "method": "attention"}, "The teacher has no feature maps"),
])
def test_what_can_be_known_to_be_wrong_is_told_before_anything_is_written(
    waiting, monkeypatch, tmp_path, pictures, own, wrong, sentence
):
    monkeypatch.setattr("kdengine.devices.cores", lambda: 2)
    monkeypatch.setattr("kdengine.data.load", lambda *_, **__: pytest.fail("it would take longer than a moment"))
    (tmp_path / "data" / "empty").mkdir()
    with pytest.raises(KDError) as caught:
        control.submit([configuration(**wrong)])
    assert sentence in str(caught.value)
    assert list(paths.runs_root().glob("*")) == []


@pytest.mark.parametrize("right", [
    {"student": "own_of_runs:mlp", "method": "kd"}, {"teacher": "mlp-teacher", "method": "kd"}, {"threads": 2},
    {"share": 1.0, "labels_per_class": 122}, {"share": 0.1, "labels_per_class": 12},
    {"data": "folder:pictures", "labels_per_class": 5, "share": 1.0, "teacher": None},
    {"data": "folder:pictures", "image_size": 48, "teacher": None},
])
def test_what_is_right_is_not_refused(waiting, monkeypatch, pictures, own, right):
    monkeypatch.setattr("kdengine.devices.cores", lambda: 2)
    run, = control.submit([configuration(**right)])
    assert store.state(run) == "queued"


@pytest.mark.parametrize("hours", [-100, 0, 100])
def test_whether_a_queued_run_has_a_worker_is_known_at_once_whatever_the_clock_does(monkeypatch, hand_on, hours):
    clock = time.time
    kept = []
    monkeypatch.setattr(processes, "launch", lambda *what: kept or hand_on(*what))
    alive, = control.submit([configuration()])
    kept.append("from now on no worker starts")
    gone, = control.submit([configuration()])
    monkeypatch.setattr(time, "time", lambda: clock() + 3600 * hours)
    assert store.state(alive) == "queued"
    assert store.state(gone) == "interrupted"


def program(path, text):
    """A program in place of Python's."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_worker_is_alive_from_its_first_moment_and_no_longer_than_it_lives(monkeypatch, tmp_path):
    """It dies before it has imported anything; until then it waits to be told."""
    os.mkfifo(tmp_path / "told")
    monkeypatch.setattr(sys, "executable", program(tmp_path / "python", f"read line < {tmp_path / 'told'}; exit 1"))
    run, = control.submit([configuration()])
    assert store.state(run) == "queued"
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 1e6)
    assert store.state(run) == "queued"
    (tmp_path / "told").write_text("die\n")
    ended(run)
    assert store.state(run) == "interrupted"


@pytest.mark.parametrize("method", ["none", "fsp"])
def test_where_no_process_can_be_started_nothing_is_begun(monkeypatch, tmp_path, method):
    """Of two stages the second's worker is refused."""
    popen, left = subprocess.Popen, [*([program(tmp_path / "python", "exit 0")] if method == "fsp" else [])]

    def refused(words, **how):
        if not left:
            raise OSError(11, "Resource temporarily unavailable")
        return popen([left.pop()], **how)

    monkeypatch.setattr(processes.subprocess, "Popen", refused)
    with pytest.raises(KDError, match=r"No process can be started: Resource temporarily unavailable\."):
        control.submit([configuration(method)])
    assert store.all_runs() == []
    assert list(paths.runs_root().iterdir()) == []


def test_a_resume_that_starts_no_process_says_so_in_the_record(waiting, monkeypatch):
    run, = control.submit([configuration()])
    control.stop(run)
    worker.work([run])
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere")
        patch.setattr(processes, "launch", LAUNCH)
        with pytest.raises(KDError, match="No process can be started: No such file"):
            control.resume([run])
    assert store.state(run) == "failed"
    assert "No process can be started" in store.read(run).status["reason"]
    control.resume([run])
    assert store.state(run) == "queued"


def test_where_locks_cannot_be_handed_on_the_start_waits_until_the_worker_has_them(monkeypatch):
    """As on Windows."""
    monkeypatch.setattr(processes, "HANDS_ON", False)
    run, = control.submit([configuration()])
    assert store.state(run) in records.ACTIVE
    control.stop(run)
    ended(run)
    assert store.state(run) == "stopped"
    control.remove(run)
    assert store.all_runs() == []


def test_a_held_lock_is_a_living_worker(nobody):
    run, = control.submit([configuration()])
    with FileLock(store.directory(run) / store.LOCK):
        assert store.state(run) == "queued"
        with pytest.raises(KDError, match="only stopped, failed, interrupted runs can be resumed"):
            control.resume([run])
        with pytest.raises(KDError, match="stop it first"):
            control.remove(run)
    control.remove(run)
    with pytest.raises(KDError, match="There is no run"):
        store.read(run)


def test_probes_of_one_lock_do_not_see_each_other(nobody):
    run, = control.submit([configuration()])
    seen, start = [], threading.Barrier(8)

    def probe():
        start.wait()
        seen.extend(store.alive(run) for _ in range(20))

    threads = [threading.Thread(target=probe) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [False] * 160


def test_a_second_worker_of_the_same_run_leaves_it_alone(nobody, monkeypatch):
    run, = control.submit([configuration()])
    monkeypatch.setattr(worker, "_LOCK_PATIENCE_S", 0)
    with FileLock(store.directory(run) / store.LOCK):
        worker.work([run])
    assert store.read(run).state == "queued"


def test_a_run_stopped_in_the_queue_never_begins(waiting):
    run, = control.submit([configuration()])
    control.stop(run)
    worker.work([run])
    assert store.state(run) == "stopped"
    assert store.read(run).status["reason"] == "Stopped before it began."
    with pytest.raises(KDError, match="only a queued or running one can be stopped"):
        control.stop(run)


def test_the_oldest_queued_run_goes_first(nobody):
    first, second = (store.read(control.submit([configuration()])[0]) for _ in range(2))
    assert not worker._older_in_queue([second])  # nobody waits for the first
    with FileLock(store.directory(first.id) / store.LOCK):
        assert worker._older_in_queue([second])
    with FileLock(store.directory(second.id) / store.LOCK):
        assert not worker._older_in_queue([first])


def test_a_worker_leaves_alone_what_is_not_queued(waiting):
    """A second one started for the same run finds it finished."""
    run, = finish(configuration(epochs=1))
    before = store.read(run)
    worker.work([run])
    assert store.read(run) == before


@pytest.fixture
def in_the_queue(monkeypatch):
    """Every training slot is taken: what a worker does while it waits is called, one function a look, then it trains.
    """
    slots = paths.runs_root() / ".slots"
    slots.mkdir(parents=True)
    taken = [FileLock(slots / f"{slot}.lock").acquire() for slot in range(worker.SLOTS)]

    def wait(ids, *meanwhile):
        left = list(meanwhile)

        def sleep(seconds):
            if left:
                left.pop(0)()
            if not left:
                for each in taken:
                    each.lock.release()

        monkeypatch.setattr(worker, "time", SimpleNamespace(sleep=sleep, time=time.time))
        worker.work(ids)
        assert not left

    return wait


def test_a_run_stopped_while_its_group_waits_is_free_and_can_be_resumed(waiting, in_the_queue):
    halted, removed, other = control.submit([configuration(epochs=1), configuration("label_smoothing", epochs=1),
                                             configuration("kd", epochs=1)])

    def stop():
        for run in (halted, removed):
            with pytest.raises(KDError, match="is queued; stop it first"):
                control.remove(run)
            control.stop(run)
            with pytest.raises(KDError, match=f"Run {run} is still stopping; try again in a moment"):
                control.resume([run])

    def look():
        assert [store.state(run) for run in (halted, removed, other)] == ["stopped", "stopped", "queued"]
        assert [store.alive(run) for run in (halted, removed, other)] == [False, False, True]
        control.resume([halted])
        assert store.state(halted) == "queued"
        control.remove(removed)

    in_the_queue([halted, removed, other], stop, look)
    assert store.state(other) == "finished"
    worker.work([halted])
    assert store.state(halted) == "finished"
    assert {record.id for record in store.all_runs()} == {halted, other}


@pytest.mark.parametrize(("ends", "reason"), [
    (lambda first: store.set_state(store.read(first), "failed"), "was failed. Resume that one first, then this one."),
    (lambda first: shutil.rmtree(store.directory(first)), "has been removed. Start a new run."),
])
def test_a_run_that_loses_its_first_stage_while_its_group_waits_is_free(waiting, in_the_queue, ends, reason):
    second, other = control.submit([configuration("fsp", epochs=1), configuration("kd", epochs=1)])
    first = store.read(second).configuration.initial

    def look():
        assert store.state(second) == "failed"
        assert not store.alive(second)
        assert store.read(second).status["reason"] == f"Its first stage, {first}, {reason}"
        control.remove(second)

    in_the_queue([second, other], lambda: ends(first), look)
    assert store.state(other) == "finished"


def test_a_worker_that_waits_reads_no_records(waiting, in_the_queue, monkeypatch):
    """Those of everybody, four times a second in each worker, were too many."""
    run, = control.submit([configuration(epochs=1)])
    read, seen = [], []
    whole, one = store.all_runs, store.read
    monkeypatch.setattr(store, "all_runs", lambda: read.append("all") or whole())
    monkeypatch.setattr(store, "read", lambda run: read.append(run) or one(run))
    in_the_queue([run], *[lambda: seen.append(list(read))] * 3)
    assert seen == [[run]] * 3
    assert store.state(run) == "finished"


def test_of_two_resumes_at_once_one_starts_a_worker(nobody, monkeypatch):
    run, = control.submit([configuration()])
    launched, refused, start = [], [], threading.Barrier(2)

    def launch(arguments, log, locks):
        launched.extend(os.dup(lock.descriptor) for lock in locks.values())

    def resume():
        start.wait()
        try:
            control.resume([run])
        except KDError as error:
            refused.append(str(error))

    monkeypatch.setattr(processes, "launch", launch)
    monkeypatch.setattr(control, "_LOCK_PATIENCE_S", 0.2)
    threads = [threading.Thread(target=resume) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(launched) == 1
    assert refused == [f"Run {run} is queued; only stopped, failed, interrupted runs can be resumed."]
    os.close(launched[0])


def test_what_ends_while_a_resume_waits_for_its_lock_is_not_begun_again(nobody, monkeypatch):
    run, = control.submit([configuration()])
    take = processes.take

    def quicker(path, patience_s):
        made.finished(run, store.read(run).configuration).save(paths.runs_root() / run)
        return take(path, patience_s)

    monkeypatch.setattr(processes, "take", quicker)
    with pytest.raises(KDError, match=f"Run {run} is finished; only stopped, failed, interrupted runs can be resumed"):
        control.resume([run])
    assert store.state(run) == "finished"
    assert not store.alive(run)


def test_a_run_that_is_being_made_or_removed_is_in_no_list(nobody, monkeypatch):
    """It appears with its record and its lock held, or not at all."""
    seen = []

    def look(*_):
        seen.append([(record.id, store.state(record.id)) for record in store.all_runs()])

    monkeypatch.setattr(processes, "launch", look)
    save, rmtree = records.Record.save, shutil.rmtree
    monkeypatch.setattr(records.Record, "save", lambda *what: look() or save(*what) or look())
    run, = control.submit([configuration()])
    assert seen == [[], [], [(run, "queued")]]
    monkeypatch.setattr(shutil, "rmtree", lambda path: look() or rmtree(path))
    control.remove(run)
    assert seen[3:] == [[]]
    assert list(paths.runs_root().iterdir()) == []


def test_no_epoch_waits_for_a_compiler_that_is_not_used():
    """To import it takes longer than an epoch of a short run."""
    code = ("import sys\n"
            "from kdengine.configuration import Configuration\n"
            "from kdengine.runs import control, processes, session, store, worker\n"
            "processes.launch = lambda *_: None\n"
            "finish = session.Session._finish\n"
            "def look(*given):\n"
            "    print('torch._dynamo' in sys.modules)\n"
            "    finish(*given)\n"
            "session.Session._finish = look\n"
            "run, = control.submit([Configuration(teacher='digits-teacher', share=0.1, epochs=1)])\n"
            "worker.work([run])\n"
            "print(store.state(run))")
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "finished"]


def test_a_run_is_moved_aside_and_brought_back_as_it_was(waiting):
    run, = control.submit([configuration(epochs=1)])
    with pytest.raises(KDError, match=f"Run {run} is queued; stop it first"):
        kdengine.runs.move_aside("run", run)
    worker.work([run])
    before = {path.name: path.read_bytes() for path in store.directory(run).iterdir()}
    place = kdengine.runs.move_aside("run", run)
    assert kdengine.list_runs() == [] and kdengine.runs.list_unreadable() == []
    kdengine.runs.bring_back(run, place)
    assert {path.name: path.read_bytes() for path in store.directory(run).iterdir()} == before
    assert not place.exists()
    place = kdengine.runs.move_aside("run", run)
    shutil.copytree(place, paths.runs_root() / run)
    again = kdengine.runs.move_aside("run", run)
    assert again != place
    kdengine.runs.bring_back(run, again)
    with pytest.raises(KDError, match="it is not overwritten"):
        kdengine.runs.bring_back(run, place)


def test_a_run_has_the_name_that_somebody_gave_it(waiting):
    run, other = control.submit([configuration("kd"), configuration("none")])
    assert kdengine.watch(run)["name"] is None
    kdengine.runs.rename(run, "  Größe *1*  ")
    assert {each["id"]: each["name"] for each in kdengine.list_runs()} == {run: "Größe *1*", other: None}
    assert kdengine.watch(run)["name"] == "Größe *1*"
    assert kdengine.runs.student_titles(kdengine.list_runs())[run] == "Größe *1*"
    kdengine.runs.rename(other, "Größe *1*")  # two of one name: each is called by its method again
    assert set(kdengine.runs.student_titles(kdengine.list_runs()).values()) == {"Logit matching", "Independent student"}
    for wrong in ("two\nlines", "x" * 81, "\0"):
        with pytest.raises(KDError, match=r"is no name for a run\. Allowed is one line of 80 characters"):
            kdengine.runs.rename(run, wrong)
    assert store.name(run) == "Größe *1*"
    kdengine.runs.rename(run, " ")
    assert store.name(run) is None and not (store.directory(run) / store.NAME).exists()
    for content in (b"\xff", b"x" * 81, b"a\nb", b"\n"):
        (store.directory(run) / store.NAME).write_bytes(content)
        assert store.name(run) is None


def test_a_worker_sweeps_what_was_left_half_written(waiting):
    run, = control.submit([configuration(epochs=1)])
    folder = store.directory(run)
    left = [folder / f".record.json.elsewhere.{process}.7.partial" for process in (1, os.getpid())]
    unmade = paths.runs_root() / ".2000-1-kd.elsewhere.1.7.partial"
    being_made = paths.runs_root() / ".2100-1-kd.elsewhere.1.7.partial"
    for path in left:
        path.touch()
    for path, hours in ((unmade, 2), (being_made, 0)):
        path.mkdir()
        os.utime(path, (time.time() - 3600 * hours,) * 2)
    worker.work([run])
    assert store.state(run) == "finished"
    assert [path.exists() for path in (*left, unmade, being_made)] == [False, False, False, True]
    assert not list(folder.glob(".*"))


def test_the_list_is_newest_first_and_survives_a_damaged_record(waiting):
    ids = [control.submit([configuration(seed=seed)])[0] for seed in (0, 1)]
    (store.directory(ids[0]).parent / "broken").mkdir()
    (store.directory(ids[0]).parent / "broken" / records.RECORD).write_text("{")
    assert [record.id for record in store.all_runs()] == ids[::-1]


@pytest.mark.parametrize("name", ["../secret", "nothing", "a/b"])
def test_a_run_is_a_name_and_no_path(name):
    with pytest.raises(KDError, match="There is no run"):
        store.directory(name)


def test_a_run_resumed_from_a_group_goes_on_alone_with_the_same_numbers(waiting, monkeypatch):
    together = finish(configuration("kd", hyperparameters={"alpha": 0.5}), configuration())
    alone, = finish(configuration("kd", hyperparameters={"alpha": 0.5}))
    assert same(student(together[0]), student(alone))


@pytest.mark.parametrize("name", ["factor", "fsp", "activation_boundary", "fitnet_original"])
def test_a_method_of_two_stages_is_two_linked_runs(waiting, name):
    run, = control.submit([configuration(name, epochs=9)])
    second = store.read(run)
    first = store.read(second.configuration.initial)
    assert first.configuration.method == f"{name}_first"
    assert first.configuration.epochs == 2  # an eighth, rounded up
    worker.work([first.id])
    assert store.state(first.id) == "finished", store.read(first.id).status
    worker.work([run])
    assert store.state(run) == "finished", store.read(run).status
    assert run in results.finished()
    assert first.id not in results.finished()
    if name == "factor":
        before = load_file(store.directory(first.id) / records.ADAPTER)
        after = load_file(store.directory(run) / records.ADAPTER)
        assert all(torch.equal(after[key], before[key]) for key in before)  # the paraphraser stays as it was trained
        assert any(key.startswith("translator") for key in after)


def test_the_second_stage_starts_from_the_student_that_the_first_left(waiting, monkeypatch):
    run, = control.submit([configuration("fsp", epochs=1)])
    first = store.read(run).configuration.initial
    worker.work([first])
    seen = []
    monkeypatch.setattr(
        "kdengine.training.train", lambda learners, *_, **__: seen.append(learners[0].state()["network"]))
    worker.work([run])
    assert same({key: value.contiguous() for key, value in seen[0].items()}, student(first))


def test_a_second_stage_whose_first_failed_fails_with_its_name(waiting):
    run, = control.submit([configuration("fsp", learning_rate=1e30)])
    first = store.read(run).configuration.initial
    worker.work([first])
    assert store.state(first) == "failed"
    worker.work([run])
    assert store.state(run) == "failed"
    assert first in store.read(run).status["reason"]


def test_kept_results_become_checkpoints_with_their_record(waiting, tmp_path, monkeypatch):
    run, = finish(configuration(epochs=1))
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "kept"))
    results.keep(run, "mine")
    assert list(checkpoints.shipped()) == ["mine"]
    assert [row["name"] for row in results.rows()] == ["mine", run]
    assert results.history("mine") == store.history(run)


@pytest.mark.parametrize(("loss", "state"), [(99 * math.log(10), "finished"), (101 * math.log(10), "failed"),
                                             (1e27, "failed"), (math.inf, "failed"), (math.nan, "failed")])
def test_a_test_loss_that_no_training_means_to_leave_fails_the_run_with_a_reason(waiting, monkeypatch, loss, state):
    """Finite or not: guessing among ten digits has a loss of 2.3."""
    scores = evaluation.scores
    monkeypatch.setattr(evaluation, "scores", lambda *given: scores(*given) | {"loss": loss})
    run, = finish(configuration(epochs=1, teacher=None, learning_rate=0.03))
    record = store.read(run)
    assert record.state == state
    if state == "failed":
        assert record.status["reason"] == (f"Its test loss is {loss:.3g}, where guessing has 2.3: training diverged. "
                                           "The last epoch is kept; try a learning rate below 0.03.")
        assert record.result == {}
        assert (store.directory(run) / records.STUDENT).is_file()


def test_of_a_first_stage_no_answer_is_asked_for(waiting, monkeypatch):
    scores = evaluation.scores
    monkeypatch.setattr(evaluation, "scores", lambda logits, target, *more: scores(logits, target, *more) | (
        {"loss": 1e27} if more else {}))
    run, = control.submit([configuration("fitnet_original", epochs=1)])
    first = store.read(run).configuration.initial
    worker.work([first])
    assert store.state(first) == "finished"


@pytest.mark.parametrize("value", [1e38, -1e38])
def test_a_teacher_whose_answers_are_not_finite_is_named(waiting, monkeypatch, tmp_path, value):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path))
    broken = models.build("resnet8", [str(digit) for digit in range(10)])
    with torch.no_grad():
        broken.net.fc.weight.fill_(value)  # each weight is finite, as a checkpoint's must be
    checkpoints.save(broken, tmp_path / "broken.safetensors")
    run, = finish(configuration("kd", teacher="broken"))
    assert store.state(run) == "failed"
    assert store.read(run).status["reason"] == (
        "The teacher broken answers validation images with numbers that are not finite, so nothing can be learned from "
        "it. Take another teacher.")
