"""One process a plan: started, seen, stopped; a second one is refused."""

import sys
import time

import pytest
from filelock import FileLock

from kdengine import recipes
from kdengine.errors import KDError
from kdengine.recipes import plans
from kdengine.runs import control, processes, store, sweeps


def test_a_start_is_the_plan_s_own_command_and_counts_as_running_at_once(launched):
    asked = recipes.plan("six_methods", "lab", 3, data="cifar10", epochs=15)
    assert not recipes.running(asked)
    recipes.start(asked)
    assert launched == [["recipe", "six_methods", "--scale", "lab", "--seeds", "3", "--data", "cifar10",
                         "--epochs", "15"]]
    assert asked.command == f"python -m kdengine {' '.join(launched[0])}"
    assert recipes.running(asked)
    assert not recipes.running(recipes.plan("six_methods", "lab", 2, data="cifar10", epochs=15))


def lock_of(asked):
    return plans._place(asked) / "lock"


@pytest.mark.parametrize("hours", [-100, 0, 100])
def test_a_process_that_never_came_up_is_known_at_once_whatever_the_clock_does(launched, monkeypatch, hours):
    asked, clock = recipes.plan("six_methods"), time.time
    recipes.start(asked)
    monkeypatch.setattr(time, "time", lambda: clock() + 3600 * hours)
    assert recipes.running(asked)
    processes.take(lock_of(asked), 0).release()  # as it ends
    assert not recipes.running(asked)
    recipes.start(asked)
    assert recipes.running(asked)


def test_where_no_process_can_be_started_no_plan_runs(monkeypatch):
    asked = recipes.plan("six_methods")
    monkeypatch.setattr(sys, "executable", "/nowhere")
    with pytest.raises(KDError, match="No process can be started: No such file"):
        recipes.start(asked)
    assert not recipes.running(asked)


def test_two_processes_do_not_run_one_plan(launched, monkeypatch):
    asked = recipes.plan("six_methods")
    monkeypatch.setattr(plans, "_LOCK_PATIENCE_S", 0.01)
    recipes.start(asked)
    processes.take(lock_of(asked), 0).release()
    with FileLock(lock_of(asked)):
        for begin in (recipes.run, recipes.start):
            with pytest.raises(KDError, match="six_methods is being run like this already, by another process"):
                begin(asked)
    assert len(launched) == 1
    monkeypatch.setattr(sweeps, "run", lambda *_: {})
    assert recipes.run(asked).records == {}
    assert not recipes.running(asked)


def test_a_stop_between_the_start_and_the_first_moment_is_heard(launched, monkeypatch):
    asked, heard = recipes.plan("six_methods"), []
    monkeypatch.setattr(sweeps, "run", lambda parts, seeds, on_change, keep_going, needed: heard.append(keep_going()))
    recipes.start(asked)
    recipes.stop(asked)
    recipes.run(asked)
    assert heard == [False]
    recipes.start(asked)
    recipes.run(asked)
    assert heard == [False, True]


def test_stop_is_heard_by_the_sweep_and_forgotten_by_the_next_run(monkeypatch):
    asked = recipes.plan("six_methods")
    heard = []

    def sweep(parts, seeds, on_change, keep_going, needed):
        heard.append(keep_going())
        recipes.stop(asked)
        heard.append(keep_going())
        return {}

    monkeypatch.setattr(sweeps, "run", sweep)
    recipes.run(asked)
    recipes.run(asked)
    assert heard == [True, False, True, False]


def test_a_network_that_a_method_cannot_use_is_refused_before_anything_is_trained(monkeypatch, tmp_path):
    """Hints and contrast want feature maps; the teacher would be trained for hours before they ask."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDENGINE_TRUST", "own_of_recipes")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sweeps, "run", lambda *_: pytest.fail("it trains"))
    (tmp_path / "own_of_recipes.py").write_text(
        "from torch import nn\n\n\ndef mlp(classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, classes))\n")
    for who in ("student", "teacher"):
        with pytest.raises(KDError, match=f"The {who} has no feature maps"):
            recipes.run(recipes.plan("six_methods", **{who: "own_of_recipes:mlp"}))


@pytest.fixture
def teacher_of_two(launched):
    """Two recipes with the same teacher; the first runs, and its teacher is in training."""
    first, second = recipes.plan("response_vs_feature"), recipes.plan("six_methods", seeds=2)
    recipes.start(first)
    run, = control.submit([first.parts[0].configuration])
    return first, second, run


def teacher_in(plan):
    return recipes.progress(plan)["networks"][0]


def test_a_network_that_another_recipe_trains_is_told_as_such(teacher_of_two):
    first, second, run = teacher_of_two
    assert (teacher_in(first)["run"], teacher_in(first)["shared_with"]) == (run, [])
    assert (teacher_in(second)["run"], teacher_in(second)["shared_with"]) == (run, ["Response or feature (quick)"])
    assert not recipes.progress(second)["running"]
    assert {each["label"]: each["teaches"] for each in recipes.progress(second)["networks"]} == {
        "Teacher": True, **dict.fromkeys(("Independent student", "Logit matching", "Label smoothing", "DKD", "Hints",
                                          "CRD"), False)}
    recipes.start(second)
    assert teacher_in(first)["shared_with"] == ["Six methods (quick)"]
    processes.take(lock_of(second), 0).release()  # as it ends
    assert teacher_in(first)["shared_with"] == []


def test_a_plan_is_begun_once_it_itself_was_started(teacher_of_two):
    first, second, _ = teacher_of_two
    assert (recipes.progress(first)["begun"], recipes.progress(second)["begun"]) == (True, False)
    recipes.start(second)
    processes.take(lock_of(second), 0).release()
    assert recipes.progress(second)["begun"]


def test_what_another_recipe_needs_too_is_not_stopped(teacher_of_two, monkeypatch):
    first, second, run = teacher_of_two
    recipes.start(second)
    recipes.stop(second)
    recipes.run(second)
    assert not store.stop_requested(run)
    processes.take(lock_of(first), 0).release()
    recipes.start(second)
    recipes.stop(second)
    recipes.run(second)
    assert store.stop_requested(run)


@pytest.mark.parametrize("written", [
    "", "{", "[]", '{"recipe": "gone", "scale": "quick", "seeds": 1, "changes": {}}',
    '{"recipe": "six_methods", "scale": "quick", "seeds": 1, "changes": {"epochs": "x"}}',
])
def test_a_plan_that_cannot_be_read_is_no_other_recipe(teacher_of_two, written):
    first, second, _ = teacher_of_two
    (plans._place(first) / "plan.json").write_text(written)
    assert teacher_in(second)["shared_with"] == []


def test_progress_names_every_network_trained_or_not():
    asked = recipes.plan("response_vs_feature", seeds=2)
    told = recipes.progress(asked)
    assert not told["running"]
    assert [(each["label"], each["seed"], each["state"]) for each in told["networks"]] == [
        ("Teacher", 0, "waiting"),
        *((label, seed, "waiting") for label in ("Independent student", "Response-based", "Feature-based")
          for seed in (0, 1)),
    ]
