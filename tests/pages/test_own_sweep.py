"""A sweep of one's own on the page Recipes, and runs as its file on Distill and Results, headless."""

import dataclasses
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import kdengine
from explorer.recipes import own_sweep
from explorer.recipes.own_sweep import EXAMPLE, OWN
from kdengine import paths, recipes
from kdengine.runs import store
from tests.kdengine.recipes import scene

APP = Path(__file__).resolve().parent.parent.parent / "explorer" / "app.py"


def opened(page, **link):
    st.cache_resource.clear()
    st.cache_data.clear()
    at = AppTest.from_file(str(APP), default_timeout=120)
    for key, value in link.items():
        at.query_params[key] = value
    at.switch_page(f"../pages/{page}.py").run()
    assert not at.exception, at.exception
    return at


def words(at):
    kinds = ("subheader", "markdown", "caption", "info", "error", "success")
    return " ".join(each.value for kind in kinds for each in getattr(at, kind))


def buttons(at):
    return [each.label for each in at.button]


def downloads(at):
    return [each.proto.label for each in at.get("download_button")]


def test_it_opens_with_an_example_says_what_it_trains_and_starts_that(launched):
    at = opened("recipes", run=OWN)
    assert at.text_area(key="sweep").value == EXAMPLE
    assert ("It trains **7 networks**: digits-teacher to resnet8, digits, all training images, 5 labels per class, 8 "
            "epochs, one seed.") in words(at)
    assert list(at.dataframe[0].value["Network"]) == [
        "Independent student", *(f"Logit matching, T {temperature}, alpha {alpha}" for temperature in (1, 4, 8)
                                 for alpha in ("0.5", "1"))]
    next(each for each in at.button if each.label == "Run").click().run()
    assert not at.exception, at.exception
    (command, option, path), = launched
    assert (command, option, Path(path).read_text()) == ("sweep", "--config", EXAMPLE)
    assert "Stop" in buttons(at)
    next(each for each in at.button if each.label == "Stop").click().run()
    assert list(paths.runs_root().glob(".recipes/sweep-*/stop"))


@pytest.mark.parametrize(("text", "sentence"), [
    ("epoch = 3", "Unknown key 'epoch'. Did you mean 'epochs'?"),
    ("epochs 3", "This is not valid TOML: Expected '=' after a key in a key/value pair (at line 1, column 8)."),
    ('[[method]]\nmethod = "kd"', "Method 'kd' needs a teacher."),
    ('teacher = "nobody"', "Unknown checkpoint 'nobody'."),
    ('teacher = "/etc/passwd"', "The teacher '/etc/passwd' is a path"),
    ('data = "folder:/etc"', "There is no such folder in the data folder"),
    ('data = "folder"', "There is no such folder in the data folder"),
    ('student = "os:getcwd"', "os:getcwd"),
    ('data = "digits\\u0000"', "Unknown data set"),
    ('data = "folder:\\u0000"', "There is no such folder in the data folder"),
    ('teacher = "\\u0000"', "is a path"),
])
def test_what_cannot_be_trained_is_refused_in_words_and_offers_no_start(launched, text, sentence):
    at = opened("recipes", run=OWN)
    at.text_area(key="sweep").set_value(text).run()
    assert not at.exception, at.exception
    refused, = (each.value.replace("\\", "") for each in at.error)
    assert sentence in refused
    assert not {"Run", "Continue"}.intersection(buttons(at))


def test_data_that_are_not_here_are_offered(launched):
    at = opened("recipes", run=OWN)
    at.text_area(key="sweep").set_value('data = "cifar10"').run()
    assert "CIFAR-10 is not on this machine. It can be downloaded (170 MB)" in words(at)
    assert "Run" not in buttons(at)


def test_what_is_done_shows_table_heat_map_and_report(launched):
    train(EXAMPLE)
    at = opened("recipes", run=OWN)
    assert "All 7 networks are trained" in words(at)
    assert len(at.dataframe[1].value) == 7
    assert any(each.value.startswith("Validation accuracy of Logit matching over temperature and alpha, what "
                                     "validation chooses outlined") for each in at.caption)
    assert "validation chooses Logit matching, T 1, alpha 0.5" in words(at).replace("\\", "")
    assert downloads(at) == ["Download this file", "Download HTML", "Download Markdown"]


def test_the_text_stands_in_the_link_and_a_file_takes_its_place(launched):
    at = opened("recipes", run=OWN, sweep="epochs = 3")
    assert at.text_area(key="sweep").value == "epochs = 3"
    assert "It trains **1 network**: resnet8, digits, all training images, every label, 3 epochs" in words(at)
    at.file_uploader(key="sweep upload").upload("mine.toml", b"\xef\xbb\xbfepochs = 4", "application/toml").run()
    assert at.text_area(key="sweep").value == "epochs = 4"
    long = b"#" * (own_sweep.MOST + 1)
    at.file_uploader(key="sweep upload").upload("long.toml", long, "application/toml").run()
    assert at.text_area(key="sweep").value == "epochs = 4"
    assert at.toast[0].value.startswith("The file has 4,001 characters; this page takes 4,000.")


def test_finished_runs_are_offered_as_a_file_on_distill_and_results(nobody):
    ids = train(EXAMPLE, 3)
    distill = opened("distill", view="Your own runs", group=ids[1])
    assert downloads(distill) == ["Download as a sweep file", "Download HTML", "Download Markdown"]
    written = recipes.read_sweep(recipes.write_sweep(ids, kdengine.__version__))
    assert [part.configuration for part in written.parts] == [store.read(run).configuration for run in ids]


def test_rows_that_one_file_cannot_hold_are_told(nobody):
    train(EXAMPLE, 2)
    train("epochs = 3")

    def offered():
        from explorer.recipes import own_sweep
        from kdengine.runs import store

        own_sweep.offer([record.id for record in store.all_runs()])

    at = AppTest.from_function(offered).run()
    assert "One sweep file holds students with the same teacher" in at.caption[0].value.replace("\\", "")
    assert not downloads(at)


def train(text, count=None):
    """Leave finished runs of a sweep's networks, made by hand; returns their ids."""
    plan = recipes.read_sweep(text)
    teacher = {"reference": "digits-teacher", "architecture": "resnet20", "parameters": 272_474,
               "test": {"top1": 0.9, "n": scene.COUNT}}
    ids = []
    for number, part in enumerate(plan.parts[:count]):
        configuration = dataclasses.replace(part.configuration)
        taught = teacher if configuration.teacher else None
        name = f"network-{configuration.epochs}-{number}"
        scene.finished(configuration, name, scene.answers(60 + number), taught=taught,
                       measured={"kl_to_teacher": 0.25, "agreement": 0.75} if taught else None)
        ids.append(name)
    return ids
