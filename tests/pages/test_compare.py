"""The Compare page, run headless with networks whose answers are known."""

import struct
import zlib
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
import torch
from PIL import Image, ImageColor
from streamlit.testing.v1 import AppTest

import kdengine
from explorer import comparison, objects
from explorer.comparison import NEUTRAL, column_at
from kdengine import models
from kdengine.colors import RIGHT, WRONG
from kdengine.configuration import Configuration
from kdengine.data.dataset import DataSet
from kdengine.data.shapes import KINDS, scenes
from kdengine.runs import checkpoints, store, worker
from kdengine.views import Split

PAGE = Path(__file__).resolve().parent.parent.parent / "pages" / "compare.py"
DIGITS = tuple("0123456789")
PHOTOGRAPH = "photograph"


def saying(answer, classes=DIGITS, seed=0, architecture="resnet8", size=32):
    """An untrained network that gives every picture one answer."""
    network = models.build(architecture, classes, seed=seed, input_size=size)
    with torch.no_grad():
        network.net.fc.weight.mul_(0.01)
        network.net.fc.bias.zero_()
        network.net.fc.bias[answer] = 4.0
    return network.eval()


@pytest.fixture(scope="module")
def first_truth():
    """The class of the first test digit."""
    return kdengine.data.example(kdengine.open_data("digits"), 0)[1]


@pytest.fixture
def shipped(tmp_path, monkeypatch, first_truth):
    """A teacher that is right of the first digit; one student equal to it, one that is wrong."""
    st.cache_data.clear()
    st.cache_resource.clear()
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(folder))
    wrong = (first_truth + 1) % 10
    for name, answer, seed, method, labels in (
        ("digits-teacher", first_truth, 0, "none", None),
        ("digits-resnet8-kd", first_truth, 0, "kd", 5),
        ("digits-resnet8-none", wrong, 1, "none", 5),
        ("digits-resnet8-label_smoothing", wrong, 2, "label_smoothing", 5),
    ):
        checkpoints.save(
            saying(answer, seed=seed), folder / f"{name}.safetensors", method=method, hyperparameters={},
            data={"name": "digits", "labels_per_class": labels}, scores={"validation": {"top1": 0.9}},
        )
    return folder


@pytest.fixture
def calls(monkeypatch):
    """How often the engine was asked for what."""
    counted = Counter()
    for part, name in ((kdengine.explain, "heat_map"), (kdengine.explain, "heat_on_objects"), (kdengine, "predict"),
                       (kdengine, "open_network"), (kdengine.data, "read_picture"),
                       (kdengine.measures, "disagreements")):
        monkeypatch.setattr(part, name, counting(counted, name, getattr(part, name)))
    return counted


def counting(counted, name, function):
    def counted_function(*given, **named):
        counted[name] += 1
        return function(*given, **named)

    return counted_function


@pytest.fixture
def thousand(shipped, monkeypatch):
    """Small networks of ImageNet's classes in the place of the packaged ones: one says tench, one goldfish."""
    names = models.imagenet.class_names()
    small = {name: saying(answer, names, architecture="resnet14")
             for name, answer in (("efficientnet_lite2", 0), ("efficientnet_lite0", 1))}
    real = kdengine.open_network
    monkeypatch.setattr(kdengine, "open_network", lambda each: small.get(each) or real(each))


def opened(**query):
    at = AppTest.from_file(str(PAGE), default_timeout=60)
    at.query_params.update(query)
    at.run()
    assert not at.exception
    return at


def photographs(content=None, name="photo.jpg"):
    at = opened()
    at.selectbox(key="family").set_value(PHOTOGRAPH).run()
    if content is not None:
        at.file_uploader[0].upload(name, content).run()
    assert not at.exception
    return at


def encoded(image, form="JPEG", **named):
    file = BytesIO()
    image.save(file, form, **named)
    return file.getvalue()


def photo(**named):
    return encoded(Image.linear_gradient("L").resize((90, 60)).convert("RGB"), **named)


def markup(at):
    return [each.proto.body for each in at.get("html")]


def verdicts(at):
    return ["right" if "✓ right" in each else "wrong" for each in markup(at) if "✓ right" in each or "✗ wrong" in each]


def agreement(at):
    (table,) = at.table
    return table.value


# -- what is there at once -------------------------------------------------------------------------------------------


def test_the_digits_pair_is_compared_without_a_click(shipped):
    at = opened()
    assert at.selectbox(key="family").value == "digits"
    assert at.selectbox(key="digits teacher").value == "digits-teacher"
    assert at.multiselect[0].value == ["digits-resnet8-kd", "digits-resnet8-none"]
    assert verdicts(at) == ["right", "right", "wrong"]
    assert not at.error


def test_a_network_equal_to_the_teacher_agrees_in_everything(shipped):
    table = agreement(opened())
    equal = table.loc["Logit matching · resnet8"]
    assert list(equal) == ["yes", "0.000", "1.000", "1.000", "100.0%"]
    other = table.loc["Independent student · resnet8"]
    assert other["Same class"] == "no"
    # Both answer one class with e^4 : 1 : ... : 1, almost: KL = (p - q) ln(p / q) with p, q of the two classes.
    p, q = torch.tensor([4.0, *[0.0] * 9]).softmax(0)[:2].tolist()
    assert float(other["KL(teacher ‖ student), nats"]) == pytest.approx((p - q) * 4, rel=0.05)


def test_maps_of_different_classes_are_told_apart_from_maps_of_one(shipped):
    at = opened()
    assert any("different classes" in each.value for each in at.caption)
    at.selectbox(key="target").set_value("first").run()
    assert not any("different classes" in each.value for each in at.caption)


def test_without_checkpoints_photographs_are_what_is_left(shipped):
    for file in shipped.iterdir():
        file.unlink()
    at = opened()
    assert at.selectbox(key="family").value == PHOTOGRAPH
    assert at.file_uploader[0].label == "Your picture"
    assert "Nothing leaves this machine" in at.markdown[-1].value


def test_a_damaged_student_is_told_and_the_others_stay(shipped):
    file = shipped / "digits-resnet8-kd.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")  # another last weight
    at = opened()
    assert "damaged" in at.error[0].value
    assert verdicts(at) == ["right", "wrong"]


def test_a_damaged_teacher_is_told_and_nothing_takes_its_place(shipped):
    file = shipped / "digits-teacher.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")  # another last weight
    at = opened()
    assert "damaged" in at.error[0].value
    assert verdicts(at) == []


def test_a_finished_run_is_offered_beside_the_shipped_ones(shipped, monkeypatch):
    asked = {"data": "digits", "student": "resnet8", "method": "kd",
             "hyperparameters": {"temperature": 8.0, "alpha": 1.0}}
    run = {"id": "run-1", "name": None, "state": "finished", "created": 0.0, "configuration": asked,
           "data": {"title": "Digits"}, "teacher": {"reference": "digits-teacher", "architecture": "resnet20"}}
    active, named = run | {"id": "run-2", "state": "running"}, run | {"id": "run-3", "name": "my *best*"}
    monkeypatch.setattr(store, "as_data", lambda: [run, active, named])
    real = kdengine.open_network
    monkeypatch.setattr(kdengine, "open_network", lambda each: real(each.replace("run-1", "digits-resnet8-kd")))
    at = opened()
    students = at.multiselect[0]
    assert students.value == ["digits-resnet8-kd", "digits-resnet8-none"]
    assert len(students.options) == 5 and "my *best*" in students.options
    students.set_value(["run-1"]).run()
    (name,) = agreement(at).index
    assert name.startswith("Logit matching, T 8, alpha 1 · resnet8 · ")


def test_networks_that_segment_are_never_offered(shipped, monkeypatch):
    made = models.build("fpn_tiny", ("background", "thing"))
    checkpoints.save(made, shipped / "scenes-teacher.safetensors", method="none", hyperparameters={},
                     data={"name": "shapes_segmentation", "labels_per_class": None},
                     scores={"validation": {"miou": 0.9}})
    run = {"id": "run-1", "name": None, "state": "finished", "created": 0.0, "teacher": None,
           "configuration": {"data": "folder:masks", "student": "fpn_tiny", "method": "none", "hyperparameters": {}},
           "data": {"title": "masks", "task": "segmentation", "size": 64}}
    monkeypatch.setattr(store, "as_data", lambda: [run])
    assert opened().selectbox(key="family").options == ["Handwritten digits (shipped)", "Photograph (ImageNet)"]


def test_networks_of_other_classes_are_left_out(shipped):
    checkpoints.save(saying(0, tuple("ab")), shipped / "digits-resnet8-kd.safetensors", method="kd",
                     data={"name": "digits", "labels_per_class": 5})
    at = opened()
    assert at.warning[0].value == "Logit matching · resnet8 was trained on other classes and is left out."
    assert len(agreement(at)) == 1


def test_the_download_holds_every_card_with_its_border(shipped, monkeypatch):
    offered = []
    monkeypatch.setattr(st, "download_button", lambda *given, **_: offered.append(given))
    opened()
    (_, make, name, kind), = offered
    assert (name, kind) == ("compare-digits-0-gradcam.png", "image/png")
    sheet = Image.open(BytesIO(make()))
    borders = [sheet.getpixel(column_at(place)) for place in range(4)]
    assert borders == [ImageColor.getrgb(color) for color in (NEUTRAL, RIGHT, RIGHT, WRONG)]


# -- nothing is done twice -------------------------------------------------------------------------------------------


def test_another_opacity_is_drawn_and_asks_the_networks_for_nothing(shipped, calls, monkeypatch):
    drawn = []
    overlay = kdengine.explain.overlay
    monkeypatch.setattr(kdengine.explain, "overlay", lambda picture, heat, opacity: drawn.append(opacity) or overlay(
        picture, heat, opacity))
    at = opened()
    assert (calls["heat_map"], calls["predict"], calls["open_network"]) == (3, 3, 3)
    before = dict(calls)
    at.slider(key="opacity").set_value(80).run()
    assert dict(calls) == before
    assert drawn == [0.5] * 3 + [0.8] * 3


def test_all_answers_are_softened_at_one_temperature(shipped, calls):
    at = opened()
    index = at.number_input(key="image").value
    picture, _ = kdengine.data.example(kdengine.open_data("digits"), index)
    asked = Counter(calls)
    at.slider(key="T").set_value(4.0).run()
    assert not at.exception and calls == asked
    lists = [each for each in markup(at) if each.startswith("<ol")]
    references = ["digits-teacher", *at.multiselect[0].value]
    assert len(lists) == len(references)
    for reference, drawn in zip(references, lists, strict=True):
        logits = np.array(kdengine.predict(kdengine.open_network(reference), picture)["logits"])
        shares = np.exp((logits - logits.max()) / 4)
        largest = (shares / shares.sum()).max()
        assert f"{largest:.1%}</span>" in drawn


def test_another_method_makes_new_maps_and_no_new_predictions(shipped, calls):
    at = opened()
    at.selectbox(key="method").set_value("layercam").run()
    assert (calls["heat_map"], calls["predict"], calls["open_network"]) == (6, 3, 3)
    at.selectbox(key="method").set_value("gradcam").run()
    assert calls["heat_map"] == 6


def test_one_more_student_costs_one_network(shipped, calls):
    at = opened()
    at.multiselect[0].set_value([*at.multiselect[0].value, "digits-resnet8-label_smoothing"]).run()
    assert (calls["heat_map"], calls["predict"], calls["open_network"]) == (4, 4, 4)


def test_a_second_session_finds_everything_done(shipped, calls):
    opened()
    before = dict(calls)
    opened()
    assert dict(calls) == before


def test_a_class_makes_no_difference_to_a_method_that_ignores_it(shipped, calls):
    at = opened(method="Eigen-CAM")
    assert at.selectbox(key="target").disabled
    assert any("ignores the class" in each.value for each in at.caption)
    before = calls["heat_map"]
    opened(method="Eigen-CAM", target="the truth")
    assert calls["heat_map"] == before


# -- controls --------------------------------------------------------------------------------------------------------


def test_the_class_that_is_explained(shipped, monkeypatch, first_truth):
    asked = []
    heat = {"heat": [[0.0, 1.0]], "stage": "stage3", "size": (1, 2)}
    monkeypatch.setattr(kdengine.explain, "heat_map",
                        lambda network, picture, target, **_: asked.append(target) or heat)
    wrong = (first_truth + 1) % 10
    at = opened()
    assert asked == [first_truth, first_truth, wrong]
    asked.clear()
    at.selectbox(key="target").set_value("truth").run()
    # The two others have been asked for their own answer, which is the truth.
    assert asked == [first_truth]
    asked.clear()
    other = (first_truth + 5) % 10
    at.selectbox(key="target").set_value("class").run()
    at.selectbox(key="class").set_value(other).run()
    assert asked[-3:] == [other] * 3


def test_a_map_of_few_cells_or_none_is_not_shown_as_if_it_said_something(shipped, monkeypatch):
    monkeypatch.setattr(kdengine.explain, "heat_map", lambda network, *_, **__: {
        "heat": [[0.0, 0.0]] * 2, "stage": "stage3", "size": (2, 2)})
    assert any("nothing here speaks for this class" in each.value for each in opened().caption)
    st.cache_data.clear()
    monkeypatch.setattr(kdengine.explain, "heat_map", lambda network, *_, **__: {
        "heat": [[0.0, 1.0]] * 2, "stage": "stage3", "size": (2, 2)})
    assert any("2 × 2 cells: too coarse" in each.value for each in opened().caption)


def test_a_layer_is_counted_from_the_deep_end(shipped):
    at = opened(layer="stage1")
    assert at.selectbox(key="layer").options == ["automatic", "stage3 (deepest)", "stage2", "stage1"]
    assert sum("stage1, 32 × 32 cells" in each.value for each in at.caption) == 3


def test_a_link_opens_the_same_view(shipped):
    at = opened(image="7", method="HiResCAM", target="the truth", opacity="25")
    assert at.number_input(key="image").value == 7
    assert at.selectbox(key="method").value == "hirescam"
    assert at.selectbox(key="target").value == "truth"
    assert at.slider(key="opacity").value == 25


def test_an_image_number_beyond_the_last_is_not_followed(shipped):
    assert opened(image="99999").number_input(key="image").value == 0


def test_they_disagree_goes_to_the_next_such_image_and_around(shipped, monkeypatch, calls):
    monkeypatch.setattr(kdengine.measures, "disagreements", counting(calls, "disagreements", lambda *_: [3, 8]))
    at = opened()
    seen = []
    for _ in range(3):
        next(each for each in at.button if each.label == "They disagree").click().run()
        seen.append(at.number_input(key="image").value)
    assert seen == [3, 8, 3]
    assert calls["disagreements"] == 1


def test_where_they_never_disagree_it_says_so(shipped):
    at = opened()
    at.multiselect[0].set_value(["digits-resnet8-kd"]).run()
    next(each for each in at.button if each.label == "They disagree").click().run()
    assert at.toast[0].value == "They name the same class for every test image."
    assert at.number_input(key="image").value == 0


def test_another_image_is_looked_at_anew(shipped, calls):
    at = opened()
    at.number_input(key="image").increment().run()
    assert (calls["heat_map"], calls["predict"], calls["open_network"]) == (6, 6, 3)
    at.number_input(key="image").decrement().run()
    assert (calls["heat_map"], calls["predict"]) == (6, 6)


def test_random_goes_to_another_image(shipped):
    at = opened()
    next(each for each in at.button if each.label == "Random").click().run()
    assert 0 < at.number_input(key="image").value <= 358


# -- whether the heat lies on the objects ----------------------------------------------------------------------------


@pytest.fixture
def drawn(shipped, monkeypatch):
    """Twelve drawn scenes whose objects' places are known, and networks of their kinds beside those of the digits."""
    made = scenes(12, 48, "a test")
    split = Split(made.images, made.target)
    held = DataSet("shapes", "Shapes", "classification", tuple(KINDS), split, split, split, "flip", "0" * 16,
                   boxes=made.boxes)
    real = kdengine.open_data
    monkeypatch.setattr(kdengine, "open_data", lambda name, size=None: held if name == "shapes" else real(name, size))
    for seed, (name, method) in enumerate({"teacher": "none", "kd": "kd", "none": "none", "dkd": "dkd"}.items()):
        checkpoints.save(saying(seed, held.classes, seed, size=48), shipped / f"shapes-{name}.safetensors",
                         method=method, hyperparameters={},
                         data={"name": "shapes", "labels_per_class": None if name == "teacher" else 5},
                         scores={"validation": {"top1": 0.9}})
    return held


def on_objects(at):
    """The tables of the section: the pointing game, the share inside; the first is of agreement."""
    _, *tables = at.table
    return [each.value for each in tables]


def test_nothing_is_measured_before_it_is_asked_for(drawn, calls):
    at = opened(family="Shapes (shipped)")
    assert ["Does the heat lie on the object?" in each.label for each in at.expander] == [True, False]
    assert calls["heat_on_objects"] == 0
    assert not on_objects(at)


def test_the_heat_on_the_objects_is_as_the_engine_measured_it(drawn, calls, monkeypatch):
    charts = []
    monkeypatch.setattr(st.delta_generator.DeltaGenerator, "altair_chart",
                        lambda _, chart, **__: charts.append(chart.to_dict()))
    at = opened(family="Shapes (shipped)", objects="true")
    assert calls["heat_on_objects"] == 3 * len(kdengine.explain.list_heat_maps())
    names = {"shapes-teacher": "Teacher · resnet8",
             "shapes-kd": "Logit matching · resnet8", "shapes-none": "Independent student · resnet8"}
    found = {title: {each["title"]: kdengine.explain.heat_on_objects(
                        kdengine.open_network(reference), drawn, each["name"], 200)
                     for each in kdengine.explain.list_heat_maps()} for reference, title in names.items()}
    for measure, table, chart in zip(("pointing", "inside"), on_objects(at), charts, strict=True):
        expected = objects.table(found, measure)
        assert list(table.index) == [row[""] for row in expected]
        assert table.to_dict("records") == [{key: row[key] for key in table.columns} for row in expected]
        for row in objects.points(found, measure):
            assert row in chart["layer"][2]["data"]["values"]
        area = sum((right - left) * (bottom - top) for left, top, right, bottom in drawn.boxes.tolist()) / 12 / 48**2
        assert chart["layer"][0]["data"]["values"][0]["area"] == pytest.approx(area)
    assert objects.reading(found) in [each.value for each in at.markdown]
    assert any("first 12 test images" in each.value for each in at.caption)
    assert not at.error


def test_the_heat_on_the_objects_is_measured_once(drawn, calls):
    every = len(kdengine.explain.list_heat_maps())
    at = opened(family="Shapes (shipped)", objects="true")
    at.number_input(key="image").increment().run()
    at.selectbox(key="method").set_value("layercam").run()
    at.slider(key="opacity").set_value(80).run()
    assert calls["heat_on_objects"] == 3 * every
    at.multiselect[0].set_value([*at.multiselect[0].value, "shapes-dkd"]).run()
    assert calls["heat_on_objects"] == 4 * every
    opened(family="Shapes (shipped)", objects="true")
    assert calls["heat_on_objects"] == 4 * every


def test_where_nobody_knows_the_objects_places_nothing_is_offered(drawn, calls):
    at = opened(objects="true")
    assert at.selectbox(key="family").value == "digits"
    assert not any("object" in each.label for each in at.expander)
    assert calls["heat_on_objects"] == 0


# -- pictures a person brings ----------------------------------------------------------------------------------------


def test_an_uploaded_photograph_is_compared(thousand):
    at = photographs(photo())
    text = " ".join(markup(at))
    assert "Larger network" in text
    assert "trained independently" in text
    assert "tench" in text
    assert verdicts(at) == []  # nobody knows the truth
    assert agreement(at).columns[1] == "KL(larger network ‖ smaller network), nats"
    assert not at.error


def test_whoever_tells_the_truth_sees_who_is_right(thousand):
    at = photographs(photo())
    next(each for each in at.selectbox if each.label == "What it is").set_value(1).run()
    assert verdicts(at) == ["wrong", "right"]


def test_the_truth_told_of_one_picture_is_not_kept_for_the_next(thousand):
    at = photographs(photo())
    next(each for each in at.selectbox if each.label == "What it is").set_value(1).run()
    at.file_uploader[0].upload("other.jpg", photo(quality=20)).run()
    assert verdicts(at) == []


def test_the_same_picture_under_another_name_costs_nothing(thousand, calls):
    at = photographs(photo())
    before = dict(calls)
    at.file_uploader[0].upload("again.jpg", photo()).run()
    assert dict(calls) == before


def test_a_sample_is_there_for_who_has_none_and_is_credited(thousand):
    at = photographs()
    assert not at.table
    at.pills(key="sample").set_value("Dahlia").run()
    assert len(agreement(at)) == 1
    assert "Photo: vultilion, CC BY 2.0" in [each.value for each in at.caption]


def test_a_picture_of_ones_own_beside_the_digits(shipped):
    at = opened()
    at.radio(key="source").set_value("Your own").run()
    assert "Nothing leaves this machine" in at.markdown[-1].value
    at.file_uploader[0].upload("seven.png", photo()).run()
    assert len(agreement(at)) == 2


def huge_png():
    """A PNG that declares 40,000 x 40,000 pixels and holds none."""
    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("content", "told"), [
    (b"", "empty: 0 bytes"),
    (b"this is no picture", "not a picture"),
    (photo()[:-300], "damaged or cut short"),
    (huge_png(), "too large"),
], ids=["empty", "text", "truncated", "huge"])
def test_a_bad_picture_is_told_in_a_sentence_and_the_page_stays(thousand, content, told):
    at = photographs(content)
    assert told in at.error[0].value
    assert not at.table
    at.file_uploader[0].upload("good.jpg", photo()).run()
    assert not at.error
    assert len(agreement(at)) == 1


@pytest.mark.parametrize(("name", "content"), [
    ("animated.gif", encoded(Image.new("L", (40, 40)), "GIF", save_all=True,
                             append_images=[Image.new("L", (40, 40), 200)])),
    ("deep.png", encoded(Image.new("I;16", (40, 30), 40_000), "PNG")),
    ("cmyk.jpg", encoded(Image.new("CMYK", (40, 30), (10, 20, 30, 40)))),
    ("alpha.png", encoded(Image.new("RGBA", (40, 30), (255, 0, 0, 90)), "PNG")),
    ("one.png", encoded(Image.new("RGB", (1, 1), "red"), "PNG")),
    ("strip.png", encoded(Image.new("RGB", (1, 4000), "red"), "PNG")),
    ("photo.webp", photo(form="WEBP")),
    ("photo.bmp", photo(form="BMP")),
], ids=["animated", "16 bits", "CMYK", "alpha", "1 x 1", "1 x 4000", "WebP", "BMP"])
def test_an_unusual_picture_is_compared_like_any_other(thousand, name, content):
    at = photographs(content, name)
    assert not at.error
    assert len(agreement(at)) == 1


def test_an_upload_may_be_any_of_the_kinds_offered(thousand):
    assert photographs().file_uploader[0].allowed_type == [
        ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"]


def test_the_packaged_networks_name_what_a_photograph_shows(shipped):
    at = photographs()
    at.pills(key="sample").set_value("Dahlia").run()
    text = " ".join(markup(at))
    assert "daisy" in text
    assert [each.value.rpartition(", ")[2] for each in at.caption if "efficientnet" in each.value] == [
        "9 × 9 cells", "7 × 7 cells"]
    # Five layers here, three there.
    at.selectbox(key="layer").set_value("stage5 (deepest)").run()
    at.selectbox(key="family").set_value("digits").run()
    assert sum("stage3, 8 × 8 cells" in each.value for each in at.caption) == 3
    assert not at.run().exception


def test_without_the_test_images_they_are_offered_and_a_sample_is_shown_with_its_truth(shipped, monkeypatch):
    fetched = []
    monkeypatch.setattr(kdengine.data, "download", fetched.append)
    animals = ("bird", "cat", "dog")
    for name, answer, method in (("animals-teacher", 1, "none"), ("animals-kd", 2, "kd")):
        checkpoints.save(saying(answer, animals), shipped / f"{name}.safetensors", method=method,
                         data={"name": "cifar10", "labels_per_class": None}, scores={"validation": {"top1": 0.9}})
    at = opened()
    at.selectbox(key="family").set_value("cifar10").run()
    assert not at.exception
    assert any("CIFAR-10 is not on this machine" in each.value for each in at.info)
    assert any(each.value.startswith("Bring a picture of your own: bird, cat, dog") for each in at.caption)
    assert "Photo: Stéfan van der Walt, CC0" in [each.value for each in at.caption]
    assert next(each for each in at.selectbox if each.label == "What it is").value == 1
    assert len(verdicts(at)) == 2
    next(each for each in at.button if each.label == "Download 170 MB").click().run()
    assert fetched == ["cifar10"] and not at.exception


# -- over the epochs -------------------------------------------------------------------------------------------------


def test_students_are_shown_as_they_were_after_an_epoch(monkeypatch, waiting):
    st.cache_data.clear()
    st.cache_resource.clear()
    ids = kdengine.start([Configuration(method=method, teacher="digits-teacher", epochs=4, share=0.1, threads=1,
                                        precision="float32") for method in ("none", "kd")])
    worker.work(ids)
    at = opened(image="3")
    at.multiselect(key="digits students").set_value(ids).run()
    assert at.select_slider(key="epoch").options == ["1", "2", "3", "last"]
    at.select_slider(key="epoch").set_value(2).run()
    assert not at.exception, at.exception
    data = kdengine.open_data("digits")
    picture, _ = kdengine.data.example(data, 3)
    teacher = kdengine.open_network("digits-teacher")
    taught = kdengine.predict(teacher, picture)
    rows = agreement(at)
    for place, run in enumerate(ids):
        then = kdengine.open_network(kdengine.runs.snapshots(run)[2])
        said = kdengine.predict(then, picture)
        heats = [kdengine.explain.heat_map(
                    each, picture, answer["probabilities"].index(max(answer["probabilities"])))["heat"]
                 for each, answer in ((then, said), (teacher, taught))]
        row = rows.iloc[place]
        assert rows.index[place].endswith(", epoch 2")
        assert row["KL(teacher ‖ student), nats"] == comparison.figure(kdengine.measures.kl_to_teacher(said, taught))
        alike = kdengine.explain.compare_heat_maps(*heats)
        assert row["Maps: cosine"] == comparison.figure(alike["cosine"])
