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


@st.cache_data(max_entries=8, ttl=60, show_spinner=False)
def size_and_speed(reference: str, digest: str) -> tuple[str, float | None, bool]:
    """What a network is, in words; the milliseconds it takes for an image on this machine; whether others used the
    machine meanwhile. digest: of its weights.

    No milliseconds while a quarter of the tries take half as long again as another quarter.
    """
    del digest
    network = open_network(reference)
    titles = {each["name"]: each["title"] for each in kdengine.list_models()}
    cost = kdengine.measures.cost(network)
    latency = cost["latency"]
    quick, slow = latency["quartiles_ms"]
    return (f"a {titles[network.architecture]} with {cost['parameters']:,} parameters",
            latency["median_ms"] if slow <= 1.5 * quick else None, latency["busy"])


def pair_in_words(references: Sequence[str]) -> str:
    """A teacher and a student, with what each is and takes."""
    shipped = kdengine.list_checkpoints()
    (large, longer, busy), (small, shorter, busy_then) = (
        size_and_speed(each, shipped[each]["digest"]) for each in references)
    if longer is None or shorter is None:
        return (f"The teacher is {large}; its student is {small}. How long they take for an image cannot be told while "
                "this machine is busy.")
    beside = " Other programs kept the machine busy meanwhile." if busy or busy_then else ""
    return (f"The teacher is {large} and takes **{longer:.1f} ms** an image on this machine; its student is {small} "
            f"and takes **{shorter:.1f} ms**.{beside}")
