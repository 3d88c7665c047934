"""Start, Distill and Results, headless: what they show when full and when empty, and what they ask of the engine."""

import dataclasses
import json
import random
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

import kdengine
from explorer.comparison import percent
from explorer.pinned import softened
from explorer.wording import as_text
from kdengine import paths
from kdengine.configuration import Configuration
from kdengine.measures.uncertainty import share_interval
from kdengine.runs import checkpoints, control, estimates, references, results, store, worker
from kdengine.runs.records import RECORD
from kdengine.runs.summary import summaries
from tests.faults import hostile
from tests.kdengine import made

APP = Path(__file__).resolve().parent.parent.parent / "explorer" / "app.py"


def open_page(name, **query):
    at = AppTest.from_file(str(APP), default_timeout=90)
    at.query_params.update(query)
    at.switch_page(f"../pages/{name}.py")
    at.run()
    assert not at.exception, at.exception
    return at


def words(at):
    return " ".join(each.value for kind in ("markdown", "caption", "info", "error") for each in getattr(at, kind))


@pytest.fixture
def no_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "none"))


def test_start_shows_the_shipped_pair_s_own_numbers():
    at = open_page("start")
    drawn = "".join(each.proto.body for each in at.get("html"))
    for name in ("digits-teacher", "digits-resnet8-none", "digits-resnet8-kd"):
        test = checkpoints.describe(references.locate(name))["scores"]["test"]
        sure = share_interval(test["top1"], test["n"])
        assert f"{test['top1']:.2%}, 95% interval {sure.low:.2%} to {sure.high:.2%}" in drawn
    assert "5 labels per class" in words(at)
    assert "no label at all" in words(at)
    distilled = checkpoints.describe(references.locate("digits-resnet8-kd"))
    assert distilled["hyperparameters"]["alpha"] == 1  # so that sentence is true
    for size in ("ResNet-20 with 272,474 parameters", "ResNet-8 with 78,042 parameters"):  # counted by hand: He 2016
        assert re.search(rf"{size} and takes \*\*\d+\.\d ms\*\*", words(at))


@pytest.mark.parametrize("busy", [False, True])
def test_start_says_so_where_others_kept_the_machine_busy(monkeypatch, busy):
    st.cache_data.clear()
    measure = kdengine.measures.cost

    def cost(network):
        measured = measure(network)
        return measured | {"latency": measured["latency"] | {"quartiles_ms": [1.0, 1.2], "busy": busy}}

    monkeypatch.setattr(kdengine.measures, "cost", cost)
    assert ("Other programs kept the machine busy meanwhile." in words(open_page("start"))) == busy
    st.cache_data.clear()


def test_start_shows_a_digit_that_the_student_alone_misreads():
    st.cache_data.clear()  # other tests have other networks of these names
    st.cache_resource.clear()
    at = open_page("start")
    index = kdengine.runs.telling_example("digits-teacher", "digits-resnet8-kd", "digits-resnet8-none")
    picture, truth = kdengine.data.example(kdengine.open_data("digits"), index)
    reads = {}
    for name in ("digits-teacher", "digits-resnet8-none", "digits-resnet8-kd"):
        logits = np.array(kdengine.predict(kdengine.open_network(name), picture)["logits"])
        reads[name] = int(logits.argmax())
        assert f'title="9: {percent(float(softened(logits, 4)[9]))}"' in "".join(
            each.proto.body for each in at.get("html"))
    assert reads["digits-teacher"] == reads["digits-resnet8-kd"] == truth != reads["digits-resnet8-none"]
    assert f"The independent student reads **{reads['digits-resnet8-none']}**, the distilled student **{truth}**." in (
        words(at))


def test_start_without_checkpoints_says_how_to_get_them(no_checkpoints):
    assert "make checkpoints" in words(open_page("start"))


@pytest.fixture
def measured(monkeypatch):
    """What was measured, each time the networks of its students: 0.5 s a step of the teacher and of each student."""
    asked = []

    def pace(configurations):
        asked.append([each.student for each in configurations])
        return estimates.Pace(0.5, (0.5,) * len(configurations))

    monkeypatch.setattr("kdengine.runs.pace", pace)
    st.cache_resource.clear()
    yield asked
    st.cache_resource.clear()


def test_nothing_blocks_start_and_nothing_is_measured_twice(measured, waiting, monkeypatch):
    held = threading.Event()
    monkeypatch.setattr("kdengine.runs.pace", lambda asked, pace=kdengine.runs.pace: held.wait() and pace(asked))
    at = open_page("distill", view="Your own runs")
    assert "Measuring how fast this machine is" in words(at)
    assert [each for each in at.button if each.label == "Start"]
    held.set()
    while "Measuring" in words(at):  # at most until the other thread has had its turn
        at.run()
    # 1,259 images by 64 are 19.7 steps of 1.5 s, for 10 epochs and one more, and 5 s of the worker's start
    assert "About **5 min 30 s** of training on this machine" in words(at)
    at.number_input(key="kd.temperature").set_value(8.0).run()
    at.slider(key="kd.alpha").set_value(0.5).run()
    at.number_input(key="seed").set_value(3)
    at.number_input(key="epochs").set_value(1).run()
    assert "About **1 min 04 s** of training on this machine" in words(at)
    assert measured == [["resnet8", "resnet8"]]


def test_nothing_is_measured_beside_a_training(measured, waiting):
    run, = control.submit([Configuration(teacher="digits-teacher")])
    at = open_page("distill", view="Your own runs")
    assert "How long it takes is measured once no training runs" in words(at) and measured == []
    control.stop(run)
    worker.work([run])
    at = open_page("distill", view="Your own runs")
    while "Measuring" in words(at):  # at most until the other thread has had its turn
        at.run()
    told = "About **5 min 30 s** of training on this machine"
    assert told in words(at) and measured == [["resnet8", "resnet8"]]
    control.submit([Configuration(teacher="digits-teacher")])
    assert told in words(open_page("distill", view="Your own runs"))  # what was measured before stays true
    assert measured == [["resnet8", "resnet8"]]


def test_distill_asks_the_engine_for_what_the_form_says(measured, waiting):
    at = open_page("distill", view="Your own runs")
    at.multiselect[0].set_value(["kd", "features_mse"]).run()
    at.slider(key="kd.alpha").set_value(0.5)
    at.number_input(key="epochs").set_value(7)
    at.number_input(key="seed").set_value(3).run()
    next(each for each in at.button if each.label == "Start").click().run()
    assert not at.exception, at.exception
    made = {each.configuration.method: each.configuration for each in store.all_runs()}
    assert made["kd"] == Configuration(
        method="kd", hyperparameters={"temperature": 4.0, "alpha": 0.5}, teacher="digits-teacher", epochs=7, seed=3)
    assert made["features_mse"] == dataclasses.replace(
        made["kd"], method="features_mse", hyperparameters={"beta": 0.1, "norm": "l2"})
    assert "Queued" in words(at)
    assert at.selectbox[0].label == "Group of runs"  # what was started stands above the form
    assert [each.label for each in at.button].count("Stop now") == 2


@pytest.mark.parametrize("wrong", ["1e999", "nan", "many", "-3", ""])
def test_distill_opens_whatever_number_is_in_the_link(wrong):
    at = AppTest.from_file(str(APP), default_timeout=90)
    at.query_params["epochs"] = wrong
    at.query_params["seed"] = "5"
    at.query_params["view"] = "Your own runs"
    at.switch_page("../pages/distill.py").run()
    assert not at.exception, at.exception
    assert at.number_input(key="epochs").value == 10
    assert at.number_input(key="seed").value == 5


@pytest.mark.parametrize(("data", "key", "label", "name"), [
    ("digits", "labels", "Labeled images per class", "labels_per_class"),
    ("shapes_segmentation", "masks", "Images with a mask", "labelled_images"),
])
def test_distill_withholds_labels_or_masks_and_keeps_their_number_in_the_link(waiting, data, key, label, name):
    at = AppTest.from_file(str(APP), default_timeout=90)
    at.query_params[key] = "5"
    at.query_params["view"] = "Your own runs"
    at.switch_page("../pages/distill.py").run()
    at.selectbox(key="data").set_value(data).run()
    field = at.number_input(key=key)
    assert (field.label, field.value) == (label, 5)
    field.set_value(6).run()
    assert at.query_params[key] == "6"
    next(each for each in at.button if each.label == "Start").click().run()
    assert not at.exception, at.exception
    for asked in (each.configuration for each in store.all_runs()):
        few = {"labels_per_class": asked.labels_per_class, "labelled_images": asked.labelled_images}
        assert few == {"labels_per_class": None, "labelled_images": None} | {name: 6}
    assert len(store.all_runs()) == 2


def test_distill_reads_all_labels_where_their_number_is_left_empty():
    at = open_page("distill", view="Your own runs")
    assert at.number_input(key="labels").value is None
    at.number_input(key="labels").set_value(6).run()
    at.number_input(key="labels").set_value(None).run()
    assert not at.exception, at.exception
    assert "labels" not in at.query_params


def test_distill_without_a_teacher_offers_only_what_needs_none(no_checkpoints, waiting):
    at = open_page("distill", view="Your own runs")
    assert at.multiselect[0].options == ["Independent student", "Label smoothing"]
    assert "No checkpoint knows these classes yet" in words(at)
    assert "No runs yet" in words(at)


def test_distill_offers_the_download_of_what_is_missing():
    at = open_page("distill", view="Your own runs")
    at.selectbox(key="data").set_value("cifar10").run()
    assert "is not on this machine" in words(at)
    assert any(re.fullmatch(r"Download 17\d MB", each.label) for each in at.button)


@pytest.mark.parametrize("path", ["nowhere", "../../etc"])
def test_distill_says_what_is_wrong_with_a_folder(path):
    at = open_page("distill", view="Your own runs")
    at.selectbox(key="data").set_value("folder").run()
    assert "Name a folder" in words(at)
    at.text_input[0].set_value(path).run()
    assert not at.exception
    assert at.error


def test_distill_says_how_a_folder_was_read(tmp_path):
    for split, count in (("train", 6), ("test", 3)):
        for part in ("images", "labels"):
            (tmp_path / "data" / "discs" / split / part).mkdir(parents=True)
        for number in range(count):
            mask = Image.new("L", (16, 16))
            mask.paste(255, (4, 4, 12, 12))
            for part in ("images", "labels"):
                mask.save(tmp_path / "data" / "discs" / split / part / f"{number}.png")
    at = open_page("distill", view="Your own runs")
    at.selectbox(key="data").set_value("folder").run()
    at.text_input[0].set_value("discs").run()
    assert not at.exception
    told = [each.value for kind in ("text", "caption") for each in getattr(at, kind)]
    assert "The masks were taken from the folder labels." in told
    assert "The masks hold 0 and 255 alone: 0 was taken as background, 255 as foreground." in told
    (tmp_path / "data" / "discs" / "classes.txt").write_text("background\ncat\ndog\n")
    st.cache_data.clear()  # the folder was looked at a moment ago
    at.run()
    assert "classes.txt names 3 classes" in words(at)


def test_distill_shows_reason_curves_and_resume_of_what_ended(waiting, monkeypatch):
    settings = {"share": 0.1, "batch_size": 32, "epochs": 1, "precision": "float32", "teacher": "digits-teacher"}
    ids = control.submit([Configuration(learning_rate=1e30, **settings),
                          Configuration(method="label_smoothing", **settings)])
    worker.work(ids)
    at = open_page("distill", view="Your own runs")
    assert "Failed" in words(at) and "Finished" in words(at)
    assert "Epoch 1, step" in words(at)
    assert len(at.get("vega_lite_chart")) == 2
    next(each for each in at.button if each.label == "Resume").click().run()
    assert store.read(ids[0]).state == "queued"


def test_distill_keeps_apart_the_groups_that_one_minute_brought(waiting):
    both = [control.submit([Configuration(teacher="digits-teacher", seed=seed)])[0] for seed in (0, 1)]
    records = [store.read(run) for run in both]
    for place, record in enumerate(records):
        record.created = records[0].created + place / 1000
        record.save(store.directory(record.id))
    older, newer = both
    at = open_page("distill", view="Your own runs")
    group = at.selectbox(key="group")
    assert len(set(group.options)) == 2
    for run, other in ((newer, older), (older, newer)):
        at.selectbox(key="group").set_value(store.read(run).group).run()
        shown = [each.key for each in at.button]
        assert f"stop {run}" in shown and f"stop {other}" not in shown


def test_distill_starts_one_group_after_another_and_shows_the_last(waiting):
    at = open_page("distill", view="Your own runs")
    assert "group" not in at.query_params
    for count in (1, 2, 3):
        next(each for each in at.button if each.label == "Start").click().run()
        assert not at.exception, at.exception
        assert len(at.selectbox(key="group").options) == count
        newest = kdengine.list_runs()[0]["group"]
        assert at.selectbox(key="group").value == newest and at.query_params["group"] in (newest, [newest])
    labels = [each.label for each in at.selectbox]
    assert labels.index("Group of runs") < labels.index("Data set")  # no scrolling to what was started
    older = kdengine.list_runs()[-1]["group"]
    again = open_page("distill", view="Your own runs", group=older)
    assert again.selectbox(key="group").value == older
    assert [each.label for each in again.selectbox].index("Group of runs") == 0


def test_distill_says_that_the_runs_of_a_link_are_gone(waiting):
    run, = control.submit([Configuration(teacher="digits-teacher")])
    at = open_page("distill", view="Your own runs", group="20200101-000000-abcd")
    assert "The runs of the link, 20200101-000000-abcd, are not here. The newest ones are shown." in words(at)
    assert at.selectbox(key="group").value == store.read(run).group and "group" not in at.query_params


def test_distill_shows_a_pause_and_ends_it(waiting):
    run, = control.submit([Configuration(teacher="digits-teacher")])
    at = open_page("distill", view="Your own runs")
    assert "Paused" not in words(at) and "Go on" not in [each.label for each in at.button]
    kdengine.runs.pause([run], 0)
    at = open_page("distill", view="Your own runs")
    assert ":orange-badge[Paused]" in words(at)
    next(each for each in at.button if each.label == "Go on").click().run()
    assert not at.exception, at.exception
    assert not store.pauses(run, 10**6) and "Paused" not in words(at)


def test_distill_tells_who_clicks_too_late(waiting):
    run, = control.submit([Configuration(teacher="digits-teacher")])
    at = open_page("distill", view="Your own runs")
    control.stop(run)
    worker.work([run])
    next(each for each in at.button if each.label == "Stop now").click().run()
    assert not at.exception, at.exception
    assert "Stopped" in words(at)


def test_distill_names_runs_deletes_them_and_brings_them_back(waiting):
    kd, alone = control.submit([Configuration(method=each, teacher="digits-teacher") for each in ("kd", "none")])
    at = open_page("distill", view="Your own runs")
    assert "Delete" not in " ".join(each.label for each in at.button)  # both wait to be trained
    at.text_input(key=f"name {kd}").set_value("the *one* I like").run()
    assert not at.exception, at.exception
    assert store.name(kd) == "the *one* I like" and "the \\*one\\* I like" in words(at)
    options = at.selectbox(key="group").options
    assert "the *one* I like (Logit matching, T 4, alpha 0.9) | Independent student" in options[0]
    for each in (kd, alone):
        control.stop(each)
    worker.work([kd, alone])
    at = open_page("distill", view="Your own runs")
    next(each for each in at.button if each.label == "Delete these 2 runs").click().run()
    assert not at.exception, at.exception
    assert store.all_runs() == [] and "Deleted: " in words(at) and "No runs yet" in words(at)
    next(each for each in at.button if each.label == "Undo").click().run()
    assert not at.exception, at.exception
    assert {record.id for record in store.all_runs()} == {kd, alone} and store.name(kd) == "the *one* I like"
    assert "Deleted: " not in words(at) and at.text_input(key=f"name {kd}").value == "the *one* I like"


def results_of(data):
    """The page with a data set chosen, its answer, and the table of every run."""
    at = open_page("results")
    at.segmented_control(key="set").set_value(data).run()
    assert not at.exception, at.exception
    return at, at.dataframe[0].value, at.dataframe[1].value


def test_results_hold_every_shipped_checkpoint_and_its_change():
    sets = {about["data"]["name"] for about in checkpoints.shipped().values()}
    names = set().union(*(results_of(data)[2]["name"] for data in sets))
    assert set(checkpoints.shipped()) <= names
    at, answer, table = results_of("digits")
    kd = table[table["name"] == "digits-resnet8-kd"].iloc[0]
    alone = table[table["name"] == "digits-resnet8-none"].iloc[0]
    measured = checkpoints.describe(references.locate("digits-resnet8-kd"))["scores"]["test"]["top1"]
    assert kd["accuracy"] == pytest.approx(100 * measured)  # in hundredths, as shown
    assert kd["change"] == pytest.approx(kd["accuracy"] - alone["accuracy"])
    assert kd["verdict"].startswith("differ (p")
    assert "Tick rows" in words(at)
    said = answer[answer["Name"] == "digits-resnet8-kd"].iloc[0]
    assert said["Method"] == "Logit matching, T 4, alpha 1"
    assert said["Accuracy"] == f"{measured:.2%} ({kd['low']:.1f}% to {kd['high']:.1f}%)"
    assert (said["Change"], said["Verdict"]) == (pytest.approx(kd["change"]), kd["verdict"])
    assert said["KL to teacher"] == kd["kl_to_teacher"] and said["Parameters"] == kd["parameters"]
    assert answer["Method"].iloc[0] == "Teacher" and "Independent student" in list(answer["Method"])


def test_the_chart_of_changes_says_what_the_table_says():
    at, answer, _ = results_of("digits")
    chart = json.loads(at.get("vega_lite_chart")[0].proto.spec)
    assert chart["description"].startswith("Change of test accuracy against the independent student")
    changed = answer[answer["Verdict"].notna()]
    assert len(changed) == 3
    for _, row in changed.iterrows():
        assert f"{row['Method']}: {row['Change']:+.2f} (" in chart["description"]
        assert row["Verdict"] in chart["description"]


def test_the_results_are_there_as_a_plain_table_too():
    at, answer, figures = results_of("digits")
    short, plain = at.table[0].value, at.table[1].value
    names = [each.replace("\\", "") for each in short["Name"]]
    assert names == list(answer["Name"]) and short["KL to teacher"].iloc[1] == (
        f"{answer['KL to teacher'].iloc[1]:.4f}".replace(".", "\\."))
    assert len(plain) == len(figures)
    place = list(figures["name"]).index("digits-resnet8-kd")
    assert plain["Test accuracy"].iloc[place].replace("\\", "") == f"{figures['accuracy'].iloc[place]:.2f}%"


def open_results(**query):
    """The page at a link; a list is a name that stands there several times."""
    at = AppTest.from_file(str(APP), default_timeout=90)
    at.query_params.update(query)
    at.switch_page("../pages/results.py").run()
    assert not at.exception, at.exception
    return at


def test_ticked_rows_and_the_chosen_cell_come_back_from_a_link():
    at = open_results(row=["digits-resnet8-none", "digits-resnet8-kd"], cell=["1", "4"])
    curves = json.loads(at.get("vega_lite_chart")[1].proto.spec)
    assert "digits-resnet8-none: " in curves["description"] and "digits-resnet8-kd: " in curves["description"]
    assert "Tick rows" not in words(at) and "Click a cell" not in words(at)
    found = kdengine.runs.images_of("digits-resnet8-none", 1, 4)["indices"]
    assert f"**1** taken for **4**: {len(found)} test images" in words(at)


def test_the_ticked_rows_and_the_cell_survive_another_page():
    at = open_results(row=["digits-resnet8-kd"], cell=["1", "4"])
    at.switch_page("../pages/methods.py").run()
    at.query_params.clear()  # as the browser does where a link leads to another page
    at.switch_page("../pages/results.py").run()
    assert not at.exception, at.exception
    assert "**1** taken for **4**" in words(at) and "Tick rows" not in words(at)
    assert at.query_params["row"] == "digits-resnet8-kd" and at.query_params["cell"] == ["1", "4"]


@pytest.mark.parametrize("query", [
    {"row": ["nobody", "shapes-resnet8-kd", "![](http://x)"]}, {"cell": ["1"]}, {"cell": ["1", "4", "5"]},
    {"cell": ["circle", "1"]}, {"cell": ["", ""]}, {"row": [""]},
])
def test_what_is_no_row_and_no_cell_chooses_none(query):
    at = open_results(**query)
    assert "Tick rows" in words(at) and "Click a cell" in words(at)


def test_a_row_that_is_named_twice_is_ticked_once():
    at = open_results(row=["digits-resnet8-kd", "digits-resnet8-kd"])
    assert "Tick rows" not in words(at)


@pytest.fixture
def older_images(tmp_path, monkeypatch):
    """The shipped results, one of whose records names other images than today's."""
    shutil.copytree(paths.PROJECT / "checkpoints", tmp_path / "checkpoints")
    path = tmp_path / "checkpoints" / "records" / "digits-resnet8-none" / RECORD
    record = json.loads(path.read_text())
    record["data"]["digest"] = "0123456789abcdef"
    path.write_text(json.dumps(record))
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "checkpoints"))
    st.cache_data.clear()


def warnings(at):
    return [each.value for each in at.warning]


def test_a_network_of_other_images_says_so_where_they_would_be_shown(older_images):
    about = "digits-resnet8-none was trained and tested on other images of Handwritten digits than are here now"
    at = open_results(row=["digits-resnet8-none", "digits-resnet8-kd"])
    assert [each.startswith(about) for each in warnings(at)] == [True]
    at = open_results(cell=["1", "4"], confused="Independent student · digits-resnet8-none")
    assert [each.startswith(about) for each in warnings(at)] == [True] and "taken for **4**" not in words(at)
    assert warnings(open_results(row=["digits-resnet8-kd"])) == []
    at = open_page("compare")
    said, = warnings(at)
    assert said.startswith("Independent student · resnet8 was trained and tested on other images of Handwritten digits")
    assert said.endswith("its stored answers cannot be compared with today's images.")
    assert "One picture is an anecdote" not in words(at)


def test_networks_of_today_s_images_are_compared_without_a_word():
    st.cache_data.clear()
    at = open_page("compare")
    assert warnings(at) == [] and "One picture is an anecdote" in words(at)


def timed(busy):
    """A run of the digits' student in a setting of its own, timed on a busy machine or a quiet one."""
    record = results.finished()["digits-resnet8-label_smoothing"]
    record.id = record.group = "timed"
    record.configuration = dataclasses.replace(record.configuration, hyperparameters={"smoothing": 0.2})
    record.result = record.result | {"latency": {"median_ms": 40.0, "std_ms": 9.0, "quartiles_ms": [20.0, 90.0],
                                                 "busy": busy, "others_cores": 1.5}}
    (paths.runs_root() / "timed").mkdir(parents=True)
    record.save(paths.runs_root() / "timed")


@pytest.mark.parametrize(("busy", "said"), [(True, "at 40, busy"), (False, "at 40")])
def test_a_time_of_a_busy_machine_is_marked_in_words(busy, said):
    timed(busy)
    at = open_page("results", against="ms / image")
    drawn = [json.loads(each.proto.spec)["description"] for each in at.get("vega_lite_chart")]
    scatter = next(each for each in drawn if each.startswith("Test accuracy against ms / image"))
    assert f"{said};" in scatter or f"{said}." in scatter
    assert ("other processes used the machine" in words(at)) == busy
    assert "what lies between their points is the machine, not the method" in words(at)
    table = at.dataframe[1].value
    row = table[table["name"] == "timed"].iloc[0]
    assert (row["machine"], row["milliseconds_low"]) == ("busy" if busy else "quiet", 20.0)
    assert row["mflops"] == pytest.approx(25.003264) and row["memory_of"] == "process, 4 students"


def test_a_data_set_that_is_gone_keeps_its_results(waiting):
    run, = control.submit([Configuration()])
    record = store.read(run)
    record.configuration = dataclasses.replace(record.configuration, data="folder:flowers")  # gone since
    shipped = results.finished()["digits-resnet8-none"]
    record.data, record.environment, record.result = shipped.data, shipped.environment, shipped.result
    store.set_state(record, "finished")
    at, answer, table = results_of("folder:flowers")
    assert list(answer["Name"]) == list(table["name"]) == [run]
    assert "held against an independent student" in words(at)
    assert "is not stored" in words(at)  # no answers were kept, so nothing is taken for anything


def test_results_say_who_has_no_independent_student_and_how_to_get_one(waiting):
    assert "No baseline yet" not in words(open_page("results"))
    run, = control.submit([Configuration(method="kd", teacher="digits-teacher", seed=7)])
    record, shipped = store.read(run), results.finished()["digits-resnet8-kd"]
    record.data, record.environment, record.result = shipped.data, shipped.environment, shipped.result
    store.set_state(record, "finished")
    assert f"No baseline yet for {run}: " in words(open_page("results")).replace("\\", "")


def test_results_without_any_say_where_they_come_from(no_checkpoints):
    assert "Nothing is measured yet" in words(open_page("results"))


def laid_odd(*names):
    """Runs whose records cannot be read, by folder; what they say would be an image, were it Markdown."""
    for name in names:
        folder = paths.runs_root() / name
        folder.mkdir(parents=True)
        asked = '{"optimizer": "![](http://stranger.example/x.png)"}'
        (folder / RECORD).write_text(f'{{"configuration": {asked}, "status": {{"state": "failed"}}}}')


@pytest.mark.parametrize("page", ["results", "distill"])
@pytest.mark.parametrize("alone", [True, False])
def test_what_cannot_be_read_is_listed_and_moved_aside(page, alone, no_checkpoints):
    laid_odd("one", "two\udcff")
    if not alone:
        record = made.finished("sound", Configuration(teacher="t"))
        record.status["color"] = "red"
        (paths.runs_root() / "sound").mkdir()
        record.save(paths.runs_root() / "sound")
    at = open_page(page)
    said = [each.value for each in at.markdown if "cannot be read" in each.value]
    assert said[0].startswith("The run one cannot be read: ")
    assert "` '![](http://stranger.example/x.png)'. `" in said[0]  # as code, which draws no picture
    assert said[1:] == [as_text(f"The run two\udcff cannot be read: {paths.BAD_NAME}")]
    ignored = [each.value for each in at.caption if "ignores" in each.value]
    assert ignored == ([] if alone else [
        "The run sound has fields that this version does not know and ignores: status.color"])
    for _ in range(2):
        next(each for each in at.button if each.label == "Move aside").click().run()
        assert not at.exception, at.exception
    assert [each for each in at.markdown if "cannot be read" in each.value] == []
    assert len(list((paths.runs_root() / ".aside").iterdir())) == 2
    assert not at.exception, at.exception


def test_pages_live_in_a_folder_of_mutated_records():
    """Whatever stands in them: what is read is shown, and the rest is listed."""
    record = json.loads((paths.PROJECT / "checkpoints" / "records" / "digits-resnet8-kd" / RECORD).read_text())
    texts = hostile.some(hostile.swapped(record), random.Random(0), 60)
    for number, text in enumerate(texts):
        folder = paths.runs_root() / f"run-{number}"
        folder.mkdir(parents=True)
        (folder / RECORD).write_bytes(text)
    at = open_page("results")
    shown = {name for data in {row.data for row in summaries()} for name in results_of(data)[2]["name"]
             if name.startswith("run-")}
    told = {each.value.split()[2].replace("\\", "") for each in at.markdown if "cannot be read" in each.value}
    assert shown and told and not shown & told
    at = open_page("distill", view="Your own runs")
    for group in sorted({each.group for each in store.all_runs()}):
        assert not at.selectbox(key="group").set_value(group).run().exception


def test_three_images_show_what_was_answered_after_each_epoch(measured, train_here):
    st.cache_data.clear()  # other tests have other teachers of this name
    ids = control.submit([Configuration(method=method, teacher="digits-teacher", epochs=2, share=0.1, threads=1,
                                        precision="float32") for method in ("kd", "none")])
    at = open_page("distill", view="Your own runs")
    assert "Three hard test images, epoch by epoch" in [each.value for each in at.subheader]
    assert [each.label for each in at.slider if "epoch" in each.label] == [
        "Answers after this epoch, softened at T = 4. ↑ goes beyond the row."]

    def drawn():
        return [each.proto.body for each in at.get("html") if "pinned" in each.proto.body]

    hard = kdengine.runs.hard_examples("digits-teacher", 359)
    last, answers = drawn(), kdengine.runs.answers_over_epochs(ids[0])
    assert len(last) == 3

    def shown(card, row):
        return card.split('<div class="pinned three">')[row]

    taught = np.array(kdengine.predict(kdengine.open_network("digits-teacher"), kdengine.data.example(
        kdengine.open_data("digits"), hard[0])[0])["logits"])
    for row, logits in enumerate((taught, answers[1, hard[0]]), start=1):  # Teacher, kd, none
        shares = softened(logits, 4)
        assert f'title="7: {percent(float(shares[7]))}"' in shown(last[0], row)
        # Else nobody saw that it is softened.
        assert percent(float(shares[7])) != percent(float(softened(logits, 1)[7]))
    at.slider(key=f"epoch {store.read(ids[0]).group} 2").set_value(1).run()
    shares = softened(answers[0, hard[0]], 4)
    assert f'title="7: {percent(float(shares[7]))}"' in shown(drawn()[0], 2)
    next(each for each in at.button if each.label == "Others").click().run()
    shares = softened(answers[0, hard[3]], 4)
    assert f'title="7: {percent(float(shares[7]))}"' in shown(drawn()[0], 2)


def test_a_queued_group_says_how_many_have_their_turn_before(measured, waiting):
    for expected in ("a training slot …", "a training slot, after 1 other group …",
                     "a training slot, after 2 other groups …"):
        control.submit([Configuration(epochs=1)])
        at = open_page("distill", view="Your own runs")
        assert f"Waiting for {expected}" == at.get("progress")[0].proto.text
