"""What can be known to be wrong with a group of runs before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdengine.configuration import Configuration, one_group
from kdengine.errors import KDError
from kdengine.runs.first_stages import first_stage
from kdengine.runs.inputs import outline

if TYPE_CHECKING:
    from kdengine.data import Outline
    from kdengine.signals import Stage


def check(configurations: Sequence[Configuration]) -> None:
    """Raise KDError for all that a group's worker could only fail with, as far as a moment tells: no picture is opened.

    Names, hyperparameters, device and threads; what the data are, and whether these networks and methods fit them.
    """
    from kdengine import methods, models, views
    from kdengine.devices import choose_device, cores
    from kdengine.runs import references

    one_group(configurations)
    shared = configurations[0]
    if shared.views is not None:
        views.policy(shared.views)
    for each in configurations:
        if each.warmup_epochs > each.epochs:
            raise KDError(f"warmup_epochs is {each.warmup_epochs:g} of {each.epochs} epochs, so the learning rate is "
                          "never reached; allowed are at most as many as there are epochs.")
    for each in configurations:
        method = methods.method(each.method, **each.hyperparameters)
        if method.needs_teacher and each.teacher is None:
            raise KDError(f"Method {method.name!r} needs a teacher. Name a checkpoint or a run (--teacher).")
        models.require(each.student, start=each.pretrained)
    choose_device(shared.device)
    if shared.threads is not None and shared.threads > cores():
        raise KDError(f"threads is {shared.threads}; this process has {cores()} CPU cores, and more threads than cores "
                      "wait for each other. Leave it out, or take fewer.")
    data = outline(shared)
    taught = None
    if shared.teacher is not None:
        taught = references.check_teacher(shared.teacher, data.task, data.classes, data.size)
    for each in configurations:
        check_student(each, data, taught)


def check_student(
    configuration: Configuration, data: Outline, taught: Sequence[Stage] | None
) -> tuple[Stage, ...] | None:
    """The student's stages; raises KDError unless it fits the data, and its method it, the teacher and their task.

    data: in outline. taught: the teacher's stages, None where there is no teacher. A network of the user's own is
    built to see that, once the classes are known; None where they are not.
    """
    from kdengine import methods, models
    from kdengine.signals import largest_convolutions
    from kdengine.training import check_task

    packaged, built = models.MODELS.get(configuration.student), None
    if packaged is None and data.classes is not None:
        built = models.build(configuration.student, data.classes, input_size=data.size)
    student = packaged or built
    if student is None:
        return None
    for stage in filter(None, (first_stage(configuration), configuration)):
        method = methods.method(stage.method, **stage.hyperparameters)
        check_task(method, configuration.student, student.task, data.task)
        if method.needs_teacher and taught is not None:
            wanted, _ = method.wants(student.stages, taught)
            if built is not None:
                largest_convolutions(built, built.stages, wanted.weights)
    return student.stages
