"""What finished runs say of their costs: the time for an image, and memory. Needs no torch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from kdengine.runs.records import Record
from kdengine.runs.schema import Result

BUSY = "busy"
"""The word for a time that was measured while other processes used the machine."""


@dataclass(frozen=True)
class Speed:
    """Milliseconds that a network takes for one image: the median of many forwards, and the quartiles.

    quartiles: None where they were not kept. busy: whether other processes used more than a tenth of the machine's
    cores meanwhile, so that the figure says little of the network; None where that was not noted.
    """

    milliseconds: float
    quartiles: tuple[float, float] | None
    busy: bool | None

    def __str__(self) -> str:
        quartiles = f" ({self.quartiles[0]:.2f} to {self.quartiles[1]:.2f})" if self.quartiles else ""
        return f"{self.milliseconds:.2f}{quartiles}{f', {BUSY}' if self.busy else ''}"


def speed(records: Sequence[Record]) -> Speed:
    """Of finished runs that are equal but for the seed: means over those that were not measured on a busy machine.

    Over all of them where every one was.
    """
    latencies = [record.result["latency"] for record in records]
    notes = [each.get("busy") for each in latencies]
    if not all(notes):
        latencies = [each for each in latencies if not each.get("busy")]
    milliseconds, quartiles = statistics.fmean(each["median_ms"] for each in latencies), None
    if all("quartiles_ms" in each for each in latencies):
        low, high = (statistics.fmean(each["quartiles_ms"][place] for each in latencies) for place in (0, 1))
        quartiles = low, high
    return Speed(milliseconds, quartiles, None if None in notes else all(notes))


def memory_of(result: Result) -> str | None:
    """Whose memory a run's peak is: the process of one student, or of several side by side; None where none is kept.

    No system tells a student's own share.
    """
    peak, students = result.get("peak_memory"), result.get("side_by_side", 1)
    if not peak:
        return None
    return f"{peak['of']}, {students} students" if students > 1 else peak["of"]
