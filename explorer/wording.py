"""Texts that others wrote (class names, files, folders, records, links) on the page: shown as they are, never obeyed.

Streamlit reads Markdown nearly everywhere: in it a name could draw a picture from a stranger's server.
"""

from __future__ import annotations

import re

import streamlit as st

from kdengine import KDError

_LONGEST = 2000
"""More characters than these are not repeated to the person."""
_MARKUP = re.compile(r"[\\`*_{}\[\]<>#+!|~$&=]|:(?=\S)|^-|^:")
_NUMBERED = re.compile(r"^(\d+)(?=[.)])")
# Words that are replaced after Markdown has been read, so that no escape keeps them: links, mail addresses, emoji,
# icons, arrows. In code they stay.
_REPLACED = re.compile(r"https?://|www\.|[-.\w+]@[-\w]|:[-+\w/]+:|^(?:<?->|<-|--|[<>~]=)$", re.IGNORECASE)


def as_text(text: str) -> str:
    """Markdown that shows a text as it is, on one line. Words that Streamlit would replace all the same are code.

    Control characters are shown as a question mark in a diamond; after 2,000 characters the text ends in an ellipsis.
    """
    return _as_text(_one_line(text))


def error_text(error: KDError) -> str:
    """Markdown of an error's text: its commands, between backticks, as code, everything else as it is."""
    return "".join(_code(part) if place % 2 else _as_text(part)
                   for place, part in enumerate(re.split(r"`([^`]+)`", _one_line(str(error)))))


def show_error(error: KDError) -> None:
    """An error in its red box."""
    st.error(error_text(error))


def _one_line(text: str) -> str:
    line = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in " ".join(text.split()))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _as_text(line: str) -> str:
    words = [_code(word) if _REPLACED.search(word) else _MARKUP.sub(r"\\\g<0>", word) for word in line.split(" ")]
    return _NUMBERED.sub(r"\1\\", " ".join(words))


def _code(text: str) -> str:
    """Inline code: between more backticks than stand in a row inside it."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}"
