"""What a recipe adds to its table: columns of its own, and what lab sheets print of its networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kdengine.runs.records import Record


@dataclass(frozen=True)
class Column:
    """A further column of a recipe's table: its title, and how a value in it reads.

    count(record, measured): of how many test images the value is a share; None where it is no share, and has no
    interval. measured: what the recipe measured of that record.
    """

    title: str
    text: Callable[[float], str] = "{:.2%}".format
    count: Callable[[Record, Mapping[str, float]], int] | None = None


@dataclass(frozen=True)
class Printed:
    """What a lab sheet prints for an experiment on a data set: shares in [0, 1], by label and column.

    Sheets print single runs, none with an interval.
    """

    sheet: str
    data: str
    values: Mapping[str, Mapping[str, float]]


def test_images(record: Record, measured: Mapping[str, float] | None = None) -> int:
    """How many images a run was tested on: the count of a column that speaks of all of them."""
    return record.result["test"]["n"]
