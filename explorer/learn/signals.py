"""Step 6: what can flow from teacher to student: answers, features, relations, weights, gradients, sparsity."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from itertools import pairwise

import streamlit as st

import kdengine
from explorer import digits
from explorer.comparison import inline
from explorer.learn import question
from explorer.learn.labels import INDEX
from explorer.networks import open_network
from kdengine.colors import BACKGROUND, STUDENT, TEACHER

KINDS = {  # what is matched: a method that does it, and what it takes of the two networks
    "Answers (logits)": ("kd", "logits"),
    "Features": ("features_mse", "stages"),
    "Relations between images": ("rkd", "last"),
    "Weights": ("weights", "inside"),
    "Gradients": ("input_gradient", "image"),
    "Sparsity: which neurons fire": ("activation_boundary", "stages"),
}
CONNECTED = ("features_mse", "activation_boundary")
"""Methods whose signal passes a connector: maps of other channels cannot be compared otherwise."""
SIDE = 72
INK = BACKGROUND
"""Of lines and words in the drawing: an image knows nothing of the page's theme."""
_X = (60, 200, 340, 480, 620)
"""Where image, three stages and logits stand in the drawing, in pixels."""


def drawing(kind: str, teacher: str, student: str) -> str:
    """Both networks, and the signal that flows from one to the other, as HTML."""
    method, place = KINDS[kind]
    names = ("image", "stage 1", "stage 2", "stage 3", "logits")
    chosen = {"logits": (4,), "stages": (1, 2, 3), "last": (3,), "inside": (1, 2, 3), "image": (0,)}[place]
    parts = []
    for y, color, title in ((45, TEACHER, teacher), (175, STUDENT, student)):
        parts.append(f'<text x="8" y="{y - 28}" fill="{color}" font-weight="600">{escape(title)}</text>')
        parts += [f'<line x1="{left + 44}" y1="{y}" x2="{right - 44}" y2="{y}" stroke="{INK}"/>'
                  for left, right in pairwise(_X)]
        for each, (x, name) in enumerate(zip(_X, names, strict=True)):
            fill = color if each in chosen else "none"
            text = "white" if each in chosen else INK
            parts.append(f'<rect x="{x - 42}" y="{y - 18}" width="84" height="36" rx="5" fill="{fill}" '
                         f'stroke="{color}"/>'
                         f'<text x="{x}" y="{y + 5}" text-anchor="middle" fill="{text}">{name}</text>')
    for each in chosen:
        x, connected = _X[each], method in CONNECTED
        parts.append(f'<line x1="{x}" y1="66" x2="{x}" y2="{108 if connected else 150}" stroke="{TEACHER}" '
                     'stroke-width="3" marker-end="url(#arrow)"/>')
        if connected:  # it is the student's: what comes out of it is held against the teacher's map
            parts.append(f'<line x1="{x}" y1="140" x2="{x}" y2="157" stroke="{STUDENT}" stroke-width="3"/>'
                         f'<rect x="{x - 44}" y="114" width="88" height="26" rx="13" fill="{STUDENT}"/>'
                         f'<text x="{x}" y="132" text-anchor="middle" fill="white">connector</text>')
    label = f"{kind} flow from the teacher to the student, at {', '.join(names[each] for each in chosen)}"
    svg = ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 200" font-size="14" font-family="sans-serif">'
           f'<defs><marker id="arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="5" markerHeight="5" '
           f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{TEACHER}"/></marker></defs>{"".join(parts)}</svg>')
    source = b64encode(svg.encode()).decode()  # Streamlit takes SVG out of HTML, but not out of an image
    return f'<img src="data:image/svg+xml;base64,{source}" alt="{escape(label)}" style="width:100%">'


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
            f'color:{digits.COLORS[title]}">{title}</b>{figures}</div>')


def show() -> bool:
    """Draw the step; whether it is done."""
    methods = {each["name"]: each for each in kdengine.list_methods()}
    words, look = st.columns([2, 3], gap="large")
    with look:
        kind = st.selectbox("What the student is to match", list(KINDS), key="lesson signal", bind="query-params",
                            persist_state="session")
        st.html(drawing(kind, "Teacher: ResNet-20", "Student: ResNet-8"))
        for reference in (digits.TEACHER_NAME, digits.TAUGHT):
            st.html(maps_in_a_row(reference, digits.TITLES[reference]))
        st.caption("Where each stage of the shipped networks is active for this digit; bright is most. Deeper maps are "
                   "coarser. This student learned from the teacher's answers.")
    with words:
        method = methods[KINDS[kind][0]]
        st.markdown("A teacher can be asked for more than its answer. Its layers come in **stages**, and a **feature** "
                    "map is what a stage finds at each place of the picture: one number a **channel**.")
        st.markdown(f"**{method['title']}**: {method['summary']}")
        text = "The student's stage has 16 channels, the teacher's 64. What do their maps need to be compared?"
        right = question.ask("connector", text, {
            "Nothing more": "Two maps with other numbers of channels cannot be subtracted from each other.",
            "A layer between them": "Yes, a **connector**: a small layer that makes 64 channels of the student's 16. "
                                    "It is trained with the student, and then thrown away.",
            "A smaller teacher": "That would work, and give away what the larger one knows.",
        }, ["A layer between them"])
    return bool(right)
