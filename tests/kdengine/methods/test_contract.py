"""What every method must keep, unasked: `kdengine.testing` over the registry, on both tasks; and fields."""

import dataclasses
import math

import pytest
import torch

from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.methods import FIRST_STAGES, METHODS, method
from kdengine.runs.records import FIRST_STAGE
from kdengine.signals import Signals, Wanted
from kdengine.testing import METHOD_PROMISES
from kdengine.training import Learner
from tests.kdengine import tiny
from tests.kdengine.methods.scene import example

TASKS = ("classification", "segmentation")
ALL = METHODS | FIRST_STAGES
EVERY_BOTH = pytest.mark.parametrize(("name", "task"), [
    (name, task) for name, each in ALL.items() for task in each.tasks])


def test_the_names_of_first_stages_say_so():
    assert FIRST_STAGES and all(name.endswith(FIRST_STAGE) for name in FIRST_STAGES)
    assert not any(name.endswith(FIRST_STAGE) for name in METHODS)


@pytest.mark.parametrize("promise", METHOD_PROMISES, ids=lambda promise: promise.__name__)
@EVERY_BOTH
def test_every_method_keeps_every_promise(name, task, promise):
    promise(method(name), task)


@pytest.mark.parametrize(("name", "task"), [
    (name, task) for name, each in ALL.items() for task in TASKS if task not in each.tasks])
def test_a_task_that_makes_no_sense_is_refused_in_words(name, task):
    known, = ALL[name].tasks
    network = tiny.network()
    network.task = task
    with pytest.raises(KDError, match=f"Method '{name}' is for {known}; this is {task}"):
        Learner(network, method(name), tiny.network(), tiny.split(), Configuration(method=name), "float32")


WANTING = [name for name in ALL if example(name).wanted != Wanted()]
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
    assert method("e2kd", explanation_weight=0).wants((), ()) == (Wanted(), Wanted())


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
    for given in ("16", 16, 16.0, "16.0"):
        negatives = method("crd", negatives=given).negatives
        assert (type(negatives), negatives) == (int, 16)
    with pytest.raises(KDError, match=r"crd's negatives is 16\.5; allowed is a whole number\."):
        method("crd", negatives=16.5)
    with pytest.raises(KDError, match=r"crd's negatives is 'many'; allowed is a whole number\."):
        method("crd", negatives="many")
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
