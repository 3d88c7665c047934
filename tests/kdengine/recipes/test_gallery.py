"""The heat maps of a recipe: the right pictures, the right names, in colours that say who is right."""

import base64
import io
import re

import numpy as np
import torch
from PIL import Image, ImageColor

from kdengine import data, models
from kdengine.colors import RIGHT, WRONG, ink
from kdengine.data import pictures
from kdengine.explain import comparison, heat_maps
from kdengine.recipes import gallery
from kdengine.recipes.look import Look
from kdengine.recipes.recipe import Plan
from kdengine.runs import checkpoints, store
from kdengine.runs.records import STUDENT
from tests.kdengine.recipes import scene

DIGITS = tuple("0123456789")


def always(answer):
    """An untrained network that answers one class to every picture."""
    network = models.build("resnet8", DIGITS, seed=answer)
    with torch.no_grad():
        network.net.fc.weight.mul_(0.01)
        network.net.fc.bias.zero_()
        network.net.fc.bias[answer] = 4
    return network.eval()


def outcome(answers):
    """A teacher and two students on the real test digits, each of which always answers one class."""
    test = data.load("digits").test
    plan = Plan(scene.recipe({"One": ("none", {}), "Two": ("kd", {})}, gallery=True))
    records = {}
    for part, answer in zip(plan.parts, answers, strict=True):
        logits = np.zeros((len(test), 10), dtype=np.float32)
        logits[:, answer] = 1
        name = part.label.lower()
        taught = {"reference": "teacher", "architecture": "resnet20"} if part.teacher else None
        records[part.label, 0] = scene.finished(part.configuration, name, logits, test.target.numpy(), taught)
        checkpoints.save(always(answer), store.directory(name) / STUDENT)
    return scene.Outcome(plan, records)


def test_a_row_is_a_disputed_picture_and_what_each_network_makes_of_it():
    test = data.load("digits").test
    truth = test.target[:4].tolist()
    rows = gallery.looks(outcome([truth[0], truth[0], (truth[0] + 1) % 10]))  # they agree on no picture
    assert [row[0].answer for row in rows] == [DIGITS[true] for true in truth]
    assert [[look.name for look in row] for row in rows] == [["Picture", "Teacher", "One", "Two"]] * 4
    first = rows[0]
    assert [look.right for look in first] == [None, True, True, False]
    assert [look.answer for look in first[1:]] == [DIGITS[truth[0]]] * 2 + [DIGITS[(truth[0] + 1) % 10]]
    shown = pictures.picture(test.images[0]).resize(first[0].picture.size)
    heat = heat_maps.heat_map(always(truth[0]), test.images[:1].float() / 255, [truth[0]])[0]
    assert first[1].picture.tobytes() == comparison.overlay(shown, heat, 0.5).tobytes()


def test_networks_that_agree_on_everything_are_shown_the_first_pictures():
    rows = gallery.looks(outcome([0, 0, 0]))
    assert [row[0].answer for row in rows] == [DIGITS[each] for each in data.load("digits").test.target[:4]]


def test_one_network_alone_is_no_comparison():
    found = outcome([0, 1, 2])
    alone = scene.Outcome(found.plan, {key: record for key, record in found.records.items() if key[0] == "Teacher"})
    assert gallery.looks(alone) == []


def test_the_table_carries_its_pictures_and_tells_right_from_wrong_by_sign_and_colour():
    picture = Image.new("RGB", (3, 2), "teal")
    drawn = gallery.html([[Look("Picture", "a<b", None, picture), Look("A & B", "ship", True, picture),
                           Look("C", "cat", False, picture)]])
    assert f'<span style="color:{ink(RIGHT)}">A &amp; B<br>✓ ship</span>' in drawn
    assert f'<span style="color:{ink(WRONG)}">C<br>✗ cat</span>' in drawn
    assert "a&lt;b" in drawn and "a<b" not in drawn
    held = re.findall(r'src="data:image/png;base64,([^"]+)"', drawn)
    assert len(held) == 3
    assert Image.open(io.BytesIO(base64.b64decode(held[0]))).tobytes() == picture.tobytes()


def test_the_sheet_to_print_has_every_picture_and_signs_beside_the_colours():
    teal, navy = Image.new("RGB", (90, 90), "teal"), Image.new("RGB", (90, 90), "navy")
    rows = [[Look("Picture", "ship", None, teal), Look("A", "ship", True, navy),
             Look("B with a long name that has no room", "cat", False, navy)]] * 2
    drawn = gallery.sheet(rows)
    assert drawn.size == (9 + 3 * 99, 9 + 2 * (90 + 30 + 9))
    columns = [drawn.crop((9 + place * 99, 9, 99 + place * 99, 138)) for place in range(3)]
    assert columns[0].crop((0, 0, 90, 90)).tobytes() == teal.tobytes()
    assert columns[2].crop((0, 0, 90, 90)).tobytes() == navy.tobytes()
    for column, color in zip(columns[1:], (RIGHT, WRONG), strict=True):
        assert ImageColor.getrgb(color) in {color for _, color in column.crop((0, 90, 90, 129)).getcolors(9999)}
    signs = [np.asarray(column.crop((0, 106, 8, 114)).convert("L")) < 200 for column in columns[1:]]
    tick, cross = ((sign == sign[:, ::-1]).mean() for sign in signs)
    assert tick < 0.9 < cross  # a cross is its own mirror image, a tick is not
