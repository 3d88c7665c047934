"""Forms built from what the engine declares: a method's fields become widgets, and nothing is declared twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import streamlit as st

_MOST_STEPS = 200
"""A range of more steps than this is typed, not dragged."""


def hyperparameters(method: dict[str, Any]) -> dict[str, Any]:
    """Widgets for a method's fields, as `kdengine.list_methods` describes it; returns their values by name."""
    return {field["name"]: _widget(field, f"{method['name']}.{field['name']}") for field in method["fields"]}


def told_apart(titles: Mapping[str, str]) -> dict[str, str]:
    """The options' titles, equal ones followed by their option.

    Streamlit knows an option by its title: of equal titles, it takes the last whichever was chosen.
    """
    times = Counter(titles.values())
    return {option: f"{title} · {option}" if times[title] > 1 else title for option, title in titles.items()}


def linked_number(label: str, low: int, high: int, default: int | None, key: str, **more: Any) -> int | None:
    """A whole-number field whose value is in the link under `key`; what is no number in range there gives `default`.

    A default of None is an empty field; one that is emptied again is not in the link.
    Streamlit's own `bind="query-params"` fails on ?key=1e999.
    """
    def keep() -> None:
        value = st.session_state[key]
        if value is None:
            st.query_params.pop(key, None)
        else:
            st.query_params[key] = str(value)

    if key not in st.session_state:
        text = st.query_params.get(key, "")
        inside = text.isascii() and text.isdigit() and low <= int(text) <= high
        st.session_state[key] = int(text) if inside else default
    empty = {"value": None} if default is None else {}
    return st.number_input(label, low, high, key=key, on_change=keep, **empty, **more)


def _widget(field: dict[str, Any], key: str) -> Any:
    label = f"{field['name'].replace('_', ' ').capitalize()} $({field['symbol']})$"
    if field["choices"]:
        place = field["choices"].index(field["default"])
        return st.selectbox(label, field["choices"], index=place, key=key, help=field["help"])
    low, high, step = field["low"], field["high"], field["step"]
    steps = (field["default"] - low) / step
    if (high - low) / step <= _MOST_STEPS and abs(steps - round(steps)) < 1e-6:
        return st.slider(label, low, high, field["default"], step, key=key, help=field["help"])
    return st.number_input(label, low, high, field["default"], step, key=key, help=field["help"])
