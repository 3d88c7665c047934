"""Step 3: why the loss is multiplied by the square of T."""

from __future__ import annotations

import numpy as np
import streamlit as st

import kdengine
from explorer import digits
from explorer.learn import bars, question
from explorer.learn.labels import INDEX
from kdengine.colors import TEACHER

PARTS = {"cross_entropy": "Cross-entropy with the label", "kl": "KL to the teacher, without T²",
         "scaled_kl": "KL to the teacher, times T²"}
COLORS = {PARTS["cross_entropy"]: bars.LABEL, PARTS["kl"]: TEACHER, PARTS["scaled_kl"]: TEACHER}


def parts(temperature: float, alpha: float = 0.5) -> dict:
    """The losses of the untaught student on the digit, and their gradients."""
    student, teacher = (digits.logits(each, INDEX) for each in (digits.ALONE, digits.TEACHER_NAME))
    return kdengine.explain.loss_parts(student, teacher, digits.example(INDEX)[1], temperature, alpha)


@st.cache_data(max_entries=4, show_spinner=False)
def steepest(digests: tuple[str, ...]) -> float:
    """The largest gradient of any part at any temperature of the slider. digests: of the networks' weights."""
    del digests
    gradients = [parts(1 + step / 2)["gradients"] for step in range(39)]
    return max(abs(value) for each in gradients for name in PARTS for value in each[name])


def show() -> bool:
    """Draw the step; whether it is done."""
    words, look = st.columns([2, 3], gap="large")
    with words:
        st.markdown("The loss adds **cross-entropy**, how badly an answer fits the label, and $T^2$ times **KL**, how "
                    "far the student's softened answer is from the teacher's. Why $T^2$? The student learns by the "
                    "**gradient**: how a loss changes with each of its logits. Below 0 the logit is pushed up, above 0 "
                    "down. Of KL it is $(p_s - p_t) / T$, with the student's softened answer $p_s$ and the teacher's "
                    "$p_t$. Its length takes all ten together.")
        right = question.ask("square", "T goes from 4 to 20, five times as high. Without T², KL's gradient becomes…", {
            "as large as before": "The gradient is divided by T, so it shrinks.",
            "about a fifth": "That is one T. There is a second: the higher T is, the closer both softened answers are "
                             "to 10% for each digit.",
            "about a twenty-fifth": "One T divides, and the other brings the two answers closer together: the "
                                    "gradient goes as 1/T² once T is high. **Times T²** it nearly keeps its size.",
        }, ["about a twenty-fifth"])
    with look:
        temperature = st.slider("Temperature T", 1.0, 20.0, 4.0, 0.5, key="lesson T", bind="query-params",
                                persist_state="session")
        gradients = parts(temperature)["gradients"]
        known = {name: title for name, title in PARTS.items() if right or name != "scaled_kl"}
        shown = {title: gradients[name] for name, title in known.items()}
        st.html(bars.gradients(shown, COLORS, steepest(digits.digests())))
        if right:
            lower, higher = (np.linalg.norm(parts(each)["gradients"]["kl"]) for each in (4.0, 20.0))
            st.caption(f"On this digit, from T = 4 to 20: without T² from {lower:.4f} to {higher:.4f}, "
                       f"{lower / higher:.0f} times smaller; times T² from {16 * lower:.2f} to {400 * higher:.2f}. At "
                       "higher T the ratio comes to 25.")
    return bool(right)
