"""What a network takes for what: its confusion matrix on the test split, and the images behind a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

import kdengine
from explorer import families
from explorer.networks import open_data
from explorer.wording import as_text, error_text
from kdengine import KDError, charts
from kdengine.runs.summary import Summary

MOST_CLASSES = 30
"""Of more classes a matrix cannot be read; the pairs that are confused most often stand in its place."""
MOST_PAIRS, MOST_IMAGES = 12, 12
WIDTH = 110  # pixels


def show(rows: Sequence[Summary], called: Mapping[str, str]) -> None:
    """Choose a network; see which classes it takes for which, and, at a click on a cell, the images.

    called: the rows' titles, by their first names.
    """
    ascending = sorted((row for row in rows if row.headline == "accuracy"), key=lambda row: row.score)
    names = {name: f"{called[row.names[0]]} · {name}" for row in ascending for name in row.names}  # most to see first
    if not names:
        return
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
    picked = st.altair_chart(charts.confusion(matrix, classes), width="stretch", on_select="rerun",
                             selection_mode="cell", key=f"cells {chosen}")
    cell = next(iter(picked.selection.get("cell", [])), None)
    if cell is None:
        st.caption("Rows: what it is. Columns: what the network takes it for. Click a cell to see its images.")
        return
    show_images(chosen, classes.index(cell["truth"]), classes.index(cell["answer"]), classes)


def show_images(name: str, truth: int, answer: int, classes: Sequence[str]) -> None:
    """The test images of one class that a network takes for another, or for what they are."""
    try:
        images = kdengine.runs.images_of(name, truth, answer)
        data = open_data(images["data"])
    except KDError as error:
        st.caption(error_text(error))
        return
    if data.digest != images["digest"]:
        st.caption("The data set has changed since this network was tested: its images cannot be told.")
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
