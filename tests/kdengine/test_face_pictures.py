"""The public face on pictures: plain data in, plain data out, with the engine's own values."""

import json
import math

import pytest
import torch
from PIL import Image

import kdengine
from kdengine import data, models
from kdengine.data.dataset import DataSet
from kdengine.views import Split


@pytest.fixture
def network():
    return models.build("resnet8", tuple("0123456789"), input_size=32).eval()


@pytest.fixture
def picture():
    return Image.linear_gradient("L").resize((60, 40)).convert("RGB")


def test_a_heat_map_is_plain_data_and_lies_over_what_the_network_saw(network, picture):
    found = kdengine.heat_map(network, picture, 3)
    plain = {key: value for key, value in found.items() if key != "input"}
    assert json.loads(json.dumps(plain)) == {"heat": found["heat"], "stage": "stage3", "size": [8, 8]}
    assert (len(found["heat"]), len(found["heat"][0])) == (8, 8)
    assert found["input"].tobytes() == data.picture_tensor(picture, 32).permute(1, 2, 0).numpy().tobytes()


def test_every_heat_map_listed_can_be_made_and_the_list_is_plain(network, picture):
    listed = kdengine.list_heat_maps()
    assert json.loads(json.dumps(listed)) == listed
    for each in listed:
        assert kdengine.heat_map(network, picture, 0, method=each["name"])["size"] == (8, 8)


def test_opacity_goes_from_the_picture_to_the_map(picture):
    heat = [[0.0, 1.0]]
    assert kdengine.overlay(picture, heat, 0).tobytes() == picture.tobytes()
    alone = kdengine.overlay(picture, heat, 1)
    assert alone.tobytes() == kdengine.overlay(Image.new("RGB", picture.size), heat, 1).tobytes()


def test_maps_are_compared_as_the_engine_compares_them():
    assert kdengine.compare_heat_maps([[0, 1], [2, 3]], [[0, 1], [2, 3]]) == pytest.approx(
        {"correlation": 1, "cosine": 1, "overlap": 1})
    assert kdengine.compare_heat_maps([[0, 1], [2, 3]], [[3, 2], [1, 0]])["correlation"] == pytest.approx(-1)


def test_kl_is_of_the_teacher_from_the_student():
    student, teacher = {"logits": [0.0, 0.0]}, {"logits": [math.log(3), 0.0]}
    assert kdengine.kl_to_teacher(student, teacher) == pytest.approx(
        0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-9)
    assert kdengine.kl_to_teacher(teacher, student) == pytest.approx(
        0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25), abs=1e-9)


class Brighter(torch.nn.Module):
    """Class 1 where the mean is above a threshold, else class 0."""

    def __init__(self, threshold, input_size):
        super().__init__()
        self.threshold, self.input_size = threshold, input_size

    def forward(self, images):
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([torch.full_like(mean, self.threshold), mean], dim=1)


def test_disagreements_are_where_any_network_differs_at_its_own_input_size():
    levels = torch.tensor([0, 60, 110, 160, 255], dtype=torch.uint8)
    split = Split(levels.view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous(), torch.zeros(5, dtype=torch.long))
    held = DataSet("grey", "Grey", "classification", ("dark", "bright"), split, split, split, "crop", "0" * 16)
    # Thresholds of 255: 51, 128 and 153; so 60 and 110 lie between the first two, and nothing between the others.
    low, middle, high = Brighter(0.2, 8), Brighter(0.5, 16), Brighter(0.6, 8)
    assert kdengine.disagreements(held, [low, middle]) == [1, 2]
    assert kdengine.disagreements(held, [middle, high, low]) == [1, 2]
    assert kdengine.disagreements(held, [middle, high]) == []
