"""Folding: what is merged computes what it did, stage by stage; what does not belong together stays apart."""

import pytest
import torch
from torch import nn

from kdengine import models
from kdengine.models import MODELS
from kdengine.models.architecture import numbered
from kdengine.models.folding import folded
from kdengine.models.network import Network
from kdengine.signals import Wanted, observing
from tests.kdengine import tiny

CLASSES = tuple("abc")


def used(network, seed=0):
    """The network as training might leave it: statistics and affine parameters that are not 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            count = module.num_features
            for held, low, high in ((module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 2),
                                    (module.weight, 0.5, 1.5), (module.bias, -0.2, 0.2)):
                held.data = low + (high - low) * torch.rand(count, generator=generator)
    return network.eval()


def normalizations(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def noise(network):
    return torch.rand(2, 3, network.input_size, network.input_size, generator=torch.Generator().manual_seed(0))


def seen(network):
    names = tuple(stage.name for stage in network.stages)
    wanted = Wanted(features=names, preactivations=names)
    with torch.no_grad(), observing(network, network.stages, wanted) as look:
        signals = look(noise(network))
    return [signals.logits, *signals.features.values(), *signals.preactivations.values()]


def test_a_merged_convolution_is_the_formula():
    network = used(tiny.network())
    convolution, normalization = network.net[0], network.net[1]
    merged = folded(network).net
    scale = normalization.weight / (normalization.running_var + normalization.eps).sqrt()
    torch.testing.assert_close(merged[0].weight, convolution.weight * scale[:, None, None, None])
    torch.testing.assert_close(
        merged[0].bias, (convolution.bias - normalization.running_mean) * scale + normalization.bias)
    assert isinstance(merged[1], nn.Identity)


@pytest.mark.parametrize("name", [
    "resnet8", "resnet20", "resnet20a", "resnet18", "resnet50", "vgg8_bn", "vgg13_bn", "efficientnet_lite0",
    "fpn_tiny", "fpn_efficientnet_lite2",
])
def test_nothing_is_left_to_normalise_and_every_signal_stays(name):
    network = used(models.build(name, CLASSES, input_size=32))
    merged = folded(network)
    assert normalizations(network) > 0
    assert normalizations(merged) == 0
    for plain, after in zip(seen(network), seen(merged), strict=True):
        assert (plain - after).abs().max() <= 1e-4 * plain.abs().max()


def test_weights_are_shown_as_they_were_before_folding():
    network = used(tiny.network())
    wanted = Wanted(weights=("stage1", "stage2"))
    with observing(folded(network), network.stages, wanted, weights_of=network) as look:
        shown = look(noise(network)).weights
    assert shown["stage1"] is network.net[0].weight
    assert shown["stage2"] is network.net[3].weight


def test_normalisation_before_a_convolution_stays():
    network = used(models.build("wrn_16_1", CLASSES))
    merged = folded(network)
    # Of each of the 6 blocks the second follows a convolution that nothing else reads; the last of all follows a sum.
    assert (normalizations(network), normalizations(merged)) == (13, 7)
    for plain, after in zip(seen(network), seen(merged), strict=True):
        assert (plain - after).abs().max() <= 1e-4 * plain.abs().max()


@pytest.mark.parametrize("training", [True, False])
def test_the_network_itself_stays_as_it_was(training):
    network = used(tiny.network()).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert not folded(network).training
    assert network.training is training
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


class Forked(nn.Module):
    """A convolution whose output goes into its normalisation, and past it."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.normalization = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.convolution(x)
        return self.head((self.normalization(x) - 2 * x).mean(dim=(2, 3)))


class Shared(nn.Module):
    """One convolution used twice, each time before a normalisation of its own."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.second(self.convolution(self.first(self.convolution(x)))).mean(dim=(2, 3))


class Choosing(nn.Module):
    """A way through the layers that depends on the image."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.normalization = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.convolution(x)
        if x.mean() > 0:
            x = -x
        return self.head(self.normalization(x).mean(dim=(2, 3)))


@pytest.mark.parametrize(("net", "path"), [
    (Forked, "normalization"), (Shared, "second"), (Choosing, "normalization"),
])
def test_what_cannot_be_folded_stays_to_the_bit(net, path):
    network = used(Network(net(), architecture="own", classes=CLASSES, stages=numbered([(path, 4, 1)]), input_size=8))
    merged = folded(network)
    assert normalizations(merged) == normalizations(network)
    assert torch.equal(network(noise(network)), merged(noise(network)))


def test_every_network_for_32_pixels_can_be_folded():
    for name, each in MODELS.items():
        if each.input_size == 32 and normalizations(network := models.build(name, CLASSES)):
            assert normalizations(folded(network)) < normalizations(network), name


class Chained(nn.Module):
    """A convolution, its normalisation, and a ReLU, the first inside a block of its own."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
        self.normalization = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.relu(self.normalization(self.block(x))).mean(dim=(2, 3)))


@pytest.mark.parametrize(("path", "left"), [("block.0", 1), ("block", 1), ("normalization", 0), ("relu", 0)])
def test_a_stage_shows_the_same_folded_wherever_it_ends(path, left):
    """At a convolution, at a block that ends in one, at a normalisation, behind it."""
    network = used(Network(Chained(), architecture="own", classes=CLASSES, stages=numbered([(path, 4, 1)]),
                           input_size=8))
    merged = folded(network)
    assert normalizations(merged) == left
    for plain, after in zip(seen(network), seen(merged), strict=True):
        torch.testing.assert_close(plain, after, rtol=1e-4, atol=1e-5)


class Place(nn.Module):
    """Called without arguments."""

    __module__ = "torch.nn.place"  # so that it is one step, as torch's own layers are
    def forward(self):
        return torch.full((1,), 0.5)


class Calling(nn.Module):
    """Calls its layers by keyword, or without arguments, and one layer's weights by themselves."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.place = Place()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.normalization = nn.BatchNorm2d(4, track_running_stats=how != "no statistics")
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        if self.how == "without arguments":
            x = x + self.place()
        if self.how == "by keyword":
            x = self.normalization(input=self.convolution(input=x))
        else:
            x = self.normalization(self.convolution(x))
        if self.how == "weights read":
            x = x + self.convolution.weight.mean()
        return self.head(x.mean(dim=(2, 3)))


@pytest.mark.parametrize(("how", "left"), [
    ("by keyword", 1), ("without arguments", 0), ("weights read", 1), ("no statistics", 1)])
def test_however_layers_are_called_the_answers_stay(how, left):
    network = Network(Calling(how), architecture="own", classes=CLASSES, stages=(), input_size=8).eval()
    if how != "no statistics":
        network = used(network)
    merged = folded(network)
    assert normalizations(merged) == left
    torch.testing.assert_close(network(noise(network)), merged(noise(network)), rtol=1e-4, atol=1e-5)
