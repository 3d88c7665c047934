"""What an experiment has come to: the answer and its chart, then table, observations, figures, pictures, report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

import kdengine
from explorer.wording import as_text

if TYPE_CHECKING:
    from kdengine.recipes import Plan

ANCHOR = "what-came-out"


@st.cache_resource(max_entries=16, show_spinner="Measuring and drawing …")
def results_of(command: str, runs: tuple[str, ...], _plan: Plan) -> dict:
    """What a plan shows, once for the same finished runs. A resource: charts need not be copied."""
    del command, runs
    return kdengine.recipes.recipe_results(_plan)


@st.cache_data(max_entries=8, show_spinner="Writing the report …")
def report_of(command: str, runs: tuple[str, ...], _plan: Plan) -> dict:
    """The report, once for the same finished runs."""
    del command, runs
    return kdengine.recipes.recipe_report(_plan)


def show(plan: Plan, runs: tuple[str, ...]) -> None:
    """What was trained here. runs: those that have finished."""
    results = results_of(plan.command, runs, plan)
    st.header("What came out here", anchor=ANCHOR)
    open_with_answer(results)
    show_details(results)
    if results["gallery"]:
        title_pictures(results)
        st.html(results["gallery"])
    st.subheader("Lab report", anchor=False)
    name = f"{plan.recipe.name}-{plan.scale}-{plan.seeds}"
    left, right, note = st.columns([1, 1, 3], vertical_alignment="center")
    left.download_button("Download HTML", lambda: report_of(plan.command, runs, plan)["html"],
                         f"{name}.html", "text/html", width="stretch")
    right.download_button("Download Markdown", lambda: report_of(plan.command, runs, plan)["markdown"],
                          f"{name}.md", "text/markdown", width="stretch")
    note.caption("Hardware, versions, data, settings, tables, figures and formulas, from the runs' own records.")


def open_with_answer(results: dict[str, Any]) -> None:
    """What answers the question, beside the chart that shows it."""
    caption, chart = next(iter(results["figures"].items()))
    words, picture = st.columns([2, 3], gap="large")
    words.markdown("\n".join(f"- {as_text(each)}" for each in results["answer"]))
    picture.altair_chart(chart, width="stretch")
    picture.caption(caption)


def show_details(results: dict[str, Any]) -> None:
    """Table, observations and the other figures."""
    st.subheader("Table", anchor=False)
    st.dataframe(results["table"], hide_index=True, width="stretch", alt="The networks and what they scored")
    st.caption(results["reading"])
    st.subheader("Observations", anchor=False)
    st.markdown("\n".join(f"- {as_text(each)}" for each in results["remarks"]))
    _, *others = results["figures"].items()
    if others:
        st.subheader("Figures", anchor=False)
    columns = st.columns(2, gap="large")
    for place, (caption, chart) in enumerate(others):
        with columns[place % 2]:
            st.altair_chart(chart, width="stretch")
            st.caption(caption)


def title_pictures(results: dict[str, Any]) -> None:
    """What the pictures that follow show."""
    st.subheader(results["gallery_title"], anchor=False)
    st.caption(results["gallery_caption"])
