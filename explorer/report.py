"""The lab report to take home: who wrote it and what they think of it, then the file."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

MOST_LETTERS = 20_000


def offer(name: str, write: Callable[[str, str], dict[str, str]]) -> None:
    """Fields for author and discussion, and the report as HTML and as Markdown.

    name: of the files, and what the fields belong to. write: makes the report of an author and a discussion, as
    `kdengine.recipes.recipe_report` returns it; called at the press of a button.
    """
    st.subheader("Lab report", anchor=False)
    author = st.text_input("Author", key=f"author {name}", max_chars=200, placeholder="Your name, course, date")
    discussion = st.text_area("Discussion", key=f"discussion {name}", max_chars=MOST_LETTERS, placeholder=(
        "What do you make of it? What would you try next? An empty line begins a new paragraph."))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button("Download HTML", lambda: write(author, discussion)["html"], f"{name}.html", "text/html",
                           icon=":material/description:", on_click="ignore")
        st.download_button("Download Markdown", lambda: write(author, discussion)["markdown"], f"{name}.md",
                           "text/markdown", on_click="ignore")
    st.caption("Results, figures, methods with formulas, limits, cost, hardware and the command, from the runs' own "
               "records. The HTML file needs nothing beside it; print it for a PDF.")
