"""A plan as it is trained: what trains now, how far it is, how it learns; start and stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

import kdengine
from explorer.live import SECONDS_BETWEEN_LOOKS, show_progress
from explorer.wording import as_text, error_text
from kdengine import KDError
from kdengine.charts import accuracy_curves
from kdengine.colors import STUDENTS
from kdengine.runs.records import ACTIVE, FAILED, FINISHED, STOPPED, headline

if TYPE_CHECKING:
    from kdengine.recipes import Plan
    from kdengine.runs.schema import Watched

MOST_NAMED = 4
"""Networks that a sentence names."""


def show(plan: Plan) -> tuple[str, ...]:
    """Progress and buttons, as they are at each moment; returns the runs that have finished."""
    watched = kdengine.recipes.progress(plan)
    runs = finished(watched["networks"])
    st.session_state["shown"] = runs
    moving = _moves(watched)
    st.fragment(_look, run_every=SECONDS_BETWEEN_LOOKS if moving else None)(plan, moving)
    return runs


def finished(networks: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The ids of the finished runs."""
    return tuple(each["run"] for each in networks if each["state"] == FINISHED)


def _moves(watched: dict[str, Any]) -> bool:
    """Whether it may be another in a second."""
    return watched["running"] or any(each["state"] in ACTIVE for each in watched["networks"])


def _look(plan: Plan, was_moving: bool) -> None:
    """The plan as it is now; asks for a whole rerun when a network has finished or all has ended."""
    watched = kdengine.recipes.progress(plan)
    networks = watched["networks"]
    done, training = finished(networks), [each for each in networks if each["state"] in ACTIVE]
    text, button = st.columns([5, 1], vertical_alignment="center")
    text.markdown(_told(watched, len(done), training))
    if watched["running"]:
        if button.button("Stop", width="stretch"):
            _ask(kdengine.recipes.stop, plan, "Stopping. What is trained is kept; starting again goes on from there.")
        _show_training(training)
    elif len(done) < len(networks):
        if button.button("Continue" if watched["begun"] else "Run", type="primary", width="stretch"):
            _ask(kdengine.recipes.start, plan, None)
            st.rerun()
        for each in networks:
            if each["state"] == FAILED:
                st.error(f"{as_text(each['label'])}, seed {each['seed']}, failed: {as_text(each['reason'] or '')}")
        if watched["log"]:
            with st.expander("Log"):
                st.code(watched["log"], language=None)
    if was_moving and (not _moves(watched) or done != st.session_state.get("shown")):
        st.rerun()


def _ask(what: Any, plan: Plan, done: str | None) -> None:
    """Start or stop a plan, and tell what came of it."""
    try:
        what(plan)
    except KDError as error:
        st.toast(error_text(error))
    else:
        if done:
            st.toast(done)


def _told(watched: dict[str, Any], done: int, training: Sequence[dict[str, Any]]) -> str:
    """How far it is, and what trains now, in a sentence or two."""
    count = len(watched["networks"])
    if done == count:
        return f":green-badge[Finished] All {count} networks are trained."
    if watched["running"]:
        shared = f", shared with {others}" if (others := _others(training)) else ""
        later = sum(each["state"] == "waiting" for each in watched["networks"])
        then = f"; then {later} more network{'s' if later > 1 else ''}" if later else ""
        now = f"Now {_named(training)}{shared}{then}." if training else "Starting …"
        return f"**{done} of {count} networks trained.** {now}"
    if training and not watched["begun"]:
        return (f"Not started. In training now, for {_others(training) or 'somebody else'}: {_named(training)}. This "
                f"experiment will share {'it' if len(training) == 1 else 'them'}.")
    if training:
        return f"**{done} of {count} networks trained.** Stopping: {_named(training)} ends with this epoch."
    if watched["begun"]:
        stopped = any(each["state"] == STOPPED for each in watched["networks"])
        return f"**{done} of {count} networks trained.**" + (
            " Stopped. The last complete epoch of each is kept; Continue goes on from there." if stopped else "")
    return f"Not started. {done} of {count} networks are there already." if done else "Nothing trained yet."


def _named(training: Sequence[dict[str, Any]]) -> str:
    """Networks that train side by side, in words."""
    labels = list(dict.fromkeys(each["label"] for each in training))
    names = ", ".join(map(as_text, labels[:MOST_NAMED]))
    names += f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    if all(each["teaches"] for each in training):
        if labels == ["Teacher"]:
            return "the teacher"
        return f"a teacher: {names}" if len(training) == 1 else f"{len(training)} teachers: {names}"
    return f"a student: {names}" if len(training) == 1 else f"{len(training)} students side by side: {names}"


def _others(training: Sequence[dict[str, Any]]) -> str:
    """The other recipes for which it is trained."""
    return " and ".join(map(as_text, sorted({title for each in training for title in each["shared_with"]})))


def _show_training(training: Sequence[dict[str, Any]]) -> None:
    """A bar for each group that trains now, and how its networks learn."""
    try:
        runs = {each["run"]: kdengine.watch(each["run"]) for each in training}
    except KDError:  # removed from the command line while the page looked on
        st.rerun()
    groups: dict[str, list[Watched]] = {}
    for run in runs.values():
        groups.setdefault(run["group"], []).append(run)
    for group in groups.values():
        show_progress(group)
    seeds = {each["seed"] for each in training}
    labels = {each["run"]: f"{each['label']}, seed {each['seed']}" if len(seeds) > 1 else each["label"]
              for each in training}
    histories = {labels[run]: each["history"] for run, each in runs.items() if each["history"]}
    if not histories:
        return
    drawn = dict(list(histories.items())[:len(STUDENTS)])
    teacher = next((each["teacher"] for each in runs.values() if each["teacher"]), None)
    epochs = max(each["configuration"]["epochs"] for each in runs.values())
    st.caption("Right on the validation images" + (
        f", the first {len(drawn)} of {len(histories)}" if len(drawn) < len(histories) else ""))
    st.altair_chart(accuracy_curves(drawn, headline(teacher["validation"]) if teacher else None, epochs=epochs),
                    width="stretch")
