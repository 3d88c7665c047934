"""Weights of other programs: whatever they lie in, they come in, and what was done is said."""

import sys

import pytest
import torch
from safetensors.torch import save_file

from kdengine import models
from kdengine.data import Outline
from kdengine.errors import KDError
from kdengine.runs import checkpoints, exchange, foreign

CLASSES = ("cat", "dog", "owl")
CONTAINERS = ("state_dict", "model_state_dict", "state_dict_ema", "model_ema", "ema", "model", "net", "network",
              "weights", "teacher", "student", "anything")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "student.", "module._orig_mod.", "module.student.",
            "_orig_mod.module.model.net.")


@pytest.fixture(scope="module")
def state():
    return models.build("resnet8", CLASSES, seed=1).net.state_dict()


@pytest.fixture
def come_in(tmp_path):
    """Saves what a program would, and imports it: the network and the line."""

    def run(held, architecture="resnet8", classes=CLASSES, **more):
        torch.save(held, tmp_path / "x.pth")
        return exchange.import_foreign(
            tmp_path / "x.pth", architecture, classes, **{"mean": (0.5,) * 3, "std": (0.5,) * 3, **more})

    return run


def prefixed(state, prefix):
    return {f"{prefix}{name}": value for name, value in state.items()}


def same(network, state):
    return checkpoints.network_digest(network) == checkpoints.digest(state)


def test_bare_weights_come_in_without_a_word(state, come_in):
    network, told = come_in(state)
    assert same(network, state)
    assert told == ""


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_is_looked_into(state, come_in, container):
    optimizer = {"state": {0: {"momentum": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    network, told = come_in({"epoch": 5, container: state, "optimizer": optimizer})
    assert same(network, state)
    assert told == f"read from '{container}', left out: epoch, optimizer"


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_prefix_is_removed(state, come_in, prefix):
    network, told = come_in({"model_state_dict": prefixed(state, prefix), "epoch": 5})
    assert same(network, state)
    assert told.startswith("read from 'model_state_dict', ")
    assert told.endswith(" removed, left out: epoch")
    assert "".join(told.split("'")[3::2]).replace("_orig_mod.", "") == prefix.replace("_orig_mod.", "")


def test_containers_lie_in_containers(state, come_in):
    network, told = come_in({"checkpoint": {"model": {"module": prefixed(state, "net.")}, "step": 3}})
    assert same(network, state)
    assert told == "read from 'checkpoint.model.module', prefix 'net.' removed, left out: step"


def test_what_lies_beside_a_prefix_is_left_out_and_said(state, come_in):
    held = {**prefixed(state, "model."), "criterion.weight": torch.ones(3), "n_averaged": torch.tensor(7)}
    network, told = come_in({"state_dict": held})
    assert same(network, state)
    assert told == "read from 'state_dict', prefix 'model.' removed, left out: criterion.weight, n_averaged"


def test_a_part_compiled_by_itself_comes_in(state, come_in):
    held = {name.replace("layer1.", "layer1._orig_mod."): value for name, value in state.items()}
    network, told = come_in(held)
    assert same(network, state)
    assert told == "'_orig_mod.' removed"


def test_a_prefix_that_is_the_network_s_own_stays(tmp_path):
    """torchvision's segmentation networks lie under `model` here."""
    own = models.shapes("lraspp_mobilenet_v3_large", 3)
    held = {name: torch.zeros(shape) for name, shape in own.items()}
    assert all(name.startswith("model.") for name in own)
    for prefix in ("", "module.", "model."):
        reading = foreign.choose(prefixed(held, prefix), own, "x")
        assert (reading.prefix, reading.state.keys()) == (prefix, own.keys())


@pytest.mark.parametrize(("first", "second"), [
    (lambda state, other: {"state_dict": state, "state_dict_ema": other}, ("state_dict", "state_dict_ema")),
    (lambda state, other: {"state_dict": prefixed(state, "student.") | prefixed(other, "teacher.")},
     ("student", "teacher")),
    (lambda state, other: {"model": prefixed(state, "module."), "model_ema": {"module": other}},
     ("model", "model_ema")),
])
def test_of_two_networks_in_one_file_a_person_says_which(state, come_in, first, second):
    other = models.build("resnet8", CLASSES, seed=2).net.state_dict()
    held = first(state, other)
    with pytest.raises(KDError) as caught:
        come_in(held)
    assert f"x.pth holds several sets of weights that fit: {', '.join(second)}." in str(caught.value)
    for part, expected in zip(second, (state, other), strict=True):
        assert f"--part {part}" in str(caught.value)
        assert same(come_in(held, part=part)[0], expected)
    with pytest.raises(KDError, match="x.pth holds no weights under 'nothing'. It has: .*" + second[0]):
        come_in(held, part="nothing")


def test_two_equal_copies_are_one_network(state, come_in):
    network, told = come_in({"model": state, "ema": {name: value.clone() for name, value in state.items()}})
    assert same(network, state)
    assert told == "read from 'model', left out: ema"


def test_a_safetensors_of_another_program_comes_in(state, tmp_path):
    save_file(prefixed(state, "module."), tmp_path / "x.safetensors")
    network, told = exchange.import_foreign(tmp_path / "x.safetensors", "resnet8", CLASSES, mean=(0.5,) * 3,
                                            std=(0.5,) * 3)
    assert same(network, state)
    assert told == "prefix 'module.' removed"


@pytest.mark.parametrize("held", [{}, {"a": 1}, [1, 2], torch.zeros(2), {"a": {"b": {"c": 1}}}, {0: torch.zeros(2)}])
def test_a_file_without_a_state_dict_is_told(come_in, held):
    with pytest.raises(KDError, match=r"x\.pth holds no state dict"):
        come_in(held)


def test_the_architecture_that_fits_is_named(come_in):
    held = models.build("resnet20a", CLASSES).net.state_dict()
    with pytest.raises(KDError) as caught:
        come_in({"state_dict": prefixed(held, "module.")}, "resnet20")
    assert str(caught.value).startswith("x.pth does not hold the weights of a resnet20 with 3 classes; missing: ")
    assert "; unexpected: linear.weight, linear.bias." in str(caught.value)
    assert str(caught.value).endswith(" Its names and shapes are those of resnet20a: --model resnet20a.")
    with pytest.raises(KDError, match="those of resnet20a with 3 classes: --model resnet20a"):
        come_in(held, "vgg8_bn", CLASSES[:2])


def test_where_nothing_fits_no_architecture_is_named(come_in):
    with pytest.raises(KDError, match=r"unexpected: some\.weight\.$"):
        come_in({"some.weight": torch.zeros(2)}, "resnet8")


def test_a_head_of_another_number_of_classes_is_said_as_that(state, come_in):
    with pytest.raises(KDError) as caught:
        come_in(state, classes=(*CLASSES, "fox"))
    assert str(caught.value) == (
        "x.pth holds the weights of a resnet8 with 3 classes; here it would have 4 classes (cat, dog, owl, ...). "
        "Name the 3 classes that it knows, in its order.")


@pytest.mark.parametrize(("mean", "std", "sentence"), [
    ((123.7, 116.3, 103.5), (58.4, 57.1, 57.4), "--mean 0.4851 0.4561 0.4059 --std 0.229 0.2239 0.2251."),
    ((123.7, 116.3, 103.5), (1, 1, 1), "--mean 0.4851 0.4561 0.4059 --std 0.003922 0.003922 0.003922."),
    ((0.485, 0.456, 0.406), (58.4, 57.1, 57.4), "--mean 0.485 0.456 0.406 --std 0.229 0.2239 0.2251."),
    ((-0.5, 0, 0), (1, 1, 1), "Look at their signs."),
    ((0.5,) * 3, (0.2, 0, 0.2), "std is [0.2, 0, 0.2]; images are divided by it, so each number must be above 0."),
    ((0.5,) * 3, (0.2, -0.1, 0.2), "each number must be above 0."),
    ((0.5,) * 3, (0.2, float("nan"), 0.2), "std is [0.2, nan, 0.2]; must be three finite numbers"),
    ((0.5, float("inf"), 0.5), (0.2,) * 3, "mean is [0.5, inf, 0.5]; must be three finite numbers"),
])
def test_a_normalisation_that_images_in_0_to_1_cannot_have_is_refused(state, come_in, mean, std, sentence):
    with pytest.raises(KDError) as caught:
        come_in(state, mean=mean, std=std)
    assert sentence in str(caught.value)


def test_a_mean_of_zero_and_a_std_of_one_change_nothing_and_are_taken(state, come_in):
    network, _ = come_in(state, mean=(0, 0, 0), std=(1, 1, 1))
    assert (network.mean, network.std) == ((0, 0, 0), (1, 1, 1))


NETS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, 2), nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))

def plain(classes):
    return Net(classes)

def large(classes):
    net = Net(classes)
    net.input_size = 224
    return net
"""


@pytest.mark.parametrize(("architecture", "given", "of_data", "size"), [
    ("nets_of_import:large", None, 64, 224), ("nets_of_import:large", 96, 64, 96),
    ("nets_of_import:plain", None, 64, 64), ("nets_of_import:plain", None, None, 32),
    ("resnet8", None, 64, 64), ("resnet8", None, None, 32),
    ("resnet8x4_imagenet", None, 64, 128), ("resnet8x4_imagenet", 160, 64, 160),
])
def test_the_size_is_what_is_given_else_the_module_s_own_else_the_larger_of_the_others(
    tmp_path, monkeypatch, come_in, architecture, given, of_data, size
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDENGINE_TRUST", "nets_of_import")
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "nets_of_import.py").write_text(NETS)
    held = models.build(architecture, CLASSES).net.state_dict()
    network, _ = come_in(held, architecture, input_size=given,
                         known=Outline("classification", size=of_data))
    assert network.input_size == size
