"""What pages that compare networks on one picture let a person choose: networks, a picture, a heat map's layer."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import streamlit as st
from PIL import Image

import kdengine
from explorer.networks import open_network
from explorer.wording import as_text, error_text, show_error
from kdengine import KDError

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

KINDS = ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff"]
TEST_IMAGE, OWN_PICTURE = "Test image", "Your own"
AUTOMATIC = "automatic"
"""The layer that each network would choose for itself."""
MOST_STUDENTS = 4
NO_MAPS = "It puts out no feature maps, so there is no heat map."
SCALED = "Yellow: matters most. Each map has its own scale: compare where, not how much."


@st.cache_data(max_entries=1, show_spinner=False)
def heat_map_methods() -> dict[str, dict]:
    """The heat-map methods by name."""
    return {each["name"]: each for each in kdengine.explain.list_heat_maps()}


def summaries(methods: Mapping[str, dict]) -> str:
    """Every heat-map method in a sentence."""
    return "\n\n".join(f"**{each['title']}**: {each['summary']}" for each in methods.values())


def layer_names(stages: Sequence[tuple[str, ...]]) -> list[str]:
    """What can be chosen: automatic, then from the deepest up, since networks may differ in how many they have.

    Networks without any do not count.
    """
    nonempty = [each for each in stages if each]
    depths = range(1, 1 + min(map(len, nonempty), default=0))
    names = [" / ".join(dict.fromkeys(each[-depth] for each in nonempty)) for depth in depths]
    return [AUTOMATIC, *(f"{name} (deepest)" for name in names[:1]), *names[1:]]


@st.cache_resource(max_entries=4, show_spinner="Reading the picture …")
def read(content: bytes) -> Image.Image:
    """A picture from a file's bytes, of at most 16 megapixels, 64 MB: so the four that are kept take 256 MB at most.

    A resource, not data: a large one would be copied on every rerun.
    """
    return kdengine.data.read_picture(content)


def wants_own(key: str) -> bool:
    """Whether a picture of one's own is chosen, rather than a test image."""
    source = st.radio("Picture", [TEST_IMAGE, OWN_PICTURE], horizontal=True, key=key, bind="query-params",
                      label_visibility="collapsed")
    return source == OWN_PICTURE


def upload() -> UploadedFile | None:
    """The file of a person's own picture; None where there is none yet."""
    return st.file_uploader("Your picture", KINDS, help="Read on this machine, by this program. It is not kept.")


def opened(content: bytes) -> tuple[str, Image.Image] | None:
    """A key that is equal for equal files, and the picture; for a bad file an error is shown, and None returned."""
    try:
        image = read(content)
    except KDError as error:
        show_error(error)
        return None
    return hashlib.sha256(content).hexdigest(), image


def choose_networks(
    key: str, titles: Mapping[str, str], first: str, usual: Callable[[list[str]], list[str]], *, role: str, help: str
) -> list[str]:
    """References, the one that the others are held against first.

    titles: by reference. first: the one chosen at the start. usual: of the others, those chosen at the start.
    """
    names = list(titles)
    chosen = st.selectbox(role, names, index=names.index(first), key=f"{key} teacher", bind="query-params",
                          format_func=titles.__getitem__, help=help)
    others = [each for each in names if each != chosen]
    return [chosen, *st.multiselect("Students", others, default=usual(others), max_selections=MOST_STUDENTS,
                                    key=f"{key} students", bind="query-params", placeholder="Choose one to four",
                                    wrap=True, format_func=titles.__getitem__)]


def telling_pair(among: Sequence[str], methods: Mapping[str, str | None]) -> list[str]:
    """The pair that tells the story, as far as it is there: the same student with a teacher and without one.

    methods: each reference's own.
    """
    by_method = {methods[each]: each for each in reversed(among)}
    return [by_method[each] for each in ("kd", "none") if each in by_method]


@st.cache_data(max_entries=64, show_spinner=False)
def telling(references: tuple[str, ...], digest: str) -> int:
    """The test image shown first: for a teacher, a distilled student and a student alone, the one that tells most."""
    del digest
    return (kdengine.runs.telling_example(*references) if len(references) == 3 else None) or 0


def openable(references: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Those that open and know the first one's classes; none where the first does not open. The rest is named."""
    comparable: list[str] = []
    for reference in references:
        try:
            classes = open_network(reference).classes
        except KDError as error:
            show_error(error)
            if not comparable:
                return []
            continue
        if comparable and classes != open_network(comparable[0]).classes:
            st.warning(f"{as_text(names[reference])} was trained on other classes and is left out.")
        else:
            comparable.append(reference)
    return comparable


def within(last: int, key: str) -> None:
    """Bring the test image's number under `key` back to `last` where it lies beyond."""
    if st.session_state.get(key, 0) > last:
        go(key, last)


def other_images(
    last: int, key: str, disputed: Callable[[], list[int]], *, disabled: bool, help: str, none: str
) -> None:
    """Buttons to another test image: any, or the next of those on which the networks disagree.

    key: of the image's number. disputed: finds the disagreements, ascending. none: the message where there are none.
    """
    row = st.container(horizontal=True)  # below each other where the column is narrow
    row.button("Random", on_click=_go_anywhere, args=(key, last), width="stretch", disabled=last == 0)
    row.button("They disagree", on_click=_go_to_dispute, args=(key, disputed, none), width="stretch",
               disabled=disabled, help=help)


def go(key: str, index: int) -> None:
    """To a test image, on the page and in its link."""
    st.session_state[key] = index
    st.query_params[key] = str(index)


def _go_anywhere(key: str, last: int) -> None:
    step = random.randint(1, last)
    go(key, (st.session_state[key] + step) % (last + 1))


def _go_to_dispute(key: str, disputed: Callable[[], list[int]], none: str) -> None:
    """To the next disputed test image; after the last one, to the first."""
    try:
        disagreements = disputed()
    except KDError as error:
        st.toast(error_text(error))
        return
    if not disagreements:
        st.toast(none)
        return
    later = [each for each in disagreements if each > st.session_state[key]]
    go(key, (later or disagreements)[0])
