"""A question before its answer, and which steps are done: an answer counts once it is right."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import streamlit as st

from explorer import lecture

DONE = "done"
"""What the link holds of it: the numbers of the steps that are done, from 1."""


def ask(
    key: str, text: str, replies: Mapping[str, str], right: Collection[str], *, horizontal: bool = False
) -> bool | None:
    """Ask, and say of the chosen option what is right or wrong with it; whether it is right, None before any choice.

    replies: what is said, by option, in Markdown. key: of the question, under which the choice stays in the session. Of
    a step that the link says is done the answer stands there. Of a question that the link hides what is right is said,
    and what it leads to is shown.
    """
    if lecture.hides(f"question {key}"):
        st.markdown(replies[next(iter(right))])
        return True
    known = st.session_state.get("step", 1) in done()
    with st.container(key=f"question {key}"):
        chosen = st.radio(text, list(replies), index=list(replies).index(next(iter(right))) if known else None,
                          key=f"answer {key}", persist_state="session", horizontal=horizontal)
        if chosen is None:
            return None
        if chosen in right:
            st.success(f"Yes. {replies[chosen]}", icon=":material/check:")
        else:
            st.warning(f"{replies[chosen]} Choose again.", icon=":material/close:")
    return chosen in right


def hidden() -> bool:
    """Whether the link hides a question: then nobody has answered it."""
    return any(name.startswith("question-") for name in lecture.hidden())


def done() -> set[int]:
    """The steps that are done, by the link and the session."""
    linked = {int(each) for each in st.query_params.get(DONE, "") if each in "12345678"}
    steps = st.session_state.setdefault("learned", set())
    steps |= linked
    return steps


def finish(step: int) -> None:
    """Note that a step is done."""
    steps = done() | {step}
    st.session_state["learned"] = steps
    st.query_params[DONE] = "".join(map(str, sorted(steps)))
