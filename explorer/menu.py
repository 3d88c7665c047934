"""The menu of a narrow screen: it closes once a page is chosen, as Streamlit's own does on a phone alone."""

from __future__ import annotations

import streamlit as st

_mount = st.components.v2.component(
    "menu",
    js="""
const pages = new WeakMap();

export default function ({ data, parentElement }) {
  const before = pages.get(parentElement);
  pages.set(parentElement, data.page);
  const narrow = matchMedia("(max-width: 768px)").matches; // where Streamlit's menu lies over the page
  if (narrow && before !== data.page) document.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click();
}
""",
)


def close(page: str) -> None:
    """Close it where another page than the last one is shown. page: its title."""
    _mount(key="menu", data={"page": page})
