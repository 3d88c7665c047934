"""Families of networks on screen: what their members are called, and the link that compares some of them."""

from __future__ import annotations

from collections.abc import Sequence

import kdengine
from explorer.forms import told_apart
from kdengine.runs.catalogue import Family


def names(family: Family) -> dict[str, str]:
    """What a family's networks are called on screen and in links, by reference; no two are called alike."""
    return told_apart({reference: entry.name for reference, entry in family.networks.items()})


def titles(families: dict[str, Family]) -> dict[str, str]:
    """What families are called on screen and in links, by key; no two are called alike."""
    return told_apart({key: family.title for key, family in families.items()})


def link(data: str, teacher: str, students: Sequence[str], image: int) -> dict[str, str | list[str]]:
    """The query of the Compare page's link that holds students of a data set against their teacher, on a test image.

    What the page opens with is not in it: the page would take it out, and the browser's Back lead nowhere.
    """
    families = kdengine.runs.families()
    called = names(families[data])
    query: dict[str, str | list[str]] = {f"{data} students": [called[each] for each in students],
                                         "image": str(image)}
    if teacher != families[data].first:
        query[f"{data} teacher"] = called[teacher]
    if data != next(iter(families)):
        query["family"] = titles(families)[data]
    return query
