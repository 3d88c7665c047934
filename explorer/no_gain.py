"""Why no gain: what was measured of a student that its teacher did not help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

import kdengine
from explorer.wording import as_text
from kdengine.runs.diagnosis import CAUSES, Diagnosis


@st.cache_data(max_entries=32, ttl=60, show_spinner="Looking for causes …")
def _diagnose(names: tuple[str, ...]) -> Diagnosis | None:
    return kdengine.runs.diagnose(names)


def show(students: Mapping[str, Sequence[str]]) -> None:
    """Of each student that has gained nothing, the causes that were measured, and what may be tried.

    students: results that are equal but for the seed, by what the student is called. Nothing where all have gained.
    """
    said = {called: each for called, names in students.items() if (each := _diagnose(tuple(names)))}
    failed = {called: each for called, each in said.items() if not each.gained}
    if not failed:
        return
    with st.expander(f"Why no gain? ({', '.join(map(as_text, failed))})", icon=":material/troubleshoot:"):
        for called, each in failed.items():
            st.markdown(f"**{as_text(called)}**: {each.text}")
            if each.findings:
                st.table([{"Cause": CAUSES[finding.cause], "What was measured": as_text(finding.measured),
                           "What may be tried": as_text(finding.advice)} for finding in each.findings],
                         hide_index=True)
