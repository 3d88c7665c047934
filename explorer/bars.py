"""Accuracies as bars with their 95% intervals, in plain HTML: the first page waits for no plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from kdengine.colors import upon

_STYLE = """<style>
.accuracy-bars { display: grid; grid-template-columns: fit-content(40%) 1fr; gap: .75rem .8rem; align-items: center; }
.accuracy-bars .track { position: relative; height: 1.9rem; border-radius: 4px; background: rgba(128, 128, 128, .14); }
.accuracy-bars .bar { height: 100%; border-radius: 4px; padding-left: .6rem; line-height: 1.9rem;
  font-weight: 600; box-sizing: border-box; }
/* Dark on a white edge: it lies half on a coloured bar, half on a page that is light or dark. */
.accuracy-bars .interval { position: absolute; top: calc(50% - 3px); height: 2px; min-width: 2px; background: #1f2430;
  border: 2px solid white; border-radius: 3px; box-sizing: content-box; margin-left: -2px; }
.accuracy-bars .axis { display: flex; justify-content: space-between; gap: .5rem; text-align: center;
  font-size: .8rem; opacity: .7; }
</style>"""


def accuracy_bars(measured: Sequence[dict[str, Any]]) -> str:
    """The chart as HTML.

    measured: name, accuracy, low, high (all in [0, 1]) and colour; drawn in the order given.
    """
    rows = []
    for each in measured:
        share, low, high = each["accuracy"], each["low"], each["high"]
        said = f"{share:.2%}, 95% interval {low:.2%} to {high:.2%}"
        rows.append(
            f'<span>{escape(each["name"])}</span><div class="track" role="img" title="{said}">'
            f'<div class="bar" style="width: {share:.3%}; background: {each["colour"]}; '
            f'color: {upon(each["colour"])}">{share:.1%}</div>'
            f'<div class="interval" style="left: {low:.3%}; width: {high - low:.3%}"></div></div>'
        )
    axis = "<span>0%</span><span>Test accuracy, with 95% interval</span><span>100%</span>"
    return f'{_STYLE}<div class="accuracy-bars">{"".join(rows)}<span></span><div class="axis">{axis}</div></div>'
