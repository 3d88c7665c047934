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
    shipped = kdengine.list_checkpoints()
    words, look = st.columns([2, 3], gap="large")
    with look:
        target = st.select_slider("What speaks for this digit?", list(range(10)), truth, key="lesson class",
                                  bind="query-params", persist_state="session")
        maps = {each: look_at(each, shipped[each]["digest"], target) for each in digits.TITLES}
        agreement = {each: kdengine.explain.compare_heat_maps(maps[each]["heat"], maps[digits.TEACHER_NAME]["heat"])
                     for each in (digits.TAUGHT, digits.ALONE)}
        columns = st.columns(3)
    cosine = {each: agreement[each]["cosine"] for each in agreement}
    with words:
        st.markdown("A **heat map** (Grad-CAM) colors the places that speak for one digit: yellow matters most. Each "
                    "map has its own scale, so compare *where*, not *how much*. **Agreement** is the cosine of two "
                    "maps: 1 where they are alike, 0 where they have nothing in common.")
        right = None
        if target == truth:
            said = f"It is {cosine[digits.TAUGHT]:.2f}."
            right = question.ask(
                "where", "Nobody taught the student where to look, only what to answer. How far does it agree?",
                dict.fromkeys(RANGES, said), [each for each, (low, high) in RANGES.items()
                                              if low <= cosine[digits.TAUGHT] < high])
        else:
            st.caption(f"Go back to the {truth} to answer.")
        if right:
            st.caption(f"The student alone agrees too, {cosine[digits.ALONE]:.2f}: the strokes are where they are. So "
                       "one picture says little about teaching; it takes many, and a student alone beside them.")
    for column, (reference, title) in zip(columns, digits.TITLES.items(), strict=True):
        heat = maps[reference]
        picture = kdengine.explain.overlay(heat["input"], heat["heat"], OPACITY).resize((SIDE, SIDE))
        source = inline(picture, "PNG")
        column.html(f'<figure style="margin:0"><img src="{source}" alt="Heat map of {title}" width="{SIDE}">'
                    f'<figcaption style="color:{digits.COLORS[title]};font-weight:600">{title}</figcaption></figure>')
        if reference in agreement and right is not None:
            figure = cosine[reference]
            column.caption("no agreement to measure" if math.isnan(figure) else f"agreement **{figure:.2f}**")
    return bool(right)
