"""Records of finished runs with all that a reader asks for, and no more: nothing was trained."""

import json

import numpy as np
from safetensors.numpy import save_file

from kdengine.configuration import Configuration
from kdengine.runs.records import Record


def scores(n=100, top1=0.5, **more):
    """Test scores of a network that names one class a picture; `miou` and `iou` make it one that segments."""
    return {"n": n, "loss": 0.5, **({} if "miou" in more else {"top1": top1}), **more}


def finished(name, configuration=None, test=None, *, data=None, **more):
    """A finished run's record."""
    configuration, test = configuration or Configuration(), test or scores()
    return Record(
        name, more.pop("group", name), 1.0, configuration,
        {"state": "finished", "reason": None, "epoch": configuration.epochs, "launched": 1.0},
        data={"name": configuration.data, "title": "Made up", "classes": ["a", "b"], "size": 32, "digest": "d",
              "views": "none", "train": 60, "labelled": 50, "validation": 20, "test": test["n"],
              "task": "segmentation" if "miou" in test else "classification"} | (data or {}),
        environment={"python": "3.11.9", "system": "Linux", "packages": {}, "device": "cpu", "device_name": "A CPU",
                     "threads": 1, "commit": None},
        result={"test": test, "validation": test, "parameters": 78_042, "megabytes": 0.3125, "flops": 25_000_000,
                "latency": {"median_ms": 1.25, "std_ms": 0.05}, "training_seconds": 12.0, "images_per_second": 2345.0,
                "side_by_side": 1},
        **more,
    )


def teacher(reference="t", **more):
    """What a record says of its teacher."""
    return {"reference": reference, "architecture": "resnet20", "digest": "7eac4e5", "parameters": 272_474,
            "validation": scores(20, 0.9), "test": scores(100, 0.9), **more}


def row(epoch, **more):
    """A history's row."""
    return {"epoch": epoch, "loss": 1 / epoch, "terms": {"cross_entropy": 1 / epoch}, "learning_rate": 0.05,
            "seconds": 1.0, "images_per_second": 60.0, "validation": scores(20, min(epoch, 4) / 4), **more}


def checkpoint(path, **about):
    """A file that says it is a checkpoint, and holds one number."""
    identity = {"architecture": "resnet8", "classes": ["a", "b"], "input_size": 32, "mean": [0.5] * 3,
                "std": [0.25] * 3, "digest": "d", **about}
    save_file({"weight": np.zeros(1, np.float32)}, path, metadata={"kdengine": json.dumps(identity)})
