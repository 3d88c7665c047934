"""What was measured earlier: the reports of an experiment that come with the program."""

from __future__ import annotations

import time

import streamlit as st

import kdengine
from explorer import report as lab_report
from explorer.recipes import results
from explorer.wording import as_text


@st.cache_resource(max_entries=4, show_spinner="Reading the report …")
def earlier_results(name: str) -> list[dict]:
    """The reports of a recipe. A resource: charts need not be copied."""
    return kdengine.recipes.earlier_results(name)


def show(name: str) -> None:
    """The report, one of them where there are several: its answer first, then all that lies behind it."""
    reports = {each["name"]: each for each in earlier_results(name)}
    if not reports:
        st.info("Nobody has measured this yet: no report of it comes with the program. Run it yourself, here below.")
        return
    heading, chosen = st.container(), next(iter(reports))
    if len(reports) > 1:
        chosen = st.selectbox("Report", list(reports), key=f"report {name}", bind="query-params",
                              persist_state="session")
    report = reports[chosen]
    when = time.strftime("%B %Y", time.gmtime(report["created"]))
    heading.header(f"Measured earlier, {when}, on {as_text(report['device'])}", anchor=False)
    st.markdown(f"**{as_text(report['setting'])}**")
    results.open_with_answer(report)
    if report["printed"]:
        st.subheader("As lab sheets print it", anchor=False)
        st.dataframe(report["printed"], hide_index=True, width="stretch")
        st.caption(report["apart"])
    results.show_details(report)
    lab_report.offer(chosen, lambda author, discussion: kdengine.recipes.archived_report(chosen, author, discussion))
    st.caption("It was made by")
    st.code(report["command"], language=None, wrap_lines=True)
