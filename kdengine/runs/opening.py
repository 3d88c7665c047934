"""A group before its first step: data, teacher and students, and how each network is executed, settled once.

A run that goes on does so as it began: anything else would change its numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdengine import methods, models
from kdengine.configuration import Configuration
from kdengine.data import DataSet
from kdengine.devices import choose_device, device_name, memory_formats, set_memory_format
from kdengine.errors import KDError
from kdengine.measures import evaluation
from kdengine.models.network import Network
from kdengine.paths import runs_root
from kdengine.runs import checkpoints, inputs, references
from kdengine.runs.progress import ProgressFile
from kdengine.runs.records import Record
from kdengine.runs.resuming import resume_file, start_from
from kdengine.training import Learner, speeds, teacher_cache
from kdengine.training.speeds import Execution
from kdengine.training.teacher_cache import TeacherCache
from kdengine.views import Split, policy

_ROUNDING = 0.002
"""Nats that a teacher's answers may move for speed: a hundredth of what its closest students are away from it."""
_TRIED = 64
"""How many training images that is measured on."""


@dataclass(frozen=True)
class Group:
    """What the students of one group train with.

    configuration: of the first; the others share what is used of it. splits: train, validation and test on the device.
    teacher_logits: [N, C] of validation and test, empty without a teacher and of segmentation, where they would fill
    the memory. learners, student_executions: by run. caches_teacher: whether what the teacher says of the views is
    kept.
    """

    configuration: Configuration
    first_epoch: int
    device: torch.device
    data: DataSet
    views: str
    splits: Mapping[str, Split]
    teacher: Network | None
    teacher_execution: Execution
    teacher_logits: Mapping[str, Tensor]
    learners: Mapping[str, Learner]
    student_executions: Mapping[str, Execution]
    student_threads: int | None
    caches_teacher: bool

    def teacher_cache(self) -> TeacherCache | None:
        """Where what the teacher says of these views is kept; None where it is asked live."""
        if self.teacher is None or not self.caches_teacher:
            return None
        configuration = self.configuration
        return TeacherCache(runs_root() / ".teacher-cache", teacher_cache.key(
            teacher=checkpoints.network_digest(self.teacher), data=self.data.digest, share=configuration.share,
            without_class=configuration.without_class, views=policy(self.views), way=self.teacher_execution,
            # Which images are shown, and how often, follows those that have a label.
            labels_per_class=configuration.labels_per_class, labelled_images=configuration.labelled_images,
            labelled_share=configuration.labelled_share,
            device=device_name(self.device), threads=torch.get_num_threads(),
        ))


def open_group(records: Sequence[Record], progress: ProgressFile) -> Group:
    """Load the data, measure the teacher, build the students. Raises KDError where one of them cannot be had."""
    first = records[0]
    configuration, first_epoch = first.configuration, first.status["epoch"]
    progress.phase("Loading the data")
    device = choose_device(configuration.device)
    if threads := first.environment.get("threads") or configuration.threads:
        torch.set_num_threads(threads)
    data = inputs.load(configuration)
    for note in data.notes:
        print(note, file=sys.stderr)
    splits = {name: getattr(data, name).to(device) for name in ("train", "validation", "test")}
    progress.images_per_epoch = len(data.train)
    progress.phase("Measuring the teacher")
    teacher = _open_teacher(configuration.teacher, data, device)
    teacher_execution = _place_teacher(teacher, first, splits["train"], device)
    logits = {} if teacher is None or data.task == "segmentation" else {
        name: evaluation.predict(teacher, splits[name]) for name in ("validation", "test")}
    if first_epoch:
        _require_unchanged(records, data, teacher)
    networks = {record.id: _build(record, data).to(device) for record in records}
    executions = {record.id: _place(networks[record.id], "student", record) for record in records}
    learners = {each.id: _learner(each, networks[each.id], teacher, splits["train"], executions[each.id].precision)
                for each in records}
    group = Group(
        configuration, first_epoch, device, data, configuration.views or data.views, splits, teacher, teacher_execution,
        logits, learners, executions, _student_threads(first, device, len(learners)),
        first.environment.get("teacher_cache", not first_epoch))
    _compile(records, group, progress)
    return group


def _open_teacher(reference: str | None, data: DataSet, device: torch.device) -> Network | None:
    if reference is None:
        return None
    teacher = references.open_teacher(reference, data.classes, data.size)
    if teacher.task != data.task:
        raise KDError(f"The teacher {reference} is for {teacher.task}; these data are for {data.task}. Take a teacher "
                      "that was trained on them.")
    return teacher.requires_grad_(False).to(device)


def _place_teacher(teacher: Network | None, record: Record, train: Split, device: torch.device) -> Execution:
    """Lay the teacher as it answers fastest, in a precision that does not move its answers."""
    if teacher is None:
        return Execution("float32", memory_formats(device)[0])
    execution = _place(teacher, "teacher", record)
    chosen = record.configuration.precision == "auto" and execution.precision != "float32" and not record.environment
    if chosen and evaluation.rounding(teacher, train.images[:_TRIED], execution.precision) > _ROUNDING:
        execution = speeds.default_execution(teacher, "float32")
        set_memory_format(teacher, execution.memory_format)
    return execution


def _place(network: Network, role: str, record: Record) -> Execution:
    """Lay a network's weights in memory, and return the way it is to run: this machine's, or the precision asked for.
    """
    configuration, began = record.configuration, record.environment
    precision, memory_format = began.get("precision", {}).get(role), began.get("memory_formats", {}).get(role)
    if precision and memory_format:
        execution = Execution(precision, memory_format)
    else:
        precision = precision or configuration.precision
        execution = speeds.execution(network, configuration.batch_size, precision, training=role == "student")
    set_memory_format(network, execution.memory_format)
    return execution


def _build(record: Record, data: DataSet) -> Network:
    configuration = record.configuration
    # Published weights expect their own normalisation.
    start = {"start": True} if configuration.pretrained else {"mean": data.mean, "std": data.std}
    return models.build(configuration.student, data.classes, seed=configuration.seed, input_size=data.size, **start)


def _learner(record: Record, network: Network, teacher: Network | None, train: Split, precision: str) -> Learner:
    configuration, epoch = record.configuration, record.status["epoch"]
    method = methods.method(configuration.method, **configuration.hyperparameters)
    learner = Learner(network, method, teacher, train, configuration, precision)
    if configuration.initial and not epoch:
        start_from(learner, configuration.initial)
    if epoch:
        path = resume_file(record.id, epoch)
        if not path.is_file():
            raise KDError(f"{path} is gone, so there is nothing to go on from. Start a new run.")
        learner.restore(torch.load(path, map_location=train.images.device, weights_only=True))
    return learner


def _student_threads(record: Record, device: torch.device, students: int) -> int | None:
    """Of each student, where some train at once; a resumed one goes on with as many as it had."""
    if record.status["epoch"]:
        return record.environment.get("student_threads")
    if record.configuration.compile == "always":
        return None
    return speeds.student_threads(device, students)


def _compile(records: Sequence[Record], group: Group, progress: ProgressFile) -> None:
    """Compile the students where that is asked for, or where it was when they began."""
    for record in records:
        begun = record.environment.get("compiled", False)
        if begun if group.first_epoch else group.configuration.compile == "always":
            progress.phase("Compiling")
            group.learners[record.id].compile(group.splits["train"])


def _require_unchanged(records: Sequence[Record], data: DataSet, teacher: Network | None) -> None:
    """Raise KDError where resumed runs would go on with other pictures or another teacher than they began with."""
    digest = checkpoints.network_digest(teacher) if teacher else None
    for record in records:
        if record.data.get("digest") != data.digest:
            raise KDError(f"The pictures of {data.name} are not those this run began with. Start a new run.")
        began = record.teacher["digest"] if record.teacher else "none"
        if digest and began != digest:
            raise KDError(f"The teacher {record.configuration.teacher} is not the one this run began with: its weights "
                          f"have the digest {digest}, not {began}. Start a new run.")
