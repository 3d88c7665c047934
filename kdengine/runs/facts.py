"""What a group's records and checkpoints tell of what it ran on."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from kdengine.devices import device_name
from kdengine.paths import PROJECT
from kdengine.runs.opening import Group
from kdengine.runs.records import Record
from kdengine.runs.schema import Data, Environment


def data(group: Group) -> Data:
    """Of the data: which they are, how they were cut, and how many images each split has."""
    data_set, configuration, train = group.data, group.configuration, group.data.train
    return {
        "name": data_set.name,
        "title": data_set.title,
        "task": "segmentation" if data_set.task == "segmentation" else "classification",
        "classes": list(data_set.classes),
        "size": data_set.size,
        "digest": data_set.digest,
        "notes": list(data_set.notes),
        "labels_per_class": configuration.labels_per_class,
        "labelled_images": configuration.labelled_images,
        "share": configuration.share,
        "without_class": configuration.without_class,
        "views": group.views,
        "train": len(train),
        "labelled": int(train.labelled.sum()),
        "validation": len(data_set.validation),
        "test": len(data_set.test),
    }


def environment(group: Group, run: str) -> Environment:
    """Of machine and software, and how this run's networks are executed."""
    executions = {"student": group.student_executions[run], "teacher": group.teacher_execution}
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: version(name) for name in ("torch", "torchvision", "numpy", "pillow", "scikit-learn")},
        "device": group.device.type,
        "device_name": device_name(group.device),
        "threads": torch.get_num_threads(),
        "student_threads": group.student_threads,
        "precision": {role: execution.precision for role, execution in executions.items()},
        "memory_formats": {role: execution.memory_format for role, execution in executions.items()},
        "teacher_cache": group.caches_teacher,
        "compiled": group.learners[run].compiled,
        "commit": _commit(),
    }


def student(record: Record, epoch: int, **scores: Mapping[str, Any]) -> dict[str, Any]:
    """What a student's checkpoint says of itself besides its architecture."""
    configuration = record.configuration
    return {
        "method": configuration.method,
        "hyperparameters": configuration.hyperparameters,
        "data": {key: record.data[key]
                 for key in ("name", "digest", "labels_per_class", "labelled_images", "share", "without_class")},
        "teacher": record.teacher and {key: record.teacher[key] for key in ("reference", "digest")},
        "epoch": epoch,
        "seed": configuration.seed,
        "run": record.id,
        "scores": scores,
    }


def _commit() -> str | None:
    """The project's commit, where it is a git checkout."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
