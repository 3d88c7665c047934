"""Runs on masks: what their records, checkpoints and predictions hold, and what is told where task and data differ."""

import dataclasses
import json
import threading

import pytest
import torch
from safetensors.torch import load_file

import kdengine
from kdengine import data, models, paths
from kdengine.__main__ import main
from kdengine.configuration import CLASS_WEIGHTS, Configuration
from kdengine.errors import KDError
from kdengine.measures import evaluation, metrics
from kdengine.runs import checkpoints, control, records, references, results, store, worker
from tests.kdengine import tiny

CLASSES, SIZE = tiny.TILES, tiny.TILED_SIZE
SMALL = {"data": "folder:tiles", "student": "fpn_tiny", "image_size": SIZE, "epochs": 2, "batch_size": 8,
         "precision": "float32", "threads": 1}


@pytest.fixture(autouse=True)
def tiles(tmp_path, monkeypatch):
    """The folder in the data root; submitted runs wait, the test is their worker."""
    monkeypatch.setattr(control, "_launch", lambda ids: None)
    tiny.write_tiles(tmp_path / "data" / "tiles", train=20, val=4, test=6)


def configuration(method="none", **given):
    return Configuration(**{**SMALL, "method": method, **given})


def finish(*configurations):
    """Submit a group and train it in this process."""
    ids = control.submit(configurations)
    worker.work(ids)
    return ids


def student(run):
    return load_file(store.directory(run) / records.STUDENT)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_teacher_and_its_students_leave_what_they_are_measured_to_be():
    teacher, = finish(configuration(student="fpn_compact", epochs=3))
    ids = finish(*(configuration(method, teacher=teacher) for method in ("kd", "cwd", "none")))
    test = data.load("folder:tiles", image_size=SIZE).test
    taught = store.read(teacher)
    for run in ids:
        record, folder = store.read(run), store.directory(run)
        assert record.ignored == []  # else a field it writes is missing in `schema`
        assert record.state == records.FINISHED, record.status
        assert [row["epoch"] for row in store.history(run)] == [1, 2]
        assert record.data["task"] == "segmentation"
        assert record.data["classes"] == list(CLASSES)
        assert (record.data["train"], record.data["labelled"], record.data["views"]) == (20, 20, "zoom+flip")
        assert record.teacher["test"] == taught.result["test"]
        assert record.teacher["digest"] == taught.files[records.STUDENT]

        network = checkpoints.load(folder / records.STUDENT)
        assert network.task == "segmentation"
        measured, confusion = evaluation.segment(network, test, references.open_reference(teacher))
        told = record.result["test"]
        assert set(told) == {"n", "loss", "miou", "iou", "pixel_accuracy", "kl_to_teacher", "agreement"}
        assert told["n"] == 6
        for name in set(told) - {"iou", "n"}:
            assert told[name] == pytest.approx(measured[name], rel=1e-5)
        assert told["iou"] == pytest.approx(measured["iou"])
        predictions = load_file(folder / records.PREDICTIONS)
        assert set(predictions) == {"confusion"}
        assert torch.equal(predictions["confusion"], confusion)
        assert metrics.mean_iou(predictions["confusion"].sum(0)) == pytest.approx(told["miou"])

        about = checkpoints.describe(folder / records.STUDENT)
        assert (about["task"], about["scores"]["test"]) == ("segmentation", told)
        assert record.result["own_seconds"] == sum(row["own_seconds"] for row in store.history(run))
        assert 0 < record.result["own_seconds"] < record.result["training_seconds"]
        assert set(record.result["validation"]) == {"n", "loss", "miou", "iou", "pixel_accuracy"}
        assert record.result["validation"] == store.history(run)[-1]["validation"]
    assert set(store.history(ids[1])[0]["terms"]) == {"cross_entropy", "channels"}
    rows = {row["name"]: row for row in results.rows()}
    assert {teacher, *ids} <= set(rows)
    assert rows[ids[0]]["change"] == pytest.approx(rows[ids[0]]["miou"] - rows[ids[2]]["miou"])
    assert rows[ids[0]]["low"] <= rows[ids[0]]["miou"] <= rows[ids[0]]["high"]


def test_the_best_student_is_the_one_of_the_highest_validation_miou(monkeypatch):
    segment, given = evaluation.segment, iter([(0.3, 0.9), (0.6, 0.5), (0.2, 0.8)])

    def scored(network, split, teacher=None):
        scores, confusion = segment(network, split, teacher)
        if len(split) == 4:  # the validation split's
            scores["miou"], scores["pixel_accuracy"] = next(given)
        return scores, confusion

    monkeypatch.setattr(evaluation, "segment", scored)
    run, = finish(configuration(epochs=3))
    assert [row["validation"]["miou"] for row in store.history(run)] == [0.3, 0.6, 0.2]
    about = checkpoints.describe(store.directory(run) / records.BEST_STUDENT)
    assert (about["epoch"], about["scores"]["validation"]["miou"]) == (2, 0.6)
    assert checkpoints.describe(store.directory(run) / records.STUDENT)["epoch"] == 3


def test_a_stopped_and_resumed_run_equals_an_undisturbed_one_to_the_bit(monkeypatch):
    teacher, = finish(configuration(student="fpn_compact", epochs=1))
    asked = configuration("cwd", epochs=3, teacher=teacher, class_weights="balanced",
                          hyperparameters={"feature_weight": 50.0})
    whole, = finish(asked)
    run, = control.submit([asked])
    append, stopped = records.append_row, threading.Event()

    def stop_in_second_epoch(path, row):
        append(path, row)
        if not stopped.is_set():
            stopped.set()
            (store.directory(run) / store.STOP).touch()

    monkeypatch.setattr(records, "append_row", stop_in_second_epoch)
    monkeypatch.setattr("kdengine.runs.session._STOP_LOOK_S", 0)
    worker.work([run])
    assert (store.state(run), store.read(run).status["epoch"]) == ("stopped", 1)
    control.resume([run])
    worker.work([run])
    assert store.state(run) == "finished"
    assert same(student(run), student(whole))
    assert same(*(load_file(store.directory(each) / records.ADAPTER) for each in (run, whole)))
    assert store.read(run).result["test"] == store.read(whole).result["test"]


def test_class_weights_change_what_is_learnt():
    equal, balanced = (finish(configuration(epochs=1, class_weights=each))[0] for each in CLASS_WEIGHTS)
    assert not same(student(equal), student(balanced))


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_student_starts_from_published_weights_where_it_is_told_to(monkeypatch, pretrained):
    seen = []
    monkeypatch.setattr("kdengine.training.train", lambda learners, *_, **__: seen.append(learners[0].network))
    run, = finish(configuration(student="fpn_efficientnet_lite2", pretrained=pretrained))
    network, = seen
    held = data.load("folder:tiles", image_size=SIZE)
    expected = models.build("fpn_efficientnet_lite2", CLASSES, input_size=SIZE, start=pretrained)
    assert same(network.net.state_dict(), expected.net.state_dict())
    # Published weights expect their own normalisation.
    own = ((0.498,) * 3, (0.502,) * 3)
    assert (network.mean, network.std) == (own if pretrained else (held.mean, held.std))
    assert store.read(run).configuration.pretrained == pretrained


@pytest.mark.parametrize(("given", "sentence"), [
    ({"student": "resnet8"}, "resnet8 is for classification; these data have a mask for each image"),
    ({"data": "digits", "image_size": None},
     "fpn_tiny is for segmentation; these data have one class an image. `python -m kdengine models` says"),
])
def test_a_network_for_the_other_task_is_refused_with_what_is_needed(given, sentence):
    refused(sentence, configuration(**given))


def refused(sentence, *configurations):
    """Before a run is created: nothing is left of it."""
    before = store.all_runs()
    with pytest.raises(KDError) as caught:
        control.submit(configurations)
    assert sentence in str(caught.value)
    assert store.all_runs() == before


def test_a_method_for_the_other_task_is_refused_with_what_it_is_for():
    teacher, = finish(configuration(epochs=1))
    refused("Method 'crd' is for classification; this is segmentation.", configuration("crd", teacher=teacher))
    refused("Method 'cwd' is for segmentation; this is classification.",
            Configuration("digits", "resnet8", "cwd", teacher="digits-teacher", epochs=1, threads=1))


@pytest.mark.parametrize("method", ["none", "kd"])
def test_a_teacher_for_the_other_task_is_refused_with_what_it_is_for(tmp_path, method):
    """One that knows classes of the same names, so that nothing else stands in its way."""
    classifier = models.build("resnet8", CLASSES, input_size=SIZE)
    checkpoints.save(classifier, tmp_path / "classifier.safetensors")
    refused("classifier.safetensors is for classification; these data are for segmentation",
            configuration(method, teacher=str(tmp_path / "classifier.safetensors")))


def test_labels_and_classes_of_images_are_not_asked_of_masks():
    refused("folder:tiles has a mask for each image, not a label", configuration(labels_per_class=3))


def test_few_masks_stand_in_record_and_checkpoint_and_make_a_family_of_their_own():
    teacher, = finish(configuration(student="fpn_compact", epochs=1))
    runs_by_masks = {few: finish(*(configuration(method, epochs=1, teacher=teacher, labelled_images=few)
                                   for method in ("kd", "none"))) for few in (None, 4, 5)}
    for few, ids in runs_by_masks.items():
        for run in ids:
            record = store.read(run)
            assert record.state == records.FINISHED, record.status
            told = record.data
            assert (told["labelled_images"], told["labelled"], told["train"]) == (few, few or 20, 20)
            about = checkpoints.describe(store.directory(run) / records.STUDENT)
            assert about["data"]["labelled_images"] == few
    rows = {row["name"]: row for row in results.rows()}
    for few, (distilled, alone) in runs_by_masks.items():
        assert rows[distilled]["change"] == pytest.approx(rows[distilled]["miou"] - rows[alone]["miou"])
        assert rows[distilled]["labels"] == (few or 20)
    kept = paths.runs_root() / ".teacher-cache"
    assert len(list(kept.iterdir())) == 3  # each number of masks shows other images


def test_a_network_that_read_few_masks_is_no_default_teacher(tmp_path, monkeypatch):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "kept"))
    few, whole = finish(configuration(epochs=1, labelled_images=2))[0], finish(configuration(epochs=1))[0]
    results.keep(few, "few")
    assert kdengine.runs.default_teacher("folder:tiles") is None
    results.keep(whole, "whole")
    assert kdengine.runs.default_teacher("folder:tiles") == "whole"


def test_more_masks_than_there_are_images_are_refused():
    refused("labelled_images is 21; allowed is from 1 to 20", configuration(labelled_images=21))


def test_a_checkpoint_from_before_masks_could_be_withheld_read_all(tmp_path):
    network = models.build("fpn_tiny", CLASSES, input_size=SIZE)
    checkpoints.save(network, tmp_path / "old.safetensors", data={"name": "folder:tiles", "labels_per_class": None})
    assert checkpoints.describe(tmp_path / "old.safetensors")["data"]["labelled_images"] is None


def test_what_is_typed_reaches_the_configuration(capsys):
    words = ["train", "--data", "folder:tiles", "--model", "fpn_efficientnet_lite2", "--image-size", str(SIZE),
             "--views", "zoom+flip+jitter", "--class-weights", "balanced", "--pretrained", "--labelled-images", "7",
             "--detach"]
    assert main(words) == 0
    asked = store.read(capsys.readouterr().out.strip()).configuration
    assert (asked.pretrained, asked.class_weights, asked.views) == (True, "balanced", "zoom+flip+jitter")
    assert asked.labelled_images == 7
    assert main([*words[:7], "--detach"]) == 0
    asked = store.read(capsys.readouterr().out.strip()).configuration
    assert (asked.pretrained, asked.class_weights, asked.views) == (False, "equal", None)


@pytest.mark.parametrize(("words", "sentence"), [
    (["--model", "fpn_tiny", "--pretrained"], "Unknown network with published weights 'fpn_tiny'"),
    (["--model", "fpn_tiny", "--views", "zooom"], "Unknown view policy 'zooom'"),
])
def test_a_slip_is_told_before_anything_is_written(capsys, words, sentence):
    assert main(["train", "--data", "folder:tiles", *words, "--detach"]) == 1
    assert sentence in capsys.readouterr().err
    assert store.all_runs() == []


def test_the_command_line_tells_of_miou(capsys):
    teacher, = finish(configuration(epochs=1))
    run, = finish(configuration("kd", teacher=teacher, epochs=1))
    record = store.read(run)
    miou = record.result["test"]["miou"]
    assert main(["runs"]) == 0
    told = capsys.readouterr().out
    assert "test score" in told
    assert next(line for line in told.splitlines() if line.startswith(run)).endswith(f"{miou:.2%}")
    assert main(["evaluate", run, "--teacher", teacher, "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    for name in ("miou", "pixel_accuracy", "loss", "kl_to_teacher", "agreement"):
        assert measured[name] == pytest.approx(record.result["test"][name], rel=1e-5)


def test_a_network_is_not_measured_on_the_data_of_the_other_task(capsys, tmp_path):
    checkpoints.save(models.build("resnet8", CLASSES, input_size=SIZE), tmp_path / "classifier.safetensors")
    checkpoints.save(models.build("fpn_tiny", CLASSES, input_size=32), tmp_path / "pixels.safetensors")
    for name, held, sentence in (
        ("classifier", "folder:tiles", "resnet8 is for classification; folder:tiles is for segmentation."),
        ("pixels", "digits", "fpn_tiny is for segmentation; digits is for classification."),
    ):
        assert main(["evaluate", str(tmp_path / f"{name}.safetensors"), "--data", held]) == 1
        assert sentence in capsys.readouterr().err


def test_scenes_of_shapes_are_learnt_like_any_masks(monkeypatch):
    from kdengine.data import shapes

    monkeypatch.setattr(shapes, "COUNTS", {"train": 60, "validation": 20, "test": 20})
    run, = finish(configuration(data="shapes_segmentation", image_size=48, share=0.5, epochs=1))
    record = store.read(run)
    assert record.state == records.FINISHED, record.status
    assert (record.data["train"], record.data["test"], record.data["views"]) == (30, 20, "flip")
    assert len(record.result["test"]["iou"]) == 11
    assert dataclasses.asdict(record.configuration)["share"] == 0.5
