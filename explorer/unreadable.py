"""What cannot be read of runs and checkpoints: named with its reason, and moved aside where a person says so."""

from __future__ import annotations

import streamlit as st

import kdengine
from kdengine import KDError


def show() -> None:
    """A list of what cannot be read, with a button for each, and of what is ignored; nothing where all is well."""
    for place, each in enumerate(kdengine.list_unreadable()):
        said, button = st.columns([6, 1], vertical_alignment="center")
        # As plain text: a name or a reason may hold what a stranger wrote, and Markdown would follow it.
        said.text(_printable(f"The {each['kind']} {each['name']} cannot be read: {each['reason']}"))
        if button.button("Move aside", key=f"aside {place} {_printable(each['name'])}", width="stretch",
                         help="Into the folder .aside beside it. Nothing is deleted."):
            try:
                kdengine.move_aside(each["kind"], each["name"])
            except KDError as error:  # another tab was quicker
                st.text(_printable(str(error)))
            else:
                st.rerun()
    for run in kdengine.list_runs():
        if run["ignored"]:
            st.text(_printable(f"The run {run['id']} has fields that this version does not know and ignores: "
                               f"{', '.join(run['ignored'])}"))


def _printable(text: str) -> str:
    """Without what cannot be sent to a browser, as the bytes of a file's name that are no text."""
    return text.encode(errors="backslashreplace").decode()
