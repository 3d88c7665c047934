"""Step 8: does it really help, and six ways to get it wrong."""

from __future__ import annotations

import streamlit as st

import kdengine
from explorer import digits
from explorer.learn import question, short_run
from explorer.networks import open_data, open_network

RECIPE = "what_can_be_matched"
ENOUGH = 3
"""So many mistakes are to be looked at."""
TEMPERATURE = 4.0
CHART_HEIGHT = 290  # pixels, the axis with it: a row for each name, and the question below still on the screen
ONE_STEP, SHORT_RUN = "Its loss and gradient", "A short run with it"
"""What a mistake is shown to change."""


@st.cache_data(max_entries=4, show_spinner="Making mistakes …")
def effects(student: str, teacher: str, digests: tuple[str, str], data: str) -> dict[str, dict[str, float]]:
    """What each mistake does. digests: of both networks' weights; data: of the data set."""
    del digests, data
    return kdengine.explain.mistake_effects(
        open_network(student), open_network(teacher), open_data("digits"), TEMPERATURE)


@st.cache_data(show_spinner=False)
def measured() -> dict | None:
    """The shipped report of what can be matched; None where it is not there."""
    reports = kdengine.recipes.earlier_results(RECIPE)
    return {key: reports[0][key] for key in ("figures", "setting", "remarks")} if reports else None


def show() -> bool:
    """Draw the step; whether it is done."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        helped = _ask_whether_it_helps()
    with right:
        looked_at = _show_mistakes()
    return bool(helped) and looked_at >= ENOUGH


def _ask_whether_it_helps() -> bool | None:
    """A measured table, and whether it was read rightly; None before any answer."""
    st.markdown("**One run says little.** Each student here was trained three times, with other first weights: the "
                "point is the mean, the line its 95% **confidence interval**.")
    report = measured()
    if report:
        chart = next(iter(report["figures"].values()))
        st.altair_chart(chart.properties(height=CHART_HEIGHT), width="stretch")
        st.caption(report["setting"])
    remarks = report["remarks"] if report else []
    better = next((f"Told apart by three runs, with six methods compared: {each}" for each in remarks
                   if each.startswith("Better")), "")
    return question.ask("helps", "What does this experiment show of matching weights?", {
        "It helps": "Its line lies around the one of the independent student.",
        "It harms": "The mean is lower, but the intervals overlap: three runs do not tell.",
        "Three runs do not tell": f"The lines overlap. {better}",
    }, ["Three runs do not tell"])


def _show_mistakes() -> int:
    """The mistakes, and what the chosen one does; how many were looked at."""
    st.markdown(f"**Six ways to get it wrong.** Switch one on and see what it does. Look at {ENOUGH} or more.")
    mistakes = {each["name"]: each for each in kdengine.explain.list_mistakes()}
    chosen = st.radio("Mistake", list(mistakes), key="lesson mistake", bind="query-params", persist_state="session",
                      format_func=lambda each: mistakes[each]["title"], horizontal=True, label_visibility="collapsed")
    looked_at = st.session_state.setdefault("mistakes seen", set())
    looked_at.add(chosen)
    view = st.segmented_control("What it does", [ONE_STEP, SHORT_RUN], default=ONE_STEP, required=True,
                                key="lesson effect", bind="query-params", persist_state="session",
                                label_visibility="collapsed")
    st.code(mistakes[chosen]["code"], language="python", wrap_lines=True)
    st.markdown(mistakes[chosen]["why"])
    if view == ONE_STEP:
        _show_effect(chosen)
    else:
        short_run.show(mistakes[chosen])
    return len(looked_at)


def _show_effect(mistake: str) -> None:
    """What a mistake does to loss and gradient."""
    shipped = kdengine.list_checkpoints()
    pair = (digits.ALONE, digits.TEACHER_NAME)
    all_effects = effects(*pair, tuple(shipped[each]["digest"] for each in pair), open_data("digits").digest)
    wrong, fair = all_effects[mistake], all_effects["right"]
    loss, size, direction = st.columns(3)
    loss.metric("Loss, nats", f"{wrong['loss']:.3f}", f"right: {fair['loss']:.3f}", delta_color="off",
                delta_arrow="off")
    size.metric("Gradient's length", f"{wrong['size']:.2f} x", "right: 1", delta_color="off", delta_arrow="off")
    direction.metric("Its direction (cosine)", f"{wrong['direction']:.2f}", "right: 1", delta_color="off",
                     delta_arrow="off")
    if wrong["right_answers"] != fair["right_answers"]:
        st.caption(f"The teacher then reads {wrong['right_answers']:.0%} of these digits rightly, in place of "
                   f"{fair['right_answers']:.0%}.")
    st.caption(f"On 128 test digits at T = {TEMPERATURE:g}. A smaller loss is no better one: it asks for something "
               "else.")
