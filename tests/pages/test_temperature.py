"""The Temperature page, headless: what it hands to the drawing, what the link keeps, what it says of bad input."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from sklearn.datasets import load_digits
from streamlit.testing.v1 import AppTest

import kdengine
from explorer.temperature import component
from kdengine import models
from kdengine.runs import checkpoints

PAGE = Path(__file__).resolve().parent.parent.parent / "pages" / "temperature.py"


def opened(**link):
    at = AppTest.from_file(str(PAGE), default_timeout=90)
    for name, value in link.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception, at.exception
    return at


def typed(**link):
    return opened(of="Typed logits", **link)


def drawn(at):
    """What the component was given; None where it is not on the page."""
    given = [json.loads(each.proto.json) for each in at.get("bidi_component")]
    return next((each for each in given if "teacher" in each), None)


def told(at):
    return [each.value for each in at.error]


def png(array):
    file = BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(autouse=True)
def nothing_kept():
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def no_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "none"))


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A teacher and two students of the digits, untrained: each has answers of its own."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(folder))
    for seed, (name, labels) in enumerate(
        (("digits-teacher", None), ("digits-resnet8-none", 5), ("digits-resnet8-kd", 5))
    ):
        checkpoints.save(
            models.build("resnet8", tuple("0123456789"), seed=seed).eval(), folder / f"{name}.safetensors",
            method="kd" if name.endswith("kd") else "none", data={"name": "digits", "labels_per_class": labels},
            scores={"validation": {"top1": 0.5}},
        )


def test_it_opens_on_a_digit_that_looks_like_others(shipped):
    at, linked = opened(), opened(example="24")
    assert drawn(at) == drawn(linked) and at.number_input(key="example").value == 24
    given = drawn(at)
    assert (given["label"], given["temperature"], given["view"], given["sorted"]) == (4, 4, "bars", False)


def test_typed_logits_need_no_network(no_checkpoints):
    at = typed()
    given = drawn(at)
    assert (given["teacher"], given["student"]) == ([10, 2, -3], [4, 2.5, 0])
    assert (given["classes"], given["label"], given["temperature"]) == (["Class 1", "Class 2", "Class 3"], 0, 4)
    assert given["titles"] == ["Teacher", "Student"] and told(at) == []


def test_a_link_restores_everything_typed():
    given = drawn(typed(T="7.5", teacher_logits="1 2 3 4", student_logits="0;0;1;2", names="a,b,c,d", label="c"))
    assert (given["teacher"], given["student"]) == ([1, 2, 3, 4], [0, 0, 1, 2])
    assert (given["classes"], given["label"], given["temperature"]) == (["a", "b", "c", "d"], 2, 7.5)


def test_what_is_typed_is_drawn_and_bound_to_the_link():
    at = typed(T="2")
    at.text_input(key="teacher_logits").set_value("3, 1, 2").run()
    at.selectbox(key="label").set_value("Class 3").run()
    assert (drawn(at)["teacher"], drawn(at)["label"], drawn(at)["temperature"]) == ([3, 1, 2], 2, 2)
    widgets = [*at.text_input, *at.selectbox, *at.segmented_control, *at.toggle]
    bound = ["teacher_logits", "student_logits", "names", "label", "of", "chart", "sorted"]
    assert [widget.proto.query_param_key for widget in widgets] == bound


@pytest.mark.parametrize("given", ["0", "-3", "abc", "nan", "inf", "1e999", "20.5", ""])
def test_a_bad_temperature_is_named_and_stays_in_the_link(given):
    at = typed(T=given)
    assert told(at) == [f"The link's temperature is {given!r}; allowed is a number from 0.5 to 20. The slider stands "
                        "at 4."]
    assert drawn(at)["temperature"] == 4 and at.query_params["T"] == given


def test_a_temperature_between_two_stops_is_not_rounded():
    assert drawn(typed(T="3.333"))["temperature"] == 3.333


def test_bad_logits_stay_in_their_field_and_the_last_good_ones_on_the_chart():
    at = typed()
    at.text_input(key="teacher_logits").set_value("3, 1, 2").run()
    at.text_input(key="teacher_logits").set_value("3, nan, 2").run()
    assert told(at) == ["Logit 2 of the teacher is 'nan'; allowed is a number from \\-1000 to 1000. The chart keeps "
                        "the last logits that could be read."]
    assert at.text_input(key="teacher_logits").value == "3, nan, 2" and drawn(at)["teacher"] == [3, 1, 2]
    at.text_input(key="teacher_logits").set_value("3, 0, 2").run()
    assert told(at) == [] and drawn(at)["teacher"] == [3, 0, 2]


def test_bad_logits_in_a_link_leave_the_opening_ones_on_the_chart():
    at = typed(teacher_logits="7", student_logits="1, 2")
    assert told(at)[0].startswith("The teacher needs from 2 to 100 logits, one for each class; one is given.")
    assert drawn(at)["teacher"] == [10, 2, -3] and at.query_params["teacher_logits"] == "7"


def test_a_label_that_is_gone_gives_way_to_the_first():
    at = typed(names="a, b, c", label="c")
    at.text_input(key="names").set_value("").run()
    assert not at.exception and drawn(at)["label"] == 0


def test_an_example_is_the_test_picture_as_both_networks_answer_it(shipped):
    at = opened(example="7", T="3")
    picture, label = kdengine.data.example(kdengine.open_data("digits"), 7)
    given = drawn(at)
    for role, reference in (("teacher", "digits-teacher"), ("student", "digits-resnet8-kd")):
        expected = kdengine.predict(kdengine.open_network(reference), picture)["logits"]
        assert given[role] == pytest.approx(expected, abs=1e-5)
    assert (given["label"], given["classes"], given["temperature"]) == (label, list("0123456789"), 3)


def test_the_student_and_the_picture_can_be_chosen(shipped):
    at = opened()
    first = drawn(at)
    at.selectbox(key="student_network").set_value("digits-resnet8-none").run()
    assert drawn(at)["teacher"] == first["teacher"] and drawn(at)["student"] != first["student"]
    at.number_input(key="example").set_value(8).run()
    assert drawn(at)["teacher"] != first["teacher"]
    assert at.query_params["example"] == "8"
    assert at.selectbox(key="student_network").proto.query_param_key == "student_network"


@pytest.mark.parametrize("example", ["-1", "100000", "seven", "1e999"])
def test_a_picture_that_is_not_there_is_named_and_gives_way_to_the_opening_one(shipped, example):
    at = opened(example=example)
    assert told(at) == [f"The link's test picture is {example!r}; allowed is a whole number from 0 to 358. "
                        "Number 24 is shown."]
    assert drawn(at) == drawn(opened())
    at.number_input(key="example").set_value(2).run()
    assert told(at) == [] and at.query_params["example"] == "2"


def test_examples_without_checkpoints_say_how_to_get_them(no_checkpoints):
    at = opened()
    assert "make checkpoints" in at.info[0].value and drawn(at) is None


def test_a_damaged_checkpoint_is_named_and_the_page_stays(shipped, tmp_path):
    damaged = tmp_path / "checkpoints" / "digits-resnet8-kd.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")  # another last weight
    at = opened()
    assert "digits-resnet8-kd.safetensors is damaged" in told(at)[0] and drawn(at) is None
    at.selectbox(key="student_network").set_value("digits-resnet8-none").run()
    assert told(at) == [] and drawn(at) is not None


def test_without_a_picture_it_says_what_to_do(no_checkpoints):
    at = opened(of="Picture")
    assert at.info[0].value.startswith("Upload a picture") and drawn(at) is None


def test_a_picture_of_the_person_s_own_is_answered_by_two_independent_networks(no_checkpoints):
    at = opened(of="Picture", T="2")
    assert [each.value for each in at.caption] == ["Neither was distilled from the other."]
    rows = np.linspace(0, 255, 40, dtype=np.uint8)
    at.file_uploader[0].upload("own.png", png(np.stack([np.tile(rows, (30, 1))] * 3, axis=-1)), "image/png").run()
    given = drawn(at)
    assert len(given["classes"]) == len(given["teacher"]) == len(given["student"]) == 1000
    assert given["teacher"] != given["student"] and given["titles"] == ["Larger network", "Smaller network"]
    assert given["label"] is None and given["temperature"] == 2
    next(each for each in at.selectbox if each.label == "What it really is").set_value(5).run()
    assert drawn(at)["label"] == 5


def test_networks_that_segment_are_never_offered(shipped, tmp_path):
    for name, method in (("scenes-teacher", "none"), ("scenes-kd", "kd")):
        checkpoints.save(
            models.build("fpn_tiny", ("background", "thing")), tmp_path / "checkpoints" / f"{name}.safetensors",
            method=method, data={"name": "shapes_segmentation", "labels_per_class": None},
            scores={"validation": {"miou": 0.5}},
        )
    assert opened(of="Picture").selectbox(key="networks").options == ["ImageNet", "Handwritten digits"]


def test_a_picture_can_go_to_the_digits_networks(shipped):
    at = opened(of="Picture")
    at.selectbox(key="networks").set_value("digits").run()
    picture, _ = kdengine.data.example(kdengine.open_data("digits"), 3)
    at.file_uploader[0].upload("three.png", png(np.asarray(picture)), "image/png").run()
    expected = kdengine.predict(kdengine.open_network("digits-teacher"), picture)["logits"]
    assert drawn(at)["teacher"] == pytest.approx(expected, abs=1e-5)
    assert drawn(at)["titles"] == ["Teacher", "Student"]


@pytest.mark.parametrize("content", [b"", b"no picture", png(np.zeros((20, 20, 3), np.uint8))[:50]])
def test_what_is_no_picture_gets_a_sentence_and_the_page_stays(no_checkpoints, content):
    at = opened(of="Picture")
    at.file_uploader[0].upload("own.png", content, "image/png").run()
    assert len(told(at)) == 1 and told(at)[0].startswith("The picture is") and drawn(at) is None
    at.segmented_control(key="of").set_value("Typed logits").run()
    assert told(at) == [] and drawn(at)["teacher"] == [10, 2, -3]


def test_a_source_that_is_not_there_gives_way_to_the_digit(shipped):
    assert drawn(opened(of="Nowhere")) == drawn(opened())


@pytest.mark.parametrize(("title", "name"), component.VIEWS.items())
def test_a_view_is_handed_to_the_drawing(title, name):
    at = typed(chart=title, sorted="true")
    assert (drawn(at)["view"], drawn(at)["sorted"]) == (name, True)


def test_of_many_classes_the_temperature_opens_where_the_top_one_stays_visible(no_checkpoints):
    at = opened(of="Picture", sample="Dahlia")
    top = max(softmax(drawn(at)["teacher"], drawn(at)["temperature"]))
    assert drawn(at)["temperature"] == 1 and top > 0.3


def softmax(logits, temperature):
    powers = np.exp((np.array(logits) - max(logits)) / temperature)
    return powers / powers.sum()


def thumbnails(at):
    return json.loads(at.get("bidi_component")[0].proto.json)["rows"]


def test_pictures_worth_a_look_are_those_of_the_stored_answers():
    """The shipped networks, asked again: by entropy where the teacher is right, and by KL to it."""
    at = opened()
    data = kdengine.open_data("digits")
    answers = {}
    for reference in ("digits-teacher", "digits-resnet8-kd"):
        network = kdengine.open_network(reference)
        answers[reference] = np.array([kdengine.predict(network, kdengine.data.example(data, index)[0])["logits"]
                                       for index in range(len(data.test))])
    shares = {each: np.array([softmax(row, 1) for row in logits]) for each, logits in answers.items()}
    teacher, student = shares.values()
    entropy = -(teacher * np.log(teacher)).sum(axis=1)
    right = teacher.argmax(axis=1) == data.test.target.numpy()
    kl = (teacher * (np.log(teacher) - np.log(student))).sum(axis=1)
    rich = [each for each in np.argsort(-entropy) if right[each]][:8]
    assert thumbnails(at) == {"Richest in dark knowledge, at T = 1": rich,
                              "Farthest from the teacher, at T = 1": list(np.argsort(-kl)[:8])}


def test_a_drawing_in_the_link_is_answered_as_the_picture_it_is():
    """The eight by eight counts of a test digit, as scikit-learn has them, give the answers to that digit."""
    data = kdengine.open_data("digits")
    digits = load_digits()
    picture, label = kdengine.data.example(data, 24)
    pixels = np.asarray(picture)
    place = next(place for place, counts in enumerate(digits.images.astype(int))
                 if (np.asarray(kdengine.data.drawn_digit(counts.ravel().tolist())) == pixels).all())
    assert digits.target[place] == label
    text = "".join("0123456789abcdefg"[each] for each in digits.images[place].astype(int).ravel())
    at = opened(of="Draw a digit", drawing=text)
    given = drawn(at)
    expected = kdengine.predict(kdengine.open_network("digits-teacher"), picture)["logits"]
    assert given["teacher"] == pytest.approx(expected, abs=1e-5) and given["label"] is None
    at.selectbox(key="meant").set_value("4").run()
    assert drawn(at)["label"] == 4


@pytest.mark.parametrize("drawing", ["", "0" * 64])
def test_before_anything_is_drawn_it_says_what_to_do(drawing):
    at = opened(of="Draw a digit", drawing=drawing)
    assert at.info[0].value.startswith("Draw a digit in the black field") and told(at) == []


@pytest.mark.parametrize("drawing", ["1", "x" * 64, "0" * 65, "<b>"])
def test_a_drawing_that_is_none_is_named(drawing):
    at = opened(of="Draw a digit", drawing=drawing)
    assert told(at) == [f"The link's drawing has {len(drawing)} characters; a drawing has 64, each from 0 to g."]
