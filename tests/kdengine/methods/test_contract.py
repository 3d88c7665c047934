"""The suite every method must pass, unasked: it runs over the registry, on both tasks."""

import dataclasses
import math

import pytest
import torch

from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.methods import FIRST_STAGES, METHODS, describe, method
from kdengine.runs.records import FIRST_STAGE
from kdengine.signals import IGNORE, Signals, Wanted
from kdengine.training import Learner
from tests.kdengine import tiny
from tests.kdengine.methods.scene import Scene

TASKS = ("classification", "segmentation")
ALL = METHODS | FIRST_STAGES
EVERY = pytest.mark.parametrize("name", ALL)
EVERY_BOTH = pytest.mark.parametrize(("name", "task"), [
    (name, task) for name, each in ALL.items() for task in each.tasks])
EVERY_TAUGHT = pytest.mark.parametrize(("name", "task"), [
    (name, task) for name, each in ALL.items() for task in each.tasks
    if each.needs_teacher and getattr(each, "alpha", None) != 0])
EVERY_SEGMENTING = pytest.mark.parametrize("name", [
    name for name, each in ALL.items() if "segmentation" in each.tasks])


def test_the_names_of_first_stages_say_so():
    assert FIRST_STAGES and all(name.endswith(FIRST_STAGE) for name in FIRST_STAGES)
    assert not any(name.endswith(FIRST_STAGE) for name in METHODS)


@EVERY_BOTH
def test_terms_are_finite_scalars_and_a_gradient_reaches_the_student(name, task):
    scene = Scene(name, task)
    terms = scene.terms()
    assert terms
    for term in terms.values():
        assert term.shape == ()
        assert term.dtype == torch.float32
        assert term.isfinite()
    gradients = scene.gradients()
    assert all(each.isfinite().all() for each in gradients.values())
    assert (sum(each.abs().sum() for each in gradients.values()) > 0) == scene.method.trains_student


@EVERY_TAUGHT
def test_a_teacher_that_says_otherwise_changes_the_loss(name, task):
    """Else the other tests here would speak of the labels alone. Its answers are sharp, so that it is sure of some."""
    scene = Scene(name, task)
    losses = []
    for seed in (0, 1):
        scene.teacher.load_state_dict(Scene(name, task, seed=seed).teacher.state_dict())
        with torch.no_grad():
            scene.teacher.head.weight.mul_(100)
        losses.append(sum(scene.terms().values()).item())
    assert losses[0] != losses[1]


@EVERY_BOTH
def test_the_teacher_is_bit_identical_afterwards_and_no_hook_stays(name, task):
    scene = Scene(name, task)
    before = {key: value.clone() for key, value in scene.teacher.state_dict().items()}
    scene.gradients()
    assert all(torch.equal(value, before[key]) for key, value in scene.teacher.state_dict().items())
    assert all(each.grad is None for each in scene.teacher.parameters())
    for network in (scene.student, scene.teacher):
        assert not any(each._forward_hooks or each._forward_pre_hooks for each in network.modules())


@EVERY_SEGMENTING
def test_ignored_pixels_do_not_count(name):
    scene = Scene(name, "segmentation")
    plain = {key: value.item() for key, value in scene.terms().items()}
    target = scene.batch.target.clone()
    target[~scene.batch.mask] = 3
    student, teacher = scene.signals()
    for signals in (student, teacher):
        signals.logits = torch.where(scene.batch.mask[:, None], signals.logits, 1e4)
    torch.manual_seed(1)
    again = scene.method.terms(student, teacher, dataclasses.replace(scene.batch, target=target), scene.adapter)
    assert {key: value.item() for key, value in again.items()} == pytest.approx(plain)


@EVERY_BOTH
def test_an_unlabelled_image_reaches_only_terms_that_read_no_label(name, task):
    scene = Scene(name, task)
    labelled = torch.tensor([True, False] * 3)
    of_targets = labelled.view(-1, *[1] * (scene.batch.target.dim() - 1))
    batches = [
        dataclasses.replace(scene.batch, labelled=labelled, target=torch.where(of_targets, scene.batch.target, other))
        for other in (0, 1)
    ]
    first, second = (scene.terms(batch) for batch in batches)
    assert {key: value.item() for key, value in first.items()} == {key: value.item() for key, value in second.items()}


@EVERY_BOTH
def test_a_batch_without_a_label_gives_finite_terms_and_gradients(name, task):
    scene = Scene(name, task)
    none = torch.zeros_like(scene.batch.labelled)
    scene.batch = dataclasses.replace(
        scene.batch, labelled=none, target=torch.full_like(scene.batch.target, IGNORE),
        mask=torch.ones_like(scene.batch.mask))
    assert all(term.isfinite() for term in scene.terms().values())
    assert all(each.isfinite().all() for each in scene.gradients().values())


@EVERY_BOTH
def test_half_precision_signals_cost_no_finite_numbers(name, task):
    scene = Scene(name, task)
    student, teacher = scene.signals()
    for signals in (student, teacher):
        signals.logits = signals.logits * 200
    terms = scene.method.terms(student, teacher, scene.batch, scene.adapter)
    assert all(term.isfinite() for term in terms.values())


@EVERY_BOTH
def test_the_same_generator_gives_the_same_adapter(name, task):
    first, second = Scene(name, task), Scene(name, task)
    if first.adapter is None:
        assert second.adapter is None
    else:
        pairs = zip(first.adapter.parameters(), second.adapter.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@EVERY_BOTH
def test_double_stays_double(name, task):
    scene = Scene(name, task, dtype=torch.float64)
    assert {term.dtype for term in scene.terms().values()} == {torch.float64}


@EVERY_BOTH
def test_a_method_that_needs_no_teacher_asks_for_nothing_of_one(name, task):
    if ALL[name].needs_teacher:
        return
    scene = Scene(name, task)
    assert (scene.wanted, scene.wanted_of_teacher) == (Wanted(), Wanted())
    alone = scene.method.terms(scene.signals()[0], None, scene.batch, None)
    beside = scene.terms()
    assert {key: value.item() for key, value in alone.items()} == {key: value.item() for key, value in beside.items()}


@EVERY
def test_every_method_says_what_it_is(name):
    described = describe(ALL[name])
    assert described["name"] == name
    assert all(described[key] for key in ("title", "summary", "formula", "source", "matches"))
    for field in described["fields"]:
        assert field["help"] and field["symbol"]
        if not field["choices"]:
            assert field["low"] <= field["default"] <= field["high"]
            assert field["step"] > 0
            assert f"{field['symbol']}" in described["formula"]


@pytest.mark.parametrize(("name", "task"), [
    (name, task) for name, each in ALL.items() for task in TASKS if task not in each.tasks])
def test_a_task_that_makes_no_sense_is_refused_in_words(name, task):
    known, = ALL[name].tasks
    network = tiny.network()
    network.task = task
    with pytest.raises(KDError, match=f"Method '{name}' is for {known}; this is {task}"):
        Learner(network, method(name), tiny.network(), tiny.split(), Configuration(method=name), "float32")


WANTING = [name for name, each in ALL.items() if Scene(name).wanted != Wanted()]
FROM_STAGES = [name for name in WANTING if name != "input_gradient"]


@pytest.mark.parametrize("name", FROM_STAGES)
@pytest.mark.parametrize("who", ["student", "teacher"])
def test_a_network_without_feature_maps_is_refused_in_words(name, who):
    """Whatever a method wants to see of stages, and whichever of the two has none."""
    stages = tiny.network().stages
    given = {"student": stages, "teacher": stages, who: ()}
    with pytest.raises(KDError) as caught:
        method(name).wants(given["student"], given["teacher"])
    assert f"The {who} has no feature maps" in str(caught.value) or "A flow is from stage to stage" in str(caught.value)


@pytest.mark.parametrize("name", sorted(ALL.keys() - set(FROM_STAGES)))
def test_a_method_that_needs_no_feature_maps_takes_a_network_without_any(name):
    wanted = method(name).wants((), ())
    assert all(each.features + each.preactivations + each.weights == () for each in wanted)


def test_weights_of_zero_want_no_feature_maps():
    assert method("combined", feature_weight=0, relation_weight=0).wants((), ()) == (Wanted(), Wanted())
    assert method("cwd", feature_weight=0).wants((), ()) == (Wanted(), Wanted())


def test_fields_are_checked_and_read_from_text():
    assert method("kd", temperature="3", alpha="0.5").temperature == 3.0
    for fields, sentence in [
        ({"alpha": 1.5}, "kd's alpha is 1.5; allowed is a number from 0 to 1."),
        ({"temperature": 0}, "kd's temperature is 0; allowed is a number from 0.1 to 100."),
        ({"temperature": "warm"}, "kd's temperature is 'warm'; allowed is a number."),
        ({"temperature": math.nan}, "kd's temperature is nan"),
        ({"temprature": 4}, "Unknown hyperparameter of kd 'temprature'. Did you mean 'temperature'?"),
    ]:
        with pytest.raises(KDError) as caught:
            method("kd", **fields)
        assert sentence in str(caught.value)
    with pytest.raises(KDError, match="Method 'none' has no hyperparameters"):
        method("none", alpha=1)
    with pytest.raises(KDError, match="Unknown method 'kdd'"):
        method("kdd")
    with pytest.raises(KDError, match=r"Unknown features_mse's norm 'l1'"):
        method("features_mse", norm="l1")


def test_methods_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        method("kd").alpha = 0.2


def test_signals_hold_logits_alone_unless_asked():
    assert Signals(torch.zeros(1)).features == {}
