"""`import` and `export`: weights from other programs, and for them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from kdengine import trust
from kdengine.cli.evaluate import same_classes
from kdengine.cli.parsing import Commands
from kdengine.errors import KDError
from kdengine.runs import records

_NEAR_CHANCE = 0.1
"""A score that is less than this part of the way from chance to all right is no score of weights that fit."""


def add(commands: Commands) -> None:
    """Declare the commands of this module."""
    foreign = commands.add("import", _import, "Turn another program's weights into a checkpoint.")
    foreign.add_argument("file", type=Path, help=".pth, .pt, .th, .ckpt or .safetensors with a state dict")
    foreign.add_argument("output", type=Path, help="the checkpoint to write, NAME.safetensors")
    foreign.add_argument("--model", required=True, help="architecture, or package.module:function")
    foreign.add_argument("--data", required=True, help="the data set whose classes it knows; it need not be here")
    foreign.add_argument("--classes", nargs="+", metavar="NAME",
                         help="its classes in its order, or a text file with one a line (the data set's own)")
    foreign.add_argument("--image-size", type=int, metavar="PIXELS",
                         help="side of the images it takes (what its own module says, else the larger of the "
                              "architecture's and the data set's)")
    foreign.add_argument("--part", metavar="NAME", help="where several networks lie in the file, the one to read")
    foreign.add_argument("--mean", type=float, nargs=3, required=True, metavar=("R", "G", "B"),
                         help="mean its input was normalised with, on [0, 1]")
    foreign.add_argument("--std", type=float, nargs=3, required=True, metavar=("R", "G", "B"),
                         help="standard deviation its input was normalised with")

    export = commands.add("export", _export, "Write a checkpoint for other programs, and print how to load it.")
    export.add_argument("checkpoint", help="shipped checkpoint, run or file")
    export.add_argument("output", type=Path, help="the file to write")
    export.add_argument("--format", choices=("torchscript", "onnx"), default="onnx", help="(%(default)s)")


def _import(arguments: argparse.Namespace) -> int:
    from kdengine import data
    from kdengine.runs import checkpoints, exchange

    trust.add(arguments.model)
    here, missing = None, ""
    try:
        here = data.outline(arguments.data)
    except KDError as error:
        missing = f" {error}"
    data_classes = here.classes if here else data.known_classes(arguments.data)
    classes = _given_classes(arguments.classes) or data_classes
    if classes is None:
        raise KDError(f"The classes of {arguments.data} are not known.{missing} Name them in the network's order: "
                      "--classes cat dog ..., or --classes FILE, a text file with one a line.")
    if data_classes and classes != data_classes:
        raise KDError(f"--classes are not those of {arguments.data}, which has {len(data_classes)} in this order: "
                      f"{', '.join(data_classes)}. Leave --classes out, or name another data set.")
    network, summary = exchange.import_foreign(
        arguments.file, arguments.model, classes, input_size=arguments.image_size, known=here, mean=arguments.mean,
        std=arguments.std, part=arguments.part,
    )
    if summary:
        print(f"{arguments.file.name}: {summary}.")
    data_set = _load_data(arguments.data, network) if here else None
    about = {"name": arguments.data, "digest": data_set and data_set.digest, "labels_per_class": None, "share": 1.0}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    digest = checkpoints.save(network, arguments.output, method=None, data=about, source=arguments.file.name, scores={})
    print(f"Wrote {arguments.output} ({network.architecture}, {len(classes)} classes, images of {network.input_size} "
          f"pixels, digest {digest}).")
    if data_set:
        _tell_first_score(network, data_set)
    measure = f"python -m kdengine evaluate {arguments.output}"
    print(f"On all test images: {measure}" if data_set else f"Not measured yet: {arguments.data} is not here, or not "
          f"at this size. Later: {measure}")
    return 0


def _given_classes(words: list[str] | None) -> tuple[str, ...] | None:
    """Class names from the command line: the words, or where there is one, the lines of that file."""
    if words is None:
        return None
    if len(words) == 1:
        try:
            words = Path(words[0]).expanduser().read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise KDError(f"{words[0]} is no text file of class names: {error}.") from error
    classes = tuple(word.strip() for word in words if word.strip())
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise KDError(f"--classes names {len(set(classes))} different classes in {len(classes)} names; at least 2 are "
                      "needed, each once.")
    return classes


def _load_data(name: str, network: Any) -> Any:
    """A data set as a network takes it; None, and why, where it cannot be had so."""
    from kdengine import data

    try:
        data_set = data.load(name, image_size=network.input_size)
    except KDError as error:
        print(f"kdengine: {error}", file=sys.stderr)
        return None
    same_classes(network, data_set)
    return data_set


def _tell_first_score(network: Any, data: Any) -> None:
    """Say how good imported weights are on some test images, and what may be wrong where they are near chance."""
    from kdengine.measures import evaluation
    from kdengine.views import Split

    count = 1000 if data.task == "classification" else 100
    step = -(-len(data.test) // count)
    some = Split(data.test.images[::step], data.test.target[::step])
    if data.task == "segmentation":
        scores, _ = evaluation.segment(network, some)
    else:
        scores = evaluation.scores(evaluation.predict(network, some), some.target)
    print(f"A first look at {data.name}: {records.score_text(scores)}.")
    chance = 1 / len(data.classes)
    if records.headline(scores) < chance + _NEAR_CHANCE * (1 - chance):
        print("Warning: that is near chance. Look at --mean and --std (of images in [0, 1]), at the order of the "
              "classes, and at --image-size.")


def _export(arguments: argparse.Namespace) -> int:
    from kdengine.runs import exchange, references

    network = references.open_reference(arguments.checkpoint)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    snippet = exchange.export(network, arguments.output, arguments.format)
    print(f"Wrote {arguments.output}. Load it with:\n\n{snippet}")
    return 0
