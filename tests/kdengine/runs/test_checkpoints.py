"""Checkpoints know what they are, say what is wrong with them, and never run a stranger's code."""

import json
import pickle
import subprocess
import sys
import threading

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kdengine import models
from kdengine.errors import KDError
from kdengine.runs import checkpoints, exchange, references

CLASSES = ["cat", "dog", "owl"]


@pytest.fixture
def network():
    return models.build("resnet8", CLASSES, seed=1, input_size=32, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


@pytest.fixture
def saved(network, tmp_path):
    path = tmp_path / "small.safetensors"
    about = {"name": "pets", "labels_per_class": None}
    checkpoints.save(network, path, method="kd", data=about, scores={"test": {"n": 20, "top1": 0.5}})
    return path


def test_a_network_comes_back_bit_equal_with_its_identity(network, saved):
    loaded = checkpoints.load(saved)
    assert (loaded.architecture, loaded.classes, loaded.input_size) == ("resnet8", tuple(CLASSES), 32)
    assert (loaded.mean, loaded.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert not loaded.training
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded(images), network.eval()(images))
    assert checkpoints.describe(saved)["scores"] == {"test": {"n": 20, "top1": 0.5}}


def test_of_several_threads_that_write_one_file_each_writes_a_whole_one(tmp_path):
    path, start, failed = tmp_path / "x.safetensors", threading.Barrier(4), []

    def write(value):
        start.wait()
        try:
            for _ in range(20):
                checkpoints.save_tensors(path, {"x": torch.full((30_000,), float(value))})
        except OSError as error:  # another one took the file away
            failed.append(error)

    threads = [threading.Thread(target=write, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            seen.append(load_file(path)["x"].unique())
    assert failed == []
    assert {len(each) for each in seen} == {1}
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_the_header_is_one_json_string_readable_by_any_safetensors_reader(saved):
    with safe_open(saved, "pt") as file:
        assert json.loads(file.metadata()["kdengine"])["architecture"] == "resnet8"


@pytest.mark.parametrize(("wrong", "sentence"), [
    ({"input_size": 10**6}, "Expected `int` <= 1024 - at `input_size`"),
    ({"input_size": 4}, "Expected `int` >= 8 - at `input_size`"),
    ({"input_size": "32"}, "Expected `int`, got `str` - at `input_size`"),
    ({"std": [0, 0.2, 0.2]}, "Expected `float` >= 1e-06 - at `std[0]`"),
    ({"std": [0.2, 0.2]}, "Expected `array` of length >= 3 - at `std`"),
    ({"std": [0.2, 0.2, float("inf")]}, "JSON is malformed"),
    ({"mean": [0.2, 0.2, float("nan")]}, "JSON is malformed"),
    ({"mean": 5}, "Expected `array`, got `int` - at `mean`"),
])
def test_a_header_that_no_image_could_pass_is_refused_by_name(network, saved, wrong, sentence):
    identity = {**checkpoints.describe(saved), **wrong}
    save_file(network.net.state_dict(), saved, metadata={"kdengine": json.dumps(identity)})
    with pytest.raises(KDError) as caught:
        checkpoints.load(saved)
    assert "small.safetensors" in str(caught.value)
    assert sentence in str(caught.value)


def test_a_header_that_claims_a_huge_network_is_refused_before_one_is_built(network, saved, monkeypatch):
    identity = {**checkpoints.describe(saved), "classes": [f"class {number}" for number in range(90_000)]}
    save_file(network.net.state_dict(), saved, metadata={"kdengine": json.dumps(identity)})

    def built(*_, **__):
        raise AssertionError("A network of 90,000 classes was built.")

    monkeypatch.setattr(models, "build", built)
    with pytest.raises(KDError, match=r"holds the weights of a resnet8 with 3 classes"):
        checkpoints.load(saved)


def test_describing_needs_no_torch(saved):
    code = (f"import sys, pathlib; from kdengine.runs import checkpoints; "
            f"print(checkpoints.describe(pathlib.Path({str(saved)!r}))['method'], 'torch' in sys.modules)")
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "kd False\n"


def test_the_digest_is_over_the_tensors_alone(network, tmp_path):
    digests = {checkpoints.save(network, tmp_path / f"{note}.safetensors", note=note) for note in ("a", "b")}
    assert digests == {checkpoints.network_digest(network)}
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1e-6
    assert checkpoints.network_digest(network) not in digests


def test_channels_last_weights_are_saved_as_they_read(network, tmp_path):
    path = tmp_path / "last.safetensors"
    expected = checkpoints.network_digest(network)
    assert checkpoints.save(network.to(memory_format=torch.channels_last), path) == expected
    assert checkpoints.network_digest(checkpoints.load(path)) == expected


@pytest.mark.parametrize("keep", [0, 4, 100, -1000])
def test_a_truncated_checkpoint_is_damaged(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(KDError, match="damaged"):
        checkpoints.load(saved)


def test_a_flipped_bit_is_noticed(saved):
    content = bytearray(saved.read_bytes())
    content[-10] ^= 1
    saved.write_bytes(content)
    with pytest.raises(KDError, match="do not have the digest"):
        checkpoints.load(saved)


def test_a_stranger_s_safetensors_is_told_how_to_come_in(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(KDError, match="python -m kdengine import"):
        checkpoints.describe(tmp_path / "x.safetensors")


@pytest.mark.parametrize("held", [{"architecture": "resnet8"}, ["architecture"], "text", 5])
def test_a_header_that_says_too_little_is_told(tmp_path, held):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"kdengine": json.dumps(held)})
    with pytest.raises(KDError, match="is not one of this project's checkpoints, or is damaged"):
        checkpoints.describe(path)


def test_references(network, saved, tmp_path, monkeypatch):
    folder, runs = tmp_path / "checkpoints", tmp_path / "runs"
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(folder))
    (runs / "run-1").mkdir(parents=True)
    folder.mkdir()
    saved.rename(folder / "shipped.safetensors")
    (folder / "strange.safetensors").write_bytes(b"no")
    checkpoints.save(network, folder / "of-unknown-data.safetensors")
    (runs / "run-1" / "student.safetensors").write_bytes((folder / "shipped.safetensors").read_bytes())
    assert list(checkpoints.shipped()) == ["shipped"]
    for reference in ("shipped", "run-1", str(folder / "shipped.safetensors")):
        assert checkpoints.network_digest(references.open_reference(reference)) == checkpoints.network_digest(network)
    with pytest.raises(KDError, match=r"Unknown checkpoint 'shiped'\. Did you mean 'shipped'\?"):
        references.open_reference("shiped")
    with pytest.raises(KDError, match="damaged"):
        references.open_reference("strange")


class Bomb:
    """Runs code when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("write", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))])
def test_a_pth_that_would_run_code_is_refused_and_runs_nothing(tmp_path, write):
    trace, path = tmp_path / "it-ran", tmp_path / "bomb.pth"
    write({"weight": torch.zeros(2), "bomb": Bomb(str(trace))}, path)
    with pytest.raises(KDError, match="nothing in it was run"):
        exchange.read_foreign(path)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"\x80\x02", b"garbage", b"0" * 64])
def test_a_file_that_is_no_weights_is_told(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(KDError, match=r"x\.pth"):
        exchange.read_foreign(tmp_path / "x.pth")


def test_weights_that_are_not_finite_are_refused(network, tmp_path):
    state = network.net.state_dict()
    state["conv1.weight"] = torch.full_like(state["conv1.weight"], torch.nan)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(KDError, match=r"not finite numbers: conv1\.weight"):
        exchange.import_foreign(tmp_path / "x.pth", "resnet8", CLASSES, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")  # asked for by name; ONNX is the default
def test_torchscript_export_gives_the_same_logits_for_any_batch(network, tmp_path):
    snippet = exchange.export(network, tmp_path / "x.pt", "torchscript")
    images = torch.rand(5, 3, 32, 32)
    torch.testing.assert_close(torch.jit.load(tmp_path / "x.pt")(images), network.eval()(images))
    run = subprocess.run([sys.executable, "-c", snippet + "\nprint(logits.shape)"], cwd=tmp_path, capture_output=True,
                         text=True, check=True)
    assert run.stdout == "torch.Size([1, 3])\n"


@pytest.mark.parametrize("name", ["resnet8", pytest.param("fpn_tiny", marks=pytest.mark.slow)])
def test_onnx_export_gives_the_same_logits_for_any_batch(tmp_path, name):
    onnx = pytest.importorskip("onnx")
    network = models.build(name, CLASSES, seed=1, input_size=32)
    exchange.export(network, tmp_path / "x.onnx", "onnx")
    from onnx.reference import ReferenceEvaluator

    images = torch.rand(2, 3, 32, 32)
    logits, = ReferenceEvaluator(onnx.load(tmp_path / "x.onnx")).run(None, {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), network.eval()(images).detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore::torch.jit.TracerWarning")
def test_a_network_that_segments_comes_back_and_goes_out_with_logits_of_the_images_size(tmp_path):
    network = models.build("fpn_tiny", CLASSES, seed=1, input_size=32).eval()
    checkpoints.save(network, tmp_path / "pixels.safetensors")
    loaded = checkpoints.load(tmp_path / "pixels.safetensors")
    assert (loaded.task, checkpoints.describe(tmp_path / "pixels.safetensors")["task"]) == ("segmentation",) * 2
    images = torch.rand(3, 3, 32, 32)
    expected = network(images).detach()
    assert torch.equal(loaded(images), expected)
    exchange.export(network, tmp_path / "x.pt", "torchscript")
    torch.testing.assert_close(torch.jit.load(tmp_path / "x.pt")(images), expected)


def test_an_unknown_export_format_names_the_known_ones(network, tmp_path):
    with pytest.raises(KDError, match=r"Unknown export format 'onyx'\. Did you mean 'onnx'\?"):
        exchange.export(network, tmp_path / "x", "onyx")


def test_a_written_file_is_whole_or_not_there(network, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", fails)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(network, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


@pytest.fixture
def taught(tmp_path, monkeypatch):
    """A student of two ImageNet classes at 64 pixels, which says that EfficientNet-Lite0 taught it."""
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path))
    student = models.build("resnet8", ("tench", "golf ball"), input_size=64)
    checkpoints.save(student, tmp_path / "fish.safetensors", method="kd", data={"name": "fish"},
                     teacher={"reference": "efficientnet_lite0", "digest": "0"}, scores={})
    return checkpoints.describe(tmp_path / "fish.safetensors")


def test_an_imagenet_teacher_opens_as_it_taught_its_student(taught):
    reference = references.imagenet_teacher("fish", taught)
    assert reference == "teacher-of:fish"
    teacher = references.open_reference(reference)
    assert (teacher.classes, teacher.input_size, teacher.training) == (("tench", "golf ball"), 64, False)
    images = torch.rand(1, 3, 64, 64)
    expected = references.open_reference("efficientnet_lite0")(images)[:, [0, 574]]  # their ImageNet numbers
    torch.testing.assert_close(teacher(images), expected)


def test_only_an_imagenet_network_is_opened_as_a_teacher(taught, saved, tmp_path):
    assert references.imagenet_teacher("x", {"teacher": {"reference": "20261121-160601-ae79-1-none"}}) is None
    assert references.imagenet_teacher("x", {"teacher": None}) is None
    saved.rename(tmp_path / "efficientnet_lite0.safetensors")  # a checkpoint of that name goes before
    assert references.imagenet_teacher("fish", taught) is None
    with pytest.raises(KDError, match="fish was not taught by an ImageNet network"):
        references.open_reference("teacher-of:fish")
    with pytest.raises(KDError, match="Unknown checkpoint 'nobody'"):
        references.open_reference("teacher-of:nobody")


def test_a_teacher_must_know_exactly_these_classes_at_this_size(saved):
    teacher = references.open_teacher(str(saved), CLASSES, 32)
    assert teacher.classes == tuple(CLASSES)
    with pytest.raises(KDError, match=r"knows 3 classes \(cat, dog, owl\); the data set has 2 classes \(cat, dog\)"):
        references.open_teacher(str(saved), CLASSES[:2], 32)
    with pytest.raises(KDError, match=r"takes images of 32 pixels; these have 64\. Set --image-size 32"):
        references.open_teacher(str(saved), CLASSES, 64)


def test_a_family_is_taught_by_the_imagenet_network_that_taught_a_student(taught, tmp_path):
    import kdengine

    student = models.build("resnet8", ("tench", "golf ball"), input_size=64)
    checkpoints.save(student, tmp_path / "alone.safetensors", method="none",
                     data={"name": "fish", "labels_per_class": None}, scores={"validation": {"top1": 0.9}})
    assert kdengine.runs.shipped_families() == {"fish": {"teacher": "teacher-of:fish", "students": ["alone", "fish"]}}
    assert kdengine.runs.teacher_of("fish", taught) == "teacher-of:fish"
