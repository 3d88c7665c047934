"""Forms built from what the engine declares: a method's fields become widgets, and nothing is declared twice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

_MOST_STEPS = 200
"""A range of more steps than this is typed, not dragged."""


def hyperparameters(method: dict[str, Any], key: str) -> dict[str, Any]:
    """Widgets for a method's fields, as `kdengine.list_methods` describes it; returns their values by name.

    key: under which they stand in the link, each with its field's name behind a dot.
    """
    return {field["name"]: _widget(field, f"{key}.{field['name']}") for field in method["fields"]}


def told_apart(titles: Mapping[str, str]) -> dict[str, str]:
    """The options' titles, equal ones followed by their option.

    Streamlit knows an option by its title: of equal titles, it takes the last whichever was chosen.
    """
    times = Counter(titles.values())
    return {option: f"{title} · {option}" if times[title] > 1 else title for option, title in titles.items()}


def linked_number(
    label: str, low: float, high: float, default: float | None, key: str, *, follows: bool = False, **more: Any
) -> Any:
    """A number field whose value is in the link under `key`; what is no number in range there gives `default`.

    Whole numbers where the bounds are. A default of None is an empty field; one that is emptied again is not in the
    link. follows: whether what is not in the link changes with the default, or stays as it is. Streamlit's own
    `bind="query-params"` fails on ?key=1e999.
    """
    return _linked(st.number_input, label, low, high, default, key, follows=follows, **more)


def _linked(
    widget: Callable[..., Any], label: str, low: float, high: float, default: float | None, key: str,
    *, follows: bool = False, **more: Any,
) -> Any:
    def keep() -> None:
        value = st.session_state[key]
        if isinstance(value, float):  # 0.7 and a step of 0.1 are 0.7999999999999999
            value = st.session_state[key] = float(f"{value:.10g}")
        if value in (None, default):
            st.query_params.pop(key, None)
        else:
            st.query_params[key] = f"{value:.10g}" if isinstance(value, float) else str(value)
        st.session_state[seen] = st.query_params.get(key, ""), followed

    seen, text, followed = f"{key} in the link", st.query_params.get(key, ""), default if follows else None
    # The link has another one than at the last run: the browser's Back has brought an older one. Or the default that
    # it follows is another.
    if key not in st.session_state or (text, followed) != st.session_state.get(seen, (text, followed)):
        linked = _number(text, isinstance(low, int))
        st.session_state[key] = linked if linked is not None and low <= linked <= high else default
    st.session_state[seen] = text, followed
    empty = {"value": None} if default is None else {}
    return widget(label, low, high, key=key, on_change=keep, **empty, **more)


def linked_names(key: str) -> list[str]:
    """The names that stand in the link under `key`, see `link_names`.

    Where none do, those that did last in this session, which go back into the link: another page has emptied it.
    Whoever wrote the link may have put anything there.
    """
    if not st.query_params.get_all(key):
        link_names(key, st.session_state.get(f"{key} in the link", []))
    names = st.query_params.get_all(key)
    st.session_state[f"{key} in the link"] = names
    return names


def link_names(key: str, names: Sequence[str]) -> None:
    """Put names into the link under `key`, in place of those that are there; none takes the key out of it."""
    if names:
        st.query_params[key] = list(names)
    else:
        st.query_params.pop(key, None)
    st.session_state[f"{key} in the link"] = list(names)


def _number(text: str, whole: bool) -> float | None:
    """The finite number, or whole one, that a text says; None for any other text."""
    if whole:
        return int(text) if text.isascii() and text.isdigit() else None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _widget(field: dict[str, Any], key: str) -> Any:
    label = field["name"].replace("_", " ").capitalize()
    help = f"{field['help']} In the formula: ${field['symbol']}$."
    if field["choices"]:
        place = field["choices"].index(field["default"])
        return st.selectbox(label, field["choices"], index=place, key=key, bind="query-params", help=help)
    low, high, step, default = field["low"], field["high"], field["step"], field["default"]
    steps = (default - low) / step
    dragged = (high - low) / step <= _MOST_STEPS and abs(steps - round(steps)) < 1e-6
    return _linked(st.slider if dragged else st.number_input, label, low, high, default, key, step=step, help=help)
