"""Heat-map fidelity by name: which networks stand beside it, and on which images it is measured."""

import dataclasses
import json

import pytest

import kdengine.runs
from kdengine import data, models, paths
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.explain import fidelity, map_checks
from kdengine.runs import checkpoints, references
from kdengine.runs.fidelity import independent_of, retrained_of
from kdengine.runs.records import RECORD, STUDENT
from tests.kdengine import made


def run_of(name, *, weights=True, **configuration):
    """A finished run that trained nothing: a new network of the run's seed, and its record."""
    record = made.finished(name, Configuration(data="digits", **configuration))
    folder = paths.runs_root() / name
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps(dataclasses.asdict(record)))
    if weights:
        network = models.build(record.configuration.student, data.load("digits").classes, input_size=32,
                               seed=record.configuration.seed)
        checkpoints.save(network, folder / STUDENT)
    return name


def test_beside_a_shipped_student_stands_its_independent_twin():
    assert independent_of("digits-resnet8-kd") == independent_of("digits-resnet8-features_mse") == "digits-resnet8-none"
    assert independent_of("shapes-resnet8-attention") == "shapes-resnet8-none"
    assert independent_of("digits-resnet8-none") is None
    assert independent_of("no-such-result") is None


def test_no_shipped_teacher_was_trained_twice():
    assert [retrained_of(f"{each}-teacher") for each in ("digits", "shapes", "cifar10", "nobody's")] == [None] * 4


def test_a_teacher_of_another_seed_is_equal_in_everything_else_and_has_its_weights():
    common = {"student": "resnet14", "method": "none", "epochs": 3}
    first = run_of("first", seed=0, **common)
    assert retrained_of(first) is None  # itself does not count
    run_of("longer", seed=1, **common | {"epochs": 4})
    run_of("larger", seed=1, **common | {"student": "resnet20"})
    run_of("taught", seed=1, **common | {"method": "kd", "hyperparameters": {"temperature": 4.0, "alpha": 0.9}})
    run_of("lost", seed=1, weights=False, **common)
    assert retrained_of(first) is None
    other = run_of("other", seed=2, **common)
    assert retrained_of(first) == other and retrained_of(other) == first


def test_a_twin_whose_weights_are_gone_does_not_stand_beside():
    taught = run_of("taught", student="resnet14", method="kd", hyperparameters={"temperature": 4.0, "alpha": 0.9})
    alone = run_of("alone", weights=False, student="resnet14", method="none")
    assert independent_of(taught) is None
    checkpoints.save(references.open_reference("digits-teacher"), paths.runs_root() / alone / STUDENT)
    assert independent_of(taught) == alone


def test_it_is_measured_on_the_first_test_images_with_all_that_stands_beside(monkeypatch):
    monkeypatch.setattr("kdengine.runs.fidelity.CHECKED_IMAGES", 3)
    common = {"student": "resnet8", "method": "none", "epochs": 3}
    teacher, other = (run_of(name, seed=seed, **common) for name, seed in (("one", 1), ("two", 2)))
    digits = data.load("digits")
    measured = kdengine.runs.heat_fidelity("digits-resnet8-kd", teacher, digits, method="hirescam", count=5)
    assert (measured.student, measured.teacher) == ("digits-resnet8-kd", teacher)
    assert (measured.independent, measured.retrained) == ("digits-resnet8-none", other)
    opened = [references.open_reference(name) for name in ("digits-resnet8-kd", teacher, "digits-resnet8-none", other)]
    images = digits.test.images
    assert measured.fidelity == fidelity.fidelity(
        *opened[:2], images[:5], method="hirescam", independent=opened[2], retrained=opened[3])
    assert measured.checks == {
        role: map_checks.check_maps(network, images[:3], method="hirescam")
        for role, network in zip(("student", "teacher"), opened, strict=False)}
    alone = kdengine.runs.heat_fidelity("digits-resnet8-kd", teacher, digits, method="hirescam", count=5,
                                        with_checks=False)
    assert alone == dataclasses.replace(measured, checks={})


@pytest.mark.parametrize("count", [-1, 1, 1_001])
def test_too_few_images_and_too_many_are_refused(count):
    with pytest.raises(KDError, match=f"images is {count}; allowed is a number from 2 to 1000"):
        kdengine.runs.heat_fidelity("digits-resnet8-kd", "digits-teacher", data.load("digits"), count=count)
