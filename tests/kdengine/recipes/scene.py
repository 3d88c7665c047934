"""Finished runs made by hand: whoever compares or reports them cannot tell that nothing was trained."""

import dataclasses
import json

import numpy as np
from safetensors.numpy import save_file
from scipy import stats

from kdengine import paths
from kdengine.recipes.parts import students, teacher
from kdengine.recipes.recipe import Outcome, Plan, Recipe
from kdengine.runs.records import HISTORY, PREDICTIONS, Record
from tests.kdengine.made import row
from tests.kdengine.made import teacher as taught_by

COUNT = 100
"""Test images."""
KL = {"none": 0.5, "activation_boundary": 0.5, "kd": 0.125, "dkd": 0.25, "crd": 0.375, "label_smoothing": 0.75}
METHODS = {"Independent": ("none", {}), "KD": ("kd", {}), "DKD": ("dkd", {}), "CRD": ("crd", {})}
THREE = {"Teacher": [90], "Independent": [60, 64, 62], "KD": [71, 76, 72], "DKD": [60, 66, 61], "CRD": [56, 58, 58]}
PACKAGES = {"torch": "2.9.1", "torchvision": "0.24.1", "numpy": "2.3.4", "pillow": "12.0", "scikit-learn": "1.7.2"}


def recipe(labels_of, title="Two ways", question="Which way is better?", **more):
    """A recipe of one teacher and students, (method, hyperparameters) by label."""
    return Recipe("two_ways", title, question, lambda scale: [
        teacher("Teacher", student="resnet20", epochs=20),
        *students("Teacher", labels_of, student="resnet8", epochs=20),
    ], **more)


def answers(right):
    """Two-class logits [COUNT, 2] that get exactly these test images right: their places, or the first so many."""
    right = range(right) if isinstance(right, int) else right
    held = np.tile(np.array([0, 1], dtype=np.float32), (COUNT, 1))
    held[list(right)] = [1, 0]
    return held


def finished(asked, name, logits, target=None, taught=None, measured=None, digest="d1g357"):
    """A finished run of a configuration, with its predictions and history, in the runs folder.

    measured: further values of its test result. taught: what its record says of its teacher.
    """
    target = np.zeros(len(logits), dtype=np.int64) if target is None else target
    folder = paths.runs_root() / name
    folder.mkdir(parents=True)
    save_file({"logits": logits, "target": target}, folder / PREDICTIONS)
    test = {"n": len(logits), "loss": 0.5, "top1": float((logits.argmax(1) == target).mean()), "top5": None,
            "calibration_error": 0.1}
    if taught:
        test |= {"kl_to_teacher": KL.get(asked.method, 0.5), "agreement": 0.75}
    validation = {"n": 50, "top1": 0.5}
    (folder / HISTORY).write_text("".join(json.dumps(row(epoch)) + "\n" for epoch in (1, 2)))
    record = Record(
        name, name, 1.0, asked, {"state": "finished", "reason": None, "epoch": 2, "launched": 1.0},
        teacher=taught and taught_by(**taught),
        data={"name": asked.data, "title": "Handwritten digits", "size": 32,
              "classes": [f"class {each}" for each in range(logits.shape[1])],
              "digest": digest, "views": "crop", "train": 1258, "labelled": 1258, "validation": 180,
              "test": len(logits)},
        environment={"python": "3.11.9", "system": "Linux x86_64", "packages": PACKAGES, "device": "cpu",
                     "device_name": "A processor", "threads": 2,
                     "student_threads": 1 if taught else None, "commit": "c0ffee"},
        result={"test": test | (measured or {}), "validation": validation, "parameters": 78_042, "megabytes": 0.3125,
                "flops": 25_000_000, "latency": {"median_ms": 1.25, "std_ms": 0.05, "quartiles_ms": [1.2, 1.5]},
                "training_seconds": 12.0, "images_per_second": 2345.0, "side_by_side": 3},
    )
    record.save(folder)
    return record


def outcome(plan, right, digest=None):
    """What a plan left: right[label] holds, for each seed, the test images that network gets right (see `answers`).

    digest: of the data, by label, where it is another than the others'.
    """
    records = {}
    for number, part in enumerate(plan.parts):
        for seed, places in enumerate(right.get(part.label, ())):
            asked = dataclasses.replace(part.configuration, seed=seed, teacher="teacher-0" if part.teacher else None)
            name = f"student-{number}-{seed}" if part.teacher else f"teacher-{number}"
            taught = {"reference": "teacher-0", "architecture": "resnet20"} if part.teacher else None
            records[part.label, seed] = finished(
                asked, name, answers(places), taught=taught, digest=(digest or {}).get(part.label, "d1g357"))
    return Outcome(plan, records)


def made(right, labels_of=None, seeds=None, digest=None, **more):
    """The outcome of a recipe whose students are these labels' methods, `kd` where none is given."""
    labels_of = labels_of or {label: ("none" if label == "Independent" else "kd", {}) for label in right
                              if label != "Teacher"}
    seeds = seeds or max(map(len, right.values()))
    return outcome(Plan(recipe(labels_of, **more), seeds=seeds), right, digest)


def drawn_from(chart):
    """The values a chart draws, where all its layers draw the same."""
    written = chart.to_dict()
    return next(each["data"]["values"] for each in [written, *written.get("layer", ())] if "data" in each)


def wilson(right, count=100):
    sure = stats.binomtest(right, count).proportion_ci(method="wilson")
    return sure.low, sure.high


def student_s(values, confidence=0.95):
    low, high = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    return float(low), float(high)


def changes(ours, theirs):
    return [(first - second) / 100 for first, second in zip(ours, theirs, strict=True)]
