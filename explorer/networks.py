"""Networks and data sets that every session shares: opened once, then handed out as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import streamlit as st

import kdengine
from explorer.wording import as_text

if TYPE_CHECKING:
    from kdengine.data import DataSet
    from kdengine.models.network import Network


@st.cache_resource(show_spinner="Opening the network …", max_entries=8)
def open_network(reference: str) -> Network:
    """As `kdengine.open_network`. One object for all sessions: read from it, never change it."""
    return kdengine.open_network(reference)


@st.cache_resource(show_spinner="Opening the data set …", max_entries=4)
def open_data(name: str, image_size: int | None = None) -> DataSet:
    """As `kdengine.open_data`, but no folder outside of the data root. One object for all sessions: only read from it.
    """
    kdengine.data.require_below_data_root(name)
    return kdengine.open_data(name, image_size)


def open_data_for(name: str, references: Sequence[str]) -> DataSet:
    """A data set at the size of that network of these which looks most closely."""
    return open_data(name, max(open_network(each).input_size for each in references))


def warn_of_other_images(references: Mapping[str, str], data: DataSet) -> bool:
    """Say which networks were tested on other images than these, a sentence each; whether there are any.

    references: what people know each network by.
    """
    sentences = [sentence for reference, called in references.items()
                 if (sentence := kdengine.runs.other_images(reference, data, called))]
    for sentence in sentences:
        st.warning(as_text(sentence))
    return bool(sentences)
