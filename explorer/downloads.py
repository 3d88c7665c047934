"""Data sets that are not on this machine: what is missing, where it belongs, and its download where there is one."""

from __future__ import annotations

import streamlit as st

import kdengine
from explorer.wording import as_text, show_error
from kdengine import KDError


def present(data: str) -> bool:
    """Whether a data set is on this machine; where it is not, say how to get it, and fetch it if asked.

    Raises KDError for a name that is no data set's.
    """
    about = kdengine.data.about(data)
    if about["present"]:
        return True
    title, place, size = as_text(about["title"]), as_text(about["place"]), about["download_bytes"]
    if size is None:
        st.info(f"{title} is not on this machine, and there is no download of it. Put it at {place}: a folder with "
                "`train/` and `test/`, and in both of them `<class>/` with pictures, or, for segmentation, `images/` "
                "and `masks/`.")
        return False
    st.info(f"{title} is not on this machine. It can be downloaded ({size / 1e6:,.0f} MB), or put as a folder at "
            f"{place}.")
    if st.button(f"Download {size / 1e6:,.0f} MB"):
        try:
            with st.spinner(f"Downloading {about['title']} …"):
                kdengine.data.download(data)
        except KDError as error:
            show_error(error)
        else:
            st.rerun()
    return False


def missing(data: str) -> bool:
    """Whether the test images of a network are of a data set that is not on this machine; the page says so, as above.

    False for a folder, or for data that nobody here knows: there, opening them tells what is wrong.
    """
    return data in {each["name"] for each in kdengine.list_data()} and not present(data)
