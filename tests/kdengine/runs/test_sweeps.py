"""Sweeps: nothing is trained twice, and one that was cut off, anywhere, ends as if it had not been."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from kdengine import models, paths, recipes
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.recipes import comparison
from kdengine.recipes.parts import students, teacher
from kdengine.recipes.recipe import Plan, Recipe
from kdengine.runs import checkpoints, control, processes, records, store, sweeps, worker
from kdengine.runs.sweeps import Part
from tests.kdengine import made

ROOT = Path(__file__).resolve().parent.parent.parent.parent
SMALL = {"share": 0.05, "epochs": 2, "batch_size": 32, "precision": "float32", "threads": 1, "device": "cpu"}
TWO_STAGES = ("activation_boundary", {})
DIVERGES = 1e30
"""A learning rate no network survives."""
PATIENCE_S = 120


def family(*, learning_rate=None, **taught):
    """A teacher and its students: (method, hyperparameters) by label."""
    return [teacher("Teacher", **SMALL, learning_rate=learning_rate),
            *students("Teacher", {"Independent": ("none", {}), **taught}, **SMALL, labels_per_class=2)]


class Workers:
    """In place of worker processes: a group a sweep starts waits for a turn, then this process works on it.

    Its turn comes when the sweep sleeps and has started nothing since it slept last.
    """

    def __init__(self, work, hand_on):
        self.work, self.hand_on = work, hand_on
        self.launched, self.waiting, self.most_waiting, self.seen = [], [], 0, 0

    def launch(self, arguments, log, locks):
        self.hand_on(arguments, log, locks)
        self.launched.append(arguments[1:])
        self.waiting.append(arguments[1:])
        self.most_waiting = max(self.most_waiting, len(self.waiting))

    def sleep(self, seconds):
        assert self.waiting, "the sweep would wait for ever"
        assert len(self.launched) < 200, "the sweep would start runs for ever"
        if len(self.launched) == self.seen:
            self.turn()
        self.seen = len(self.launched)

    def turn(self):
        """The group that waits longest has its turn, and its worker ends."""
        ids = self.waiting.pop(0)
        self.work(ids)
        for run in ids:
            processes.take(store.directory(run) / store.LOCK, 0).release()  # what only pretends has not taken it up

    def die(self):
        """As if every worker had been killed."""
        self.waiting.clear()
        while processes._handed_on:
            os.close(processes._handed_on.popitem()[1])

    @property
    def methods(self):
        """Of each group that was started, its methods."""
        return [[store.read(run).configuration.method for run in ids] for ids in self.launched]


def pretend(ids):
    """End a group at once, as a worker would, without training it."""
    for run in ids:
        record, initial = store.read(run), store.read(run).configuration.initial
        if store.stop_requested(run):
            store.set_state(record, records.STOPPED, reason="Stopped before it began.")
        elif initial is not None and store.state(initial) != records.FINISHED:
            store.set_state(record, records.FAILED, reason=f"Its first stage, {initial}, was {store.state(initial)}.")
        elif record.configuration.learning_rate == DIVERGES:
            store.set_state(record, records.FAILED, reason="Epoch 1, step 2 of 3: the loss is nan.")
        else:
            left = models.build(record.configuration.student, [str(each) for each in range(10)])
            checkpoints.save(left, store.directory(run) / records.STUDENT)
            done = made.finished(run, record.configuration)
            record.data, record.environment, record.result = done.data, done.environment, done.result
            store.set_state(record, records.FINISHED, epoch=record.configuration.epochs)


@pytest.fixture
def here(monkeypatch, hand_on):
    """Workers that do as they are told."""
    def here(work):
        workers = Workers(work, hand_on)
        monkeypatch.setattr(processes, "launch", workers.launch)
        monkeypatch.setattr(sweeps, "time", SimpleNamespace(sleep=workers.sleep))
        return workers

    return here


@pytest.fixture
def workers(here):
    """Workers that train nothing."""
    return here(pretend)


@pytest.fixture
def trainers(here):
    """Workers that train."""
    return here(worker.work)


def finished(parts):
    """The runs of a sweep that have finished, by (label, seed)."""
    return {key: each.record.id for key, each in sweeps.look(parts).items() if each and each.state == "finished"}


def failures(parts, seeds=1):
    """Why parts of a sweep have failed, by (label, seed)."""
    seen = sweeps.look(parts, seeds).items()
    return {key: each.record.status["reason"] for key, each in seen if each and each.state == "failed"}


def configuration_of(run):
    return store.read(run).configuration


def test_teachers_come_before_students_and_nothing_is_trained_twice(workers):
    parts, told = family(KD=("kd", {}), CRD=("crd", {})), []
    ids = sweeps.run(parts, on_change=lambda done, of: told.append((done, of)))
    assert list(ids) == [("Teacher", 0), ("Independent", 0), ("KD", 0), ("CRD", 0)]
    assert workers.methods == [["none"], ["none", "kd", "crd"]]
    assert {configuration_of(ids[label, 0]).teacher for label in ("Independent", "KD", "CRD")} == {ids["Teacher", 0]}
    assert configuration_of(ids["Teacher", 0]).teacher is None
    assert told == [(0, 4), (1, 4), (4, 4)]
    assert sweeps.run(parts) == finished(parts) == ids
    assert len(store.all_runs()) == 4


def test_a_worker_that_always_dies_is_given_up_and_told(here):
    def dies(ids):
        for run in ids:
            if configuration_of(run).method == "crd":
                store.set_state(store.read(run), records.INTERRUPTED, epoch=1)
            else:
                pretend([run])

    workers = here(dies)
    parts = family(CRD=("crd", {}))
    assert list(sweeps.run(parts)) == [("Teacher", 0), ("Independent", 0)]
    assert workers.methods == [["none"], ["none", "crd"], ["crd"], ["crd"], ["crd"]]
    told = failures(parts)
    assert list(told) == [("CRD", 0)]
    assert re.match("Its worker died 3 more times at epoch 2.*--log` may say why", told["CRD", 0])


def test_several_seeds_share_one_teacher(workers):
    ids = sweeps.run(family(KD=("kd", {})), seeds=3)
    assert list(ids) == [("Teacher", 0), *((label, seed) for label in ("Independent", "KD") for seed in (0, 1, 2))]
    assert workers.methods == [["none"], *[["none", "kd"]] * 3]
    assert configuration_of(ids["Teacher", 0]).seed == 0
    for seed in (0, 1, 2):
        asked = configuration_of(ids["KD", seed])
        assert (asked.seed, asked.teacher, asked.method) == (seed, ids["Teacher", 0], "kd")
    assert set(sweeps.run(family(KD=("kd", {})), seeds=4).values()) > set(ids.values())
    assert len(store.all_runs()) == 9  # the fourth seed alone is new


def test_a_seeded_teacher_teaches_the_student_of_its_seed(workers):
    parts = [dataclasses.replace(part, seeded=True) for part in family(KD=("kd", {}))]
    ids = sweeps.run(parts, seeds=2)
    assert [configuration_of(ids["KD", seed]).teacher for seed in (0, 1)] == [ids["Teacher", seed] for seed in (0, 1)]


def test_a_part_starts_from_another(workers):
    jittered = Configuration(**SMALL, views="jitter")
    parts = [teacher("Plain", **SMALL), Part("Tuned", jittered, start="Plain"), Part("Jittered", jittered)]
    ids = sweeps.run(parts)
    assert configuration_of(ids["Tuned", 0]).initial == ids["Plain", 0]
    assert configuration_of(ids["Jittered", 0]).initial is None
    assert sweeps.run(parts) == ids
    assert len(store.all_runs()) == 3


def test_two_sweeps_share_the_runs_they_have_in_common(workers):
    first = sweeps.run(family(KD=("kd", {})))
    renamed = [dataclasses.replace(part, label=part.label.upper(), teacher=part.teacher and part.teacher.upper())
               for part in family(Other=("kd", {}), New=("dkd", {}))]
    second = sweeps.run(renamed)
    assert second["TEACHER", 0] == first["Teacher", 0]
    assert second["INDEPENDENT", 0] == first["Independent", 0]
    assert second["OTHER", 0] == first["KD", 0]
    assert workers.methods == [["none"], ["none", "kd"], ["dkd"]]


def test_two_parts_of_one_configuration_are_one_run(workers):
    ids = sweeps.run(family(One=("kd", {}), Same=("kd", {"alpha": 0.9})))
    assert ids["One", 0] == ids["Same", 0]
    assert workers.methods == [["none"], ["none", "kd"]]


@pytest.mark.parametrize(("one", "other"), [
    ({"method": "kd"}, {"method": "kd", "hyperparameters": {"temperature": 4.0, "alpha": 0.9}}),
    ({"method": "kd", "hyperparameters": {"alpha": 0.5, "temperature": 2.0}},
     {"method": "kd", "hyperparameters": {"temperature": "2", "alpha": "0.5"}}),
    ({"learning_rate": None}, {"learning_rate": 0.05}),
    ({"share": 1.0, "warmup_epochs": 0.0}, {"share": 1, "warmup_epochs": 0}),
])
def test_equal_numbers_are_one_configuration_however_they_are_written(workers, one, other):
    taught = {"teacher": "digits-teacher"}
    first, second = (sweeps.run([Part("Student", Configuration(**{**SMALL, **taught, **given}))])
                     for given in (one, other))
    assert first == second
    assert len(store.all_runs()) == 1


@pytest.mark.parametrize("changed", [
    {"hyperparameters": {"temperature": 3.0}}, {"method": "label_smoothing"}, {"epochs": 3}, {"share": 0.06},
    {"labels_per_class": 2}, {"student": "resnet14"}, {"views": "none"}, {"learning_rate": 0.04}, {"batch_size": 31},
    {"teacher": "digits-resnet8-kd"}, {"without_class": 3}, {"threads": 2}, {"schedule": "step"},
    {"data": "shapes", "teacher": "shapes-teacher"},
])
def test_another_configuration_is_another_run(workers, monkeypatch, changed):
    monkeypatch.setattr("kdengine.devices.cores", lambda: 2)
    asked = Configuration(method="kd", teacher="digits-teacher", **SMALL)
    first = sweeps.run([Part("Student", asked)])
    assert sweeps.run([Part("Student", dataclasses.replace(asked, **changed))]) != first
    assert len(store.all_runs()) == 2


def test_only_a_finished_run_counts_and_the_first_that_finished(workers):
    parts = family(KD=("kd", {}))
    ids = sweeps.run(parts)
    again, unfinished = (control.submit([configuration_of(ids["Teacher", 0])])[0] for _ in range(2))
    pretend([again])
    store.set_state(store.read(unfinished), records.FAILED, reason="a later attempt")
    assert sweeps.run(parts) == ids  # a second teacher, though equal, would have students of its own
    store.set_state(store.read(ids["KD", 0]), records.FAILED, reason="no")
    assert list(finished(parts)) == [("Teacher", 0), ("Independent", 0)]


def test_runs_of_methods_and_fields_that_are_no_more_are_passed_over(workers):
    for place, asked in enumerate((Configuration(method="forgotten", hyperparameters={"lost": [1]}, **SMALL),
                                   Configuration(method="kd", hyperparameters={"lost": 1}, **SMALL))):
        (paths.runs_root() / f"old-{place}").mkdir(parents=True)
        made.finished(f"old-{place}", asked).save(paths.runs_root() / f"old-{place}")
    assert len(sweeps.run(family())) == 2


def test_a_method_of_two_stages_is_found_again_and_its_first_stage_is_no_part(workers):
    parts = family(Boundaries=TWO_STAGES)
    ids = sweeps.run(parts)
    assert list(ids) == [("Teacher", 0), ("Independent", 0), ("Boundaries", 0)]
    assert workers.methods == [["none"], ["activation_boundary_first"], ["none", "activation_boundary"]]
    first = configuration_of(ids["Boundaries", 0]).initial
    assert first not in ids.values()
    assert configuration_of(first).teacher == ids["Teacher", 0]
    assert sweeps.run(parts) == ids
    assert len(workers.launched) == 3


def test_no_more_groups_at_once_than_there_are_slots(workers, monkeypatch):
    for slots, sizes in ((1, {"epochs": 1}), (3, {"epochs": 2})):
        monkeypatch.setattr(sweeps, "SLOTS", slots)
        workers.most_waiting = 0
        sweeps.run([Part("Network", Configuration(**{**SMALL, **sizes}))], seeds=5)
        assert workers.most_waiting == slots


def test_what_fails_is_left_out_and_told_and_so_are_its_students(workers):
    parts = family(KD=("kd", {}))
    parts[2] = dataclasses.replace(
        parts[2], configuration=dataclasses.replace(parts[2].configuration, learning_rate=DIVERGES))
    ids = sweeps.run(parts)
    assert list(ids) == [("Teacher", 0), ("Independent", 0)]
    assert failures(parts) == {("KD", 0): "Epoch 1, step 2 of 3: the loss is nan."}
    assert workers.methods == [["none"], ["none", "kd"]]
    assert sweeps.run(parts) == ids
    assert workers.methods == [["none"], ["none", "kd"], ["kd"]]  # begun again, it is tried once more
    assert len(store.all_runs()) == 3

    parts = [*family(learning_rate=DIVERGES, KD=("kd", {})), Part("Alone", Configuration(**SMALL, seed=0))]
    assert list(sweeps.run(parts, seeds=2)) == [("Alone", 0), ("Alone", 1)]
    assert failures(parts, seeds=2) == {("Teacher", 0): "Epoch 1, step 2 of 3: the loss is nan."}


def test_a_training_that_diverges_leaves_the_others(trainers):
    parts = students("Teacher", {"Bad": ("none", {}), "Good": ("label_smoothing", {})}, **SMALL | {"epochs": 1})
    parts = [dataclasses.replace(part, teacher=None) for part in parts]
    parts[0] = dataclasses.replace(
        parts[0], configuration=dataclasses.replace(parts[0].configuration, learning_rate=DIVERGES))
    assert list(sweeps.run(parts)) == [("Good", 0)]
    (key, reason), = failures(parts).items()
    assert key == ("Bad", 0)
    assert "Epoch 1, step " in reason
    assert len(store.all_runs()) == 2


@pytest.mark.parametrize("told", ["Ctrl-C", "keep_going"])
def test_a_sweep_that_is_told_to_stop_stops_what_it_trains_and_a_first_stage_too(workers, monkeypatch, told):
    parts = family(Boundaries=TWO_STAGES)
    sweeps.run(parts[:1])

    def going():
        if told == "Ctrl-C" and workers.waiting:
            raise KeyboardInterrupt
        return not workers.waiting

    if told == "Ctrl-C":
        with pytest.raises(KeyboardInterrupt):
            sweeps.run(parts, keep_going=going)
    else:
        assert list(sweeps.run(parts, keep_going=going)) == [("Teacher", 0)]
    assert len(workers.waiting) == 2
    while workers.waiting:
        workers.turn()
    states = {record.configuration.method: record.state for record in store.all_runs() if record.configuration.teacher}
    assert states == dict.fromkeys(("none", "activation_boundary", "activation_boundary_first"), "stopped")
    assert store.state(finished(parts)["Teacher", 0]) == "finished"
    assert len(sweeps.run(parts)) == 3
    assert len(store.all_runs()) == 4  # each of them went on: none was begun anew


def test_a_second_stage_that_failed_because_its_first_was_cut_off_goes_on(workers):
    parts = family(Boundaries=TWO_STAGES)
    ids = sweeps.run(parts)
    second = store.read(ids["Boundaries", 0])
    first = second.configuration.initial
    store.set_state(store.read(first), records.INTERRUPTED)
    store.set_state(second, records.FAILED, reason=f"Its first stage, {first}, was interrupted.")
    assert sweeps.run(parts) == ids
    assert store.state(first) == store.state(second.id) == "finished"


def test_a_look_tells_of_parts_that_have_no_run_yet(workers):
    parts = family(KD=("kd", {}))
    ids = sweeps.run(parts[:2])
    seen = sweeps.look(parts)
    assert {key: each and (each.record.id, each.state) for key, each in seen.items()} == {
        **{key: (run, "finished") for key, run in ids.items()}, ("KD", 0): None}


def test_what_finishes_between_two_looks_counts_as_finished(workers, monkeypatch):
    parts = family(KD=("kd", {}))
    sweeps.run(parts[:1])
    teacher_run, = store.all_runs()
    stale = dataclasses.replace(teacher_run, status=teacher_run.status | {"state": records.RUNNING})
    whole = store.all_runs
    monkeypatch.setattr(store, "all_runs", lambda: [stale if each.id == stale.id else each for each in whole()])
    assert list(sweeps.run(parts)) == [("Teacher", 0), ("Independent", 0), ("KD", 0)]
    assert len(whole()) == 3


def test_what_somebody_else_resumes_at_the_same_moment_is_not_resumed_twice(workers, monkeypatch):
    parts = family(KD=("kd", {}))
    sweeps.run(parts[:1])
    sweeps.run(parts, keep_going=lambda: not workers.waiting)
    workers.die()
    resume = control.resume
    with monkeypatch.context() as patch:
        patch.setattr(control, "resume", lambda ids: resume(ids) or resume(ids))  # the first is somebody else's
        assert len(sweeps.run(parts)) == 3
    assert workers.methods == [["none"], ["none", "kd"], ["none", "kd"]]


def test_what_somebody_stops_meanwhile_stays_stopped_until_the_sweep_is_begun_again(here):
    stopped = []

    def stops_once(ids):
        for run in ids:
            if configuration_of(run).method == "crd" and not stopped:
                stopped.append(run)
                store.set_state(store.read(run), records.STOPPED, reason="Stopped on request.")
            else:
                pretend([run])

    workers = here(stops_once)
    parts = family(CRD=("crd", {}))
    assert list(sweeps.run(parts)) == [("Teacher", 0), ("Independent", 0)]
    assert workers.methods == [["none"], ["none", "crd"]]
    assert sweeps.run(parts)["CRD", 0] == stopped[0]


@pytest.mark.parametrize(("parts", "sentence"), [
    ([teacher("A"), teacher("A")], "The label 'A' stands twice"),
    ([*students("T", {"A": ("none", {})}), teacher("T")], "'A' leans on 'T', which does not stand before it"),
    ([Part("A", Configuration(), start="B"), teacher("B")], "'A' leans on 'B', which does not stand before it"),
    ([Part("A", Configuration(), teacher="A")], "'A' leans on 'A', which does not stand before it"),
])
def test_labels_are_unique_and_lean_on_those_before_them(parts, sentence):
    with pytest.raises(KDError, match=sentence):
        sweeps.check(parts)


def test_a_sweep_in_order_passes():
    sweeps.check(family(KD=("kd", {}), CRD=("crd", {})))


# Cut off, for real. -------------------------------------------------------------------------------------------------

TINY = Recipe("tiny", "Tiny", "Does it go on?", lambda scale: family(Boundaries=TWO_STAGES))
LONGER = Recipe("longer", "Longer", "Does it go on?", lambda scale: [
    dataclasses.replace(part, configuration=dataclasses.replace(part.configuration, epochs=16))
    for part in family(KD=("kd", {}))
])


def told(outcome):
    """Everything a table says but the time an image takes, and the digest of every student's weights."""
    table = [{key: value for key, value in row.items() if not key.startswith("milliseconds")}
             for row in comparison.rows(outcome)]
    return table, {key: record.files[records.STUDENT] for key, record in outcome.records.items()}


class Killed(BaseException):
    """The end of a process, wherever it was: nobody catches it."""


def test_a_sweep_killed_at_any_write_ends_as_an_undisturbed_one(trainers, monkeypatch, tmp_path):
    plan = Plan(TINY)
    undisturbed = told(recipes.run(plan))
    count = len(store.all_runs())
    monkeypatch.setenv("KDENGINE_RUNS", str(tmp_path / "killed"))
    left, before = 0, False
    write = records.write_json

    def dies(path, value):
        nonlocal left
        left -= path.name == records.RECORD
        if left < 0 and before:
            raise Killed
        write(path, value)
        if left < 0:
            raise Killed

    monkeypatch.setattr(records, "write_json", dies)
    outcome, kills = None, 0
    while outcome is None:
        assert kills < 50
        before_it = finished(plan.parts)
        left, before = kills, kills % 2 == 1  # so each start comes one write further, and no write is spared
        try:
            outcome = recipes.run(plan)
        except Killed:
            kills += 1
            monkeypatch.setattr(records, "write_json", write)
            trainers.die()
            monkeypatch.setattr(records, "write_json", dies)
            trainers.seen = len(trainers.launched)
        now = finished(plan.parts)
        assert before_it.items() <= now.items()  # a finished run stays the one that counts
    assert kills > 5
    assert told(outcome) == undisturbed
    assert len([each for each in store.all_runs() if not each.configuration.method.endswith("_first")]) == count - 1


SWEEP = """
from kdengine import recipes
from kdengine.recipes.recipe import Plan
from tests.kdengine.runs.test_sweeps import LONGER
recipes.run(Plan(LONGER))
"""


def until(condition):
    """Wait for another process; fails, rather than hangs, when it never happens."""
    deadline, tick = time.monotonic() + PATIENCE_S, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        tick.wait(0.02)


def ended(run):
    """Wait until the run's worker is gone."""
    FileLock(store.directory(run) / store.LOCK).acquire(timeout=PATIENCE_S).lock.release()


def worker_of(run):
    listed = subprocess.run(["pgrep", "-f", f"worker .*{run}"], capture_output=True, text=True, check=True)
    return int(listed.stdout.split()[0])


@pytest.fixture
def start():
    """Start the sweep in a process; whatever is left of it and its workers ends with the test."""
    begun, place = [], paths.runs_root()

    def sweep():
        begun.append(subprocess.Popen([sys.executable, "-c", SWEEP], cwd=ROOT))
        return begun[-1]

    yield sweep
    for process in begun:
        process.kill()
        process.wait()
    for path in place.glob(f"*/{records.RECORD}"):
        if processes.held(path.parent / store.LOCK):
            os.kill(worker_of(path.parent.name), signal.SIGKILL)


@pytest.mark.slow
def test_a_sweep_cut_off_again_and_again_repeats_nothing_and_ends_with_the_same_table(
    start, here, monkeypatch, tmp_path
):
    plan = Plan(LONGER)

    def under_way(label):
        """The run of a part once one of its epochs is done, None before."""
        each = sweeps.look(plan.parts)[label, 0]
        return each.record.id if each is not None and each.record.status["epoch"] else None

    def interrupted():
        if under_way("Teacher"):
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(sweeps, "_POLL_S", 0.05)
    with pytest.raises(KeyboardInterrupt):
        sweeps.run(plan.parts, keep_going=interrupted)
    stopped = under_way("Teacher")
    ended(stopped)
    assert store.state(stopped) == "stopped"
    reached = store.read(stopped).status["epoch"]
    assert 1 <= reached < 16
    assert [row["epoch"] for row in store.history(stopped)] == list(range(1, reached + 1))

    sweep = start()
    until(lambda: under_way("KD") or sweep.poll() is not None)
    killed = under_way("KD")
    sweep.kill()  # before its worker, which it would replace
    sweep.wait()
    os.kill(worker_of(killed), signal.SIGKILL)
    ended(killed)
    assert store.state(killed) == "interrupted"
    assert store.read(killed).status["epoch"] < 16
    assert finished(plan.parts) == {("Teacher", 0): stopped}

    here(worker.work)
    outcome = recipes.run(plan)
    assert (outcome.records["Teacher", 0].id, outcome.records["KD", 0].id) == (stopped, killed)
    assert len(store.all_runs()) == len(outcome.records) == 3
    disturbed = told(outcome)
    monkeypatch.setenv("KDENGINE_RUNS", str(tmp_path / "undisturbed"))
    assert disturbed == told(recipes.run(plan))
