"""The checks of heat maps: weights drawn anew from the top down, and pixels hidden or shown in the order of heat."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kdengine import data, models
from kdengine.explain import fidelity, map_checks
from kdengine.explain.map_checks import STEPS, check_maps, curve_areas, from_the_top
from kdengine.models.network import Network
from kdengine.runs import references
from kdengine.signals import Stage

STAGES = {"resnet8": ("head", "stage3", "stage2", "stage1"),
          "vgg8_bn": ("head", "stage5", "stage4", "stage3", "stage2", "stage1")}
FIRST = {"resnet8": {"head": "fc", "stage3": "layer3", "stage2": "layer2", "stage1": "layer1"},
         "vgg8_bn": {"head": "classifier.", "stage5": "features.16", "stage4": "features.12", "stage3": "features.8",
                     "stage2": "features.4", "stage1": "features.0"}}
"""What the first module of each stage with weights is called; of resnet8's first stage, conv1 comes before it."""


@pytest.mark.parametrize("architecture", STAGES)
def test_weights_are_drawn_anew_from_the_head_to_the_first_layer(architecture):
    trained = models.build(architecture, "abc", seed=3, input_size=32).eval()
    before = {name: value.clone() for name, value in trained.net.state_dict().items()}
    fresh = fidelity.untrained(trained).net.state_dict()
    parts = []
    names = list(before)
    for part, drawn in from_the_top(trained):
        parts.append(part)
        start = next(place for place, name in enumerate(names) if name.startswith(FIRST[architecture][part]))
        if part == "stage1":
            start = 0
        state = drawn.net.state_dict()
        for place, name in enumerate(names):
            assert torch.equal(state[name], (fresh if place >= start else before)[name]), (part, name)
    assert tuple(parts) == STAGES[architecture]
    for name, value in trained.net.state_dict().items():
        assert torch.equal(value, before[name])


def pixel_network(size=8):
    """The probability of the first class is sigmoid(10 x the red of the upper left pixel - 5)."""
    class Corner(nn.Module):
        def __init__(self):
            super().__init__()
            self.stage = nn.Conv2d(3, 3, 1)

        def forward(self, images):
            first = 10 * images[:, 0, 0, 0] - 5
            return torch.stack([first, torch.zeros_like(first)], dim=1)

    return Network(Corner(), architecture="corner", classes=("a", "b"), stages=[Stage("stage", "net.stage", 3, 1)],
                   input_size=size, mean=(0, 0, 0), std=(1, 1, 1)).eval()


@pytest.mark.parametrize("place", [0, 20, 63])
def test_an_answer_of_one_pixel_falls_when_that_is_hidden_and_rises_when_it_is_shown(place):
    """Before it p is that of the white pixel, after it that of black; the step between them counts half of each."""
    images = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    heat = torch.zeros(64)
    heat[0] = 0.5
    heat[torch.arange(1, 64)[:place]] = 1  # `place` pixels are hotter than the one that counts
    areas = curve_areas(pixel_network(), images, torch.tensor([0]), heat.view(1, 8, 8))
    white, black = 1 / (1 + math.exp(-5)), 1 / (1 + math.exp(5))
    step = place // (64 // STEPS)  # in which of the steps it goes
    first, rest = step + 0.5, STEPS - step - 0.5
    assert areas["deletion"].item() == pytest.approx((first * white + rest * black) / STEPS)
    assert areas["insertion"].item() == pytest.approx((first * black + rest * white) / STEPS)


def slow_areas(network, image, target, heat):
    """Pixel by pixel, one image at a time."""
    size = image.shape[-1]
    enlarged = nn.functional.interpolate(heat[None, None], size=(size, size), mode="bilinear")[0, 0]
    places = sorted(range(size * size), key=lambda place: -enlarged[place // size, place % size].item())
    whole, hidden = image.float() / 255, torch.tensor(network.mean)
    areas = {}
    for name in ("deletion", "insertion"):
        curve = []
        for step in range(STEPS + 1):
            seen = whole.clone() if name == "deletion" else hidden[:, None, None].expand(3, size, size).clone()
            for place in places[: round(step / STEPS * size * size)]:
                row, column = divmod(place, size)
                seen[:, row, column] = hidden if name == "deletion" else whole[:, row, column]
            with torch.no_grad():
                curve.append(network(seen[None]).double().softmax(dim=1)[0, target].item())
        areas[name] = sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / STEPS
    return areas


def test_areas_are_those_of_pixels_hidden_one_by_one():
    network = references.open_reference("digits-resnet8-kd")
    images = data.load("digits").test.images[:3]
    heat = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1))
    areas = curve_areas(network, images, torch.tensor([0, 5, 7]), heat)
    for place, target in enumerate((0, 5, 7)):
        expected = slow_areas(network, images[place], target, heat[place])
        assert {name: each[place].item() for name, each in areas.items()} == pytest.approx(expected, abs=1e-5)


@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_showing_the_hottest_first_is_hiding_the_coldest_first(seed):
    network = models.build("resnet8", "abc", seed=seed, input_size=16).eval()
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (2, 3, 16, 16), generator=generator, dtype=torch.uint8)
    heat = torch.rand(2, 16, 16, generator=generator)
    forth, back = (curve_areas(network, images, torch.tensor([0, 2]), each) for each in (heat, -heat))
    torch.testing.assert_close(forth["insertion"].flip(0), back["deletion"].flip(0), atol=1e-6, rtol=0)
    torch.testing.assert_close(forth["deletion"], back["insertion"], atol=1e-6, rtol=0)
    for area in forth.values():
        assert ((area >= 0) & (area <= 1)).all()


def test_maps_of_a_trained_network_come_from_its_weights_and_find_what_its_answer_rests_on():
    network = references.open_reference("digits-resnet8-kd")
    images = data.load("digits").test.images[:60]
    checks = check_maps(network, images)
    assert checks.n == 60 and tuple(checks.randomized) == STAGES["resnet8"]
    own = fidelity.answers(network, images)
    heat = fidelity.maps(network, images, own, "gradcam")
    assert checks.randomized["stage1"] == fidelity.alike(
        fidelity.maps(fidelity.untrained(network), images, own, "gradcam"), heat)
    for likeness in checks.randomized.values():
        assert likeness.means["correlation"].high < 0.5  # measured between 0 and 0.2
    assert checks.deletion.change.interval.high < 0 < checks.insertion.change.interval.low
    areas = curve_areas(network, images, own, heat)
    assert checks.deletion.values == areas["deletion"].tolist()
    assert checks.insertion.values == areas["insertion"].tolist()


def test_eigencam_shows_the_head_no_difference():
    """It asks for no class, so a new head leaves its map as it was; a new last stage does not."""
    network = references.open_reference("digits-resnet8-kd")
    checks = check_maps(network, data.load("digits").test.images[:4], method="eigencam")
    assert checks.randomized["head"].values["correlation"] == pytest.approx([1] * 4)
    assert max(checks.randomized["stage3"].values["correlation"]) < 0.9


def test_shuffled_maps_hold_the_same_values_elsewhere():
    heat = torch.arange(32.0).view(2, 4, 4)
    shuffled = map_checks._shuffled(heat)
    assert [sorted(each) for each in shuffled.flatten(1).tolist()] == heat.flatten(1).tolist()
    assert not torch.equal(shuffled, heat)
    assert not torch.equal(shuffled[0], shuffled[1] - 16)  # each map in an order of its own
