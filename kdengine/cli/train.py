"""`train` and `distill`: from words to a group of students, and to its end."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

from kdengine import trust
from kdengine.cli.follow import see_through
from kdengine.cli.parsing import DEFAULTS, Commands, add_json, add_replace
from kdengine.cli.printing import print_json
from kdengine.configuration import CLASS_WEIGHTS, COMPILE, DEVICES, LEARNING_RATES, PRECISIONS, SCHEDULES, Configuration
from kdengine.errors import KDError


def add(commands: Commands) -> None:
    """Declare the commands of this module."""
    train = commands.add("train", _train, "Train a network on the labels alone, for instance to be a teacher.")
    train.add_argument("--model", default="resnet20", help="architecture, or package.module:function (%(default)s)")
    train.add_argument("--label-smoothing", type=float, metavar="E", help="share of each label spread over all classes")
    _add_training_options(train)

    distill = commands.add(
        "distill", _distill, "Distil a teacher into students, one a method, trained side by side.",
        epilog="example: python -m kdengine distill --data digits --method kd temperature=4 alpha=0.9 --method none",
    )
    distill.add_argument("--teacher", help="shipped checkpoint, run, file or ImageNet network (the data set's best)")
    distill.add_argument("--student", default=DEFAULTS["student"],
                         help="architecture, or package.module:function (%(default)s)")
    distill.add_argument("--method", action="append", nargs="+", metavar=("NAME", "FIELD=VALUE"), default=None,
                         help="a method, or package.module:Class, and its hyperparameters; may be given several times "
                              "(kd and none)")
    _add_training_options(distill)


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    def add(flag: str, kind: Callable[[str], Any] = str, **more: Any) -> None:
        name = flag.removeprefix("--").replace("-", "_")
        parser.add_argument(flag, type=kind, default=DEFAULTS[name], **more)

    add("--data", help="data set, or folder:PATH (%(default)s)")
    add("--labels-per-class", int, metavar="N", help="labels per class that are read; the other images stay unlabelled")
    add("--labelled-images", int, metavar="N", help="of data with masks: images that keep theirs, the others have none")
    add("--labelled-share", float, metavar="S",
        help="where labels are withheld: part of each batch that has one, in [0, 1] (%(default)s)")
    add("--share", float, metavar="S", help="part of the training images used, in (0, 1] (%(default)s)")
    add("--without-class", int, metavar="CLASS", help="number of a class whose training images are all left out")
    add("--image-size", int, metavar="PIXELS", help="side of the images after decoding (the data set's own)")
    add("--views", help="augmentation: none, or flip, crop or zoom, jitter, joined by + (the data set's own)")
    add("--class-weights", choices=CLASS_WEIGHTS,
        help="what labels count in cross-entropy; balanced: those of rare classes more (%(default)s)")
    parser.add_argument("--pretrained", action="store_true",
                        help="start from published weights where the architecture has any (`models` says which)")
    add("--epochs", int, help="(%(default)s)")
    add("--batch-size", int, help="(%(default)s)")
    add("--optimizer", choices=tuple(LEARNING_RATES), help="(%(default)s)")
    add("--learning-rate", float, help="(0.05 for sgd, 0.001 for adam and adamw)")
    add("--momentum", float, help="momentum, or Adam's first beta (%(default)s)")
    add("--weight-decay", float, help="(%(default)s)")
    add("--schedule", choices=SCHEDULES, help="of the learning rate (%(default)s)")
    add("--warmup-epochs", float, help="of the learning rate, linear (%(default)s)")
    add("--seed", int, help="drives initialisation and views (%(default)s)")
    add("--device", choices=DEVICES, help="(%(default)s: a GPU where there is one)")
    add("--precision", choices=PRECISIONS, help="(%(default)s: what `speeds` says)")
    add("--threads", int, help="CPU threads (torch's choice)")
    add("--compile", choices=COMPILE, help="the students with torch.compile (%(default)s)")
    parser.add_argument("--detach", action="store_true", help="return at once; follow with `kdengine runs`")
    parser.add_argument("--keep", metavar="NAME",
                        help="make the result a checkpoint of that name; several students add their method's name, "
                             "and what tells two of one method apart")
    add_replace(parser)
    add_json(parser)


def _train(arguments: argparse.Namespace) -> int:
    trust.add(arguments.model)
    method: tuple[str, dict[str, Any]] = ("none", {})
    if arguments.label_smoothing is not None:
        method = ("label_smoothing", {"smoothing": arguments.label_smoothing})
    return _run(arguments, [_configuration(arguments, arguments.model, method, teacher=None)])


def _distill(arguments: argparse.Namespace) -> int:
    import kdengine
    from kdengine import data, methods

    trust.add(arguments.student)
    chosen = [_method(each) for each in arguments.method or [["kd"], ["none"]]]
    for name, _ in chosen:
        trust.add(name)
    data.require(arguments.data)
    teacher = arguments.teacher or kdengine.runs.default_teacher(arguments.data)
    if teacher is None and any(methods.find(name).needs_teacher for name, _ in chosen):
        raise KDError(f"No checkpoint is shipped for {arguments.data}. Train a teacher first "
                      f"(python -m kdengine train --data {arguments.data} --keep my-teacher), then name it with "
                      "--teacher.")
    return _run(arguments, [_configuration(arguments, arguments.student, method, teacher) for method in chosen])


def _method(words: list[str]) -> tuple[str, dict[str, str]]:
    name, *fields = words
    hyperparameters: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals:
            raise KDError(f"{field!r} after --method {name} is not FIELD=VALUE, for instance temperature=4.")
        if key in hyperparameters:
            raise KDError(f"--method {name} has {key} twice, {hyperparameters[key]!r} and {value!r}. For two students "
                          "write --method twice.")
        hyperparameters[key] = value
    return name, hyperparameters


def _configuration(
    arguments: argparse.Namespace, student: str, method: tuple[str, dict[str, Any]], teacher: str | None
) -> Configuration:
    from kdengine import methods

    checked = methods.method(method[0], **method[1])
    own = {"student", "method", "hyperparameters", "teacher", "initial"}
    shared = {name: getattr(arguments, name) for name in DEFAULTS if name not in own}
    return Configuration(student=student, method=method[0], hyperparameters=dataclasses.asdict(checked),
                         teacher=teacher, **shared)


def _run(arguments: argparse.Namespace, configurations: list[Configuration]) -> int:
    """Start a group and, unless detached, follow it to its end; Ctrl-C stops it."""
    from kdengine.runs import control, results

    if arguments.keep is not None and arguments.detach:
        raise KDError("--keep needs a finished run, and --detach waits for none. Keep it once it has finished: "
                      "python -m kdengine runs RUN --keep NAME.")
    names = [] if arguments.keep is None else results.names_to_keep(arguments.keep, configurations)
    results.check_names(names, replace=arguments.replace)
    ids = control.submit(configurations)
    if arguments.detach:
        if arguments.json:
            print_json(ids)
        else:
            print("\n".join(ids))
        return 0
    finished = see_through(arguments, ids)
    for run, name in zip(ids, names, strict=False):
        if run in finished:
            print(f"Kept as {results.keep(run, name, replace=arguments.replace)}")
    return 0 if len(finished) == len(ids) else 1
