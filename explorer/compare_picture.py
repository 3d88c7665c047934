"""The picture that the Compare page looks at: a test image, a sample, or one of a person's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from PIL import Image

import kdengine
from explorer import choosing, comparison, downloads, families, forms
from explorer.choosing import telling
from explorer.networks import open_data_for, open_network
from explorer.wording import as_text, error_text
from kdengine import KDError

if TYPE_CHECKING:
    from kdengine.data import DataSet


@dataclass(frozen=True)
class Picture:
    """What is looked at. key: equal for equal pictures. inside: its centre square, as it is drawn."""

    key: str
    name: str
    image: Image.Image
    inside: Image.Image
    truth: int | None
    example: tuple[DataSet, int] | None = None
    """The data set of which it is a test image, and its number there; None where it is none."""


@st.cache_data(max_entries=64, show_spinner=False)
def center(key: str, _image: Image.Image) -> Image.Image:
    """The centre square of the picture with that key."""
    return comparison.square(_image)


@st.cache_data(max_entries=64, show_spinner="Searching the test images …")
def disputed(data: str, references: tuple[str, ...]) -> list[int]:
    """The test images that not all of these networks answer alike."""
    return kdengine.measures.disagreements(open_data_for(data, references), [open_network(each) for each in references])


def choose_picture(family: families.Family, references: list[str], classes: tuple[str, ...]) -> Picture | None:
    """A test image, an upload or a sample; None where there is none yet."""
    if family.data is None:
        return uploaded(classes, samples=True)
    if downloads.missing(family.data):
        return instead("", classes)
    try:
        data = open_data_for(family.data, references)
    except KDError as error:
        return instead(f"The test images are not to be had: {error_text(error)}", classes)
    return uploaded(classes) if choosing.wants_own("source") else test_image(data, references)


def instead(why: str, classes: tuple[str, ...]) -> Picture | None:
    """A picture of one's own, or a sample, where there are no test images.

    why: in Markdown; empty where the page says it already.
    """
    names = ", ".join(as_text(each) for each in classes[:10])
    st.caption(f"{why} Bring a picture of your own: {names}{' …' if len(classes) > 10 else ''}.".strip())
    matching = [each["title"] for each in kdengine.data.sample_photographs() if set(each["classes"]) & set(classes)]
    return uploaded(classes, samples=True, opening=next(iter(matching), None))


def test_image(data: DataSet, references: list[str]) -> Picture:
    """A picture of the test split, by number."""
    last = len(data.test) - 1
    choosing.within(last, "image")
    thumbnail, number = st.columns([2, 3], vertical_alignment="bottom")
    with number:
        first = min(last, telling(tuple(references), data.digest))
        index = forms.linked_number(f"Number, 0 to {last}", 0, last, first, "image")
    image, truth = kdengine.data.example(data, index)
    key = f"{data.digest} {index}"
    inside = center(key, image)
    thumbnail.image(inside, f"Truth: {as_text(data.classes[truth])}", width=76, alt="The picture alone")
    choosing.other_images(
        last, "image", lambda: disputed(data.name, tuple(references)), disabled=len(references) < 2,
        help="The next test image that they do not answer alike.",
        none="They name the same class for every test image.")
    return Picture(key, f"{data.name.rpartition('/')[2]} {index}", image, inside, truth, (data, index))


def uploaded(classes: tuple[str, ...], *, samples: bool = False, opening: str | None = None) -> Picture | None:
    """A person's own picture, or, where offered, a sample photograph; an error and None for a bad file.

    opening: the sample that is shown before anything is chosen.
    """
    file = choosing.upload()
    photographs = {each["title"]: each for each in kdengine.data.sample_photographs()} if samples else {}
    chosen = None
    if samples and not file:
        chosen = st.pills("Or a sample", list(photographs), default=opening, key="sample", bind="query-params")
    if file:
        content, name = file.getvalue(), Path(file.name).stem
    elif chosen:
        content, name = photographs[chosen]["path"].read_bytes(), chosen
    else:
        return None
    opened = choosing.opened(content)
    if opened is None:
        return None
    key, image = opened
    inside = center(key, image)
    thumbnail, truth = st.columns([2, 3], vertical_alignment="bottom")
    thumbnail.image(inside, width=76, alt="The picture alone")
    fitting = [classes.index(each) for each in photographs[chosen]["classes"] if each in classes] if chosen else []
    true_class = truth.selectbox("What it is", range(len(classes)), index=next(iter(fitting), None),
                                 placeholder="not told", key=f"truth {key}", persist_state="session",
                                 format_func=lambda each: classes[each],
                                 help="Tell the true class, and the borders show who is right.")
    if chosen:
        st.caption(photographs[chosen]["credit"])
    return Picture(key, name, image, inside, true_class)
