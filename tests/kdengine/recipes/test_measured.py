"""What was measured with a method: rows of the shipped reports, of shipped networks and of runs here, as they are."""

import dataclasses
import json

import pytest

from kdengine import recipes
from kdengine.configuration import Configuration
from kdengine.paths import reports_root
from kdengine.runs import results
from tests.kdengine.recipes import scene


def written(folder, label):
    """A row of a report's table, read without the engine."""
    content = json.loads((reports_root() / folder / "records.json").read_text())
    return next(row for row in content["table"] if row["label"] == label)


@pytest.mark.parametrize(("method", "folder", "label"), [
    ("dkd", "six_methods-digits", "DKD"), ("kd", "response_vs_feature-digits", "Response-based"),
    ("rkd", "what_can_be_matched-digits", "Relations (RKD)"),
])
def test_a_row_says_what_the_report_says(method, folder, label):
    row, = (each for each in recipes.measured(method) if (each["From"], each["Network"]) == (folder, label))
    said = written(folder, label)
    assert row["Test score"] == f"{said['accuracy']:.2%} ± {said['std']:.2%} accuracy"
    assert row["Change"] == f"{100 * said['change']:+.2f} pts ({said['relative']:+.1%})"
    low, high = said["change_interval"]
    assert row["Interval of the change"] == f"{100 * low:+.2f} to {100 * high:+.2f}"
    assert row["Verdict"] == said["verdict"]
    assert (row["Data"], row["Setting"].endswith("3 seeds")) == ("digits", True)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_earlier_results_open_with_an_answer_and_those_that_say_most(name):
    reports = recipes.earlier_results(name)
    assert reports
    seeds = [json.loads((reports_root() / each["name"] / "records.json").read_text())["seeds"] for each in reports]
    assert seeds == sorted(seeds, reverse=True)
    for each in reports:
        assert each["answer"] and set(each["answer"]) <= set(each["remarks"])
        assert bool(each["gallery"]) == (reports_root() / each["name"] / "looks.json").is_file()


def test_the_figure_that_answers_comes_first():
    first = {name: next(iter(each["figures"])) for name in recipes.RECIPES
             for each in recipes.earlier_results(name)[:1]}
    assert first["temperature_alpha"].startswith("Validation accuracy over T and alpha")
    assert first["teacher_capacity"].startswith("Accuracy of teacher and student against the teacher's size")
    assert first["missing_class"].startswith("Accuracy on the class that no student saw")
    assert first["where_they_look"].startswith("Rank correlation of the heat maps with the teacher's")
    assert {each.partition(",")[0] for name, each in first.items() if name in (
        "response_vs_feature", "six_methods", "what_can_be_matched")} == {"Test accuracy"}
    six, = (each for each in recipes.earlier_results("six_methods") if each["name"] == "six_methods-digits")
    assert len(six["figures"]) == 4  # none is there twice


def test_masks_are_told_by_their_miou():
    rows = [each for each in recipes.measured("combined") if each["From"] == "segmentation_kd-shapes"]
    assert rows and [each["Test score"] for each in rows] == [
        f"{written('segmentation_kd-shapes', each['Network'])['accuracy']:.2%} mIoU" for each in rows]


def test_what_was_judged_comes_first():
    verdicts = [row["Verdict"] for row in recipes.measured("kd")]
    judged = [each != "–" for each in verdicts]
    assert judged == sorted(judged, reverse=True) and not all(judged)


def test_shipped_networks_are_told_from_runs():
    row, = (each for each in recipes.measured("kd") if each["Network"] == "digits-resnet8-kd")
    assert row["From"] == "shipped network"


def test_nothing_was_measured_with_some():
    assert recipes.measured("review") == []


def test_runs_that_finished_here_stand_beside_the_reports():
    alone = Configuration(method="none", data="digits", epochs=3)
    taught = dataclasses.replace(alone, method="review", teacher="digits-teacher", hyperparameters={"beta": 7.0})
    scene.finished(alone, "alone", scene.answers(60))
    scene.finished(taught, "taught", scene.answers(range(10, 85)))
    row, = recipes.measured("review")
    judged = next(each for each in results.rows() if each["name"] == "taught")
    assert row == {
        "Data": "digits", "Network": "taught", "Test score": "75.00% accuracy", "Change": "+15.00 pts",
        "Interval of the change": f"{100 * judged['change_low']:+.2f} to {100 * judged['change_high']:+.2f}",
        "Verdict": judged["verdict"], "Method": "Knowledge review, beta 7",
        "Setting": "digits-teacher to resnet8, 1,258 labels, 3 epochs, seed 0", "From": "run here",
    }
    assert judged["verdict"].startswith("differ")


def test_results_of_one_method_are_judged_in_the_company_of_all():
    expected = [row for row in results.rows() if row["method"].partition(" (")[0] == "kd"]
    assert results.rows("kd") == expected != []
