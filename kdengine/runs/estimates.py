"""How long a group of runs will take on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdengine.configuration import Configuration
from kdengine.runs import inputs
from kdengine.runs.checks import check
from kdengine.runs.first_stages import first_epochs

START_S = 5.0
"""A worker's start, mostly torch's import."""


@dataclass(frozen=True)
class Pace:
    """Seconds of one step on this machine as it is now: of the teacher, and of each student by itself.

    It depends on the networks, the size of the images, the batch and the precision; on nothing else that is set.
    """

    teacher: float
    students: tuple[float, ...]


def pace(configurations: Sequence[Configuration]) -> Pace:
    """Measure a few steps of each network of a group. Takes seconds; raises KDError as `check`."""
    from kdengine import methods, models
    from kdengine.devices import choose_device
    from kdengine.runs import references
    from kdengine.training import speeds

    check(configurations)
    shared = configurations[0]
    device, data = choose_device(shared.device), inputs.load(shared)
    taught = 0.0
    if shared.teacher is not None and any(methods.find(each.method).needs_teacher for each in configurations):
        teacher = references.open_teacher(shared.teacher, data.classes, data.size).to(device)
        taught = speeds.seconds_now(teacher, shared.batch_size, shared.precision, training=False)
    alike: dict[tuple[str, str], float] = {}
    for each in configurations:
        if (each.student, each.precision) not in alike:
            student = models.build(each.student, data.classes, input_size=data.size).to(device)
            alike[each.student, each.precision] = speeds.seconds_now(
                student, shared.batch_size, each.precision, training=True)
    return Pace(taught, tuple(alike[each.student, each.precision] for each in configurations))


def estimate(configurations: Sequence[Configuration], paced: Pace) -> dict[str, float]:
    """What a group will take at this pace: seconds in all, and training images per second of all students together.

    Loading, measuring the teacher and testing are counted as one more epoch, and START_S; a first stage as its share
    of the epochs. Raises KDError as `check`.
    """
    from kdengine import methods

    check(configurations)
    shared = configurations[0]
    step = paced.teacher + sum(paced.students)
    first_steps = sum(first_epochs(each) * (paced.teacher + learnt)
                      for each, learnt in zip(configurations, paced.students, strict=True)
                      if methods.find(each.method).first_stage)
    steps = len(inputs.load(shared).train) / shared.batch_size
    seconds = START_S + steps * ((shared.epochs + 1) * step + first_steps)
    return {"seconds": seconds, "images_per_second": shared.batch_size / step}
