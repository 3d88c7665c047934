"""Where a network comes from: other images than today's are told, and a teacher is the very one, or none."""

import dataclasses
import shutil

import pytest

import kdengine
from kdengine import data, models, paths
from kdengine.errors import KDError
from kdengine.runs import checkpoints, origins, references, results
from kdengine.runs.records import RECORD, read_record

STUDENT, TEACHER = "digits-resnet8-kd", "digits-teacher"
OTHER = "0123456789abcdef"


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The shipped digits' networks, to be changed: returns a record's folder."""
    place = tmp_path / "checkpoints"
    for name in (STUDENT, TEACHER):
        shutil.copytree(paths.PROJECT / "checkpoints" / "records" / name, place / "records" / name)
        shutil.copy(paths.PROJECT / "checkpoints" / f"{name}.safetensors", place)
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(place))
    return place / "records" / STUDENT


def change(folder, **parts):
    record = read_record(folder / RECORD)
    for name, fields in parts.items():
        getattr(record, name).update(fields)
    record.save(folder)


def saved(folder, name, teacher=None, **about):
    """A checkpoint file without a record."""
    network = models.build("resnet8", [str(digit) for digit in range(10)])
    checkpoints.save(network, folder / f"{name}.safetensors", method="none", teacher=teacher, scores={}, **about)
    return str(folder / f"{name}.safetensors")


def test_the_shipped_networks_were_tested_on_today_s_images(digits):
    for name, record in results.finished().items():
        if record.configuration.data == "digits":
            assert kdengine.runs.other_images(name, digits) is None


def test_other_images_are_told_from_the_record(copied, digits):
    change(copied, data={"digest": OTHER})
    sentence = origins.other_images(STUDENT, digits)
    assert sentence.startswith(f"{STUDENT} was trained and tested on other images of Handwritten digits than are here")
    assert OTHER in sentence and digits.digest in sentence
    assert sentence.endswith("its stored answers cannot be compared with today's images.")
    assert origins.other_images(STUDENT, digits, "My student").startswith("My student was trained")
    assert origins.other_images(TEACHER, digits) is None


def test_without_a_record_the_header_tells(tmp_path, digits):
    same = saved(tmp_path, "same", data={"name": "digits", "digest": digits.digest})
    other = saved(tmp_path, "other", data={"name": "digits", "digest": OTHER})
    unsaid = saved(tmp_path, "unsaid", data={"name": "digits"})
    assert [origins.other_images(each, digits) is None for each in (same, other, unsaid)] == [True, False, True]


def test_what_nobody_can_compare_is_told_of_nobody(copied, digits):
    change(copied, data={"digest": OTHER})
    assert origins.other_images(STUDENT, dataclasses.replace(digits, name="shapes")) is None
    assert origins.other_images(STUDENT, data.load("digits", image_size=16)) is None  # of another size by design
    assert origins.other_images("efficientnet_lite0", digits) is None
    assert origins.other_images("nobody", digits) is None


def test_a_teacher_is_opened_where_it_is_the_very_one_that_taught():
    reference, teacher = origins.open_teacher(STUDENT)
    assert reference == TEACHER
    assert checkpoints.network_digest(teacher) == checkpoints.describe(references.locate(TEACHER))["digest"]
    assert origins.open_teacher(TEACHER) is None  # it had none


def test_a_teacher_that_is_gone_or_has_other_weights_is_not_opened(copied, tmp_path):
    change(copied, teacher={"digest": OTHER})
    with pytest.raises(KDError, match=f"its teacher {TEACHER} has other weights today: .* not {OTHER}"):
        origins.open_teacher(STUDENT)
    change(copied, teacher={"reference": "nobody"})
    with pytest.raises(KDError, match="its teacher nobody is gone"):
        origins.open_teacher(STUDENT)
    with pytest.raises(KDError, match="it does not say which taught it"):  # the name alone would be a guess
        origins.open_teacher(saved(tmp_path, "unsaid", teacher={"reference": TEACHER}))


def test_an_imagenet_teacher_is_opened_as_it_taught(tmp_path):
    lite = models.pretrained("efficientnet_lite0", ("tench", "church"), 64)
    student = models.build("resnet8", ("tench", "church"), input_size=64)
    for name, digest in (("fish", checkpoints.network_digest(lite)), ("bird", OTHER)):
        checkpoints.save(student, tmp_path / f"{name}.safetensors", method="kd", scores={},
                         teacher={"reference": "efficientnet_lite0", "digest": digest})
    _, teacher = origins.open_teacher(str(tmp_path / "fish.safetensors"))
    assert (teacher.classes, teacher.input_size) == (("tench", "church"), 64)
    with pytest.raises(KDError, match="its teacher efficientnet_lite0 has other weights today"):
        origins.open_teacher(str(tmp_path / "bird.safetensors"))
