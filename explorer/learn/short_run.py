"""A short run with a mistake beside an equal one without: both are trained while one looks on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

import kdengine
from explorer import digits
from explorer.networks import open_data, open_network
from kdengine.charts import with_mistake

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

Rows = list[dict[str, Any]]


@st.fragment
def show(mistake: dict[str, Any]) -> None:
    """The button, and what came of it. Each click takes other first weights.

    mistake: one of `list_mistakes`. Whoever changes the mistake or leaves the step ends a training:
    Streamlit stops this at the next row, and nothing is kept of it.
    """
    setting, runs = kdengine.explain.SHORT_RUN, _runs(mistake["name"])
    words, look = st.columns([2, 3])
    clicked = words.button("Train with this mistake", width="stretch")
    said, chart = words.empty(), look.empty()
    if clicked:
        rows: Rows = []
        _draw(chart, rows)
        for row in kdengine.explain.train_with_mistake(
                mistake["name"], open_network(digits.TEACHER_NAME), open_data("digits"), setting, seed=len(runs)):
            rows.append(row)
            said.caption(f"Epoch {row['epoch']} of {setting.epochs} …")
            _draw(chart, rows)
        runs.append(rows)
    if runs:
        _draw(chart, runs[-1])
        with said.container():
            _tell(runs)
        mean, deviation = mistake["gap"]
        st.caption(f"In {kdengine.explain.MEASURED} runs measured before: {mean:+.1f} points at the mean, standard "
                   f"deviation {deviation:.1f}. {mistake['said']}")
    else:
        said.caption(f"A student learns with it, beside one without. {setting.epochs} epochs, about ten seconds.")
    labels = setting.labels_per_class * len(open_data("digits").classes)
    st.caption(f"Both students start from the same weights and see the same digits in the same batches: "
               f"{setting.share:.0%} of the training digits, {labels} of them with a label. "
               f"alpha = {setting.alpha:g}, T = {setting.temperature:g}; SGD, from a learning rate of "
               f"{setting.learning_rate:g} down to 0.")


def _runs(mistake: str) -> list[Rows]:
    """The runs of this session with a mistake, with this teacher and these data."""
    key = mistake, kdengine.list_checkpoints()[digits.TEACHER_NAME]["digest"], open_data("digits").digest
    return st.session_state.setdefault("short runs", {}).setdefault(key, [])


def _draw(place: DeltaGenerator, rows: Rows) -> None:
    place.altair_chart(with_mistake(rows, kdengine.explain.SHORT_RUN.epochs), width="stretch")


def _tell(runs: list[Rows]) -> None:
    """What came of the last run, and what these runs can tell and what not."""
    last = runs[-1][-1]
    st.markdown(f"Right: **{last['right']:.1%}**, with the mistake: **{last['wrong']:.1%}**, after "
                f"{last['epoch']} epochs; one run each.")
    told = "differ" if last["differ"] else "cannot be told apart"
    said = f"On these {last['count']} test digits the two networks {told}. "
    if len(runs) == 1:
        said += "One run says nothing of other first weights: train again for others."
    else:
        gaps = ", ".join(f"{100 * (rows[-1]['wrong'] - rows[-1]['right']):+.1f}" for rows in runs)
        said += f"Your {len(runs)} runs, each from other first weights: {gaps} points."
    st.caption(said)
