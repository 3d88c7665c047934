"""Step 2: softmax and the temperature, each number beside the formula."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from explorer import digits
from explorer.learn import question
from explorer.learn.labels import INDEX
from explorer.temperature.component import STOPS
from kdengine.colors import TEACHER

_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "softmax",
    html=(_HERE / "softmax.html").read_text(encoding="utf-8"),
    css=(_HERE / "softmax.css").read_text(encoding="utf-8"),
    js=(_HERE / "softmax.js").read_text(encoding="utf-8"),
)
KEY = "softmax lesson"
OPENING, IN_LINK = 1.0, "softmax T"


def linked() -> float:
    """T as the link has it; what the slider cannot stand at is where it opens."""
    text = st.query_params.get(IN_LINK, "")
    return next((stop for stop in STOPS if text == f"{stop:g}"), OPENING)


def keep() -> None:
    """Put T into the link."""
    st.query_params[IN_LINK] = f"{st.session_state[KEY]['temperature']:g}"


def show() -> bool:
    """Draw the step; whether it is done."""
    _, truth = digits.example(INDEX)
    words, numbers = st.columns([2, 3], gap="large")
    with numbers:
        temperature = linked()
        _mount(
            key=KEY, on_temperature_change=keep,
            data={"classes": [str(each) for each in range(10)], "logits": digits.logits(digits.TEACHER_NAME, INDEX),
                  "label": truth, "temperature": temperature, "chosen": truth, "stops": STOPS, "color": TEACHER})
        moved = temperature != OPENING
    with words:
        st.markdown("A network puts out a **logit** z for each digit: any number, larger for what it finds likelier. "
                    "**Softmax** makes probabilities of them: the exponentials, each as a share of their sum. The "
                    "**temperature** T divides the logits first.")
        st.latex(r"p_i = \frac{e^{z_i / T}}{\sum_j e^{z_j / T}}")
        st.caption("Point at a number in the table, or in the formula above it. **Drag T** from 1 upwards.")
        right = question.ask("limit", "As T grows without end, what becomes of the ten probabilities?", {
            "The 4 gets 100%": "That is what happens as T goes to 0: the largest logit takes everything.",
            "They stay as they are": "All z / T come closer to each other, so the shares change.",
            "Each gets 10%": "Every z / T goes to 0, every exponential to 1, and each is a tenth of the sum. "
                              "Before that, the small ones grow, and how they compare can be seen.",
        }, ["Each gets 10%"])
        if right and not moved:
            st.caption("Now see it happen: drag T to 20.")
    return bool(right) and moved
