"""The entry: `streamlit run explorer/app.py`, from any working directory."""

import sys
from pathlib import Path

import streamlit as st

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))  # Streamlit puts only this file's own folder on the path

from explorer import copy_link, glossary, lecture, menu, pages  # noqa: E402  found only now

page = st.navigation(
    [st.Page(pages.file(title), title=title, default=not place) for place, title in enumerate(pages.PAGES)],
    position="top",
)
st.set_page_config(page_title=f"{page.title} · KD Explorer", page_icon=str(HERE / "assets" / "icon.png"), layout="wide")
st.html(HERE / "app.css")

# A page that is left and opened again is as it was: its link is put back, and its controls are set from it. On the way
# to another page Streamlit may put that one's link under this one's address, and the browser's Back leads to it.
links = st.session_state.setdefault("links", {})
left = st.session_state.get("page")
st.session_state["page"] = page.title
own, theirs = links.get(page.title, {}), links.get(left, {})
if left != page.title and own and set(st.query_params) <= set(theirs) - set(own):
    st.query_params.from_dict(own)
    st.rerun()
lecture.style()
menu.close(page.title)
page.run()
with st.container(horizontal=True, vertical_alignment="center", key=lecture.FOOT):
    glossary.show()
    lecture.show()
    copy_link.show()
glossary.underline()
links[page.title] = {key: st.query_params.get_all(key) for key in st.query_params}
