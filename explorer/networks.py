"""Networks and data sets that every session shares: opened once, then handed out as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

import kdengine

if TYPE_CHECKING:
    from kdengine.data import DataSet
    from kdengine.models.network import Network


@st.cache_resource(show_spinner="Opening the network …", max_entries=8)
def open_network(reference: str) -> Network:
    """As `kdengine.open_network`. One object for all sessions: read from it, never change it."""
    return kdengine.open_network(reference)


@st.cache_resource(show_spinner="Opening the data set …", max_entries=4)
def open_data(name: str) -> DataSet:
    """As `kdengine.open_data`. One object for all sessions: read from it, never change it."""
    return kdengine.open_data(name)
