"""What the Compare page says of heat maps over many test images: which words follow from which numbers."""

import pytest

from explorer import fidelity
from kdengine.explain.fidelity import Change, Fidelity, Likeness
from kdengine.measures.uncertainty import Interval
from kdengine.runs.fidelity import MEASURES, HeatFidelity

UP, DOWN, NONE = (0.2, 0.001), (-0.2, 0.001), (0.2, 0.05)
"""A mean change and its p: more alike, less alike, not told apart."""


def alike(*values):
    mean = sum(values) / len(values)
    return Likeness({measure: list(values) for measure in MEASURES},
                    {measure: Interval(mean, mean - 0.1, mean + 0.1) for measure in MEASURES}, 0)


def result(student="one", independent=None, **changes):
    """A measurement in which the student's changes against each control are these, a measure each."""
    gains = {control: {measure: Change(Interval(mean, mean - 0.1, mean + 0.1), p)
                       for measure, (mean, p) in zip(MEASURES, each, strict=True)} for control, each in changes.items()}
    controls = {"independent": None, "retrained": None} | {control: alike(0.25, 0.75) for control in changes}
    return HeatFidelity(student, "teacher", independent,
                        None, Fidelity("gradcam", 2, (8, 8), alike(0.7, 0.9), controls, gains), {})


def test_controls_are_sorted_by_what_the_test_says():
    measured = result(independent="two", another_image=[UP] * 3, untrained=[DOWN] * 3, center=[NONE, UP, UP])
    assert fidelity.reading("A", measured, "correlation") == (
        "**A**: 0.800 (0.700 to 0.900). More alike than: another image's map. **Less** alike than: untrained student. "
        "**Not distinguishable** from: center of the image (but more alike by cosine and overlap of the top 20%).")
    assert fidelity.reading("A", measured, "cosine") == (
        "**A**: 0.800 (0.700 to 0.900). More alike than: another image's map, center of the image. "
        "**Less** alike than: untrained student.")


@pytest.mark.parametrize(("independent", "shown"), [("two", []), ("elsewhere", ["independent student"])])
def test_a_student_that_has_its_own_row_is_no_control_beside_it(independent, shown):
    every = {"one": result(independent=independent, independent_=[UP] * 3), "two": result("two", center=[UP] * 3)}
    every["one"].fidelity.controls.update(independent=alike(0.5), independent_=None)
    picture = [{"correlation": 0.3, "cosine": 0.4, "overlap": 0.5}] * 2
    first, second = fidelity.rows({"one": "Logit matching", "two": "Independent student"}, every, "cosine", picture)
    assert list(first["controls"]) == shown
    assert second["controls"] == {"center of the image": (0.5, pytest.approx(0.4), 0.6)}
    assert (first["name"], first["values"], first["mean"], first["picture"]) == ("Logit matching", [0.7, 0.9], 0.8, 0.4)
    assert first["color"] != second["color"]


def test_a_picture_whose_map_prefers_no_place_is_alike_in_nothing():
    blank = {"correlation": float("nan"), "cosine": 0.9, "overlap": 0.4}
    (row,) = fidelity.rows({"one": "A"}, {"one": result(center=[UP] * 3)}, "cosine", [blank])
    assert row["picture"] == 0.0
