"""Step 1: what a label leaves out, and the teacher's answer says."""

from __future__ import annotations

import numpy as np
import streamlit as st

from explorer import digits, pinned
from explorer.learn import question
from explorer.networks import open_data
from kdengine.colors import RIGHT, TEACHER

INDEX = 24
"""The test digit that all lessons are about: a 4 that looks a little like an 8, a 9 and a 1."""
TEMPERATURE = 4.0


def show() -> bool:
    """Draw the step; whether it is done."""
    picture, truth = digits.example(INDEX)
    shares = pinned.answer(digits.TEACHER_NAME, open_data("digits"), INDEX, picture, TEMPERATURE)
    order = np.argsort(-shares)
    words, look = st.columns([2, 3], gap="large")
    with words:
        st.markdown("A **label** says one thing: this is a 4. As numbers it is **one-hot**: 100% for the 4, 0% for "
                    "the others. A large network that read every label, the **teacher**, answers with a probability "
                    "for *every* digit.")
        close = [str(each) for each in order[1:4]]
        said = ", ".join(f"{each} ({shares[int(each)]:.0%})" for each in close)
        replies = {str(digit): f"The teacher gives the {digit} {shares[digit]:.0%}." for digit in range(10)
                   if digit != truth}
        replies |= dict.fromkeys(close, f"After the 4 the teacher finds these most likely: {said}.")
        right = question.ask("looks like", "Besides a 4, which digit does this picture look like?", replies, close,
                             horizontal=True)
        if right:
            st.markdown(f"The label says nothing of that. What the teacher says of the wrong digits is called **dark "
                        f"knowledge**: a small **student** network can learn from it. Why a student? "
                        f"{digits.pair_in_words((digits.TEACHER_NAME, digits.TAUGHT))}")
    with look:
        image, bars = st.columns([1, 2], vertical_alignment="center")
        image.image(picture, width=190, alt=f"Test digit {INDEX}: a handwritten {truth}")
        rows = [("Label", RIGHT, np.eye(10)[truth])]
        if right is not None:
            rows.insert(0, (f"Teacher, softened at T = {TEMPERATURE:g}: see the next step", TEACHER, shares))
        bars.html(pinned.bars(rows, [str(each) for each in range(10)], truth))
        if right is None:
            bars.caption("The teacher's answer appears once you have guessed.")
    return bool(right)
