"""What flows from a teacher to its student, drawn: both networks, and an arrow where a method takes something."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Mapping
from html import escape
from itertools import pairwise

from kdengine.colors import BACKGROUND, STUDENT, TEACHER, upon

INK = BACKGROUND
"""Of lines and words: an image knows nothing of the page's theme."""
_X = {"image": 42, "stage 1": 121, "stage 2": 200, "stage 3": 279, "logits": 358}
"""Where each place of a network stands, in pixels of 400: as many as a phone has, so that its words can be read there.
"""
_HEAT = ((0.15, 0.4, 0.15), (0.4, 1.0, 0.65), (0.15, 0.65, 0.4))
"""The cells of the map that is drawn where an explanation flows: how strong each is."""


def drawing(
    flows: Mapping[str, bool], what: str, teacher: str = "Teacher", student: str = "Student", *,
    maps: Collection[str] = (),
) -> str:
    """Both networks, and the signals that flow from one to the other, as HTML.

    flows, maps: the places, as `kdengine.method_anatomy` names them; whether a trained layer stands between; where it
    is a map that flows. what: is matched, for who cannot see the drawing. teacher, student: what the two are called.
    """
    # The student's name stands below it: above, the arrows end.
    parts = [part for y, color, title, at in ((45, TEACHER, teacher, 17), (175, STUDENT, student, 212))
             for part in _network(y, color, title, at, flows)]
    parts += [part for place, trained in flows.items()
              for part in (_map(_X[place]) if place in maps else _signal(_X[place], trained))]
    places = ", ".join(f"{place} as a map of the picture" if place in maps else place for place in flows)
    label = f"{what}: what flows from the teacher to the student, at {places}"
    svg = ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 220" font-size="14" font-family="sans-serif">'
           f'<defs><marker id="arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="5" markerHeight="5" '
           f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{TEACHER}"/></marker></defs>{"".join(parts)}</svg>')
    source = b64encode(svg.encode()).decode()  # Streamlit takes SVG out of HTML, but not out of an image
    return (f'<img src="data:image/svg+xml;base64,{source}" alt="{escape(label)}" '
            'style="width:100%;max-width:26rem">')


def _network(y: int, color: str, title: str, title_y: int, flows: Mapping[str, bool]) -> list[str]:
    """A network's places in a row, filled where something flows."""
    parts = [f'<text x="8" y="{title_y}" fill="{color}" font-weight="600">{escape(title)}</text>']
    parts += [f'<line x1="{left + 34}" y1="{y}" x2="{right - 34}" y2="{y}" stroke="{INK}"/>'
              for left, right in pairwise(_X.values())]
    for name, x in _X.items():
        fill, text = (color, upon(color)) if name in flows else ("none", INK)
        parts.append(f'<rect x="{x - 33}" y="{y - 18}" width="66" height="36" rx="5" fill="{fill}" stroke="{color}"/>'
                     f'<text x="{x}" y="{y + 5}" text-anchor="middle" fill="{text}">{name}</text>')
    return parts


def _signal(x: int, trained: bool) -> list[str]:
    """An arrow from teacher to student; one that ends at a trained layer of the student's, where there is one."""
    parts = [f'<line x1="{x}" y1="66" x2="{x}" y2="{93 if trained else 150}" stroke="{TEACHER}" stroke-width="3" '
             'marker-end="url(#arrow)"/>']
    if trained:  # what comes out of it is held against what the teacher shows
        words = f'text-anchor="middle" font-size="13" fill="{upon(STUDENT)}"'
        parts.append(f'<line x1="{x}" y1="134" x2="{x}" y2="157" stroke="{STUDENT}" stroke-width="3"/>'
                     f'<rect x="{x - 30}" y="98" width="60" height="37" rx="12" fill="{STUDENT}"/>'
                     f'<text x="{x}" y="113" {words}>trained</text><text x="{x}" y="128" {words}>layer</text>')
    return parts


def _map(x: int) -> list[str]:
    """An arrow from teacher to student that begins at a map of where the teacher looks."""
    cells = [f'<rect x="{x - 18 + 12 * column}" y="{70 + 12 * row}" width="12" height="12" fill="{TEACHER}" '
             f'fill-opacity="{strength}" stroke="{TEACHER}"/>'
             for row, strengths in enumerate(_HEAT) for column, strength in enumerate(strengths)]
    return [*cells, f'<line x1="{x}" y1="106" x2="{x}" y2="150" stroke="{TEACHER}" stroke-width="3" '
            'marker-end="url(#arrow)"/>']
