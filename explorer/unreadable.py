"""What cannot be read of runs and checkpoints: named with its reason, and moved aside where a person says so."""

from __future__ import annotations

import streamlit as st

import kdengine
from explorer.wording import as_text, error_text, show_error
from kdengine import KDError
from kdengine.runs.schema import RunData


def show() -> None:
    """A list of what cannot be read, with a button for each, and of what is ignored; nothing where all is well."""
    odd = kdengine.runs.list_unreadable()
    strange = [run for run in kdengine.list_runs() if run["ignored"]]
    if count := len(odd) + len(strange):
        what = "run or checkpoint is" if count == 1 else "runs and checkpoints are"
        with st.expander(f"**{count} {what} not read, or not as a whole**"):
            _list(odd, strange)


def _list(odd: list[dict], strange: list[RunData]) -> None:
    for place, each in enumerate(odd):
        said, button = st.columns([6, 1], vertical_alignment="center")
        said.markdown(error_text(KDError(f"The {each['kind']} {each['name']} cannot be read: {each['reason']}")))
        if button.button("Move aside", key=f"aside {place} {as_text(each['name'])}", width="stretch",
                         help="Into the folder .aside beside it. Nothing is deleted."):
            try:
                kdengine.runs.move_aside(each["kind"], each["name"])
            except KDError as error:  # another tab was quicker
                show_error(error)
            else:
                st.rerun()
    for run in strange:
        st.caption(as_text(f"The run {run['id']} has fields that this version does not know and ignores: "
                           f"{', '.join(run['ignored'])}"))
