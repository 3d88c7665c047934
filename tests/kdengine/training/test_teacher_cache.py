"""What a teacher says, kept on disk: right for the very views, asked for once, the same cold and warm."""

import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from kdengine import methods, paths
from kdengine.configuration import Configuration
from kdengine.methods import method
from kdengine.runs import control, records, store, worker
from kdengine.signals import Wanted, observing
from kdengine.training import Learner, teacher_cache, train
from kdengine.training.teacher_cache import CHUNK, LARGEST, LEAVES_BYTES, TeacherCache, key
from kdengine.views import POLICIES, views
from tests.kdengine import tiny

SPLIT, MASKS = tiny.split(), tiny.masks()
TAUGHT = {
    task: tuple(name for name, each in (methods.METHODS | methods.FIRST_STAGES).items()
                if task in each.tasks and each.needs_teacher)
    for task in ("classification", "segmentation")
}
NOTHING_ELSE = Wanted()
LIVE = ("input_gradient",)
"""Methods for which the teacher is asked anew."""


class Asked(Exception):
    """The teacher was asked although what it says is on disk."""


def teacher(split=SPLIT):
    made = tiny.segmenter if split.target.dim() > 1 else tiny.network
    return made(seed=9, width=6).eval().requires_grad_(False)


def silent(split=SPLIT):
    """A teacher that must not be asked."""
    network = teacher(split)

    def refuse(*_):
        raise Asked

    network.register_forward_pre_hook(refuse)
    return network


def kept(tmp_path, **given):
    return TeacherCache(tmp_path, "a-key", **given)


def drawn(epoch=0, policy="crop+flip", split=SPLIT, seed=0):
    return views(split, POLICIES[policy], seed, epoch)


def asked(cache, network, shown, seed=0, epoch=0, wanted=NOTHING_ELSE):
    """What it says of all views, in the order shown."""
    return cache.epoch(network, shown, seed, epoch, wanted, "float32").batch(0, len(shown.order))


def learner(name, configuration, split=SPLIT):
    network = tiny.segmenter() if split.target.dim() > 1 else tiny.network()
    return Learner(network, method(name), teacher(split), split, configuration, "float32")


def trained(*names, cache, by=None, split=SPLIT, policy="crop+flip", **given):
    """Weights of students, and each one's loss in each epoch."""
    configuration = Configuration(**{"epochs": 3, "batch_size": 8, "learning_rate": 0.1, **given})
    learners = [learner(name, configuration, split) for name in names]
    losses = {each: [] for each in learners}
    train(learners, by or teacher(split), split, POLICIES[policy], teacher_cache=cache,
          on_epoch=lambda each, row: losses[each].append(row["loss"]))
    return [each.network.state_dict() for each in learners], list(losses.values())


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_row_is_the_centred_answer_to_the_view_shown_there(tmp_path):
    shown = drawn(epoch=2)
    logits = asked(kept(tmp_path), teacher(), shown, epoch=2).logits
    with torch.no_grad():
        expected = teacher()(shown.render(0, len(SPLIT)))
    expected = expected - expected.mean(dim=1, keepdim=True)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected, rtol=2**-10, atol=1e-4)


def test_explanations_are_those_of_the_live_teacher(tmp_path):
    wanted, network, shown = Wanted(explanations=("stage2", "stage1")), teacher(), drawn(epoch=1)
    with torch.no_grad(), observing(network, network.stages, wanted) as look:
        expected = look(shown.render(8, 16)).explanations
    for by in (network, silent()):
        batch = kept(tmp_path).epoch(by, shown, 0, 1, wanted, "float32").batch(8, 16)
        assert list(batch.explanations) == ["stage2", "stage1"]
        for name, each in batch.explanations.items():
            assert each.dtype == torch.float32 and each.any()
            torch.testing.assert_close(each, expected[name], rtol=2**-10, atol=1e-4)
        assert torch.equal(batch.logits, kept(tmp_path / "logits alone").epoch(
            network, shown, 0, 1, NOTHING_ELSE, "float32").batch(8, 16).logits)


def test_of_logits_that_rounding_makes_equal_the_class_is_explained_that_the_student_reads(tmp_path):
    """Class 1 is ahead of class 0 by less than float16 can tell, at all images."""
    network = teacher()
    head = network.net[-1]
    with torch.no_grad():
        head.weight.mul_(1e-3)
        head.weight[1] = -head.weight[0]  # what speaks for one speaks against the other
        head.bias.copy_(torch.tensor([30, 30.004, -60]))
        assert (network(drawn().render(0, len(SPLIT))).argmax(dim=1) == 1).all()
    wanted = Wanted(explanations=("stage2",))
    batch = kept(tmp_path).epoch(network, drawn(), 0, 0, wanted, "float32").batch(0, len(SPLIT))
    named = batch.logits.argmax(dim=1)
    assert (named == 0).all()
    with torch.no_grad(), observing(network, network.stages, wanted) as look:
        expected = look(drawn().render(0, len(SPLIT)), None, lambda _: named).explanations["stage2"]
    torch.testing.assert_close(batch.explanations["stage2"], expected, rtol=2**-10, atol=1e-6)


@pytest.mark.parametrize("policy", ["none", "crop+flip"])
@pytest.mark.parametrize("split", [SPLIT, MASKS], ids=["labels", "masks"])
def test_a_batch_is_what_the_teacher_says_of_it(tmp_path, policy, split):
    wanted = Wanted(features=("stage2", "stage1"), preactivations=("stage1",), weights=("stage2",))
    network, shown = teacher(split), drawn(epoch=1, policy=policy, split=split, seed=3)
    with torch.no_grad(), observing(network, network.stages, wanted) as look:
        expected = look(shown.render(8, 16))
    for _ in ("computed", "read"):
        found = kept(tmp_path).epoch(network, shown, 3, 1, wanted, "float32").batch(8, 16)
        for kind in ("features", "preactivations", "weights"):
            rows = getattr(found, kind)
            assert rows.keys() == getattr(expected, kind).keys()
            for name, each in rows.items():
                torch.testing.assert_close(each, getattr(expected, kind)[name], rtol=2**-10, atol=1e-4)
        moved = found.logits - expected.logits
        assert (split is SPLIT) == (moved.abs().max() > 0.1)
        torch.testing.assert_close(moved, moved.mean(dim=1, keepdim=True).expand_as(moved), rtol=0, atol=2e-3)


def test_views_that_change_nothing_are_shown_to_the_teacher_once(tmp_path):
    first = asked(kept(tmp_path), teacher(), drawn(policy="none"))
    shown = drawn(policy="none", seed=1, epoch=7)
    again = asked(kept(tmp_path), silent(), shown, seed=1, epoch=7)
    order = drawn(policy="none").order
    assert torch.equal(again.logits, first.logits[order.argsort()][shown.order])


def test_what_is_wanted_besides_is_asked_for(tmp_path):
    asked(kept(tmp_path), teacher(), drawn())
    with pytest.raises(Asked):
        asked(kept(tmp_path), silent(), drawn(), wanted=Wanted(features=("stage1",)))
    asked(kept(tmp_path), teacher(), drawn(), wanted=Wanted(features=("stage1",)))
    for wanted in (Wanted(), Wanted(features=("stage1",)), Wanted(weights=("stage1",))):
        asked(kept(tmp_path), silent(), drawn(), wanted=wanted)


@pytest.mark.parametrize(("wanted", "policy", "split", "numbers"), [
    (Wanted(), "crop", SPLIT, 3 * 5),
    (Wanted(weights=("stage2",)), "crop", SPLIT, 3 * 5),
    (Wanted(features=("stage1",)), "crop", SPLIT, (3 + 6 * 8 * 8) * 5),
    (Wanted(features=("stage2",), preactivations=("stage2",)), "crop", SPLIT, (3 + 2 * 12 * 4 * 4) * 5),
    (Wanted(features=("stage1",), explanations=("stage1", "stage2")), "crop", SPLIT, (3 + 7 * 8 * 8 + 4 * 4) * 5),
    (Wanted(features=("stage1",)), "none", SPLIT, 3 + 6 * 8 * 8),  # one pass for all epochs
    (Wanted(), "crop", MASKS, 3 * 8 * 8 * 5),
])
def test_it_holds_what_fits_for_all_epochs_of_a_run(tmp_path, wanted, policy, split, numbers):
    size = 2 * numbers * len(split)
    for limit, held in ((size, True), (size - 1, False)):
        assert kept(tmp_path, limit_bytes=limit).fits(
            wanted, teacher(split), split, POLICIES[policy], epochs=5) is held


def test_the_teacher_is_asked_with_its_normalisation_folded(tmp_path):
    network = teacher()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda *_: pytest.fail("it normalises by itself"))
    found = asked(kept(tmp_path), network, drawn()).logits
    torch.testing.assert_close(found, asked(kept(tmp_path / "other"), teacher(), drawn()).logits)


def test_what_is_on_disk_is_read_and_the_teacher_left_alone(tmp_path):
    first = asked(kept(tmp_path), teacher(), drawn())
    assert torch.equal(first.logits, asked(kept(tmp_path), silent(), drawn()).logits)


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}, {"key": "another"}])
def test_another_seed_epoch_or_key_is_another_file(tmp_path, other):
    asked(kept(tmp_path), teacher(), drawn())
    cache = TeacherCache(tmp_path, other.get("key", "a-key"))
    with pytest.raises(Asked):
        asked(cache, silent(), drawn(), other.get("seed", 0), other.get("epoch", 0))


def test_every_fact_makes_another_key():
    facts = {"teacher": "a", "data": "b", "share": 1.0, "views": POLICIES["crop"], "precision": "float32"}
    keys = {key(**facts), *(key(**facts | {name: "other"}) for name in facts)}
    assert len(keys) == len(facts) + 1
    assert key(**facts) == key(**dict(reversed(facts.items())))


@pytest.mark.parametrize("policy", ["none", "crop+flip"])
@pytest.mark.parametrize(("task", "split"), [("classification", SPLIT), ("segmentation", MASKS)])
def test_a_cold_run_and_a_warm_one_are_equal_to_the_bit(tmp_path, task, split, policy):
    names = [name for name in TAUGHT[task] if name not in LIVE]
    cold, _ = trained(*names, cache=kept(tmp_path), split=split, policy=policy)
    warm, _ = trained(*names, cache=kept(tmp_path), split=split, policy=policy, by=silent(split))
    assert all(map(same, cold, warm))


@pytest.mark.parametrize(("name", "task", "split"), [
    (name, task, split) for task, split in (("classification", SPLIT), ("segmentation", MASKS))
    for name in TAUGHT[task] if name not in LIVE
])
def test_the_first_twenty_losses_are_those_of_the_live_teacher(tmp_path, name, task, split):
    """An epoch is one step here, so that its loss is the step's. float16 is right to 2^-11 of each number."""
    once = {"epochs": 20, "batch_size": len(split), "learning_rate": 2e-4, "warmup_epochs": 0}
    _, (ours,) = trained(name, cache=kept(tmp_path), split=split, **once)
    _, (live,) = trained(name, cache=None, split=split, **once)
    assert len(ours) == 20
    assert ours == pytest.approx(live, rel=1e-3, abs=1e-4)
    assert list(tmp_path.rglob("0-19.logits.*.npy"))


def test_company_changes_nobody_s_numbers(tmp_path):
    """One reads logits, two maps besides, one asks the teacher itself."""
    names = ("kd", "attention", "e2kd", *LIVE)
    together, _ = trained(*names, cache=kept(tmp_path / "together"))
    for name, each in zip(names, together, strict=True):
        assert same(each, trained(name, cache=kept(tmp_path / name))[0][0])


def test_what_does_not_fit_is_asked_for_at_every_step(tmp_path):
    none = kept(tmp_path, limit_bytes=100)
    assert same(trained("attention", cache=none)[0][0], trained("attention", cache=None)[0][0])
    assert list(tmp_path.rglob("*.npy")) == []


def test_without_anyone_who_has_a_teacher_nothing_is_kept(tmp_path):
    trained("none", cache=kept(tmp_path))
    assert list(tmp_path.rglob("*.npy")) == []


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(path.read_bytes()[:-7]),
    flipped,
    lambda path: np.save(path, np.zeros((3, 3), np.float16)),
    lambda path: np.save(path, np.load(path).astype(np.float32)),
    lambda path: np.save(path, np.load(path).reshape(-1)),
    lambda path: np.save(path, np.load(path).reshape(len(SPLIT), 1, 3)),
])
def test_a_damaged_file_is_made_again(tmp_path, damage):
    first = asked(kept(tmp_path), teacher(), drawn()).logits
    path, = tmp_path.rglob("*.npy")
    damage(path)
    with pytest.raises(Asked):
        asked(kept(tmp_path), silent(), drawn())
    assert torch.equal(asked(kept(tmp_path), teacher(), drawn()).logits, first)
    assert torch.equal(asked(kept(tmp_path), silent(), drawn()).logits, first)


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path):
    (tmp_path / "file").write_text("")
    assert len(asked(TeacherCache(tmp_path / "file" / "folder", "key"), teacher(), drawn()).logits) == len(SPLIT)


def test_it_leaves_room_on_the_disk_for_what_cannot_be_computed_again(tmp_path, monkeypatch):
    bytes_of_logits = 2 * 3 * len(SPLIT)
    first = asked(kept(tmp_path / "roomy"), teacher(), drawn()).logits
    for short, count in ((1, 0), (0, 1)):
        monkeypatch.setattr(teacher_cache, "free", lambda folder, short=short: LEAVES_BYTES + bytes_of_logits - short)
        assert torch.equal(asked(kept(tmp_path / "tight"), teacher(), drawn()).logits, first)
        assert len(list((tmp_path / "tight").rglob("*.npy"))) == count


def test_what_a_killed_run_left_half_written_is_swept_when_something_is_kept(tmp_path):
    (tmp_path / "another-key").mkdir()
    left, fresh = (tmp_path / "another-key" / f".0-{epoch}.logits.npy.elsewhere.1.7.partial" for epoch in (0, 1))
    for path in (left, fresh):
        path.touch()
    os.utime(left, (1000, 1000))
    asked(kept(tmp_path), teacher(), drawn())
    assert (left.exists(), fresh.exists()) == (False, True)


def test_the_least_recently_used_epochs_make_room(tmp_path):
    size = 128 + 2 * 3 * len(SPLIT)  # the header of a .npy file, then float16
    cache = kept(tmp_path, limit_bytes=2 * size)
    for epoch in range(2):
        asked(cache, teacher(), drawn(epoch), epoch=epoch)
    for epoch, when in ((0, 2000), (1, 1000)):
        path, = tmp_path.glob(f"a-key/0-{epoch}.*")
        os.utime(path, (when, when))
    asked(cache, teacher(), drawn(2), epoch=2)
    assert {path.name.partition(".")[0] for path in tmp_path.rglob("*")} == {"a-key", "0-0", "0-2"}


def test_reading_makes_a_file_the_most_recently_used(tmp_path):
    asked(kept(tmp_path), teacher(), drawn())
    path, = tmp_path.rglob("*.npy")
    os.utime(path, (1000, 1000))
    asked(kept(tmp_path), silent(), drawn())
    assert path.stat().st_mtime > 1000


def test_it_stops_between_chunks_and_leaves_nothing(tmp_path):
    split = tiny.split(count=2 * CHUNK + 1)
    looks = []

    def keep_going():
        looks.append(None)
        return len(looks) < 3

    assert kept(tmp_path).epoch(teacher(), drawn(split=split), 0, 0, Wanted(), "float32", keep_going) is None
    assert len(looks) == 3
    assert list(tmp_path.rglob("*.npy")) == []


def test_a_run_that_is_stopped_meanwhile_ends_without_an_epoch(tmp_path):
    each, rows = learner("kd", Configuration(epochs=3, batch_size=8)), []
    train([each], teacher(), SPLIT, POLICIES["crop+flip"], teacher_cache=kept(tmp_path),
          on_epoch=lambda *row: rows.append(row), keep_going=lambda _: False)
    assert each.stopped
    assert rows == []


def test_a_second_run_of_the_same_views_is_the_first_one_again(monkeypatch):
    monkeypatch.setattr(control, "_launch", lambda ids: None)
    configuration = Configuration(method="attention", teacher="digits-teacher", share=0.1, epochs=2, batch_size=32,
                                  threads=1, precision="float32")
    left = []
    for _ in range(2):
        run, = control.submit([configuration])
        worker.work([run])
        assert store.read(run).environment["teacher_cache"]
        left.append(load_file(store.directory(run) / records.STUDENT))
    assert same(*left)
    kept_names = {path.name.split(".")[0] for path in paths.runs_root().glob(".teacher-cache/*/*.npy")}
    assert kept_names == {"0-0", "0-1"}


def test_logits_beyond_half_precision_stay_finite(tmp_path):
    large = teacher()
    with torch.no_grad():
        large.net[-1].weight.mul_(1e6)
    logits = asked(kept(tmp_path), large, drawn()).logits
    assert logits.isfinite().all()
    assert logits.abs().max() == LARGEST


def test_what_several_want_together_never_takes_more_than_there_is_room_for(tmp_path):
    """Each alone fits, and so reads rounded signals as it would alone; on disk is what fits of all together."""
    names, epochs = ("kd", "similarity", "activation_boundary_first"), 3
    logits, deepest, shallow = 3, 12 * 4 * 4, 6 * 8 * 8
    limit = 2 * (logits + deepest + shallow) * len(SPLIT) * epochs  # all that the third wants: it leaves no room
    tight = kept(tmp_path / "tight", limit_bytes=limit)
    together, _ = trained(*names, cache=tight)
    alone = [trained(name, cache=kept(tmp_path / name))[0][0] for name in names]
    assert all(map(same, together, alone))
    files = list((tmp_path / "tight").rglob("*.npy"))
    assert {tuple(path.name.split(".")[:2]) for path in files} == {
        (f"0-{epoch}", what) for epoch in range(epochs) for what in ("logits", "features-stage2")}
    assert sum(path.stat().st_size for path in files) <= limit
    warm, _ = trained("kd", "similarity", cache=tight, by=silent())
    assert all(map(same, warm, together[:2]))
