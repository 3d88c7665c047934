"""What a folder's `classes.txt` says: the names of its classes, and which values of its masks they have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from kdengine.data.directories import listed
from kdengine.errors import KDError
from kdengine.losses import IGNORE

FILE = "classes.txt"
IGNORED = "ignore"
"""In place of a name: pixels of these values count nowhere."""
_LINE = re.compile(r"(?:#(?P<color>[0-9a-fA-F]{6})|(?P<low>\d{1,9})(?:\s*-\s*(?P<high>\d{1,9}))?)\s*=\s*(?P<name>.+)")

Range = tuple[int, int, int]
"""Lowest and highest value of a class, both included, and its number, or IGNORE."""


@dataclass(frozen=True)
class ClassNames:
    """Names in the order of the classes' numbers.

    ranges: the values of each, ascending, without overlap. plain: whether the names stand there without values, so that
    they count from 0. colored: whether the values are colours, 0xRRGGBB.
    """

    names: tuple[str, ...]
    ranges: tuple[Range, ...]
    plain: bool
    colored: bool

    def speaks_of(self, value: int) -> bool:
        """Whether a line speaks of this value."""
        return any(low <= value <= high for low, high, _ in self.ranges)

    def text(self) -> str:
        """Which values are which class, of many the first."""
        def written(value: int) -> str:
            return f"#{value:06x}" if self.colored else str(value)

        return listed([f"{written(low)}{f' to {written(high)}' if high > low else ''} is "
                       f"{IGNORED if number == IGNORE else self.names[number]}" for low, high, number in self.ranges])


def read_class_names(place: Path) -> ClassNames | None:
    """What the folder's classes.txt says; None where there is none. Raises KDError where it cannot be used.

    Its lines are names, in the order of the numbers 0, 1, 2, ...; or `VALUE = NAME`, where a value is a number (`255`),
    a range (`128-255`) or a colour (`#ff8000`), and a name may stand on several lines. `VALUE = ignore`, which may
    stand beside plain names too, says that such pixels count nowhere.
    """
    path = place / FILE
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise KDError(f"{path} cannot be read as text: {error}.") from error
    plain: list[str] = []
    entries: list[tuple[int, int, str]] = []
    colored = set()
    for number, line in enumerate((line.strip() for line in lines), start=1):
        if "=" not in line:
            plain += [line] * bool(line)
            continue
        match = _LINE.fullmatch(line)
        wrong = KDError(f"{path}, line {number}, is {line!r}. With an = it says which values a class has: "
                        f"`255 = cat`, `128-255 = cat`, `#ff8000 = cat`, or `255 = {IGNORED}`.")
        if not match:
            raise wrong
        low = int(match["color"], 16) if match["color"] else int(match["low"])
        high = int(match["high"]) if match["high"] else low
        if low > high:
            raise wrong
        entries.append((low, high, match["name"]))
        colored.add(match["color"] is not None)
    named = list(dict.fromkeys(name for _, _, name in entries if name != IGNORED))
    if plain and named:
        raise KDError(f"{path} has names without a value ({plain[0]}) and with one ({named[0]}). Give every class its "
                      "value, or none.")
    if len(colored) > 1 or (plain and True in colored):
        raise KDError(f"{path} has colours and numbers. Masks are read by one of them; give every class a colour, or "
                      "none.")
    names = plain or named
    if len(names) < 2 or len(set(names)) < len(names):
        raise KDError(f"{path} names {len(set(names))} different classes in {len(names)} lines; at least 2 are needed, "
                      "plain names each once, in the order of their numbers.")
    numbers = {name: number for number, name in enumerate(names)} | {IGNORED: IGNORE}
    ranges = sorted([(number, number, number) for number in range(len(plain))]
                    + [(low, high, numbers[name]) for low, high, name in entries])
    for (_, high, _), (low, _, _) in pairwise(ranges):
        if low <= high:
            raise KDError(f"{path} says twice what {low} is. Name each value once.")
    return ClassNames(tuple(names), tuple(ranges), bool(plain), True in colored)
