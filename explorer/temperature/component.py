"""Distributions at a temperature: the slider and the bars, redrawn in the browser while the slider is dragged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from explorer.temperature.typed import HIGHEST, LOWEST
from kdengine.colors import RIGHT, STUDENT, TEACHER

KEY = "distributions"

STOPS = (
    *(value / 100 for low, high, step in ((50, 200, 5), (200, 500, 10), (500, 1000, 25), (1000, 2000, 50))
      for value in range(low, high, step)),
    HIGHEST,
)
"""The temperatures under the slider: finer where a step changes more."""

TICKS = (LOWEST, 1, 2, 5, 10, HIGHEST)

_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    KEY,
    html=(_HERE / "component.html").read_text(encoding="utf-8"),
    css=(_HERE / "component.css").read_text(encoding="utf-8"),
    js=(_HERE / "component.js").read_text(encoding="utf-8"),
)


def distributions(
    *,
    classes: Sequence[str],
    teacher: Sequence[float],
    student: Sequence[float],
    label: int | None,
    temperature: float,
    on_temperature: Callable[[float], None],
    titles: tuple[str, str] = ("Teacher", "Student"),
) -> None:
    """Draw the slider, the hard label beside both networks' softened distributions, entropy and KL.

    teacher, student: finite logits, one for each class. label: the true class, None where nobody knows it: the
    teacher's own top class is drawn in its place, and named so. temperature: where the slider opens. The slider does
    not wait for Python: only once it rests is `on_temperature` called, before the page runs again.
    """
    _mount(
        key=KEY,
        data={
            "classes": list(classes), "teacher": list(teacher), "student": list(student), "label": label,
            "temperature": temperature, "stops": STOPS, "ticks": TICKS, "titles": titles,
            "colours": {"label": RIGHT, "teacher": TEACHER, "student": STUDENT},
        },
        on_temperature_change=lambda: on_temperature(st.session_state[KEY]["temperature"]),
    )
