"""The drawing of what flows: which places are filled, and where arrows and trained layers stand."""

import base64
import re
import xml.etree.ElementTree as ElementTree

from explorer.flows import drawing
from kdengine.colors import STUDENT, TEACHER

SVG = "{http://www.w3.org/2000/svg}"


def drawn(flows, **more):
    html = drawing(flows, "Features", **more)
    source = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html)[1]
    return html, ElementTree.fromstring(base64.b64decode(source))


def words(svg):
    return [each.text for each in svg.iter(f"{SVG}text")]


def test_both_networks_are_filled_where_something_flows_and_nowhere_else():
    _, svg = drawn({"stage 3": False, "logits": False})
    filled = [(each.get("fill"), each.get("x")) for each in svg.iter(f"{SVG}rect") if each.get("fill") != "none"]
    places = dict(zip(words(svg)[1:6], (each.get("x") for each in svg.iter(f"{SVG}rect")), strict=False))
    assert filled == [(color, places[place]) for color in (TEACHER, STUDENT) for place in ("stage 3", "logits")]
    arrows = [each for each in svg.iter(f"{SVG}line") if each.get("marker-end")]
    assert [each.get("x1") for each in arrows] == ["279", "358"]
    assert "trained" not in words(svg)


def test_a_trained_layer_stands_only_where_there_is_one():
    _, svg = drawn({"stage 1": True, "stage 2": True, "logits": False})
    assert words(svg).count("trained") == 2
    ends = {each.get("x1"): each.get("y2") for each in svg.iter(f"{SVG}line") if each.get("marker-end")}
    assert ends["121"] == ends["200"] != ends["358"]


def test_an_explanation_flows_as_a_map():
    """Nine cells, the strongest in the middle, between the teacher's stage and the arrow, and none anywhere else."""
    html, svg = drawn({"stage 3": False, "logits": False}, maps=["stage 3"])
    cells = [each for each in svg.iter(f"{SVG}rect") if each.get("fill-opacity")]
    assert sorted({each.get("x") for each in cells}) == ["261", "273", "285"]
    assert [each.get("fill-opacity") for each in cells if (each.get("x"), each.get("y")) == ("273", "82")] == ["1.0"]
    assert len(cells) == 9 and max(float(each.get("fill-opacity")) for each in cells[:4]) < 1
    arrows = {each.get("x1"): each.get("y1") for each in svg.iter(f"{SVG}line") if each.get("marker-end")}
    assert arrows == {"279": "106", "358": "66"}
    assert "at stage 3 as a map of the picture, logits" in html


def test_what_flows_is_told_to_who_cannot_see_it_and_names_are_text():
    html, svg = drawn({"image": False}, teacher="<b>", student="S & T")
    assert 'alt="Features: what flows from the teacher to the student, at image"' in html
    assert words(svg)[0] == "<b>" and "S & T" in words(svg)
