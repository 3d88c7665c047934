"""Why no gain: seven planted situations are recognized, each alone; networks that gained are left in peace."""

import dataclasses
import math

import numpy as np
import pytest

from kdengine.configuration import Configuration
from kdengine.recipes import archive
from kdengine.runs import diagnosis, results
from kdengine.runs.diagnosis import Finding
from tests.kdengine import made

TEST = 1000


class Scene:
    """A teacher, an independent student and a distilled one, in which nothing is amiss but that nothing is gained."""

    def __init__(self):
        self.taught = made.teacher("t", test=made.scores(TEST, 0.95))
        self.students = {}
        self.rows = {}
        self.gap = 2.0  # between the logits of its teacher
        self.own = Configuration(
            method="kd", hyperparameters={"temperature": 4.0, "alpha": 0.9}, teacher="t", epochs=20)
        self.add("alone", dataclasses.replace(self.own, method="none", hyperparameters={}), 0.8, kl=0.5)
        self.add("own", self.own, 0.7, kl=0.2)
        self.students["t"] = made.finished("t", Configuration(student="resnet20"), made.scores(TEST, 0.95))

    def add(self, name, configuration, top1, kl=0.2, validation=0.7, **data):
        """A finished student: labels are few, and its history is flat from the third quarter on."""
        record = made.finished(name, configuration, made.scores(TEST, top1, kl_to_teacher=kl), teacher=self.taught,
                               data={"train": 1000, "labelled": 50, "validation": 500} | data)
        record.result["validation"] = made.scores(500, validation)
        self.students[name] = record
        count = configuration.epochs
        self.rows[name] = [made.row(epoch, terms={"cross_entropy": 0.1, "kl": 4.0 * (1 - epoch / (count + 1))},
                                    validation=made.scores(500, min(0.7, 0.1 * epoch)))
                           for epoch in range(1, count + 1)]

    def predictions(self, name):
        """All networks see the same images; each answers as many of them wrongly as its score says."""
        wrong = TEST - round(self.students[name].result["test"]["top1"] * TEST)
        if name == "t":
            return {"logits": np.tile([self.gap, 0.0], (TEST, 1)), "target": np.zeros(TEST, dtype=int)}
        logits = np.tile([1.0, 0.0], (TEST, 1))
        logits[:wrong] = [0.0, 1.0]
        return {"logits": logits, "target": np.zeros(TEST, dtype=int)}

    def diagnose(self, *names):
        return diagnosis.diagnose(names or ["own"], self.students, self.rows.__getitem__, self.predictions)

    @property
    def findings(self):
        return [(each.cause, each.measured) for each in self.diagnose().findings]


@pytest.fixture
def scene():
    return Scene()


def test_where_nothing_is_amiss_nothing_is_found(scene):
    said = scene.diagnose()
    assert (round(said.change, 9), said.gained, said.findings) == (-0.1, False, ())
    assert said.text == (
        "-10.00 points of test accuracy against the independent student. None of the usual causes was measured here.")


def test_a_teacher_no_better_than_the_student(scene):
    scene.taught["test"] = made.scores(TEST, 0.8)
    assert scene.findings == [("weak_teacher", "The teacher scores 80.00% on the test images, the independent student "
                                               "80.00%: its answers hold a student back.")]


def test_a_teacher_that_is_certain_of_everything(scene):
    """Of a gap of 24 at T = 4 the softmax is 1 / (1 + e^6) and the rest: 0.0173 nats. A twentieth of ln 2 is 0.0347."""
    for name in ("alone", "own"):
        scene.students[name].data["labelled"] = 1000
    scene.gap = 24.0
    p = 1 / (1 + math.exp(6))
    assert -(p * math.log(p) + (1 - p) * math.log(1 - p)) == pytest.approx(0.0173, abs=5e-5)
    assert scene.findings[0] == ("certain_teacher", "At T = 4 the teacher's answers have an entropy of 0.017 nats, of "
                                                    "0.69 possible: they say what the labels say already.")
    scene.gap = 20.0  # 0.040 nats
    assert [cause for cause, _ in scene.findings] == ["labels"]


def test_certain_answers_to_unlabelled_images_are_knowledge(scene):
    scene.gap = 100.0
    assert scene.findings == []


def test_a_student_that_cannot_follow(scene):
    scene.rows["own"][-1]["terms"]["kl"] = 0.76 * scene.rows["own"][0]["terms"]["kl"]
    (cause, measured), = scene.findings
    assert cause == "unmatched"
    assert measured.startswith(
        'On the training images the term "kl" of the loss was 3.81 in the first epoch and is 2.9')


def test_a_student_no_closer_than_without_a_teacher(scene):
    scene.students["own"].result["test"]["kl_to_teacher"] = 0.5
    assert scene.findings == [("unmatched", "KL to the teacher on the test images is 0.500 nats, the independent "
                                            "student's 0.500: the method brought the student no closer to its "
                                            "teacher.")]


def test_a_temperature_that_was_worse_on_validation(scene):
    """Two shares of 500 images, 0.70 and 0.75: apart by more than 1.645 x sqrt(2 x 0.75 x 0.25 / 500) = 0.045."""
    cold = dataclasses.replace(scene.own, hyperparameters={"temperature": 1.0, "alpha": 0.9})
    scene.add("cold", cold, 0.7, validation=0.74)
    assert scene.findings == []
    scene.students["cold"].result["validation"] = made.scores(500, 0.75)
    assert scene.diagnose().findings == (Finding(
        "setting", "With temperature 1 the validation accuracy was 75.00%, with temperature 4 it is 70.00%.",
        "Take temperature 1."),)


def test_another_teacher_or_method_is_no_setting(scene):
    scene.add("other", dataclasses.replace(scene.own, teacher="u", hyperparameters={"alpha": 0.5}), 0.7, validation=0.9)
    scene.add("dkd", dataclasses.replace(scene.own, method="dkd", hyperparameters={}), 0.7, validation=0.9)
    assert scene.findings == []


def test_labels_in_plenty(scene):
    for name in ("alone", "own"):
        scene.students[name].data["labelled"] = 1000
    assert scene.findings == [("labels", "Each of the 1,000 training images has its label, which leaves a teacher less "
                                         "to add.")]


def test_a_student_that_was_still_learning(scene):
    """Of 500 images 0.70 has a standard error of 0.0205: a rise of 0.0337 is chance at 95%."""
    scene.rows["own"][-6]["validation"] = made.scores(500, 0.667)
    assert scene.findings == []
    scene.rows["own"][-6]["validation"] = made.scores(500, 0.66)
    assert scene.findings == [("epochs", "In the last quarter of its epochs the validation accuracy rose from 66.00% "
                                         "to 70.00%.")]


def test_few_epochs(scene):
    del scene.rows["own"][1:]
    assert scene.findings == [("epochs", "It was trained for 1 epoch: too few to tell where it would end.")]


def test_a_difference_within_chance(scene):
    scene.students["own"].result["test"]["top1"] = 0.801
    (cause, measured), = scene.findings
    assert cause == "noise"
    assert measured.startswith("One seed, +0.10 points (interval -")


def test_seeds_that_scatter_say_how_many_it_takes(scene):
    """Changes of 0, 2 and 4 points: mean 2, standard deviation 2, d = 1: 10 seeds (G*Power, two-sided, power 0.8)."""
    for seed, (alone, ours) in enumerate([(0.8, 0.8), (0.8, 0.82), (0.8, 0.84)]):
        for name, score in (("alone", alone), ("own", ours)):
            scene.add(f"{name}{seed}", dataclasses.replace(scene.students[name].configuration, seed=seed), score,
                      kl=0.5 if name == "alone" else 0.2)
    del scene.students["own"], scene.students["alone"]
    said = scene.diagnose("own0", "own1", "own2")
    assert not said.gained
    assert said.findings == (Finding(
        "noise", "Over 3 seeds the change is +2.00 points, with a standard deviation of 2.00 from seed to seed.",
        "To tell a change of this size from chance takes about 10 seeds, in four of five such experiments."),)


def test_a_gain_beyond_chance_has_nothing_to_explain(scene):
    """Though its teacher is certain, all labels are there, and it was still learning."""
    scene.students["own"].result["test"]["top1"] = 0.9
    for name in ("alone", "own"):
        scene.students[name].data["labelled"] = 1000
    scene.rows["own"][-6]["validation"] = made.scores(500, 0.5)
    said = scene.diagnose()
    assert (said.gained, said.findings) == (True, ())
    assert said.text == (
        "+10.00 points of test accuracy against the independent student: more than chance.")


def test_without_a_teacher_or_a_twin_nothing_can_be_said(scene):
    assert scene.diagnose("alone") is None
    scene.add("smooth", dataclasses.replace(scene.own, method="label_smoothing", hyperparameters={}), 0.7)
    assert scene.diagnose("smooth") is None
    del scene.students["alone"]
    assert scene.diagnose() is None


def test_the_shipped_students_that_gained_are_left_in_peace():
    records = results.finished()
    healthy = ["digits-resnet8-kd", "digits-resnet8-features_mse", "shapes-resnet8-kd", "shapes-resnet8-attention",
               "cifar10-logit-matching", "cifar10-dkd", "cifar10-crd", "shapes-segmentation-32-masks-response-based"]
    for name in healthy:
        said = diagnosis.diagnose([name], records)
        assert said.gained and said.findings == (), name


@pytest.mark.parametrize(("report", "labels"), [
    ("teacher_capacity-digits", ["Taught by resnet8", "Taught by resnet20"]),
    ("segmentation_kd-shapes-32-masks", ["Combined"]),
    ("six_methods-digits", ["Logit matching", "DKD"]),
])
def test_methods_that_three_seeds_call_better_are_left_in_peace(report, labels):
    outcome = _outcome(report)
    for label in labels:
        said = _of(outcome, label)
        assert said.gained and said.findings == (), label


def test_the_failed_cases_that_are_shipped_name_their_causes():
    assert [each.cause for each in _of(_outcome("eleven_models-cifar100"), "Logit matching").findings] == [
        "weak_teacher", "labels"]
    assert [each.cause for each in _of(_outcome("segmentation_kd-shapes"), "Response-based").findings] == [
        "unmatched", "labels"]
    assert [each.cause for each in _of(_outcome("missing_class-digits"), "Soft targets, T 1").findings] == [
        "setting", "noise"]


def _outcome(report):
    return archive.read(next(folder for folder in archive.folders() if folder.name == report))[0]


def _of(outcome, label):
    return diagnosis.diagnose([record.id for record in outcome.of(label)], outcome.everything(),
                              outcome.source.history, outcome.source.predictions)
