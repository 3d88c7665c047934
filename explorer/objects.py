"""Whether the heat of several networks lies on the objects of many test images: chart rows, table and sentences.

Here `results` is what `kdengine.explain.heat_on_objects` returns, by network and then by heat-map method, both as
titles in display order; the first network is the one that the others are held against. A measure is `inside` or
`pointing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from explorer.wording import as_text
from kdengine.measures.uncertainty import ALPHA, holm, mcnemar

Results = Mapping[str, Mapping[str, dict[str, Any]]]

ELSEWHERE = "↳ other boxes"
NOTHING = "A map that prefers nothing"


def points(results: Results, measure: str) -> list[dict[str, Any]]:
    """A row a network and method, for `kdengine.charts.on_objects`."""
    return [{"network": network, "method": method} | each[measure]
            for network, methods in results.items() for method, each in methods.items()]


def table(results: Results, measure: str) -> list[dict[str, str]]:
    """Two rows a network, in its images' own boxes and in the others', then a map that prefers nothing; Markdown."""
    rows = []
    for network, methods in results.items():
        rows.append({"": as_text(network)} | {method: _sure(each[measure]) for method, each in methods.items()})
        others = {method: percent(each[measure]["elsewhere"]) for method, each in methods.items()}
        rows.append({"": ELSEWHERE} | others)
    return [*rows, {"": NOTHING} | {method: percent(each["area"]) for method, each in methods.items()}]


def reading(results: Results) -> str:
    """What may be said, as a list in Markdown: whose hottest point follows the object, and which networks differ."""
    sentences = [_following(results), _differing(results) if len(results) > 1 else "", _alike(results)]
    return "\n".join(f"- {each}" for each in sentences if each)


def _following(results: Results) -> str:
    """Whose interval lies above what the same maps get in the boxes of other images."""
    phrases = []
    for network, methods in results.items():
        follow = [method for method, each in methods.items() if each["pointing"]["low"] > each["pointing"]["elsewhere"]]
        phrases.append(f"{as_text(network)} with {_which(follow, methods)}")
    return ("**The hottest point follows the object**, its whole interval above what the same maps get in the other "
            f"images' boxes: {'; '.join(phrases)}.")


def _differing(results: Results) -> str:
    """Which of the others point at the object more or less often than the first, on the same images."""
    (first, baseline), *others = results.items()
    alone = {(network, method): _alone(each["hits"], baseline[method]["hits"])
             for network, methods in others for method, each in methods.items()}
    differ: dict[tuple[str, str], list[str]] = {}
    adjusted = holm([mcnemar(*each) for each in alone.values()])
    for ((network, method), (ours, theirs)), p in zip(alone.items(), adjusted, strict=True):
        if p < ALPHA:
            differ.setdefault((network, "more" if ours > theirs else "less"), []).append(method)
    phrases = [f"{as_text(network)} {how} often with {_which(methods, baseline)}"
               for (network, how), methods in differ.items()]
    if sum(map(len, differ.values())) < len(alone):
        phrases.append(f"{'no other' if phrases else 'none'} is distinguishable")
    count = next(iter(baseline.values()))["n"]
    return (f"**Pointing at the object, against {as_text(first)}** on the same {count} images (McNemar, Holm over "
            f"{len(alone)} comparisons): {'; '.join(phrases)}.")


def _alike(results: Results) -> str:
    """Methods that give every network the same numbers; nothing where there are none."""
    groups: dict[tuple, list[str]] = {}
    for method in next(iter(results.values())):
        by_network = [methods[method] for methods in results.values()]
        # Rounded: one formula computed in another order differs by the last digits of a float.
        numbers = tuple((tuple(each["hits"]), round(each["inside"]["mean"], 4)) for each in by_network)
        groups.setdefault(numbers, []).append(method)
    phrases = [listed(each) for each in groups.values() if len(each) > 1]
    return f"**Equal in every number**, one formula here: {'; '.join(phrases)}." if phrases else ""


def _alone(ours: Sequence[bool], theirs: Sequence[bool]) -> tuple[int, int]:
    """On how many images one map alone points at the object, and the other alone."""
    pairs = list(zip(ours, theirs, strict=True))
    return pairs.count((True, False)), pairs.count((False, True))


def _which(chosen: Sequence[str], methods: Mapping[str, Any]) -> str:
    if not chosen:
        return "no method"
    return "every method" if len(chosen) == len(methods) else listed(chosen)


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _sure(share: Mapping[str, float]) -> str:
    """A share and its interval, which a narrow column does not break."""
    low, high = (f"{100 * share[end]:.0f}" for end in ("low", "high"))
    return f"{percent(share['mean'])}\N{NO-BREAK SPACE}({low}–\N{WORD JOINER}{high})"


def percent(share: float) -> str:
    """Whole percent; what is not all is never written as 100%, and what is not nothing never as 0%."""
    if 0.995 <= share < 1:
        return ">99%"
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"
