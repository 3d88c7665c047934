"""A teacher's logits kept on disk: right for the very views, asked for once, the same cold and warm."""

import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from kdengine import places, records, runs, worker
from kdengine.methods import method
from kdengine.records import Configuration
from kdengine.teacher_logits import CHUNK, LARGEST, TeacherLogits, key
from kdengine.training import Learner, train
from kdengine.views import POLICIES, views
from tests.kdengine import tiny

SPLIT = tiny.split()
LOGITS_ALONE = ("kd", "dkd", "logit_standardization", "dist")


class Asked(Exception):
    """The teacher was asked although what it says is on disk."""


def teacher(seed=9):
    return tiny.network(seed=seed, width=6).eval().requires_grad_(False)


def silent():
    """A teacher that must not be asked."""
    network = teacher()

    def refuse(*_):
        raise Asked

    network.register_forward_pre_hook(refuse)
    return network


def kept(tmp_path, **given):
    return TeacherLogits(tmp_path, "a-key", **given)


def drawn(epoch=0, policy="crop+flip", split=SPLIT, seed=0):
    return views(split, POLICIES[policy], seed, epoch)


def learner(name, configuration, network=None):
    return Learner(network or tiny.network(), method(name), teacher(), SPLIT, configuration, "float32")


def trained(*names, logits, by=None):
    configuration = Configuration(epochs=3, batch_size=8, learning_rate=0.1)
    learners = [learner(name, configuration) for name in names]
    train(learners, by or teacher(), SPLIT, POLICIES["crop+flip"], teacher_logits=logits,
          on_epoch=lambda *_: None)
    return [each.network.state_dict() for each in learners]


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_row_is_the_centred_answer_to_the_view_shown_there(tmp_path):
    shown = drawn(epoch=2)
    rows = kept(tmp_path).epoch(teacher(), shown, 0, 2, "float32")
    with torch.no_grad():
        expected = teacher()(shown.render(0, len(SPLIT)))
    expected = expected - expected.mean(dim=1, keepdim=True)
    assert rows.dtype == torch.float16
    torch.testing.assert_close(rows.float(), expected, rtol=2**-10, atol=1e-4)


def test_the_teacher_is_asked_with_its_normalisation_folded(tmp_path):
    network = teacher()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda *_: pytest.fail("it normalises by itself"))
    found = kept(tmp_path).epoch(network, drawn(), 0, 0, "float32")
    torch.testing.assert_close(found, kept(tmp_path / "other").epoch(teacher(), drawn(), 0, 0, "float32"))


def test_what_is_on_disk_is_read_and_the_teacher_left_alone(tmp_path):
    first = kept(tmp_path).epoch(teacher(), drawn(), 0, 0, "float32")
    again = kept(tmp_path).epoch(silent(), drawn(), 0, 0, "float32")
    assert torch.equal(first, again)


@pytest.mark.parametrize("asked", [
    {"seed": 1}, {"epoch": 1}, {"key": "another"},
])
def test_another_seed_epoch_or_key_is_another_file(tmp_path, asked):
    kept(tmp_path).epoch(teacher(), drawn(), 0, 0, "float32")
    other = TeacherLogits(tmp_path, asked.get("key", "a-key"))
    with pytest.raises(Asked):
        other.epoch(silent(), drawn(), asked.get("seed", 0), asked.get("epoch", 0), "float32")


def test_every_fact_makes_another_key():
    facts = {"teacher": "a", "data": "b", "share": 1.0, "views": POLICIES["crop"], "precision": "float32"}
    keys = {key(**facts), *(key(**facts | {name: "other"}) for name in facts)}
    assert len(keys) == len(facts) + 1
    assert key(**facts) == key(**dict(reversed(facts.items())))


def test_a_cold_run_and_a_warm_one_are_equal_to_the_bit(tmp_path):
    cold = trained(*LOGITS_ALONE, logits=kept(tmp_path))
    warm = trained(*LOGITS_ALONE, logits=kept(tmp_path), by=silent())
    assert all(map(same, cold, warm))


def test_it_learns_what_it_would_from_the_live_teacher(tmp_path):
    (ours,), (live,) = trained("kd", logits=kept(tmp_path)), trained("kd", logits=None)
    for name, value in ours.items():
        torch.testing.assert_close(value.float(), live[name].float(), rtol=0.02, atol=0.02)


def test_who_looks_at_features_asks_the_teacher_and_changes_nobody_s_numbers(tmp_path):
    alone, = trained("kd", logits=kept(tmp_path / "alone"))
    beside, features = trained("kd", "attention", logits=kept(tmp_path / "beside"))
    assert same(alone, beside)
    assert same(features, trained("attention", logits=None)[0])


def test_without_anyone_who_reads_logits_alone_nothing_is_kept(tmp_path):
    trained("attention", "none", logits=kept(tmp_path))
    assert list(tmp_path.rglob("*.npy")) == []


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(path.read_bytes()[:-7]),
    lambda path: np.save(path, np.zeros((3, 3), np.float16)),
    lambda path: np.save(path, np.zeros((len(SPLIT), 3), np.float32)),
])
def test_a_damaged_file_is_made_again(tmp_path, damage):
    first = kept(tmp_path).epoch(teacher(), drawn(), 0, 0, "float32")
    path, = tmp_path.rglob("*.npy")
    damage(path)
    assert torch.equal(kept(tmp_path).epoch(teacher(), drawn(), 0, 0, "float32"), first)
    assert torch.equal(kept(tmp_path).epoch(silent(), drawn(), 0, 0, "float32"), first)


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path):
    (tmp_path / "file").write_text("")
    logits = TeacherLogits(tmp_path / "file" / "folder", "key").epoch(teacher(), drawn(), 0, 0, "float32")
    assert len(logits) == len(SPLIT)


def test_the_least_recently_used_epochs_make_room(tmp_path):
    size = 128 + 2 * 3 * len(SPLIT)  # the header of a .npy file, then float16
    logits = kept(tmp_path, limit_bytes=2 * size)
    for epoch in range(2):
        logits.epoch(teacher(), drawn(epoch), 0, epoch, "float32")
    for epoch, when in ((0, 2000), (1, 1000)):
        os.utime(tmp_path / "a-key" / f"0-{epoch}.npy", (when, when))
    logits.epoch(teacher(), drawn(2), 0, 2, "float32")
    assert {path.name for path in tmp_path.rglob("*")} == {"a-key", "0-0.npy", "0-2.npy"}


def test_reading_makes_a_file_the_most_recently_used(tmp_path):
    logits = kept(tmp_path)
    logits.epoch(teacher(), drawn(), 0, 0, "float32")
    path, = tmp_path.rglob("*.npy")
    os.utime(path, (1000, 1000))
    logits.epoch(silent(), drawn(), 0, 0, "float32")
    assert path.stat().st_mtime > 1000


def test_it_stops_between_chunks_and_leaves_nothing(tmp_path):
    split = tiny.split(count=2 * CHUNK + 1)
    asked = []

    def keep_going():
        asked.append(None)
        return len(asked) < 3

    found = kept(tmp_path).epoch(teacher(), drawn(split=split), 0, 0, "float32", keep_going)
    assert found is None
    assert len(asked) == 3
    assert list(tmp_path.rglob("*.npy")) == []


def test_a_run_that_is_stopped_meanwhile_ends_without_an_epoch(tmp_path):
    each, rows = learner("kd", Configuration(epochs=3, batch_size=8)), []
    train([each], teacher(), SPLIT, POLICIES["crop+flip"], teacher_logits=kept(tmp_path),
          on_epoch=lambda *row: rows.append(row), keep_going=lambda _: False)
    assert each.stopped
    assert rows == []


def test_a_second_run_of_the_same_views_is_the_first_one_again(monkeypatch):
    monkeypatch.setattr(runs, "_launch", lambda ids: None)
    asked = Configuration(method="kd", teacher="digits-teacher", share=0.1, epochs=2, batch_size=32, threads=1,
                          precision="float32")
    left = []
    for _ in range(2):
        run, = runs.submit([asked])
        worker.work([run])
        assert runs.read(run).environment["keeps_teacher_logits"]
        left.append(load_file(runs.directory(run) / records.STUDENT))
    assert same(*left)
    assert {path.name for path in places.runs_root().glob(".teacher-logits/*/*")} == {"0-0.npy", "0-1.npy"}


def test_logits_beyond_half_precision_stay_finite(tmp_path):
    large = teacher()
    with torch.no_grad():
        large.net[-1].weight.mul_(1e6)
    rows = kept(tmp_path).epoch(large, drawn(), 0, 0, "float32")
    assert rows.isfinite().all()
    assert rows.abs().max() == LARGEST
