"""What changes on a page, told to a screen reader where nobody looks."""

from __future__ import annotations

from html import escape

import streamlit as st


def status(text: str) -> None:
    """Say a sentence once it differs from what was said here before; nothing is seen of it."""
    st.html(f'<p class="unseen" role="status">{escape(text)}</p>')
