"""Compare over the whole test set, run headless: as the engine measures it, and not before it is asked for."""

from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import kdengine
from explorer import fidelity
from kdengine.runs.fidelity import MEASURES

PAGE = Path(__file__).resolve().parent.parent.parent / "pages" / "compare.py"
STUDENTS = {"digits-resnet8-kd": "Logit matching · resnet8", "digits-resnet8-none": "Independent student · resnet8"}
OPEN = {"fidelity": "true", "alike images": "100"}


@pytest.fixture(scope="module")
def expected():
    """As the engine measures it, by student."""
    data = kdengine.open_data("digits", 32)
    return {each: kdengine.runs.heat_fidelity(each, "digits-teacher", data, count=100, with_checks=False)
            for each in STUDENTS}


@pytest.fixture(autouse=True)
def anew():
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def drawn(monkeypatch):
    """The charts that were drawn, the last one last."""
    charts = []
    monkeypatch.setattr(st, "altair_chart", lambda chart, **_: charts.append(chart.to_dict()))
    return charts


@pytest.fixture
def measurements(monkeypatch):
    """How often each student was measured."""
    counted, real = Counter(), kdengine.runs.heat_fidelity
    monkeypatch.setattr(kdengine.runs, "heat_fidelity",
                        lambda student, *given, **named: counted.update([student]) or real(student, *given, **named))
    return counted


def opened(**query):
    at = AppTest.from_file(str(PAGE), default_timeout=120)
    at.query_params.update(query)
    at.run()
    assert not at.exception, at.exception
    assert not at.error
    return at


def texts(at):
    return [each.value for each in [*at.markdown, *at.caption]]


def dots(chart):
    values = {}
    for each in chart["layer"][0]["data"]["values"]:
        values.setdefault(each["name"], []).append(each["value"])
    return values


def test_nothing_is_measured_before_it_is_asked_for(measurements):
    at = opened()
    assert ["Over the whole test set" in each.label for each in at.expander] == [True]
    assert not measurements


@pytest.mark.parametrize("measure", MEASURES)
def test_every_dot_and_every_word_is_as_the_engine_measured_it(expected, drawn, measure):
    at = opened(**OPEN, alike=MEASURES[measure].capitalize())
    chart = drawn[-1]
    assert dots(chart) == {name: expected[each].fidelity.student.values[measure] for each, name in STUDENTS.items()}
    means = [expected[each].fidelity.student.means[measure] for each in STUDENTS]
    assert [(each["value"], each["low"], each["high"]) for each in chart["layer"][1]["data"]["values"]] == [
        (each.mean, each.low, each.high) for each in means]
    controls = {(each["name"], each["value"]) for each in chart["layer"][3]["data"]["values"]}
    assert controls == {
        (title, expected[each].fidelity.controls[control].means[measure].mean) for each in STUDENTS
        for control, title in (("another_image", "another image's map"), ("untrained", "untrained student"),
                               ("center", "center of the image"))}
    said = "\n".join(f"- {fidelity.reading(name, expected[each], measure)}" for each, name in STUDENTS.items())
    assert said in texts(at)
    assert any("first 100 test images" in each for each in texts(at))


def test_the_picture_above_lies_on_its_own_dot(expected, drawn):
    opened(**OPEN, image="13")
    for (name, values), each in zip(dots(drawn[-1]).items(), drawn[-1]["layer"][7]["data"]["values"], strict=True):
        assert each["name"] == name
        assert each["value"] == pytest.approx(values[13], abs=1e-4)


def test_it_is_measured_once_and_a_new_student_alone(measurements, drawn):
    at = opened(**OPEN)
    at.number_input(key="image").increment().run()
    at.slider(key="opacity").set_value(80).run()
    at.selectbox(key="alike").set_value("overlap").run()
    assert measurements == dict.fromkeys(STUDENTS, 1)
    at.multiselect[0].set_value([*STUDENTS, "digits-resnet8-features_mse"]).run()
    assert measurements == dict.fromkeys((*STUDENTS, "digits-resnet8-features_mse"), 1)
    assert len(dots(drawn[-1])) == 3


def test_the_least_alike_images_lead_to_their_maps_as_they_were_measured(expected):
    at = opened(**OPEN, layer="stage2", target="the truth")
    student = "digits-resnet8-none"
    alike = expected[student].fidelity.student
    links = [each for each in at.button if (each.key or "").startswith(f"least {student} ")]
    least = sorted(range(100), key=alike.values["correlation"].__getitem__)[:5]
    assert [each.label for each in links] == [f"Image {each}" for each in least]
    links[0].click().run()
    assert at.number_input(key="image").value == least[0]
    assert (at.selectbox(key="target").value, at.selectbox(key="layer").value) == ("first", "automatic")
    row = at.table[0].value.loc[STUDENTS[student]]
    assert float(row["Maps: rank correlation"]) == pytest.approx(alike.values["correlation"][least[0]], abs=6e-4)


def test_a_picture_of_ones_own_stands_among_the_test_images_and_a_dot_leads_away_from_it(expected, drawn):
    at = opened(**OPEN, source="Your own")
    file = BytesIO()
    kdengine.data.example(kdengine.open_data("digits"), 40)[0].save(file, "PNG")
    at.file_uploader[0].upload("mine.png", file.getvalue(), "image/png").run()
    assert not at.exception
    (said,) = [each for each in texts(at) if each.startswith("◇")]
    for each, row in zip(STUDENTS, drawn[-1]["layer"][7]["data"]["values"], strict=True):
        values = expected[each].fidelity.student.values["correlation"]
        share = round(100 * sum(value < row["value"] for value in values) / 100)
        assert f"{row['value']:.3f} for {STUDENTS[each]}, more alike than {share}% of these test images" in said
    next(each for each in at.button if (each.key or "").startswith("least ")).click().run()
    assert at.radio(key="source").value == "Test image"
    (least,) = expected["digits-resnet8-kd"].fidelity.student.least("correlation", 1)
    assert at.number_input(key="image").value == least


def test_photographs_and_a_teacher_alone_have_no_such_section():
    assert not opened(family="Photograph (ImageNet)", fidelity="true").expander
    at = opened()
    at.multiselect[0].set_value([]).run()
    assert not at.exception and not at.expander
