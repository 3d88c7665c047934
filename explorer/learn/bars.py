"""Gradients and losses as bars, in plain HTML: they stand as high as a lesson has room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from kdengine.colors import RIGHT, TEACHER, ink, upon

LABEL = RIGHT
"""The color of what the label says."""
_STYLE = """<style>
.signed { margin-bottom: .35rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.signed .title { font-weight: 600; display: flex; justify-content: space-between; }
.signed .plot { display: flex; gap: 6px; }
.signed .cell { flex: 1; text-align: center; min-width: 0; }
.signed .half { height: 2.9rem; display: flex; }
.signed .up { align-items: flex-end; border-bottom: 1px solid currentColor; }
.signed .half i { display: block; width: 100%; min-height: 1px; }
.signed .up i { border-radius: 3px 3px 0 0; }
.signed .down i { border-radius: 0 0 3px 3px; }
.terms { display: flex; height: 2.4rem; font-weight: 600; line-height: 2.4rem; white-space: nowrap; }
.terms div { overflow: hidden; text-align: center; text-overflow: ellipsis; }
</style>"""


def gradients(parts: Mapping[str, Sequence[float]], colors: Mapping[str, str], limit: float) -> str:
    """What losses do to each logit, by the loss's title: one row of bars each; down is below 0.

    limit: the gradient of a full bar, whatever the controls say, so that bars can be compared as they move.
    """
    rows = []
    for title, values in parts.items():
        said = ", ".join(f"{place}: {value:+.4f}" for place, value in enumerate(values))
        length = sum(value**2 for value in values) ** 0.5
        cells = "".join(
            f'<div class="cell" title="logit of {place}: {value:+.4f}">'
            f'<div class="half up"><i style="height:{max(0, 100 * value / limit):.1f}%;background:{colors[title]}"></i>'
            f'</div><div class="half down"><i style="height:{max(0, -100 * value / limit):.1f}%;'
            f'background:{colors[title]}"></i></div>{place}</div>' for place, value in enumerate(values))
        rows.append(
            f'<div class="signed"><div class="title"><span style="color:{ink(colors[title])}">{escape(title)}</span>'
            f'<span>length {length:.3f}</span></div>'
            f'<div class="plot" role="img" aria-label="{said}">{cells}</div></div>')
    return _STYLE + "".join(rows)


def terms(label: float, teacher: float, most: float) -> str:
    """The two terms of a loss, one after the other; a full bar is `most` nats."""
    parts = [("label", label, LABEL), ("teacher", teacher, TEACHER)]
    return _STYLE + '<div class="terms">' + "".join(
        f'<div style="width:{100 * value / most:.1f}%;background:{color};color:{upon(color)}" '
        f'title="{name}: {value:.3f} nats">'
        f'{f"{name} {value:.3f}" if value > most / 4 else ""}</div>' for name, value, color in parts) + "</div>"
