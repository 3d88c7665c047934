"""`evaluate`: a checkpoint, measured on a data set."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

from kdengine import paths
from kdengine.cli import fidelity
from kdengine.cli.parsing import Commands, add_json
from kdengine.cli.printing import print_json, print_table, shown
from kdengine.configuration import DEVICES
from kdengine.errors import KDError
from kdengine.runs import records


def add(commands: Commands) -> None:
    """Declare the commands of this module."""
    evaluate = commands.add("evaluate", _evaluate, "Measure a checkpoint on a data set's test split.")
    evaluate.add_argument("checkpoint", help="shipped checkpoint, run, file or ImageNet network")
    evaluate.add_argument("--data", help="data set (the one it was trained on)")
    evaluate.add_argument("--teacher", help="also measure KL to and agreement with this checkpoint")
    evaluate.add_argument("--heat", metavar="METHOD",
                          help="also measure whether its heat maps of the true class lie on the object: gradcam, ... "
                               "(data sets that know where it is: shapes, shapes_tied)")
    fidelity.add_heat_fidelity(evaluate)
    evaluate.add_argument("--device", choices=DEVICES, default="auto")
    add_json(evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    from kdengine import data
    from kdengine.devices import choose_device
    from kdengine.measures import evaluation
    from kdengine.runs import checkpoints, references

    path = references.require(arguments.checkpoint)
    _say_how_far(arguments.checkpoint)
    name = arguments.data or (checkpoints.describe(path).get("data", {}).get("name") if path else None)
    if name is None:
        raise KDError(f"{arguments.checkpoint} does not say what it was trained on; name a data set with --data.")
    device = choose_device(arguments.device)
    network = references.open_reference(arguments.checkpoint).to(device)
    data_set = data.load(name, image_size=network.input_size)
    same_classes(network, data_set)
    test, teacher = data_set.test.to(device), None
    if arguments.teacher:
        teacher = references.open_reference(arguments.teacher).to(device)
        same_classes(teacher, data_set)
    alike = fidelity.measure(arguments, data_set, str(device))
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
    if arguments.json:
        print_json(measured | ({"heat_fidelity": dataclasses.asdict(alike)} if alike else {}))
    else:
        print_table(["measure", "value"],
                    [[key, f"{value:,.4f}" if isinstance(value, float) else f"{value}"]
                     for key, value in measured.items() if value is not None])
        if alike:
            fidelity.print_fidelity(alike)
    return 0


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


def _heat(network: Any, data: Any, method: str) -> dict[str, float]:
    """How far the heat maps of a data set's test images lie on their objects."""
    from kdengine.explain import comparison

    if data.boxes is None:
        raise KDError(f"Where the objects of {data.name} lie is not known; --heat is for shapes and shapes_tied.")
    measures = comparison.on_objects(network, data.test, data.boxes, data.size, method=method)
    return {name: values.mean().item() for name, values in measures.items()}


def same_classes(network: Any, data: Any) -> None:
    if network.task != data.task:
        raise KDError(f"{network.architecture} is for {network.task}; {data.name} is for {data.task}. Name the data "
                      "set it was trained on.")
    if network.classes != data.classes:
        raise KDError(f"{network.architecture} knows {len(network.classes)} classes, among them "
                      f"{', '.join(network.classes[:3])}; {data.name} has {', '.join(data.classes[:3])}, ... "
                      "Name the data set it was trained on.")
