"""Each family against formulas worked out by hand, slow references, torchvision, and published numbers."""

from itertools import pairwise
from pathlib import Path

import numpy
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.models import get_model, get_model_weights

from kdengine import models
from kdengine.models import MODELS
from kdengine.models.cifar_resnet import Padding
from kdengine.paths import PROJECT

SHARED = PROJECT.parent / "shared" / "data"
WEIGHTS = SHARED / "weights" / "resnet20-12fca82f.th"
PHOTOS = SHARED / "cifar-100-python" / "test.0.webp"


def cifar_resnet_parameters(depth, widths, classes, *, projection):
    """3x3 convolutions have 9 in out weights, a batch normalisation 2 a channel, the linear layer in out + out."""
    blocks = (depth - 2) // 6
    total = 27 * widths[0] + 2 * widths[0]
    for before, width in pairwise(widths):
        total += 9 * before * width + (2 * blocks - 1) * 9 * width * width + 2 * blocks * 2 * width
        if projection and width != before:
            total += before * width + 2 * width
    return total + widths[-1] * classes + classes


def wide_resnet_parameters(depth, factor, classes):
    blocks = (depth - 4) // 6
    widths = (16, 16 * factor, 32 * factor, 64 * factor)
    total = 27 * 16
    for before, width in pairwise(widths):
        total += 9 * before * width + (2 * blocks - 1) * 9 * width * width
        total += 2 * before + (2 * blocks - 1) * 2 * width
        total += before * width if width != before else 0
    return total + 2 * widths[-1] + widths[-1] * classes + classes


@pytest.mark.parametrize("classes", [10, 100])
def test_parameters_of_the_cifar_resnets(classes):
    narrow, wide = (16, 16, 32, 64), (32, 64, 128, 256)
    for depth in (8, 14, 20, 32, 44, 56, 110):
        expected = cifar_resnet_parameters(depth, narrow, classes, projection=True)
        assert models.parameters(f"resnet{depth}", classes) == expected
    for depth in (8, 32):
        expected = cifar_resnet_parameters(depth, wide, classes, projection=True)
        assert models.parameters(f"resnet{depth}x4", classes) == expected
    for depth in (20, 32, 44, 56, 110):
        expected = cifar_resnet_parameters(depth, narrow, classes, projection=False)
        assert models.parameters(f"resnet{depth}a", classes) == expected


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize(("depth", "factor"), [(16, 1), (16, 2), (40, 1), (40, 2)])
def test_parameters_of_the_wide_resnets(depth, factor, classes):
    assert models.parameters(f"wrn_{depth}_{factor}", classes) == wide_resnet_parameters(depth, factor, classes)


@pytest.mark.parametrize(("name", "classes", "millions"), [
    # He et al. 2015, arXiv 1512.03385, table 6 (CIFAR-10, shortcuts without parameters)
    ("resnet20a", 10, 0.27), ("resnet32a", 10, 0.46), ("resnet44a", 10, 0.66), ("resnet56a", 10, 0.85),
    ("resnet110a", 10, 1.7),
    # Tian et al. 2019, arXiv 1910.10699, the sizes given with its networks (CIFAR-100)
    ("resnet20", 100, 0.28), ("resnet56", 100, 0.86), ("resnet8x4", 100, 1.23), ("resnet32x4", 100, 7.43),
    ("wrn_16_2", 100, 0.70), ("wrn_40_2", 100, 2.26),
    # Zagoruyko & Komodakis 2016, arXiv 1605.07146, table 4 (CIFAR-10)
    ("wrn_40_1", 10, 0.6), ("wrn_40_2", 10, 2.2),
])
def test_published_sizes(name, classes, millions):
    digits = len(str(millions).split(".")[1])
    assert models.parameters(name, classes) / 1e6 == pytest.approx(millions, abs=0.51 * 10**-digits)


def norm(x, state, name):
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scaled = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
    return scaled * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def with_uneven_statistics(network):
    """Batch norms that are not the identity, so that leaving one out shows."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in network.net.state_dict().items():
        if ("bn" in name or "downsample.1" in name) and tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network.eval()


def shapes_change(state, block):
    weight = state[f"{block}.conv1.weight"]
    return weight.shape[0] != weight.shape[1]


def by_hand(x, state, head, *, blocks, padded, imagenet_stem=False):
    """The forward of a CIFAR ResNet written out, from its weights alone."""
    if imagenet_stem:
        x = norm(F.conv2d(x, state["conv1.weight"], stride=2, padding=3), state, "bn1").relu()
        x = F.max_pool2d(x, 3, stride=2, padding=1)
    else:
        x = norm(F.conv2d(x, state["conv1.weight"], padding=1), state, "bn1").relu()
    for stage in (1, 2, 3):
        for place in range(blocks):
            block = f"layer{stage}.{place}"
            stride = 2 if stage > 1 and place == 0 else 1
            inner = norm(F.conv2d(x, state[f"{block}.conv1.weight"], stride=stride, padding=1), state, f"{block}.bn1")
            inner = norm(F.conv2d(inner.relu(), state[f"{block}.conv2.weight"], padding=1), state, f"{block}.bn2")
            if shapes_change(state, block) and padded:
                zeros = torch.zeros_like(x[:, : x.shape[1] // 2, ::2, ::2])
                x = torch.cat([zeros, x[:, :, ::2, ::2], zeros], dim=1)
            elif shapes_change(state, block):
                shortcut = F.conv2d(x, state[f"{block}.downsample.0.weight"], stride=stride)
                x = norm(shortcut, state, f"{block}.downsample.1")
            x = (inner + x).relu()
    return F.linear(x.flatten(2).mean(2), state[f"{head}.weight"], state[f"{head}.bias"])


@pytest.mark.parametrize(("name", "head", "blocks", "padded"), [
    ("resnet20", "fc", 3, False), ("resnet8x4", "fc", 1, False), ("resnet20a", "linear", 3, True),
])
def test_a_cifar_resnet_computes_what_the_paper_says(name, head, blocks, padded):
    network = with_uneven_statistics(models.build(name, range(7)).double())
    x = torch.randn(2, 3, 32, 32, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = by_hand(x, network.net.state_dict(), head, blocks=blocks, padded=padded)
        torch.testing.assert_close(network.net(x), expected)


def test_the_imagenet_stem_reduces_four_times_before_the_first_stage():
    network = with_uneven_statistics(models.build("resnet8x4_imagenet", range(7)).double())
    x = torch.randn(2, 3, 64, 64, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = by_hand(x, network.net.state_dict(), "fc", blocks=1, padded=False, imagenet_stem=True)
        torch.testing.assert_close(network.net(x), expected)


def test_a_wide_resnet_computes_what_the_paper_says():
    network = with_uneven_statistics(models.build("wrn_16_2", range(7)).double())
    state = network.net.state_dict()
    x = given = torch.randn(2, 3, 32, 32, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = F.conv2d(x, state["conv1.weight"], padding=1)
        for stage in (1, 2, 3):
            for place in range(2):
                block = f"layer{stage}.{place}"
                stride = 2 if stage > 1 and place == 0 else 1
                activated = norm(x, state, f"{block}.bn1").relu()
                inner = F.conv2d(activated, state[f"{block}.conv1.weight"], stride=stride, padding=1)
                inner = F.conv2d(norm(inner, state, f"{block}.bn2").relu(), state[f"{block}.conv2.weight"], padding=1)
                if place == 0:
                    x = F.conv2d(activated, state[f"{block}.shortcut.weight"], stride=stride)
                x = x + inner
        x = norm(x, state, "bn1").relu().flatten(2).mean(2)
        torch.testing.assert_close(network.net(given), F.linear(x, state["fc.weight"], state["fc.bias"]))


@pytest.mark.parametrize("name", ["resnet32x4", "wrn_40_2", "resnet50", "vgg16_bn"])
def test_convolutions_start_with_the_variance_of_kaiming_fan_out(name):
    network = models.build(name, range(10))
    counted = 0
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 30_000:
            counted += 1
            expected = (2 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.03)
    assert counted >= 8


def test_padding_keeps_every_second_pixel_and_puts_zeros_on_both_sides():
    x = torch.arange(1.0, 33.0).reshape(1, 2, 4, 4)
    padded = Padding(2, 4, 2)(x)
    assert padded[0, :, 0, 0].tolist() == [0, 1, 17, 0]
    assert padded[0, 1].tolist() == [[1, 3], [9, 11]]


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_the_imagenet_stem_is_torchvisions_own_network(depth):
    network = models.build(f"resnet{depth}_imagenet", range(10)).eval()
    reference = get_model(f"resnet{depth}", num_classes=10).eval()
    reference.load_state_dict(network.net.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.net(x), reference(x))


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_the_small_stem_differs_from_torchvisions_in_the_stem_alone(depth):
    network = models.build(f"resnet{depth}", range(10)).eval()
    reference = get_model(f"resnet{depth}", num_classes=10).eval()
    own = {key: value for key, value in network.net.state_dict().items() if key != "conv1.weight"}
    assert reference.load_state_dict(own, strict=False).missing_keys == ["conv1.weight"]
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        y = reference.relu(reference.bn1(F.conv2d(x, network.net.conv1.weight, padding=1)))
        y = reference.layer4(reference.layer3(reference.layer2(reference.layer1(y))))
        torch.testing.assert_close(network.net(x), reference.fc(y.mean((2, 3))))


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_vgg_is_torchvisions_features_with_its_stages_before_the_poolings(depth):
    with torch.device("meta"):
        reference = get_model(f"vgg{depth}_bn", num_classes=10).features
    network = models.build(f"vgg{depth}_bn", range(10)).eval()
    own = network.net.features.state_dict()
    assert {key: value.shape for key, value in own.items()} == {
        key: value.shape for key, value in reference.state_dict().items()}
    reference.load_state_dict(own, assign=True)
    reference.eval()
    poolings = [place for place, layer in enumerate(reference) if isinstance(layer, torch.nn.MaxPool2d)]
    for name in (f"vgg{depth}_bn", f"vgg{depth}_bn_imagenet"):
        assert [stage.path for stage in MODELS[name].stages] == [f"net.features.{place - 1}" for place in poolings]
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network.net.features(x), reference(x))
        flat = reference(x).flatten(1)
        first, _, second, _, last = network.net.classifier
        assert (first.in_features, first.out_features, second.out_features, last.out_features) == (512, 512, 512, 10)
        torch.testing.assert_close(network.net(x), last(second(first(flat).relu()).relu()))


def test_the_slim_vgg_has_one_convolution_a_stage():
    widths = [3, 64, 128, 256, 512, 512]
    convolutions = sum(9 * inputs * outputs + 3 * outputs for inputs, outputs in pairwise(widths))  # bias, batch norm
    assert models.parameters("vgg8_bn", 100) == convolutions + 2 * (512 * 512 + 512) + 512 * 100 + 100


def test_vgg_maps_end_at_two_by_two_on_small_images():
    assert [32 // stage.stride for stage in MODELS["vgg13_bn"].stages] == [32, 16, 8, 4, 2]


@pytest.mark.parametrize("name", [name for name, each in MODELS.items() if each.pretrained
                                  and each.pretrained.kind == "download"])
def test_downloads_are_as_large_and_networks_as_torchvision_says(name):
    meta = get_model_weights(name.removesuffix("_imagenet"))["IMAGENET1K_V1"].meta
    assert models.parameters(name, 1000) == meta["num_params"]
    # torchvision counts in units of 2^20 bytes
    assert MODELS[name].pretrained.megabytes == pytest.approx(meta["_file_size"] * 2**20 / 1e6, abs=0.005)


@pytest.mark.skipif(not (WEIGHTS.is_file() and PHOTOS.is_file()), reason=f"no published weights or images in {SHARED}")
def test_published_option_a_weights_load_and_fit():
    """Their running means are those of natural images: with the zeros on the wrong side they are 0.25 to 0.42 off."""
    held = torch.load(WEIGHTS, map_location="cpu", weights_only=True)["state_dict"]
    network = models.build("resnet20a", range(10)).eval()
    network.net.load_state_dict({key.removeprefix("module."): value for key, value in held.items()})
    offs = []

    def measure(module, inputs, _output):
        means = inputs[0].mean(dim=(0, 2, 3))
        offs.append(((means - module.running_mean).abs() / module.running_var.sqrt()).mean().item())

    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(measure)
    with torch.no_grad():
        network(tiles(PHOTOS, 500))
    assert len(offs) == 19
    assert max(offs) < 0.2


def tiles(path: Path, count: int):
    """The first images of a mosaic of 32x32 tiles, 100 a row."""
    mosaic = torch.from_numpy(numpy.array(Image.open(path).convert("RGB")))
    rows = mosaic.reshape(-1, 32, 100, 32, 3).permute(0, 2, 4, 1, 3)
    return rows.reshape(-1, 3, 32, 32)[:count].float() / 255
