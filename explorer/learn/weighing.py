"""Step 4: alpha weighs the label and the teacher."""

from __future__ import annotations

import streamlit as st

from explorer.learn import bars, question
from explorer.learn.square import parts
from kdengine.colors import STUDENT

TEMPERATURE = 4.0


def show() -> bool:
    """Draw the step; whether it is done."""
    words, look = st.columns([2, 3], gap="large")
    with look:
        alpha = st.slider("Teacher's share alpha", 0.0, 1.0, 0.5, 0.05, key="lesson alpha", bind="query-params",
                          persist_state="session")
        tried = st.session_state.setdefault("alphas tried", set())
        tried.add(alpha)
        found = parts(TEMPERATURE, alpha)
        labels, teacher = (1 - alpha) * found["losses"]["cross_entropy"], alpha * found["losses"]["scaled_kl"]
        parts_of = found["gradients"]
        most = max(found["losses"]["cross_entropy"], found["losses"]["scaled_kl"])
        st.markdown(f"The loss on this digit, of the student that had no teacher, at T = {TEMPERATURE:g}: "
                    f":green[**label {labels:.3f}**] + :blue[**teacher {teacher:.3f}**] = "
                    f"**{found['losses']['loss']:.3f} nats**")
        st.html(bars.terms(labels, teacher, most))
        title = "Gradient of the sum, on each logit"
        limit = max(abs(value) for name in ("cross_entropy", "scaled_kl") for value in parts_of[name])
        st.html(bars.gradients({title: parts_of["loss"]}, {title: STUDENT}, limit))
    with words:
        st.markdown("The loss adds two parts. **Cross-entropy** (CE) asks for the label; **KL** asks for the teacher's "
                    "softened answer. **alpha** says how much each counts. Both are in **nats**, the unit that goes "
                    "with the natural logarithm.")
        st.latex(r"\mathcal{L} = (1 - \alpha)\,\mathrm{CE} + \alpha\,T^2\,\mathrm{KL}(p_t \,\Vert\, p_s)")
        st.caption("Move alpha to both ends and look at the gradient of the wrong digits.")
        right = question.ask("alpha", "At alpha = 1, what does the student learn from an image without a label?", {
            "Nothing": "The label's part has no weight then. What does the other part need?",
            "As much as from one with a label": "No label is read at alpha = 1. The teacher answers any image, so "
                                                "all images can be used.",
            "Half as much": "At alpha = 1 the teacher's part counts in full, for every image.",
        }, ["As much as from one with a label"])
        if right and {0.0, 1.0} <= tried:
            st.caption("At alpha = 0 the label says: more of the 4, less of whatever else you believed. At alpha = 1 "
                       "each wrong digit has a target of its own: some are pushed up.")
        elif right:
            left = " and ".join(f"{each:g}" for each in (0.0, 1.0) if each not in tried)
            st.info(f"Now move alpha to {left}: then this step is done.")
    return bool(right) and {0.0, 1.0} <= tried
