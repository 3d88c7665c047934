"""What a recipe leaves in `results/`: all that its report says is computed again from its own files, runs gone."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from kdengine import paths, recipes
from kdengine.errors import KDError
from kdengine.measures import evaluation
from kdengine.paths import reports_root
from kdengine.recipes import archive, comparison, report
from kdengine.recipes.look import Look
from kdengine.recipes.recipe import Outcome
from kdengine.recipes.remarks import remarks
from kdengine.runs import results, store
from kdengine.runs.records import PREDICTIONS
from tests.kdengine.recipes.scene import answers, finished, made

RIGHT = {"Teacher": [90], "Independent": [60], "KD": [range(10, 85)], "DKD": [58]}
LABELS = {"Independent": ("none", {}), "KD": ("kd", {}), "DKD": ("dkd", {})}


def question(outcome):
    return [("KD", "DKD")]


def measured(outcome):
    """The same outcome with test scores that are those of the stored answers, in the files too."""
    def logits(record):
        held = load_file(store.directory(record.id) / PREDICTIONS)
        return torch.from_numpy(held["logits"]), torch.from_numpy(held["target"])

    records = {}
    for key, record in outcome.records.items():
        taught = record.configuration.teacher and logits(outcome.records["Teacher", 0])[0]
        test = evaluation.scores(*logits(record), taught)
        records[key] = dataclasses.replace(record, result=record.result | {"test": test})
        records[key].save(store.directory(record.id))
    return Outcome(outcome.plan, records)


@pytest.fixture
def registered(monkeypatch):
    """The recipe of `scene` is one of those that are known, so that a folder can name it."""
    def of(outcome):
        monkeypatch.setitem(recipes.RECIPES, outcome.plan.recipe.name, outcome.plan.recipe)
        return outcome

    return of


@pytest.fixture
def one_seed(registered):
    return registered(measured(made(RIGHT, LABELS, contrasts=question)))


@pytest.fixture
def three_seeds(registered):
    right = {"Teacher": [90], "Independent": [60, 62, 61], "KD": [70, 71, 72], "DKD": [63, 60, 62]}
    return registered(measured(made(right, LABELS, contrasts=question)))


@pytest.fixture(params=["one_seed", "three_seeds"])
def outcome(request):
    return request.getfixturevalue(request.param)


def test_a_report_is_verified_from_its_own_files_when_its_runs_are_gone(outcome, tmp_path):
    report.write(outcome, tmp_path / "report")
    table, said = comparison.rows(outcome), remarks(outcome, comparison.rows(outcome))
    asked = json.loads(json.dumps(comparison.contrasts(outcome)))
    drawn = [chart.to_dict() for chart in report.figures(outcome, table).values()]
    shutil.rmtree(paths.runs_root())
    again, written, contrasts = archive.read(tmp_path / "report")
    assert comparison.rows(again) == table
    assert written == json.loads(json.dumps(table))
    assert contrasts == asked
    assert remarks(again, table) == said
    assert [chart.to_dict() for chart in report.figures(again, table).values()] == drawn
    check = archive.verify(tmp_path / "report")
    assert (check.networks, check.verdicts, check.wrong) == (len(outcome.records), 2, [])


def test_what_else_is_judged_in_its_family_goes_with_it(one_seed, tmp_path):
    alone = comparison.rows(one_seed)
    asked = dataclasses.replace(one_seed.records["KD", 0].configuration, method="crd")
    finished(asked, "elsewhere", answers(61), taught={"reference": "teacher-0", "architecture": "resnet20"})
    table = comparison.rows(one_seed)
    assert table[2]["verdict"] != alone[2]["verdict"]  # Holm over three, no longer two
    report.write(one_seed, tmp_path / "report")
    shutil.rmtree(paths.runs_root())
    assert archive.verify(tmp_path / "report").wrong == []
    assert "elsewhere" in archive.read(tmp_path / "report")[0].everything()


def change(folder, where):
    """Change what `records.json` holds by where(held)."""
    path = folder / archive.RECORDS
    held = json.loads(path.read_text())
    where(held)
    path.write_text(json.dumps(held))


@pytest.mark.parametrize(("where", "told"), [
    (lambda held: held["table"][2].update(verdict="differ (p < 0.001)"), "KD: verdict is 'differ (p = "),
    (lambda held: held["table"][2].update(change=0.2), "KD: change is 0.15"),
    (lambda held: held["table"][1].update(interval=[0.5, 0.6]), "Independent: interval is "),
    (lambda held: held["contrasts"][0].update(verdict="differ (p < 0.001)"), "KD: verdict is 'differ (p = "),
    (lambda held: held["contrasts"][0].update(change=0.5), "KD: change is 0.17"),
    (lambda held: held["runs"][2]["record"]["result"]["test"].update(top1=0.8), "KD, seed 0: top1 is 0.75 of its"),
    (lambda held: held["runs"][2]["record"]["result"]["test"].update(loss=0.1), "KD, seed 0: loss is "),
    (lambda held: held["runs"][2]["record"]["result"]["test"].update(kl_to_teacher=0.1), "seed 0: kl_to_teacher is "),
    (lambda held: held["runs"][3]["record"]["result"]["test"].update(agreement=0.1), "DKD, seed 0: agreement is "),
])
def test_a_number_that_does_not_follow_from_the_files_is_named(one_seed, tmp_path, where, told):
    report.write(one_seed, tmp_path)
    change(tmp_path, where)
    assert any(told in each for each in archive.verify(tmp_path).wrong)


def test_answers_that_are_others_are_named(one_seed, tmp_path):
    report.write(one_seed, tmp_path)
    arrays = dict(np.load(tmp_path / archive.ANSWERS))
    arrays["student-2-0/answer"] = 1 - arrays["student-2-0/answer"]
    np.savez_compressed(tmp_path / archive.ANSWERS, **arrays)
    wrong = archive.verify(tmp_path).wrong
    assert any("top1 is 0.25 of its answers, and 0.75 in its record" in each for each in wrong)
    assert any(each.startswith("KD: verdict is ") for each in wrong)
    del arrays["student-2-0/answer"]
    np.savez_compressed(tmp_path / archive.ANSWERS, **arrays)
    assert "KD, seed 0: its answers are not there" in archive.verify(tmp_path).wrong


def test_answers_are_small(one_seed, tmp_path):
    """A byte a network and image for the answer; two each for its loss and divergence."""
    report.write(one_seed, tmp_path)
    arrays = np.load(tmp_path / archive.ANSWERS)
    assert {name: str(arrays[name].dtype) for name in arrays.files if "student-2" in name or name == "target"} == {
        "target": "uint8", "student-2-0/answer": "uint8", "student-2-0/loss": "float16", "student-2-0/kl": "float16"}


@pytest.mark.parametrize(("name", "content", "told"), [
    (archive.RECORDS, b"{}", r"records.json cannot be read: .*missing required field `recipe`"),
    (archive.RECORDS, b"[" * 100, r"records.json cannot be read"),
    (archive.ANSWERS, b"PK", r"answers.npz cannot be read"),
])
def test_files_that_nobody_wrote_here_are_refused(one_seed, tmp_path, name, content, told):
    report.write(one_seed, tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KDError, match=told):
        archive.verify(tmp_path)


def test_a_recipe_that_has_changed_since_is_named(one_seed, tmp_path):
    report.write(one_seed, tmp_path)
    change(tmp_path, lambda held: held["runs"][2].update(label="Knowledge"))
    with pytest.raises(KDError, match=r"has networks that two_ways does not train today: Knowledge\. Run its"):
        archive.verify(tmp_path)


def test_masks_are_verified_from_their_confusion_matrices(tmp_path, registered):
    matrices = np.random.default_rng(0).integers(0, 50, (4, 20, 3, 3)).astype(np.int16)
    outcome = registered(made({label: [50] for label in RIGHT}, LABELS, headline="mIoU"))
    records = {}
    for (label, seed), record in outcome.records.items():
        held = matrices[len(records)] + (np.eye(3, dtype=np.int16) * 20 * len(records))
        total = held.sum(axis=0)
        iou = total.diagonal() / (total.sum(axis=0) + total.sum(axis=1) - total.diagonal())
        test = {"n": 20, "loss": 0.5, "miou": float(iou.mean()), "iou": iou.tolist(), "pixel_accuracy": 0.5}
        taught = {"kl_to_teacher": 0.2, "agreement": 0.9} if record.teacher else {}
        records[label, seed] = dataclasses.replace(
            record, result=record.result | {"test": test | taught, "validation": {"n": 5, "miou": 0.5}},
            data=record.data | {"classes": ["a", "b", "c"], "test": 20, "task": "segmentation"})
        records[label, seed].save(store.directory(record.id))
        save_file({"confusion": held}, store.directory(record.id) / PREDICTIONS)
    outcome = Outcome(outcome.plan, records)
    assert results.predictions("student-2-0")["confusion"].shape == (20, 3, 3)
    archive.write(outcome, comparison.rows(outcome), tmp_path)
    shutil.rmtree(paths.runs_root())
    check = archive.verify(tmp_path)
    assert (check.networks, check.verdicts, check.wrong) == (4, 2, [])
    change(tmp_path, lambda held: held["runs"][2]["record"]["result"]["test"].update(miou=0.99))
    assert any("miou is " in each for each in archive.verify(tmp_path).wrong)


def test_what_the_project_ships_is_as_written():
    """Of every folder that keeps its networks' answers; README names them all, and those that do not."""
    told = (reports_root() / "README.md").read_text()
    verified = [folder for folder in archive.folders() if (folder / archive.ANSWERS).is_file()]
    assert {folder.name: archive.verify(folder).wrong for folder in verified} == {each.name: [] for each in verified}
    assert len(verified) >= 6
    assert [folder.name for folder in archive.folders() if f"`{folder.name}`" not in told] == []


def test_the_pictures_are_kept_as_they_were(one_seed, tmp_path):
    color = Image.new("RGB", (24, 24), "#4269d0")
    looks = [[Look("Picture", "a <b>", None, color), Look("KD", "7", False, color)]]
    report.write(dataclasses.replace(one_seed, looks=looks), tmp_path)
    again = archive.read(tmp_path)[0]
    assert [[(each.name, each.answer, each.right, each.picture.tobytes()) for each in row] for row in again.looks] == [
        [("Picture", "a <b>", None, color.tobytes()), ("KD", "7", False, color.tobytes())]]
    page = (tmp_path / report.PAGE).read_text()
    assert "a &lt;b&gt;" in page and page == report.html(again)


@pytest.mark.parametrize(("content", "said"), [
    ("[[{}]]", "missing required field `name`"),
    ('[[{"name": "A", "answer": "", "right": null, "png": "?"}]]', "the picture of A is no base64"),
    ('[[{"name": "A", "answer": "", "right": null, "png": "AAAA"}]]', "A"),
])
def test_pictures_that_cannot_be_read_are_told(one_seed, tmp_path, content, said):
    report.write(one_seed, tmp_path)
    (tmp_path / archive.LOOKS).write_text(content)
    with pytest.raises(KDError, match=f"looks.json cannot be read: .*{re.escape(said)}"):
        archive.read(tmp_path)


def test_pages_are_written_again_from_their_own_files(one_seed, tmp_path):
    folder = tmp_path / "report"
    page = report.write(one_seed, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    page.write_text("old")
    (folder / "figure-9.png").write_bytes(b"a chart that is no more")
    shutil.rmtree(paths.runs_root())
    assert report.rewrite(folder) == page
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
