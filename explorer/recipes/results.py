"""What an experiment has come to: the answer and its chart, then table, observations, figures, pictures, report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

import kdengine
from explorer import report
from explorer.wording import as_text

if TYPE_CHECKING:
    from kdengine.recipes import Plan

ANCHOR = "what-came-out"


@st.cache_resource(max_entries=16, show_spinner="Measuring and drawing …")
def results_of(identity: str, runs: tuple[str, ...], _plan: Plan) -> dict:
    """What a plan shows, once for the same finished runs. A resource: charts need not be copied."""
    del identity, runs
    return kdengine.recipes.recipe_results(_plan)


def show(plan: Plan, runs: tuple[str, ...]) -> None:
    """What was trained here. runs: those that have finished."""
    results = results_of(plan.identity, runs, plan)
    st.header("What came out here", anchor=ANCHOR)
    open_with_answer(results)
    show_details(results)
    report.offer(f"{plan.recipe.name}-{plan.scale}-{plan.seeds}",
                 lambda author, discussion: kdengine.recipes.recipe_report(plan, author, discussion))


def open_with_answer(results: dict[str, Any]) -> None:
    """What answers the question, beside the chart that shows it."""
    caption, chart = next(iter(results["figures"].items()))
    words, picture = st.columns([2, 3], gap="large")
    words.markdown("\n".join(f"- {as_text(each)}" for each in results["answer"]))
    picture.altair_chart(chart, width="stretch")
    picture.caption(caption)


def show_details(results: dict[str, Any]) -> None:
    """Table, observations, why nothing was gained, the other figures, and pictures."""
    st.subheader("Table", anchor=False)
    named = {"Network": st.column_config.Column(pinned=True)}
    st.dataframe(results["table"], hide_index=True, width="stretch", column_config=named,
                 alt="The networks and what they scored")
    st.caption(results["reading"])
    with st.expander("All other numbers"):
        st.dataframe(results["rest"], hide_index=True, width="stretch", column_config=named,
                     alt="What else was measured of the networks")
    st.subheader("Observations", anchor=False)
    st.markdown("\n".join(f"- {as_text(each)}" for each in results["remarks"]))
    if results["no_gain"]:
        with st.expander("Why no gain?", icon=":material/troubleshoot:"):
            st.table([{title: as_text(cell) for title, cell in row.items()} for row in results["no_gain"]],
                     hide_index=True)
    _, *others = results["figures"].items()
    if others:
        st.subheader("Figures", anchor=False)
    columns = st.columns(2, gap="large")
    for place, (caption, chart) in enumerate(others):
        with columns[place % 2]:
            st.altair_chart(chart, width="stretch")
            st.caption(caption)
    if results["gallery"]:
        st.subheader(results["gallery_title"], anchor=False)
        st.caption(results["gallery_caption"])
        st.html(results["gallery"])
