"""Pauses: a group waits between two epochs, keeps its place for a while, and none of its numbers changes."""

import pytest
import torch
from safetensors.torch import load_file

import kdengine
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.runs import control, records, session, store, worker
from kdengine.runs.progress import ProgressFile


def configuration(method, **given):
    fields = {"teacher": "digits-teacher", "share": 0.1, "epochs": 3, "batch_size": 32, "precision": "float32",
              "threads": 1}
    return Configuration(method=method, **fields | given)


PAIR = (configuration("none"), configuration("kd"))


def students(ids):
    return [load_file(store.directory(run) / records.STUDENT) for run in ids]


def same(one, other):
    return all(mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
               for mine, theirs in zip(students(one), students(other), strict=True))


@pytest.fixture
def while_paused(monkeypatch):
    """Does the next of the given deeds each time a worker looks whether its pause is over; each sees epoch and phase.
    """
    deeds, seen = [], []

    def sleep(seconds):
        assert seconds == session._PAUSE_LOOK_S
        run = deeds[0][1][0]
        seen.append((store.read(run).status["epoch"], store.progress(run)["phase"]))
        does, *given = deeds.pop(0)
        does(*given)

    monkeypatch.setattr(session.time, "sleep", sleep)
    return deeds, seen


def test_a_paused_group_waits_between_two_epochs_and_ends_as_if_undisturbed(waiting, while_paused):
    deeds, seen = while_paused
    whole = kdengine.start(PAIR)
    worker.work(whole)
    ids = kdengine.start(PAIR)
    kdengine.runs.pause(ids)
    deeds += [(kdengine.runs.pause, ids), (kdengine.runs.pause, ids[:1], 2), (kdengine.runs.go_on, ids)]
    worker.work(ids)
    assert seen == [(1, "Paused"), (2, "Paused"), (2, "Paused")]
    assert [store.state(run) for run in ids] == ["finished", "finished"]
    assert same(ids, whole)


def test_one_run_of_a_group_pauses_it_whole(waiting, while_paused):
    deeds, seen = while_paused
    ids = kdengine.start(PAIR)
    control.pause(ids[1], 1)
    deeds += [(kdengine.runs.go_on, ids)]
    worker.work(ids)
    assert seen == [(1, "Paused")]


def test_a_pause_of_two_minutes_becomes_a_stop_that_can_be_resumed(waiting, while_paused, monkeypatch):
    whole = kdengine.start(PAIR)
    worker.work(whole)
    ids = kdengine.start(PAIR)
    kdengine.runs.pause(ids, 2)
    now = [0.0]
    monkeypatch.setattr(session.time, "monotonic", lambda: now[0])

    def pass_by(_, seconds):
        now[0] += seconds

    deeds, seen = while_paused
    deeds += [(pass_by, ids, 119), (pass_by, ids, 1)]
    worker.work(ids)
    assert control.PAUSE_S == 120 and len(seen) == 2
    for run in ids:
        assert store.state(run) == "stopped"
        assert store.read(run).status["epoch"] == 2
        assert "Paused for 120 seconds" in store.read(run).status["reason"]
    kdengine.resume(ids)
    worker.work(ids)
    assert [store.state(run) for run in ids] == ["finished", "finished"]
    assert same(ids, whole)


def test_a_paused_run_can_be_stopped_and_one_epoch_be_trained_from_there(waiting, while_paused, monkeypatch):
    deeds, seen = while_paused
    ids = kdengine.start(PAIR)
    kdengine.runs.pause(ids)
    deeds += [(lambda both: [kdengine.stop(run) for run in both], ids)] + [(lambda _: None, ids)] * 50
    monkeypatch.setattr(session, "_STOP_LOOK_S", 0)
    worker.work(ids)
    assert [(store.state(run), store.read(run).status["epoch"]) for run in ids] == [("stopped", 1)] * 2
    kdengine.resume(ids)
    kdengine.runs.pause(ids, 2)
    deeds[:] = [(kdengine.runs.go_on, ids)]
    worker.work(ids)
    assert seen[-1] == (2, "Paused")
    assert [store.state(run) for run in ids] == ["finished", "finished"]


def test_what_does_not_train_cannot_be_paused(waiting):
    run, = kdengine.start(PAIR[:1])
    kdengine.stop(run)
    worker.work([run])
    with pytest.raises(KDError, match="is stopped; only a queued or running one can be paused"):
        kdengine.runs.pause([run])


@pytest.mark.parametrize("content", ["", "soon", "1e9", "\0"])
def test_a_strange_wish_for_a_pause_is_none(waiting, content):
    run, = kdengine.start(PAIR[:1])
    (store.directory(run) / store.PAUSE).write_text(content)
    assert not store.pauses(run, 10**6)


def test_a_pause_does_not_count_as_slow(waiting, monkeypatch):
    """10 s of training, 1,000 s of pause, 10 s of training: the rate is that of 20 s."""
    record = store.read(kdengine.start(PAIR[:1])[0])
    now = [0.0]
    monkeypatch.setattr(session.time, "monotonic", lambda: now[0])
    progress = ProgressFile([record], 3, 0)
    progress.images_per_epoch = 100
    progress.phase(store.TRAINING)
    now[0], progress.epochs_done = 10.0, 1
    with progress.paused():
        assert store.progress(record.id)["phase"] == store.PAUSED
        now[0] = 1010.0
    now[0], progress.epochs_done = 1020.0, 2
    progress.step(0)
    assert store.progress(record.id)["images_per_second"] == 10
    assert store.progress(record.id)["seconds_left"] == 10
