"""A group of runs: how long it will take, how far it is, in what state."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import streamlit as st

import kdengine
from explorer.wording import as_text, error_text
from kdengine import KDError
from kdengine.runs.records import ACTIVE

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from kdengine.runs.schema import RunData, Watched

BADGES = {
    "queued": ("Queued", "gray"), "starting": ("Starting", "blue"), "running": ("Running", "blue"),
    "finished": ("Finished", "green"), "stopped": ("Stopped", "orange"), "failed": ("Failed", "red"),
    "interrupted": ("Interrupted", "orange"),
}
SECONDS_BETWEEN_LOOKS = 1.0
_TRUE_S = 600.0
"""How long a measurement is taken for true: other work may have come since, or gone."""


@st.cache_resource
def _bench() -> ThreadPoolExecutor:
    """Where one measurement after the other is made, beside the page."""
    return ThreadPoolExecutor(1, "pace")


@st.cache_resource
def _measured() -> dict[tuple, tuple[float, Future]]:
    """How fast networks are, by what decides it: when that was asked for, and the measurement."""
    return {}


def estimate(configurations: list[kdengine.Configuration]) -> None:
    """Tell how long a group will take, once that is measured; nobody waits for it.

    Nothing is measured beside a training of one's own: a group has the machine to itself when its turn comes.
    """
    shared = configurations[0]
    methods = {each["name"]: each["needs_teacher"] for each in kdengine.list_methods()}
    decides = (shared.data, shared.image_size, shared.student, shared.teacher,
               tuple(methods[each.method] for each in configurations))
    when, measured = _measured().get(decides, (-_TRUE_S, None))
    busy = any(run["state"] in ACTIVE for run in kdengine.list_runs())
    if not busy and time.monotonic() - when >= _TRUE_S:
        measured = _bench().submit(kdengine.runs.pace, configurations)
        _measured()[decides] = time.monotonic(), measured
    if measured is None:
        st.caption("How long it takes is measured once no training runs; Start need not wait for it.")
        return
    looks, done = itertools.count(), measured.done()
    if done:
        st.session_state.pop("estimating", None)
    st.fragment(lambda: _tell_estimate(configurations, measured, next(looks)),
                run_every=None if done else SECONDS_BETWEEN_LOOKS)()


def _tell_estimate(configurations: list[kdengine.Configuration], measured: Future, look: int) -> None:
    """How long it will take, once that is known; asks for a whole rerun then, which ends the polling.

    look: how often was looked before. The first look is part of the page's own run: another one at once would take away
    what Start has just said.
    """
    if not measured.done():
        st.session_state["estimating"] = True
        st.caption("Measuring how fast this machine is; Start need not wait for it …")
        return
    if look and st.session_state.pop("estimating", False):
        st.rerun()
    try:
        expected = kdengine.runs.estimate(configurations, measured.result())
    except KDError as error:
        st.caption(error_text(error))
        return
    together = f" for {len(configurations)} students together" if len(configurations) > 1 else ""
    st.markdown(f"About **{length(expected['seconds'])}** of training on this machine, some seconds to begin and "
                f"to measure; {expected['images_per_second']:,.0f} images a second{together}.")


def length(seconds: float) -> str:
    """A duration as people say it."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def about(seconds: float) -> str:
    """A duration that is a guess, as people say it."""
    if seconds < 45:
        return "less than a minute"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 90 else f"about {seconds / 3600:.0f} h"


def _before(queued: RunData) -> str:
    """How many groups have their turn before a queued run, in words."""
    groups = {run["group"] for run in kdengine.list_runs() if run["state"] in ACTIVE
              and run["status"]["launched"] < queued["status"]["launched"] and run["group"] != queued["group"]}
    return f", after {len(groups)} other group{'s' if len(groups) > 1 else ''}" if groups else ""


def stop_button(place: DeltaGenerator, ids: Sequence[str]) -> None:
    """Stop, which is asked once more: a slip of the hand ends no training."""
    with place.popover("Stop", width="stretch"):
        st.caption("The last complete epoch is kept, and **Resume** goes on from there.")
        if st.button("Stop now", key=f"stop {ids[0]}", width="stretch"):
            for run in ids:
                kdengine.stop(run)
            st.toast("Stopping. The last complete epoch is kept.")


def show_progress(watched: Sequence[Watched]) -> None:
    """One bar for the group: its students advance together."""
    active = [run for run in watched if run["state"] in ACTIVE]
    if not active:
        st.empty()  # in the bar's place: else all below moves up, and for a moment stands there twice
        return
    progress = active[0]["progress"]
    if active[0]["state"] == "queued":
        first = active[0]["configuration"]["initial"]
        awaited = f"the first stage, {as_text(first)}" if first else f"a training slot{_before(active[0])}"
        st.progress(0.0, f"Waiting for {awaited} …")
    elif all(each["paused"] for each in active):
        epoch, epochs = active[0]["status"]["epoch"], active[0]["configuration"]["epochs"]
        st.progress(epoch / epochs, f"Paused after epoch {epoch} of {epochs}. After two minutes it is stopped.")
    elif progress.get("phase") != "Training":
        st.progress(0.0, f"{as_text(progress.get('phase', 'Starting'))} …")
    else:
        done = progress["epoch"] * progress["of"] + progress["images"]
        text = f"Epoch {min(progress['epoch'] + 1, progress['epochs'])} of {progress['epochs']}"
        if all(each["pausing"] for each in active):
            text += ", then a pause"
        elif progress["images_per_second"]:
            text += f" · {progress['images_per_second']:,.0f} images a second"
            text += f" · {about(progress['seconds_left'])} left" if progress["epoch"] else ""
        st.progress(min(1.0, done / (progress["epochs"] * progress["of"])), text)
