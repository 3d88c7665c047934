"""Distributions at a temperature: the slider and a view of them, redrawn in the browser while the slider is dragged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from explorer.temperature.typed import HIGHEST, LOWEST
from kdengine.colors import RIGHT, STUDENT, STUDENTS, TEACHER

KEY = "distributions"

STOPS = (
    *(value / 100 for low, high, step in ((50, 200, 5), (200, 500, 10), (500, 1000, 25), (1000, 2000, 50))
      for value in range(low, high, step)),
    HIGHEST,
)
"""The temperatures under the slider: finer where a step changes more."""

TICKS = (LOWEST, 1, 2, 5, 10, HIGHEST)

VIEWS = {"Bars": "bars", "Logarithmic": "log", "Over T": "curves", "Gradient": "gradient"}
"""What the component calls the views, by what they are called on screen."""

LOOK = {"stops": STOPS, "ticks": TICKS, "colours": {"label": RIGHT, "teacher": TEACHER, "student": STUDENT},
        "class_colours": STUDENTS}
"""What the component is always given."""

_HERE = Path(__file__).parent
HTML = (_HERE / "component.html").read_text(encoding="utf-8")
CSS = (_HERE / "component.css").read_text(encoding="utf-8")
JS = "".join((_HERE / f"{each}.js").read_text(encoding="utf-8")
             for each in ("component", "arithmetic", "rows", "curves"))
_mount = st.components.v2.component(KEY, html=HTML, css=CSS, js=JS)


def distributions(
    *,
    classes: Sequence[str],
    teacher: Sequence[float],
    student: Sequence[float],
    label: int | None,
    temperature: float,
    on_temperature: Callable[[float], None],
    view: str = "Bars",
    by_probability: bool = False,
    titles: tuple[str, str] = ("Teacher", "Student"),
) -> None:
    """Draw the slider, the view of the hard label and both networks' softened distributions, entropy and KL.

    teacher, student: finite logits, one for each class. label: the true class, None where nobody knows it: the
    teacher's own top class is drawn in its place, and named so. temperature: where the slider opens. view: one of
    VIEWS. by_probability: the teacher's likeliest class first, in place of the classes' own order. The slider does not
    wait for Python: only once it rests is `on_temperature` called, before the page runs again.
    """
    _mount(
        key=KEY,
        data={
            **LOOK, "classes": list(classes), "teacher": list(teacher), "student": list(student), "label": label,
            "temperature": temperature, "titles": titles, "view": VIEWS[view], "sorted": by_probability,
        },
        on_temperature_change=lambda: on_temperature(st.session_state[KEY]["temperature"]),
    )
