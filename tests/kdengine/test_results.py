"""The results table says what was measured, and of a change only what one run allows."""

import csv
import io

import numpy as np
import pytest
from safetensors.numpy import save_file

from kdengine import results, uncertainty
from kdengine.errors import KDError
from kdengine.records import PREDICTIONS, Configuration, read_record
from tests.kdengine import made

TARGET = np.zeros(100, dtype=np.int64)


def logits(right):
    """Two-class logits that get exactly the first `right` of the hundred items right."""
    held = np.zeros((100, 2), dtype=np.float32)
    held[:right, 0] = 1
    held[right:, 1] = 1
    return held


def finished(folder, name, right, configuration, digest="d", predictions=True):
    test = {"n": 100, "loss": 0.5, "top1": right / 100, "top5": None, "calibration_error": 0.1,
            "kl_to_teacher": 0.25, "agreement": 0.8}
    held = {"logits": logits(right), "target": TARGET} if predictions else None
    written(folder, name, configuration, test, held, digest)


def written(folder, name, configuration, test, predictions, digest="d"):
    folder = folder / "runs" / name
    folder.mkdir(parents=True)
    made.finished(name, configuration, test, data={"digest": digest}).save(folder)
    if predictions:
        save_file(predictions, folder / PREDICTIONS)


@pytest.fixture(autouse=True)
def no_shipped_results(tmp_path, monkeypatch):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "none"))


def row(name):
    return next(row for row in results.rows() if row["name"] == name)


def test_a_change_is_told_against_an_independent_twin(tmp_path):
    finished(tmp_path, "alone", 60, Configuration(method="none"))
    finished(tmp_path, "kd", 90, Configuration(method="kd", hyperparameters={"temperature": 4.0}, teacher="t"))
    finished(tmp_path, "close", 62, Configuration(method="label_smoothing"))
    assert row("alone")["change"] is row("alone")["verdict"] is None
    assert row("kd")["change"] == pytest.approx(0.30)
    assert row("kd")["verdict"] == "differ (p < 0.001)"
    assert row("kd")["method"] == "kd (temperature 4)"
    assert (row("kd")["low"], row("kd")["high"]) == pytest.approx((0.82563, 0.94478), abs=1e-5)  # scipy
    assert row("close")["verdict"] == "not distinguishable (p = 0.5)"  # 2 of 2 discordant: 2 * (1/2)^2


def test_a_first_stage_is_no_result_but_a_network_another_started_from_is(tmp_path):
    finished(tmp_path, "first", 50, Configuration(method="fsp_first"))
    finished(tmp_path, "second", 60, Configuration(method="fsp", initial="first"))
    finished(tmp_path, "plain", 70, Configuration(method="none"))
    finished(tmp_path, "tuned", 80, Configuration(method="none", initial="plain"))
    assert {each["name"] for each in results.rows()} == {"second", "plain", "tuned"}


@pytest.mark.parametrize("other", [{"seed": 1}, {"epochs": 5}, {"student": "resnet20"}, {"labels_per_class": 3},
                                   {"learning_rate": 0.2}])
def test_there_is_no_twin_that_differs_in_more_than_the_method(tmp_path, other):
    finished(tmp_path, "alone", 60, Configuration(method="none", **other))
    finished(tmp_path, "kd", 90, Configuration(method="kd"))
    assert row("kd")["change"] is None


@pytest.mark.parametrize("other", [{"precision": "float32"}, {"device": "cpu"}, {"threads": 2}, {"compile": "never"}])
def test_how_the_machine_was_used_makes_no_other_twin(tmp_path, other):
    finished(tmp_path, "alone", 60, Configuration(method="none", **other))
    finished(tmp_path, "kd", 90, Configuration(method="kd"))
    assert row("kd")["change"] == pytest.approx(0.30)


def test_a_twin_on_other_data_is_none(tmp_path):
    finished(tmp_path, "alone", 60, Configuration(method="none"), digest="other")
    finished(tmp_path, "kd", 90, Configuration(method="kd"))
    assert row("kd")["change"] is None


def test_without_stored_predictions_there_is_a_change_but_no_verdict(tmp_path):
    finished(tmp_path, "alone", 60, Configuration(method="none"), predictions=False)
    finished(tmp_path, "kd", 90, Configuration(method="kd"))
    assert row("kd")["change"] == pytest.approx(0.30)
    assert row("kd")["verdict"] is None


def test_both_downloads_hold_every_row(tmp_path):
    finished(tmp_path, "alone", 60, Configuration(method="none"))
    finished(tmp_path, "kd", 90, Configuration(method="kd"))
    table = results.rows()
    read = list(csv.DictReader(io.StringIO(results.comma_separated(table))))
    assert [each["name"] for each in read] == [each["name"] for each in table]
    assert {each["name"]: float(each["accuracy"]) for each in read} == {"alone": 0.6, "kd": 0.9}
    assert next(each for each in read if each["name"] == "alone")["change"] == ""
    lines = results.markdown(table).splitlines()
    assert len(lines) == 4
    assert "| 90.00% | – | 82.56% | 94.48% | +30.00 pts |" in next(line for line in lines if line.startswith("| kd"))
    assert "| 60.00% | – | 50.20% | 69.06% | – |" in next(line for line in lines if line.startswith("| alone"))


def test_a_damaged_shipped_record_hides_no_other(tmp_path):
    finished(tmp_path, "alone", 60, Configuration())
    damaged = tmp_path / "none" / results.SHIPPED / "cut"
    damaged.mkdir(parents=True)
    (damaged / "record.json").write_text("{")
    assert [each["name"] for each in results.rows()] == ["alone"]


def test_a_result_is_a_name_and_no_path(tmp_path):
    finished(tmp_path, "alone", 60, Configuration())
    for name in ("../runs/alone", "nothing"):
        with pytest.raises(KDError, match="There is no result"):
            results.folder(name)


# --- segmentation


def matrices(right):
    """Confusion matrices of 40 images of 100 pixels: of each class `right` of 50, give or take a few an image."""
    drawn = np.random.default_rng(0).integers(-3, 4, 40)
    return np.array([[[right + off, 50 - right - off], [50 - right - off, right + off]] for off in drawn], np.int16)


def segmented(folder, name, right, configuration, predictions=True):
    """A finished run whose mIoU is that of its matrices: right / (100 - right) where none is off."""
    total = matrices(right).astype(int).sum(0)
    iou = (total.diagonal() / (total.sum(0) + total.sum(1) - total.diagonal())).tolist()
    test = {"n": 40, "loss": 0.7, "miou": sum(iou) / 2, "iou": iou, "pixel_accuracy": 0.8}
    written(folder, name, configuration, test, {"confusion": matrices(right)} if predictions else None)
    return test["miou"]


def test_of_masks_the_table_tells_miou_and_its_change(tmp_path):
    alone = segmented(tmp_path, "alone", 30, Configuration())
    better = segmented(tmp_path, "kd", 40, Configuration(method="kd"))
    same = segmented(tmp_path, "smooth", 30, Configuration(method="label_smoothing"))
    assert (row("alone")["miou"], row("alone")["accuracy"]) == (alone, None)
    assert (row("kd")["kl_to_teacher"], row("kd")["calibration_error"]) == (None, None)
    assert row("kd")["change"] == pytest.approx(better - alone)
    assert row("kd")["verdict"] == "differ (p < 0.001)"
    assert (row("smooth")["change"], row("smooth")["verdict"]) == (same - alone, "not distinguishable (p = 1)")
    sure = uncertainty.mean_iou_interval(matrices(40))
    assert (row("kd")["low"], row("kd")["high"]) == (sure.low, sure.high)
    assert sure.low < better < sure.high
    line = next(line for line in results.markdown(results.rows()).splitlines() if line.startswith("| kd"))
    cells = f"| – | {better:.2%} | {sure.low:.2%} | {sure.high:.2%} | {100 * (better - alone):+.2f} pts |"
    assert cells in line


def test_the_interval_and_the_difference_are_those_of_the_stored_matrices(tmp_path):
    segmented(tmp_path, "alone", 30, Configuration())
    segmented(tmp_path, "kd", 40, Configuration(method="kd"))
    record = read_record(tmp_path / "runs" / "kd" / "record.json")
    assert results.interval("kd", record) == uncertainty.mean_iou_interval(matrices(40))
    sure = uncertainty.mean_iou_difference(matrices(40), matrices(30))
    assert (row("kd")["change_low"], row("kd")["change_high"]) == (sure.low, sure.high)


def test_an_miou_without_its_matrices_has_no_interval_and_no_verdict(tmp_path):
    segmented(tmp_path, "alone", 30, Configuration(), predictions=False)
    segmented(tmp_path, "kd", 40, Configuration(method="kd"))
    assert (row("alone")["low"], row("alone")["high"]) == (None, None)
    assert row("kd")["change"] > 0
    assert row("kd")["verdict"] is None


@pytest.mark.parametrize("other", [{"class_weights": "balanced"}, {"pretrained": True}])
def test_other_weights_make_no_twin(tmp_path, other):
    segmented(tmp_path, "alone", 30, Configuration(**other))
    segmented(tmp_path, "kd", 40, Configuration(method="kd"))
    assert row("kd")["change"] is None
