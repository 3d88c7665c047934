"""The catalogue of networks, from made-up headers and records: what belongs together, and what it is called."""

import time

import pytest

from kdengine import methods
from kdengine.runs import catalogue

TITLES = {"digits": "Handwritten digits", "shapes": "Shapes"}


def header(data="digits", method="none", *, task="classification", size=32, labels=None, teacher=None, **about):
    """A checkpoint's identity, as far as the catalogue reads it."""
    return {"task": task, "method": method, "architecture": "resnet8", "input_size": size, "digest": f"of {data}",
            "data": {"name": data, "labels_per_class": labels, "labelled_images": None, "without_class": None},
            "teacher": teacher and {"reference": teacher}, "scores": {"validation": {"top1": 0.5}}} | about


def record(name, data="digits", method="kd", *, state="finished", called=None, teacher=None, **about):
    """A run's record, as far as the catalogue reads it."""
    return {"id": name, "state": state, "name": called, "created": 0.0, "teacher": teacher,
            "configuration": {"data": data, "student": "resnet8", "method": method,
                              "hyperparameters": {"temperature": 8.0, "alpha": 0.5} if method == "kd" else {}},
            "data": {"title": TITLES.get(data, data), "size": 32} | about}


@pytest.fixture(autouse=True)
def own_words(monkeypatch):
    """Every file counts as the project's own, every reference as one that opens."""
    monkeypatch.setattr(catalogue, "has_record", lambda name, about: True)
    monkeypatch.setattr(catalogue, "locate", lambda reference: None if reference == "gone" else reference)
    monkeypatch.setattr(catalogue, "describe", lambda path: {"method": "none"})


def test_shipped_networks_come_with_their_teacher_first_and_the_data_sets_in_their_order():
    held = {"a-student": header("shapes", "kd", labels=5), "b-digits": header(), "c-shapes": header("shapes"),
            "d-first-stage": header("shapes", next(iter(methods.FIRST_STAGES)))}
    found = catalogue.families("classification", held, [], TITLES)
    assert list(found) == ["digits", "shapes", "photograph"]
    shapes = found["shapes"]
    assert (shapes.title, shapes.data, shapes.size, shapes.first) == ("Shapes (shipped)", "shapes", None, "c-shapes")
    assert shapes.networks == {
        "c-shapes": catalogue.Entry("Teacher · resnet8", "c-shapes, all labels", "none"),
        "a-student": catalogue.Entry("Logit matching · resnet8", "a-student, 5 labels per class", "kd")}
    assert found["photograph"].data is None and found["photograph"].first == "efficientnet_lite2"


def test_an_imagenet_teacher_is_a_member_though_it_is_no_checkpoint(monkeypatch):
    monkeypatch.setattr(catalogue, "imagenet_teacher",
                        lambda name, about: f"teacher-of:{name}" if about["teacher"] else None)
    held = {"alone": header("fish"), "fish": header("fish", "kd", teacher="efficientnet_lite2")}
    family = catalogue.families("classification", held, [], TITLES)["fish"]
    assert family.first == "teacher-of:fish"
    assert list(family.networks) == ["teacher-of:fish", "alone", "fish"]
    assert family.networks["teacher-of:fish"] == catalogue.Entry(
        "efficientnet_lite2", "ImageNet weights, these classes")


def test_finished_runs_join_their_family_and_bring_their_teacher():
    taught = {"reference": "my-teacher", "architecture": "resnet56"}
    runs = [record("run-1", teacher=taught), record("run-2", called="the one I like"), record("run-3", state="running"),
            record("run-4", "folder:mine", "none"), record("run-5", method=next(iter(methods.FIRST_STAGES))),
            record("run-6", teacher=taught | {"reference": "gone"})]
    found = catalogue.families("classification", {"teacher": header()}, runs, TITLES)
    assert list(found) == ["digits", "folder:mine", "photograph"]
    digits, when = found["digits"], time.strftime("%d %b %H:%M", time.localtime(0))
    usual = f"Logit matching, T 8, alpha 0.5 · resnet8 · {when}"
    assert digits.networks == {
        "teacher": catalogue.Entry("Teacher · resnet8", "teacher, all labels", "none"),
        "run-1": catalogue.Entry(usual, "run-1", "kd"), "my-teacher": catalogue.Entry("resnet56", "my-teacher"),
        "run-2": catalogue.Entry("the one I like", f"{usual}, run-2", "kd"),
        "run-6": catalogue.Entry(usual, "run-6", "kd")}
    assert digits.first == "teacher"
    assert (found["folder:mine"].title, found["folder:mine"].first) == ("folder:mine", "run-4")


def test_networks_that_segment_are_apart_by_size_and_called_by_what_their_names_do_not_share():
    held = {f"city-{name}": header("shapes", method, task="segmentation", size=size)
            for name, method, size in (
                ("64-teacher", "none", 64), ("64-small-kd", "combined", 64), ("32-none", "none", 32))}
    runs = [record("run-1", "shapes", "none", task="segmentation", size=64), record("run-2", "shapes", "none")]
    found = catalogue.families("segmentation", held, runs, TITLES)
    assert list(found) == ["shapes 64", "shapes 32"]
    assert {each: known.name.partition(" · ")[0] for each, known in found["shapes 64"].networks.items()
            if each in held} == {"city-64-teacher": "64-teacher", "city-64-small-kd": "64-small-kd"}
    assert "run-1" in found["shapes 64"].networks and "run-2" not in found["shapes 64"].networks
    assert found["shapes 64"].size == 64


def test_the_best_teacher_comes_first_and_first_stages_teach_nobody():
    held = {"few": header(labels=5, scores={"validation": {"top1": 0.9}}),
            "weak": header(scores={"validation": {"top1": 0.6}}), "best": header(scores={"validation": {"top1": 0.7}}),
            "other": header("shapes"), "stage": header(method=next(iter(methods.FIRST_STAGES)))}
    runs = [record("run-1"), record("run-2", "shapes"), record("run-3", state="failed")]
    assert catalogue.best_teacher("digits", held) == "best"
    assert catalogue.teachers("digits", held, runs) == {
        "best": "of digits", "few": "of digits", "weak": "of digits", "run-1": ""}
    assert next(iter(catalogue.teachers("digits", held, runs))) == "best"
    assert catalogue.best_teacher("nothing", held) is None and catalogue.teachers("nothing", held, runs) == {}
