"""A sweep of one's own: a plan like every other, its figures and what validation chooses, and what it refuses."""

from pathlib import Path

import pytest

import kdengine
from kdengine import recipes
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.recipes import archive, own_sweep, report
from kdengine.recipes.recipe import Outcome
from kdengine.runs import store, sweeps
from tests.kdengine.recipes import scene
from tests.kdengine.recipes.scene import drawn_from

SMALL = ('teacher = "digits-teacher"\nshare = 0.1\nepochs = 1\nbatch_size = 32\nprecision = "float32"\nthreads = 1\n'
         'labels_per_class = 5\n')
KD = '[[method]]\nmethod = "kd"\n'
TRAINED = '[teacher]\nstudent = "resnet20"\n'
GRID = f"{TRAINED}{KD}temperature = [4, 1]\nalpha = [0.5, 1]\n"


def labels(text):
    return [part.label for part in recipes.read_sweep(text).parts]


def outcome(text, validation, test=None):
    """What a sweep left: networks with these validation accuracies, by label, and these test images right."""
    plan = recipes.read_sweep(text)
    right = {part.label: [(test or {}).get(part.label, 50)] for part in plan.parts
             if part.label in validation or part.label == "Teacher"}
    outcome = scene.outcome(plan, right)
    for (label, _), record in outcome.records.items():
        record.result["validation"]["top1"] = validation.get(label, 0.9)
    return outcome


def test_students_are_called_by_what_they_differ_in():
    assert labels(GRID) == [
        "Teacher", "Independent student", "Logit matching, T 4, alpha 0.5", "Logit matching, T 4, alpha 1",
        "Logit matching, T 1, alpha 0.5", "Logit matching, T 1, alpha 1"]
    assert labels(f'labels_per_class = [5, 10]\nteacher = "t"\n{KD}') == [
        "Independent student, labels per class 5", "Logit matching, labels per class 5",
        "Independent student, labels per class 10", "Logit matching, labels per class 10"]
    assert labels("seeds = 3\nlabels_per_class = [5]") == ["Independent student"]


def test_it_says_what_it_trains_on_what():
    plan = recipes.read_sweep(f"seeds = 3\nlabels_per_class = [5, 10]\n{GRID}")
    assert plan.setting == ("resnet20 to resnet8, digits, all training images, 5 labels per class or 10 labels per "
                            "class, 30 epochs, 3 seeds")
    assert recipes.read_sweep("epochs = 1").setting == (
        "resnet8, digits, all training images, every label, 1 epoch, one seed")


def test_it_is_trained_once_and_more_of_it_alone(train_here):
    first = recipes.run(recipes.read_sweep(SMALL + KD))
    assert list(first.records) == [("Independent student", 0), ("Logit matching", 0)]
    assert [record.configuration for record in first.records.values()] == [
        Configuration(method=method, hyperparameters=fields, teacher="digits-teacher", share=0.1, epochs=1,
                      batch_size=32, precision="float32", threads=1, labels_per_class=5)
        for method, fields in (("none", {}), ("kd", {"temperature": 4.0, "alpha": 0.9}))]
    more = recipes.read_sweep(f"seeds = 2\n{SMALL}{KD}temperature = [4, 8]")
    assert more.identity != recipes.read_sweep(SMALL + KD).identity
    assert recipes.so_far(more).missing == [
        ("Independent student", 1), ("Logit matching, T 4", 1), ("Logit matching, T 8", 0), ("Logit matching, T 8", 1)]
    second = recipes.run(more)
    assert second.missing == []
    assert second.records["Logit matching, T 4", 0].id == first.records["Logit matching", 0].id
    assert len(store.all_runs()) == 6


def test_its_seeds_are_counted_from_its_own_and_its_teacher_has_one():
    plan = recipes.read_sweep(f"seed = 3\nseeds = 2\n{TRAINED}{KD}")
    assert list(sweeps.look(plan.parts, plan.seeds)) == [
        ("Teacher", 0), ("Independent student", 3), ("Independent student", 4), ("Logit matching", 3),
        ("Logit matching", 4)]
    assert recipes.so_far(plan).missing == list(sweeps.look(plan.parts, plan.seeds))


def test_a_run_s_file_finds_that_very_run(waiting):
    """Also one of another seed, and of a method that gets a first stage."""
    ids = kdengine.start([
        Configuration(method=method, teacher="digits-teacher", epochs=2, seed=5, share=0.5, learning_rate=0.025)
        for method in ("none", "kd", "fsp")])
    plan = recipes.read_sweep(recipes.write_sweep(ids, "9.9"))
    assert [each and each.record.id for each in sweeps.look(plan.parts, plan.seeds).values()] == ids
    assert recipes.write_sweep(ids[:1], "9.9").splitlines()[0] == f"# KD Explorer 9.9: {ids[0]}"
    assert 'method = "kd"' in recipes.write_sweep(["digits-resnet8-kd"], "9.9")  # a shipped result
    for names, sentence in (([], "No run is named"), (["nothing"], "nothing")):
        with pytest.raises(KDError, match=sentence):
            recipes.write_sweep(names, "9.9")


def test_two_fields_are_a_heat_map_and_validation_chooses_in_it():
    validation = {"Independent student": 0.4, "Logit matching, T 4, alpha 0.5": 0.6,
                  "Logit matching, T 4, alpha 1": 0.75, "Logit matching, T 1, alpha 0.5": 0.5,
                  "Logit matching, T 1, alpha 1": 0.75}
    both = outcome(GRID, validation, {"Logit matching, T 4, alpha 1": 60, "Logit matching, T 1, alpha 1": 95})
    (caption, chart), = both.plan.recipe.figures(both).items()
    assert caption == ("Validation accuracy of Logit matching over temperature and alpha, what validation chooses "
                       "outlined; the test images take no part in it.")
    assert [(each["x"], each["y"], each["validation"], each["test"], each["chosen"]) for each in drawn_from(chart)] == [
        (4.0, 0.5, 0.6, 0.5, False), (4.0, 1.0, 0.75, 0.6, True), (1.0, 0.5, 0.5, 0.5, False),
        (1.0, 1.0, 0.75, 0.95, False)]
    assert both.plan.recipe.remarks(both) == [
        "Of 4 settings of Logit matching, validation chooses Logit matching, T 4, alpha 1 (validation 75.00%, test "
        "60.00%)."]
    assert not both.plan.recipe.ranks


def test_nothing_is_chosen_while_a_network_is_missing():
    half = outcome(GRID, {"Logit matching, T 4, alpha 0.5": 0.6})
    (caption, chart), = half.plan.recipe.figures(half).items()
    assert "chooses" not in caption
    assert [(each["x"], each["y"], each["chosen"]) for each in drawn_from(chart)] == [(4.0, 0.5, False)]
    assert half.plan.recipe.remarks(half) == []
    nothing = Outcome(half.plan, {})
    assert nothing.plan.recipe.figures(nothing) == {}


def test_one_field_is_a_line_beside_the_independent_student():
    text = f"{TRAINED}{KD}temperature = [1, 8]\n"
    line = outcome(text, {"Independent student": 0.4, "Logit matching, T 1": 0.6, "Logit matching, T 8": 0.7})
    (caption, chart), = line.plan.recipe.figures(line).items()
    assert caption == "Validation accuracy over temperature; the test images take no part in it."
    assert drawn_from(chart) == [
        {"x": 1.0, "series": "Logit matching", "score": 0.6}, {"x": 8.0, "series": "Logit matching", "score": 0.7},
        {"x": 1.0, "series": "Independent student", "score": 0.4},
        {"x": 8.0, "series": "Independent student", "score": 0.4}]


def test_amounts_of_labels_are_a_line_a_method_and_choose_nothing():
    text = f"labels_per_class = [5, 10]\n{TRAINED}{KD}"
    validation = {"Independent student, labels per class 5": 0.1, "Logit matching, labels per class 5": 0.2,
                  "Independent student, labels per class 10": 0.3, "Logit matching, labels per class 10": 0.4}
    each = outcome(text, validation)
    (caption, chart), = each.plan.recipe.figures(each).items()
    assert caption == "Validation accuracy over labels per class; the test images take no part in it."
    assert [(point["x"], point["series"], point["score"]) for point in drawn_from(chart)] == [
        (5, "Independent student", 0.1), (10, "Independent student", 0.3), (5, "Logit matching", 0.2),
        (10, "Logit matching", 0.4)]
    assert each.plan.recipe.remarks(each) == []
    assert each.plan.recipe.ranks


def test_a_setting_is_chosen_for_each_amount_of_labels():
    text = f"labels_per_class = [5, 10]\n{TRAINED}{KD}alpha = [0.5, 1]\n"
    validation = {f"Logit matching, alpha {alpha}, labels per class {labels}": score for alpha, labels, score in (
        ("0.5", 5, 0.3), ("1", 5, 0.5), ("0.5", 10, 0.8), ("1", 10, 0.7))}
    alone = {f"Independent student, labels per class {labels}": 0.1 for labels in (5, 10)}
    each = outcome(text, validation | alone)
    assert [sentence.partition(" (")[0] for sentence in each.plan.recipe.remarks(each)] == [
        "Of 2 settings of Logit matching, labels per class 5, validation chooses Logit matching, alpha 1, labels per "
        "class 5",
        "Of 2 settings of Logit matching, labels per class 10, validation chooses Logit matching, alpha 0.5, labels "
        "per class 10"]
    assert [len(drawn_from(chart)) for chart in each.plan.recipe.figures(each).values()] == [4, 2]


def test_a_start_has_the_file_beside_its_lock_and_a_comment_makes_no_other_plan(launched):
    plan = recipes.read_sweep(SMALL + KD)
    recipes.start(plan)
    (command, option, path), = launched
    assert (command, option) == ("sweep", "--config")
    assert plan.command == "python -m kdengine sweep --config sweep.toml"
    assert Path(path).read_text() == SMALL + KD
    assert recipes.running(recipes.read_sweep(f"# A comment\n{SMALL}{KD}"))
    assert not recipes.running(recipes.read_sweep(f"{SMALL}{KD}alpha = 1"))


def test_its_report_holds_the_file_and_is_verified(tmp_path):
    done = outcome(GRID, dict.fromkeys(labels(GRID), 0.5))
    page = report.write(done, tmp_path / "report")
    assert (tmp_path / "report" / own_sweep.FILE).read_text() == GRID
    for text in (page.read_text().replace("&quot;", '"'), (tmp_path / "report" / "report.md").read_text()):
        assert GRID.rstrip() in text
        assert "python -m kdengine sweep --config sweep.toml" in text
    again, *_ = archive.read(tmp_path / "report")
    assert again.plan.identity == done.plan.identity
    assert again.records.keys() == done.records.keys()
    assert archive.verify(tmp_path / "report").networks == 6


@pytest.mark.parametrize(("text", "sentence"), [
    (KD, "Method 'kd' needs a teacher."),
    (f'teacher = "nobody"\n{KD}', "Unknown checkpoint 'nobody'."),
    (f'teacher = "shapes-teacher"\n{KD}', "The teacher shapes-teacher knows "),
    ('student = "resnet9"', "'resnet9'. Did you mean 'resnet8'?"),
    ('[teacher]\nstudent = "resnet9"', "'resnet9'. Did you mean 'resnet8'?"),
    ("warmup_epochs = 9\nepochs = 3", "warmup_epochs is 9 of 3 epochs"),
    ('views = "spin"', "Unknown "),
    ("threads = 9999", "threads is 9999; this process has "),
    ('data = "digits"\nlabels_per_class = 9999', "labels_per_class is 9999"),
    ('data = "cifar10"', "CIFAR-10 is not on this machine."),
])
def test_what_could_only_fail_is_refused_before_anything_is_trained(text, sentence, monkeypatch):
    monkeypatch.setattr(sweeps, "run", lambda *_: pytest.fail("it trains"))
    plan = recipes.read_sweep(text)
    with pytest.raises(KDError) as refused:
        recipes.run(plan)
    assert sentence in str(refused.value)
    assert store.all_runs() == []


@pytest.mark.parametrize(("text", "sentence"), [
    ('data = "folder:/etc"', "There is no such folder in the data folder, "),
    ('[teacher]\nstudent = "resnet20"\ndata = "folder:/etc"', "There is no such folder in the data folder, "),
    ('teacher = "/etc/passwd"', "The teacher '/etc/passwd' is a path; allowed here is a shipped checkpoint, a run, or "
                                "a packaged network, by its name."),
])
def test_a_page_s_sweep_opens_nothing_elsewhere(text, sentence):
    with pytest.raises(KDError) as refused:
        recipes.read_sweep(text, confined=True)
    assert sentence in str(refused.value)
    assert recipes.read_sweep('teacher = "digits-teacher"', confined=True).parts
