"""Errors a person can mend: each says what was given, what is allowed, and what to do. Needs no torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KDError(ValueError):
    """A sentence for the person at the screen. Pages and the command line show its text as it is."""


class DataMissing(KDError):
    """A data set that is not on this machine yet.

    `download_bytes` is the size of the download that would bring it, None where there is none to offer.
    """

    def __init__(self, message: str, download_bytes: int | None = None) -> None:
        super().__init__(message)
        self.download_bytes = download_bytes


class OutOfMemory(KDError):
    """The device has no room for the step; it ends a whole group of runs."""


class NotFinite(KDError):
    """A loss term (or the weights themselves) that became NaN or infinite; the student's run ends here."""


def unknown_name(kind: str, given: str, allowed: Iterable[str]) -> KDError:
    """The error for a name that is in no registry, with the nearest name that is."""
    allowed = list(allowed)
    near = difflib.get_close_matches(given, allowed, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return KDError(f"Unknown {kind} {given!r}.{hint} Known: {', '.join(allowed)}.")


def out_of_range(name: str, given: object, low: float | None, high: float | None) -> KDError:
    """The error for a number outside its range; an open end is None."""
    if low is not None and high is not None:
        allowed = f"from {low:g} to {high:g}"
    elif low is not None:
        allowed = f"of at least {low:g}"
    else:
        allowed = f"of at most {high:g}"
    return KDError(f"{name} is {given!r}; allowed is a number {allowed}.")
