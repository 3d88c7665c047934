"""Whatever a checkpoint's header says, readers give an identity or say why not; nothing that it names is run."""

import json
import os
import random
import shutil
import struct

import pytest
import torch

import kdengine
from kdengine import paths
from kdengine.errors import KDError
from kdengine.runs import checkpoints, references, store
from kdengine.runs.records import STUDENT
from tests.faults import hostile
from tests.kdengine import made

FROM = paths.PROJECT / "checkpoints"
SHIPPED = "digits-teacher"


@pytest.fixture(autouse=True)
def one_checkpoint(tmp_path, monkeypatch):
    """The shipped teacher of the digits, with its record."""
    place = tmp_path / "checkpoints"
    shutil.copytree(FROM / "records" / SHIPPED, place / "records" / SHIPPED)
    shutil.copy(FROM / f"{SHIPPED}.safetensors", place)
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(place))
    return place


def identity():
    """What a shipped student says of itself."""
    return checkpoints.describe(FROM / "digits-resnet8-kd.safetensors")


def small(text):
    """A file of one number whose header tells this identity."""
    header = json.dumps({"__metadata__": {"kdengine": text.decode(errors="surrogateescape")},
                         "weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


def files(count, seed):
    """Mutations of an identity in a sound file, and of the bytes of a file."""
    generator, sound = random.Random(seed), identity()
    whole = small(json.dumps(sound).encode())
    texts = [*hostile.some(hostile.swapped(sound), generator, count // 2),
             *hostile.damaged(json.dumps(sound).encode(), generator, count // 4)]
    return [*map(small, texts), *hostile.damaged(whole, generator, count - len(texts))]


def require_all_readers_live(names):
    """What pages ask of the folder: none raises, and every file is listed, says no data, or is said to be wrong."""
    listed = kdengine.list_checkpoints()
    wrong = {each["name"].removesuffix(".safetensors") for each in kdengine.runs.list_unreadable()}
    assert wrong <= set(names) and not wrong & set(listed)
    json.dumps(listed, allow_nan=False)
    assert kdengine.runs.default_teacher("digits") == SHIPPED
    for task in ("classification", "segmentation"):
        for family in kdengine.runs.shipped_families(task).values():
            assert set(family["students"]) <= set(listed)
    for name, about in listed.items():
        kdengine.runs.teacher_of(name, about)
    return set(listed)


@pytest.mark.parametrize(("count", "seed"), [
    (100, 0), *[pytest.param(500, seed, marks=pytest.mark.slow) for seed in range(1, 11)]])
def test_a_mutated_header_is_read_or_refused_and_harms_no_other(count, seed, one_checkpoint, mark):
    names = []
    for number, content in enumerate([small(json.dumps(identity()).encode()), *files(count, seed)]):
        names.append(f"mutated-{number}")
        path = one_checkpoint / f"{names[-1]}.safetensors"
        path.write_bytes(content)
        try:
            about = checkpoints.describe(path)
        except KDError as error:
            assert path.name in str(error)
            continue
        assert {"architecture", "task", "method", "scores"} <= about.keys()
        with pytest.raises(KDError):  # one number is no network, whatever it says
            checkpoints.load(path)
    read = require_all_readers_live(names)
    assert "mutated-0" in read
    assert 2 < len(read) < count  # both happen, else this test says nothing
    assert not mark.exists()


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "header too small"),
    (b"\xff" * 8, "its header is of 18,446,744,073,709,551,615 bytes; 16,777,216 are allowed"),
    (struct.pack("<Q", 2**24 + 1) + b" " * 100, "its header is of 16,777,217 bytes"),
    (struct.pack("<Q", 10) + b"[" * 10, "its header cannot be read"),
    (struct.pack("<Q", 2) + b"{}", "its header does not say what network it is"),
    (small(b"{"), "Input data was truncated"),
    (small(b"[" * 100_000), "maximum recursion depth exceeded"),
    (small(b"{}"), "Object missing required field `architecture`"),
])
def test_a_header_that_is_none_is_refused_with_its_reason(tmp_path, content, reason):
    path = tmp_path / "odd.safetensors"
    path.write_bytes(content)
    with pytest.raises(KDError) as caught:
        checkpoints.describe(path)
    assert str(caught.value).startswith("odd.safetensors is not one of this project's checkpoints, or is damaged (")
    assert reason in str(caught.value)


@pytest.mark.parametrize(("odd", "reason"), [
    ({"input_size": 10**6}, "Expected `int` <= 1024 - at `input_size`"),
    ({"input_size": 0}, "Expected `int` >= 8"),
    ({"std": [0.5, 0, 0.5]}, "Expected `float` >= 1e-06 - at `std[1]`"),
    ({"mean": [0.5]}, "Expected `array` of length >= 3"),
    ({"classes": []}, "Expected `array` of length >= 1"),
    ({"classes": "ab"}, "Expected `array`, got `str`"),
    ({"task": "detection"}, "Invalid enum value 'detection'"),
    ({"data": {}}, "Object missing required field `name`"),
    ({"scores": {"validation": {"n": 5}}}, "its validation scores hold neither top1 nor miou"),
    ({"scores": {"validation": {"top1": 1.5}}}, "Expected `float` <= 1.0"),
    ({"scores": {"validation": {"top1": -1}}}, "Expected `float` >= 0.0"),
    ({"scores": {"test": {"top1": 0.5}}}, "Object missing required field `n`"),
    ({"scores": {"test": {"n": 0, "top1": 0.5}}}, "Expected `int` >= 1"),
])
def test_a_header_that_cannot_be_meant_is_refused(tmp_path, odd, reason):
    path = tmp_path / "odd.safetensors"
    made.checkpoint(path, **odd)
    with pytest.raises(KDError) as caught:
        checkpoints.describe(path)
    assert reason in str(caught.value)


def test_a_checkpoint_that_is_a_folder_or_a_pipe_is_listed_as_unreadable(one_checkpoint):
    (one_checkpoint / "folder.safetensors").mkdir()
    os.mkfifo(one_checkpoint / "pipe.safetensors")
    (one_checkpoint / "bad\nname.safetensors").touch()
    (one_checkpoint / ".hidden.safetensors").touch()
    require_all_readers_live(["folder", "pipe", "bad\nname"])
    assert {each["name"] for each in kdengine.runs.list_unreadable()} == {
        "folder.safetensors", "pipe.safetensors", "bad\nname.safetensors"}


@pytest.mark.parametrize("reference", ["", ".", "..", "~nobody_at_all/x", "x" * 300, "a\0b", "/", "x/" * 3000])
def test_a_reference_that_cannot_be_a_file_means_nothing(reference):
    assert references.locate(reference) is None
    assert kdengine.runs.teacher_of("x", {"teacher": {"reference": reference}}) is None


def test_no_stranger_s_file_is_preferred_over_one_with_a_record(one_checkpoint):
    """Not by a perfect score, nor by naming a teacher, nor under the name of another's record."""
    perfect = {"validation": {"n": 10**6, "top1": 1.0}, "test": {"n": 10**6, "top1": 1.0}}
    about = {"data": {"name": "digits"}, "scores": perfect, "teacher": {"reference": "efficientnet_lite0"}}
    made.checkpoint(one_checkpoint / "a-stranger.safetensors", **about)
    assert kdengine.runs.default_teacher("digits") == SHIPPED
    assert kdengine.runs.shipped_families()["digits"] == {"teacher": SHIPPED, "students": ["a-stranger"]}
    assert list(kdengine.list_checkpoints()) == [SHIPPED, "a-stranger"]  # pages open with the first
    made.checkpoint(one_checkpoint / f"{SHIPPED}.safetensors", **about | {"digest": "another"})
    assert not checkpoints.has_record(SHIPPED, checkpoints.describe(one_checkpoint / f"{SHIPPED}.safetensors"))
    (one_checkpoint / f"{SHIPPED}.safetensors").unlink()
    assert kdengine.runs.default_teacher("digits") == "a-stranger"  # nothing else is there


def test_every_checkpoint_of_the_project_has_its_record(monkeypatch):
    monkeypatch.delenv("KDENGINE_CHECKPOINTS")
    shipped = kdengine.list_checkpoints()
    assert [name for name, about in shipped.items() if not checkpoints.has_record(name, about)] == []
    assert kdengine.runs.list_unreadable() == []


def code(path, architecture="leaves_a_mark:f"):
    """A checkpoint, complete and of the right digest, whose network is code in the current folder."""
    state = {"1.weight": torch.zeros(2, 3072), "1.bias": torch.zeros(2)}
    about = {"architecture": architecture, "classes": ["a", "b"], "input_size": 32, "mean": [0.5] * 3,
             "std": [0.25] * 3, "digest": checkpoints.digest(state), "data": {"name": "digits"}, "method": "none",
             "scores": {"validation": {"n": 10, "top1": 1.0}, "test": {"n": 10, "top1": 1.0}}}
    checkpoints.save_tensors(path, state, {"kdengine": json.dumps(about)})


def test_a_checkpoint_names_code_and_nothing_is_run(one_checkpoint, mark):
    """Not as the best teacher there is, not by opening it, not by distilling from it; the sentence says what to do."""
    code(one_checkpoint / "stranger.safetensors")
    (one_checkpoint / f"{SHIPPED}.safetensors").unlink()
    assert "stranger" not in kdengine.list_checkpoints()
    listed, = kdengine.runs.list_unreadable()
    assert (listed["kind"], listed["name"]) == ("checkpoint", "stranger.safetensors")
    assert "set KDENGINE_TRUST=leaves_a_mark" in listed["reason"]
    assert kdengine.runs.default_teacher("digits") is None
    for act in (kdengine.open_network, references.require,
                lambda name: kdengine.start([kdengine.Configuration(method="kd", teacher=name)])):
        with pytest.raises(KDError, match=r"leaves_a_mark:f is code of the module leaves_a_mark, .* KDENGINE_TRUST="):
            act("stranger")
    assert store.all_runs() == []
    assert not mark.exists()


@pytest.mark.parametrize("trusted", ["leaves_a_mark", "other,leaves_a_mark", f"other{os.pathsep}leaves_a_mark"])
def test_trusted_code_is_run(one_checkpoint, mark, monkeypatch, trusted):
    code(one_checkpoint / "own.safetensors")
    monkeypatch.setenv("KDENGINE_TRUST", trusted)
    assert kdengine.runs.default_teacher("digits") == SHIPPED  # still
    assert "own" in kdengine.list_checkpoints()
    assert kdengine.open_network("own").architecture == "leaves_a_mark:f"
    assert mark.exists()


@pytest.mark.parametrize("trusted", ["", "leaves", "leaves_a_mark_too", "leaves_a_mark.inner", "f", "."])
def test_only_the_named_module_and_what_is_in_it_is_trusted(one_checkpoint, mark, monkeypatch, trusted):
    code(one_checkpoint / "stranger.safetensors")
    monkeypatch.setenv("KDENGINE_TRUST", trusted)
    with pytest.raises(KDError, match="KDENGINE_TRUST=leaves_a_mark"):
        kdengine.open_network("stranger")
    assert not mark.exists()


def test_a_run_s_student_of_code_is_gated_as_well(mark):
    folder = paths.runs_root() / "stranger"
    folder.mkdir(parents=True)
    made.finished("stranger", kdengine.Configuration(student="leaves_a_mark:f")).save(folder)
    code(folder / STUDENT)
    with pytest.raises(KDError, match="KDENGINE_TRUST=leaves_a_mark"):
        kdengine.open_network("stranger")
    assert not mark.exists()
