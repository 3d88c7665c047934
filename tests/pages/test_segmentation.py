"""The Segmentation page, run headless with networks that read a pixel's class off its colour."""

import base64
import html
import re
import sys
from collections import Counter
from io import BytesIO
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import streamlit as st
import torch
from PIL import Image, ImageColor
from streamlit.testing.v1 import AppTest
from torch import nn

import kdengine
from explorer.wording import as_text
from kdengine import models
from kdengine.colors import BACKGROUND, CLASSES, RIGHT, STUDENTS, TEACHER, WRONG
from kdengine.configuration import Configuration
from kdengine.data.dataset import DataSet
from kdengine.losses import IGNORE
from kdengine.measures import evaluation
from kdengine.runs import checkpoints, results, store
from kdengine.runs.records import PREDICTIONS
from kdengine.views import Split
from tests.kdengine import made

PAGE = Path(__file__).resolve().parent.parent.parent / "pages" / "segmentation.py"
NAMES = ("background", "red", "blue")
COLORS = (BACKGROUND, *CLASSES[:2])
SIZE, COUNT = 16, 40


class ByColor(nn.Module):
    """A pixel's class is red or blue where it is more than half of that, else background."""

    stages = (("colors", 3, 1),)
    input_size, task = SIZE, "segmentation"
    mean, std = (0.0,) * 3, (1.0,) * 3

    def __init__(self, classes):
        super().__init__()
        self.colors, self.says = nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, classes, 1)
        with torch.no_grad():
            self.colors.weight.copy_(torch.eye(3)[:, :, None, None])
            self.says.weight.zero_()
            self.says.weight[1, 0] = self.says.weight[2, 2] = 1
            self.says.bias.copy_(torch.tensor([0.5, 0, 0]))

    def forward(self, images):
        return self.says(self.colors(images))


def swapped(net):
    """It takes red for blue and blue for red."""
    net.says.weight[[1, 2]] = net.says.weight[[2, 1]].clone()


def blind(net):
    """It takes everything for background."""
    net.says.bias[0] = 9


def widths():
    """How wide the red block of each picture is; the blue one is 4 x 4, but for the last picture, which has none."""
    return [2 + 7 * number % 11 for number in range(COUNT)]


def truth(number):
    """The mask of a picture; its last column counts nowhere."""
    mask = np.zeros((SIZE, SIZE), dtype=np.int16)
    mask[1:7, 1:1 + widths()[number]] = 1
    mask[10:14, 2:6] = 2 if number < COUNT - 1 else 0
    mask[:, 15] = IGNORE
    return mask


def blocks(size=SIZE):
    """Forty pictures of a red and a blue block on black."""
    masks = torch.tensor(np.stack([truth(number) for number in range(COUNT)]))
    masks = nn.functional.interpolate(masks[:, None].float(), size=(size, size))[:, 0].short()
    images = torch.zeros(COUNT, 3, size, size, dtype=torch.uint8)
    images[:, 0], images[:, 2] = 255 * (masks == 1), 255 * (masks == 2)
    split = Split(images, masks)
    return DataSet("blocks", "Blocks", "segmentation", NAMES, split, split, split, "none", f"{size:016}")


@pytest.fixture
def held(monkeypatch):
    """The blocks, as the page opens them."""
    monkeypatch.setattr(kdengine, "open_data", lambda name, size: {"blocks": blocks}[name](size))
    return blocks()


@pytest.fixture
def shipped(held, tmp_path, monkeypatch):
    """A teacher that is always right and a student like it; one student swaps two classes, one is blind."""
    st.cache_data.clear()
    st.cache_resource.clear()
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(folder))
    module = ModuleType("by_colour")
    module.network = ByColor
    monkeypatch.setitem(sys.modules, "by_colour", module)
    monkeypatch.setenv("KDENGINE_TRUST", "by_colour")
    for name, method, changed in (("blocks-teacher", "none", None), ("blocks-kd", "kd", None),
                                  ("blocks-none", "none", swapped), ("blocks-cwd", "cwd", blind)):
        ship(folder, held, name, method, changed)
    return folder


def ship(folder, held, name, method, changed):
    """A checkpoint with its record, and what it answers to the test pictures."""
    network = models.build("by_colour:network", NAMES).eval()
    if changed:
        with torch.no_grad():
            changed(network.net)
    test, confusion = evaluation.segment(network, held.test)
    checkpoints.save(
        network, folder / f"{name}.safetensors", method=method, hyperparameters={},
        data={"name": held.name, "digest": held.digest, "labels_per_class": None},
        scores={"validation": {"miou": (test["miou"] + (name == "blocks-teacher")) / 2}},
    )
    place = folder / "records" / name
    place.mkdir(parents=True)
    asked = Configuration(data=held.name, student="by_colour:network", method=method)
    about = {"name": held.name, "digest": held.digest, "classes": list(NAMES)}
    record = made.finished(name, asked, test, data=about)
    record.result["parameters"] = 2_840_000
    record.save(place)
    checkpoints.save_tensors(place / PREDICTIONS, {"confusion": confusion})


@pytest.fixture
def calls(monkeypatch):
    """How often the engine was asked for what."""
    counted = Counter()
    for part, name in ((kdengine.explain, "heat_map"), (kdengine, "segment"), (kdengine.measures, "mask_scores"),
                       (kdengine, "open_network"), (kdengine.data, "read_picture"),
                       (kdengine.runs, "mask_disagreements")):
        monkeypatch.setattr(part, name, counting(counted, name, getattr(part, name)))
    return counted


@pytest.fixture
def asked(monkeypatch):
    """The class and the region of every heat map that was asked for, in order."""
    found = []
    real = kdengine.explain.heat_map

    def heat_map(network, picture, target, **named):
        found.append((target, named["region"]))
        return real(network, picture, target, **named)

    monkeypatch.setattr(kdengine.explain, "heat_map", heat_map)
    return found


def counting(counted, name, function):
    def counted_function(*given, **named):
        counted[name] += 1
        return function(*given, **named)

    return counted_function


def opened(**query):
    """The page from a link; what Compare has under the same name has `mask` before it here."""
    at = AppTest.from_file(str(PAGE), default_timeout=60)
    own = ("show", "region", "method")
    at.query_params.update({key if key in own else f"mask {key}": value for key, value in query.items()})
    at.run()
    assert not at.exception
    return at


def press(at, label):
    next(each for each in at.button if each.label == label).click().run()
    assert not at.exception


def encoded(image, form="JPEG"):
    file = BytesIO()
    image.save(file, form)
    return file.getvalue()


def figures(at):
    """The tiles by what stands above them: their pictures by class of the element, and the lines below."""
    (body,) = [each.proto.body for each in at.get("html") if "<figure" in each.proto.body]
    found = []
    for markup in re.findall(r"<figure>(.*?)</figure>", body):
        images = {}
        for each in re.findall(r"<img ([^>]*)>", markup):
            given = dict(re.findall(r'(\w+)="([^"]*)"', each))
            images[given.get("class", "picture")] = given
        found.append({
            "title": [html.unescape(each) for each in re.findall(r'"(?:role|name)"[^>]*>([^<]+)<', markup)],
            "images": images, "lines": re.findall(r"<div[^>]*>([^<]*)</div>", markup.split("<figcaption>")[1]),
            "colour": next(iter(re.findall(r'"role" style="color: [^#]*(#\w+)', markup)), None),
        })
    return found


def layer(figure, name="mask"):
    """The pixels of a layer: RGBA [H, W, 4]."""
    head, _, content = figure["images"][name]["src"].partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(BytesIO(base64.b64decode(content))))


def painted(mask):
    """What a mask should look like where it is no void."""
    return np.array([(*ImageColor.getrgb(color), 255) for color in COLORS], dtype=np.uint8)[mask]


def legend(at):
    """What the legends say, one after the other."""
    return [re.findall(r"</i>([^<]*)<", each.proto.body) for each in at.get("html") if "segments-legend\">" in
            each.proto.body]


# -- what is there at once -------------------------------------------------------------------------------------------


def test_teacher_and_the_telling_pair_are_shown_without_a_click(shipped):
    at = opened()
    assert at.selectbox(key="blocks 16 teacher").value == "blocks-teacher"
    assert at.multiselect[0].value == ["blocks-kd", "blocks-none"]
    assert [each["title"][0] for each in figures(at)] == ["Picture", "Truth", "Teacher", "Student", "Student"]
    assert [each["colour"] for each in figures(at)] == [None, None, TEACHER, *STUDENTS[:2]]
    assert not at.error and not at.warning


def test_every_mask_has_the_colours_of_what_the_network_takes_its_pixels_for(shipped):
    _, truly, teacher, kd, none = figures(opened())
    mask = truth(0)
    counts = mask >= 0
    np.testing.assert_array_equal(layer(truly)[counts], painted(mask[counts]))
    # A network answers everywhere; the column that counts nowhere is black, so background.
    answer = np.where(counts, mask, 0)
    np.testing.assert_array_equal(layer(teacher), painted(answer))
    np.testing.assert_array_equal(layer(kd), painted(answer))
    np.testing.assert_array_equal(layer(none), painted(np.array([0, 2, 1])[answer]))


def test_pixels_that_count_nowhere_are_hatched_dark_and_light(shipped):
    column = layer(figures(opened())[1])[:, 15]
    seen = {tuple(each) for each in column.tolist()}
    assert seen == {(*ImageColor.getrgb(each), 255) for each in ("#1f2430", "#ffffff")}
    assert legend(opened())[0] == [*NAMES, "not counted"]


def test_the_numbers_under_a_network_are_this_picture_s(shipped):
    at = opened()
    at.multiselect[0].set_value(["blocks-none", "blocks-cwd"]).run()
    teacher, none, nothing = (each["lines"][:2] for each in figures(at)[2:])
    assert teacher == ["mIoU here 100.0%", "pixels right 100.0%"]
    # 240 pixels count: 12 are red (2 x 6), 16 blue. Swapped, background alone is right; blind, it also takes the rest.
    assert none == [f"mIoU here {1 / 3:.1%}", f"pixels right {212 / 240:.1%}"]
    assert nothing == [f"mIoU here {212 / 240 / 3:.1%}", f"pixels right {212 / 240:.1%}"]
    assert all(each["lines"][-1] == "2.8 M parameters · 1.2 ms" for each in figures(at)[2:])


def test_the_bars_are_the_stored_ious_and_the_words_the_stored_miou(shipped, monkeypatch):
    shown = []
    monkeypatch.setattr(st, "altair_chart", lambda chart, **_: shown.append(chart.to_dict()))
    at = opened()
    (spec,) = shown
    bars = {(each["network"], each["class"]): each["iou"] for each in spec["data"]["values"]}
    assert spec["encoding"]["color"]["scale"]["range"] == [TEACHER, *STUDENTS[:2]]
    assert spec["encoding"]["x"]["scale"]["domain"] == list(NAMES)
    red = sum(6 * width for width in widths())
    right = COUNT * 240 - red - 16 * (COUNT - 1)
    expected = {"teacher": (1, 1, 1), "kd": (1, 1, 1), "none": (1, 0, 0)}
    assert bars == {(f"{name} · by_colour:network", each): iou for name, ious in expected.items()
                    for each, iou in zip(NAMES, ious, strict=True)}
    words = legend(at)[-1]
    means = {name: f"{sum(ious) / 3:.1%}" for name, ious in expected.items()}  # every image alike, so no interval
    assert words == [f"{name} · by_colour:network: mIoU {mean} ({mean} to {mean})" for name, mean in means.items()]
    assert any("on the 40 images" in each.value for each in at.markdown)
    # The blind one's interval is the engine's.
    at.multiselect[0].set_value(["blocks-cwd"]).run()
    sure = results.interval("blocks-cwd", results.finished()["blocks-cwd"])
    assert sure.mean == pytest.approx(right / (COUNT * 240) / 3)
    assert sure.low < sure.mean < sure.high
    assert legend(at)[-1][1].endswith(f"mIoU {sure.mean:.1%} ({sure.low:.1%} to {sure.high:.1%})")


def test_a_network_whose_test_is_not_stored_is_shown_and_said_to_have_none(shipped):
    (shipped / "records" / "blocks-kd" / "record.json").unlink()
    at = opened()
    assert legend(at)[-1][1] == "kd · by_colour:network: no stored test results"
    assert figures(at)[3]["lines"] == ["mIoU here 100.0%", "pixels right 100.0%"]
    for name in ("blocks-teacher", "blocks-none"):
        (shipped / "records" / name / "record.json").unlink()
    st.cache_data.clear()
    at = opened()
    assert "No test results of these networks are stored." in [each.value for each in at.caption]
    assert at.caption[-1].value == (
        "Not shown, and their mIoU: cwd · by\\_colour\\:network 25.3%. Choose them under Students.")
    assert len(legend(at)) == 1 and not at.get("vega_lite_chart")


def test_without_a_network_it_says_how_to_get_one(shipped):
    for file in shipped.glob("*.safetensors"):
        file.unlink()
    at = opened()
    assert at.title[0].value == "Segmentation"
    assert "make checkpoints" in at.info[0].value and "**Distill**" in at.info[0].value
    assert not at.get("html")


def test_networks_that_classify_are_not_offered(shipped, monkeypatch):
    network = models.build("resnet8", tuple("0123456789"), input_size=32)
    checkpoints.save(network, shipped / "digits-teacher.safetensors", method="none", hyperparameters={},
                     data={"name": "digits", "labels_per_class": None}, scores={"validation": {"top1": 0.9}})
    run = {"id": "run-1", "name": None, "state": "finished", "created": 0.0, "teacher": None,
           "configuration": {"data": "digits", "student": "resnet8", "method": "none", "hyperparameters": {}},
           "data": {"title": "Digits", "task": "classification", "size": 32}}
    monkeypatch.setattr(store, "as_data", lambda: [run])
    assert opened().selectbox(key="mask family").options == ["blocks (shipped)"]


def test_a_finished_run_is_offered_and_an_unfinished_one_is_not(shipped, monkeypatch):
    asked = {"data": "blocks", "student": "fpn_tiny", "method": "kd", "hyperparameters": {"temperature": 2.0}}
    run = {"id": "run-1", "name": None, "state": "finished", "created": 0.0, "configuration": asked,
           "data": {"title": "Blocks", "task": "segmentation", "size": SIZE},
           "teacher": {"reference": "blocks-teacher", "architecture": "by_colour:network"}}
    active, named = run | {"id": "run-2", "state": "running"}, run | {"id": "run-3", "name": "my *best*"}
    monkeypatch.setattr(store, "as_data", lambda: [run, active, named])
    real = kdengine.open_network
    monkeypatch.setattr(kdengine, "open_network", lambda each: real(each.replace("run-1", "blocks-kd")))
    at = opened()
    assert len(at.multiselect[0].options) == 5 and "my *best*" in at.multiselect[0].options
    at.multiselect[0].set_value(["run-1"]).run()
    assert figures(at)[3]["title"][1].startswith("Logit matching, T 2 · fpn_tiny · ")


@pytest.mark.parametrize("names", [
    {"scene-teacher": "teacher", "scene-response-based": "response-based", "scene-none": "none"},
    {"scene-teacher": "teacher"},
    {"teacher": "teacher", "scene-kd": "scene-kd"},
    {"a-b": "b", "a-b-c": "b-c"},
], ids=["shared word", "one alone", "nothing shared", "one within another"])
def test_a_shipped_network_is_called_by_what_sets_its_name_apart(shipped, names):
    for file in shipped.glob("*.safetensors"):
        file.unlink()
    for name in names:
        checkpoints.save(models.build("by_colour:network", NAMES), shipped / f"{name}.safetensors", method="combined",
                         hyperparameters={}, data={"name": "blocks", "labels_per_class": None},
                         scores={"validation": {"miou": 0.5 + ("teacher" in name) / 2}})
    options = opened().selectbox(key="blocks 16 teacher").options
    assert sorted(options) == sorted(f"{short} · by_colour:network" for short in names.values())


def test_networks_of_another_image_size_are_a_family_of_their_own(shipped, held):
    run = models.build("by_colour:network", NAMES, input_size=24)
    checkpoints.save(run, shipped / "blocks-large.safetensors", method="kd", hyperparameters={},
                     data={"name": "blocks", "labels_per_class": None}, scores={"validation": {"miou": 0.5}})
    at = opened()
    assert at.selectbox(key="mask family").options == ["blocks (shipped) · blocks 16", "blocks (shipped) · blocks 24"]
    at.selectbox(key="mask family").set_value("blocks 24").run()
    assert [each["title"][0] for each in figures(at)] == ["Picture", "Truth", "Teacher"]
    assert layer(figures(at)[2]).shape == (24, 24, 4)


def test_a_damaged_student_is_told_and_the_others_stay(shipped):
    file = shipped / "blocks-kd.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")  # another last weight
    at = opened()
    assert "damaged" in at.error[0].value
    assert len(figures(at)) == 4


def test_a_damaged_teacher_is_told_and_nothing_takes_its_place(shipped):
    file = shipped / "blocks-teacher.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")  # another last weight
    at = opened()
    assert "damaged" in at.error[0].value
    assert not at.get("html")


def test_networks_of_other_classes_are_left_out(shipped, held):
    network = models.build("by_colour:network", ("background", "warm", "cold"))
    checkpoints.save(network, shipped / "blocks-kd.safetensors", method="kd", hyperparameters={},
                     data={"name": "blocks", "labels_per_class": None}, scores={"validation": {"miou": 0.5}})
    at = opened()
    assert at.warning[0].value == (
        as_text("kd · by_colour:network") + " was trained on other classes and is left out.")
    assert len(figures(at)) == 4


# -- where the answers are wrong -------------------------------------------------------------------------------------


def test_an_error_map_says_right_wrong_or_not_counted(shipped):
    at = opened(show="Errors")
    teacher, _, none = (layer(each) for each in figures(at)[2:])
    mask = np.kron(truth(0), np.ones([len(teacher) // len(truth(0))] * 2, dtype=int))
    wrong, right, light = ImageColor.getrgb(WRONG), ImageColor.getrgb(RIGHT), (255, 255, 255)
    assert (teacher[mask >= 0][:, :3] == right).all()
    assert {tuple(each) for each in none[mask > 0].tolist()} == {(*wrong, 255), (*light, 255)}
    assert (none[mask == 0][:, :3] == right).all()
    assert {tuple(each[:3]) for each in none[mask < 0].tolist()}.isdisjoint({wrong, right})
    assert legend(at)[0] == ["✓ right", "✗ wrong", "not counted"]


def test_the_truth_stays_beside_the_error_maps(shipped):
    mask = truth(0)
    np.testing.assert_array_equal(layer(figures(opened(show="Errors"))[1])[mask >= 0], painted(mask[mask >= 0]))


# -- where they look -------------------------------------------------------------------------------------------------


def test_the_largest_thing_is_explained_where_each_network_says_it(shipped, asked):
    at = opened(show="Heat maps", image="5")
    mask = np.where(truth(5) >= 0, truth(5), 0)
    assert np.count_nonzero(mask == 1) > np.count_nonzero(mask == 2) > 0
    assert [target for target, _ in asked] == [1] * 3
    for (_, region), says_it in zip(asked, (1, 1, 2), strict=True):  # the third one swaps red and blue
        np.testing.assert_array_equal(region, mask == says_it)
    assert at.selectbox(key="mask class").value == "the largest thing"


def test_a_chosen_class_of_the_true_region_or_of_the_whole_picture(shipped, asked):
    opened(**{"show": "Heat maps", "class": "blue", "region": "the truth"})
    assert [target for target, _ in asked] == [2] * 3
    for _, region in asked:
        np.testing.assert_array_equal(region, truth(0) == 2)
    asked.clear()
    opened(**{"show": "Heat maps", "class": "blue", "region": "the whole picture"})
    assert [(target, region) for target, region in asked] == [(2, None)] * 3


def test_the_rim_surrounds_the_region_and_a_whole_picture_has_none(shipped):
    teacher = figures(opened(**{"show": "Heat maps", "class": "blue"}))[2]
    rim = layer(teacher, "rim")
    scale = len(rim) // SIZE
    inside = np.zeros(rim.shape[:2], dtype=bool)
    inside[10 * scale:14 * scale, 2 * scale:6 * scale] = True
    white, dark = ((rim == (*ImageColor.getrgb(each), 255)).all(axis=2) for each in ("#ffffff", "#1f2430"))
    assert white.sum() == 4 * (4 * scale - 1) and not white[~inside].any()
    assert dark.sum() == 4 * 4 * scale and not dark[inside].any()
    whole = figures(opened(show="Heat maps", region="the whole picture"))[2]
    assert "rim" not in whole["images"]


def test_a_network_that_sees_no_such_class_has_no_region_and_says_so(shipped, asked):
    at = opened(**{"show": "Heat maps", "class": "blue"})
    asked.clear()
    at.multiselect[0].set_value(["blocks-cwd"]).run()
    assert asked == []
    student = figures(at)[3]
    assert student["lines"][2] == "It sees no blue here, so there is no region to explain."
    assert student["images"]["picture"]["alt"].endswith("no heat map")


def test_a_truth_without_the_class_leaves_nobody_a_region(shipped, asked):
    at = opened(**{"show": "Heat maps", "class": "blue", "region": "the truth", "image": str(COUNT - 1)})
    assert asked == []
    assert [each["lines"][2] for each in figures(at)[2:]] == [
        "The truth has no blue here, so there is no region to explain."] * 3


def test_the_heat_of_a_class_read_off_the_colour_lies_on_that_colour(shipped):
    """Grad-CAM of red is the red channel: hot on the block, cold elsewhere; at opacity 100% nothing else is seen."""
    at = opened(**{"show": "Heat maps", "class": "red", "opacity": "100", "image": "3"})
    content = figures(at)[2]["images"]["picture"]["src"].partition(",")[2]
    pixels = np.asarray(Image.open(BytesIO(base64.b64decode(content)))).astype(int)
    scale = len(pixels) // SIZE
    hot, cold = pixels[4 * scale, 4 * scale], pixels[12 * scale, 4 * scale]
    assert np.abs(hot - ImageColor.getrgb("#fde725")).max() < 12  # the ends of viridis, and JPEG between
    assert np.abs(cold - ImageColor.getrgb("#440154")).max() < 12


def test_a_method_that_ignores_the_class_is_not_asked_for_one(shipped, asked):
    at = opened(show="Heat maps", method="Eigen-CAM")
    assert at.selectbox(key="mask class").disabled and at.selectbox(key="region").disabled
    assert {region for _, region in asked} == {None}
    assert figures(at)[2]["lines"][2] == "stage1, 16 × 16 cells"


# -- nothing is done twice -------------------------------------------------------------------------------------------


def test_another_opacity_draws_no_mask_anew_and_asks_for_nothing(shipped, calls):
    at = opened()
    before, drawn = dict(calls), figures(at)
    assert (calls["segment"], calls["mask_scores"], calls["open_network"]) == (3, 3, 3)
    at.slider(key="mask opacity").set_value(25).run()
    assert dict(calls) == before
    for old, new in zip(drawn[1:], figures(at)[1:], strict=True):
        assert old["images"]["mask"]["src"] == new["images"]["mask"]["src"]
        assert [each["images"]["mask"]["style"] for each in (old, new)] == ["opacity: 0.60", "opacity: 0.25"]


def test_another_view_asks_the_networks_nothing_and_another_method_only_for_maps(shipped, calls):
    at = opened()
    at.segmented_control(key="show").set_value("Errors").run()
    assert (calls["segment"], calls["heat_map"]) == (3, 0)
    at.segmented_control(key="show").set_value("Heat maps").run()
    assert (calls["segment"], calls["heat_map"]) == (3, 3)
    at.selectbox(key="method").set_value("layercam").run()
    assert (calls["segment"], calls["heat_map"]) == (3, 6)
    at.selectbox(key="method").set_value("gradcam").run()
    at.slider(key="mask opacity").set_value(25).run()
    assert (calls["segment"], calls["heat_map"], calls["open_network"]) == (3, 6, 3)


def test_a_second_session_finds_everything_done(shipped, calls):
    opened(show="Heat maps")
    before = dict(calls)
    opened(show="Heat maps")
    assert dict(calls) == before


# -- which picture ---------------------------------------------------------------------------------------------------


def test_a_link_opens_the_same_view(shipped):
    at = opened(**{"image": "7", "show": "Heat maps", "class": "blue", "region": "the truth", "method": "HiResCAM",
                   "layer": "stage1 (deepest)", "opacity": "25"})
    assert at.number_input(key="mask image").value == 7
    assert [at.selectbox(key=each).value for each in ("mask class", "region", "method", "mask layer")] == [
        "blue", "the truth", "hirescam", "stage1 (deepest)"]
    assert at.segmented_control(key="show").value == "Heat maps"
    assert at.slider(key="mask opacity").value == 25


@pytest.mark.parametrize("wrong", ["40", "-1", "1e999", "nan", "many", ""])
def test_an_image_number_that_is_none_is_not_followed(shipped, wrong):
    assert opened(image=wrong).number_input(key="mask image").value == 0


@pytest.mark.parametrize("key", ["show", "class", "region", "method", "layer", "opacity", "family"])
def test_nonsense_in_the_link_is_not_followed(shipped, key):
    at = opened(**{"show": "Heat maps"} | {key: "nonsense"})
    assert not at.error and len(figures(at)) == 5


def test_they_disagree_goes_through_the_pictures_whose_masks_differ_most_and_around(shipped, calls):
    at = opened()
    swapped_pixels = [np.count_nonzero(truth(number) > 0) for number in range(COUNT)]
    most = sorted(sorted(range(COUNT), key=lambda number: -swapped_pixels[number])[:4])  # a tenth of forty
    seen = []
    for _ in range(5):
        press(at, "They disagree")
        seen.append(at.number_input(key="mask image").value)
    assert seen == [*most, most[0]]
    assert calls["mask_disagreements"] == 1
    assert calls["segment"] == 3 * 5  # the networks are asked of the pictures that are shown, never of the split


def test_where_they_never_disagree_it_says_so(shipped):
    at = opened()
    at.multiselect[0].set_value(["blocks-kd"]).run()
    press(at, "They disagree")
    assert "the same masks" in at.toast[0].value
    assert at.number_input(key="mask image").value == 0


def test_without_stored_answers_it_says_whose_are_missing(shipped):
    (shipped / "records" / "blocks-kd" / PREDICTIONS).unlink()
    at = opened()
    press(at, "They disagree")
    assert at.toast[0].value.startswith("blocks-kd has no stored answers to these test pictures")


def test_random_goes_to_another_picture(shipped):
    at = opened()
    press(at, "Random")
    assert 0 < at.number_input(key="mask image").value < COUNT


def test_another_picture_is_looked_at_anew_and_the_last_one_is_not(shipped, calls):
    at = opened()
    at.number_input(key="mask image").increment().run()
    assert (calls["segment"], calls["open_network"]) == (6, 3)
    at.number_input(key="mask image").decrement().run()
    assert calls["segment"] == 6


def test_without_the_data_a_picture_of_ones_own_is_asked_for(shipped, monkeypatch):
    def missing(name, size=None):
        raise kdengine.DataMissing("Blocks are not on this machine.")

    monkeypatch.setattr(kdengine, "open_data", missing)
    at = opened()
    assert any("Blocks are not on this machine." in each.value for each in at.caption)
    assert at.file_uploader[0].label == "Your picture"
    assert "Nothing leaves this machine" in " ".join(each.value for each in at.markdown)
    assert len(legend(at)[-1]) == 3  # what was measured is still there


# -- pictures a person brings ----------------------------------------------------------------------------------------


def wide():
    """80 x 40: the left quarter red, the rest blue."""
    picture = Image.new("RGB", (80, 40), (255, 0, 0))
    picture.paste((0, 0, 255), (20, 0, 80, 40))
    return picture


def stretched():
    """What it is, as a network that takes it whole sees it."""
    return np.repeat([[1] * 4 + [2] * 12], SIZE, axis=0)


def with_picture(content, **query):
    at = opened(source="Your own", **query)
    at.file_uploader[0].upload("mine.png", content).run()
    assert not at.exception
    return at


def test_a_picture_of_ones_own_is_answered_whole_and_in_its_own_shape(shipped):
    at = with_picture(encoded(wide(), "PNG"))
    _, teacher, _, none = figures(at)
    np.testing.assert_array_equal(layer(teacher), painted(stretched()))
    np.testing.assert_array_equal(layer(none), painted(3 - stretched()))
    (body,) = [each.proto.body for each in at.get("html") if "<figure" in each.proto.body]
    assert body.count("aspect-ratio: 480 / 240") == 4
    assert teacher["lines"] == ["2.8 M parameters · 1.2 ms"]  # nobody knows the truth
    assert legend(at)[0] == ["red", "blue"]


def test_errors_of_a_picture_without_truth_are_not_made_up(shipped):
    at = with_picture(encoded(wide(), "PNG"), show="Errors")
    assert "truth of this picture is not known" in at.info[0].value
    assert legend(at)[0] == ["red", "blue"]


def test_the_region_of_a_picture_without_truth_is_each_network_s_own(shipped, asked):
    at = with_picture(encoded(wide(), "PNG"), show="Heat maps", region="the truth")
    assert "truth of this picture is not known" in at.info[0].value
    np.testing.assert_array_equal(asked[0][1], stretched() == 2)  # the largest
    np.testing.assert_array_equal(asked[2][1], stretched() == 1)


def test_the_same_picture_under_another_name_costs_nothing(shipped, calls):
    at = with_picture(encoded(wide(), "PNG"))
    before = dict(calls)
    at.file_uploader[0].upload("again.png", encoded(wide(), "PNG")).run()
    assert dict(calls) == before


@pytest.mark.parametrize(("content", "told"), [
    (b"", "empty: 0 bytes"), (b"this is no picture", "not a picture"), (encoded(wide())[:-300], "damaged or cut short"),
], ids=["empty", "text", "truncated"])
def test_a_bad_picture_is_told_in_a_sentence_and_the_page_stays(shipped, content, told):
    at = with_picture(content)
    assert told in at.error[0].value
    at.file_uploader[0].upload("good.png", encoded(wide(), "PNG")).run()
    assert not at.error
    assert len(figures(at)) == 4


# -- beside the other pages ------------------------------------------------------------------------------------------


def test_what_is_chosen_here_does_not_change_what_compare_shows(shipped):
    app = PAGE.parent.parent / "explorer" / "app.py"
    at = AppTest.from_file(str(app), default_timeout=60)
    at.switch_page("../pages/segmentation.py").run()
    at.slider(key="mask opacity").set_value(85).run()
    at.number_input(key="mask image").set_value(7).run()
    at.switch_page("../pages/compare.py").run()
    assert not at.exception
    assert at.selectbox(key="family").value == "photograph"
    assert "image" not in at.session_state and "opacity" not in at.session_state
    at.switch_page("../pages/segmentation.py").run()
    assert not at.exception and len(figures(at)) == 5
