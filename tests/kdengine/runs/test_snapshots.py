"""Snapshots: the students of earlier epochs, few and small, and the very networks that answered then."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kdengine
from kdengine.configuration import Configuration
from kdengine.runs import records, store, watched, worker
from tests.kdengine.tiny import write_tiles

SMALL = {"share": 0.1, "batch_size": 32, "precision": "float32", "threads": 1}


@given(st.integers(1, 2000), st.integers(1, 10**9))
def test_few_are_kept_and_small_ones(epochs, size):
    each = watched.every(epochs, size)
    most = min(20, watched.MOST_SNAPSHOT_BYTES // size)
    if each is None:
        assert epochs < 4 or most < 3
    else:
        assert len(range(each, epochs, each)) <= most
        assert each == 1 or len(range(each - 1, epochs, each - 1)) > most  # not fewer than fit


def test_a_snapshot_answers_as_the_student_did_after_its_epoch(waiting):
    run, = kdengine.start([Configuration(epochs=4, **SMALL)])
    worker.work([run])
    kept = kdengine.runs.snapshots(run)
    assert list(kept) == [1, 2, 3]
    data, answers = kdengine.open_data("digits"), kdengine.runs.answers_over_epochs(run)
    for epoch, reference in kept.items():
        network = kdengine.open_network(reference)
        for index in (0, 7):
            logits = kdengine.predict(network, kdengine.data.example(data, index)[0])["logits"]
            assert logits == pytest.approx(answers[epoch - 1, index].tolist(), rel=2e-3, abs=2e-3)  # kept in half
    last = kdengine.predict(kdengine.open_network(run), kdengine.data.example(data, 0)[0])["logits"]
    assert not np.allclose(last, answers[2, 0], atol=1e-2)


def test_a_resumed_run_leaves_the_snapshots_of_an_undisturbed_one(waiting, monkeypatch):
    whole, run = (kdengine.start([Configuration(epochs=4, **SMALL)])[0] for _ in range(2))
    worker.work([whole])
    append = records.append_row

    def stop_after(path, row):
        append(path, row)
        if row["epoch"] == 2:
            (store.directory(run) / store.STOP).touch()

    with monkeypatch.context() as patch:
        patch.setattr(records, "append_row", stop_after)
        patch.setattr("kdengine.runs.session._STOP_LOOK_S", 0)
        worker.work([run])
    assert list(kdengine.runs.snapshots(run)) == [1, 2]
    kdengine.resume([run])
    worker.work([run])
    digests = [[kdengine.open_network(path).net.state_dict()["fc.weight"].sum().item()
                for path in kdengine.runs.snapshots(each).values()] for each in (run, whole)]
    assert len(digests[0]) == 3 and digests[0] == digests[1]


def test_masks_and_short_runs_leave_none_and_foreign_names_are_passed_over(waiting, tmp_path):
    short, = kdengine.start([Configuration(epochs=3, **SMALL)])
    worker.work([short])
    write_tiles(tmp_path / "tiles", train=8, val=4, test=4)
    masks, = kdengine.start([Configuration(data=f"folder:{tmp_path / 'tiles'}", student="fpn_tiny", image_size=32,
                                           epochs=4, batch_size=4, precision="float32", threads=1)])
    worker.work([masks])
    assert store.state(masks) == "finished", store.log(masks)
    assert kdengine.runs.snapshots(short) == kdengine.runs.snapshots(masks) == kdengine.runs.snapshots("nothing") == {}
    place = store.directory(short) / watched.SNAPSHOTS
    place.mkdir()
    for name in ("x.safetensors", "².safetensors", "3.txt", "10.safetensors", "9.safetensors"):
        (place / name).touch()
    assert list(kdengine.runs.snapshots(short)) == [9, 10]
