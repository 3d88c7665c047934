"""Learn: distillation in eight steps on one digit, each with a question before its answer."""

import streamlit as st

from explorer import digits, pages, spoken
from explorer.learn import attention, labels, question, signals, softened, square, train, weighing, wrong

STEPS = {
    1: ("What a label leaves out", labels.show),
    2: ("Softmax and temperature", softened.show),
    3: ("Why T squared", square.show),
    4: ("Label or teacher: alpha", weighing.show),
    5: ("Guess, then train", train.show),
    6: ("Answers or features", signals.show),
    7: ("Where they look", attention.show),
    8: ("Does it really help?", wrong.show),
}


def go_to(step: int) -> None:
    """Open a step."""
    st.session_state["step"] = step


heading, steps, back, forward = st.columns([2, 4, 1, 1], vertical_alignment="bottom")
heading.title("Learn")
step = steps.segmented_control("Step", list(STEPS), default=1, required=True, key="step", bind="query-params",
                               label_visibility="collapsed")
back.button("Back", on_click=go_to, args=(max(1, step - 1),), width="stretch", disabled=step == 1, key="back")
forward.button("Next", on_click=go_to, args=(min(len(STEPS), step + 1),), width="stretch", disabled=step == len(STEPS),
               type="primary" if step in question.done() else "secondary", key="next")
title, show = STEPS[step]
spoken.status(f"Step {step}: {title}")
steps_done = ", ".join(map(str, sorted(question.done()))) or "none yet"
if digits.missing():
    st.subheader(f"{step}. {title}")
else:
    row = st.container(horizontal=True, vertical_alignment="center")
    row.image(digits.example(labels.INDEX)[0], width=44, alt="The digit that all steps are about")
    row.subheader(f"{step}. {title}")
    shown = show()
    if shown and step not in question.done() and not question.hidden():
        question.finish(step)
        st.rerun()
    st.caption(f"Steps done, of {len(STEPS)}: {steps_done}.")
    if question.done() >= set(STEPS):
        st.success("**All eight are done.** A teacher's softened answer says what a label leaves out. T brings it to "
                   "light, T² keeps its weight, alpha shares it with the label. Whether it helps takes an independent "
                   "student beside it, and more runs than one.")
        links = st.container(horizontal=True)
        for title in ("Temperature", "Methods", "Distill", "Compare"):
            links.page_link(pages.file(title), label=f"{title}: {pages.PAGES[title]}", width="content")
