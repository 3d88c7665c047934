"""What a person typed, or a link carries, as numbers. What cannot be read raises KDError with a sentence."""

from __future__ import annotations

import re

from kdengine import KDError

LOWEST, HIGHEST = 0.5, 20.0
"""The temperatures the page shows."""

MOST_CLASSES = 100
LARGEST_LOGIT = 1000.0

_SHOWN = 40
"""More characters than these of a bad entry are not repeated to the person."""


def read_temperature(text: str) -> float:
    """The temperature in a link. Raises KDError for what is no number from LOWEST to HIGHEST."""
    value = _number(text)
    if value is None or not LOWEST <= value <= HIGHEST:
        raise KDError(f"The link's temperature is {_quoted(text)}; allowed is a number from {LOWEST:g} to {HIGHEST:g}.")
    return value


def read_place(text: str, last: int) -> int:
    """The number of a test picture in a link. Raises KDError for what is no whole number from 0 to `last`."""
    try:
        place = int(text)
    except ValueError:
        place = -1
    if not 0 <= place <= last:
        raise KDError(f"The link's test picture is {_quoted(text)}; allowed is a whole number from 0 to {last}.")
    return place


def read_logits(text: str, whose: str) -> list[float]:
    """Logits separated by commas, semicolons or spaces; whose: `teacher` or `student`, for the sentence.

    Raises KDError for an entry that is no finite number in [-LARGEST_LOGIT, LARGEST_LOGIT], for fewer than two
    entries, and for more than MOST_CLASSES.
    """
    entries = _entries(text, r"[\s,;]+")
    if not 2 <= len(entries) <= MOST_CLASSES:
        amount = {0: "none is given", 1: "one is given"}.get(len(entries), f"{len(entries):,} are given")
        raise KDError(f"The {whose} needs from 2 to {MOST_CLASSES} logits, one for each class; {amount}. "
                      "Separate them by commas, for example 10, 2, -3.")
    logits = []
    for place, entry in enumerate(entries, start=1):
        value = _number(entry)
        if value is None or not abs(value) <= LARGEST_LOGIT:
            raise KDError(f"Logit {place} of the {whose} is {_quoted(entry)}; allowed is a number from "
                          f"{-LARGEST_LOGIT:g} to {LARGEST_LOGIT:g}.")
        logits.append(value)
    return logits


def read_names(text: str, count: int) -> list[str]:
    """Class names separated by commas or semicolons; Class 1, Class 2, ... where nothing is typed.

    Raises KDError where there are not `count` of them, all different.
    """
    names = _entries(text, r"[,;\n]+")
    if not names:
        return [f"Class {number}" for number in range(1, count + 1)]
    if len(names) != count:
        raise KDError(f"There are {count} logits and {len(names)} class names; give {count} names separated by commas, "
                      "or none.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise KDError(f"The class name {_quoted(twice)} is given more than once; all names must be different.")
    return names


def read_classes(teacher: str, student: str, names: str) -> tuple[list[float], list[float], list[str]]:
    """Teacher's logits, student's logits and class names, as many of each. Raises KDError where they do not fit."""
    teacher_logits, student_logits = read_logits(teacher, "teacher"), read_logits(student, "student")
    if len(teacher_logits) != len(student_logits):
        raise KDError(f"The teacher has {len(teacher_logits)} logits and the student {len(student_logits)}; both need "
                      "one for each class.")
    return teacher_logits, student_logits, read_names(names, len(teacher_logits))


def _entries(text: str, separator: str) -> list[str]:
    return [entry for each in re.split(separator, text) if (entry := each.strip())]


def _number(text: str) -> float | None:
    try:
        return float(text.replace("−", "-"))  # the typographic minus, as slides and papers have it
    except ValueError:
        return None


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
