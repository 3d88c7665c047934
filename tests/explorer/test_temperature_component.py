"""What is typed for the Temperature page, and the stops under its slider. The drawing is tested in the browser."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.temperature import component, typed
from kdengine import KDError

LOGIT = st.floats(-typed.LARGEST_LOGIT, typed.LARGEST_LOGIT)


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("20", 20.0), (" 3.33 ", 3.33), ("1e0", 1.0)])
def test_a_temperature_in_range_is_taken_as_it_is(text, value):
    assert typed.read_temperature(text) == value


@pytest.mark.parametrize("text", ["0", "-1", "0.49", "20.01", "nan", "inf", "-inf", "1e999", "", "warm", "1,5", "½"])
def test_any_other_temperature_is_named_with_its_range(text):
    with pytest.raises(KDError) as caught:
        typed.read_temperature(text)
    assert str(caught.value) == f"The link's temperature is {text!r}; allowed is a number from 0.5 to 20."


@pytest.mark.parametrize("text", ["-1", "359", "1e999", "1.5", "", "seven", "9" * 5000])
def test_a_test_picture_that_is_not_there_is_named_with_those_that_are(text):
    with pytest.raises(KDError, match=r"The link's test picture is '.{0,41}'; .* whole number from 0 to 358\."):
        typed.read_place(text, 358)
    assert (typed.read_place("0", 358), typed.read_place("358", 358)) == (0, 358)


@given(st.lists(LOGIT, min_size=2, max_size=typed.MOST_CLASSES), st.sampled_from([",", ", ", " ", ";", "\n", " ,  "]))
def test_logits_come_back_as_they_were_written(logits, separator):
    assert typed.read_logits(separator.join(map(repr, logits)), "teacher") == logits


def test_the_typographic_minus_is_a_minus():
    assert typed.read_logits("10, 2, −3", "teacher") == [10.0, 2.0, -3.0]


@pytest.mark.parametrize(("text", "sentence"), [
    ("10, x, -3", "Logit 2 of the student is 'x'; allowed is a number from -1000 to 1000."),
    ("nan, 2", "Logit 1 of the student is 'nan'; allowed is a number from -1000 to 1000."),
    ("1, inf", "Logit 2 of the student is 'inf'; allowed is a number from -1000 to 1000."),
    ("1, 2, 1e999", "Logit 3 of the student is '1e999'; allowed is a number from -1000 to 1000."),
    ("1, -1000.5", "Logit 2 of the student is '-1000.5'; allowed is a number from -1000 to 1000."),
    ("1, " + "9" * 50, f"Logit 2 of the student is '{'9' * 40}…'; allowed is a number from -1000 to 1000."),
])
def test_an_entry_that_is_no_logit_is_named_by_its_place(text, sentence):
    with pytest.raises(KDError) as caught:
        typed.read_logits(text, "student")
    assert str(caught.value) == sentence


@pytest.mark.parametrize(("text", "told"), [
    ("", "none is given"), (" , ;", "none is given"), ("7", "one is given"), ("1," * 101, "101 are given"),
])
def test_too_few_and_too_many_logits_are_counted(text, told):
    with pytest.raises(KDError, match=f"The teacher needs from 2 to 100 logits, one for each class; {told}"):
        typed.read_logits(text, "teacher")


@given(st.text(max_size=200))
def test_whatever_is_typed_either_reads_or_gets_a_sentence(text):
    for read in (typed.read_temperature, lambda each: typed.read_logits(each, "teacher"),
                 lambda each: typed.read_names(each, 3)):
        try:
            value = read(text)
        except KDError as error:
            assert str(error).endswith(".") and len(str(error)) < 300
        else:
            numbers = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, float)]
            assert all(math.isfinite(number) for number in numbers)


def test_classes_have_numbers_until_they_are_named():
    assert typed.read_names("", 3) == ["Class 1", "Class 2", "Class 3"]
    assert typed.read_names("cat, great white shark; <b>dog</b>", 3) == ["cat", "great white shark", "<b>dog</b>"]


@pytest.mark.parametrize(("text", "told"), [
    ("cat, dog", "There are 3 logits and 2 class names"), ("a, b, c, d", "3 logits and 4 class names"),
    ("cat, dog, cat", "The class name 'cat' is given more than once"),
])
def test_names_must_fit_the_logits_and_differ(text, told):
    with pytest.raises(KDError, match=told):
        typed.read_names(text, 3)


def test_teacher_and_student_need_as_many_logits():
    assert typed.read_classes("1 2", "3 4", "a, b") == ([1.0, 2.0], [3.0, 4.0], ["a", "b"])
    with pytest.raises(KDError, match="The teacher has 3 logits and the student 2"):
        typed.read_classes("1 2 3", "1 2", "")


def test_the_slider_runs_from_lowest_to_highest_and_is_finer_below():
    stops = component.STOPS
    steps = [round(after - before, 2) for before, after in pairwise(stops)]
    assert (stops[0], stops[-1]) == (typed.LOWEST, typed.HIGHEST)
    assert steps[0] > 0 and steps == sorted(steps) and steps[-1] > steps[0]
    assert {1.0, *component.TICKS} <= set(stops)
