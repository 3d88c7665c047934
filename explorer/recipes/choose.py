"""What is run: the experiment, its scale and seeds, and what a person changes of its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

import kdengine
from explorer import downloads, forms
from explorer.training_form import MOST_LABELS, catalogue
from explorer.wording import as_text, show_error
from kdengine import KDError
from kdengine.measures.uncertainty import SEEDS_FOR_A_METHOD

if TYPE_CHECKING:
    from kdengine.recipes import Plan

ANCHOR = "run-it-yourself"
COMPARED = {"teacher": "the teacher", "temperature": "T"}
"""What a recipe may compare, as a sentence calls it."""
NUMBERS: dict[str, tuple[str, float, float, dict[str, Any]]] = {
    "epochs": ("Epochs, the teacher's too", 1, 1000, {
        "help": "Of every network. A teacher of few epochs knows little, and has little to teach."}),
    "share": ("Share of the images, %", 1, 100, {"help": "Part of the training images used, the same of each class."}),
    "batch_size": ("Batch size", 2, 4096, {}),
    "learning_rate": ("Learning rate", 1e-6, 10.0, {"step": 0.01, "format": "%g"}),
    "labels_per_class": ("Labeled images per class", 1, MOST_LABELS, {
        "placeholder": "all", "help": "The students read this many labels per class; their teacher reads all."}),
    "labelled_images": ("Images with a mask", 1, MOST_LABELS, {
        "placeholder": "all", "help": "The students read the masks of this many images; their teacher reads all."}),
    "temperature": ("Temperature T", 0.1, 100.0, {
        "step": 0.5, "format": "%g", "help": "Of every method that has one, in training."}),
    "kl_weight": ("Weight of the teacher's answers", 0.0, 10.0, {"step": 0.1, "format": "%g"}),
}
"""Settings that are numbers, in the form's order: label, lowest, highest, and what else the field is."""


_OWN = ""
"""The option that changes nothing; None would be an empty field to Streamlit."""
_WIDTH = 240
"""Pixels of a number's field: four beside each other on a laptop, one below the other on a phone."""


@st.cache_data(max_entries=1, show_spinner=False)
def recipes() -> dict[str, dict]:
    """The recipes by name."""
    return {each["name"]: each for each in kdengine.recipes.list_recipes()}


@st.cache_data(max_entries=1, show_spinner=False)
def model_titles() -> dict[str, str]:
    """What the architectures are called, by name."""
    return {each["name"]: each["title"] for each in kdengine.list_models()}


def experiment() -> str:
    """The recipe that is looked at, and its question."""
    by_name = recipes()
    name = st.selectbox("Experiment", list(by_name), key="recipe", bind="query-params", persist_state="session",
                        format_func=lambda each: by_name[each]["title"])
    st.markdown(f"**{by_name[name]['question']}**")
    return name


def plan(name: str) -> Plan | None:
    """The recipe as it is to be run; None where it cannot be; the page then says why."""
    st.header("Run it yourself", anchor=ANCHOR)
    left, right = st.columns([3, 1])
    with left:
        scale = st.segmented_control("Scale", list(recipes()[name]["scales"]), default="quick", required=True,
                                     key="scale", bind="query-params", persist_state="session",
                                     format_func=str.capitalize)
    with right:
        seeds = forms.linked_number("Seeds", 1, 20, 1, "seeds",
                                    help=f"Students trained of each kind. From {SEEDS_FOR_A_METHOD} on, the table may "
                                         "say that a method is better; fewer speak of these networks alone.")
    st.caption(f"{scale.capitalize()}: {recipes()[name]['scales'][scale]['about']}.")
    with st.expander("Change the settings"):
        changes = settings(kdengine.recipes.plan(name, scale))
    try:
        chosen = kdengine.recipes.plan(name, scale, seeds, **changes)
        describe(chosen)
        if not downloads.present(chosen.values["data"][0]):
            return None
        kdengine.recipes.check(chosen)
    except KDError as error:
        show_error(error)
        return None
    return chosen


def settings(own: Plan) -> dict[str, Any]:
    """What is changed of a plan's settings, by name; what it compares is not offered."""
    values = {name: each[0] for name, each in own.values.items() if len(each) == 1}
    changes: dict[str, Any] = {}
    left, middle, right = st.columns(3)
    with left:
        changes["data"] = _another("Data set", own, values["data"], "data", data_sets(own, values["data"]))
    with middle:
        if "teacher" in values:
            data = changes["data"] or values["data"]
            changes["teacher"] = _another("Teacher", own, values["teacher"], "teacher", teachers(own, data))
    with right:
        changes["student"] = _another("Student", own, values["student"], "student", architectures(own))
    with st.container(horizontal=True):
        changes |= {name: _number(own, name, values[name]) for name in NUMBERS if name in values}
    if compared := [called for name, called in COMPARED.items() if len(own.values.get(name, ())) > 1]:
        st.caption(f"Not to be set for all: {' and '.join(compared)}, which this experiment compares.")
    return changes


def data_sets(own: Plan, usual: str) -> dict[str, str]:
    """What data of the recipe's task are here, or can be downloaded, by name."""
    return {each["name"]: each["title"] for each in kdengine.list_data()
            if each["task"] == _task(own) and each["name"] not in (usual, "folder")
            and (each["present"] or each["download_bytes"])}


def teachers(own: Plan, data: str) -> dict[str, str]:
    """What may teach: an architecture, or, where the recipe trains no teacher, a network that is there already."""
    trained = {each["label"] for each in own.networks} & {each["teacher"] for each in own.networks}
    return architectures(own) if trained else {each: each for each in kdengine.runs.teachers(data)}


def architectures(own: Plan) -> dict[str, str]:
    """The networks for the recipe's task, by name."""
    return {name: each["title"] for name, each in catalogue()[1].items() if each["task"] == _task(own)}


def describe(chosen: Plan) -> None:
    """What is trained, and the command that does the same."""
    count = len(chosen.networks)
    st.markdown(f"**{as_text(chosen.setting)}**")
    with st.expander(f"What it trains: {count} networks"
                     + (f", students {chosen.seeds} times" if chosen.seeds > 1 else "")):
        st.dataframe(
            [{"Network": each["label"], "Architecture": each["network"], "Method": each["method"],
              "Teacher": each["teacher"] or (each["start"] and f"starts from {each['start']}")}
             for each in chosen.networks],
            hide_index=True, width="stretch", placeholder="–",
        )
    st.code(chosen.command, language=None, wrap_lines=True)


def _task(own: Plan) -> str:
    return "segmentation" if "labelled_images" in own.values else "classification"


def _another(label: str, own: Plan, usual: str, name: str, options: dict[str, str]) -> str | None:
    """A choice of something else than the scale's own, which comes first; None for that one."""
    called = {each["name"]: each["title"] for each in kdengine.list_data()} | model_titles()
    titles = {each: title for each, title in options.items() if each != usual}
    chosen = st.selectbox(label, [_OWN, *titles], key=f"{own.recipe.name}.{name}", bind="query-params",
                          persist_state="session",
                          format_func=lambda each: titles.get(each) or f"{called.get(usual, usual)} (its own)")
    return None if chosen == _OWN else chosen


def _number(own: Plan, name: str, usual: float | None) -> float | None:
    """A number that opens as the scale has it; None where that is not changed."""
    label, low, high, more = NUMBERS[name]
    percent = name == "share"
    shown = round(100 * usual) if percent and usual else usual
    value = forms.linked_number(label, low, high, shown, f"{own.recipe.name}.{name}", follows=True,
                                width=_WIDTH, **more)
    if value == shown:
        return None
    return value / 100 if percent else value
