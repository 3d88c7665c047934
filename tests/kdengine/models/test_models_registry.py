"""Every network of the registry, held to the same promises."""

import pytest
import torch

from kdengine import models
from kdengine.errors import KDError
from kdengine.models import MODELS
from kdengine.signals import Wanted, observing
from kdengine.testing import MODEL_PROMISES

CLASSES = tuple("abcdefghij")
HUGE = {name for name in MODELS if name.startswith("vgg") and name.endswith("_imagenet")}
"""Half a gigabyte each: seconds to draw, so their weights are looked at in the slow tests."""
BY_NAME = [pytest.param(name, marks=pytest.mark.slow) if name in HUGE else name for name in MODELS]


SIZE = 16


def of_tiny_images(name, **options):
    """The network at 16 pixels: every layout takes them, and the suite stays quick."""
    return models.build(name, CLASSES, input_size=SIZE, **options)


def same_weights(first, second):
    first, second = first.net.state_dict(), second.net.state_dict()
    assert first.keys() == second.keys()
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("promise", MODEL_PROMISES, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("name", BY_NAME)
def test_every_network_keeps_every_promise(name, promise):
    promise(lambda seed: of_tiny_images(name, seed=seed))


@pytest.mark.parametrize("name", MODELS)
def test_it_is_what_was_asked_for(name):
    with torch.device("meta"):
        network = of_tiny_images(name)
    assert (network.architecture, network.classes, network.input_size) == (name, CLASSES, SIZE)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [None, 28, 97])
def test_stages_are_as_declared_at_any_size(name, size):
    with torch.device("meta"):
        network = models.build(name, CLASSES, input_size=size).eval()
        images = torch.empty(2, 3, network.input_size, network.input_size)
    wanted = Wanted(features=tuple(stage.name for stage in network.stages))
    with torch.no_grad(), observing(network, network.stages, wanted) as look:
        features = look(images).features
    for stage in network.stages:
        side = -(-network.input_size // stage.stride)
        assert tuple(features[stage.name].shape) == (2, stage.channels, side, side)


@pytest.mark.parametrize("name", MODELS)
def test_stages_are_named_from_shallow_to_deep(name):
    architecture = MODELS[name]
    names, strides = [stage.name for stage in architecture.stages], [stage.stride for stage in architecture.stages]
    if architecture.task == "segmentation":
        assert names == ["low", "mid", "high"]
        assert strides == sorted(strides)  # a dilated stage keeps the resolution of the one before
    else:
        assert names == [f"stage{number + 1}" for number in range(len(names))]
        assert strides == sorted(set(strides))


@pytest.mark.parametrize("name", BY_NAME)
def test_weights_depend_on_the_seed_alone(name):
    torch.manual_seed(1)
    first = of_tiny_images(name, seed=7)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = of_tiny_images(name, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    assert same_weights(first, again)
    assert not same_weights(first, of_tiny_images(name, seed=8))


def test_images_are_normalised_inside():
    network = models.build("resnet8", CLASSES, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0)).eval()
    images = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.25, 2.0])
    by_hand = (images - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(network(images), network.net(by_hand))


def test_what_is_not_given_is_the_architectures_own():
    network = models.build("efficientnet_lite2", CLASSES)
    assert (network.input_size, network.mean, network.std) == (260, (0.498,) * 3, (0.502,) * 3)
    assert models.build("resnet8", CLASSES).mean == (0.485, 0.456, 0.406)


def test_an_unknown_name_is_answered_with_the_nearest_and_with_the_way_to_ones_own():
    with pytest.raises(KDError, match=r"'resnet21'. Did you mean 'resnet32'.*package\.module:function"):
        models.build("resnet21", CLASSES)
    with pytest.raises(KDError, match="Unknown network"):
        models.require("resnet21")
    with pytest.raises(KDError, match="Unknown network"):
        models.parameters("resnet21")
    models.require("resnet20")


def test_an_input_size_out_of_range_is_refused():
    with pytest.raises(KDError, match="input_size is 0; allowed is a number from 8 to 1024"):
        models.build("resnet8", CLASSES, input_size=0)


def test_the_description_is_plain_data_in_display_order():
    described = {each["name"]: each for each in models.describe()}
    assert list(described) == list(MODELS)
    assert described["resnet8x4"] == {
        "name": "resnet8x4", "title": "ResNet-8 x4", "family": "CIFAR ResNet", "task": "classification",
        "input_size": 32,
        "stages": [
            {"name": "stage1", "channels": 64, "stride": 1},
            {"name": "stage2", "channels": 128, "stride": 2},
            {"name": "stage3", "channels": 256, "stride": 4},
        ],
        "pretrained": None, "download_mb": None,
    }
    assert (described["efficientnet_lite0"]["pretrained"], described["efficientnet_lite0"]["download_mb"]) == (
        "packaged", None)
    assert (described["vgg16_bn_imagenet"]["pretrained"], described["vgg16_bn_imagenet"]["download_mb"]) == (
        "download", 553.51)
    assert {name: (each["pretrained"], each["download_mb"]) for name, each in described.items()
            if each["task"] == "segmentation"} == {
        "fpn_tiny": (None, None), "fpn_compact": (None, None), "fpn_large": (None, None),
        "fpn_efficientnet_lite2": ("packaged", None), "fcn_resnet50": ("download", 141.57),
        "deeplabv3_resnet50": ("download", 168.31), "deeplabv3_mobilenet_v3_large": ("download", 44.36),
        "lraspp_mobilenet_v3_large": ("download", 13.10),
    }


def test_an_imagenet_network_keeps_the_logits_of_the_classes_asked_for():
    every = models.pretrained("efficientnet_lite0").eval()
    few = models.pretrained("efficientnet_lite0", ["golf ball", "tench"], 96).eval()
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():  # ImageNet class numbers: golf ball 574, tench 0
        torch.testing.assert_close(few(images), every(images)[:, [574, 0]])
    assert (few.classes, few.input_size) == (("golf ball", "tench"), 96)
    with pytest.raises(KDError, match="'sevens' is none of the 1000 ImageNet classes"):
        models.pretrained("efficientnet_lite0", ["tench", "sevens"])


@pytest.mark.parametrize("training", [True, False])
def test_check_leaves_the_mode(training):
    network = of_tiny_images("resnet8").train(training)
    models.check(network)
    assert all(each.training == training for each in network.modules())


def check_of(network, **changed):
    for key, value in changed.items():
        setattr(network, key, value)
    models.check(network)


def test_check_says_what_was_promised_and_what_came_out():
    stages = models.build("resnet8", CLASSES).stages

    def with_stage(**changed):
        fields = {"name": "stage1", "path": "net.layer1", "channels": 16, "stride": 1} | changed
        return (type(stages[0])(**fields), *stages[1:])

    for changed, sentence in (
        ({"classes": CLASSES[:3]}, r"logits \[2, 10\]; must be \[2, 3\]"),
        ({"stages": with_stage(channels=17)}, r"stage1 gives \[2, 16, 32, 32\]; declared is \[2, 17, 32, 32\]"),
        ({"stages": with_stage(stride=2)}, r"stage1 gives \[2, 16, 32, 32\]; declared is \[2, 16, 16, 16\]"),
        ({"stages": with_stage(path="net.layer9")}, "stage1 names a layer that is not there"),
        ({"stages": with_stage(path="net")}, r"stage1 gives \[2, 10\]"),
    ):
        with pytest.raises(KDError, match=sentence):
            check_of(models.build("resnet8", CLASSES), **changed)

    spoilt = models.build("resnet8", CLASSES)
    with torch.no_grad():
        spoilt.net.fc.bias[0] = float("nan")
    with pytest.raises(KDError, match="not finite"):
        models.check(spoilt)


def test_check_leaves_mode_and_statistics_alone():
    network = models.build("resnet8", CLASSES)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    models.check(network)
    models.check(network.eval())
    assert not network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
