"""A student's answers epoch by epoch: what is kept of which images, and that nothing of a run depends on it."""

import numpy as np
import pytest
import torch

import kdengine
from kdengine import data
from kdengine.configuration import Configuration
from kdengine.measures import evaluation
from kdengine.runs import control, results, store, watched, worker
from kdengine.views import Split

ASKED = Configuration(method="kd", teacher="digits-teacher", epochs=3, share=0.1, threads=1, precision="float32")


def softly(logits):
    return np.float32(np.float16(logits))


@pytest.mark.parametrize(("test", "classes", "epochs", "some"), [
    (359, 10, 60, 359), (10_000, 10, 240, 400), (10_000, 100, 240, 87), (50_000, 1000, 240, 8), (5, 10, 1, 5),
    (100, 1000, 10_000, 1),
])
def test_as_many_images_are_watched_as_fit_into_four_megabytes(test, classes, epochs, some):
    assert watched.count(test, classes, epochs) == some
    assert some == 1 or 2 * some * classes * epochs <= 4 * 2**20


def test_epochs_lie_one_behind_the_other_and_one_that_is_trained_again_ends_them(tmp_path):
    logits = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    assert watched.read(tmp_path, 5, 3).shape == (0, 5, 3)
    for epoch in (1, 2, 3):
        watched.put(tmp_path, epoch, logits[epoch - 1])
    assert np.array_equal(watched.read(tmp_path, 5, 3), softly(logits[:3].numpy()))
    watched.put(tmp_path, 2, logits[3])
    assert np.array_equal(watched.read(tmp_path, 5, 3), softly(logits[[0, 3]].numpy()))
    with (tmp_path / watched.FILE).open("ab") as file:
        file.write(b"cut off")
    assert len(watched.read(tmp_path, 5, 3)) == 2
    watched.put(tmp_path, 3, logits[2])
    assert np.array_equal(watched.read(tmp_path, 5, 3), softly(logits[[0, 3, 2]].numpy()))


def test_epochs_that_nobody_watched_are_no_numbers(tmp_path):
    watched.put(tmp_path, 3, torch.ones(2, 2))
    held = watched.read(tmp_path, 2, 2)
    assert np.isnan(held[:2]).all() and (held[2] == 1).all()


def test_a_run_keeps_what_its_student_answers_and_ends_with_what_it_predicts(waiting):
    run, = control.submit([ASKED])
    assert kdengine.runs.answers_over_epochs(run).shape == (0, 0, 0)
    worker.work([run])
    answers = kdengine.runs.answers_over_epochs(run)
    assert answers.shape == (3, 359, 10)
    assert np.array_equal(answers[-1], softly(results.predictions(run)["logits"]))
    held = data.load("digits").test
    network = kdengine.open_network(run)
    again = evaluation.predict(network, Split(held.images[:7], held.target[:7])).numpy()
    assert answers[-1][:7] == pytest.approx(again, abs=0.02)
    assert not np.array_equal(answers[0], answers[1])


def test_segmentation_is_not_watched(waiting):
    run, = control.submit([Configuration(
        data="shapes_segmentation", student="fpn_tiny", epochs=1, share=0.02, threads=1,
        precision="float32")])
    worker.work([run])
    assert kdengine.runs.answers_over_epochs(run).shape == (0, 0, 0)
    assert not (store.directory(run) / watched.FILE).exists()


def test_hard_examples_are_right_ones_the_least_certain_first():
    stored = results.predictions("digits-teacher")
    shares = torch.from_numpy(stored["logits"]).double().softmax(dim=1).numpy()
    found = kdengine.runs.hard_examples("digits-teacher", 100)
    entropy = -(shares * np.log(shares)).sum(axis=1)
    assert [entropy[each] for each in found] == sorted((entropy[each] for each in found), reverse=True)
    assert set(found) == set(np.flatnonzero(shares.argmax(axis=1)[:100] == stored["target"][:100]).tolist())
    assert kdengine.runs.hard_examples("nobody", 3) == [0, 1, 2]
