"""The lab report to take home: who wrote it and what they think of it, then the file."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from explorer.wording import as_text

MOST_LETTERS = 20_000


def offer(name: str, write: Callable[[str, str], dict[str, str]]) -> None:
    """Fields for author and discussion, and the report as HTML and as Markdown.

    name: of the files, and what the fields belong to. write: makes the report of an author and a discussion, as
    `kdengine.recipes.recipe_report` returns it; called at the press of a button.
    """
    st.subheader("Lab report", anchor=False)
    # A form: what is typed and a press on Download right after it would reach the server in any order.
    with st.form(f"report {name}", border=False):
        author = st.text_input("Author", key=f"author {name}", persist_state="session", max_chars=200,
                               placeholder="Your name, course")
        discussion = st.text_area(
            "Discussion", key=f"discussion {name}", persist_state="session", max_chars=MOST_LETTERS,
            placeholder="What do you make of it? What would you try next? An empty line begins a new paragraph.")
        st.form_submit_button("Put into the report")
    said = f"by {as_text(author)}" if author else "without an author"
    words = len(discussion.split())
    st.caption(f"The report is {said}, with a discussion of {words} word{'' if words == 1 else 's'}." if words else
               f"The report is {said}, and without a discussion.")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button("Download HTML", lambda: write(author, discussion)["html"], f"{name}.html", "text/html",
                           icon=":material/description:", on_click="ignore", key=f"html {name}")
        st.download_button("Download Markdown", lambda: write(author, discussion)["markdown"], f"{name}.md",
                           "text/markdown", on_click="ignore", key=f"markdown {name}")
    st.caption("Results, figures, methods with formulas, limits, cost, hardware and the command, from the runs' own "
               "records. The HTML file needs nothing beside it; print it for a PDF.")
