"""Every page opens in the states that use produces, and shows and offers nothing that is no network of its own."""

import sys
from pathlib import Path

import pytest
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

import kdengine
from kdengine import models
from kdengine.__main__ import main
from kdengine.configuration import Configuration
from kdengine.runs import checkpoints, control, results, store
from kdengine.runs.records import STUDENT

APP = Path(__file__).resolve().parent.parent.parent / "explorer" / "app.py"
DIGITS = tuple("0123456789")
TWO_STAGES = ("fsp", "factor", "fitnet_original", "activation_boundary")
NORMALIZED = ("--mean", "0.5", "0.5", "0.5", "--std", "0.25", "0.25", "0.25")
SHORT = {"share": 0.1, "epochs": 1, "batch_size": 32, "precision": "float32", "teacher": "digits-teacher"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A data root for all tests here: scenes are drawn once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def nothing_remembered(drawn, monkeypatch):
    """What another test's pages have opened is opened anew."""
    monkeypatch.setenv("KDENGINE_DATA", str(drawn))
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A checkpoints folder of the test's own, with a teacher of the digits that never learned them."""
    place = tmp_path / "checkpoints"
    place.mkdir()
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(place))
    save(place, "digits-teacher", "none")
    return place


def save(place, name, method, *, classes=DIGITS, data="digits", size=32, **about):
    """A checkpoint of random weights."""
    about = {"scores": {"validation": {"top1": 0.5, "n": 10}, "test": {"top1": 0.5, "n": 10}}} | about
    network = models.build("resnet8", classes, input_size=size)
    checkpoints.save(network, place / f"{name}.safetensors", method=method, hyperparameters={},
                     data={"name": data, "labels_per_class": None}, **about)


def opened(page, **query):
    at = AppTest.from_file(str(APP), default_timeout=90)
    at.query_params.update({"view": "Your own runs"} | query if page == "distill" else query)
    at.switch_page(f"../pages/{page}.py").run()
    assert not at.exception, at.exception
    return at


def every_page():
    """Each page by its name, opened; none may raise."""
    return {page.stem.capitalize(): opened(page.stem) for page in (APP.parent.parent / "pages").glob("*.py")}


def labelled(elements, label):
    return next(each for each in elements if each.label == label)


def words(at):
    kinds = ("markdown", "caption", "info", "error", "warning")
    return " ".join(each.value for kind in kinds for each in getattr(at, kind))


# -- first stages ----------------------------------------------------------------------------------------------------


def test_a_first_stage_is_no_network_to_compare_or_to_learn_from(train_here, folder):
    ids = control.submit([Configuration(method=method, **SHORT) for method in TWO_STAGES])
    firsts = [store.read(run).configuration.initial for run in ids]
    assert {store.read(run).state for run in (*ids, *firsts)} == {"finished"}
    pages = every_page()
    at = pages["Compare"]
    titles = [kdengine.runs.method_title(method) for method in TWO_STAGES]
    names = labelled(at.selectbox, "Teacher").options
    assert names[0] == "Teacher · resnet8"
    assert sorted(name.partition(" · ")[0].partition(",")[0] for name in names[1:]) == sorted(titles)
    assert set(labelled(pages["Distill"].selectbox, "Teacher").options[1:]) == {"digits-teacher", *ids}
    assert set(pages["Results"].dataframe[-1].value["name"]) == set(ids)


def test_a_kept_first_stage_is_never_shown_and_never_teaches(train_here, folder):
    run, = control.submit([Configuration(method="factor", **SHORT)])
    first = store.read(run).configuration.initial
    results.keep(first, "digits-untrained")
    (folder / "digits-teacher.safetensors").unlink()
    assert kdengine.runs.default_teacher("digits") is None  # though it is the only one, and was trained on every label
    assert kdengine.runs.shipped_families() == {}
    pages = every_page()
    assert first not in labelled(pages["Distill"].selectbox, "Teacher").options
    assert "digits-untrained" not in labelled(pages["Distill"].selectbox, "Teacher").options
    assert set(pages["Results"].dataframe[-1].value["name"]) == {run}
    pages["Compare"].selectbox(key="family").set_value("digits").run()
    (only,) = labelled(pages["Compare"].selectbox, "Teacher").options
    assert only.startswith("Factor transfer, beta 200 · resnet8 · ")


def test_a_first_stage_of_segmentation_is_no_network_there_either(train_here):
    shared = {"data": "shapes_segmentation", "student": "fpn_tiny", "epochs": 1, "batch_size": 16, "share": 0.05,
              "precision": "float32", "image_size": 48}
    teacher, = control.submit([Configuration(method="none", **shared)])
    run, = control.submit([Configuration(method="activation_boundary", teacher=teacher, **shared)])
    at = opened("segmentation")
    at.selectbox(key="mask family").set_value("shapes_segmentation 48").run()
    assert not at.exception, at.exception
    assert [name.rpartition(" · ")[0] for name in labelled(at.selectbox, "Teacher").options] == [
        f"{kdengine.runs.method_title(store.read(each).configuration.method)} · fpn_tiny" for each in (run, teacher)]


def test_a_method_that_is_no_more_is_called_by_its_name(folder):
    save(folder, "digits-old", "forgotten", scores={"test": {"top1": 0.5, "n": 10}})
    assert kdengine.runs.method_title("forgotten") == "forgotten"
    at = every_page()["Compare"]
    assert "forgotten · resnet8" in labelled(at.multiselect, "Students").options


def test_a_teacher_that_is_gone_is_not_offered(train_here, folder):
    run, = control.submit([Configuration(method="kd", **SHORT)])
    (folder / "digits-teacher.safetensors").unlink()
    at = every_page()["Compare"]
    at.selectbox(key="family").set_value("digits").run()
    (only,) = labelled(at.selectbox, "Teacher").options
    assert only.startswith("Logit matching, T 4, alpha 0.9 · resnet8 · ")
    assert not at.error
    assert run in labelled(opened("distill").selectbox, "Teacher").options


# -- imported checkpoints --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "beside a teacher"])
def test_an_imported_checkpoint_stands_beside_the_others(folder, tmp_path, alone):
    if alone:
        (folder / "digits-teacher.safetensors").unlink()
    weights = tmp_path / "weights.pth"
    torch.save(models.build("resnet8", DIGITS, seed=3).net.state_dict(), weights)
    assert main(["import", str(weights), str(folder / "digits-mine.safetensors"), "--model", "resnet8",
                 "--data", "digits", *NORMALIZED]) == 0
    about = kdengine.list_checkpoints()["digits-mine"]
    assert about["method"] is None and about["scores"] == {}
    assert kdengine.runs.teacher_of("digits-mine", about) is None
    pages = every_page()
    at = pages["Compare"]
    at.selectbox(key="family").set_value("digits").run()
    assert not at.exception, at.exception
    assert not at.error
    assert "imported · resnet8" in labelled(at.selectbox, "Teacher").options
    assert "digits-mine" in labelled(pages["Distill"].selectbox, "Teacher").options
    labelled(pages["Distill"].selectbox, "Teacher").set_value("digits-mine").run()
    assert [each.label for each in pages["Distill"].button if each.label == "Start"] == ["Start"]


def test_an_imported_network_that_segments_is_shown(folder, tmp_path):
    weights = tmp_path / "weights.pth"
    classes = kdengine.open_data("shapes_segmentation").classes
    torch.save(models.build("fpn_tiny", classes).net.state_dict(), weights)
    assert main(["import", str(weights), str(folder / "scenes-mine.safetensors"), "--model", "fpn_tiny",
                 "--data", "shapes_segmentation", *NORMALIZED]) == 0
    at = every_page()["Segmentation"]
    assert not at.error
    assert labelled(at.selectbox, "Teacher").options == ["mine · fpn_tiny"]


# -- a network without feature maps ----------------------------------------------------------------------------------


class Flat(nn.Sequential):
    """Pixels to classes at once: nothing in it puts out a map."""

    input_size = 32

    def __init__(self, classes):
        super().__init__(nn.Flatten(), nn.Linear(3 * 32 * 32, classes))


@pytest.fixture
def flat(folder, monkeypatch):
    """A checkpoint of such a network, of a module that is trusted."""
    monkeypatch.setattr(Flat, "__module__", "flat_networks")
    module = type(sys)("flat_networks")
    module.flat = Flat
    monkeypatch.setitem(sys.modules, "flat_networks", module)
    monkeypatch.setenv("KDENGINE_TRUST", "flat_networks")
    network = models.build("flat_networks:flat", DIGITS)
    assert network.stages == ()
    checkpoints.save(network, folder / "digits-flat.safetensors", method="kd", hyperparameters={},
                     data={"name": "digits", "labels_per_class": None}, scores={})


def test_a_network_without_feature_maps_answers_and_a_sentence_stands_for_its_map(flat):
    at = every_page()["Compare"]
    assert labelled(at.selectbox, "Teacher").value == "digits-teacher"
    assert labelled(at.multiselect, "Students").value == ["digits-flat"]
    assert not at.error
    assert sum("no feature maps, so there is no heat map" in each.value for each in at.caption) == 1
    assert sum("stage3, 8 × 8 cells" in each.value for each in at.caption) == 1
    (row,) = at.table[0].value.to_dict("records")
    assert row["Same class"] in ("yes", "no")
    assert [value for title, value in row.items() if title.startswith("Maps")] == ["–"] * 3
    # As the network that the others are held against, and alone.
    labelled(at.selectbox, "Teacher").set_value("digits-flat").run()
    assert not at.exception and not at.error
    labelled(at.multiselect, "Students").set_value([]).run()
    assert not at.exception and not at.error
    assert at.selectbox(key="layer").options == ["automatic"]


# -- teachers of another size ----------------------------------------------------------------------------------------


def test_a_teacher_of_another_size_sets_the_size_of_the_images(folder, monkeypatch):
    monkeypatch.setattr(control, "_launch", lambda ids: None)
    (folder / "digits-teacher.safetensors").unlink()
    save(folder, "digits-large", "none", size=48)
    at = opened("distill")
    assert labelled(at.selectbox, "Teacher").value == "digits-large"
    assert "brought to 48 × 48 pixels" in words(at)
    assert not at.error
    labelled(at.multiselect, "Methods, trained side by side").set_value(["kd"]).run()
    labelled(at.button, "Start").click().run()
    assert not at.exception and not at.error
    record, = store.all_runs()
    assert (record.configuration.teacher, record.configuration.image_size) == ("digits-large", 48)


def test_a_teacher_of_the_data_set_s_own_size_leaves_the_size_open(folder):
    assert kdengine.runs.teaching_size("digits-teacher", "digits") is None
    assert "brought to" not in words(opened("distill"))


@pytest.mark.parametrize(("data", "about", "told"), [
    ("shapes", {"size": 32}, "image_size of shapes is 32; allowed is a number from 48 to 96."),
    ("digits", {"classes": ("a", "b")}, "was trained for other classes than Handwritten digits has"),
], ids=["no such size", "other classes"])
def test_a_teacher_that_cannot_teach_this_is_offered_and_not_preselected(folder, data, about, told):
    classes = about.pop("classes", None) or kdengine.open_data(data).classes
    (folder / "digits-teacher.safetensors").unlink()
    save(folder, "able", "none", data=data, classes=kdengine.open_data(data).classes,
         size=kdengine.open_data(data).size, scores={})
    save(folder, "unable", "none", data=data, classes=classes, **about)
    assert kdengine.runs.default_teacher(data) == "unable"
    at = opened("distill")
    at.selectbox(key="data").set_value(data).run()
    teacher = labelled(at.selectbox, "Teacher")
    assert (teacher.value, teacher.options[1:]) == ("able", ["unable", "able"])
    assert any(each.label == "Start" for each in at.button)
    labelled(at.selectbox, "Teacher").set_value("unable").run()
    assert not at.exception
    assert told in words(at).replace("\\", "")
    assert "--" not in words(at)  # no flag of the command line


def test_the_weights_of_a_first_stage_cannot_teach(train_here):
    run, = control.submit([Configuration(method="factor", **SHORT)])
    first = store.read(run).configuration.initial
    assert (store.directory(first) / STUDENT).is_file()
    with pytest.raises(kdengine.KDError, match="is the first stage of a method"):
        kdengine.runs.teaching_size(first, "digits")
    assert kdengine.runs.teaching_size(run, "digits") is None
