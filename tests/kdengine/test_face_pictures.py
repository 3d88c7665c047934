"""The public face on pictures: plain data in, plain data out, with the engine's own values."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

import kdengine
from kdengine import data, models
from kdengine.data.dataset import DataSet
from kdengine.errors import KDError
from kdengine.explain import heat_maps
from kdengine.losses import IGNORE
from kdengine.runs import checkpoints
from kdengine.runs.records import PREDICTIONS
from kdengine.views import Split
from tests.kdengine import made
from tests.kdengine.recipes import scene
from tests.kdengine.tiny import SIZE, segmenter


@pytest.fixture
def network():
    return models.build("resnet8", tuple("0123456789"), input_size=32).eval()


@pytest.fixture
def picture():
    return Image.linear_gradient("L").resize((60, 40)).convert("RGB")


def test_a_heat_map_is_plain_data_and_lies_over_what_the_network_saw(network, picture):
    found = kdengine.explain.heat_map(network, picture, 3)
    plain = {key: value for key, value in found.items() if key != "input"}
    assert json.loads(json.dumps(plain)) == {"heat": found["heat"], "stage": "stage3", "size": [8, 8]}
    assert (len(found["heat"]), len(found["heat"][0])) == (8, 8)
    assert found["input"].tobytes() == data.picture_tensor(picture, 32).permute(1, 2, 0).numpy().tobytes()


def test_what_a_page_waits_for_takes_one_thread_and_gives_the_others_back(network, picture, wide):
    """A run in training may hold the other cores."""
    seen = []
    wholes = Split(torch.zeros(3, 3, 32, 32, dtype=torch.uint8), torch.zeros(3, dtype=torch.long))
    boxes = torch.tensor([[0, 0, 8, 8]] * 3)
    held = DataSet(name="zeros", title="Zeros", task="classification", classes=network.classes, train=wholes,
                   validation=wholes, test=wholes, views="none", digest="0", boxes=boxes)
    both = (network, segmenter().eval())
    for each in both:
        each.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    torch.set_num_threads(3)
    kdengine.predict(network, picture)
    kdengine.explain.heat_map(network, picture, 3)
    kdengine.measures.disagreements(held, [network])
    kdengine.explain.heat_on_objects(network, held, "gradcam", 3)
    kdengine.segment(both[1], wide)
    assert len(seen) >= 5
    assert set(seen) == {1}
    assert torch.get_num_threads() == 3


def test_every_heat_map_listed_can_be_made_and_the_list_is_plain(network, picture):
    listed = kdengine.explain.list_heat_maps()
    assert json.loads(json.dumps(listed)) == listed
    for each in listed:
        assert kdengine.explain.heat_map(network, picture, 0, method=each["name"])["size"] == (8, 8)


def test_opacity_goes_from_the_picture_to_the_map(picture):
    heat = [[0.0, 1.0]]
    assert kdengine.explain.overlay(picture, heat, 0).tobytes() == picture.tobytes()
    alone = kdengine.explain.overlay(picture, heat, 1)
    assert alone.tobytes() == kdengine.explain.overlay(Image.new("RGB", picture.size), heat, 1).tobytes()


def test_maps_are_compared_as_the_engine_compares_them():
    assert kdengine.explain.compare_heat_maps([[0, 1], [2, 3]], [[0, 1], [2, 3]]) == pytest.approx(
        {"correlation": 1, "cosine": 1, "overlap": 1})
    assert kdengine.explain.compare_heat_maps([[0, 1], [2, 3]], [[3, 2], [1, 0]])["correlation"] == pytest.approx(-1)


def test_kl_is_of_the_teacher_from_the_student():
    student, teacher = {"logits": [0.0, 0.0]}, {"logits": [math.log(3), 0.0]}
    assert kdengine.measures.kl_to_teacher(student, teacher) == pytest.approx(
        0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-9)
    assert kdengine.measures.kl_to_teacher(teacher, student) == pytest.approx(
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
    assert kdengine.measures.disagreements(held, [low, middle]) == [1, 2]
    assert kdengine.measures.disagreements(held, [middle, high, low]) == [1, 2]
    assert kdengine.measures.disagreements(held, [middle, high]) == []


# -- a class for every pixel -----------------------------------------------------------------------------------------


@pytest.fixture
def wide():
    """Blots of any colour, so that its middle is not the whole."""
    blots = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(blots).resize((60, 40), Image.Resampling.NEAREST)


def test_a_mask_is_of_the_whole_picture_stretched_to_the_network(wide):
    network = segmenter().eval()
    with torch.no_grad():
        network.net[-1].bias.copy_(-network(torch.rand(8, 3, SIZE, SIZE)).mean(dim=(0, 2, 3)))  # no class by habit
    mask = kdengine.segment(network, wide)
    stretched = torch.from_numpy(np.array(wide.resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
    with torch.no_grad():
        logits = network(stretched.permute(2, 0, 1)[None].float() / 255)
    assert mask.dtype == np.int16
    assert mask.tolist() == logits[0].argmax(dim=0).tolist()
    assert len(np.unique(mask)) > 1


def test_a_network_that_classifies_has_no_mask(network, picture):
    with pytest.raises(KDError, match="resnet8 names one class a picture, not one a pixel"):
        kdengine.segment(network, picture)


def test_a_region_s_map_lies_over_the_whole_picture(wide):
    network = segmenter().eval()
    region = np.zeros((SIZE, SIZE), dtype=bool)
    region[2:5, 1:7] = True
    found = kdengine.explain.heat_map(network, wide, 1, stage="stage1", region=region)
    stretched = data.picture_tensor(wide.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    expected = heat_maps.heat_map(network, stretched[None].float() / 255, [1], stage="stage1",
                                  region=torch.from_numpy(region)[None])
    assert found["heat"] == expected[0].tolist()
    assert found["heat"] != kdengine.explain.heat_map(network, wide, 1, stage="stage1")["heat"]
    assert found["input"].size == (SIZE, SIZE)
    with pytest.raises(KDError, match="holds no pixel"):
        kdengine.explain.heat_map(network, wide, 1, region=np.zeros((SIZE, SIZE), dtype=bool))


def test_a_masked_example_is_the_test_picture_and_its_mask_and_changing_them_changes_nothing():
    masks = torch.full((2, 4, 4), IGNORE, dtype=torch.int16)
    masks[1, :2] = 1
    split = Split(torch.arange(96, dtype=torch.uint8).view(2, 3, 4, 4), masks)
    held = DataSet("m", "M", "segmentation", ("a", "b"), split, split, split, "none", "0" * 16)
    image, mask = kdengine.data.masked_example(held, 1)
    assert np.array_equal(np.asarray(image), split.images[1].permute(1, 2, 0).numpy())
    assert mask.tolist() == [[1] * 4] * 2 + [[IGNORE] * 4] * 2
    mask[:] = 0
    assert held.test.target[1, 0, 0] == 1


def test_the_scores_of_a_mask_count_classes_of_truth_and_answer_alone():
    truth = np.array([[0, 0, 1, 1], [IGNORE, IGNORE, 1, 1]], dtype=np.int16)
    answer = np.array([[0, 1, 1, 1], [3, 0, 1, 2]], dtype=np.int16)
    # Class 0: 1 of 2; class 1: 3 of 5; class 2: 0 of 1; class 3 was answered only where nothing counts.
    found = kdengine.measures.mask_scores(answer, truth, 4)
    assert found == pytest.approx({"miou": (1 / 2 + 3 / 5 + 0) / 3, "pixel_accuracy": 4 / 6})
    assert kdengine.measures.mask_scores(answer, np.full_like(truth, IGNORE), 4) is None


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Stored confusion matrices of thirty pictures of 100 pixels, by name; digests by name, where they differ."""
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path))

    def store(name, second_class, digest="0" * 16):
        place = tmp_path / "records" / name
        place.mkdir(parents=True)
        made.finished(name, test=made.scores(30, miou=0.5, iou=[0.5, 0.5]), data={"digest": digest}).save(place)
        counts = torch.zeros(30, 2, 2, dtype=torch.int16)
        counts[:, 0, 1] = torch.tensor(second_class)
        counts[:, 0, 0] = 100 - counts[:, 0, 1]
        checkpoints.save_tensors(place / PREDICTIONS, {"confusion": counts})

    return store


def test_masks_disagree_where_stored_answers_differ_most_from_the_first_one_s(stored):
    split = Split(torch.zeros(30, 3, 2, 2, dtype=torch.uint8), torch.zeros(30, 2, 2, dtype=torch.int16))
    held = DataSet("m", "M", "segmentation", ("a", "b"), split, split, split, "none", "0" * 16)
    changed = {4: 30, 9: 1, 17: 80, 20: 2}
    stored("first", [50] * 30)
    stored("other", [50 - changed.get(place, 0) if place == 4 else 50 for place in range(30)])
    stored("third", [changed.get(place, 0) // 2 + 50 for place in range(30)])
    stored("same", [50] * 30)
    stored("foreign", [50] * 30, digest="f" * 16)
    assert kdengine.runs.mask_disagreements(held, ["first", "other"]) == [4]
    assert kdengine.runs.mask_disagreements(held, ["first", "other", "third"]) == [4, 17, 20]  # a tenth of thirty
    assert kdengine.runs.mask_disagreements(held, ["first", "same"]) == []
    with pytest.raises(KDError, match="foreign has no stored answers to these test pictures"):
        kdengine.runs.mask_disagreements(held, ["first", "foreign"])
    with pytest.raises(KDError, match="There is no result 'nobody'"):
        kdengine.runs.mask_disagreements(held, ["first", "nobody"])


def test_the_typical_masks_are_those_nearest_to_each_network_s_mean(stored):
    """Of the second class k of 100 pixels are wrong in each picture: its mIoU is (100 - k) / 200."""
    split = Split(torch.zeros(30, 3, 2, 2, dtype=torch.uint8), torch.zeros(30, 2, 2, dtype=torch.int16))
    held = DataSet("m", "M", "segmentation", ("a", "b"), split, split, split, "none", "0" * 16)
    wrong = [20] * 15 + [40] * 15
    wrong[17] = 30  # 29.7 are wrong in the mean
    stored("first", wrong)
    stored("even", [50] * 30)
    stored("odd", [90 if place == 17 else 50 for place in range(30)])
    assert kdengine.runs.typical_masks(held, ["first"]) == kdengine.runs.typical_masks(held, ["first", "even"]) == 17
    assert kdengine.runs.typical_masks(held, ["first", "odd"]) == 0  # 9.7 + 1.3 off, where number 17 is 0.3 + 38.7
    with pytest.raises(KDError, match="There is no result 'nobody'"):
        kdengine.runs.typical_masks(held, ["nobody"])


def test_families_of_one_task_leave_the_other_s_out(tmp_path, monkeypatch):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path))
    for name, about, labels in (("digits-teacher", "digits", None), ("digits-kd", "digits", 5),
                                ("scenes-teacher", "scenes", None), ("scenes-kd", "scenes", None)):
        made = models.build("fpn_tiny" if about == "scenes" else "resnet8", ("a", "b"), input_size=32)
        score = {"miou" if about == "scenes" else "top1": 0.5 + name.endswith("teacher") / 4}
        checkpoints.save(made, tmp_path / f"{name}.safetensors", method="kd", scores={"validation": score},
                         data={"name": about, "labels_per_class": labels})
    assert kdengine.runs.shipped_families() == {"digits": {"teacher": "digits-teacher", "students": ["digits-kd"]}}
    assert kdengine.runs.shipped_families("segmentation") == {
        "scenes": {"teacher": "scenes-teacher", "students": ["scenes-kd"]}}


def answered(name, logits, target=(0, 0, 0, 0, 0, 0)):
    """A finished run with these stored logits [6, 3] of its test images."""
    scene.finished(kdengine.Configuration(), name, np.array(logits, dtype=np.float32), np.array(target))


def test_the_telling_example_is_where_a_teacher_helps_most():
    sure, unsure, wrong = [9.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]
    answered("teacher", [sure, unsure, unsure, [0.9, 0, 0], wrong, [0.5, 0, 0]])
    answered("alone", [wrong, sure, wrong, wrong, wrong, [0, 0.1, 0]])
    answered("distilled", [sure, unsure, unsure, [3.0, 0, 0], wrong, [0.5, 0, 0]])
    # 0: the teacher is certain; 1: all are right; 3: the distilled one is far from its teacher; 4: all are wrong;
    # 5: the one alone is not sure of its answer.
    assert kdengine.runs.telling_example("teacher", "distilled", "alone") == 2
    assert kdengine.runs.telling_example("teacher", "alone", "distilled") is None  # alone never better than distilled
    assert kdengine.runs.telling_example("teacher", "nobody", "alone") is None
    answered("hesitant", [[0, 0.1, 0]] * 5 + [[0, 0.2, 0]])
    assert kdengine.runs.telling_example("teacher", "distilled", "hesitant") == 5  # nowhere sure
    answered("others", [sure] * 6, target=(1, 0, 0, 0, 0, 0))
    assert kdengine.runs.telling_example("teacher", "others", "alone") is None  # of other images
    assert (kdengine.runs.misses("teacher"), kdengine.runs.misses("alone")) == ((1, 6), (5, 6))
    assert kdengine.runs.misses("nobody") is kdengine.runs.misses("shapes-segmentation-teacher") is None
