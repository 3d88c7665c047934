"""`evaluate`: a checkpoint, measured on a data set."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from kdengine import paths
from kdengine.cli import fidelity
from kdengine.cli.parsing import Commands, add_json
from kdengine.cli.printing import print_json, print_table, shown
from kdengine.configuration import DEVICES
from kdengine.errors import KDError
from kdengine.runs import records

if TYPE_CHECKING:
    from kdengine.data import DataSet
    from kdengine.models.network import Network

_EXPLAINED = {"flops": "flops, 2 x multiply-adds of one forward of one image"}
"""Measures whose names may mean several things, as people read them."""


def add(commands: Commands) -> None:
    """Declare the commands of this module."""
    evaluate = commands.add("evaluate", _evaluate, "Measure a checkpoint on a data set's test split.")
    evaluate.add_argument("checkpoint", help="shipped checkpoint, run, file or ImageNet network")
    evaluate.add_argument("--data", help="data set (the one it was trained on)")
    evaluate.add_argument("--image-size", type=int, metavar="PIXELS",
                          help="side of the images, for an ImageNet network (the data set's own)")
    evaluate.add_argument("--teacher", help="measure KL to and agreement with this network (the one that taught it)")
    evaluate.add_argument("--heat", metavar="METHOD",
                          help="also measure whether its heat maps of the true class lie on the object: gradcam, ... "
                               "(data sets that know where it is: shapes, shapes_tied)")
    fidelity.add_heat_fidelity(evaluate)
    evaluate.add_argument("--device", choices=DEVICES, default="auto")
    add_json(evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    from kdengine.devices import choose_device
    from kdengine.measures import evaluation
    from kdengine.runs import origins

    device = choose_device(arguments.device)
    network, data_set = _open(arguments)
    if changed := origins.other_images(arguments.checkpoint, data_set):
        print(shown(changed), file=sys.stderr)
    test, (reference, teacher) = data_set.test.to(device), _teacher(arguments, data_set)
    network.to(device)
    if teacher is not None:
        teacher.to(device)
    alike = fidelity.measure(arguments, reference, data_set, str(device))
    if data_set.task == "segmentation":
        measured, _ = evaluation.segment(network, test, teacher)
    else:
        teacher_logits = None if teacher is None else evaluation.predict(teacher, test)
        measured = evaluation.scores(evaluation.predict(network, test), test.target, teacher_logits)
    measured |= evaluation.cost(network)
    if arguments.heat:
        measured |= {f"heat_{key}": value for key, value in _heat(network, data_set, arguments.heat).items()}
    latency = measured.pop("latency")
    measured |= {f"latency_{key}": value for key, value in latency.items()}
    if not arguments.json and "iou" in measured:
        measured |= {f"iou of {name}": iou for name, iou in zip(data_set.classes, measured.pop("iou"), strict=True)}
    if arguments.json:
        print_json(measured | ({"heat_fidelity": dataclasses.asdict(alike)} if alike else {}))
    else:
        print_table(["measure", "value"], [[_EXPLAINED.get(key, key), _text(value)]
                                            for key, value in measured.items() if value is not None])
        if alike:
            fidelity.print_fidelity(alike)
    return 0


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:,.4f}" if isinstance(value, float) else f"{value}"


def _open(arguments: argparse.Namespace) -> tuple[Network, DataSet]:
    """The network, and the data set at the size of its images. Raises KDError unless it knows these classes.

    An ImageNet network keeps the logits of the data set's classes, as one that teaches does.
    """
    from kdengine import data
    from kdengine.runs import checkpoints, references

    reference, size = arguments.checkpoint, arguments.image_size
    path = references.require(reference)
    _say_how_far(reference)
    name = arguments.data or (checkpoints.describe(path).get("data", {}).get("name") if path else None)
    if name is None:
        raise KDError(f"{reference} does not say what it was trained on; name a data set with --data.")
    if path is None:
        data_set = data.load(name, image_size=size)
        return references.open_teacher(reference, data_set.classes, data_set.size), data_set
    network = references.open_reference(reference)
    if size not in (None, network.input_size):
        raise KDError(f"--image-size is {size}; {reference} takes images of {network.input_size} pixels, and no other. "
                      "Leave the option out.")
    data_set = data.load(name, image_size=network.input_size)
    same_classes(network, data_set)
    return network, data_set


def _teacher(arguments: argparse.Namespace, data_set: DataSet) -> tuple[str | None, Network | None]:
    """The teacher that is named, else the one that taught the network, after its reference.

    Where that one is not to be had, it says why, and there is none.
    """
    from kdengine.runs import origins, references

    if arguments.teacher:
        return arguments.teacher, references.open_teacher(arguments.teacher, data_set.classes, data_set.size)
    try:
        own = origins.open_teacher(arguments.checkpoint)
        if own is not None:
            same_classes(own[1], data_set)
    except KDError as error:
        print(shown(f"KL to its teacher and agreement with it are not measured: {error}"), file=sys.stderr)
        own = None
    return own or (None, None)


def _say_how_far(reference: str) -> None:
    """Say of a run that has not finished where it stands: what is measured is its last complete epoch."""
    from kdengine.runs import store

    folder = paths.child(paths.runs_root(), reference)
    if folder and folder.is_dir():
        try:
            record, state = store.read(reference), store.state(reference)
        except KDError as error:
            print(f"Its record cannot be read, only its weights: {shown(str(error))}", file=sys.stderr)
            return
        if state != records.FINISHED:
            print(f"Epoch {record.status['epoch']} of {record.configuration.epochs}, {state}.", file=sys.stderr)


def _heat(network: Network, data: DataSet, method: str) -> dict[str, float]:
    """How far the heat maps of a data set's test images lie on their objects."""
    from kdengine.explain import comparison

    if data.boxes is None:
        raise KDError(f"Where the objects of {data.name} lie is not known; --heat is for shapes and shapes_tied.")
    measures = comparison.on_objects(network, data.test, data.boxes, data.size, method=method)
    return {name: values.mean().item() for name, values in measures.items()}


def same_classes(network: Network, data: DataSet) -> None:
    if network.task != data.task:
        raise KDError(f"{network.architecture} is for {network.task}; {data.name} is for {data.task}. Name the data "
                      "set it was trained on.")
    if network.classes != data.classes:
        raise KDError(f"{network.architecture} knows {len(network.classes)} classes, among them "
                      f"{', '.join(network.classes[:3])}; {data.name} has {', '.join(data.classes[:3])}, ... "
                      "Name the data set it was trained on.")
