"""A sweep of one's own: its file, as text or uploaded, and what it would train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

import kdengine
from explorer import downloads
from explorer.wording import as_text, error_text, show_error
from kdengine import KDError

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from kdengine.recipes import Plan

LAB, OWN = "Lab experiments", "A sweep of your own"
EXAMPLE = """\
# Which temperature, and how much of the teacher?
# What stands here holds for every network.
data = "digits"
student = "resnet8"
teacher = "digits-teacher"
labels_per_class = 5
epochs = 8
seeds = 1

# A list is a grid: 3 x 2 students. A student
# without a teacher is added by itself.
[[method]]
method = "kd"
temperature = [1, 4, 8]
alpha = [0.5, 1.0]
"""
MOST = 4000
"""Characters of a file: its text stands in the page's link."""
_FILE, _UPLOAD = "sweep", "sweep upload"


def chosen(place: DeltaGenerator) -> bool:
    """Whether a sweep of one's own is wanted, and no lab experiment."""
    return place.segmented_control("What to run", [LAB, OWN], default=LAB, required=True, key="run",
                                   bind="query-params", persist_state="session", label_visibility="collapsed") == OWN


def choose() -> Plan | None:
    """The plan that the file asks for; None where it cannot be run, and the page says why."""
    st.markdown("Methods, settings and seeds of your choice, written in a file. Finished runs can be downloaded as "
                "such a file, on **Distill** and **Results**.")
    left, right = st.columns([1, 1], gap="large")
    with left:
        text = st.text_area("The sweep, in TOML", EXAMPLE, height=440, max_chars=MOST, key=_FILE, bind="query-params",
                            persist_state="session")
        st.file_uploader("Or open a file", type="toml", max_upload_size=1, key=_UPLOAD, on_change=_open)
    with right:
        try:
            plan = kdengine.recipes.read_sweep(text or "", confined=True)
            if not _present(plan):
                return None
            kdengine.recipes.check(plan)
        except KDError as error:
            show_error(error)
            return None
        _describe(plan)
        st.download_button("Download this file", text or "", "sweep.toml", "application/toml", on_click="ignore")
    return plan


def offer(names: Sequence[str]) -> None:
    """Finished runs as a file, to download; where one file cannot hold them, why."""
    try:
        text = kdengine.recipes.write_sweep(names, kdengine.__version__)
    except KDError as error:
        st.caption(error_text(error))
    else:
        st.download_button("Download as a sweep file", text, "sweep.toml", "application/toml", on_click="ignore",
                           icon=":material/download:",
                           help="What was trained and how, as a text. Change it, then run it: on **Recipes**, under "
                                f"*{OWN}*, or with `python -m kdengine sweep --config sweep.toml`.")


def _open() -> None:
    """Put an uploaded file in place of the text."""
    upload = st.session_state[_UPLOAD]
    if upload is None:
        return
    text = upload.getvalue().decode("utf-8-sig", errors="replace")
    if len(text) > MOST:
        st.toast(f"The file has {len(text):,} characters; this page takes {MOST:,}. Run it on the command line: "
                 f"`python -m kdengine sweep --config FILE`.")
    else:
        st.session_state[_FILE] = text


def _present(plan: Plan) -> bool:
    """Whether its data are here; a folder that is not is told when the plan is checked."""
    names = dict.fromkeys(part.configuration.data for part in plan.parts)
    return all(downloads.present(name) for name in names if not name.startswith("folder"))


def _describe(plan: Plan) -> None:
    """How many networks it trains, and which."""
    count = sum(len(plan.seeds_of(part)) for part in plan.parts)
    st.markdown(f"It trains **{count} network{'s' if count > 1 else ''}**: {as_text(plan.setting)}.")
    st.dataframe(
        [{"Network": each["label"], "Architecture": each["network"], "Method": each["method"],
          "Teacher": each["teacher"]} for each in plan.networks],
        hide_index=True, width="stretch", placeholder="–", alt="The networks that it trains")
