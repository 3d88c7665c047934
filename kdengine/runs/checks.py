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
    one_group(configurations)
    for each in configurations:
        check_alone(each, taught=each.teacher is not None)
    shared = configurations[0]
    data = outline(shared)
    taught = teacher_stages(shared, data)
    for each in configurations:
        check_student(each, data, taught)


def check_alone(configuration: Configuration, *, taught: bool) -> None:
    """Raise KDError for what is wrong with a run whatever its data and its teacher are. taught: whether it has one."""
    from kdengine import methods, models, views
    from kdengine.devices import choose_device, cores

    if configuration.views is not None:
        views.policy(configuration.views)
    if configuration.warmup_epochs > configuration.epochs:
        raise KDError(f"warmup_epochs is {configuration.warmup_epochs:g} of {configuration.epochs} epochs, so the "
                      "learning rate is never reached; allowed are at most as many as there are epochs.")
    method = methods.method(configuration.method, **configuration.hyperparameters)
    if method.needs_teacher and not taught:
        raise KDError(f"Method {method.name!r} needs a teacher. Name a checkpoint or a run (--teacher).")
    models.require(configuration.student, start=configuration.pretrained)
    choose_device(configuration.device)
    if configuration.threads is not None and configuration.threads > cores():
        raise KDError(f"threads is {configuration.threads}; this process has {cores()} CPU cores, and more threads "
                      "than cores wait for each other. Leave it out, or take fewer.")


def teacher_stages(configuration: Configuration, data: Outline) -> Sequence[Stage] | None:
    """The stages of a run's teacher, None without one; raises KDError unless it can teach these data."""
    from kdengine.runs import references

    if configuration.teacher is None:
        return None
    return references.check_teacher(configuration.teacher, data.task, data.classes, data.size)


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
