"""Step 5: guess, then train: the live demonstration."""

from __future__ import annotations

import streamlit as st

import kdengine
from explorer import demonstration
from kdengine.runs.records import FINISHED


def show() -> bool:
    """Draw the step; whether it is done."""
    st.markdown("Does it help? Two equal students, the same number of steps. One has a few labels, the other a "
                "teacher that read them all. **Guess first, then watch them learn.** It is done once both have "
                "finished. One run says whether these two networks differ; step 8 asks whether the method helps.")
    demonstration.show()
    group = st.query_params.get(demonstration.GROUP)
    states = [run["state"] for run in kdengine.list_runs() if run["group"] == group]
    return bool(states) and set(states) == {FINISHED}
