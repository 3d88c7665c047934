"""Results: what was measured, on what, and whether a gain is real."""

import streamlit as st

import kdengine
from explorer import unreadable
from explorer.results import answer, errors, everything
from kdengine.runs import summary

st.title("Results")
unreadable.show()
warnings = st.container()
with st.spinner("Comparing the networks …"):
    measured = summary.summaries()
if measured:
    sets = list(dict.fromkeys(row.data for row in measured))
    chosen = st.segmented_control("Data set", sets, default=sets[0], required=True, key="set", bind="query-params",
                                  persist_state="session", format_func=answer.name_of)
    rows = [row for row in measured if row.data == chosen]
    answer.show_changes(rows)
    ticked = answer.show_table(rows)
    answer.offer_latex(ticked or rows)
    answer.show_chosen(ticked)
    costs, wrong = st.columns(2, gap="large")
    with costs:
        st.subheader("What it costs")
        answer.show_scatter(rows)
    with wrong:
        errors.show(rows, answer.titles(rows))
    st.subheader("Every run, every column")
    everything.show([row for row in kdengine.runs.results_table() if row["data"] == chosen])
    with warnings:  # last: where the images are not decoded yet, opening them takes a while
        answer.warn_of_other_images(ticked)
else:
    st.info("Nothing is measured yet. Train something on the **Distill** page; finished runs appear here.")
