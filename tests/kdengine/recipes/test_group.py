"""The report of a group of one's own: its labels, what is missing of it, and the command that trains it again."""

import re

import pytest

import kdengine
from kdengine.__main__ import main
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.recipes import group
from kdengine.runs import store, worker

SHARED = {"teacher": "digits-teacher", "share": 0.1, "epochs": 1, "batch_size": 32, "precision": "float32",
          "threads": 1, "seed": 5, "labels_per_class": 5, "learning_rate": 0.025}
ASKED = [Configuration(method="none", **SHARED),
         Configuration(method="kd", hyperparameters={"temperature": 4.0, "alpha": 1.0}, **SHARED),
         Configuration(method="kd", hyperparameters={"temperature": 8.0, "alpha": 0.5}, **SHARED)]


def test_a_group_s_report_names_its_students_and_lacks_nothing(waiting):
    ids = kdengine.start(ASKED)
    worker.work(ids)
    outcome = group.outcome(ids)
    assert [part.label for part in outcome.parts] == [
        "Independent student", "Logit matching, T 4, alpha 1", "Logit matching, T 8, alpha 0.5"]
    assert outcome.missing == [] and outcome.failures == {}
    report = kdengine.recipes.group_report(ids)
    right = store.read(ids[2]).result["test"]["top1"]
    row, *_ = re.findall(r"\| Logit matching, T 8, alpha 0\.5 \|.*", report["markdown"])
    assert f"| {right:.2%} (" in row
    assert "open until all is trained" not in report["markdown"]
    assert "<h1>Students side by side</h1>" in report["html"]


def test_a_baseline_of_another_group_is_named(waiting):
    alone, = kdengine.start(ASKED[:1])
    taught = kdengine.start(ASKED[1:])
    worker.work([alone])
    worker.work(taught)
    right = store.read(alone).result["test"]["top1"]
    assert (f"was trained in another group: {alone}, {right:.2%} of 359 test images right."
            in kdengine.recipes.group_report(taught)["markdown"])
    assert "another group" not in kdengine.recipes.group_report([alone])["markdown"]


def test_its_command_trains_the_same_group(waiting):
    ids = kdengine.start(ASKED)
    words = group.outcome(ids).plan.arguments
    assert "--learning-rate" in words and "--momentum" not in words  # what is usual is not said
    assert main([*words, "--detach"]) == 0
    again = sorted((record for record in store.all_runs() if record.id not in ids), key=lambda record: record.id)
    assert [record.configuration for record in again] == [store.read(run).configuration for run in ids]


def test_what_failed_is_said_and_what_trains_is_missing(waiting):
    ids = kdengine.start(ASKED)
    store.set_state(store.read(ids[1]), "failed", reason="The loss became NaN.")
    outcome = group.outcome(ids)
    assert outcome.failures == {("Logit matching, T 4, alpha 1", 5): "The loss became NaN."}
    assert outcome.missing == [("Independent student", 5), ("Logit matching, T 8, alpha 0.5", 5)]
    with pytest.raises(KDError, match="nothing to report"):
        kdengine.recipes.group_report(ids)


def test_runs_of_several_groups_are_no_group(waiting):
    one, other = (kdengine.start(ASKED[:1])[0] for _ in range(2))
    with pytest.raises(KDError, match="A report is of runs of one group and one network"):
        group.outcome([one, other])
    with pytest.raises(KDError, match="given were none"):
        group.outcome([])
