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
    held, asked, train = group.data, group.configuration, group.data.train
    return {
        "name": held.name,
        "title": held.title,
        "task": "segmentation" if held.task == "segmentation" else "classification",
        "classes": list(held.classes),
        "size": held.size,
        "digest": held.digest,
        "notes": list(held.notes),
        "labels_per_class": asked.labels_per_class,
        "labelled_images": asked.labelled_images,
        "share": asked.share,
        "without_class": asked.without_class,
        "views": group.views,
        "train": len(train),
        "labelled": int(train.labelled.sum()),
        "validation": len(held.validation),
        "test": len(held.test),
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
    asked = record.configuration
    return {
        "method": asked.method,
        "hyperparameters": asked.hyperparameters,
        "data": {key: record.data[key]
                 for key in ("name", "digest", "labels_per_class", "labelled_images", "share", "without_class")},
        "teacher": record.teacher and {key: record.teacher[key] for key in ("reference", "digest")},
        "epoch": epoch,
        "seed": asked.seed,
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
