"""The Recipes page, headless: what it shows before, while and after, and what it asks of the engine."""

import dataclasses
import json
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
from kdengine.recipes.columns import Printed
from kdengine.runs import control, processes, store
from kdengine.runs.records import FAILED, HISTORY, PROGRESS, RUNNING, STUDENT
from tests.kdengine.made import row
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
    kinds = ("header", "subheader", "markdown", "caption", "info", "error", "success")
    return " ".join(each.value for kind in kinds for each in getattr(at, kind))


def button(at, label):
    return next(each for each in at.button if each.label == label)


def labels(at):
    return [each.label for each in at.button]


def command(at):
    """The command line below Run it yourself, which comes last."""
    return at.code[-1].value


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
    assert "resnet20 to resnet8, digits, all training images, 10 labels per class, 20 epochs, one seed" in words(at)
    assert "Nothing trained yet." in words(at)
    assert command(at) == "python -m kdengine recipe response_vs_feature --scale quick --seeds 1"
    assert "What it trains: 4 networks" in [each.label for each in at.expander]
    assert list(at.dataframe[0].value["Network"]) == [
        "Teacher", "Independent student", "Response-based", "Feature-based"]
    at.number_input(key="seeds").set_value(3).run()
    assert "What it trains: 4 networks, students 3 times" in [each.label for each in at.expander]
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
        assert "no report of it comes with the program" in words(at)
        drawn = (name, scale) == ("where_they_look", "lab")
        here = scale == "quick" or drawn  # as README promises
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
    assert "Not started. 3 of 18 networks are there already." in words(at)
    button(at, "Run").click().run()
    assert "3 of 18 networks trained" in words(at)
    processes.take(next(runs_root().glob(".recipes/temperature_alpha-*/lock")), 0).release()  # as it ends
    at.run()
    assert "Continue" in labels(at)
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
    assert len(at.get("vega_lite_chart")) == 5  # scores, KL, by teacher, and how the students learned, twice
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
    assert at.header[0].value == "Measured earlier, January 1970, on A processor"
    assert f"**{as_text(plan.setting)}**" in [each.value for each in at.markdown]
    assert at.code[0].value == plan.command
    assert len(at.dataframe[0].value) == 18
    answer = next(each.value for each in at.markdown if each.value.startswith("- "))
    assert "The whole grid chooses" in answer and "Teacher" not in answer
    assert len(at.get("vega_lite_chart")) == 2
    assert len(at.get("image")) == 0
    assert "Nothing trained yet" in words(at)
    at.selectbox(key="recipe").set_value("six_methods").run()
    assert "no report of it comes with the program" in words(at)
    assert [each.value for each in at.header] == ["Run it yourself"]


def test_several_reports_of_one_experiment_are_a_choice_and_the_most_seeds_come_first(
        launched, nothing_measured_earlier):
    train("teacher_capacity")
    for name, seeds in {"one": 1, "three": 3}.items():
        report.write(recipes.so_far(recipes.plan("teacher_capacity", seeds=seeds)), nothing_measured_earlier / name)
    shutil.rmtree(runs_root())
    at = opened(recipe="Larger teachers")
    choice = at.selectbox(key="report teacher_capacity")
    assert choice.options == ["three", "one"]
    assert "15 epochs, 3 seeds" in words(at)
    assert "So far: 10 networks are still to be trained" in words(at)
    choice.set_value("one").run()
    assert "So far: " not in words(at)


def test_the_pictures_of_a_report_are_shown(launched, monkeypatch):
    monkeypatch.setattr(archive, "reports_root", paths.reports_root)
    at = opened()
    assert "Where they look" in [each.value for each in at.subheader]
    assert any('alt="Teacher: ' in each.proto.body for each in at.get("html"))
    at.selectbox(key="recipe").set_value("temperature_alpha").run()
    assert "Where they look" not in [each.value for each in at.subheader]


# What is changed. ---------------------------------------------------------------------------------------------------


def test_only_what_is_changed_is_in_the_plan_and_in_the_link(launched):
    at = opened(recipe="Six methods")
    assert not [each for each in at.query_params if each.startswith("six_methods.")]
    for key, value in {"epochs": 3, "temperature": 2.0, "share": 30, "labels_per_class": 10}.items():
        at.number_input(key=f"six_methods.{key}").set_value(value).run()
    at.selectbox(key="six_methods.student").set_value("resnet14").run()
    assert not at.exception, at.exception
    expected = recipes.plan("six_methods", share=0.3, epochs=3, temperature=2.0, student="resnet14")
    assert command(at) == expected.command
    assert as_text(expected.setting) in words(at)
    assert {key: at.query_params[key] for key in at.query_params if key.startswith("six_methods.")} == {
        "six_methods.epochs": "3", "six_methods.temperature": "2", "six_methods.share": "30"}
    button(at, "Run").click().run()
    assert launched == [expected.arguments]
    at.number_input(key="six_methods.epochs").set_value(20).run()
    assert "--epochs" not in command(at) and "six_methods.epochs" not in at.query_params


def test_a_recipe_keeps_its_changes_and_another_has_its_own(launched):
    at = opened(recipe="Six methods")
    at.number_input(key="six_methods.epochs").set_value(3).run()
    at.selectbox(key="recipe").set_value("few_labels").run()
    assert at.number_input(key="few_labels.epochs").value == 20
    at.selectbox(key="recipe").set_value("six_methods").run()
    assert at.number_input(key="six_methods.epochs").value == 3


def test_changes_outlive_a_visit_to_another_page(launched):
    at = opened(recipe="Six methods")
    at.number_input(key="six_methods.epochs").set_value(3).run()
    at.selectbox(key="six_methods.student").set_value("resnet14").run()
    before = command(at)
    at.switch_page("../pages/methods.py").run()
    at.switch_page("../pages/recipes.py").run()
    assert not at.exception, at.exception
    assert command(at) == before == recipes.plan("six_methods", epochs=3, student="resnet14").command


def test_what_is_not_changed_follows_the_scale(launched):
    at = opened(recipe="Few labels")
    at.number_input(key="few_labels.batch_size").set_value(32).run()
    scales = next(place for place, each in enumerate(at.get("button_group")) if each.key == "scale")
    shown = {scale: at.get("button_group")[scales].set_value(scale).run().number_input(key="few_labels.epochs").value
             for scale in ("lab", "paper", "quick")}
    assert shown == {"lab": 40, "paper": 240, "quick": 20}
    assert command(at).endswith("--scale quick --seeds 1 --batch-size 32")


@pytest.mark.parametrize(("name", "missing", "told"), [
    ("temperature_alpha", "temperature", "Not to be set for all: T, which this experiment compares."),
    ("missing_class", "temperature", "Not to be set for all: T, which this experiment compares."),
    ("teacher_capacity", "teacher", "Not to be set for all: the teacher, which this experiment compares."),
])
def test_what_a_recipe_compares_is_not_offered(launched, name, missing, told):
    at = opened()
    at.selectbox(key="recipe").set_value(name).run()
    assert f"{name}.{missing}" not in {each.key for each in (*at.selectbox, *at.number_input)}
    assert told in [each.value for each in at.caption]


def test_masks_and_the_weight_of_the_answers_are_offered_where_there_are_any(launched):
    at = opened(recipe="Segmentation")
    keys = {each.key.partition(".")[2] for each in at.number_input}
    assert {"labelled_images", "kl_weight", "temperature"} < keys and "labels_per_class" not in keys
    assert "FPN, large" in at.selectbox(key="segmentation_kd.teacher").options
    at.number_input(key="segmentation_kd.labelled_images").set_value(32).run()
    at.number_input(key="segmentation_kd.kl_weight").set_value(5.0).run()
    assert command(at).endswith("--labelled-images 32 --kl-weight 5.0")
    at.selectbox(key="recipe").set_value("six_methods").run()
    assert "six_methods.kl_weight" not in {each.key for each in at.number_input}


def test_data_that_are_here_or_can_be_downloaded_are_offered(launched):
    write_tiles(data_root() / "scenes", train=2, test=2)
    at = opened(recipe="Segmentation")
    assert at.selectbox(key="segmentation_kd.data").options == [
        "Shapes, pixel by pixel (its own)", "PASCAL VOC 2012", "Oxford-IIIT Pet", "scenes"]
    at.selectbox(key="recipe").set_value("six_methods").run()
    options = at.selectbox(key="six_methods.data").options
    assert options[:2] == ["Handwritten digits (its own)", "Shapes"] and "Image folder" not in options
    at.selectbox(key="six_methods.data").set_value("cifar10").run()
    assert "CIFAR-10 is not on this machine. It can be downloaded" in words(at)
    assert "Run" not in labels(at)


def test_what_cannot_be_trained_is_refused_before_anything_starts(launched):
    at = opened(recipe="Six methods")
    at.number_input(key="six_methods.labels_per_class").set_value(5000).run()
    assert "labels_per_class is 5000" in at.error[0].value.replace("\\", "")
    assert "Run" not in labels(at)


# While it runs. -----------------------------------------------------------------------------------------------------


def in_training(configurations, rows=(), **progress):
    """Runs that have been started and are as far as that, in the hands of a worker."""
    ids = control.submit(configurations)
    for run in ids:
        store.set_state(store.read(run), RUNNING)
        folder = store.directory(run)
        (folder / HISTORY).write_text("".join(json.dumps(each) + "\n" for each in rows))
        (folder / PROGRESS).write_text(json.dumps({"phase": "Training", "epoch": len(rows), "epochs": 20, "images": 50,
                                                   "of": 100, "images_per_second": 70.0, **progress}))
    return ids


def bars(at):
    return [each.proto.text for each in at.get("progress")]


def test_a_running_recipe_tells_what_trains_how_far_it_is_and_shows_how_it_learns(launched):
    plan = recipes.plan("response_vs_feature")
    recipes.start(plan)
    at = opened()
    assert "**0 of 4 networks trained.** Starting …" in words(at)
    in_training([plan.parts[0].configuration], seconds_left=1300.0)
    at.run()
    assert "**0 of 4 networks trained.** Now the teacher; then 3 more networks." in words(at)
    assert bars(at) == ["Epoch 1 of 20 · 70 images a second"]  # no guess before the first epoch is complete
    assert len(at.get("vega_lite_chart")) == 0


def test_students_that_train_are_named_with_the_time_left_and_their_curves(launched):
    plan = train("response_vs_feature", 1)
    shutil.copy(paths.checkpoints_root() / "digits-teacher.safetensors", store.directory("network-0") / STUDENT)
    recipes.start(plan)
    in_training([dataclasses.replace(part.configuration, teacher="network-0") for part in plan.parts[1:]],
                rows=[row(1), row(2)], seconds_left=170.0)
    at = opened()
    assert ("**1 of 4 networks trained.** Now 3 students side by side: Independent student, Response-based, "
            "Feature-based.") in words(at)
    assert bars(at) == ["Epoch 3 of 20 · 70 images a second · about 3 min left"]
    drawn = json.loads(at.get("vega_lite_chart")[0].proto.spec)["description"]
    assert drawn == ("Validation accuracy over the epochs. Independent student: 50.0% after epoch 2; "
                     "Response-based: 50.0% after epoch 2; Feature-based: 50.0% after epoch 2.")
    assert "Stop" in labels(at) and "Run" not in labels(at)


def test_what_another_recipe_trains_is_told_as_such_and_its_progress_is_not_shown(launched):
    plan = recipes.plan("response_vs_feature")
    recipes.start(plan)
    in_training([plan.parts[0].configuration], rows=[row(1)], seconds_left=60.0)
    at = opened(recipe="Six methods")
    assert ("Not started. In training now, for Response or feature (quick): the teacher. This experiment will "
            "share it.") in words(at).replace("\\", "")
    assert bars(at) == [] and len(at.get("vega_lite_chart")) == 0
    button(at, "Run").click().run()
    assert ("**0 of 7 networks trained.** Now the teacher, shared with Response or feature (quick); then 6 more "
            "networks.") in words(at).replace("\\", "")
    assert bars(at) == ["Epoch 2 of 20 · 70 images a second · about 1 min left"]


def test_a_network_that_still_ends_its_epoch_after_stop_is_told(launched):
    plan = recipes.plan("response_vs_feature")
    recipes.start(plan)
    in_training([plan.parts[0].configuration])
    processes.take(next(runs_root().glob(".recipes/*/lock")), 0).release()  # as it ends
    at = opened()
    assert "Stopping: the teacher ends with this epoch." in words(at)
    assert "Continue" in labels(at)


def test_what_lab_sheets_print_stands_beside_what_was_measured(launched, nothing_measured_earlier, monkeypatch):
    plan = train("response_vs_feature")
    sheet = Printed("a sheet", "digits", {"Response-based": {"accuracy": 0.8677}})
    recipe = dataclasses.replace(plan.recipe, printed=[sheet], apart="It has other data.", gallery=False)
    monkeypatch.setitem(recipes.RECIPES, recipe.name, recipe)
    report.write(recipes.so_far(recipes.plan("response_vs_feature")), nothing_measured_earlier / "sheet")
    at = opened()
    assert at.dataframe[0].value.to_dict("records") == [
        {"Network": "Response-based", "": "Test accuracy", "a sheet": "86.77%", "Here": "62.00%"}]
    assert "It has other data." in [each.value for each in at.caption]


def test_a_failed_network_and_its_reason_are_told(launched):
    plan = train("response_vs_feature", 1)
    record, = store.all_runs()
    store.set_state(record, FAILED, reason="Epoch 1, step 2: the term 'cross_entropy' became nan.")
    at = opened()
    assert f"{plan.parts[0].label}, seed 0, failed: Epoch 1, step 2" in words(at)
    assert at.dataframe and len(at.dataframe) == 1  # no result, no table

