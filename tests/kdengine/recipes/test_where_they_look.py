"""Where they look: what is measured of real networks, and what is said of measures made by hand."""

import dataclasses
import statistics

import pytest
from scipy.stats import ttest_rel

from kdengine import data, recipes
from kdengine.configuration import Configuration
from kdengine.explain import comparison as maps_compared
from kdengine.explain import fidelity
from kdengine.recipes import Outcome, comparison
from kdengine.recipes.where_they_look import WHERE_THEY_LOOK, measure
from kdengine.runs import references
from kdengine.runs.records import Record
from kdengine.views import Split
from tests.kdengine.recipes import scene
from tests.kdengine.recipes.scene import drawn_from, student_s

MEASURES = ("correlation", "overlap")
REACHED = {"Independent student": [0.70, 0.72, 0.71], "Logit matching": [0.81, 0.84, 0.82],
           "Attention transfer": [0.90, 0.93, 0.92], "CRD": [0.60, 0.61, 0.59], "Explanations": [0.72, 0.71, 0.71]}
CENTER, UNTRAINED, SHIFT = 0.80, 0.10, 0.25
"""SHIFT: by how much a student's maps are less like the teacher's of another image."""


def record(name, teacher=None, of="digits"):
    return Record(name, "group", 1.0, Configuration(data=of, teacher=teacher), {"state": "finished"})


def by_hand(correlation, **more):
    """What is measured of a student with that rank correlation."""
    return {"correlation": correlation, "correlation_low": correlation - 0.01, "correlation_high": correlation + 0.01,
            "overlap": correlation / 2, "blank": 0.0, "center_correlation": CENTER, "untrained_correlation": UNTRAINED,
            "another_image_correlation": correlation - SHIFT, "center_overlap": CENTER / 4,
            "untrained_overlap": UNTRAINED / 4, "another_image_overlap": correlation / 5} | more


def outcome(seeds=3, reached=None, objects=None):
    """An outcome whose maps are as like the teacher's as `reached` says, by label, a number a seed.

    objects: the share of the heat on them, by label; None where the data do not know.
    """
    reached = {label: values[:seeds] for label, values in (reached or REACHED).items()}
    plan = recipes.plan("where_they_look", seeds=seeds)
    right = {"Teacher": [90]} | {label: [60 + seed for seed in range(len(values))] for label, values in reached.items()}
    made = scene.outcome(plan, right)
    measured = {(label, seed): by_hand(value) for label, values in reached.items() for seed, value in enumerate(values)}
    measured["Teacher", 0] = {}
    for key, each in measured.items():
        if objects:
            each |= {"inside": objects[key[0]], "inside_low": 0.0, "inside_high": 1.0, "elsewhere": 0.5, "area": 0.25}
    return Outcome(plan, made.records, measured=measured)


def points(chart, name):
    """The rows of a chart that are of a network, by its name."""
    return {row[name]: row for layer in chart.to_dict()["layer"] for row in layer["data"]["values"] if name in row}


# What is measured. --------------------------------------------------------------------------------------------------

def test_a_student_is_measured_as_the_engine_measures_one_pair_over_the_first_300_images():
    told = measure(record("digits-resnet8-none", "digits-teacher"))
    student, teacher = map(references.open_reference, ("digits-resnet8-none", "digits-teacher"))
    whole = fidelity.fidelity(student, teacher, data.load("digits").test.images[:300])
    alike = {"": whole.student} | {f"{name}_": whole.controls[name]
                                   for name in ("center", "untrained", "another_image")}
    expected = {prefix + name: each.means[name].mean for prefix, each in alike.items() for name in MEASURES}
    sure = whole.student.means["correlation"]
    assert told == pytest.approx(expected | {
        "correlation_low": sure.low, "correlation_high": sure.high, "blank": whole.student.blank / 300})


def test_of_a_teacher_nothing_is_measured_but_where_the_objects_lie():
    assert measure(record("digits-teacher")) == {}
    shapes = data.load("shapes")
    told = measure(record("shapes-teacher", of="shapes"))
    each = maps_compared.on_objects(references.open_reference("shapes-teacher"),
                                    Split(shapes.test.images[:300], shapes.test.target[:300]), shapes.boxes[:300], 64)
    expected = {"inside": "inside", "elsewhere": "inside_elsewhere", "area": "area"}
    assert {name: told[name] for name in expected} == pytest.approx(
        {name: each[key].mean().item() for name, key in expected.items()})
    low, high = student_s(each["inside"].tolist())
    assert (told["inside_low"], told["inside_high"]) == pytest.approx((low, high))


def test_a_run_is_measured_once(monkeypatch):
    first = measure(record("digits-resnet8-kd", "digits-teacher"))
    monkeypatch.setattr(references, "open_reference", lambda reference: pytest.fail(f"opens {reference} again"))
    assert measure(record("digits-resnet8-kd", "digits-teacher")) == first


# What is trained. ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("scale", "stage"), [("quick", {}), ("lab", {}), ("paper", {"stage": 2})])
def test_five_students_of_one_teacher(scale, stage):
    parts = WHERE_THEY_LOOK.parts(scale)
    assert [(part.label, part.configuration.method) for part in parts[1:]] == list(zip(
        REACHED, ("none", "kd", "attention", "crd", "e2kd"), strict=True))
    assert parts[-1].configuration.hyperparameters == stage
    assert {part.configuration.labels_per_class for part in parts[1:]} == {10 if scale == "quick" else None}


# What is said. ------------------------------------------------------------------------------------------------------

def test_the_table_has_a_place_for_the_likeness_and_none_for_the_teacher_s_with_itself():
    table = comparison.rows(outcome())
    titles, cells = comparison.main(WHERE_THEY_LOOK, table)
    assert len(titles) == comparison.MAIN
    assert titles[4:7] == [column.title for column in WHERE_THEY_LOOK.columns.values()]
    by_label = {row[0]: row[4:7] for row in cells}
    assert by_label["Teacher"] == ["–"] * 3
    assert by_label["Attention transfer"] == ["0.917", "0.667", "45.83%"]


def test_the_answer_ranks_them_and_holds_them_against_what_cannot_know():
    assert WHERE_THEY_LOOK.remarks(outcome())[:2] == [
        "Rank correlation with the teacher's heat maps: above every control Attention transfer 0.917, Logit matching "
        "0.823. The others: Explanations 0.713, Independent student 0.710, CRD 0.600. The controls: a bump in the "
        "center 0.800, an untrained student 0.100, the students' maps of another image 0.350 to 0.667.",
        "Overlap with the teacher's hottest fifths: above every control Attention transfer 45.8%, Logit matching "
        "41.2%, Explanations 35.7%, Independent student 35.5%, CRD 30.0%. The controls: a bump in the center 20.0%, an "
        "untrained student 2.5%, the students' maps of another image 12.0% to 18.3%."]


@pytest.mark.parametrize("control", ["center_correlation", "untrained_correlation", "another_image_correlation"])
def test_who_is_not_above_every_control_is_not_said_to_look_there(control):
    made = outcome()
    measured = {key: each | {control: 0.95} if each else each for key, each in made.measures.items()}
    said = WHERE_THEY_LOOK.remarks(dataclasses.replace(made, measured=measured))
    assert said[0].startswith("Rank correlation with the teacher's heat maps: above every control is no student. The "
                              "others: Attention transfer 0.917, Logit matching 0.823, ")


def test_three_seeds_judge_the_methods_by_their_pairs():
    alone, raw = REACHED["Independent student"], {}
    for label in list(REACHED)[1:]:
        raw[label] = ttest_rel(REACHED[label], alone).pvalue
    adjusted, highest = {}, 0.0
    for rank, label in enumerate(sorted(raw, key=raw.get)):
        highest = adjusted[label] = max(highest, min(1.0, (4 - rank) * raw[label]))
    assert [label for label, p in adjusted.items() if p >= 0.05] == ["Explanations"]
    text = {label: "p < 0.001" if p < 0.001 else f"p = {p:.2g}" for label, p in adjusted.items()}
    rest = "the independent student's heat maps (rank correlation, paired by seed, adjusted by Holm): "
    assert WHERE_THEY_LOOK.remarks(outcome())[2:5] == [
        f"More like the teacher's than {rest}Logit matching ({text['Logit matching']}), Attention transfer "
        f"({text['Attention transfer']}).",
        f"Less like the teacher's than {rest}CRD ({text['CRD']}).",
        f"Not told apart from {rest}Explanations ({text['Explanations']}).",
    ]


def test_one_seed_judges_no_method():
    said = WHERE_THEY_LOOK.remarks(outcome(1))
    assert said[2] == "It takes 3 seeds or more to say which method makes the heat maps alike."
    assert not [each for each in said if "Holm" in each]


def test_nothing_is_judged_before_all_are_there():
    partial = outcome(reached=REACHED | {"CRD": REACHED["CRD"][:2]})
    assert partial.missing == [("CRD", 2)]
    assert not [each for each in WHERE_THEY_LOOK.remarks(partial) if "Holm" in each or "takes 3 seeds" in each]
    nothing = Outcome(partial.plan, {})
    assert (WHERE_THEY_LOOK.remarks(nothing), WHERE_THEY_LOOK.figures(nothing)) == ([], {})


def test_how_it_was_measured_is_said():
    made = outcome()
    measured = dict(made.measures)
    measured["CRD", 0] = measured["CRD", 0] | {"blank": 0.3}
    said = WHERE_THEY_LOOK.remarks(dataclasses.replace(made, measured=measured))
    assert said[-3:] == [
        "Heat maps are Grad-CAM of the class that the teacher names, on the first 100 test images.",
        "Images where a map is blank count as 0: CRD 10.0%.",  # of its three seeds
        "Explanations is trained to make maps of this kind alike, on the training images; no other method here is "
        "trained on them."]
    assert not [each for each in WHERE_THEY_LOOK.remarks(made) if "blank" in each]
    without = recipes.plan("where_they_look", seeds=3, skip=["Explanations"])
    assert "Explanations" not in " ".join(WHERE_THEY_LOOK.remarks(dataclasses.replace(made, plan=without)))


def test_where_objects_are_known_the_heat_on_them_is_told_and_drawn():
    shares = dict(zip(["Teacher", *REACHED], (0.75, 0.5, 0.625, 0.375, 0.25, 0.125), strict=True))
    made = outcome(objects=shares)
    assert (
        "Heat inside the object's box, and in brackets inside the boxes of other images: Teacher 75.0% (50.0%), "
        "Independent student 50.0% (50.0%), Logit matching 62.5% (50.0%), Attention transfer 37.5% (50.0%), CRD 25.0% "
        "(50.0%), Explanations 12.5% (50.0%). The boxes take 25.0% of an image.") in WHERE_THEY_LOOK.remarks(made)
    _, chart = WHERE_THEY_LOOK.figures(made).values()
    assert {label: each["mean"] for label, each in points(chart, "network").items()} == shares


def test_an_interval_ends_where_a_correlation_does():
    figure, = WHERE_THEY_LOOK.figures(outcome(2, REACHED | {"CRD": [-0.9, 0.9]})).values()
    crd = points(figure, "label")["CRD"]
    assert (crd["low"], crd["mean"], crd["high"]) == (-1, 0, 1)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_figure_has_intervals_over_the_seeds_and_of_one_seed_over_the_images(seeds):
    figure, = WHERE_THEY_LOOK.figures(outcome(seeds)).values()
    drawn = points(figure, "label")
    assert list(drawn) == list(REACHED)
    for label, each in drawn.items():
        values = REACHED[label][:seeds]
        low, high = student_s(values) if seeds > 1 else (values[0] - 0.01, values[0] + 0.01)
        assert (each["mean"], each["low"], each["high"], each["elsewhere"]) == pytest.approx(
            (statistics.fmean(values), low, high, statistics.fmean(values) - SHIFT))
    lines = drawn_from(figure)
    assert [(each["control"], each["value"]) for each in lines] == [
        ("A bump in the center", pytest.approx(CENTER)),
        ("An untrained student", pytest.approx(UNTRAINED))]
