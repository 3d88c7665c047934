"""Networks that answer pixel by pixel: their size, what they compute, and the weights they can start from."""

import urllib.error
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import get_model, get_model_weights

from kdengine import models
from kdengine.errors import KDError
from kdengine.models import MODELS, efficientnet_lite
from kdengine.models.fpn import EverySecond

CLASSES = tuple("abcdefghijk")
SEGMENTING = [name for name, each in MODELS.items() if each.task == "segmentation"]
DOWNLOADED = ["fcn_resnet50", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"]
VERSION = "COCO_WITH_VOC_LABELS_V1"


def some_images(*size):
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", SEGMENTING)
def test_it_keeps_its_word_at_64_pixels(name):
    network = models.build(name, CLASSES, input_size=64)
    models.check(network)
    assert network.task == "segmentation"


@pytest.mark.parametrize("name", SEGMENTING)
@pytest.mark.parametrize("size", [(50, 50), (65, 65), (48, 80)])
def test_logits_have_the_size_of_the_images(name, size):
    with torch.device("meta"):
        network = models.build(name, CLASSES).eval()
        assert network(torch.empty(2, 3, *size)).shape == (2, 11, *size)


# --- this project's own


def fpn_parameters(channels, blocks, width, classes):
    """3x3 convolutions have 9 in out weights, 1x1 ones in out, a batch normalisation 2 a channel; the head a bias."""
    stem = channels[0] // 2
    total = 27 * stem + 2 * stem
    for (before, each), count in zip(pairwise((stem, *channels)), blocks, strict=True):
        total += 9 * before * each + (2 * count - 1) * 9 * each * each + 2 * count * 2 * each
        total += before * each + 2 * each  # the first shortcut halves the map
    return total + sum(channels) * width + 9 * width * width + 2 * width + width * classes + classes


@pytest.mark.parametrize(("name", "channels", "blocks", "width"), [
    ("fpn_tiny", (16, 32, 64), (1, 1, 1), 24), ("fpn_compact", (64, 128, 256), (1, 2, 2), 96),
    ("fpn_large", (96, 192, 384), (2, 2, 3), 128),
])
@pytest.mark.parametrize("classes", [2, 11, 21])
def test_parameters_of_the_pyramids(name, channels, blocks, width, classes):
    assert models.parameters(name, classes) == fpn_parameters(channels, blocks, width, classes)


def test_the_compact_one_has_the_parameters_of_the_usual_laboratory_student():
    assert 2.75e6 < models.parameters("fpn_compact", 11) < 2.85e6


def norm(x, state, name):
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scaled = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
    return scaled * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def basic_block(x, state, name, stride):
    inner = norm(F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1), state, f"{name}.bn1").relu()
    inner = norm(F.conv2d(inner, state[f"{name}.conv2.weight"], padding=1), state, f"{name}.bn2")
    if stride > 1:
        x = norm(F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride), state, f"{name}.downsample.1")
    return (inner + x).relu()


def pyramid(maps, state):
    """1x1 convolutions; from the deepest map up, each cell over the 2x2 below it; a smoothing convolution."""
    *shallow, merged = (F.conv2d(each, state[f"pyramid.laterals.{place}.weight"]) for place, each in enumerate(maps))
    for each in reversed(shallow):
        rows = torch.arange(each.shape[2]) * merged.shape[2] // each.shape[2]
        columns = torch.arange(each.shape[3]) * merged.shape[3] // each.shape[3]
        merged = each + merged[:, :, rows[:, None], columns]
    smoothed = norm(F.conv2d(merged, state["pyramid.smooth.0.weight"], padding=1), state, "pyramid.smooth.1")
    return F.conv2d(smoothed.relu(), state["head.weight"], state["head.bias"])


def by_hand(x, state, blocks):
    """The forward of a pyramid on a residual encoder written out, from its weights alone."""
    x = norm(F.conv2d(x, state["encoder.stem.0.weight"], stride=2, padding=1), state, "encoder.stem.1").relu()
    maps = []
    for stage, count in enumerate(blocks):
        for place in range(count):
            x = basic_block(x, state, f"encoder.stages.{stage}.{place}", stride=1 if place else 2)
        maps.append(x)
    return pyramid(maps, state)


def with_uneven_statistics(network):
    """Batch norms that are not the identity, so that leaving one out shows."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for held in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                held.copy_(torch.rand(held.shape, generator=generator) + 0.5)
    return network.eval()


@pytest.mark.parametrize(("name", "blocks"), [("fpn_tiny", (1, 1, 1)), ("fpn_compact", (1, 2, 2))])
@pytest.mark.parametrize("size", [(64, 64), (50, 72)])
def test_a_pyramid_computes_what_it_says(name, blocks, size):
    network = with_uneven_statistics(models.build(name, CLASSES, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2)).double())
    images = some_images(*size).double()
    normalized = (images - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.5, 0.25, 2])[:, None, None]
    with torch.no_grad():
        cells = by_hand(normalized, network.net.state_dict(), blocks)
        assert cells.shape[2:] == (-(-size[0] // 4), -(-size[1] // 4))
        torch.testing.assert_close(network.net(normalized), cells)
        expected = F.interpolate(cells, size=size, mode="bilinear", align_corners=False)
        torch.testing.assert_close(network(images), expected)


def test_the_packaged_encoder_is_read_at_four_resolutions():
    """The maps that the pyramid gets are those of the whole packaged network after the blocks named as stages."""
    network = models.build("fpn_efficientnet_lite2", CLASSES, start=True).eval()
    whole = efficientnet_lite.network(1000, size=2).eval()
    whole.load_state_dict(efficientnet_lite.packaged(2))
    seen = {}
    for place in (3, 6, 14, 20):
        whole._blocks[place].register_forward_hook(lambda _m, _i, out, place=place: seen.__setitem__(place, out))
    images = some_images(70, 70)
    with torch.no_grad():
        whole(images)
        maps = network.net.encoder(images)
        assert [tuple(each.shape) for each in maps] == [(2, 24, 18, 18), (2, 48, 9, 9), (2, 120, 5, 5), (2, 352, 3, 3)]
        for ours, theirs in zip(maps, seen.values(), strict=True):
            torch.testing.assert_close(ours, theirs)
        cells = pyramid(maps, network.net.state_dict())
        torch.testing.assert_close(network.net(images), cells)


# --- torchvision's


@pytest.mark.parametrize("name", ["fcn_resnet50", "lraspp_mobilenet_v3_large"])
def test_it_is_torchvisions_own_network(name):
    network = models.build(name, CLASSES, input_size=64).eval()
    reference = get_model(name, weights=None, weights_backbone=None, num_classes=11).eval()
    reference.load_state_dict({key.removeprefix("model."): value for key, value in network.net.state_dict().items()})
    images = some_images(64, 64)
    with torch.no_grad():
        assert torch.equal(network.net(images), reference(images)["out"])


@pytest.mark.parametrize("name", DOWNLOADED)
def test_downloads_are_as_large_and_networks_as_torchvision_says(name):
    meta = get_model_weights(name)[VERSION].meta
    with torch.device("meta"):  # the published ones of three have an auxiliary head besides
        heads = {} if name.startswith("lraspp") else {"aux_loss": True}
        whole = get_model(name, weights=None, weights_backbone=None, num_classes=21, **heads)
    auxiliary = sum(each.numel() for key, each in whole.named_parameters() if key.startswith("aux_classifier."))
    assert models.parameters(name, 21) + auxiliary == meta["num_params"]
    # torchvision counts in units of 2^20 bytes
    assert MODELS[name].start.megabytes == pytest.approx(meta["_file_size"] * 2**20 / 1e6, abs=0.005)


# --- published weights to start from


def drawn_alike(network, other, prefix):
    """Whether all weights of that beginning are the same in both; there must be some."""
    first, second = network.net.state_dict(), other.net.state_dict()
    names = [name for name in first if name.startswith(prefix)]
    assert names
    return all(torch.equal(first[name], second[name]) for name in names)


def test_the_packaged_weights_go_into_the_encoder_bit_for_bit_and_the_rest_stays_as_drawn():
    started = models.build("fpn_efficientnet_lite2", CLASSES, seed=3, start=True)
    plain = models.build("fpn_efficientnet_lite2", CLASSES, seed=3)
    packaged = efficientnet_lite.packaged(2)
    own = started.net.state_dict()
    encoder = [name for name in own if name.startswith("encoder.")]
    assert len(encoder) > 200
    for name in encoder:
        assert torch.equal(own[name], packaged[name.removeprefix("encoder.")])
    assert not drawn_alike(started, plain, "encoder.")
    assert drawn_alike(started, plain, "pyramid.")
    assert drawn_alike(started, plain, "head.")
    assert started.training
    assert (started.mean, started.std) == ((0.498,) * 3, (0.502,) * 3)  # what the weights expect


def test_a_classifier_starts_from_all_its_published_weights_but_those_of_the_head():
    started, plain = (models.build("efficientnet_lite0", CLASSES, seed=3, start=start) for start in (True, False))
    packaged = efficientnet_lite.packaged(0)
    for name, value in started.net.state_dict().items():
        if name.startswith("_fc."):
            assert torch.equal(value, plain.net.state_dict()[name])
        else:
            assert torch.equal(value, packaged[name])
    whole = models.build("efficientnet_lite0", range(1000), start=True)  # a head of as many classes fits as well
    assert torch.equal(whole.net.state_dict()["_fc.weight"], packaged["_fc.weight"])


@pytest.mark.parametrize("name", ["fpn_tiny", "fpn_compact", "resnet20", "vgg8_bn", "my_networks:small"])
def test_where_nothing_is_published_there_is_nothing_to_start_from(name):
    with pytest.raises(KDError, match=f"Unknown network with published weights '{name}'.*fpn_efficientnet_lite2"):
        models.build(name, CLASSES, start=True)
    with pytest.raises(KDError, match="Unknown network with published weights"):
        models.require(name, start=True)


@pytest.mark.parametrize("name", ["fpn_efficientnet_lite2", "efficientnet_lite0", "resnet18_imagenet", "fcn_resnet50"])
def test_where_something_is_published_it_may_be_required(name):
    models.require(name, start=True)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Puts weights of a network where torch keeps a download of it, and returns them."""

    def put(name, **heads):
        torch.manual_seed(5)
        theirs = get_model(name, weights=None, weights_backbone=None, num_classes=21, **heads).state_dict()
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        path = tmp_path / "hub" / "checkpoints" / get_model_weights(name)[VERSION].url.rsplit("/", 1)[-1]
        path.parent.mkdir(parents=True)
        torch.save(theirs, path)
        return theirs

    return put


@pytest.mark.parametrize(("name", "heads", "last"), [
    ("lraspp_mobilenet_v3_large", {}, ("model.classifier.low_classifier.", "model.classifier.high_classifier.")),
    ("deeplabv3_mobilenet_v3_large", {"aux_loss": True}, ("model.classifier.4.",)),
])
def test_torchvisions_weights_fit_whole_with_21_classes_and_all_but_the_last_layer_otherwise(
    published, name, heads, last,
):
    theirs = {f"model.{key}": value for key, value in published(name, **heads).items()
              if not key.startswith("aux_classifier.")}
    whole = models.build(name, range(21), start=True).net.state_dict()
    assert whole.keys() == theirs.keys()
    assert all(torch.equal(whole[key], value) for key, value in theirs.items())
    other, plain = (models.build(name, CLASSES, seed=2, start=start).net.state_dict() for start in (True, False))
    for key, value in other.items():
        assert torch.equal(value, plain[key] if key.startswith(last) else theirs[key])


def test_without_a_network_the_download_is_a_sentence(tmp_path, monkeypatch):
    def unreachable(*_arguments, **_options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(KDError, match=r"fcn_resnet50 \(142 MB\).*no route to host.*fpn_efficientnet_lite2 for segm"):
        models.build("fcn_resnet50", CLASSES, start=True)


@pytest.mark.parametrize("size", [7, 8])
def test_every_second_position_is_a_convolution_of_stride_2(size):
    ours = EverySecond(8, 16)
    theirs = torch.nn.Conv2d(8, 16, 1, stride=2, bias=False)
    theirs.load_state_dict(ours.state_dict())
    maps = torch.rand(2, 8, size, size)
    torch.testing.assert_close(ours(maps), theirs(maps))


def test_a_step_on_larger_pictures_ends(size=96):
    network = models.build("fpn_tiny", CLASSES, input_size=size).to(memory_format=torch.channels_last)
    images = torch.rand(16, 3, size, size).contiguous(memory_format=torch.channels_last)
    F.cross_entropy(network(images), torch.zeros(16, size, size, dtype=torch.long)).backward()
    assert all(each.grad.isfinite().all() for each in network.parameters())
