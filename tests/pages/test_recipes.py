"""The Recipes page, headless: what it shows before, while and after, and what it asks of the engine."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from explorer.wording import as_text
from kdengine import paths, recipes
from kdengine.data import fashion_mnist
from kdengine.paths import data_root, runs_root
from kdengine.recipes import archive, report
from kdengine.recipes.recipe import Printed
from kdengine.runs import store
from kdengine.runs.records import FAILED
from tests.kdengine.recipes import scene
from tests.kdengine.tiny import write_tiles

APP = Path(__file__).resolve().parent.parent.parent / "explorer" / "app.py"


@pytest.fixture(autouse=True)
def nothing_measured_earlier(monkeypatch, tmp_path):
    """No reports but those a test writes, and no data set from the system's packages."""
    monkeypatch.setattr(archive, "reports_root", lambda: tmp_path / "reports")
    monkeypatch.setattr(fashion_mnist, "SYSTEM_PLACE", tmp_path / "nowhere")
    return tmp_path / "reports"


def opened(**link):
    st.cache_resource.clear()
    st.cache_data.clear()
    at = AppTest.from_file(str(APP), default_timeout=90)
    for key, value in link.items():
        at.query_params[key] = value
    at.switch_page("../pages/recipes.py").run()
    assert not at.exception, at.exception
    return at


def words(at):
    kinds = ("subheader", "markdown", "caption", "info", "error", "success")
    return " ".join(each.value for kind in kinds for each in getattr(at, kind))


def button(at, label):
    return next(each for each in at.button if each.label == label)


def train(name, count=None):
    """Leave finished runs of a recipe's networks, made by hand, teachers first."""
    plan = recipes.plan(name)
    ids = {part.label: f"network-{number}" for number, part in enumerate(plan.parts)}
    for part in plan.parts[:count]:
        taught = measured = None
        asked = part.configuration
        if part.teacher:
            taught = {"reference": ids[part.teacher], "architecture": "resnet20", "parameters": 272_474,
                      "test": {"top1": 0.9, "n": scene.COUNT}}
            asked = dataclasses.replace(asked, teacher=ids[part.teacher])
            measured = {"kl_to_teacher": 0.25, "agreement": 0.75}
        scene.finished(asked, ids[part.label], scene.answers(60 + len(store.all_runs())), taught=taught,
                       measured=measured)
    return plan


def test_it_says_what_it_asks_and_what_it_would_train(launched):
    at = opened()
    assert "Does a student learn more from the teacher's answers" in words(at)
    assert "4 networks on `digits`, 20 epochs" in words(at)
    assert list(at.dataframe[0].value["Network"]) == [
        "Teacher", "Independent student", "Response-based", "Feature-based"]
    at.number_input(key="seeds").set_value(3).run()
    assert "10 networks on `digits`" in words(at)  # one teacher, three students three times
    button(at, "Run").click().run()
    assert not at.exception, at.exception
    assert launched == [["recipe", "response_vs_feature", "--scale", "quick", "--seeds", "3"]]
    assert "Stop" in [each.label for each in at.button]


def test_stop_reaches_the_process(launched):
    at = opened()
    button(at, "Run").click().run()
    button(at, "Stop").click().run()
    assert list(paths.runs_root().glob(".recipes/response_vs_feature-*/stop"))


@pytest.mark.parametrize("scale", recipes.SCALES)
def test_every_recipe_opens_and_what_it_needs_and_is_not_here_is_told(launched, scale):
    at = opened(scale=scale.capitalize())
    for name, recipe in recipes.RECIPES.items():
        at.selectbox(key="recipe").set_value(name).run()
        assert not at.exception, (name, at.exception)
        assert recipe.question in words(at)
        here = scale == "quick"  # as README promises
        assert bool([each for each in at.button if each.label == "Run"]) == here, name
        assert ("is not on this machine" in words(at)) == (not here), name


def test_what_can_be_downloaded_is_offered_and_a_folder_is_described(launched):
    at = opened(scale="Paper")
    at.selectbox(key="recipe").set_value("segmentation_kd").run()
    assert "PASCAL VOC 2012 is not on this machine. It can be downloaded (2,000 MB)" in words(at)
    assert [each.label for each in at.button if each.label.startswith("Download")] == ["Download 2,000 MB"]
    at.button_group(key="scale").set_value("lab").run()
    told = words(at).replace("\\", "")
    assert "camvid is not on this machine, and there is no download of it." in told
    assert f"Put it at {data_root() / 'camvid'}: a folder with `train/` and `test/`" in told
    assert "`images/` and `masks/`" in told
    assert not [each for each in at.button if each.label.startswith("Download")]


def test_a_folder_that_is_here_can_be_trained_on(launched):
    write_tiles(data_root() / "camvid", train=2, test=2)
    at = opened(scale="Lab")
    at.selectbox(key="recipe").set_value("segmentation_kd").run()
    assert button(at, "Run")


def test_half_done_shows_what_there_is_and_goes_on(launched):
    train("temperature_alpha", 3)
    at = opened()
    at.selectbox(key="recipe").set_value("temperature_alpha").run()
    assert not at.exception, at.exception
    assert "Continue" in [each.label for each in at.button]
    table = at.dataframe[1].value
    assert list(table["Network"]) == ["Teacher", "Independent student", "T 1, alpha 0.1"]
    assert "So far: 15 networks are still to be trained" in words(at)
    assert "The whole grid chooses" not in words(at)


def test_what_is_done_shows_table_figures_observations_and_report(launched):
    train("teacher_capacity")
    at = opened()
    at.selectbox(key="recipe").set_value("teacher_capacity").run()
    assert not at.exception, at.exception
    assert "All 9 networks are trained" in words(at)
    assert len(at.dataframe[1].value) == 9
    assert len(at.get("vega_lite_chart")) == 2  # accuracies, and by teacher; nine learning curves are too many
    assert "1 seed cannot say that a method is better" in words(at)
    assert [each.proto.label for each in at.get("download_button")] == ["Download HTML", "Download Markdown"]


def test_what_was_measured_earlier_is_shown_without_its_runs(launched, nothing_measured_earlier):
    plan = train("temperature_alpha")
    report.write(recipes.so_far(plan), nothing_measured_earlier / "tuning")
    shutil.rmtree(runs_root())
    (nothing_measured_earlier / "damaged").mkdir()
    (nothing_measured_earlier / "damaged" / archive.RECORDS).write_text("{")
    at = opened()
    at.selectbox(key="recipe").set_value("temperature_alpha").run()
    earlier, = (each for each in at.expander if each.label.startswith("Measured earlier: "))
    assert earlier.label == f"Measured earlier: {as_text(plan.setting)}"
    assert any(plan.command in each.value for each in earlier.caption)
    assert len(earlier.dataframe[0].value) == 18
    assert "The whole grid chooses" in earlier.markdown[0].value
    assert "Nothing trained yet" in at.get("progress")[0].proto.text
    at.selectbox(key="recipe").set_value("six_methods").run()
    assert not [each for each in at.expander if each.label.startswith("Measured earlier: ")]


def test_what_lab_sheets_print_stands_beside_what_was_measured(launched, nothing_measured_earlier, monkeypatch):
    plan = train("response_vs_feature")
    sheet = Printed("a sheet", "digits", {"Response-based": {"accuracy": 0.8677}})
    recipe = dataclasses.replace(plan.recipe, printed=[sheet], apart="It has other data.", gallery=False)
    monkeypatch.setitem(recipes.RECIPES, recipe.name, recipe)
    report.write(recipes.so_far(recipes.plan("response_vs_feature")), nothing_measured_earlier / "sheet")
    at = opened()
    earlier, = (each for each in at.expander if each.label.startswith("Measured earlier: "))
    assert earlier.dataframe[0].value.to_dict("records") == [
        {"Network": "Response-based", "": "Test accuracy", "a sheet": "86.77%", "Here": "62.00%"}]
    assert "It has other data." in [each.value for each in earlier.caption]


def test_a_failed_network_and_its_reason_are_told(launched):
    plan = train("response_vs_feature", 1)
    record, = store.all_runs()
    store.set_state(record, FAILED, reason="Epoch 1, step 2: the term 'cross_entropy' became nan.")
    at = opened()
    assert f"{plan.parts[0].label}, seed 0, failed: Epoch 1, step 2" in words(at)
    assert at.dataframe and len(at.dataframe) == 1  # no result, no table

