"""The shipped networks of the digits, which the first page and the lessons are about, and what they answer."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from PIL import Image

import kdengine
from explorer import pinned
from explorer.networks import open_data, open_network
from kdengine.colors import INDEPENDENT, TEACHER, student_colors

TEACHER_NAME, ALONE, TAUGHT = "digits-teacher", "digits-resnet8-none", "digits-resnet8-kd"
TITLES = {TEACHER_NAME: "Teacher", TAUGHT: "Distilled student", ALONE: INDEPENDENT}
COLORS = dict(zip(TITLES.values(), [TEACHER, *student_colors([*TITLES.values()][1:])], strict=True))


def missing() -> bool:
    """Whether one of them is not among the checkpoints, which is told."""
    if set(TITLES) <= set(kdengine.list_checkpoints()):
        return False
    st.info("The shipped digits checkpoints are not in the checkpoints folder. `make checkpoints` trains them.")
    return True


def digests() -> tuple[str, ...]:
    """Of their weights: what is kept of them is computed anew for others."""
    shipped = kdengine.list_checkpoints()
    return tuple(shipped[each]["digest"] for each in TITLES)


def example(index: int) -> tuple[Image.Image, int]:
    """A test picture and the number of its class."""
    return kdengine.data.example(open_data("digits"), index)


def logits(reference: str, index: int) -> list[float]:
    """A network's logits for a test picture."""
    return pinned.logits(reference, open_data("digits").digest, index, example(index)[0])


@st.cache_data(max_entries=8, show_spinner=False)
def size_and_speed(reference: str, digest: str) -> str:
    """What a network is and takes on this machine, in Markdown. digest: of its weights."""
    del digest
    network = open_network(reference)
    titles = {each["name"]: each["title"] for each in kdengine.list_models()}
    cost = kdengine.measures.cost(network)
    return (f"a {titles[network.architecture]} with {cost['parameters']:,} parameters and takes "
            f"**{cost['latency']['median_ms']:.1f} ms**")


def pair_in_words(references: Sequence[str]) -> str:
    """A teacher and a student, with what each is and takes."""
    shipped = kdengine.list_checkpoints()
    large, small = (size_and_speed(each, shipped[each]["digest"]) for each in references)
    return f"The teacher is {large} an image, measured now on this machine; its student is {small}."
