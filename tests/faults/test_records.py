"""Whatever lies in a run's folder, readers give a record or say why not; the others stay, and nothing is run."""

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

import kdengine
from kdengine import charts, paths
from kdengine.errors import KDError
from kdengine.runs import processes, results, store, worker
from kdengine.runs.records import HISTORY, PREDICTIONS, PROGRESS, RECORD, STUDENT, Record, read_record, read_rows
from tests.faults import hostile
from tests.kdengine import made

FROM = paths.PROJECT / "checkpoints"
REAL = ("digits-resnet8-kd", "shapes-segmentation-combined")
"""Records of the two tasks, as real runs wrote them."""


@pytest.fixture(autouse=True)
def some_checkpoints(tmp_path, monkeypatch):
    """Two shipped checkpoints with their records."""
    place = tmp_path / "checkpoints"
    for name in REAL:
        shutil.copytree(FROM / "records" / name, place / "records" / name)
        shutil.copy(FROM / f"{name}.safetensors", place)
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(place))


def lay(name, text, **files):
    """A run's folder with this record; files: what else is in it, by name without its ending."""
    folder = paths.runs_root() / name
    folder.mkdir(parents=True)
    (folder / RECORD).write_bytes(text)
    for file, content in files.items():
        (folder / {"history": HISTORY, "progress": PROGRESS, "predictions": PREDICTIONS}[file]).write_bytes(content)
    return folder


def real(name):
    return json.loads((FROM / "records" / name / RECORD).read_text())


def texts(name, count, seed):
    """Mutations of a real record: of one value each, and of bytes, half and half."""
    generator, record = random.Random(seed), real(name)
    return [*hostile.some(hostile.swapped(record), generator, count // 2),
            *hostile.damaged(json.dumps(record).encode(), generator, count - count // 2)]


def require_all_readers_live(names):
    """What pages and commands call, over the whole folder: none raises, and every run is listed or said to be wrong."""
    listed, wrong = kdengine.list_runs(), {each["name"]: each["reason"] for each in kdengine.runs.list_unreadable()}
    assert {run["id"] for run in listed} | set(wrong) == set(names)
    assert not {run["id"] for run in listed} & set(wrong)
    assert all(reason.isprintable() or "\n" in reason for reason in wrong.values())
    json.dumps(listed, allow_nan=False)
    table = kdengine.runs.results_table()
    assert set(REAL) <= {row["name"] for row in table}
    results.markdown(table), results.comma_separated(table)
    for run in listed:
        watched = kdengine.watch(run["id"])
        histories = {run["id"]: watched["history"]}
        for chart in (charts.accuracy_curves, charts.term_curves, charts.learning_rates, charts.total_losses):
            chart(histories).to_dict()
        kdengine.runs.teacher_of(run["id"], run)
    return {run["id"] for run in listed}


@pytest.mark.parametrize(("count", "seed"), [
    (50, 0), (50, 1), *[pytest.param(500, seed, marks=pytest.mark.slow) for seed in range(2, 12)]])
@pytest.mark.parametrize("name", REAL)
def test_a_mutated_record_is_read_or_refused_and_harms_no_other(name, count, seed, mark):
    beside = {"history": (FROM / "records" / name / HISTORY).read_bytes(),
              "predictions": (FROM / "records" / name / PREDICTIONS).read_bytes() if seed == 0 else b""}
    sound = json.dumps(real(name)).encode()
    for number, text in enumerate([sound, *texts(name, count, seed)]):
        folder = lay(f"run-{number}", text, **beside)
        try:
            record = read_record(folder / RECORD)
            assert isinstance(record, Record)
        except KDError as error:
            assert str(error).startswith(f"{folder / RECORD} is not a readable record: ")
    read = require_all_readers_live({f"run-{number}" for number in range(count + 1)})
    assert "run-0" in read
    assert 1 < len(read) < count  # both happen, else this test says nothing
    assert not mark.exists()


@pytest.mark.parametrize(("count", "seed"), [(40, 0), pytest.param(1000, 1, marks=pytest.mark.slow)])
def test_a_mutated_history_or_progress_leaves_the_run_readable(count, seed, mark):
    generator = random.Random(seed)
    sound = json.dumps(real(REAL[0])).encode()
    rows = (FROM / "records" / REAL[0] / HISTORY).read_bytes()
    row = json.loads(rows.splitlines()[3])
    progress = {"phase": "Training", "epoch": 1, "epochs": 4, "images": 10, "of": 100, "images_per_second": 5.0,
                "seconds_left": 60.0}
    lines = hostile.some(hostile.swapped(row), generator, count)
    swapped = hostile.some(hostile.swapped(progress), generator, count // 2)
    odd = [*swapped, *hostile.damaged(json.dumps(progress).encode(), generator, count - len(swapped))]
    for number, text in enumerate(odd):
        lay(f"run-{number}", sound, progress=text, history=rows + lines[number % len(lines)] + b"\n")
    assert require_all_readers_live({f"run-{number}" for number in range(count)}) == {
        f"run-{number}" for number in range(count)}
    for number in range(count):
        assert {row["epoch"] for row in store.history(f"run-{number}")} >= set(range(1, 61))
        seen = store.progress(f"run-{number}")
        assert not seen or seen["phase"] != "Training" or seen["of"] * seen["epochs"] > 0
    assert not mark.exists()


@pytest.mark.parametrize(("text", "reason"), [
    (b"", "Input data was truncated"),
    (b"[]", "Expected `object`, got `array`"),
    (b"\xff\xfe{}", "JSON is malformed"),
    (b"[" * 1_000_000, "maximum recursion depth exceeded"),
    (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "it is nested more than 24 deep"),
    (b" " * (16 * 2**20 + 1), "record.json holds more than 16,777,216 bytes"),
    (b'{"status": {"state": "failed"}}', "Object missing required field `configuration`"),
    (b'{"configuration": {}, "status": {}}', "Object missing required field `state` - at `status`"),
    (b'{"configuration": {}, "status": {"state": "asleep"}}', "Invalid enum value 'asleep' - at `status.state`"),
    (b'{"configuration": {}, "status": {"state": "failed"}, "created": null}', "Expected `float`, got `null`"),
    (b'{"configuration": {}, "status": {"state": "failed"}, "created": NaN}', "JSON is malformed"),
    (b'{"configuration": {}, "status": {"state": "failed"}, "created": 1e999}', "Number out of range"),
    (b'{"configuration": {"epochs": 2.5}, "status": {"state": "failed"}}', "Expected `int`, got `float`"),
    (b'{"configuration": {"epochs": 0}, "status": {"state": "failed"}}', "epochs is 0; allowed is a number"),
    (b'{"configuration": {}, "status": {"state": "finished"}}', "it is finished, and its data lacks digest, labelled"),
    (b'{"format": 99, "configuration": {}, "status": {"state": "failed"}}', "its format is 99, and this version reads"),
    (b'{"format": true, "configuration": {}, "status": {"state": "failed"}}', "Expected `int`, got `bool`"),
])
def test_what_cannot_be_read_is_listed_with_its_reason_and_the_rest_works(text, reason):
    lay("odd", text)
    lay("sound", json.dumps(real(REAL[0])).encode())
    assert require_all_readers_live({"odd", "sound"}) == {"sound"}
    wrong, = kdengine.runs.list_unreadable()
    assert (wrong["kind"], wrong["name"]) == ("run", "odd")
    assert f"is not a readable record: {reason}" in wrong["reason"]


def test_a_record_that_is_a_folder_a_pipe_or_not_there_is_listed(tmp_path):
    root = paths.runs_root()
    (root / "folder" / RECORD).mkdir(parents=True)
    (root / "pipe").mkdir()
    os.mkfifo(root / "pipe" / RECORD)
    (root / "lost").mkdir()
    (root / "lost" / HISTORY).touch()
    (root / "empty").mkdir()
    (root / "pictures").mkdir()
    (root / "pictures" / "cat.png").touch()
    (root / "file").touch()
    (root / "bad\nname").mkdir()
    (root / "bad\nname" / RECORD).write_text(json.dumps(real(REAL[0])))
    assert require_all_readers_live({"folder", "pipe", "lost", "bad\nname"}) == set()
    reasons = {each["name"]: each["reason"] for each in kdengine.runs.list_unreadable()}
    assert "record.json is not a file" in reasons["folder"] and "record.json is not a file" in reasons["pipe"]
    assert reasons["lost"] == f"There is no record at {root / 'lost' / RECORD}."
    assert reasons["bad\nname"] == paths.BAD_NAME


def test_what_cannot_be_read_is_moved_aside_and_not_lost():
    for _ in range(2):
        folder = lay("odd", b"{")
        assert [each["name"] for each in kdengine.runs.list_unreadable()] == ["odd"]
        there = kdengine.runs.move_aside("run", "odd")
        assert (there / RECORD).read_bytes() == b"{"
        assert not folder.exists() and kdengine.runs.list_unreadable() == [] == kdengine.list_runs()
    assert {path.name for path in (paths.runs_root() / ".aside").iterdir()} == {"odd", "odd.1"}
    lay("sound", json.dumps(real(REAL[0])).encode())
    for name in ("nothing", "../runs/sound", ""):
        with pytest.raises(KDError, match="There is no run "):
            kdengine.runs.move_aside("run", name)
    assert (paths.runs_root() / "sound").is_dir()


@pytest.mark.parametrize("kind", ["checkpoint", "shipped result"])
def test_shipped_files_that_cannot_be_read_are_moved_aside_too(kind):
    root = paths.checkpoints_root()
    file, name = ((root / "odd.safetensors", "odd.safetensors") if kind == "checkpoint"
                  else (root / "records" / "odd" / RECORD, "odd"))
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"{")
    assert [(each["kind"], each["name"]) for each in kdengine.runs.list_unreadable()] == [(kind, name)]
    kdengine.runs.move_aside(kind, name)
    assert kdengine.runs.list_unreadable() == []
    assert set(kdengine.list_checkpoints()) == set(REAL)


def test_a_renamed_run_goes_by_its_folder_s_name(tmp_path):
    record = made.finished("first-name")
    lay("second name", json.dumps(record.__dict__ | {"configuration": record.configuration.__dict__}).encode())
    run, = kdengine.list_runs()
    assert run["id"] == "second name"
    assert kdengine.watch("second name")["id"] == "second name"
    assert "second name" in {row["name"] for row in kdengine.runs.results_table()}
    with pytest.raises(KDError, match="There is no run 'first-name'"):
        store.read("first-name")
    store.set_state(store.read("second name"), "failed", reason="by hand")
    assert read_record(paths.runs_root() / "second name" / RECORD).id == "second name"
    kdengine.runs.remove("second name")
    assert list(paths.runs_root().iterdir()) == []


def test_a_run_whose_first_stage_was_renamed_says_so_when_resumed():
    record = made.finished("second")
    record.status["state"] = "stopped"
    record.configuration = kdengine.Configuration(method="fsp", teacher="digits-teacher", initial="first")
    (paths.runs_root() / "second").mkdir(parents=True)
    record.save(paths.runs_root() / "second")
    with pytest.raises(KDError, match="Run second starts from the run first, and there is no run of that name"):
        kdengine.resume(["second"])
    assert store.read("second").state == "stopped"


def test_a_run_whose_teacher_is_code_says_so_when_resumed(mark):
    teacher = paths.checkpoints_root() / "strange.safetensors"
    teacher.parent.mkdir(parents=True, exist_ok=True)
    made.checkpoint(teacher, architecture="leaves_a_mark:f")
    record = made.finished("taught", kdengine.Configuration(method="kd", teacher="strange"))
    record.status["state"] = "stopped"
    (paths.runs_root() / "taught").mkdir(parents=True)
    record.save(paths.runs_root() / "taught")
    with pytest.raises(KDError, match="set KDENGINE_TRUST=leaves_a_mark and start again"):
        kdengine.resume(["taught"])
    assert store.read("taught").state == "stopped"
    assert not mark.exists()


def lay_active(name):
    record = made.finished(name)
    record.status["state"] = "running"
    (paths.runs_root() / name).mkdir(parents=True)
    record.save(paths.runs_root() / name)


def refuse(monkeypatch, name):
    """Whoever opens a run's lock gets what the system says of a file that is not ours."""
    opened = os.open

    def refused(path, *how, **more):
        if Path(path) == paths.runs_root() / name / store.LOCK:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *how, **more)

    monkeypatch.setattr(os, "open", refused)


def test_a_lock_that_cannot_be_opened_is_told_and_the_other_runs_work(monkeypatch):
    """As the lock of somebody else's run: permissions say nothing to a test that root runs."""
    lay_active("theirs")
    lay_active("ours")
    for name in ("theirs", "ours"):
        (paths.runs_root() / name / store.LOCK).touch()
    refuse(monkeypatch, "theirs")
    assert {run["id"]: run["state"] for run in kdengine.list_runs()} == {"ours": "interrupted"}
    wrong, = kdengine.runs.list_unreadable()
    assert wrong["name"] == "theirs"
    assert wrong["reason"].endswith("theirs/lock cannot be told: Permission denied.")
    assert require_all_readers_live({"theirs", "ours"}) == {"ours"}


def test_a_run_that_is_removed_while_the_list_is_read_is_left_out_and_not_made_again(monkeypatch):
    lay_active("gone")
    lay_active("here")
    state = store.state

    def removed_before(run):
        shutil.rmtree(paths.runs_root() / "gone", ignore_errors=True)
        return state(run)

    monkeypatch.setattr(store, "state", removed_before)
    assert [run["id"] for run in kdengine.list_runs()] == ["here"]
    assert not (paths.runs_root() / "gone").exists()


def test_looking_for_a_lock_makes_no_folder(tmp_path):
    assert not processes.held(tmp_path / "gone" / "lock")
    assert not (tmp_path / "gone").exists()


def test_a_queued_run_that_cannot_be_looked_at_takes_nobody_s_turn(monkeypatch):
    for name, launched in (("theirs", 1.0), ("lost stage", 2.0), ("ours", 3.0)):
        record = made.finished(name)
        record.status |= {"state": "queued", "launched": launched}
        if name == "lost stage":
            record.configuration = kdengine.Configuration(initial="gone")
        (paths.runs_root() / name).mkdir(parents=True)
        record.save(paths.runs_root() / name)
        (paths.runs_root() / name / store.LOCK).touch()
    refuse(monkeypatch, "theirs")
    assert not worker._older_in_queue([store.read("ours")])


@pytest.mark.parametrize("content", ["folder", "pipe", "huge", "not text"])
def test_an_odd_log_is_told(content):
    log = lay("run", json.dumps(real(REAL[0])).encode()) / store.LOG
    if content == "folder":
        log.mkdir()
    elif content == "pipe":
        os.mkfifo(log)
    elif content == "huge":
        with log.open("wb") as file:
            file.truncate(2**33)
    else:
        log.write_bytes(b"\xff!")
    assert store.log("run") == {"folder": "log.txt is not a file", "pipe": "log.txt is not a file",
                                "huge": "log.txt holds more than 16,777,216 bytes", "not text": "\ufffd!"}[content]


@pytest.mark.parametrize("name", ["", ".", "..", "/etc", "a/b", "../x", "a\\b", ".hidden", "a\nb", "\udcff", "x" * 300])
def test_a_name_that_is_none_is_refused_before_anything_is_touched(name):
    (paths.runs_root()).mkdir(parents=True)
    for place in (paths.runs_root(), paths.runs_root().parent):
        (place / RECORD).write_text(json.dumps(real(REAL[0])))
    for act in (kdengine.runs.remove, kdengine.watch, kdengine.stop, store.log, results.folder):
        with pytest.raises(KDError, match=r"There is no (run|result)"):
            act(name)
    assert (paths.runs_root() / RECORD).exists()


def test_unknown_fields_are_named_and_missing_ones_have_their_usual_value():
    held = real(REAL[0])
    held |= {"mood": "good"}
    held["status"] |= {"color": "red"}
    held["configuration"] |= {"spin": 3}
    for missing in ("format", "id", "group", "created", "teacher", "files"):
        held.pop(missing, None)
    held["status"].pop("reason"), held["data"].pop("title"), held["configuration"].pop("momentum")
    folder = lay("odd", json.dumps(held).encode())
    record = store.read("odd")
    assert set(record.ignored) == {"mood", "status.color", "configuration.spin"}
    assert (record.id, record.group, record.created, record.teacher, record.files) == ("odd", "odd", 0.0, None, {})
    assert (record.status["reason"], record.data["title"], record.configuration.momentum) == (None, "digits", 0.9)
    record.save(folder)  # what lies inside a part is not lost
    written = json.loads((folder / RECORD).read_text())
    assert written["status"]["color"] == "red"
    assert "ignored" not in written and written["format"] == 1


def test_rows_and_predictions_that_do_not_fit_are_passed_over():
    folder = lay("run", json.dumps(real(REAL[0])).encode())
    good = json.dumps(made.row(3))
    odd = ["5", "null", "[]", "{}", '{"epoch": 4}', json.dumps(made.row(1) | {"epoch": 0}),
           json.dumps(made.row(2) | {"validation": {}}), json.dumps(made.row(2) | {"terms": None})]
    (folder / HISTORY).write_text("\n".join([*odd, good, ""]))
    assert read_rows(folder / HISTORY) == [made.row(3)]
    right = {"logits": np.zeros((359, 10), np.float32), "target": np.zeros(359, np.int64)}
    for held, fits in ((right, True), (right | {"more": right["target"]}, True), ({"logits": right["logits"]}, False),
                       (right | {"logits": right["logits"][:5]}, False), (right | {"target": right["logits"]}, False),
                       (right | {"logits": right["logits"][:, :5]}, False), ({"confusion": right["target"]}, False),
                       (right | {"logits": right["target"]}, False)):
        (folder / PREDICTIONS).write_bytes(save(held))
        assert (results.predictions("run") is not None) == fits
        kdengine.runs.results_table()


def test_a_record_names_code_and_nothing_is_run(mark, monkeypatch):
    """Neither by looking nor by resuming it; what its worker would be told is the sentence."""
    record = made.finished("stranger", kdengine.Configuration(student="leaves_a_mark:f", method="leaves_a_mark:f"))
    record.status["state"] = "stopped"
    folder = paths.runs_root() / "stranger"
    folder.mkdir(parents=True)
    record.save(folder)
    require_all_readers_live({"stranger"})
    with pytest.raises(KDError, match="set KDENGINE_TRUST=leaves_a_mark and start again"):
        kdengine.resume(["stranger"])
    assert store.read("stranger").state == "stopped"
    store.set_state(record, "queued")  # as a stranger may write it
    worker.work(["stranger"])
    assert store.read("stranger").state == "failed"
    with pytest.raises(KDError, match="Unknown checkpoint"):
        kdengine.open_network("stranger")
    with pytest.raises(KDError, match="set KDENGINE_TRUST=leaves_a_mark and start again"):
        kdengine.start([record.configuration])
    with pytest.raises(KDError, match="KDENGINE_TRUST"):
        kdengine.start([kdengine.Configuration(student="leaves_a_mark:f")])
    assert not mark.exists()
    assert not (folder / STUDENT).exists()
