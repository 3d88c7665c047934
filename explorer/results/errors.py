"""What a network takes for what: its confusion matrix on the test split, and the images behind a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

import kdengine
from explorer import families
from explorer.forms import link_names, linked_names
from explorer.networks import open_data, warn_of_other_images
from explorer.wording import as_text, error_text
from kdengine import KDError, charts
from kdengine.runs.summary import Summary

MOST_CLASSES = 30
"""Of more classes a matrix cannot be read; the pairs that are confused most often stand in its place."""
MOST_PAIRS, MOST_IMAGES = 12, 12
WIDTH = 110  # pixels
CELL = "cell"
"""Under which the chosen cell stands in the link: the truth, then the answer."""


def show(rows: Sequence[Summary], called: Mapping[str, str]) -> None:
    """Choose a network; see which classes it takes for which, and, at a click on a cell, the images.

    called: the rows' titles, by their first names. Nothing where none of them classifies.
    """
    ascending = sorted((row for row in rows if row.headline == "accuracy"), key=lambda row: row.score)
    names = {name: f"{called[row.names[0]]} · {name}" for row in ascending for name in row.names}  # most to see first
    if not names:
        return
    st.subheader("What is taken for what")
    chosen = st.selectbox("Network", list(names), key="confused", bind="query-params", persist_state="session",
                          format_func=names.__getitem__)
    found = kdengine.runs.confusion(chosen)
    if found is None:
        st.caption("What it answered to the test images is not stored.")
        return
    classes, matrix = found["classes"], found["matrix"]
    if len(classes) > MOST_CLASSES:
        pairs = sorted(((matrix[truth][answer], classes[truth], classes[answer]) for truth in range(len(classes))
                        for answer in range(len(classes)) if truth != answer), reverse=True)[:MOST_PAIRS]
        st.table([{"Images": count, "It is": as_text(truth), "Taken for": as_text(answer)}
                  for count, truth, answer in pairs], hide_index=True)
        return
    cell = _chosen_cell(classes)
    key = f"cells {chosen}"
    st.altair_chart(charts.confusion(matrix, classes, cell), width="stretch", on_select=lambda: _link_cell(key),
                    selection_mode="cell", key=key)
    if cell is None:
        st.caption("Rows: what it is. Columns: what the network takes it for. Click a cell to see its images.")
        return
    truth, answer = cell
    show_images(chosen, classes.index(truth), classes.index(answer), classes)


def _chosen_cell(classes: Sequence[str]) -> tuple[str, str] | None:
    """The truth and the answer that the link names; None where it names no two of these classes."""
    names = linked_names(CELL)
    return (names[0], names[1]) if len(names) == 2 and set(names) <= set(classes) else None


def _link_cell(key: str) -> None:
    """Put the cell that was clicked into the link."""
    clicked = next(iter(st.session_state[key].selection.get("cell", [])), None)
    link_names(CELL, [clicked["truth"], clicked["answer"]] if clicked else [])


def show_images(name: str, truth: int, answer: int, classes: Sequence[str]) -> None:
    """The test images of one class that a network takes for another, or for what they are."""
    try:
        images = kdengine.runs.images_of(name, truth, answer)
        data = open_data(images["data"], images["size"])
    except KDError as error:
        st.caption(error_text(error))
        return
    if warn_of_other_images({name: name}, data):
        return
    count = len(images["indices"])
    st.markdown(f"**{as_text(classes[truth])}** taken for **{as_text(classes[answer])}**: {count} "
                f"test image{'' if count == 1 else 's'}"
                f"{f', the first {MOST_IMAGES}' if count > MOST_IMAGES else ''}")
    family = kdengine.runs.families().get(images["data"])
    comparable = family is not None and name in family.networks and name != family.first
    row = st.container(horizontal=True)
    for index in images["indices"][:MOST_IMAGES]:
        with row.container(width=WIDTH):
            st.image(kdengine.data.example(data, index)[0], width=WIDTH, caption=f"test image {index}")
            if family and comparable:
                st.page_link("../pages/compare.py", label="Compare", icon=":material/compare:",
                             help=f"Where this network and its teacher look on test image {index}.",
                             query_params=families.link(images["data"], family.first, [name], index))
