"""The Methods page, headless: every method opens, and what it shows is what the engine runs and what was measured."""

import inspect
import re
import textwrap
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

import kdengine
from kdengine import losses, recipes
from kdengine.methods import METHODS
from kdengine.runs import estimates

APP = Path(__file__).resolve().parent.parent.parent / "explorer" / "app.py"


def opened(page="methods", **link):
    at = AppTest.from_file(str(APP), default_timeout=120)
    for key, value in link.items():
        at.query_params[key] = value
    at.switch_page(f"../pages/{page}.py").run()
    assert not at.exception, at.exception
    return at


def words(at):
    return " ".join(each.value for kind in ("markdown", "caption", "info") for each in getattr(at, kind))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_opens_with_all_that_is_known_of_it(name):
    at, method = opened(method=name), METHODS[name]
    assert at.subheader[0].value == f"{method.title} `{name}`"
    assert method.summary in words(at)
    assert at.latex[0].value.strip("$\n") == method.formula
    linked = re.findall(r"\[arXiv ([\d.]+)\]\(https://arxiv.org/abs/([\d.]+)\)", words(at))
    assert linked == [(number, number) for number in re.findall(r"arXiv (\d{4}\.\d{4,5})", method.source)]
    table = [list(row) for row in at.table[0].value.values] if at.table else []
    assert [(row[0], row[1], row[3]) for row in table] == [
        (f"${field['symbol']}$", f"`{field['name']}`", field["allowed"])
        for field in kdengine.method_anatomy(name)["fields"]]
    assert len(at.code) == (2 if method.first_stage else 1)
    link, = at.get("page_link")
    query = parse_qs(link.proto.query_string)
    assert query["methods"] == list(dict.fromkeys([method.title, METHODS["none"].title]))
    assert ("data" in query) == (len(method.tasks) == 1)


def test_what_was_measured_is_shown_as_the_engine_has_it():
    rows = recipes.measured("rkd")
    assert [each.value.to_dict("records") for each in opened(method="rkd").dataframe] == [rows] != [[]]
    at = opened(method="review")
    assert "Not measured here yet." in words(at) and not at.dataframe


def test_the_opening_method_shows_the_code_that_runs():
    at = opened()
    assert at.subheader[0].value == "Logit matching `kd`"
    for function in (losses.kl_divergence, losses.cross_entropy, METHODS["kd"].terms):
        assert textwrap.dedent(inspect.getsource(function)) in at.code[0].value
    assert "Labels**: read by `cross_entropy`. Images without a label still count in `kl`." in words(at)
    assert "torch's `batchmean` divides by B alone" in words(at)


def test_a_method_is_chosen_by_kind_and_then_by_title():
    at = opened()
    at.button_group(key="kind").set_value("Features").run()
    assert at.query_params["method"] == "features_mse"
    at.button_group(key="method").set_value("vid").run()
    assert at.subheader[0].value == "Variational information `vid`"
    assert opened(method="vid").button_group(key="kind").value == "Features"


def test_the_shelf_holds_every_method_once():
    at, shown = opened(), []
    for kind in at.button_group(key="kind").options:
        at.button_group(key="kind").set_value(kind).run()
        shown += at.button_group(key="method").options
    assert sorted(shown) == sorted(each.title for each in METHODS.values())


def test_a_method_that_is_not_there_is_named_and_the_usual_one_shown():
    at = opened(method="kdd")
    assert "There is no method kdd on the shelf. Logit matching is shown." in words(at)
    assert at.subheader[0].value == "Logit matching `kd`"


@pytest.mark.parametrize("name", ["none", "kd", "fsp", "crd", "cwd"])
def test_try_it_opens_distill_with_the_method_chosen(name, monkeypatch):
    monkeypatch.setattr("kdengine.runs.pace", lambda asked: estimates.Pace(0.5, (0.5,) * len(asked)))
    link, = opened(method=name).get("page_link")
    at = opened("distill", **parse_qs(link.proto.query_string))
    assert at.multiselect(key="methods").value == list(dict.fromkeys([name, "none"]))
    assert [each.label for each in at.button if each.label == "Start"] == ["Start"]
