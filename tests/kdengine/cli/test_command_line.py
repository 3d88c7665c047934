"""The command line: what a person types, what a script reads, and the sentence for a slip."""

import argparse
import dataclasses
import inspect
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from kdengine import data, losses, models, paths
from kdengine.__main__ import main, parser
from kdengine.configuration import Configuration
from kdengine.data import shapes
from kdengine.data.dataset import DataSet
from kdengine.explain import heat_maps
from kdengine.measures import evaluation, uncertainty
from kdengine.recipes import archive
from kdengine.runs import checkpoints, control, heat_fidelity, records, references, store
from kdengine.views import Split
from tests.kdengine import made

ROOT = Path(__file__).resolve().parent.parent.parent.parent
COMMANDS = ("train", "distill", "evaluate", "runs", "data", "models", "methods", "recipe", "sweep", "results",
            "import", "export", "worker")
QUICK = ["--share", "0.1", "--epochs", "1", "--precision", "float32", "--threads", "1"]


def run(capsys, *words):
    """Exit status, standard output, standard error."""
    status = main([str(word) for word in words])
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "usage: python -m kdengine" in capsys.readouterr().out


def test_the_documented_distillation_prints_the_teacher_first_then_a_table(capsys):
    status, out, err = run(capsys, "distill", "--data", "digits", "--method", "kd", "temperature=3", "alpha=0.5",
                           "--method", "none", *QUICK)
    assert status == 0, err
    lines = out.splitlines()
    assert re.fullmatch(r"Teacher digits-teacher \(resnet20\): \d+\.\d\d% of \d+ test images right\.", lines[0])
    assert "Test accuracy" in lines[1]
    assert lines[3].split()[:2] == ["resnet8", "kd"]
    assert "temperature 3, alpha 0.5" in lines[3]
    assert lines[4].split()[:2] == ["resnet8", "none"]
    assert "No baseline yet" not in out


def test_a_distillation_without_an_independent_student_says_how_to_get_one(train_here, capsys):
    status, out, err = run(capsys, "distill", "--data", "digits", "--method", "kd", *QUICK)
    assert status == 0, err
    assert out.splitlines()[-1].startswith(f"No baseline yet for {store.all_runs()[0].id}: ")


def test_a_step_that_does_not_fit_is_told_with_what_helps(train_here, monkeypatch, capsys):
    def full(*_):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr("kdengine.methods.kd.KD.terms", full)
    status, _, err = run(capsys, "distill", "--data", "digits", "--method", "kd", "--method", "none", *QUICK)
    assert status == 1
    for each in store.all_runs():
        assert (f"{each.id}: failed. A step of 64 images did not fit into the memory of cpu. Try --batch-size 32, "
                "smaller images (--image-size), fewer students side by side.") in err


def test_a_script_reads_json(capsys):
    status, out, _ = run(capsys, "train", "--model", "resnet8", "--json", *QUICK)
    assert status == 0
    (name, record), = json.loads(out).items()
    assert record["configuration"]["method"] == "none"
    assert record["configuration"]["teacher"] is None
    assert record["result"]["test"]["n"] > 0
    status, out, _ = run(capsys, "runs", "--json")
    assert [each["id"] for each in json.loads(out)] == [name]
    status, out, _ = run(capsys, "runs")
    assert name in out and "finished" in out
    status, out, _ = run(capsys, "evaluate", name, "--json")
    assert json.loads(out)["top1"] == pytest.approx(record["result"]["test"]["top1"])
    status, out, _ = run(capsys, "runs", name, "--remove")
    assert store.all_runs() == []


def test_a_detached_run_is_named_at_once(capsys, monkeypatch):
    monkeypatch.setattr(control, "_launch", lambda ids: None)
    status, out, _ = run(capsys, "distill", "--method", "kd", "--detach", *QUICK)
    assert status == 0
    assert store.read(out.strip()).configuration.hyperparameters == {"temperature": 4.0, "alpha": 0.9}


def test_a_run_can_be_kept_under_a_name(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "kept"))
    status, out, _ = run(capsys, "train", "--model", "resnet8", "--keep", "mine", *QUICK)
    assert status == 0
    assert f"Kept as {tmp_path / 'kept' / 'mine.safetensors'}" in out
    assert list(checkpoints.shipped()) == ["mine"]


@pytest.mark.parametrize(("words", "sentence"), [
    (["distill", "--method", "kdd"], "Unknown method 'kdd'"),
    (["distill", "--method", "kd", "alpha=2"], "kd's alpha is '2'; allowed is a number from 0 to 1."),
    (["distill", "--method", "kd", "alpha=1", "alpha=0"], "--method kd has alpha twice, '1' and '0'."),
    (["distill", "--method", "kd", "alpha"], "'alpha' after --method kd is not FIELD=VALUE"),
    (["distill", "--student", "resnet9"], "Unknown network 'resnet9'"),
    (["distill", "--teacher", "nobody"], "Unknown checkpoint 'nobody'"),
    (["distill", "--data", "digitz"], "Unknown data set 'digitz'"),
    (["distill", "--data", "cifar100"], "No checkpoint is shipped for cifar100. Train a teacher first"),
    (["distill", "--share", "2"], "share is 2.0; allowed is a number above 0 and at most 1."),
    (["distill", "--without-class", "-1"], "without_class is -1; allowed is a number of at least 0."),
    (["data", "digit"], "Unknown data set 'digit'"),
    (["data", "cifar100"], "python -m kdengine data cifar100 --download"),
    (["evaluate", "nobody"], "Unknown checkpoint 'nobody'"),
    (["evaluate", "efficientnet_lite0"], "does not say what it was trained on; name a data set with --data"),
    (["evaluate", "digits-teacher", "--teacher", "efficientnet_lite0"], "'0' is none of the 1000 ImageNet classes"),
    (["evaluate", "digits-teacher", "--image-size", "64"], "--image-size is 64; digits-teacher takes images of 32"),
    (["evaluate", "digits-teacher", "--heat", "gradcam"], "Where the objects of digits lie is not known; --heat is"),
    (["evaluate", "digits-teacher", "--heat-fidelity"],
     "against the teacher's, and none is known of digits-teacher. Name it with --teacher."),
    (["evaluate", "digits-resnet8-kd", "--images", "9"], "--images says how many images --heat-fidelity takes."),
    (["evaluate", "digits-resnet8-kd", "--teacher", "digits-teacher", "--heat-fidelity", "--images", "1"],
     "images is 1; allowed is a number from 2 to 1000."),
    (["evaluate", "digits-resnet8-kd", "--teacher", "digits-teacher", "--heat-fidelity", "gradcat"],
     "Unknown heat map 'gradcat'. Did you mean 'gradcam'?"),
    (["methods", "dkk"], "Unknown method 'dkk'"),
    (["runs", "nothing"], "There is no run 'nothing'"),
    (["runs", "one", "two"], "2 runs are named; only --stop, --resume, --remove and --config take several."),
    (["export", "nobody", "x.onnx"], "Unknown checkpoint 'nobody'"),
    (["export", "digits-teacher", f"{__file__}/x.onnx"], "test_command_line.py cannot be used: "),
])
def test_a_slip_gets_a_sentence_and_status_1(capsys, words, sentence):
    status, out, err = run(capsys, *words)
    assert status == 1
    assert err.startswith("kdengine: ")
    assert sentence in err
    assert out == ""


def test_lists(capsys):
    for command, expected in (("methods", "features_mse"), ("models", "resnet32x4"), ("data", "fashion_mnist")):
        assert expected in run(capsys, command)[1]
        assert expected in {each["name"] for each in json.loads(run(capsys, command, "--json")[1])}
    assert "No runs in" in run(capsys, "runs")[1]


def test_a_method_shows_its_formula_source_and_fields(capsys):
    _, out, _ = run(capsys, "methods", "kd")
    assert r"\mathcal{L}" in out
    assert "arXiv 1503.02531" in out
    assert re.search(r"alpha +0\.9 +0 to 1 ", out)
    assert "Terms: cross_entropy (reads labels), kl (no labels)." in out
    assert "Known disagreement of published code, kl_divergence: torch's `batchmean` divides by B alone" in out
    assert inspect.getsource(losses.kl_divergence) in out


def test_a_method_of_two_runs_shows_both(capsys):
    _, out, _ = run(capsys, "methods", "factor")
    assert out.index("# Paraphraser training") < out.index("# Factor transfer")
    assert inspect.getsource(losses.factor_distance) in out
    assert [each["title"] for each in json.loads(run(capsys, "methods", "factor", "--json")[1])["runs"]] == [
        "Paraphraser training", "Factor transfer"]


def test_heat_fidelity_is_told_with_its_controls(capsys):
    words = ["evaluate", "digits-resnet8-kd", "--teacher", "digits-teacher", "--heat-fidelity", "--images", "4"]
    measured = json.loads(run(capsys, *words, "--json")[1])["heat_fidelity"]
    expected = heat_fidelity("digits-resnet8-kd", "digits-teacher", data.load("digits"), count=4)
    assert measured == json.loads(json.dumps(dataclasses.asdict(expected)))
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert "gradcam of the first 4 test images, 8 x 8 positions, for the class that digits-teacher names." in out
    rows = {line.split("  ")[0]: line for line in out.splitlines()}
    rank = expected.fidelity.student.means["correlation"]
    assert f"{rank.mean:.3f} [{rank.low:.3f}, {rank.high:.3f}]" in rows["digits-resnet8-kd (student)"]
    assert rows["none there (teacher of another seed)"].split()[-4:] == ["–"] * 4
    gain = expected.fidelity.gains["center"]["overlap"]
    assert f"{gain.interval.mean:+.3f} [" in rows["center of the image"]
    assert f"{uncertainty.p_text(gain.p)}" in rows["center of the image"]
    new_head = expected.checks["student"].randomized["head"].means["correlation"].mean
    assert f"{new_head:.3f}" in out[out.index("digits-resnet8-kd, down to"):]
    insertion = expected.checks["teacher"].insertion
    assert f"{insertion.mean.mean:.3f} [" in out.splitlines()[-1] and "insertion" in out.splitlines()[-1]


def test_heat_on_objects_is_the_mean_over_the_test_images_each_mapped_alone(capsys, monkeypatch, tmp_path):
    drawn = shapes.scenes(6, 48, "a test")
    split = Split(drawn.images, drawn.target)
    held = DataSet("shapes", "Shapes", "classification", tuple(shapes.KINDS), split, split, split, "flip", "0" * 16,
                   boxes=drawn.boxes)
    monkeypatch.setattr(data, "load", lambda *_, **__: held)
    network = models.build("resnet8", held.classes, seed=0, input_size=48).eval()
    file = tmp_path / "mine.safetensors"
    checkpoints.save(network, file, method="none", data={"name": "shapes", "labels_per_class": None}, scores={})
    status, out, err = run(capsys, "evaluate", file, "--heat", "layercam", "--json")
    assert status == 0, err
    maps = [heat_maps.heat_map(network, image[None].float() / 255, [target], method="layercam")
            for image, target in zip(drawn.images, drawn.target.tolist(), strict=True)]
    large = [F.interpolate(each[None], size=(48, 48), mode="bilinear")[0, 0] for each in maps]

    def inside(heat, box):
        left, top, right, bottom = box
        return (heat[top:bottom, left:right].sum() / heat.sum()).item()

    def pointing(heat, box):
        left, top, right, bottom = box
        row, column = divmod(heat.argmax().item(), 48)
        return top <= row < bottom and left <= column < right

    boxes, told = drawn.boxes.tolist(), json.loads(out)
    for name, share in (("inside", inside), ("pointing", pointing)):
        own = [share(heat, box) for heat, box in zip(large, boxes, strict=True)]
        other = [share(heat, box) for place, heat in enumerate(large) for box in boxes[:place] + boxes[place + 1:]]
        assert told[f"heat_{name}"] == pytest.approx(sum(own) / 6, abs=1e-5)
        assert told[f"heat_{name}_elsewhere"] == pytest.approx(sum(other) / 30, abs=1e-5)
    areas = [(right - left) * (bottom - top) / 48**2 for left, top, right, bottom in boxes]
    assert told["heat_area"] == pytest.approx(sum(areas) / 6)


def test_a_data_set_says_what_it_holds(capsys):
    facts = json.loads(run(capsys, "data", "digits", "--json")[1])
    assert facts["train"] + facts["validation"] + facts["test"] == 1797
    assert facts["size"] == 32
    assert facts["classes"] == [str(digit) for digit in range(10)]


def test_foreign_weights_come_in_and_go_out(capsys, tmp_path):
    network = references.open_reference("digits-teacher")
    torch.save({f"module.{name}": value for name, value in network.net.state_dict().items()}, tmp_path / "x.pth")
    output = tmp_path / "in" / "x.safetensors"
    status, out, err = run(capsys, "import", tmp_path / "x.pth", output, "--model", "resnet20", "--data", "digits",
                           "--mean", *network.mean, "--std", *network.std)
    assert status == 0, err
    measured = json.loads(run(capsys, "evaluate", output, "--json")[1])
    assert measured["top1"] == checkpoints.describe(references.locate("digits-teacher"))["scores"]["test"]["top1"]
    status, out, _ = run(capsys, "export", output, tmp_path / "x.onnx")
    assert status == 0
    assert "onnxruntime.InferenceSession('x.onnx')" in out
    assert (tmp_path / "x.onnx").stat().st_size > 1_000_000


@pytest.fixture
def teacher_file(tmp_path):
    """The digits' teacher as another program would leave it, and how its input is normalised."""
    network = references.open_reference("digits-teacher")
    torch.save({"model_state_dict": network.net.state_dict(), "epoch": 30}, tmp_path / "x.pt")
    return [tmp_path / "x.pt", tmp_path / "x.safetensors", "--model", "resnet20",
            "--mean", *network.mean, "--std", *network.std]


def test_imported_weights_are_measured_at_once(capsys, tmp_path, teacher_file):
    status, out, err = run(capsys, "import", *teacher_file, "--data", "digits")
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0] == "x.pt: read from 'model_state_dict', left out: epoch."
    about = checkpoints.describe(tmp_path / "x.safetensors")
    assert lines[1] == (f"Wrote {tmp_path}/x.safetensors (resnet20, 10 classes, images of 32 pixels, "
                        f"digest {about['digest']}).")
    share = checkpoints.describe(references.locate("digits-teacher"))["scores"]["test"]
    assert lines[2] == f"A first look at digits: {records.score_text(share)}."
    assert lines[3] == f"On all test images: python -m kdengine evaluate {tmp_path}/x.safetensors"
    assert about["data"]["digest"] == data.load("digits", image_size=32).digest


def test_weights_that_see_their_classes_in_another_order_get_a_warning(capsys, tmp_path, teacher_file):
    held = torch.load(tmp_path / "x.pt")
    state = held["model_state_dict"]
    state |= {name: state[name].roll(1, 0) for name in ("fc.weight", "fc.bias")}
    torch.save(held, tmp_path / "x.pt")
    status, out, err = run(capsys, "import", *teacher_file, "--data", "digits")
    assert status == 0, err
    assert "Warning: that is near chance. Look at --mean and --std (of images in [0, 1]), at the order of the" in out


def test_weights_come_in_without_their_data(capsys, tmp_path, teacher_file):
    """Where this program knows the classes, where they are typed, and where they lie in a file."""
    names = [f"kind {number}" for number in range(10)]
    (tmp_path / "classes.txt").write_text("\n".join(names) + "\n")
    for given, expected in (
        (["--data", "cifar10"], data.known_classes("cifar10")),
        (["--data", "folder:mine", "--classes", *names], tuple(names)),
        (["--data", "folder:mine", "--classes", tmp_path / "classes.txt"], tuple(names)),
    ):
        status, out, err = run(capsys, "import", *teacher_file, *given)
        assert status == 0, err
        assert "Not measured yet" in out
        about = checkpoints.describe(tmp_path / "x.safetensors")
        assert (about["classes"], about["data"]["name"], about["data"]["digest"]) == (list(expected), given[1], None)


@pytest.mark.parametrize(("given", "sentence"), [
    (["--data", "folder:mine"], "The classes of folder:mine are not known. There is no folder 'mine'"),
    (["--data", "digits", "--classes", *"1234567890"], "--classes are not those of digits, which has 10 in this order: "
                                                      "0, 1, 2,"),
    (["--data", "folder:mine", "--classes", "one", "one"], "--classes names 1 different classes in 2 names"),
    (["--data", "folder:mine", "--classes", "one", "two"], "holds the weights of a resnet20 with 10 classes; here it "
                                                           "would have 2 classes (one, two)."),
    (["--data", "digits", "--part", "ema"], "x.pt holds no weights under 'ema'. It has: model_state_dict."),
    (["--data", "folder:mine", "--classes", "nowhere.txt"], "nowhere.txt cannot be used: No such file or directory."),
    (["--data", "digits", "--image-size", "4"], "input_size is 4; allowed is a number from 8 to 1024."),
    (["--data", "shapes_segmentation"], "resnet20 is for classification; these data are for segmentation."),
])
def test_an_import_that_cannot_be_meant_is_refused_and_writes_nothing(capsys, tmp_path, teacher_file, given, sentence):
    status, _, err = run(capsys, "import", *teacher_file, *given)
    assert status == 1
    assert sentence in err
    assert not (tmp_path / "x.safetensors").exists()


def test_a_network_is_measured_at_the_size_it_takes(capsys, teacher_file):
    status, out, err = run(capsys, "import", *teacher_file, "--data", "digits", "--image-size", 48)
    assert status == 0, err
    assert "images of 48 pixels" in out
    assert "A first look at digits: " in out


def every_option():
    """Every option of every command that takes one value, or none."""
    commands = next(each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)).choices
    for name, command in commands.items():
        for action in command._actions:
            if action.option_strings and not isinstance(
                action, argparse._HelpAction | argparse._AppendAction | argparse._AppendConstAction
            ):
                count = action.nargs if isinstance(action.nargs, int) else 1
                words = [action.option_strings[0], *[str(next(iter(action.choices or ["3"])))] * count]
                yield pytest.param(name, command, words, id=f"{name} {action.dest}")


@pytest.mark.parametrize(("name", "command", "words"), list(every_option()))
def test_an_option_given_twice_is_refused(capsys, name, command, words):
    """argparse would keep the last, and drop the others without a word."""
    positional = ["x" for action in command._actions if not action.option_strings and action.nargs in (None, "+")]
    required = [word for action in command._actions if action.required and action.option_strings
                and action.option_strings[0] != words[0]
                for word in (action.option_strings[0], *["3"] * (action.nargs or 1))]
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([name, *positional, *required, *words, *words])
    assert ended.value.code == 2
    assert f"argument {words[0]}: given twice; give it once" in capsys.readouterr().err


def test_what_may_be_given_several_times_still_may(capsys):
    given = parser().parse_args(["distill", "--method", "kd", "alpha=1", "--method", "none"])
    assert given.method == [["kd", "alpha=1"], ["none"]]
    assert parser().parse_args(["recipe", "--skip", "a", "--skip", "b"]).skip == ["a", "b"]
    assert parser().parse_args(["runs", "a", "b", "--stop"]).run == ["a", "b"]


def test_json_is_json_whatever_was_measured(capsys, monkeypatch):
    """No reader of JSON takes NaN or Infinity."""
    def refuse(number):
        pytest.fail(f"{number} is no JSON")

    monkeypatch.setattr(evaluation, "scores", lambda *_: {"n": 3, "loss": math.nan, "top1": math.inf, "kl": -math.inf})
    status, out, err = run(capsys, "evaluate", "digits-teacher", "--json")
    assert status == 0, err
    measured = json.loads(out, parse_constant=refuse)
    assert (measured["n"], measured["loss"], measured["top1"], measured["kl"]) == (3, None, None, None)
    assert "json.dumps" not in Path(main.__code__.co_filename).read_text()  # one printer for all commands


def test_relative_places_are_the_callers(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(control, "_launch", lambda ids: None)
    run(capsys, "distill", "--runs", "my-runs", "--method", "none", "--detach", *QUICK)
    assert len(list((tmp_path / "my-runs").glob(f"*/{records.RECORD}"))) == 1


def test_it_is_a_module():
    done = subprocess.run([sys.executable, "-m", "kdengine", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("words", [
    ["train", "--keep", "digits-teacher"],
    ["train", "--keep", "../outside"],
    ["train", "--keep", ""],
    ["train", "--keep", "mine", "--detach"],
    ["distill", "--keep", "mine", "--method", "kd", "--method", "kd"],
    ["recipe", "six_methods", "--keep", "cifar10"],
    ["recipe", "six_methods", "--keep", "../outside"],
    ["recipe", "six_methods", "--keep", ""],
])
def test_a_name_that_cannot_be_kept_is_refused_before_anything_is_trained(capsys, monkeypatch, words):
    monkeypatch.setattr(control, "_launch", lambda ids: pytest.fail("it was started"))
    before = {path: path.stat().st_mtime_ns for path in (ROOT / "checkpoints").rglob("*")}
    status, out, err = run(capsys, *words)
    assert (status, out) == (1, "")
    assert re.search("already|no name for a checkpoint|would both be kept|--detach waits for none", err)
    assert store.all_runs() == []
    assert {path: path.stat().st_mtime_ns for path in (ROOT / "checkpoints").rglob("*")} == before


def test_replacing_is_said_with_what_is_kept(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--replace"])
    assert ended.value.code == 2
    assert "--replace says what --keep NAME may do; give both" in capsys.readouterr().err


def test_no_name_removes_no_runs(capsys):
    made.finished("precious").save(lay("precious"))
    made.finished("runs").save(paths.runs_root())  # as if the folder of the runs were one
    for name in ("", ".", "..", "../runs", str(paths.runs_root())):
        status, _, err = run(capsys, "runs", name, "--remove")
        assert status == 1
        assert f"There is no run {name!r}" in err
    assert store.read("precious").state == "finished"


def lay(name):
    folder = paths.runs_root() / name
    folder.mkdir(parents=True)
    return folder


def test_what_cannot_be_read_is_told_after_the_table(capsys):
    made.finished("sound").save(lay("sound"))
    (lay("odd\x1b[31m") / records.RECORD).write_text("{")
    (lay("cut") / records.RECORD).write_text("{")
    status, out, err = run(capsys, "runs")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["sound"]
    first, second = err.splitlines()
    assert first.startswith(f"cannot be read: cut: {paths.runs_root() / 'cut' / 'record.json'} is not a readable rec")
    assert second.startswith("cannot be read: odd?[31m: ")
    status, out, err = run(capsys, "runs", "--json")
    assert [each["id"] for each in json.loads(out)] == ["sound"]
    assert err.count("cannot be read: ") == 2


def test_fields_that_nobody_knows_are_named(capsys):
    record = made.finished("sound")
    record.status["color"] = "red"
    record.save(lay("sound"))
    _, out, err = run(capsys, "runs", "sound")
    assert json.loads(out)["ignored"] == ["status.color"]
    assert err == "Ignored, as this version does not know them: status.color\n"


def test_a_module_named_on_the_command_line_is_trusted_by_that_command_and_its_worker(capsys, monkeypatch, tmp_path):
    """And by no later one: opening and resuming what it trained ask for it again."""
    (tmp_path / "own_networks.py").write_text(
        "from torch import nn\ndef flat(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(3072, classes))\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    status, out, err = run(capsys, "train", "--model", "own_networks:flat", "--json", *QUICK)
    assert status == 0, err
    (name, record), = json.loads(out).items()
    assert (record["configuration"]["student"], record["status"]["state"]) == ("own_networks:flat", "finished")
    monkeypatch.setenv("KDENGINE_TRUST", "")
    status, _, err = run(capsys, "evaluate", name)
    assert status == 1
    assert "set KDENGINE_TRUST=own_networks and start again" in err
    stopped = store.read(name)
    store.set_state(stopped, records.STOPPED)
    status, _, err = run(capsys, "runs", name, "--resume")
    assert status == 1
    assert "set KDENGINE_TRUST=own_networks and start again" in err
    assert store.read(name).state == records.STOPPED
    monkeypatch.setenv("KDENGINE_TRUST", "own_networks")
    assert run(capsys, "evaluate", name)[0] == 0


@pytest.mark.parametrize("option", ["--stop", "--resume", "--remove", "--log"])
def test_what_is_to_be_done_with_a_run_needs_its_name(capsys, option):
    assert main(["runs", option]) == 1
    assert f"{option} needs the name of a run" in capsys.readouterr().err


def test_a_run_that_is_removed_is_said_to_be(nobody, capsys):
    run, = control.submit([Configuration(method="none")])
    assert main(["runs", run, "--remove"]) == 0
    assert capsys.readouterr().out == f"Removed {run}.\n"
    assert store.all_runs() == []


def test_a_run_whose_worker_is_gone_says_how_it_goes_on(nobody, capsys):
    assert main(["distill", "--data", "digits", "--method", "none", "--epochs", "1"]) == 1
    run, = (record.id for record in store.all_runs())
    assert (f"{run}: interrupted. Its worker is gone; go on with: python -m kdengine runs {run} --resume\n"
            in capsys.readouterr().err)


def test_a_student_alone_needs_no_teacher_and_another_says_so(nobody, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "none"))
    assert main(["distill", "--data", "digits", "--method", "none", "--detach"]) == 0
    assert store.all_runs()[0].configuration.teacher is None
    assert main(["distill", "--data", "digits", "--method", "none", "--method", "kd", "--detach"]) == 1
    assert "No checkpoint is shipped for digits." in capsys.readouterr().err
    assert len(store.all_runs()) == 1


@pytest.fixture
def reported(monkeypatch, tmp_path):
    """Reports lie in a folder of the test's own."""
    monkeypatch.setattr(archive, "reports_root", lambda: tmp_path / "results")
    return tmp_path / "results"


def test_reports_are_verified_and_what_is_not_as_written_is_named(capsys, reported):
    words = ["recipe", "missing_class", "--epochs", "1", "--share", "0.1", "--only", "Hard labels"]
    status, out, err = run(capsys, *words, "--report", reported / "digits")
    assert status == 0, err
    for each in store.all_runs():
        control.remove(each.id)
    assert run(capsys, "results", "verify") == (0, "digits: 2 networks, 0 verdicts, all as written.\n", "")
    status, out, _ = run(capsys, "results")
    assert "digits: resnet20 to resnet8, digits, 0.1 of the training images, every label, 1 epoch, one seed" in out
    assert "python -m kdengine " + " ".join(words[:2]) in out
    assert json.loads(run(capsys, "results", "--json")[1])["printed"] == []
    path = reported / "digits" / archive.RECORDS
    path.write_text(path.read_text().replace('"accuracy": 0.', '"accuracy": 0.9'))
    status, out, _ = run(capsys, "results", "verify", "digits", "--json")
    assert status == 1
    assert "Teacher: accuracy is " in json.loads(out)["digits"]["wrong"][0]
    path.write_text("{}")
    status, out, err = run(capsys, "results")
    assert (status, out) == (0, "")
    assert err.startswith("cannot be read: digits: ") and "records.json cannot be read" in err
    status, out, _ = run(capsys, "results", "verify")
    assert (status, out.splitlines()[0]) == (1, "digits: 0 networks, 0 verdicts, NOT all as written.")
    assert "records.json cannot be read" in out
    assert run(capsys, "results", "verify", "Digits")[2].startswith("kdengine: Unknown report 'Digits'.")


def test_a_network_that_has_not_finished_is_said_to(capsys, waiting):
    status, out, err = run(capsys, "train", "--model", "resnet8", "--epochs", "3", "--detach")
    name = out.strip()
    record = store.read(name)
    network = models.build("resnet8", data.load("digits").classes, seed=0)
    about = {"data": {"name": "digits"}, "method": "none", "scores": {}}
    checkpoints.save(network, store.directory(name) / records.STUDENT, **about)
    store.set_state(record, records.STOPPED, epoch=2)
    status, out, err = run(capsys, "evaluate", name, "--json")
    assert (status, err) == (0, "Epoch 2 of 3, stopped.\n")
    assert json.loads(out)["n"] == 359
    shown = json.loads(run(capsys, "runs", name)[1])
    assert shown["state"] == shown["status"]["state"] == "stopped"
    assert run(capsys, "runs", name, "--log")[1] == f"The worker of {name} has printed nothing.\n"
    (store.directory(name) / records.RECORD).write_text("{")
    status, out, err = run(capsys, "evaluate", name)
    assert status == 0
    assert err.startswith("Its record cannot be read, only its weights: ")
    assert run(capsys, "evaluate", "digits-resnet8-kd")[2] == ""


def test_a_network_is_held_against_the_very_teacher_that_taught_it_or_none(capsys, tmp_path, monkeypatch):
    stored = checkpoints.describe(references.locate("digits-resnet8-kd"))["scores"]["test"]
    status, out, err = run(capsys, "evaluate", "digits-resnet8-kd", "--json")
    measured = json.loads(out)
    assert (status, err) == (0, "")
    assert measured["kl_to_teacher"] == pytest.approx(stored["kl_to_teacher"], rel=1e-4)
    assert measured["agreement"] == stored["agreement"]
    for teacher, reason in (
        ({"reference": "nobody", "digest": "d"}, "its teacher nobody is gone."),
        ({"reference": "digits-teacher", "digest": "d"}, "its teacher digits-teacher has other weights today: "),
    ):
        checkpoints.save(references.open_reference("digits-resnet8-kd"), tmp_path / "taught", method="kd", scores={},
                         data={"name": "digits"}, teacher=teacher)
        status, out, err = run(capsys, "evaluate", str(tmp_path / "taught"), "--json")
        assert status == 0 and "kl_to_teacher" not in json.loads(out) and "agreement" not in json.loads(out)
        assert err.startswith(f"KL to its teacher and agreement with it are not measured: {reason}")
        assert err.count("\n") == 1
        status, out, err = run(capsys, "evaluate", str(tmp_path / "taught"), "--json", "--teacher", "digits-teacher")
        assert (status, err) == (0, "") and json.loads(out)["agreement"] == stored["agreement"]


def test_a_network_of_other_images_says_so_and_is_measured_on_these(capsys, tmp_path):
    checkpoints.save(references.open_reference("digits-resnet8-kd"), tmp_path / "older", method="kd", scores={},
                     data={"name": "digits", "digest": "0123456789abcdef"})
    status, out, err = run(capsys, "evaluate", str(tmp_path / "older"), "--json")
    assert status == 0 and json.loads(out)["n"] == 359
    assert "was trained and tested on other images of Handwritten digits" in err and err.count("\n") == 1


def test_an_imagenet_network_is_measured_on_the_classes_of_the_data_set_alone(capsys, tmp_path):
    """Two photos of each of two classes: of its 1,000 logits only these two are asked."""
    for split in ("train", "test"):
        for name, colour in (("tench", (40, 90, 40)), ("golf ball", (240, 240, 240))):
            folder = tmp_path / "data" / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(12 if split == "train" else 2):
                Image.new("RGB", (64, 64), (*colour[:2], colour[2] + number)).save(folder / f"{number}.png")
    place = f"folder:{tmp_path / 'data' / 'photos'}"
    status, out, err = run(capsys, "evaluate", "efficientnet_lite0", "--data", place, "--image-size", "48", "--json")
    assert status == 0, err
    measured, photos = json.loads(out), data.load(place, image_size=48)
    logits = evaluation.predict(models.pretrained("efficientnet_lite0", input_size=48), photos.test)
    names = models.pretrained("efficientnet_lite0").classes
    two = logits[:, [names.index(each) for each in photos.classes]]
    assert measured["n"] == 4
    assert measured["loss"] == pytest.approx(F.cross_entropy(two, photos.test.target.long()).item(), rel=1e-4)
    assert measured["top1"] == (two.argmax(dim=1) == photos.test.target).double().mean().item()


def test_a_run_s_peak_of_memory_is_named_after_its_process(capsys, tmp_path):
    record = made.finished("mine")
    record.result |= {"peak_memory": {"megabytes": 900.0, "of": "process"}, "side_by_side": 4}
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    record.save(tmp_path / "runs" / "mine")
    shown = json.loads(run(capsys, "runs", "mine")[1])
    assert shown["result"]["peak_memory"] == {"megabytes": 900.0, "of": "process, 4 students"}
    assert shown["result"]["test"] == record.result["test"]


def test_a_resumed_run_need_not_be_waited_for(capsys, waiting):
    name = run(capsys, "train", "--model", "resnet8", *QUICK, "--detach")[1].strip()
    store.set_state(store.read(name), records.STOPPED)
    assert run(capsys, "runs", name, "--resume", "--detach") == (0, "", "")
    assert store.state(name) == "queued"


def test_not_to_wait_is_for_what_would_be_waited_for(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["runs", "--detach"])
    assert ended.value.code == 2
    assert "--detach says that --resume is not to wait" in capsys.readouterr().err


def test_no_teacher_is_named_none(capsys):
    status, _, err = run(capsys, "distill", "--teacher", "none", *QUICK)
    assert status == 1
    assert "There is no checkpoint 'none'" in err and "python -m kdengine train" in err
