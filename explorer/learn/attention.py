"""Step 7: where the networks look, and how far a student looks where its teacher does."""

from __future__ import annotations

import math

import streamlit as st

import kdengine
from explorer import digits
from explorer.comparison import inline
from explorer.learn import question
from explorer.learn.labels import INDEX
from explorer.networks import open_network
from kdengine.colors import ink

OPACITY = 0.6
SIDE = 170
RANGES = {"Hardly, below 0.5": (-1.0, 0.5), "Somewhat, 0.5 to 0.8": (0.5, 0.8), "A lot, above 0.8": (0.8, 1.01)}
"""Answers to the question, and between which figures each is right."""


@st.cache_data(max_entries=64, show_spinner="Looking where they look …")
def look_at(reference: str, digest: str, target: int) -> dict:
    """One network's heat map of the digit, for a class. digest: of the network's weights."""
    del digest
    return kdengine.explain.heat_map(open_network(reference), digits.example(INDEX)[0], target)


def show() -> bool:
    """Draw the step; whether it is done."""
    _, truth = digits.example(INDEX)
    words, look = st.columns([2, 3], gap="large")
    with look:
        target = st.select_slider("What speaks for this digit?", list(range(10)), truth, key="lesson class",
                                  bind="query-params", persist_state="session")
        columns = st.columns(3)
    true, shown = agreements(truth), agreements(target)
    with words:
        st.markdown("A **heat map** (Grad-CAM) colors the places that speak for one digit: yellow matters most. Each "
                    "map has its own scale, so compare *where*, not *how much*. **Agreement** is the cosine of two "
                    "maps: 1 where they are alike, 0 where they have nothing in common.")
        said = f"It is {true[digits.TAUGHT]:.2f}."
        right = question.ask(
            "where", "The distilled student was taught what to answer, not where to look. How far do both agree "
                     f"on this {truth}?",
            dict.fromkeys(RANGES, said), [each for each, (low, high) in RANGES.items()
                                          if low <= true[digits.TAUGHT] < high])
        if right:
            st.caption(f"The independent student agrees too, {true[digits.ALONE]:.2f}: the strokes are where they are. "
                       "So one picture says little about teaching; it takes many, with an independent student beside.")
    for column, (reference, title) in zip(columns, digits.TITLES.items(), strict=True):
        heat = look_at(reference, digest(reference), target)
        picture = kdengine.explain.overlay(heat["input"], heat["heat"], OPACITY).resize((SIDE, SIDE))
        source = inline(picture, "PNG")
        color = ink(digits.COLORS[title])
        column.html(f'<figure style="margin:0"><img src="{source}" alt="Heat map of {title}" width="{SIDE}">'
                    f'<figcaption style="color:{color};font-weight:600">{title}</figcaption></figure>')
        if reference in shown and right is not None:
            figure = shown[reference]
            column.caption("no agreement to measure" if math.isnan(figure) else f"agreement **{figure:.2f}**")
    return bool(right)


def agreements(target: int) -> dict[str, float]:
    """Of each student's map with the teacher's, for a class, by reference."""
    teacher = look_at(digits.TEACHER_NAME, digest(digits.TEACHER_NAME), target)["heat"]
    return {each: kdengine.explain.compare_heat_maps(look_at(each, digest(each), target)["heat"], teacher)["cosine"]
            for each in (digits.TAUGHT, digits.ALONE)}


def digest(reference: str) -> str:
    """Of a shipped network's weights."""
    return kdengine.list_checkpoints()[reference]["digest"]
