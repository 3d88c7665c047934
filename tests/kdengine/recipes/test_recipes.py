"""The recipes: each one sound at every scale; a plan changes what it is asked to; measures that only one recipe has."""

import dataclasses
import json
import shlex

import numpy as np
import pytest
import torch

from kdengine import data, methods, models, recipes, views
from kdengine.__main__ import main, parser
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.measures import evaluation
from kdengine.recipes import RECIPES, SCALES, Outcome, Plan, Recipe, comparison
from kdengine.recipes.colour_invariance import COLOUR_INVARIANCE
from kdengine.recipes.missing_class import MISSING_CLASS
from kdengine.recipes.parts import students, teacher
from kdengine.recipes.recipe import CHANGES
from kdengine.recipes.remarks import remarks
from kdengine.recipes.six_methods import SIX_METHODS
from kdengine.recipes.teacher_capacity import TEACHER_CAPACITY
from kdengine.recipes.temperature_alpha import TEMPERATURE_ALPHA
from kdengine.runs import checkpoints, control, references, store, sweeps
from kdengine.runs.records import Record
from tests.kdengine.recipes import scene
from tests.kdengine.recipes.scene import drawn_from, finished
from tests.kdengine.recipes.test_report import Page

EVERY = [(name, scale) for name in RECIPES for scale in SCALES]


def by_label(plan):
    return {part.label: part.configuration for part in plan.parts}


def test_students_can_be_left_out_by_their_labels():
    asked = recipes.plan("segmentation_kd", skip=["Combined", "Response-based"])
    assert [part.label for part in asked.parts] == ["Teacher", "Independent student", "Feature-based"]
    assert asked.arguments[-4:] == ["--skip", "Combined", "--skip", "Response-based"]
    assert parser().parse_args(asked.arguments).skip == ["Combined", "Response-based"]
    assert parser().parse_args(["recipe", "segmentation_kd", "--skip-combined"]).skip == ["Combined"]


@pytest.mark.parametrize("label", ["Teacher", "Nobody"])
def test_only_a_student_can_be_left_out(label):
    with pytest.raises(KDError, match=f"student '{label}'.*Feature-based"):
        _ = recipes.plan("segmentation_kd", skip=["Combined", label]).parts


def test_single_students_can_be_asked_for_by_their_labels():
    asked = recipes.plan("segmentation_kd", only=["Feature-based"])
    assert [part.label for part in asked.parts] == ["Teacher", "Feature-based"]
    assert parser().parse_args(asked.arguments).only == ["Feature-based"]
    with pytest.raises(KDError, match="student 'Teacher'"):
        _ = recipes.plan("segmentation_kd", only=["Teacher"]).parts


def test_another_temperature_reaches_every_method_that_has_one():
    asked = by_label(recipes.plan("segmentation_kd", temperature=2.5))
    assert {label: each.hyperparameters.get("temperature") for label, each in asked.items()} == {
        "Teacher": None, "Independent student": None, "Response-based": 2.5, "Feature-based": None, "Combined": 2.5}
    six = by_label(recipes.plan("six_methods", temperature=2.5))
    assert six["DKD"].hyperparameters == six["Logit matching"].hyperparameters == {"temperature": 2.5}
    assert "temperature" not in six["CRD"].hyperparameters  # its own is another: how sharp similarities are


@pytest.mark.parametrize("name", ["temperature_alpha", "missing_class"])
def test_one_temperature_cannot_stand_for_several(name):
    with pytest.raises(KDError, match=rf"{name} compares the temperatures 1.* leaves nothing to compare"):
        recipes.plan(name, temperature=4.0)


def test_another_weight_of_the_teacher_s_answers_reaches_every_method_that_has_one():
    before, after = (by_label(recipes.plan("segmentation_kd", **each)) for each in ({}, {"kl_weight": 5.0}))
    for label, asked in before.items():
        heard = {"kl_weight": 5.0} if asked.method == "combined" else {}
        assert after[label].hyperparameters == asked.hyperparameters | heard
    asked = recipes.plan("segmentation_kd", kl_weight=5.0, temperature=1.0)
    assert parser().parse_args(asked.arguments).kl_weight == 5.0
    response = by_label(asked)["Response-based"].hyperparameters
    assert (response["kl_weight"], response["temperature"]) == (5.0, 1.0)


def test_few_masks_reach_the_students_alone():
    before, after = (by_label(recipes.plan("segmentation_kd", **each)) for each in ({}, {"labelled_images": 16}))
    for label, asked in before.items():
        assert after[label] == dataclasses.replace(asked, labelled_images=None if label == "Teacher" else 16)
    asked = recipes.plan("segmentation_kd", labelled_images=16)
    assert asked.arguments[-2:] == ["--labelled-images", "16"]


def test_another_optimizer_brings_its_own_learning_rate():
    for changes, rate in ({"optimizer": "adamw"}, 1e-3), ({"optimizer": "adamw", "learning_rate": 0.01}, 0.01):
        for asked in by_label(recipes.plan("response_vs_feature", **changes)).values():
            assert (asked.optimizer, asked.learning_rate) == ("adamw", rate)


def test_a_teacher_that_is_there_already_is_no_network_to_train():
    plan = recipes.plan("few_labels", "lab")
    asked = by_label(plan)
    assert list(asked) == ["Independent student", "Label smoothing", "Logit matching", "Feature matching"]
    assert {each.teacher for each in asked.values()} == {"efficientnet_lite2"}
    assert asked["Logit matching"].hyperparameters == {"alpha": 1.0}
    assert plan.setting.startswith("efficientnet_lite2 to resnet8x4_imagenet, imagenette at 128 px")
    other = by_label(recipes.plan("few_labels", "lab", teacher="efficientnet_lite0", skip=["Label smoothing"]))
    assert {each.teacher for each in other.values()} == {"efficientnet_lite0"}
    assert [each["teacher"] for each in recipes.describe(RECIPES["few_labels"])["scales"]["lab"]["parts"]] == [
        None, None, "efficientnet_lite2", "efficientnet_lite2"]  # two listen to no teacher


def test_what_a_teacher_that_is_there_already_scores_is_told():
    plan = recipes.plan("few_labels", "lab", skip=["Label smoothing", "Feature matching"])
    test = {"top1": 0.9, "n": scene.COUNT}
    records = {}
    for part, right in zip(plan.parts, (60, 75), strict=True):
        taught = {"reference": "efficientnet_lite2", "architecture": "efficientnet_lite2", "test": test}
        records[part.label, 0] = finished(part.configuration, part.label, scene.answers(right), taught=taught)
    outcome = Outcome(plan, records)
    told = remarks(outcome, comparison.rows(outcome))
    assert "Teacher (efficientnet_lite2): 90.00% in this very pipeline." in told


def test_a_whole_sheet_is_eleven_models_by_role():
    asked = by_label(recipes.plan("eleven_models", "lab"))
    assert {label: (each.student, each.method, each.data) for label, each in asked.items()} == {
        "Teacher": ("vgg16_bn", "none", "cifar100"),
        "Larger teacher": ("vgg19_bn", "none", "cifar100"),
        "Colour-tuned teacher": ("vgg16_bn", "none", "cifar100"),
        "Independent student": ("vgg11_bn", "none", "cifar100"),
        "Logit matching": ("vgg11_bn", "kd", "cifar100"),
        "Label smoothing": ("vgg11_bn", "label_smoothing", "cifar100"),
        "DKD": ("vgg11_bn", "dkd", "cifar100"),
        "Hints": ("vgg11_bn", "fitnet", "cifar100"),
        "CRD": ("vgg11_bn", "crd", "cifar100"),
        "CRD, colour-tuned teacher": ("vgg11_bn", "crd", "cifar100"),
        "Logit matching, larger teacher": ("vgg11_bn", "kd", "cifar100"),
    }
    parts = {part.label: part for part in recipes.plan("eleven_models", "lab").parts}
    assert parts["Colour-tuned teacher"].start == "Teacher"
    assert asked["Colour-tuned teacher"].views == "crop+flip+jitter"
    assert {label: part.teacher for label, part in parts.items() if part.teacher != "Teacher"} == {
        "Teacher": None, "Larger teacher": None, "Colour-tuned teacher": None,
        "CRD, colour-tuned teacher": "Colour-tuned teacher", "Logit matching, larger teacher": "Larger teacher"}


def test_a_plan_s_image_size_is_that_of_every_network():
    asked = recipes.plan("segmentation_kd", "lab", image_size=128)
    assert {part.configuration.image_size for part in asked.parts} == {128}
    assert asked.arguments[-2:] == ["--image-size", "128"]


def test_a_teacher_in_another_s_place_starts_from_published_weights_where_it_has_any():
    pretrained = {
        name: recipes.plan("segmentation_kd", "lab", teacher=name).parts[0].configuration.pretrained
        for name in ("fpn_efficientnet_lite2", "deeplabv3_resnet50", "fpn_large")
    }
    assert pretrained == {"fpn_efficientnet_lite2": True, "deeplabv3_resnet50": True, "fpn_large": False}


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_every_recipe_can_be_run_at_every_scale(name, scale):
    parts = RECIPES[name].parts(scale)
    sweeps.check(parts)
    for part in parts:
        asked = part.configuration
        method = methods.method(asked.method, **asked.hyperparameters)
        models.require(asked.student)
        data.require(asked.data)
        if asked.views is not None:
            views.policy(asked.views)
        assert asked.method in methods.METHODS
        assert part.taught or not method.needs_teacher
        assert part.seeded == part.taught  # students are trained once a seed, teachers once
        assert asked.initial is None  # a run that does not exist yet: labels lean, no ids
        assert asked.teacher is None or (asked.teacher in models.MODELS and part.teacher is None)
    taught_by = {part.teacher for part in parts} - {None}
    teachers = {part.label for part in parts if not part.taught}
    starts = {part.start for part in parts} - {None}
    assert teachers == taught_by | starts
    assert sum(part.configuration.method == "none" and part.taught for part in parts) == 1


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_every_student_has_its_twin_in_the_same_group(name, scale):
    """The independent student shares data, views and schedule with every other, or no change could be told."""
    parts = [part for part in RECIPES[name].parts(scale) if part.taught]
    left_out = {"method": "none", "hyperparameters": {}}
    assert len({str(dataclasses.replace(part.configuration, **left_out)) for part in parts}) == 1


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_the_scales_train_as_long_as_they_say(name, scale):
    epochs = {part.configuration.epochs for part in RECIPES[name].parts(scale) if part.start is None}
    schedules = {part.configuration.schedule for part in RECIPES[name].parts(scale)}
    assert len(epochs) == 1
    assert epochs == {"lab": {40}, "paper": {240}}.get(scale, epochs)
    assert schedules == ({"step"} if scale == "paper" else {"cosine"})
    assert scale != "quick" or max(epochs) <= 30


def test_a_recipe_goes_by_its_name():
    assert [each.name for each in RECIPES.values()] == list(RECIPES)
    assert len(RECIPES) == 11
    with pytest.raises(KDError, match=r"Unknown recipe 'six_method'. Did you mean 'six_methods'\?"):
        recipes.recipe("six_method")


def test_what_a_recipe_is_as_plain_data():
    told = recipes.describe(SIX_METHODS)
    assert (told["name"], told["title"]) == ("six_methods", "Six methods")
    assert [part["label"] for part in told["scales"]["lab"]["parts"]] == [
        "Teacher", "Independent student", "Logit matching", "Label smoothing", "DKD", "Hints", "CRD"]
    assert told["scales"]["lab"]["data"] == "cifar100"
    assert told["scales"]["quick"]["parts"][2] == {"label": "Logit matching", "network": "resnet8", "method": "kd",
                                                   "teacher": "Teacher", "start": None}


# A plan. ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("asked", "sentence"), [
    ({"scale": "quik"}, "Unknown scale 'quik'. Did you mean 'quick'?"),
    ({"epoch": 3}, "Unknown change 'epoch'. Did you mean 'epochs'?"),
    ({"seeds": 0}, "seeds is 0; allowed is 1 or more."),
    ({"epochs": 0}, "epochs is 0; allowed is a number of at least 1."),
    ({"share": 1.5}, "share is 1.5"),
])
def test_a_plan_that_cannot_be_is_told(asked, sentence):
    with pytest.raises(KDError) as caught:
        recipes.plan("six_methods", **asked)
    assert sentence in str(caught.value)


def test_what_a_plan_trains_with_is_told_by_what_may_be_changed():
    assert recipes.plan("six_methods").values == {
        "data": ["digits"], "share": [1.0], "image_size": [None], "epochs": [20], "batch_size": [64],
        "optimizer": ["sgd"], "learning_rate": [0.05], "labels_per_class": [10], "teacher": ["resnet20"],
        "student": ["resnet8"], "temperature": [4.0]}
    masks = recipes.plan("segmentation_kd", labelled_images=16, kl_weight=5.0).values
    assert (masks["labelled_images"], masks["kl_weight"], masks["temperature"]) == ([16], [5.0], [4.0])
    assert "labels_per_class" not in masks
    assert recipes.plan("few_labels", "lab").values["teacher"] == ["efficientnet_lite2"]


def test_what_a_recipe_compares_has_several_values():
    several = {name: {key for key, each in recipes.plan(name).values.items() if len(each) > 1} for name in RECIPES}
    assert {name: each for name, each in several.items() if each} == {
        "temperature_alpha": {"temperature"}, "missing_class": {"temperature"}, "teacher_capacity": {"teacher"},
        "eleven_models": {"teacher"}}


@pytest.mark.parametrize("name", RECIPES)
def test_every_value_that_is_one_can_be_set_and_the_others_cannot(name):
    own = recipes.plan(name)
    for key, each in own.values.items():
        if len(each) > 1:
            with pytest.raises(KDError, match="leaves nothing to compare"):
                recipes.plan(name, **{key: each[0]})
        elif each[0] is not None:
            assert recipes.plan(name, **{key: each[0]}).values == own.values


def test_equal_changes_in_another_order_are_one_plan():
    one, other = (recipes.plan("six_methods", **changes)
                  for changes in ({"epochs": 3, "data": "shapes"}, {"data": "shapes", "epochs": 3}))
    assert one.command == other.command
    assert one.arguments[-4:] == ["--data", "shapes", "--epochs", "3"]


@pytest.mark.parametrize(("name", "changes", "sentence"), [
    ("six_methods", {"labels_per_class": 10**6}, "labels_per_class is 1000000"),
    ("six_methods", {"data": "shapes_segmentation"}, "resnet20 is for classification"),
    ("six_methods", {"student": "resnet9"}, "Unknown network 'resnet9'"),
    ("six_methods", {"student": "fpn_tiny"}, "fpn_tiny"),
    ("six_methods", {"data": "folder:nowhere"}, "nowhere"),
])
def test_what_cannot_be_trained_is_known_within_a_moment(monkeypatch, name, changes, sentence):
    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("it opens pictures"))
    recipes.check(recipes.plan(name))
    with pytest.raises(KDError) as caught:
        recipes.check(recipes.plan(name, **changes))
    assert sentence in str(caught.value)


def test_a_teacher_that_is_there_and_knows_other_classes_is_refused(monkeypatch):
    """It would be met once the students are started."""
    with pytest.raises(KDError, match="shapes-teacher"):
        recipes.check(recipes.plan("few_labels", "lab", data="digits", image_size=32, teacher="shapes-teacher",
                                   student="resnet8"))
    recipes.check(recipes.plan("few_labels", "lab", data="digits", image_size=32, teacher="digits-teacher",
                               student="resnet8"))


def test_one_teacher_cannot_stand_for_several():
    with pytest.raises(KDError, match="teacher_capacity compares the teachers resnet14, resnet20, resnet32, resnet8"):
        recipes.plan("teacher_capacity", teacher="resnet20")
    assert by_label(recipes.plan("teacher_capacity", student="resnet14"))["Teacher resnet32"].student == "resnet32"
    changed = by_label(recipes.plan("colour_invariance", teacher="resnet32"))  # two teachers of one architecture
    assert (changed["Plain teacher"].student, changed["Colour-tuned teacher"].student) == ("resnet32", "resnet32")


@pytest.mark.parametrize(("changes", "teachers", "taught"), [
    ({"teacher": "resnet32"}, {"student": "resnet32"}, {}),
    ({"student": "resnet14"}, {}, {"student": "resnet14"}),
    ({"epochs": 3}, {"epochs": 3}, {"epochs": 3}),
    ({"data": "fashion_mnist", "share": 0.5}, *[{"data": "fashion_mnist", "share": 0.5}] * 2),
    ({"labels_per_class": 7}, {}, {"labels_per_class": 7}),
    ({}, {}, {}),
])
def test_a_change_reaches_the_networks_it_names_and_nothing_else(changes, teachers, taught):
    before, after = (by_label(recipes.plan("response_vs_feature", **each)) for each in ({}, changes))
    for label, asked in before.items():
        assert after[label] == dataclasses.replace(asked, **(teachers if label == "Teacher" else taught))


def test_a_change_that_is_none_changes_nothing():
    asked = recipes.plan("six_methods", "lab", 3, data=None, epochs=None)
    assert asked == Plan(SIX_METHODS, "lab", 3)


@pytest.mark.parametrize("changes", [
    {}, {"data": "cifar10", "share": 0.25, "epochs": 7, "teacher": "resnet32", "student": "resnet14"},
    {"data": "folder:/home/me/my pictures; cats & dogs"}, {"share": 1e-05},
    {"batch_size": 16, "optimizer": "adam", "learning_rate": 1e-4, "temperature": 3.0, "only": ["DKD", "CRD"],
     "labels_per_class": 3},
])
@pytest.mark.parametrize(("scale", "seeds"), [("quick", 1), ("paper", 5)])
def test_the_command_runs_the_very_same_plan(changes, scale, seeds):
    asked = recipes.plan("six_methods", scale, seeds, **changes)
    words = shlex.split(asked.command)
    assert words[:3] == ["python", "-m", "kdengine"]
    given = parser().parse_args(words[3:])
    read = recipes.plan(given.name, given.scale, given.seeds, **{name: getattr(given, name) for name in CHANGES})
    assert read == asked
    assert read.parts == asked.parts


def test_a_plan_whose_labels_lean_on_nothing_is_told():
    wrong = Recipe("wrong", "Wrong", "Wrong?", lambda scale: students("Nobody", {"KD": ("kd", {})}))
    with pytest.raises(KDError, match="'KD' leans on 'Nobody'"):
        Plan(wrong)


# What has been trained so far. --------------------------------------------------------------------------------------

def trained(plan, result, seeds=1, teacher_result=None):
    """The outcome of a plan without a file: result(label, seed) of every student; teachers have one of their own."""
    held = {}
    for part in plan.parts:
        for seed in range(seeds if part.teacher else 1):
            asked = dataclasses.replace(part.configuration, seed=seed)
            held[part.label, seed] = Record(
                f"{part.label}-{seed}", "group", 1.0, asked, {"state": "finished"},
                teacher=teacher_result(part.teacher) if teacher_result and part.teacher else None,
                result=result(part.label, seed) if part.teacher else {"test": {"top1": 0.5}})
    return Outcome(plan, held)


def test_an_outcome_gives_a_part_s_records_by_seed():
    outcome = trained(recipes.plan("response_vs_feature", seeds=3), lambda label, seed: {}, seeds=3)
    shuffled = Outcome(outcome.plan, dict(reversed(outcome.records.items())))
    assert [record.configuration.seed for record in shuffled.of("Response-based")] == [0, 1, 2]
    assert shuffled.of("Nobody") == []
    assert [record.id for record in shuffled.teachers()] == ["Teacher-0"]


def test_so_far_reads_what_is_finished_and_trains_nothing(monkeypatch):
    monkeypatch.setattr(control, "_launch", lambda ids: pytest.fail("it trains"))
    plan = recipes.plan("response_vs_feature")
    assert recipes.so_far(plan).records == {}
    finished(by_label(plan)["Teacher"], "mine", np.zeros((4, 2), dtype=np.float32))
    assert {key: record.id for key, record in recipes.so_far(plan).records.items()} == {("Teacher", 0): "mine"}
    states = {each["label"]: each["state"] for each in recipes.progress(plan)["networks"]}
    assert states == {"Teacher": "finished", "Independent student": "waiting", "Response-based": "waiting",
                      "Feature-based": "waiting"}


# From the command line. ---------------------------------------------------------------------------------------------

def test_a_recipe_is_trained_told_and_reported(train_here, capsys, tmp_path, monkeypatch):
    words = ["recipe", "response_vs_feature", "--share", "0.1", "--epochs", "1", "--teacher", "resnet8"]
    assert main([*words, "--so-far", "--json"]) == 0  # nothing yet, and nothing is begun
    assert json.loads(capsys.readouterr().out) == store.all_runs() == []
    assert main([*words, "--report", str(tmp_path / "report")]) == 0
    told = capsys.readouterr()
    plan = recipes.plan("response_vs_feature", share=0.1, epochs=1, teacher="resnet8")
    outcome = recipes.so_far(plan)
    table = comparison.rows(outcome)
    assert [row["label"] for row in table] == [part.label for part in plan.parts]
    assert "4 of 4 networks trained" in told.err
    assert told.out.startswith(f"resnet8, to teach: {table[0]['accuracy']:.2%} of 359 test images right.\n")
    for row in table:
        assert any(line.startswith(row["label"]) and comparison.as_text(plan.recipe, row, "accuracy") in line
                   for line in told.out.splitlines())
    assert all(f"- {remark}" in told.out for remark in remarks(outcome, table))
    assert str(tmp_path / "report" / "report.html") in told.err
    assert plan.command in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    page = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert len(page.named("math")) == 3  # one a method
    assert page.named("img") and all(each["src"].startswith("data:image/png;base64,") for each in page.named("img"))

    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "kept"))
    assert main([*words, "--so-far", "--keep", "Mine"]) == 0
    assert {name: about["method"] for name, about in checkpoints.shipped().items()} == {
        "mine-teacher": "none", "mine-independent-student": "none", "mine-response-based": "kd",
        "mine-feature-based": "features_mse"}
    capsys.readouterr()

    for more in ([], ["--so-far"]):  # and nothing is trained again
        assert main([*words, "--json", *more]) == 0
        assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(table))
    assert len(store.all_runs()) == 4


def test_what_could_not_be_trained_is_told_and_nothing_is_reported_of_it(train_here, capsys, tmp_path):
    assert main(["recipe", "colour_invariance", "--data", "cifar10", "--report", str(tmp_path / "report")]) == 1
    told = capsys.readouterr().err
    assert store.all_runs() == []
    assert "python -m kdengine data cifar10 --download" in told
    assert not (tmp_path / "report").exists()


# temperature_alpha. -------------------------------------------------------------------------------------------------

def grid(validation, test, seeds=1):
    """An outcome of the quick grid; validation and test accuracy by (T, alpha), or by (T, alpha, seed)."""
    def result(label, seed):
        if label == "Independent student":
            return {"validation": {"top1": 0.99}, "test": {"top1": 0.99}}
        temperature, alpha = (float(each.split()[1]) for each in label.split(", "))
        place = (temperature, alpha)
        return {"validation": {"top1": validation.get((*place, seed), validation.get(place, 0.5))},
                "test": {"top1": test.get(place, 0.4)}}

    return trained(recipes.plan("temperature_alpha", seeds=seeds), result, seeds)


def test_the_point_is_chosen_on_validation_and_never_on_test():
    outcome = grid(validation={(2.0, 0.1): 0.6, (2.0, 0.9): 0.7, (8.0, 0.5): 0.8},
                   test={(1.0, 0.1): 0.95, (2.0, 0.9): 0.55, (8.0, 0.5): 0.45, (2.0, 1.0): 0.9})
    assert TEMPERATURE_ALPHA.remarks(outcome) == [
        "Tuning in two steps: at alpha 0.1 the best T is 2; at that T the best alpha is 0.9 "
        "(validation 70.00%, test 55.00%).",
        "The whole grid chooses T 8, alpha 0.5 (validation 80.00%, test 45.00%).",
    ]


def test_of_equal_points_the_smallest_temperature_and_then_alpha():
    told = TEMPERATURE_ALPHA.remarks(grid(validation={}, test={}))
    assert told[1] == "The whole grid chooses T 1, alpha 0.1 (validation 50.00%, test 40.00%)."


def test_several_seeds_choose_by_their_mean():
    outcome = grid(validation={(4.0, 0.5, 0): 0.9, (4.0, 0.5, 1): 0.3, (4.0, 1.0): 0.7}, test={}, seeds=2)
    assert TEMPERATURE_ALPHA.remarks(outcome)[1] == (
        "The whole grid chooses T 4, alpha 1 (validation 70.00%, test 40.00%).")


def test_the_heat_map_shows_every_point_and_no_other_network():
    figure, = TEMPERATURE_ALPHA.figures(grid(validation={(4.0, 0.5): 0.75}, test={(4.0, 0.5): 0.25})).values()
    held = drawn_from(figure)
    assert [(each["temperature"], each["alpha"]) for each in held] == [
        (temperature, alpha) for temperature in (1.0, 2.0, 4.0, 8.0) for alpha in (0.1, 0.5, 0.9, 1.0)]
    assert [(each["validation"], each["test"]) for each in held if each["label"] == "T 4, alpha 0.5"] == [(0.75, 0.25)]
    assert [each["label"] for each in held if each["chosen"]] == ["T 4, alpha 0.5"]


def test_nothing_is_chosen_while_a_point_is_missing():
    outcome = grid(validation={(4.0, 0.5): 0.75}, test={})
    records = {key: record for key, record in outcome.records.items() if key[0] != "T 1, alpha 0.1"}
    half = Outcome(outcome.plan, records)
    assert TEMPERATURE_ALPHA.remarks(half) == []
    figure, = TEMPERATURE_ALPHA.figures(half).values()
    assert not any(each["chosen"] for each in drawn_from(figure))


def test_only_what_validation_chose_is_judged():
    outcome = grid(validation={(2.0, 0.1): 0.6, (2.0, 0.9): 0.7, (8.0, 0.5): 0.8}, test={(1.0, 0.1): 0.95})
    judged = [part.label for part in outcome.parts if TEMPERATURE_ALPHA.judges(outcome, part.label)]
    assert judged == ["T 2, alpha 0.9", "T 8, alpha 0.5"]


def test_a_grid_not_begun_says_nothing():
    assert TEMPERATURE_ALPHA.remarks(Outcome(recipes.plan("temperature_alpha"), {})) == []


@pytest.mark.parametrize("scale", ["lab", "paper"])
def test_the_long_grids_are_those_of_the_lab_sheet(scale):
    taught = [part.configuration.hyperparameters for part in TEMPERATURE_ALPHA.parts(scale)
              if part.configuration.method == "kd"]
    assert [(each["temperature"], each["alpha"]) for each in taught] == [
        (float(temperature), tenth / 10) for temperature in range(1, 11) for tenth in range(1, 11)]


# missing_class. -----------------------------------------------------------------------------------------------------

TARGET = np.repeat(np.arange(10), 10)
"""Ten test images of each of ten classes."""


def never_saw_a_three(near):
    """Logits of a student that names every other class rightly; of ten 3s, so many have a 3 one nat behind.

    In the other 90 a 3 is 5.00, 5.04, 5.08, ... nats behind; in the rest of the 3s, 20.
    """
    held = np.zeros((100, 10), dtype=np.float32)
    threes, others = np.flatnonzero(TARGET == 3), np.flatnonzero(TARGET != 3)
    held[others, TARGET[others]] = 5 + 0.04 * np.arange(90)
    held[threes[:near], 8] = 1.0
    held[threes[near:], 8] = 20.0
    return held


def test_the_missing_class_is_measured_as_trained_and_with_its_bias_corrected():
    record = finished(Configuration(method="kd"), "student", never_saw_a_three(near=8), TARGET)
    # One image in ten is to be named a 3: the eight, and the two others that come next, at 5.00 and 5.04 nats.
    assert MISSING_CLASS.measure(record) == {"missing": 0.0, "missing_corrected": pytest.approx(0.8),
                                             "all_corrected": pytest.approx(0.96), "shift": pytest.approx(5.06),
                                             "images": 10}


def test_a_student_that_knows_all_classes_gains_nothing_from_a_shift():
    held = np.zeros((100, 10), dtype=np.float32)
    held[np.arange(100), TARGET] = 4.0
    told = MISSING_CLASS.measure(finished(Configuration(), "teacher", held, TARGET))
    assert (told["missing"], told["missing_corrected"], told["all_corrected"]) == (1.0, 1.0, 1.0)
    assert told["shift"] == 0.0  # midway between gaps of -4 and 4


def test_the_missing_class_over_the_temperature_is_a_mean_over_the_seeds():
    plan = recipes.plan("missing_class", seeds=2)
    held = {}
    for label in ("Hard labels", "Soft targets, T 4"):
        for seed, near in enumerate((8, 4)):
            asked = dataclasses.replace(by_label(plan)[label], seed=seed)
            held[label, seed] = finished(asked, f"{asked.method}-{seed}", never_saw_a_three(near), TARGET,
                                         measured={"kl_to_teacher": 0.1})
    figure, = MISSING_CLASS.figures(Outcome(plan, held)).values()
    assert drawn_from(figure) == [
        {"x": 4.0, "series": "as trained", "score": 0.0},
        {"x": 4.0, "series": "bias corrected", "score": pytest.approx(0.6)},
    ]
    row = {each["label"]: each for each in comparison.rows(Outcome(plan, held))}["Soft targets, T 4"]
    texts = [comparison.as_text(MISSING_CLASS, row, key) for key in MISSING_CLASS.columns]
    assert [text.partition(" (")[0] for text in texts] == ["0.00%", "60.00%", "92.00%", "+5.14 nats"]
    assert row["missing_corrected_interval"] == (0.0, 1.0)  # t of one degree of freedom, cut where a share ends


def test_what_of_the_missing_class_is_recognized_is_told_of_the_best_soft_targets_and_of_hard_labels():
    plan = recipes.plan("missing_class")
    measured = {"Hard labels": (0.0, 0.5), "Soft targets, T 4": (0.25, 0.75), "Soft targets, T 8": (0.5, 0.625)}
    records = {(label, 0): finished(by_label(plan)[label], label, never_saw_a_three(8), TARGET) for label in measured}
    outcome = Outcome(plan, records, measured={
        (label, 0): {"missing": each[0], "missing_corrected": each[1]} for label, each in measured.items()})
    assert MISSING_CLASS.remarks(outcome)[0] == (
        "Of the test images of 'class 3', which no student's training images hold, Soft targets, T 4 names 25.00% as "
        "trained and 75.00% with its bias corrected; Hard labels: 0.00% and 50.00%.")


@pytest.mark.parametrize("scale", SCALES)
def test_only_students_lack_the_class_and_soft_targets_read_no_label(scale):
    for part in MISSING_CLASS.parts(scale):
        assert part.configuration.without_class == (3 if part.teacher else None)
        if part.configuration.method == "kd":
            assert part.configuration.hyperparameters["alpha"] == 1.0


# The others. --------------------------------------------------------------------------------------------------------

def test_a_teacher_s_size_is_drawn_against_both_accuracies():
    parameters = {"Teacher resnet8": 78_042, "Teacher resnet14": 175_258, "Teacher resnet20": 272_474,
                  "Teacher resnet32": 466_906}
    accuracy = {"Teacher resnet8": 0.5, "Teacher resnet14": 0.625, "Teacher resnet20": 0.75, "Teacher resnet32": 0.875}

    def taught(label):
        return {"architecture": label.split()[1], "parameters": parameters[label], "test": {"top1": accuracy[label]}}

    def result(label, seed):
        return {"test": {"top1": {"Taught by resnet8": 0.25, "Taught by resnet32": 0.5}.get(label, 0.375) + seed / 4}}

    outcome = trained(recipes.plan("teacher_capacity", seeds=2), result, 2, taught)
    figure, = TEACHER_CAPACITY.figures(outcome).values()
    held = {(each["teacher"], each["who"]): (each["parameters"], each["accuracy"]) for each in drawn_from(figure)}
    assert held == {
        ("resnet8", "teacher"): (78_042, 0.5), ("resnet8", "student"): (78_042, 0.375),
        ("resnet14", "teacher"): (175_258, 0.625), ("resnet14", "student"): (175_258, 0.5),
        ("resnet20", "teacher"): (272_474, 0.75), ("resnet20", "student"): (272_474, 0.5),
        ("resnet32", "teacher"): (466_906, 0.875), ("resnet32", "student"): (466_906, 0.625),
    }


def test_the_students_of_either_teacher_are_told_by_how_often_they_keep_their_answer():
    plan = recipes.plan("colour_invariance")
    kept = {"KD, plain teacher": 0.5, "KD, colour-tuned teacher": 0.75, "CRD, plain teacher": 0.25}
    records = {(label, 0): finished(by_label(plan)[label], label, scene.answers(60)) for label in kept}
    outcome = Outcome(plan, records, measured={(label, 0): {"same_answer": each} for label, each in kept.items()})
    assert COLOUR_INVARIANCE.remarks(outcome) == [  # of CRD there is but one
        "KD: the student of the color-tuned teacher keeps its answer on 75.00% of the images when their colors change, "
        "that of the plain one on 50.00%."]


def test_colours_are_measured_on_the_same_images_with_other_colours():
    record = Record("digits-teacher", "group", 1.0, Configuration(data="digits"), {"state": "finished"})
    told = COLOUR_INVARIANCE.measure(record)
    network, clean = references.open_reference("digits-teacher"), data.load("digits").test
    jittered = views.jittered(clean, 0.4, seed=0)
    assert not torch.equal(jittered.images, clean.images)
    before, after = (evaluation.predict(network, split).argmax(1).clone() for split in (clean, jittered))
    target = clean.target
    right = (before == target).double().mean().item()
    assert told["jittered"] == pytest.approx((after == target).double().mean().item())
    assert told["drop"] == pytest.approx(right - told["jittered"])
    assert told["same_answer"] == pytest.approx((before == after).double().mean().item())
    scores = checkpoints.describe(references.locate("digits-teacher"))["scores"]
    assert right == pytest.approx(scores["test"]["top1"])


@pytest.mark.parametrize("scale", SCALES)
def test_the_tuned_teacher_goes_on_from_the_plain_one_under_the_jitter(scale):
    parts = {part.label: part for part in COLOUR_INVARIANCE.parts(scale)}
    tuned = parts["Colour-tuned teacher"]
    assert tuned.start == "Plain teacher"
    assert tuned.configuration.views == "crop+flip+jitter"
    assert tuned.configuration.student == parts["Plain teacher"].configuration.student
    assert {label for label, part in parts.items() if part.teacher == "Colour-tuned teacher"} == {
        "KD, colour-tuned teacher", "CRD, colour-tuned teacher"}
    assert {part.configuration.views for part in parts.values() if part.teacher} == {None}  # no student sees the jitter


def test_kinds_that_can_be_matched_are_all_there():
    matched = {methods.METHODS[part.configuration.method].matches
               for part in RECIPES["what_can_be_matched"].parts("quick") if part.configuration.method != "none"}
    assert matched == {"logits", "weights", "features", "gradients", "sparsity", "relations"}


def test_parts_are_built_in_two_words():
    assert teacher("T", student="resnet20", epochs=3) == sweeps.Part(
        "T", Configuration(student="resnet20", epochs=3), seeded=False)
    assert students("T", {"S": ("kd", {"alpha": 0.5})}, epochs=3) == [sweeps.Part(
        "S", Configuration(method="kd", hyperparameters={"alpha": 0.5}, epochs=3), teacher="T")]
