"""Heat maps against the papers' formulas written out by hand, and the promise to leave a network as it was."""

import gc
import json
import math
import sys
import threading
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest
from torch import nn

import kdengine
from kdengine.data.dataset import DataSet
from kdengine.errors import KDError
from kdengine.explain.comparison import compare_maps, on_object, on_objects, overlay
from kdengine.explain.heat_maps import HEAT_MAPS, _lock, default_stage, heat_map
from kdengine.models.network import Network
from kdengine.signals import Stage
from kdengine.views import Split

CLASSES = ("cat", "dog", "fox", "hen")
WITH_TARGET = [name for name, kind in HEAT_MAPS.items() if kind.uses_target]


def network_of(net, stages, classes=CLASSES, size=16, **options):
    """A network that does not normalise."""
    return Network(net, architecture="hand-made", classes=classes, stages=stages, input_size=size,
                   mean=(0, 0, 0), std=(1, 1, 1), **options)


def small_network(seed=0):
    """Three convolutions with batch norm, two strides, dropout: 16x16 images give maps 16x16, 8x8 and 4x4."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(8, 10, 3, stride=2, padding=1), nn.Tanh()),
        nn.Sequential(nn.Dropout(0.5), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(40, 12), nn.ReLU(),
                      nn.Linear(12, len(CLASSES))),
    )
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    stages = [Stage(f"stage {i + 1}", f"net.{i}", (6, 8, 10)[i], (1, 2, 4)[i]) for i in range(3)]
    return network_of(net, stages).eval()


def linear_network(weight):
    """Colour planes, averaged over the image, times `weight` [classes, 3]: the simplest network with a stage."""
    colors = nn.Conv2d(3, 3, 1, bias=False)
    head = nn.Linear(3, len(weight), bias=False)
    with torch.no_grad():
        colors.weight.copy_(torch.eye(3)[:, :, None, None])
        head.weight.copy_(torch.tensor(weight))
    net = nn.Sequential(colors, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    return network_of(net, [Stage("colours", "net.0", 3, 1)], CLASSES[: len(weight)], size=4)


def pictures(count=3, size=16, seed=1):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def by_hand(network, image, target, depth):
    """One image's activations at a stage and the gradient of the target's logit: no hook, the net cut in two."""
    with torch.no_grad():
        activations = network.net[: depth + 1](image[None])
    # A second copy, for the head's in-place layers; the gradient is taken at the cut.
    cut = activations.clone().requires_grad_()
    network.net[depth + 1 :](cut * 1)[0, target].backward()
    return activations[0].double(), cut.grad[0].double()


def grad_cam(activations, gradients):
    """Equations 1 and 2 of arXiv 1610.02391, one channel after the other."""
    channels, height, width = activations.shape
    total = torch.zeros(height, width, dtype=torch.double)
    for k in range(channels):
        total += gradients[k].sum() / (height * width) * activations[k]
    return total


def hires_cam(activations, gradients):
    return sum(g * a for g, a in zip(gradients, activations, strict=True))


def layer_cam(activations, gradients):
    return sum(g.clamp(min=0) * a for g, a in zip(gradients, activations, strict=True))


def xgrad_cam(activations, gradients):
    """Equation 8 of arXiv 2008.02312; a channel that is silent everywhere adds nothing."""
    pairs = zip(gradients, activations, strict=True)
    return sum((g * a).sum() / a.sum() * a for g, a in pairs if a.any())


def grad_cam_plus_plus(activations, gradients):
    """Equations 5 and 19 of arXiv 1710.11063, as printed."""
    total = 0
    for a, g in zip(activations, gradients, strict=True):
        alpha = torch.where(g != 0, g**2 / (2 * g**2 + a.sum() * g**3), 0)
        total += (alpha * g.clamp(min=0)).sum() * a
    return total


def eigen_cam(activations, _gradients):
    """Power iteration for the first component of the centred channels; the larger excursion is positive."""
    points = activations.flatten(1).T
    points = points - points.mean(dim=0)
    direction = torch.ones(points.shape[1], dtype=torch.double)
    for _ in range(20_000):
        direction = points.T @ (points @ direction)
        direction /= direction.norm()
    pattern = (points @ direction).view(activations.shape[1:])
    return -pattern if -pattern.min() > pattern.max() else pattern


SLOW = {"gradcam": grad_cam, "gradcam++": grad_cam_plus_plus, "hirescam": hires_cam, "layercam": layer_cam,
        "xgradcam": xgrad_cam, "eigencam": eigen_cam}


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("method", SLOW)
def test_a_map_is_the_papers_formula_scaled_by_its_maximum(method, depth):
    network, images, targets = small_network(), pictures(), [2, 0, 3]
    maps = heat_map(network, images, targets, method=method, stage=f"stage {depth + 1}")
    assert maps.dtype == torch.float32 and maps.shape == (3, *[(16, 8, 4)[depth]] * 2)
    for image, target, given_map in zip(images, targets, maps, strict=True):
        expected = SLOW[method](*by_hand(network, image, target, depth)).clamp(min=0)
        expected /= expected.max().clamp(min=1e-30)  # one of them is zero everywhere
        torch.testing.assert_close(given_map.double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", WITH_TARGET)
def test_a_network_that_counts_red_looks_at_red(method):
    """Mean red is the first logit, so its map is the red plane over its maximum: the least red cell is not 0."""
    network = linear_network([[1.0, 0, 0], [0, 0, 1.0]])
    image = torch.zeros(1, 3, 4, 4)
    image[0, 0] = torch.linspace(0.2, 0.8, 16).view(4, 4)
    image[0, 2, :2] = 0.5
    torch.testing.assert_close(heat_map(network, image, [0], method=method)[0], image[0, 0] / 0.8)
    torch.testing.assert_close(heat_map(network, image, [1], method=method)[0], image[0, 2] / 0.5)


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam"])
def test_what_speaks_against_the_class_is_cut_off(method):
    """Logit = red - blue. Where blue wins the sum is negative; LayerCAM drops the blue channel altogether."""
    network = linear_network([[1.0, 0, -1.0]])
    image = torch.zeros(1, 3, 4, 4)
    image[0, 0] = 0.4
    image[0, 2, :, :2] = 0.6
    image[0, 2, :, 2:] = 0.1
    expected = torch.ones(4, 4)
    if method != "layercam":
        expected[:, :2] = 0
    torch.testing.assert_close(heat_map(network, image, [0], method=method)[0], expected)


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam", "xgradcam"])
def test_a_map_without_a_positive_value_is_all_zero(method):
    network = linear_network([[-1.0, -1.0, -1.0]])
    assert torch.equal(heat_map(network, pictures(2, 4), [0, 0], method=method), torch.zeros(2, 4, 4))


def test_a_constant_map_has_no_strongest_pattern():
    image = torch.full((1, 3, 4, 4), 0.1)
    image[0, 1] = 0.7
    assert torch.equal(heat_map(linear_network([[1.0, 1, 1]]), image, [0], method="eigencam"), torch.zeros(1, 4, 4))


@pytest.mark.parametrize("factor", [1e-9, 1e6])
@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam", "xgradcam"])
def test_the_size_of_the_gradient_does_not_change_the_map(method, factor):
    network, images = small_network(), pictures()
    before = heat_map(network, images, [0, 1, 2], method=method)
    with torch.no_grad():
        network.net[-1][-1].weight.mul_(factor)
    torch.testing.assert_close(heat_map(network, images, [0, 1, 2], method=method), before, atol=1e-5, rtol=0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(list(HEAT_MAPS)), stage=st.sampled_from([1, 2, 3]))
def test_every_map_is_in_range_and_peaks_at_one_or_is_zero(seed, method, stage):
    maps = heat_map(small_network(seed), pictures(2, seed=seed), [seed % 4, 1], method=method, stage=f"stage {stage}")
    assert maps.min() >= 0
    for peak in maps.amax(dim=(1, 2)).tolist():
        assert peak in (0.0, 1.0)


@pytest.mark.parametrize("method", HEAT_MAPS)
def test_a_map_does_not_depend_on_its_batch(method):
    network, images = small_network(), pictures()
    together = heat_map(network, images, [0, 1, 2], method=method)
    for i in range(3):
        alone = heat_map(network, images[i : i + 1], torch.tensor([i]), method=method)
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=0)


def test_eigencam_alone_ignores_the_target():
    network, images = small_network(), pictures()

    def explain(name, target):
        return heat_map(network, images, [target] * 3, method=name, stage="stage 2")

    same = [name for name in HEAT_MAPS if torch.equal(explain(name, 0), explain(name, 1))]
    assert same == ["eigencam"] == [name for name, kind in HEAT_MAPS.items() if not kind.uses_target]


def test_the_registry_is_complete_and_in_display_order():
    assert list(HEAT_MAPS) == ["gradcam", "gradcam++", "hirescam", "layercam", "xgradcam", "eigencam"]
    for name, kind in HEAT_MAPS.items():
        assert kind.name == name
        assert kind.title and kind.summary.endswith(".") and ("arXiv" in kind.source or "doi" in kind.source)


def test_segmentation_explains_the_class_over_all_pixels():
    network = linear_network([[1.0, 0, 0]])
    classify = nn.Conv2d(3, 2, 1, bias=False)
    with torch.no_grad():
        classify.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[:, :, None, None])
    network = network_of(nn.Sequential(network.net[0], classify), [Stage("colours", "net.0", 3, 1)],
                         ("red", "green"), size=4, task="segmentation")
    images = pictures(2, 4)
    maps = heat_map(network, images, [0, 1])
    torch.testing.assert_close(maps[0], images[0, 0] / images[0, 0].max())
    torch.testing.assert_close(maps[1], images[1, 1] / images[1, 1].max())


def segmenting_network(seed=0):
    """Two convolutional stages and a head that answers in cells of four pixels: 16x16 images give logits 4x4."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.Tanh()),
        nn.Conv2d(8, len(CLASSES), 3, padding=1),
    )
    stages = [Stage(f"stage {i + 1}", f"net.{i}", (6, 8)[i], (2, 4)[i]) for i in range(2)]
    return network_of(net, stages, task="segmentation").eval()


def regions(count=3, size=16, seed=2):
    """Ragged regions, a different one for each image."""
    return torch.rand(count, size, size, generator=torch.Generator().manual_seed(seed)) < 0.2


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("method", SLOW)
def test_the_score_of_a_region_is_the_sum_of_the_class_over_its_pixels(method, depth):
    network, images, targets, region = segmenting_network(), pictures(), [2, 0, 3], regions()
    maps = heat_map(network, images, targets, method=method, stage=f"stage {depth + 1}", region=region)
    for image, target, pixels, given_map in zip(images, targets, region, maps, strict=True):
        with torch.no_grad():
            activations = network.net[: depth + 1](image[None])
        cut = activations.clone().requires_grad_()
        logits = F.interpolate(network.net[depth + 1 :](cut * 1), size=(16, 16), mode="bilinear", align_corners=False)
        sum(logits[0, target, y, x] for y, x in pixels.nonzero().tolist()).backward()
        expected = SLOW[method](activations[0].double(), cut.grad[0].double()).clamp(min=0)
        expected /= expected.max().clamp(min=1e-30)
        torch.testing.assert_close(given_map.double(), expected, atol=1e-5, rtol=0)


def test_cell_by_cell_a_network_of_single_pixels_looks_at_the_region_alone():
    """Each pixel's logit is its own red, so outside of the region nothing is looked at."""
    colors = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        colors.weight.copy_(torch.eye(3)[:, :, None, None])
    network = network_of(nn.Sequential(colors, nn.Identity()), [Stage("colours", "net.0", 3, 1)],
                         ("red", "green", "blue"), size=4, task="segmentation")
    image, region = pictures(1, 4), torch.zeros(1, 4, 4, dtype=torch.bool)
    region[0, 1:3, :2] = True
    red = image[0, 0] * region[0]
    torch.testing.assert_close(heat_map(network, image, [0], method="hirescam", region=region)[0], red / red.max())


@pytest.mark.parametrize("method", HEAT_MAPS)
def test_the_region_of_all_pixels_is_no_region(method):
    network, images = segmenting_network(), pictures()
    whole = torch.ones(3, 16, 16, dtype=torch.bool)
    expected = heat_map(network, images, [0, 1, 2], method=method)
    assert torch.equal(heat_map(network, images, [0, 1, 2], method=method, region=whole), expected)
    some = heat_map(network, images, [0, 1, 2], method=method, stage="stage 1", region=regions())
    all_of_it = heat_map(network, images, [0, 1, 2], method=method, stage="stage 1")
    assert torch.equal(some, all_of_it) == (not HEAT_MAPS[method].uses_target)


def test_a_region_made_under_inference_mode_is_taken():
    network, images = segmenting_network(), pictures()
    expected = heat_map(network, images, [0, 1, 2], region=regions())
    with torch.inference_mode():
        assert torch.equal(heat_map(network, images, [0, 1, 2], region=regions()), expected)


# A network is left as it was.


def state_of(network):
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "modes": [module.training for module in network.modules()],
        "hooks": [list(getattr(module, kind)) for module in network.modules() for kind in hooks],
        "flags": [parameter.requires_grad for parameter in network.parameters()],
        "weights": [tensor.clone() for tensor in (*network.parameters(), *network.buffers())],
        "gradients": [None if p.grad is None else (id(p.grad), p.grad.clone()) for p in network.parameters()],
        "gradients on": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def assert_same(before, after):
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def network_in_use():
    """In training but for one frozen block, with gradients on some parameters and a hook of somebody else's."""
    network = small_network().train()
    network.net[1].eval()
    for index, parameter in enumerate(network.parameters()):
        if index % 3 == 0:
            parameter.grad = torch.full_like(parameter, 0.5)
        parameter.requires_grad_(index % 2 == 0)
    network.net[0].register_forward_hook(lambda module, inputs, output: None)
    return network


class Fails(nn.Module):
    def forward(self, _features):
        raise IndexError("planted")


@pytest.mark.parametrize("method", HEAT_MAPS)
@pytest.mark.parametrize("gradients", [True, False])
def test_everything_is_as_before_afterwards(method, gradients):
    network, images = network_in_use(), pictures().requires_grad_()
    with torch.set_grad_enabled(gradients):
        before = state_of(network)
        heat_map(network, images, [0, 1, 2], method=method)
        assert_same(before, state_of(network))
    assert images.grad is None


def test_everything_is_as_before_after_an_error():
    """An IndexError, since that is the one pytorch-grad-cam's own context manager swallows."""
    network = network_in_use()
    network.net[-1].append(Fails())
    before = state_of(network)
    with pytest.raises(IndexError, match="planted"):
        heat_map(network, pictures(), [0, 1, 2])
    assert_same(before, state_of(network))
    assert not _lock(network).locked()


def test_training_mode_does_not_change_a_map():
    """Dropout and batch statistics would."""
    images = pictures()
    expected = heat_map(small_network(), images, [0, 1, 2])
    assert torch.equal(heat_map(small_network().train(), images, [0, 1, 2]), expected)


@pytest.mark.parametrize("method", HEAT_MAPS)
@pytest.mark.parametrize("block", [torch.no_grad, torch.inference_mode])
def test_a_frozen_network_is_explained_with_gradients_off(method, block):
    network = small_network()
    expected = heat_map(network, pictures(), [0, 1, 2], method=method)
    network.requires_grad_(False)
    with block():
        images = pictures()  # under inference mode: a tensor that autograd refuses
        maps = heat_map(network, images, torch.tensor([0, 1, 2]), method=method)
    assert torch.equal(maps, expected)
    assert not maps.requires_grad


def test_a_network_built_under_inference_mode_is_refused():
    with torch.inference_mode():
        network = small_network()
    with pytest.raises(KDError, match=r"built or loaded under torch\.inference_mode.*Build it outside"):
        heat_map(network, pictures(), [0, 1, 2])


def test_autocast_around_the_call_does_not_matter():
    network = small_network()
    expected = heat_map(network, pictures(), [0, 1, 2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(heat_map(network, pictures(), [0, 1, 2]), expected)


def test_four_threads_on_one_network_get_what_one_thread_gets(monkeypatch):
    network = small_network().train()
    names = ["gradcam", "hirescam", "layercam", "eigencam"]
    jobs = [(pictures(2, seed=i), [i, (i + 1) % 4], names[i], f"stage {i % 3 + 1}") for i in range(4)]

    def explain(job):
        images, targets, method, stage = job
        return heat_map(network, images, targets, method=method, stage=stage)

    expected = [explain(job) for job in jobs]
    together, wrong = threading.Barrier(4), []

    def repeat(i):
        for _ in range(25):
            together.wait(timeout=60)
            try:
                if not torch.equal(explain(jobs[i]), expected[i]):
                    wrong.append((i, "another map"))
            except Exception as error:
                wrong.append((i, repr(error)))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=repeat, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    assert all(module.training for module in network.modules())


def test_an_explained_network_is_not_kept_alive():
    network = small_network()
    heat_map(network, pictures(), [0, 1, 2])
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


# What is refused, and with which words.


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([0, 1], "2 targets for 3 images"),
        ([0, 1, 2, 3], "4 targets for 3 images"),
        ([0, 1, 4], "target is 4; allowed is a number from 0 to 3"),
        ([0, -1, 2], "target is -1; allowed is a number from 0 to 3"),
        ([0.0, 1.0, 2.0], "must be class numbers"),
        (torch.zeros(3, 1, dtype=torch.long), "must be class numbers"),
    ],
)
@pytest.mark.parametrize("method", ["gradcam", "eigencam"])
def test_targets_must_be_one_class_of_the_network_an_image(targets, message, method):
    with pytest.raises(KDError, match=message):
        heat_map(small_network(), pictures(), targets, method=method)


@pytest.mark.parametrize("images", [torch.zeros(3, 16, 16), torch.zeros(1, 1, 16, 16),
                                    torch.zeros(1, 3, 16, 16, dtype=torch.uint8)])
def test_images_must_be_a_float_batch(images):
    with pytest.raises(KDError, match=r"must be float \[B, 3, H, W\]"):
        heat_map(small_network(), images, [0])


@pytest.mark.parametrize(("region", "message"), [
    (torch.ones(3, 4, 4, dtype=torch.bool), r"region is \[3, 4, 4\] of torch.bool; must be bool \[3, 16, 16\]"),
    (torch.ones(2, 16, 16, dtype=torch.bool), r"must be bool \[3, 16, 16\]"),
    (torch.ones(3, 16, 16), r"of torch.float32; must be bool"),
    (torch.arange(3)[:, None, None].expand(3, 16, 16) != 1, "The region of image 1 holds no pixel"),
])
@pytest.mark.parametrize("method", ["gradcam", "eigencam"])
def test_a_region_must_hold_pixels_of_every_image(region, message, method):
    with pytest.raises(KDError, match=message):
        heat_map(segmenting_network(), pictures(), [0, 1, 2], method=method, region=region)


def test_a_network_that_classifies_has_no_regions():
    with pytest.raises(KDError, match="only a network that segments"):
        heat_map(small_network(), pictures(), [0, 1, 2], region=torch.ones(3, 16, 16, dtype=torch.bool))


def test_unknown_names_are_named():
    with pytest.raises(KDError, match=r"Unknown heat map 'gradcm'\. Did you mean 'gradcam'"):
        heat_map(small_network(), pictures(1), [0], method="gradcm")
    with pytest.raises(KDError, match=r"Unknown stage 'stage 9'.*stage 1, stage 2, stage 3"):
        heat_map(small_network(), pictures(1), [0], stage="stage 9")


@pytest.mark.parametrize("method", HEAT_MAPS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(method, value):
    network = small_network()
    with torch.no_grad():
        network.net[2][0].weight[0, 0] = value
    with pytest.raises(KDError, match="not finite"):
        heat_map(network, pictures(1).add(0.1), [0], method=method, stage="stage 1" if method != "eigencam" else None)


# The stage, the comparison, the picture.


@pytest.mark.parametrize(("size", "name"), [(None, "stage 3"), (16, "stage 3"), (13, "stage 3"), (12, "stage 2"),
                                            (8, "stage 2"), (6, "stage 1"), (2, "stage 1"), (224, "stage 3")])
def test_the_default_stage_is_the_deepest_with_four_cells_a_side(size, name):
    assert default_stage(small_network(), size).name == name


@pytest.mark.parametrize(("height", "width", "shape"), [(16, 16, (4, 4)), (8, 8, (4, 4)), (16, 12, (8, 6))])
def test_a_map_comes_from_the_default_stage_for_these_images(height, width, shape):
    images = torch.rand(1, 3, height, width)
    assert heat_map(small_network(), images, [0]).shape == (1, *shape)


def test_a_map_agrees_with_itself():
    heat = torch.rand(5, 5, generator=torch.Generator().manual_seed(2))
    assert compare_maps(heat, heat) == pytest.approx({"correlation": 1, "cosine": 1, "overlap": 1})


def test_disjoint_maps_share_nothing():
    first = torch.zeros(5, 5)
    first[0] = torch.linspace(0.6, 1, 5)
    assert compare_maps(first, first.flip(0))["overlap"] == 0
    assert compare_maps(first, first.flip(0))["cosine"] == 0


def test_maps_of_different_sizes_meet_at_the_smaller():
    """A cell of the smaller map is held against the mean of the four that it covers."""
    small = torch.tensor([[0.1, 0.9], [0.4, 0.2]])
    large = torch.tensor([[0.0, 0.2, 1.0, 0.8], [0.1, 0.1, 0.9, 0.9], [0.4, 0.4, 0.4, 0.0], [0.4, 0.4, 0.0, 0.4]])
    for pair in ((small, large), (large, small)):
        assert compare_maps(*pair) == pytest.approx({"correlation": 1, "cosine": 1, "overlap": 1})
    other = large.flip(0)  # its means are those of `small`, the lower row first
    cosine = (2 * 0.1 * 0.4 + 2 * 0.9 * 0.2) / (0.1**2 + 0.9**2 + 0.4**2 + 0.2**2)
    assert compare_maps(small, other) == pytest.approx({"correlation": -0.6, "cosine": cosine, "overlap": 0})
    assert compare_maps(torch.rand(8, 2), torch.rand(2, 8)).keys() == {"correlation", "cosine", "overlap"}


def test_only_single_maps_are_compared():
    with pytest.raises(KDError, match=r"teacher's heat map is \[1, 4, 4\]; must be one map"):
        compare_maps(torch.rand(4, 4), torch.rand(1, 4, 4))


def picture(mode="RGB"):
    values = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_opacity_zero_is_the_picture(mode):
    original = picture(mode)
    result = overlay(original, torch.rand(3, 3), 0)
    assert result.mode == "RGB" and result.size == (10, 6)
    assert result.tobytes() == original.convert("RGB").tobytes()


def test_opacity_one_is_the_colour_map():
    """The ends and the middle of viridis: #440154, #21918c and #fde725 (Smith and van der Walt 2015)."""
    heat = torch.zeros(6, 10)
    heat[:, 4:6], heat[:, 6:] = 0.5, 1
    result = np.asarray(overlay(picture(), heat, 1.0)).astype(int)
    for columns, color in ((slice(4), (0x44, 0x01, 0x54)), (slice(4, 6), (0x21, 0x91, 0x8C)),
                           (slice(6, 10), (0xFD, 0xE7, 0x25))):
        assert np.abs(result[:, columns] - color).max() <= 1  # hexadecimal codes round, the table may not


def test_a_heat_map_is_enlarged_upright_and_blended():
    """Hot above, cold below; wide pictures are not transposed; half of each at opacity 0.5."""
    black = Image.new("RGB", (10, 6))
    heat = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    result = np.asarray(overlay(black, heat, 0.5)).astype(int)
    assert np.abs(result[0] - np.array([0xFD, 0xE7, 0x25]) / 2).max() <= 1
    assert np.abs(result[-1] - np.array([0x44, 0x01, 0x54]) / 2).max() <= 1


@pytest.mark.parametrize(("heat", "opacity", "message"), [
    (torch.zeros(1, 3, 3), 0.5, "must be one map"),
    (torch.full((3, 3), 1.5), 0.5, "from 0 to 1"),
    (torch.full((3, 3), float("nan")), 0.5, "from 0 to 1"),
    (torch.zeros(3, 3), 1.5, "opacity is 1.5; allowed is a number from 0 to 1"),
    (torch.zeros(3, 3), -0.1, "opacity is -0.1"),
])
def test_an_overlay_refuses_what_it_cannot_draw(heat, opacity, message):
    with pytest.raises(KDError, match=message):
        overlay(picture(), heat, opacity)


def slow_on_object(heat, box, size):
    """Share of the enlarged map inside a box, and whether its hottest pixel is, pixel by pixel."""
    large = F.interpolate(heat[None, None], size=(size, size), mode="bilinear", align_corners=False)[0, 0].tolist()
    left, top, right, bottom = box
    inside = sum(large[y][x] for y in range(top, bottom) for x in range(left, right))
    peak = max((large[y][x], -y, -x) for y in range(size) for x in range(size))
    return inside / sum(map(sum, large)), top <= -peak[1] < bottom and left <= -peak[2] < right


def test_heat_on_the_object_is_the_share_in_the_box_and_the_place_of_the_peak():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(6, 4, 4, generator=generator)
    boxes = torch.tensor([[0, 0, 16, 16], [3, 2, 9, 14], [0, 0, 1, 1], [8, 0, 16, 8], [5, 5, 6, 7], [0, 8, 16, 16]])
    slow = [[slow_on_object(heat, box, 16) for box in boxes.tolist()] for heat in maps]
    found = on_object(maps, boxes, 16)
    for place, name in enumerate(("inside", "pointing")):
        for image in range(6):
            own = slow[image][image][place]
            others = [slow[image][other][place] for other in range(6) if other != image]
            assert found[name][image].item() == pytest.approx(float(own), abs=1e-6)
            assert found[f"{name}_elsewhere"][image].item() == pytest.approx(sum(others) / 5, abs=1e-6)
    assert found["area"].tolist() == pytest.approx([each / 256 for each in (256, 72, 1, 64, 2, 128)])


def test_a_map_that_follows_its_object_is_told_from_one_that_lies_where_objects_are():
    maps = torch.zeros(3, 8, 8)
    maps[0, 2, 2] = maps[1, 5, 5] = 1  # the third stays empty: on no object, its own least of all
    boxes = torch.tensor([[0, 0, 4, 4], [4, 4, 8, 8], [0, 0, 8, 8]])
    found = {name: values.tolist() for name, values in on_object(maps, boxes, 8).items()}
    assert found == {"inside": [1, 1, 0], "inside_elsewhere": [0.5, 0.5, 0], "pointing": [1, 1, 0],
                     "pointing_elsewhere": [0.5, 0.5, 0], "area": [0.25, 0.25, 1]}


def test_a_map_that_prefers_nothing_gets_the_area_and_an_empty_one_nothing():
    boxes = torch.tensor([[2, 2, 6, 8], [0, 0, 8, 2]])
    flat = on_object(torch.ones(2, 4, 4), boxes, 8)
    assert flat["inside"].tolist() == pytest.approx([24 / 64, 16 / 64]) == flat["area"].tolist()
    assert flat["inside_elsewhere"].tolist() == pytest.approx([16 / 64, 24 / 64])
    assert flat["pointing"].tolist() == [0, 1]  # the first of equals is the corner
    empty = on_object(torch.zeros(2, 4, 4), boxes, 8)
    assert [empty[name].tolist() for name in ("inside", "pointing", "pointing_elsewhere")] == [[0, 0]] * 3
    with pytest.raises(KDError, match="2 heat maps and 1 boxes"):
        on_object(torch.ones(2, 4, 4), boxes[:1], 8)


def test_one_image_alone_has_no_other_boxes():
    found = on_object(torch.ones(1, 4, 4), torch.tensor([[2, 2, 6, 8]]), 8)
    assert found["inside"].item() == pytest.approx(24 / 64)
    assert found["inside_elsewhere"].isnan().all() and found["pointing_elsewhere"].isnan().all()


def test_many_images_are_mapped_as_each_alone(monkeypatch):
    monkeypatch.setattr("kdengine.explain.heat_maps._AT_ONCE", 2)
    network, images, targets = small_network(), (255 * pictures(5)).to(torch.uint8), torch.tensor([2, 0, 3, 1, 2])
    boxes = torch.tensor([[0, 0, 8, 8], [4, 2, 30, 20], [8, 8, 24, 24], [0, 0, 32, 32], [16, 0, 32, 9]])
    maps = torch.cat([heat_map(network, image[None].float() / 255, [target], method="layercam")
                      for image, target in zip(images, targets.tolist(), strict=True)])
    found = on_objects(network, Split(images, targets), boxes, 32, method="layercam")
    for name, values in on_object(maps, boxes, 32).items():
        torch.testing.assert_close(found[name], values, atol=1e-5, rtol=0)


def red(*pixels):
    """A black image, uint8 [3, 4, 4], but for the red of (row, column, value)."""
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    for row, column, value in pixels:
        image[0, row, column] = value
    return image


def reds(boxes):
    """Five images of 4 x 4 pixels whose class is to be red; the heat of `linear_network` is the red itself."""
    images = torch.stack([red((0, 0, 255)), red((0, 0, 255), (3, 3, 85)), red((0, 0, 85), (3, 3, 255)),
                          red((3, 3, 255)), red((1, 2, 255))])
    split = Split(images, torch.zeros(5, dtype=torch.long))
    return DataSet("reds", "Reds", "classification", CLASSES[:2], split, split, split, "flip", "0" * 16, boxes=boxes)


def test_the_face_tells_the_first_test_images_with_intervals_over_them():
    network = linear_network([[1.0, 0, 0], [0, 0, 1.0]])
    corner, opposite = [0, 0, 2, 2], [2, 2, 4, 4]
    data = reds(torch.tensor([corner, corner, corner, opposite, corner]))
    found = kdengine.explain.heat_on_objects(network, data, "gradcam", 4)
    assert json.loads(json.dumps(found)) == found
    assert (found["n"], found["area"], found["hits"]) == (4, 0.25, [True, True, False, True])
    # Shares 1, 3/4, 1/4 and 1: mean 3/4, variance 1/8; t(0.975) with 3 degrees of freedom is 3.182446 (any table).
    low = 0.75 - 3.182446 * math.sqrt(1 / 8 / 4)
    assert found["inside"] == pytest.approx({"mean": 0.75, "low": low, "high": 1, "elsewhere": 5 / 12}, abs=1e-6)
    wilson = binomtest(3, 4).proportion_ci(method="wilson")
    assert found["pointing"] == pytest.approx(
        {"mean": 0.75, "low": wilson.low, "high": wilson.high, "elsewhere": 5 / 12}, abs=1e-6)


def test_the_face_tells_nothing_where_nobody_knows_where_the_objects_lie():
    assert kdengine.explain.heat_on_objects(linear_network([[1.0, 0, 0]]), reds(None), "gradcam", 4) is None
    assert kdengine.explain.heat_on_object([[1.0]], reds(None), 0) is None


def test_the_face_tells_one_image_as_it_tells_many():
    boxes = torch.tensor([[0, 0, 2, 2]] * 5)
    heat = (red((0, 0, 85), (3, 3, 255))[0] / 255).tolist()
    assert kdengine.explain.heat_on_object(heat, reds(boxes), 2) == pytest.approx(
        {"inside": 0.25, "pointing": 0, "area": 0.25})


@pytest.mark.parametrize("stage", [None, "stage1"])
def test_a_network_without_feature_maps_has_no_heat_map_and_says_so(stage):
    network = Network(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)), architecture="own_networks:mlp",
                      classes=CLASSES, stages=(), input_size=8)
    with pytest.raises(KDError, match=r"own_networks:mlp has no feature maps .* to draw a heat map from"):
        heat_map(network, torch.rand(1, 3, 8, 8), [0], stage=stage)
    with pytest.raises(KDError, match="own_networks:mlp has no feature maps"):
        default_stage(network)
    with pytest.raises(KDError, match="own_networks:mlp has no feature maps"):
        kdengine.explain.heat_map(network, Image.new("RGB", (8, 8)), 0)
