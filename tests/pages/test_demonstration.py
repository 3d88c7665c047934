"""The demonstration, headless: guess, train, truth; what it says of the students, and what it asks of the engine."""

import dataclasses
import json
import re
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import kdengine
from explorer import demonstration
from kdengine.configuration import Configuration
from kdengine.runs import estimates, results, store
from tests.kdengine.runs.test_few_labels import plain_loop

APP = Path(__file__).resolve().parent.parent.parent / "explorer" / "app.py"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """One epoch, nothing measured, nothing kept of other tests' teachers."""
    monkeypatch.setattr(demonstration, "EPOCHS", 1)
    monkeypatch.setattr("kdengine.runs.pace", lambda asked: estimates.Pace(0.5, (0.5,) * len(asked)))
    st.cache_data.clear()
    st.cache_resource.clear()


def opened(**query):
    at = AppTest.from_file(str(APP), default_timeout=120)
    at.query_params.update(query)
    at.switch_page("../pages/distill.py").run()
    assert not at.exception, at.exception
    return at


def words(at):
    return " ".join(each.value for kind in ("markdown", "caption", "info", "error") for each in getattr(at, kind))


def button(at, label):
    return next(each for each in at.button if each.label == label)


def press(at, label):
    button(at, label).click().run()
    assert not at.exception, at.exception


def configuration(method, **fields):
    return Configuration(method=method, hyperparameters=fields, teacher="digits-teacher", labels_per_class=5, epochs=1)


def made():
    return [each.configuration for each in sorted(store.all_runs(), key=lambda record: record.id)]


def test_before_anything_trains_it_says_who_learns_from_what_and_asks_for_a_guess():
    at = opened()
    assert "**1,259 pictures** of handwritten digits. Only **5 of each digit** have a label." in words(at)
    assert "**Distilled student** reads no label" in words(at)
    assert [each.label for each in at.slider if each.max == 100] == ["Distilled student", "Independent student"]
    assert len([each for each in at.get("html") if ">Label<" in each.proto.body]) == 3
    assert store.all_runs() == []


@pytest.mark.parametrize(("alpha", "sentence"), [
    (0.0, "does not listen"), (0.5, "learns from the labels too, and with a weight of 0.5"), (1.0, "reads no label")])
def test_the_premise_follows_alpha(alpha, sentence):
    at = opened()
    at.select_slider(key="demo alpha").set_value(alpha).run()
    assert sentence in words(at)


def test_a_start_asks_the_engine_for_what_the_controls_say(waiting):
    at = opened(**{"demo seed": "3"})
    at.select_slider(key="demo temperature").set_value(8)
    at.select_slider(key="demo labels").set_value("all").run()
    press(at, "Start")
    taught, alone = made()
    assert (alone.method, alone.hyperparameters) == ("none", {})
    assert (taught.method, taught.hyperparameters) == ("kd", {"temperature": 8.0, "alpha": 1.0})
    for each in (alone, taught):
        assert (each.teacher, each.labels_per_class, each.seed, each.epochs) == ("digits-teacher", None, 3, 1)
    assert "Waiting for a training slot" in "".join(each.proto.text for each in at.get("progress"))
    assert at.selectbox(key="question").disabled and at.select_slider(key="demo alpha").disabled


@pytest.mark.parametrize(("question", "expected"), [
    ("Which temperature?", [{"temperature": 1.0, "alpha": 1.0}, {"temperature": 4.0, "alpha": 1.0},
                            {"temperature": 20.0, "alpha": 1.0}]),
    ("How much of the teacher?", [{"temperature": 4.0, "alpha": 0.0}, {"temperature": 4.0, "alpha": 0.5},
                                  {"temperature": 4.0, "alpha": 1.0}]),
])
def test_one_method_several_times(waiting, question, expected):
    at = opened(question=question)
    press(at, "Start")
    assert [(each.method, each.hyperparameters) for each in made()] == [("kd", fields) for fields in expected]
    assert [each.label for each in at.slider if each.max == 100] == []
    (compared,) = [each for each in at.text_input if each.disabled]
    assert compared.value == ("1, 4, 20" if question == "Which temperature?" else "0, 0.5, 1")
    assert {each.labels_per_class for each in made()} == {5}


def test_truth_stands_beside_the_guess_and_leads_on(train_here, monkeypatch):
    offered = []
    monkeypatch.setattr(st, "download_button", lambda *given, **_: offered.append(given))
    at = opened()
    for name, guess in (("Distilled student", 90), ("Independent student", 70)):
        at.slider(key=f"guess {name}").set_value(guess)
    press(at, "Start")
    ids = sorted(run["id"] for run in kdengine.list_runs())
    drawn = [each.proto.body for each in at.get("html")]
    for run, guess in zip(ids, (90, 70), strict=True):
        right = store.read(run).result["test"]["top1"]
        (card,) = [each for each in drawn if f"you guessed {guess}" in each]
        assert f"{100 * right:.0f} of 100" in card
    row = next(each for each in results.rows() if each["name"] == ids[0])
    told = words(at).replace("\\", "")
    assert f"{100 * row['change']:+.1f} points: on these images the two " in told and f"{row['verdict']}." in told
    assert "the two not" not in told
    compare, temperature = (json.loads(json.dumps(parse_qs(each.proto.query_string))) for each in at.get("page_link"))
    assert len(compare["digits students"]) == 2 and "family" not in compare and "digits teacher" not in compare
    first = str(kdengine.runs.hard_examples("digits-teacher", 359)[0])
    assert temperature["student_network"][0].startswith("Logit matching, T 4, alpha 1 · resnet8 · ")
    assert temperature["T"] == ["4"] and temperature["example"] == compare["image"] == [first]
    (label, report, file, kind), = offered
    assert (label, kind) == ("Report", "text/html") and file.endswith(".html")
    assert "Independent student" in report() and "distill --teacher digits-teacher" in report()
    link = {key: value if isinstance(value, str) else value[0] for key, value in at.query_params.items()}
    again = opened(**link)  # as after a reload, or in another tab
    assert "you guessed 70" in "".join(each.proto.body for each in again.get("html"))
    assert "Press **Again**" not in words(again)
    again.select_slider(key="demo temperature").set_value(8).run()
    assert "Press **Again** to guess and train them." in words(again)
    press(again, "Again")
    assert [each.label for each in again.slider if each.max == 100] == ["Distilled student", "Independent student"]
    assert "demo" not in again.query_params


@pytest.mark.parametrize(("question", "names"), [
    ("Which temperature?", ("T 1", "T 4", "T 20")), ("How much of the teacher?", ("alpha 0", "alpha 0.5", "alpha 1"))])
def test_students_of_one_method_are_judged_against_the_first(train_here, question, names):
    at = opened(question=question)
    press(at, "Start")
    ids = sorted(run["id"] for run in kdengine.list_runs())
    first, *others = [store.read(run).result["test"]["top1"] for run in ids]
    judged = kdengine.runs.judge([(run, ids[0]) for run in ids[1:]])
    expected = "; ".join(f"{name} {100 * (score - first):+.1f} points, {each['text']}"
                         for name, score, each in zip(names[1:], others, judged, strict=True))
    assert f"Against {names[0]}, on these images: {expected}." in words(at).replace("\\", "")
    assert {each["compared"] for each in judged} == {2}


def test_what_nobody_guessed_is_not_called_a_guess(waiting):
    at = opened()
    at.slider(key="guess Independent student").set_value(70).run()
    press(at, "Start")
    assert at.query_params["guess"] in (",70", [",70"])


def test_a_setting_that_a_question_compares_is_found_again_for_the_next():
    at = opened()
    at.select_slider(key="demo temperature").set_value(8).run()
    at.selectbox(key="question").set_value("Which temperature?").run()
    at.selectbox(key="question").set_value("Does a teacher help?").run()
    assert at.select_slider(key="demo temperature").value == 8


def test_the_links_name_the_images_that_are_shown(train_here):
    at = opened()
    press(at, "Start")
    shown = [str(each) for each in kdengine.runs.hard_examples("digits-teacher", 359)]
    press(at, "Others")
    compare, temperature = (parse_qs(each.proto.query_string) for each in at.get("page_link"))
    assert compare["image"] == temperature["example"] == [shown[3]]
    assert at.query_params["pictures"] == "3"
    link = {key: value if isinstance(value, str) else value[0] for key, value in at.query_params.items()}
    for place, image in ((link["pictures"], shown[3]), ("99999", shown[0]), ("-3", shown[0]), ("x", shown[0])):
        compare, _ = (parse_qs(each.proto.query_string) for each in
                      opened(**link | {"pictures": place}).get("page_link"))
        assert compare["image"] == [image]
    press(at, "Again")
    assert "pictures" not in at.query_params


def test_the_link_holds_the_epoch_that_is_shown(train_here):
    ids = kdengine.start([dataclasses.replace(each, epochs=3) for each in (
        configuration("kd", temperature=4.0, alpha=1.0), configuration("none"))])
    query = {"demo": store.read(ids[0]).group}
    at = opened(**query)
    (slider,) = [each for each in at.slider if each.label.startswith("Answers after this epoch")]
    assert slider.value == 3 and "after" not in at.query_params
    slider.set_value(2).run()
    assert at.query_params["after"] == "2"
    for epoch, value in (("2", 2), ("0", 3), ("4", 3), ("two", 3)):
        (slider,) = [each for each in opened(**query, after=epoch).slider if each.label.startswith("Answers")]
        assert slider.value == value


def test_pause_one_epoch_stop_and_resume_are_asked_for(waiting, monkeypatch):
    ids = kdengine.start([dataclasses.replace(each, epochs=2) for each in (
        configuration("none"), configuration("kd", temperature=4.0, alpha=1.0))])
    query = {"demo": store.read(ids[0]).group}
    at = opened(**query)
    press(at, "Pause")
    assert all(kdengine.watch(run)["pausing"] and not kdengine.watch(run)["paused"] for run in ids)
    assert all(store.pauses(run, 1) and not store.pauses(run, 0) for run in ids)
    kdengine.runs.pause(ids, 0)  # as if one epoch were complete already
    for run in ids:
        store.set_state(store.read(run), "running")
    at = opened(**query)
    assert "Paused after epoch 0 of 2" in "".join(each.proto.text for each in at.get("progress"))
    press(at, "One epoch")
    assert all(store.pauses(run, 1) and not store.pauses(run, 0) for run in ids)
    kdengine.runs.pause(ids, 0)
    at = opened(**query)
    press(at, "Go on")
    assert not any(store.pauses(run, 99) for run in ids)
    press(at, "Stop now")
    assert all(store.stop_requested(run) for run in ids)
    for run in ids:
        store.set_state(store.read(run), "stopped", reason="Stopped on request.", epoch=0)
    at = opened(**query)
    assert "Stopped on request." in words(at)
    resumed, paused = [], []
    monkeypatch.setattr("kdengine.resume", resumed.append)
    monkeypatch.setattr("kdengine.runs.pause", lambda *given: paused.append(given))
    press(at, "One epoch")
    assert resumed == [ids] and paused == [(ids, 1)]


@pytest.mark.parametrize("guess", ["", ",", "70", "70,90,1", "x,y", "101,0", "-1,5", "7²,1"])
def test_a_strange_guess_in_the_link_is_none(train_here, guess):
    ids = kdengine.start([configuration("none"), configuration("kd", temperature=4.0, alpha=1.0)])
    at = opened(demo=store.read(ids[0]).group, guess=guess)
    drawn = "".join(each.proto.body for each in at.get("html"))
    assert len(re.findall(r"\d+ of 100", drawn)) == 2 and "you guessed" not in drawn


@pytest.mark.parametrize("other", [
    [Configuration(method="none", epochs=1)],
    [Configuration(method="features_mse", teacher="digits-teacher", epochs=1)],
    [Configuration(method="none", data="shapes", epochs=1)],
], ids=["nobody taught", "another method", "other data"])
def test_a_group_that_is_no_demonstration_s_is_as_none(waiting, other):
    ids = kdengine.start(other)
    assert [each.label for each in opened(demo=store.read(ids[0]).group).button if each.label == "Start"]


def test_a_group_that_is_gone_is_as_none():
    assert [each.label for each in opened(demo="20260101-000000-abcd", guess="1,2").button if each.label == "Start"]


def test_without_its_teacher_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "none"))
    assert "make checkpoints" in words(opened())


@pytest.mark.slow
def test_the_student_alone_of_the_page_is_within_noise_of_a_plain_loop(monkeypatch, train_here):
    monkeypatch.setattr(demonstration, "EPOCHS", 15)
    question = demonstration.QUESTIONS["Does a teacher help?"]
    shown = []
    for seed in range(3):
        _, alone = demonstration._configurations(question, demonstration.Settings(4, 1.0, 5, seed))
        run, = kdengine.start([alone])
        shown.append(store.read(run).result["test"]["top1"])
    monkeypatch.setattr("tests.kdengine.runs.test_few_labels.EPOCHS", 15)
    from kdengine import data

    plain = [plain_loop(data.load("digits", labels_per_class=5), seed) for seed in range(3)]
    # Seeds of the plain loop lie up to 7 points apart: their means, 4.
    assert abs(sum(shown) - sum(plain)) / 3 < 0.05


def test_what_is_set_here_is_nothing_to_own_runs():
    at = opened(**{"demo labels": "all", "demo seed": "7"})
    assert at.select_slider(key="demo labels").value == "all" and at.number_input(key="demo seed").value == 7
    own = opened(**{"demo labels": "all", "demo seed": "7", "view": "Your own runs"})
    assert own.number_input(key="labels").value is None and own.number_input(key="seed").value == 0
