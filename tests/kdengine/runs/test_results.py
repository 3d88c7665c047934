"""The results table says what was measured, and of a change only what one run allows."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.measures import uncertainty
from kdengine.runs import checkpoints, results
from kdengine.runs.records import HISTORY, PREDICTIONS, RECORD, STUDENT, read_record
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


def test_a_row_says_how_its_costs_were_taken(tmp_path):
    finished(tmp_path, "old", 60, Configuration(method="none"))
    finished(tmp_path, "new", 60, Configuration(method="none", seed=1))
    record = results.finished()["new"]
    record.result["latency"] |= {"quartiles_ms": [1.0, 2.0], "busy": True, "others_cores": 1.5}
    record.result |= {"peak_memory": {"megabytes": 1412.9, "of": "process"}, "side_by_side": 4}
    record.save(results.folder("new"))
    costs = ("mflops", "milliseconds", "milliseconds_low", "milliseconds_high", "machine", "memory", "memory_of")
    assert [row("new")[each] for each in costs] == [25.0, 1.25, 1.0, 2.0, "busy", 1412.9, "process, 4 students"]
    assert [row("old")[each] for each in costs] == [25.0, 1.25, None, None, None, None, None]
    assert [results.as_text(row("new")[each], each) for each in costs] == [
        "25.0", "1.25", "1.00", "2.00", "busy", "1,413", "process, 4 students"]
    record.result["latency"]["busy"] = False
    record.save(results.folder("new"))
    assert row("new")["machine"] == "quiet"


def test_a_first_stage_is_no_result_but_a_network_another_started_from_is(tmp_path):
    finished(tmp_path, "first", 50, Configuration(method="fsp_first"))
    finished(tmp_path, "second", 60, Configuration(method="fsp", initial="first"))
    finished(tmp_path, "plain", 70, Configuration(method="none"))
    finished(tmp_path, "tuned", 80, Configuration(method="none", initial="plain"))
    assert {each["name"] for each in results.rows()} == {"second", "plain", "tuned"}


def test_who_has_no_independent_student_is_told_with_how_to_get_one(tmp_path):
    finished(tmp_path, "alone", 60, Configuration(method="none"))
    finished(tmp_path, "kd", 90, Configuration(method="kd"))
    assert results.no_baseline(results.rows()) is None
    for seed in range(1, 6):
        finished(tmp_path, f"kd-{seed}", 90, Configuration(method="kd", seed=seed))
    note = results.no_baseline(sorted(results.rows(), key=lambda row: row["name"]))
    assert note.startswith("No baseline yet for kd-1, kd-2, kd-3 and 2 more: ")
    assert "Train it with the same settings and seed: the method none" in note


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


def test_what_others_called_things_is_text_in_both_downloads(tmp_path):
    finished(tmp_path, "alone", 60, Configuration(data="folder:a|b ![x](http://stranger.example/x.png) <b>`c`"))
    line = results.markdown(results.rows()).splitlines()[-1]
    assert r"| folder:a\|b \!\[x\](http://stranger.example/x.png) \<b>\`c\` |" in line
    finished(tmp_path, "=1+1", 60, Configuration())
    names = [each["name"] for each in csv.DictReader(io.StringIO(results.comma_separated(results.rows())))]
    assert sorted(names) == ["'=1+1", "alone"]


def test_a_damaged_shipped_record_hides_no_other(tmp_path):
    finished(tmp_path, "alone", 60, Configuration())
    damaged = tmp_path / "none" / results.SHIPPED / "cut"
    damaged.mkdir(parents=True)
    (damaged / "record.json").write_text("{")
    assert [each["name"] for each in results.rows()] == ["alone"]


def test_a_result_whose_record_says_no_loss_has_a_dash(tmp_path):
    finished(tmp_path, "alone", 60, Configuration())
    path = tmp_path / "runs" / "alone" / "record.json"
    record = read_record(path)
    del record.result["test"]["loss"]
    record.save(path.parent)
    assert row("alone")["loss"] is None
    assert "| – | 60.00% |" in results.markdown(results.rows())


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


# --- keeping


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder of checkpoints, nothing in it, beside a finished run that can be kept."""
    folder = tmp_path / "none"
    record = made.finished("run", Configuration(), made.scores(top1=0.6))
    record.files = {STUDENT: "d"}
    run = tmp_path / "runs" / "run"
    run.mkdir(parents=True)
    record.save(run)
    (run / HISTORY).write_text(json.dumps(made.row(1)) + "\n")
    save_file({"logits": logits(60), "target": TARGET}, run / PREDICTIONS)
    made.checkpoint(run / STUDENT, data={"name": "digits"})
    return folder


def files(folder):
    """Every file below a folder, by its place, and what it holds."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_kept_is_the_checkpoint_and_what_was_measured_of_it(kept):
    assert results.keep("run", "a.good_Name-2") == kept / "a.good_Name-2.safetensors"
    run = files(kept.parent / "runs" / "run")
    place = "records/a.good_Name-2"
    assert files(kept) == {"a.good_Name-2.safetensors": run[STUDENT],
                           **{f"{place}/{name}": run[name] for name in (RECORD, HISTORY, PREDICTIONS)}}
    assert checkpoints.has_record("a.good_Name-2", checkpoints.describe(kept / "a.good_Name-2.safetensors"))


@pytest.mark.parametrize("name", ["", ".", "..", "../outside", "/outside", "a/b", "a\\b", ".hidden", "-x", "a b", "ä",
                                  "a\n", "x" * 101])
def test_a_name_that_leads_elsewhere_keeps_nothing(kept, name):
    before = files(kept.parent)
    with pytest.raises(KDError, match="is no name for a checkpoint"):
        results.keep("run", name)
    assert files(kept.parent) == before


@pytest.mark.parametrize("there", ["mine.safetensors", "records/mine/record.json"])
def test_nothing_is_overwritten_unless_that_is_asked_for(kept, there):
    (kept / there).parent.mkdir(parents=True)
    (kept / there).write_text("precious")
    before = files(kept)
    with pytest.raises(KDError, match=r"There is a checkpoint mine already .* Choose another name, or say --replace"):
        results.keep("run", "mine")
    assert files(kept) == before
    results.keep("run", "mine", replace=True)
    assert "precious" not in str(files(kept))
    assert len(files(kept)) == 4


@pytest.mark.parametrize("before", [False, True], ids=["new", "replacing"])
@pytest.mark.parametrize("failing", ["copyfile", "rename", "replace"])
def test_what_is_kept_appears_whole_or_not_at_all(kept, monkeypatch, failing, before):
    if before:
        results.keep("run", "mine")
        student = kept.parent / "runs" / "run" / STUDENT
        made.checkpoint(student, data={"name": "digits"}, method="kd")
    there = files(kept)
    owner, calls = (shutil if failing == "copyfile" else Path), []
    real = getattr(owner, failing)
    ends = {"copyfile": STUDENT, "rename": "mine", "replace": "mine.safetensors"}[failing]

    def full(*given):
        if Path(given[1]).name == ends and not calls:
            calls.append(given)
            raise OSError(28, "No space left on device")
        return real(*given)

    monkeypatch.setattr(owner, failing, full)
    with pytest.raises(KDError, match="cannot be written: No space left"):
        results.keep("run", "mine", replace=True)
    assert calls
    assert files(kept) == there


def test_a_run_that_lost_a_file_or_has_another_s_weights_is_not_kept(kept):
    run = kept.parent / "runs" / "run"
    made.checkpoint(run / STUDENT, digest="another")
    with pytest.raises(KDError, match="The weights of run run are not those its record names"):
        results.keep("run", "mine")
    (run / PREDICTIONS).unlink()
    with pytest.raises(KDError, match=r"Run run has lost predictions\.safetensors"):
        results.keep("run", "mine")
    assert files(kept.parent).keys() == {f"runs/run/{name}" for name in (RECORD, HISTORY, STUDENT)}


def test_two_students_of_one_method_are_kept_under_what_tells_them_apart():
    def asked(method, **fields):
        return Configuration(method=method, hyperparameters=fields)

    kd = [asked("kd", temperature=value, alpha=0.5) for value in (1.0, 2.5)]
    assert results.names_to_keep("x", kd[:1]) == ["x"]
    assert results.names_to_keep("x", [kd[0], asked("none")]) == ["x-kd", "x-none"]
    assert results.names_to_keep("x", [*kd, asked("none")]) == ["x-kd-temperature-1", "x-kd-temperature-2.5", "x-none"]
    results.check_names(results.names_to_keep("x", kd))
    with pytest.raises(KDError, match="Two networks would both be kept as x-kd"):
        results.check_names(results.names_to_keep("x", [kd[0], kd[0]]))
