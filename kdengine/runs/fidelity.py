"""Heat-map fidelity of networks by name: with what the results hold beside them, their twins and their like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdengine.errors import out_of_range
from kdengine.runs import references, results, verdicts

if TYPE_CHECKING:
    from kdengine.data import DataSet
    from kdengine.explain.fidelity import Fidelity
    from kdengine.explain.map_checks import MapChecks

MEASURES = {"correlation": "rank correlation", "cosine": "cosine", "overlap": "overlap of the top 20%"}
"""What the measures of likeness are called, in display order."""
MOST_IMAGES = 1_000
CHECKED_IMAGES = 100
"""For how many of the images the maps themselves are checked: that takes 30 times as many forwards."""


@dataclass(frozen=True)
class HeatFidelity:
    """How much a student's heat maps are like its teacher's on the first test images, and what the maps are worth.

    student, teacher: the references asked for. independent, retrained: those of the student's independent twin and of
    the teacher trained with another seed; None where there is none. checks: of the student's and of the teacher's maps,
    by `student` and `teacher`, on the first CHECKED_IMAGES; empty where they were not asked for.
    """

    student: str
    teacher: str
    independent: str | None
    retrained: str | None
    fidelity: Fidelity
    checks: dict[str, MapChecks]


def heat_fidelity(
    student: str, teacher: str, data: DataSet, *, method: str = "gradcam", count: int = MOST_IMAGES,
    device: str = "cpu", with_checks: bool = True,
) -> HeatFidelity:
    """Measure it on the first `count` test images of a data set, 2 to 1,000; on all where it has fewer.

    student, teacher: references, see `references.open_reference`. device: torch's name of it. with_checks:
    whether the maps themselves are checked too. Raises KDError for another count, and as `explain.fidelity.fidelity`.
    """
    from kdengine.devices import one_thread
    from kdengine.explain import fidelity, map_checks

    if not 2 <= count <= MOST_IMAGES:
        raise out_of_range("images", count, 2, MOST_IMAGES)
    independent, retrained = independent_of(student), retrained_of(teacher)
    opened = {name: references.open_reference(name).to(device)
              for name in (student, teacher, independent, retrained) if name}
    images = data.test.images[:count]
    # Beside other work two threads mostly wait for each other: 500 images of 32 pixels cost 15 s of two, 4 s of one.
    with one_thread():
        measured = fidelity.fidelity(
            opened[student], opened[teacher], images, method=method,
            independent=opened[independent] if independent else None,
            retrained=opened[retrained] if retrained else None)
        checks = {role: map_checks.check_maps(opened[name], images[:CHECKED_IMAGES], method=method)
                  for role, name in (("student", student), ("teacher", teacher)) if with_checks}
    return HeatFidelity(student, teacher, independent, retrained, measured, checks)


def independent_of(student: str) -> str | None:
    """A result's independent twin, whose weights are there; None where there is none."""
    twin = verdicts.independent_twins(results.finished()).get(student)
    return twin if twin and references.locate(twin) else None


def retrained_of(network: str) -> str | None:
    """The first other result that is equal to this one in everything but the seed, and whose weights are there."""
    records = results.finished()
    if network not in records:
        return None
    like, seed = verdicts.setting(records[network]), records[network].configuration.seed
    return next((name for name, record in records.items()
                 if record.configuration.seed != seed and verdicts.setting(record) == like
                 and references.locate(name)), None)
