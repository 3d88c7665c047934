"""What a reference names: a shipped checkpoint, a run, a file, an ImageNet network; opened, and as a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdengine.errors import KDError, unknown_name
from kdengine.paths import checkpoints_root, child, runs_root
from kdengine.runs import checkpoints
from kdengine.runs.records import STUDENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kdengine.models.network import Network
    from kdengine.signals import Stage

TEACHER_OF = "teacher-of:"
"""Before a student's name or run id: the ImageNet network that taught it, on that student's classes and image size."""


def locate(reference: str) -> Path | None:
    """The file a reference means: a shipped checkpoint's name, a run's id, or a path; None where there is none."""
    run_folder = child(runs_root(), reference)
    named = child(checkpoints_root(), f"{reference}.safetensors"), run_folder and run_folder / STUDENT
    for path in (*filter(None, named), Path(reference)):
        try:
            path = path.expanduser()
            if path.is_file():
                return path
        except (OSError, RuntimeError):  # a name too long, a folder closed to us, the home of nobody
            continue
    return None


def require(reference: str) -> Path | None:
    """As `locate`, None for an ImageNet network's name.

    Raises KDError for a reference that means nothing, a file that is no checkpoint, and one whose network is code
    that is not trusted.
    """
    from kdengine import models

    path = locate(reference)
    pretrained = [name for name, architecture in models.MODELS.items() if architecture.pretrained]
    if reference == "none":
        raise KDError("There is no checkpoint 'none'. Without a teacher a network learns from the labels alone: "
                      "python -m kdengine train.")
    if path is None and reference not in pretrained:
        raise unknown_name("checkpoint", reference, [*checkpoints.shipped(), *pretrained])
    if path is not None:
        checkpoints.require_trust(checkpoints.describe(path))
    return path


def open_reference(reference: str) -> Network:
    """The network a reference means, in evaluation mode. Raises KDError as `require` and `load` do.

    `teacher-of:STUDENT` is the student's teacher as it taught it, see `TEACHER_OF`.
    """
    from kdengine import models

    if reference.startswith(TEACHER_OF):
        return _teacher_of(reference.removeprefix(TEACHER_OF))
    path = require(reference)
    return checkpoints.load(path) if path else models.pretrained(reference).eval()


def imagenet_teacher(student: str, about: Mapping[str, Any]) -> str | None:
    """The reference of the ImageNet network that taught a student; None where it had another teacher, or none.

    about: the student's identity. What is on disk under the teacher's name is no ImageNet network.
    """
    teacher = (about.get("teacher") or {}).get("reference")
    if teacher is None or locate(teacher):
        return None
    from kdengine import models

    pretrained = teacher in models.MODELS and models.MODELS[teacher].pretrained
    return f"{TEACHER_OF}{student}" if pretrained else None


def open_teacher(reference: str, classes: Sequence[str], size: int) -> Network:
    """The network a reference means, to teach these classes from images of `size` pixels; in evaluation mode.

    A checkpoint must know exactly these classes, at this size. An ImageNet network need only have them among its
    1000: it keeps their logits, and takes the images as they are. Raises KDError as `open_reference`, and where it
    cannot teach this.
    """
    from kdengine import models

    path = require(reference)
    if path is None:
        return models.pretrained(reference, classes, size).eval()
    teacher = checkpoints.load(path)
    _check_teaches(reference, teacher.classes, teacher.input_size, classes, size)
    return teacher


def check_teacher(reference: str, task: str, classes: Sequence[str] | None, size: int | None) -> tuple[Stage, ...]:
    """The stages of the network a reference means. Only its header is read, unless its architecture is a user's own.

    Raises KDError where it cannot teach this task, these classes, or from images of this size; None is not known yet.
    """
    from kdengine import models
    from kdengine.models import imagenet

    path = require(reference)
    about: dict[str, Any] = {"architecture": reference} if path is None else checkpoints.describe(path)
    name = about["architecture"]
    its_task = models.MODELS[reference].task if path is None else about.get("task", "classification")
    if its_task != task:
        raise KDError(f"The teacher {reference} is for {its_task}; these data are for {task}. Take a teacher that was "
                      "trained on them.")
    if path is not None:
        _check_teaches(reference, about["classes"], about["input_size"], classes, size)
    elif classes is not None:
        imagenet.require_classes(reference, classes)
    return models.MODELS[name].stages if name in models.MODELS else open_reference(reference).stages


def _check_teaches(
    reference: str, teacher_classes: Sequence[str], takes: int, classes: Sequence[str] | None, size: int | None
) -> None:
    if classes is not None and tuple(teacher_classes) != tuple(classes):
        raise KDError(f"The teacher {reference} knows {checkpoints.summary(teacher_classes)}; the data set has "
                      f"{checkpoints.summary(classes)}. Take a teacher that was trained on these classes.")
    if size is not None and takes != size:
        raise KDError(f"The teacher {reference} takes images of {takes} pixels; these have {size}. "
                      f"Set --image-size {takes}, or take another teacher.")


def _teacher_of(student: str) -> Network:
    path = locate(student)
    if path is None:
        raise unknown_name("checkpoint", student, checkpoints.shipped())
    about = checkpoints.describe(path)
    if imagenet_teacher(student, about) is None:
        raise KDError(f"{student} was not taught by an ImageNet network.")
    return open_teacher(about["teacher"]["reference"], about["classes"], about["input_size"])
