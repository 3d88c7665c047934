"""Nothing is forgotten: what any control of any page is set to stands in the link, and comes back from it."""

import ast
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from explorer.pages import PAGES
from kdengine.runs import estimates, store

APP = Path(__file__).resolve().parent.parent.parent / "explorer" / "app.py"
STATES = {
    "demonstration": ("distill", {}),
    "own runs": ("distill", {"view": "Your own runs"}),
    "own masks": ("distill", {"view": "Your own runs", "data": "Shapes, pixel by pixel"}),
    "own folder": ("distill", {"view": "Your own runs", "data": "Image folder"}),
    "a digit": ("temperature", {}),
    "typed logits": ("temperature", {"of": "Typed logits"}),
    "a drawing": ("temperature", {"of": "Draw a digit"}),
    "a picture": ("temperature", {"of": "Picture"}),
    "methods": ("methods", {}),
    "compare": ("compare", {}),
    "compare over many images": ("compare", {"fidelity": "true", "alike images": "100"}),
    "compare one class": ("compare", {"target": "a class you choose"}),
    "compare photographs": ("compare", {"family": "Photograph (ImageNet)"}),
    "segmentation": ("segmentation", {}),
    "segmentation heat": ("segmentation", {"show": "Heat maps"}),
    "recipes": ("recipes", {}),
    "recipes with masks": ("recipes", {"recipe": "Segmentation"}),
    "own sweep": ("recipes", {"run": "A sweep of your own"}),
    "results": ("results", {}),
    **{f"learn {step}": ("learn", {"step": str(step)}) for step in range(1, 9)},
}
BARE = {title.lower() for title in PAGES} - {page for page, _ in STATES.values()}
"""Pages of which nothing was said above: tried as they open, and they may have no control."""
SESSION = ("answer ", "guess ", "truth ", "group", "epoch ", "name ", "kind", "author ", "discussion ")
"""Keys, or their beginnings, of what belongs to a picture, a group or a moment, and lives in the session alone; and of
what follows from another control."""
OTHER = {"method": "dkd"}
"""What to choose where the options are known here by their titles alone."""
KINDS = ("selectbox", "slider", "select_slider", "multiselect", "number_input", "text_input", "text_area", "radio",
         "toggle", "button_group")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("kdengine.runs.pace", lambda asked: estimates.Pace(0.5, (0.5,) * len(asked)))
    st.cache_data.clear()
    st.cache_resource.clear()


def opened(page, query):
    at = AppTest.from_file(str(APP), default_timeout=120)
    for name, values in parse_qs(query, keep_blank_values=True).items():
        at.query_params[name] = values
    at.switch_page(f"../pages/{page}.py").run()
    assert not at.exception, at.exception
    return at


def controls(at):
    """What can be set: kind and key, in the page's order."""
    return [(kind, each.key) for kind in KINDS for each in getattr(at, kind)
            if not each.disabled and not (each.key or "").startswith(SESSION)]


def control(at, kind, key):
    return next(each for each in getattr(at, kind) if each.key == key)


def change(widget, kind):
    """Set it to something else."""
    if widget.key in OTHER:
        return widget.set_value(OTHER[widget.key])
    if kind == "number_input":
        return widget.set_value(widget.min + widget.step if widget.value is None else widget.value + widget.step)
    return widget.set_value(widget.max if widget.value != widget.max else widget.min)


def link(at):
    return urlencode([(name, value) for name, values in at.query_params.items()
                      for value in ([values] if isinstance(values, str) else values)])


@pytest.mark.parametrize("state", [*STATES, *sorted(BARE)])
def test_every_control_stands_in_the_link(state):
    """The browser puts those into the link that are bound to it; the others do so themselves, and come back."""
    page, query = STATES.get(state, (state, {}))
    at = opened(page, urlencode(query))
    found = controls(at)
    assert found or page in BARE
    for kind, key in found:
        at = opened(page, urlencode(query))
        assert key, f"A {kind} of {page} has no key: {[each.label for each in getattr(at, kind)]}"
        widget = control(at, kind, key)
        if getattr(widget.proto, "query_param_key", ""):
            assert widget.proto.query_param_key == key
            continue
        change(widget, kind).run()
        assert not at.exception, (key, at.exception)
        assert key in at.query_params, f"{page} forgets {key}"
        assert control(opened(page, link(at)), kind, key).value == control(at, kind, key).value


def test_a_method_is_chosen_twice_and_set_in_two_ways(waiting):
    at = opened("distill", urlencode({"view": "Your own runs"}))
    at.multiselect(key="methods").set_value(["kd", "kd 2"]).run()
    assert "are set alike" in at.info[0].value
    assert [each for each in at.button if each.label == "Start"] == []
    at.slider(key="kd 2.alpha").set_value(0.5).run()
    next(each for each in at.button if each.label == "Start").click().run()
    made = sorted((run.id, run.configuration.hyperparameters["alpha"]) for run in store.all_runs())
    assert [alpha for _, alpha in made] == [0.9, 0.5]
    # The browser puts the titles into the link.
    titles = at.multiselect(key="methods").options[2:4]
    back = opened("distill", f"{link(at)}&{urlencode([('methods', title) for title in titles])}")
    assert back.multiselect(key="methods").value == ["kd", "kd 2"]
    assert back.slider(key="kd 2.alpha").value == 0.5


@pytest.mark.parametrize("wrong", ["1e999", "nan", "many", "-3", "", "0.05", "1e-3", "10001", "0x10", "४"])
@pytest.mark.parametrize("key", ["kd.temperature", "kd.alpha"])
def test_a_strange_number_in_the_link_is_the_usual_one(key, wrong):
    at = opened("distill", urlencode({"view": "Your own runs", key: wrong}))
    usual = {"kd.temperature": 4.0, "kd.alpha": 0.9}[key]
    value = next(each.value for kind in ("slider", "number_input") for each in getattr(at, kind) if each.key == key)
    assert value == (float(wrong) if key == "kd.alpha" and wrong in ("0.05", "1e-3") else usual)


def test_what_stays_in_the_session_is_of_one_page():
    """Two pages that keep something under one name would open with each other's choices."""
    kept, used = {}, {}
    for file in [*(APP.parent.parent / "pages").glob("*.py"), *APP.parent.rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            named = {each.arg: each.value for each in node.keywords} if isinstance(node, ast.Call) else {}
            if isinstance(key := named.get("key"), ast.Constant):
                used.setdefault(key.value, set()).add(file.name)
                if "persist_state" in named:
                    kept.setdefault(key.value, set()).add(file.name)
    assert {"of", "chart", "against"} <= set(kept)
    assert {key: used[key] for key in kept if len(used[key]) > 1} == {}
