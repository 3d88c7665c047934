"""Step 6: what can flow from teacher to student: answers, features, relations, weights, gradients, sparsity."""

from __future__ import annotations

import streamlit as st

import kdengine
from explorer import digits
from explorer.comparison import inline
from explorer.flows import drawing
from explorer.learn import question
from explorer.learn.labels import INDEX
from explorer.networks import open_network
from kdengine.colors import ink

KINDS = {  # what is matched, and a method that does it
    "Answers (logits)": "kd",
    "Features": "features_mse",
    "Relations between images": "rkd",
    "Weights": "weights",
    "Gradients": "input_gradient",
    "Sparsity: which neurons fire": "activation_boundary",
}
SIDE = 58


@st.cache_data(max_entries=8, show_spinner=False)
def activity(reference: str, digest: str) -> dict[str, list[list[float]]]:
    """Where a network's stages are active for the digit. digest: of its weights."""
    del digest
    return kdengine.explain.activity_maps(open_network(reference), digits.example(INDEX)[0])


def maps_in_a_row(reference: str, title: str) -> str:
    """The digit and a network's maps of it, shallow to deep, as HTML."""
    picture, _ = digits.example(INDEX)
    pictures = {"image": picture} | {
        name.replace("stage", "stage "): kdengine.explain.overlay(picture, each, 1.0)
        for name, each in activity(reference, kdengine.list_checkpoints()[reference]["digest"]).items()}
    figures = "".join(
        f'<figure style="margin:0;text-align:center"><img src="{inline(each.resize((SIDE, SIDE)), "PNG")}" '
        f'alt="{title}, {name}" width="{SIDE}"><figcaption style="font-size:.85rem">{name}</figcaption></figure>'
        for name, each in pictures.items())
    return (f'<div style="display:flex;gap:14px;align-items:center;flex-wrap:wrap"><b style="min-width:9rem;'
            f'color:{ink(digits.COLORS[title])}">{title}</b>{figures}</div>')


def show() -> bool:
    """Draw the step; whether it is done."""
    words, look = st.columns([2, 3], gap="large")
    with look:
        kind = st.selectbox("What the student is to match", list(KINDS), key="lesson signal", bind="query-params",
                            persist_state="session")
        method = kdengine.method_anatomy(KINDS[kind])
        st.html(drawing(method["flows"], kind, "Teacher: ResNet-20", "Student: ResNet-8"))
        for reference in (digits.TEACHER_NAME, digits.TAUGHT):
            st.html(maps_in_a_row(reference, digits.TITLES[reference]))
        st.caption("Where each stage of the shipped networks is active for this digit; bright is most. Deeper maps are "
                   "coarser. This student learned from the teacher's answers.")
    with words:
        st.markdown("A teacher can be asked for more than its answer. Its layers come in **stages**, and a **feature** "
                    "map is what a stage finds at each place of the picture: one number a **channel**.")
        st.markdown(f"**{method['title']}**: {method['summary']}")
        text = "The student's stage has 16 channels, the teacher's 64. What do their maps need to be compared?"
        right = question.ask("connector", text, {
            "Nothing more": "Two maps with other numbers of channels cannot be subtracted from each other.",
            "A layer between them": "A **connector** is a small layer that makes 64 channels of the student's 16. "
                                    "It is trained with the student, and then thrown away.",
            "A smaller teacher": "That would work, and give away what the larger one knows.",
        }, ["A layer between them"])
    return bool(right)
