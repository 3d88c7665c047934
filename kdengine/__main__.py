"""The command line: `python -m kdengine COMMAND`. Each command has its own `--help`."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kdengine import places, records, trust
from kdengine.errors import KDError, unknown_name

_POLL_S = 0.3
_NEAR_CHANCE = 0.1
"""A score that is less than this part of the way from chance to all right is no score of weights that fit."""
_DEFAULTS = {each.name: each.default for each in dataclasses.fields(records.Configuration)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for an error a person can mend, 130 after Ctrl-C."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if getattr(given, "replace", False) and given.keep is None:
        parser.error("--replace says what --keep NAME may do; give both")
    if given.command is _runs and given.detach and not given.resume:
        parser.error("--detach says that --resume is not to wait; give both")
    _set_places(given)
    try:
        return given.command(given) or 0
    except KDError as error:
        print(f"kdengine: {_shown(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `kdengine runs | head`
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.filename is None:
            raise
        print(f"kdengine: {error.filename} cannot be used: {error.strerror}.", file=sys.stderr)
        return 1


class _Once(argparse.Action):
    """Takes a value that is given once; argparse by itself keeps the last and drops the others without a word."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
        option_string: str | None = None,
    ) -> None:
        given = vars(namespace).setdefault("options_given", set())
        if self.option_strings and self.dest in given:
            raise argparse.ArgumentError(self, "given twice; give it once")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class _OnceTrue(_Once):
    """A flag, as argparse's `store_true`."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, default=False, help=help)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
        option_string: str | None = None,
    ) -> None:
        super().__call__(parser, namespace, True, option_string)


class _Parser(argparse.ArgumentParser):
    """A parser, and those of its commands, that refuses an option given twice where that is no list."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        for name, action in ((None, _Once), ("store", _Once), ("store_true", _OnceTrue)):
            self.register("action", name, action)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m kdengine", description="Knowledge distillation, exact and fast.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable, help: str, **more: Any) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help, **more)
        added.add_argument("--runs", metavar="DIR", help="where runs are written (default: runs/ in the project)")
        added.add_argument("--data-root", metavar="DIR", help="where data sets lie (default: data/ in the project)")
        added.set_defaults(command=run)
        return added

    train = command("train", _train, "Train a network on the labels alone, for instance to be a teacher.")
    train.add_argument("--model", default="resnet20", help="architecture, or package.module:function (%(default)s)")
    train.add_argument("--label-smoothing", type=float, metavar="E", help="share of each label spread over all classes")
    _add_training_options(train)

    distill = command(
        "distill", _distill, "Distil a teacher into students, one a method, trained side by side.",
        epilog="example: python -m kdengine distill --data digits --method kd temperature=4 alpha=0.9 --method none",
    )
    distill.add_argument("--teacher", help="shipped checkpoint, run, file or ImageNet network (the data set's best)")
    distill.add_argument("--student", default=_DEFAULTS["student"],
                         help="architecture, or package.module:function (%(default)s)")
    distill.add_argument("--method", action="append", nargs="+", metavar=("NAME", "FIELD=VALUE"), default=None,
                         help="a method and its hyperparameters; may be given several times (kd and none)")
    _add_training_options(distill)

    evaluate = command("evaluate", _evaluate, "Measure a checkpoint on a data set's test split.")
    evaluate.add_argument("checkpoint", help="shipped checkpoint, run, file or ImageNet network")
    evaluate.add_argument("--data", help="data set (the one it was trained on)")
    evaluate.add_argument("--teacher", help="also measure KL to and agreement with this checkpoint")
    evaluate.add_argument("--heat", metavar="METHOD",
                          help="also measure whether its heat maps of the true class lie on the object: gradcam, ... "
                               "(data sets that know where it is: shapes, shapes_tied)")
    evaluate.add_argument("--device", choices=records.DEVICES, default="auto")
    _add_json(evaluate)

    listed = command("runs", _runs, "List runs, show one, or stop, resume, remove, keep it.")
    listed.add_argument("run", nargs="*", help="a run's id; --stop, --resume and --remove take several")
    action = listed.add_mutually_exclusive_group()
    action.add_argument("--stop", action="store_true", help="stop it at its last complete epoch")
    action.add_argument("--resume", action="store_true",
                        help="continue it from its last complete epoch, and wait for its end")
    action.add_argument("--remove", action="store_true", help="delete it and its files")
    action.add_argument("--log", action="store_true", help="print what its worker printed")
    action.add_argument("--keep", metavar="NAME", help="make it a checkpoint of that name, beside the shipped ones")
    listed.add_argument("--detach", action="store_true", help="with --resume: return at once")
    _add_replace(listed)
    _add_json(listed)

    data = command("data", _data, "List data sets, or look at one.")
    data.add_argument("name", nargs="?", help="a data set, or folder:PATH")
    data.add_argument("--download", action="store_true", help="fetch it into the data root")
    data.add_argument("--image-size", type=int, metavar="PIXELS", help="side of the images after decoding")
    _add_json(data)

    models = command("models", _models, "List architectures.")
    _add_json(models)

    speeds = command("speeds", _speeds, "Say how this machine runs networks, and settle it by a measurement.")
    speeds.add_argument("model", nargs="*", help="architectures to measure; no measurement without")
    speeds.add_argument("--image-size", type=int, default=32, metavar="PIXELS", help="side of the images (%(default)s)")
    speeds.add_argument("--classes", type=int, default=10, help="(%(default)s)")
    speeds.add_argument("--batch-size", type=int, default=_DEFAULTS["batch_size"], help="(%(default)s)")
    speeds.add_argument("--threads", type=int, help="CPU threads (torch's choice)")
    speeds.add_argument("--device", choices=records.DEVICES, default="auto")
    _add_json(speeds)

    methods = command("methods", _methods, "List distillation methods, or show one.")
    methods.add_argument("name", nargs="?", help="a method")
    _add_json(methods)

    recipe = command("recipe", _recipe, "List the lab experiments, or run one: train what is missing, tell the table.")
    recipe.add_argument("name", nargs="?", help="a recipe")
    recipe.add_argument("--scale", default="quick", help="quick, lab or paper (%(default)s)")
    recipe.add_argument("--seeds", type=int, default=1, help="students trained of each kind (%(default)s)")
    recipe.add_argument("--data", help="another data set than the scale's")
    recipe.add_argument("--share", type=float, metavar="S", help="part of its training images, in (0, 1]")
    recipe.add_argument("--image-size", type=int, metavar="PIXELS", help="another side of the images")
    recipe.add_argument("--epochs", type=int, help="another number of epochs, for every network")
    recipe.add_argument("--batch-size", type=int, help="another batch size, for every network")
    recipe.add_argument("--optimizer", choices=tuple(records.LEARNING_RATES), help="another, for every network")
    recipe.add_argument("--learning-rate", type=float, help="another learning rate, for every network")
    recipe.add_argument("--labels-per-class", type=int, metavar="N", help="labels a class that the students read")
    recipe.add_argument("--labelled-images", type=int, metavar="N",
                        help="of data with masks: images whose mask the students read")
    recipe.add_argument("--temperature", type=float, metavar="T", help="another T, for every method that has one")
    recipe.add_argument("--kl-weight", type=float, metavar="W",
                        help="another weight of the teacher's answers, where a method has one so called")
    recipe.add_argument("--only", action="append", metavar="LABEL", help="train that student alone; repeat for several")
    recipe.add_argument("--skip", action="append", metavar="LABEL", help="leave out the student of that label; repeat")
    recipe.add_argument("--skip-combined", dest="skip", action="append_const", const="Combined",
                        help="the same as --skip Combined")
    recipe.add_argument("--teacher", metavar="MODEL", help="another architecture for the teachers")
    recipe.add_argument("--student", metavar="MODEL", help="another architecture for the students")
    recipe.add_argument("--so-far", action="store_true", help="train nothing; tell what has finished")
    recipe.add_argument("--keep", metavar="NAME",
                        help="make its networks of the first seed checkpoints, NAME and their label")
    _add_replace(recipe)
    recipe.add_argument("--report", type=Path, metavar="DIR", help="write report.html and report.md there")
    _add_json(recipe)

    earlier = command("results", _results, "List the lab reports that were measured earlier, or verify them.")
    earlier.add_argument("action", nargs="?", choices=("list", "verify"), default="list",
                         help="verify: compute all they say again, from their own files (%(default)s)")
    earlier.add_argument("name", nargs="*", help="folders in results/ (all)")
    _add_json(earlier)

    foreign = command("import", _import, "Turn another program's weights into a checkpoint.")
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

    export = command("export", _export, "Write a checkpoint for other programs, and print how to load it.")
    export.add_argument("checkpoint", help="shipped checkpoint, run or file")
    export.add_argument("output", type=Path, help="the file to write")
    export.add_argument("--format", choices=("torchscript", "onnx"), default="onnx", help="(%(default)s)")

    worker = command("worker", _worker, "Train queued runs of one group (started by the other commands).")
    worker.add_argument("run", nargs="+", help="the runs' ids")
    return parser


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    def add(flag: str, kind: type | None = None, **more: Any) -> None:
        name = flag.removeprefix("--").replace("-", "_")
        parser.add_argument(flag, type=kind, default=_DEFAULTS[name], **more)

    add("--data", help="data set, or folder:PATH (%(default)s)")
    add("--labels-per-class", int, metavar="N", help="labels a class that are read; the other images stay unlabelled")
    add("--labelled-images", int, metavar="N", help="of data with masks: images that keep theirs, the others have none")
    add("--labelled-share", float, metavar="S",
        help="where labels are withheld: part of each batch that has one, in [0, 1] (%(default)s)")
    add("--share", float, metavar="S", help="part of the training images used, in (0, 1] (%(default)s)")
    add("--without-class", int, metavar="CLASS", help="number of a class whose training images are all left out")
    add("--image-size", int, metavar="PIXELS", help="side of the images after decoding (the data set's own)")
    add("--views", help="augmentation: none, or flip, crop or zoom, jitter, joined by + (the data set's own)")
    add("--class-weights", choices=records.CLASS_WEIGHTS,
        help="what labels count in cross-entropy; balanced: those of rare classes more (%(default)s)")
    parser.add_argument("--pretrained", action="store_true",
                        help="start from published weights where the architecture has any (`models` says which)")
    add("--epochs", int, help="(%(default)s)")
    add("--batch-size", int, help="(%(default)s)")
    add("--optimizer", choices=tuple(records.LEARNING_RATES), help="(%(default)s)")
    add("--learning-rate", float, help="(0.05 for sgd, 0.001 for adam and adamw)")
    add("--momentum", float, help="momentum, or Adam's first beta (%(default)s)")
    add("--weight-decay", float, help="(%(default)s)")
    add("--schedule", choices=records.SCHEDULES, help="of the learning rate (%(default)s)")
    add("--warmup-epochs", float, help="of the learning rate, linear (%(default)s)")
    add("--seed", int, help="drives initialisation and views (%(default)s)")
    add("--device", choices=records.DEVICES, help="(%(default)s: a GPU where there is one)")
    add("--precision", choices=records.PRECISIONS, help="(%(default)s: what `speeds` says)")
    add("--threads", int, help="CPU threads (torch's choice)")
    add("--compile", choices=records.COMPILE, help="the students with torch.compile (%(default)s)")
    parser.add_argument("--detach", action="store_true", help="return at once; follow with `kdengine runs`")
    parser.add_argument("--keep", metavar="NAME",
                        help="make the result a checkpoint of that name; several students add their method's name, "
                             "and what tells two of one method apart")
    _add_replace(parser)
    _add_json(parser)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_replace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--replace", action="store_true", help="with --keep: in place of a checkpoint of that name")


def _print_json(value: Any) -> None:
    """What `--json` prints: JSON that every reader takes."""
    print(records.as_json(value, indent=1))


def _set_places(given: argparse.Namespace) -> None:
    import os

    for option, variable in (("runs", "KDENGINE_RUNS"), ("data_root", "KDENGINE_DATA")):
        if getattr(given, option):
            os.environ[variable] = str(Path(getattr(given, option)).expanduser().resolve())


def _train(given: argparse.Namespace) -> int:
    trust.add(given.model)
    method = ("none", {})
    if given.label_smoothing is not None:
        method = ("label_smoothing", {"smoothing": given.label_smoothing})
    return _run(given, [_configuration(given, given.model, method, teacher=None)])


def _distill(given: argparse.Namespace) -> int:
    import kdengine
    from kdengine import data
    from kdengine.methods import METHODS

    trust.add(given.student)
    asked = [_method(each) for each in given.method or [["kd"], ["none"]]]
    data.require(given.data)
    teacher = given.teacher or kdengine.default_teacher(given.data)
    if teacher is None and any(METHODS[name].needs_teacher for name, _ in asked if name in METHODS):
        raise KDError(f"No checkpoint is shipped for {given.data}. Train a teacher first "
                      f"(python -m kdengine train --data {given.data} --keep my-teacher), then name it with --teacher.")
    return _run(given, [_configuration(given, given.student, method, teacher) for method in asked])


def _method(words: list[str]) -> tuple[str, dict[str, str]]:
    name, *fields = words
    given: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals:
            raise KDError(f"{field!r} after --method {name} is not FIELD=VALUE, for instance temperature=4.")
        if key in given:
            raise KDError(f"--method {name} has {key} twice, {given[key]!r} and {value!r}. For two students write "
                          "--method twice.")
        given[key] = value
    return name, given


def _configuration(
    given: argparse.Namespace, student: str, method: tuple[str, dict[str, Any]], teacher: str | None
) -> records.Configuration:
    from kdengine import methods

    checked = methods.method(method[0], **method[1])
    own = {"student", "method", "hyperparameters", "teacher", "initial"}
    shared = {name: getattr(given, name) for name in _DEFAULTS if name not in own}
    return records.Configuration(student=student, method=method[0], hyperparameters=dataclasses.asdict(checked),
                                 teacher=teacher, **shared)


def _run(given: argparse.Namespace, configurations: list[records.Configuration]) -> int:
    """Start a group and, unless detached, follow it to its end; Ctrl-C stops it."""
    from kdengine import results, runs

    if given.keep is not None and given.detach:
        raise KDError("--keep needs a finished run, and --detach waits for none. Keep it once it has finished: "
                      "python -m kdengine runs RUN --keep NAME.")
    names = [] if given.keep is None else results.names_to_keep(given.keep, configurations)
    results.check_names(names, replace=given.replace)
    ids = runs.submit(configurations)
    if given.detach:
        if given.json:
            _print_json(ids)
        else:
            print("\n".join(ids))
        return 0
    finished = _see_through(given, ids)
    for run, name in zip(ids, names, strict=False):
        if run in finished:
            print(f"Kept as {results.keep(run, name, replace=given.replace)}")
    return 0 if len(finished) == len(ids) else 1


def _see_through(given: argparse.Namespace, ids: list[str]) -> list[str]:
    """Follow runs to their end, Ctrl-C stops them; tells their results and returns those that finished."""
    from kdengine import results, runs

    try:
        _follow(ids, quiet=given.json)
    except KeyboardInterrupt:
        for run in ids:
            if runs.state(run) in records.ACTIVE:
                runs.stop(run)
        print("\nStopping at the last complete epoch. Continue with: "
              f"python -m kdengine runs {' '.join(ids)} --resume", file=sys.stderr)
        raise
    ended = {run: runs.read(run) for run in ids}
    finished = [run for run, record in ended.items() if record.state == records.FINISHED]
    if given.json:
        _print_json({run: dataclasses.asdict(record) for run, record in ended.items()})
    elif finished:
        table = {row["name"]: row for row in results.rows()}
        _print_results([table[run] for run in finished])
        if note := results.no_baseline([table[run] for run in finished]):
            print(f"\n{note}")
    for run, record in ended.items():
        if record.state != records.FINISHED:
            gone = f"Its worker is gone; go on with: python -m kdengine runs {run} --resume"
            print(f"{run}: {runs.state(run)}. {record.status['reason'] or gone}", file=sys.stderr)
    return finished


def _follow(ids: list[str], *, quiet: bool) -> None:
    """Wait until a group has ended: the teacher's own score, then a progress bar (in a pipe, a line an epoch)."""
    from kdengine import runs

    told_teacher, told_epoch = False, 0
    bar = sys.stderr.isatty() and not quiet
    while True:
        states = [runs.state(run) for run in ids]
        first = runs.read(ids[0])
        if first.teacher and not told_teacher:
            told_teacher = True
            if not quiet:
                print(_teacher_line(first), flush=True)
        active = [run for run, state in zip(ids, states, strict=True) if state in records.ACTIVE]
        progress = runs.progress(active[0] if active else ids[0])
        if bar:
            line = _progress_line(progress, states) if active else ""
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        elif not quiet and progress.get("epoch", 0) > told_epoch:
            told_epoch = progress["epoch"]
            print(_progress_line(progress, states), file=sys.stderr, flush=True)
        if not active:
            return
        time.sleep(_POLL_S)


def _teacher_line(record: records.Record) -> str:
    test = record.teacher["test"]
    return (f"Teacher {record.teacher['reference']} ({record.teacher['architecture']}): "
            f"{records.told(test)}.")


def _progress_line(progress: dict[str, Any], states: list[str]) -> str:
    if not progress or progress["phase"] != "Training":
        return f"{progress['phase']} ..." if progress else f"{states[0]} ..."
    done = progress["epoch"] * progress["of"] + progress["images"]
    share = done / (progress["epochs"] * progress["of"])
    bar = "█" * round(24 * share) + "░" * (24 - round(24 * share))
    line = f"{bar} epoch {min(progress['epoch'] + 1, progress['epochs'])}/{progress['epochs']}"
    if progress["images_per_second"]:
        minutes, seconds = divmod(round(progress["seconds_left"]), 60)
        line += f"  {progress['images_per_second']:,.0f} images/s  {minutes}:{seconds:02d} left"
    return line


def _print_results(table: list[dict[str, Any]]) -> None:
    from kdengine.results import COLUMNS, as_text

    shown = [column for column in COLUMNS
             if column not in ("name", "data") and any(row[column] is not None for row in table)]
    _print_table([COLUMNS[column] for column in shown],
                 [[as_text(row[column], column) for column in shown] for row in table])


def _print_table(titles: list[str], cells: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    for line in (titles, ["-" * width for width in widths], *cells):
        print("  ".join(_shown(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _shown(text: str) -> str:
    """A text from anywhere as a terminal may show it: what would steer the terminal becomes a question mark."""
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)


def _evaluate(given: argparse.Namespace) -> int:
    from kdengine import checkpoints, data, evaluation
    from kdengine.devices import choose_device

    path = checkpoints.require(given.checkpoint)
    _say_how_far(given.checkpoint)
    name = given.data or (checkpoints.describe(path).get("data", {}).get("name") if path else None)
    if name is None:
        raise KDError(f"{given.checkpoint} does not say what it was trained on; name a data set with --data.")
    device = choose_device(given.device)
    network = checkpoints.open_reference(given.checkpoint).to(device)
    held = data.load(name, image_size=network.input_size)
    _same_classes(network, held)
    test, teacher = held.test.to(device), None
    if given.teacher:
        teacher = checkpoints.open_reference(given.teacher).to(device)
        _same_classes(teacher, held)
    if held.task == "segmentation":
        measured, _ = evaluation.segment(network, test, teacher)
    else:
        teacher_logits = None if teacher is None else evaluation.predict(teacher, test)
        measured = evaluation.scores(evaluation.predict(network, test), test.target, teacher_logits)
    measured |= evaluation.cost(network)
    if given.heat:
        measured |= {f"heat_{key}": value for key, value in _heat(network, held, given.heat).items()}
    latency = measured.pop("latency")
    measured |= {f"latency_{key}": value for key, value in latency.items()}
    if given.json:
        _print_json(measured)
    else:
        _print_table(["measure", "value"],
                     [[key, f"{value:,.4f}" if isinstance(value, float) else f"{value}"]
                      for key, value in measured.items() if value is not None])
    return 0


def _say_how_far(reference: str) -> None:
    """Say of a run that has not finished where it stands: what is measured is its last complete epoch."""
    from kdengine import runs

    folder = places.child(places.runs_root(), reference)
    if folder and folder.is_dir():
        try:
            record, state = runs.read(reference), runs.state(reference)
        except KDError as error:
            print(f"Its record cannot be read, only its weights: {_shown(str(error))}", file=sys.stderr)
            return
        if state != records.FINISHED:
            print(f"Epoch {record.status['epoch']} of {record.configuration.epochs}, {state}.", file=sys.stderr)


def _heat(network: Any, held: Any, method: str) -> dict[str, float]:
    """How far the heat maps of a data set's test images lie on their objects."""
    from kdengine import explain

    if held.boxes is None:
        raise KDError(f"Where the objects of {held.name} lie is not known; --heat is for shapes and shapes_tied.")
    found = explain.on_objects(network, held.test, held.boxes, held.size, method=method)
    return {name: values.mean().item() for name, values in found.items()}


def _same_classes(network: Any, held: Any) -> None:
    if network.task != held.task:
        raise KDError(f"{network.architecture} is for {network.task}; {held.name} is for {held.task}. Name the data "
                      "set it was trained on.")
    if network.classes != held.classes:
        raise KDError(f"{network.architecture} knows {len(network.classes)} classes, among them "
                      f"{', '.join(network.classes[:3])}; {held.name} has {', '.join(held.classes[:3])}, ... "
                      "Name the data set it was trained on.")


def _runs(given: argparse.Namespace) -> int:
    from kdengine import results, runs

    asked = next((word for word in ("stop", "resume", "remove", "log", "keep") if getattr(given, word)), None)
    if asked and not given.run:
        raise KDError(f"--{asked} needs the name of a run; `python -m kdengine runs` lists them.")
    if not given.run:
        found = runs.listed()
        if given.json:
            _print_json([dataclasses.asdict(each) | {"state": state} for each, state in found])
        elif found:
            _print_table(["run", "state", "data", "student", "method", "epoch", "test score"],
                         [_run_cells(each, state) for each, state in found])
        else:
            print(f"No runs in {places.runs_root()} yet. Start one: python -m kdengine distill --method kd")
        for name, reason in runs.unreadable().items():
            print(_shown(f"cannot be read: {name}: {reason}"), file=sys.stderr)
    elif given.resume:
        runs.resume(given.run)
        if given.detach:
            return 0
        return 0 if len(_see_through(given, given.run)) == len(given.run) else 1
    elif given.stop or given.remove:
        for run in given.run:
            (runs.stop if given.stop else runs.remove)(run)
            print(f"Stopping {run} at its last complete epoch." if given.stop else f"Removed {run}.")
    elif len(given.run) > 1:
        raise KDError(f"{len(given.run)} runs are named; only --stop, --resume and --remove take several.")
    elif given.log:
        print(runs.log(given.run[0]) or f"The worker of {given.run[0]} has printed nothing.\n", end="")
    elif given.keep is not None:
        print(f"Kept as {results.keep(given.run[0], given.keep, replace=given.replace)}")
    else:
        record = runs.read(given.run[0])
        state = runs.state(record.id)
        _print_json(dataclasses.asdict(record) | {"status": record.status | {"state": state}, "state": state})
        if record.ignored:
            print(_shown(f"Ignored, as this version does not know them: {', '.join(record.ignored)}"), file=sys.stderr)
    return 0


def _run_cells(record: records.Record, state: str) -> list[str]:
    asked = record.configuration
    test = record.result.get("test")
    return [record.id, state, asked.data, asked.student, asked.method, f"{record.status['epoch']}/{asked.epochs}",
            f"{100 * records.headline(test):.2f}%" if test else "–"]


def _data(given: argparse.Namespace) -> int:
    from kdengine import data

    if given.name is None:
        found = data.describe()
        if given.json:
            _print_json(found)
        else:
            _print_table(["name", "classes", "here", "download", "what it is"],
                         [[each["name"], str(each["classes"] or "–"), "yes" if each["present"] else "no",
                           _megabytes(each["download_bytes"]), each["summary"]] for each in found])
        return 0
    if given.download:
        data.download(given.name)
    held = data.load(given.name, image_size=given.image_size)
    facts = {"name": held.name, "title": held.title, "classes": list(held.classes), "size": held.size,
             "train": len(held.train), "validation": len(held.validation), "test": len(held.test),
             "views": held.views, "digest": held.digest, "notes": list(held.notes)}
    if given.json:
        _print_json(facts)
    else:
        notes = facts.pop("notes")
        _print_table(["fact", "value"], [[key, ", ".join(value) if isinstance(value, list) else str(value)]
                                         for key, value in facts.items()])
        for note in notes:
            print(note)
    return 0


def _megabytes(count: int | None) -> str:
    return f"{count / 1e6:,.0f} MB" if count else "–"


def _models(given: argparse.Namespace) -> int:
    import kdengine

    found = kdengine.list_models()
    if given.json:
        _print_json(found)
    else:
        _print_table(["name", "family", "input", "pretrained", "what it is"],
                     [[each["name"], each["family"], f"{each['input_size']} px", each["pretrained"] or "–",
                       each["title"]] for each in found])
    return 0


def _speeds(given: argparse.Namespace) -> int:
    import torch

    from kdengine import models, speeds
    from kdengine.devices import choose_device, cores, device_name, multiplies_bfloat16
    from kdengine.errors import out_of_range

    device = choose_device(given.device)
    for option, low in (("classes", 2), ("batch_size", 2), ("image_size", 8)):
        if getattr(given, option) < low:
            raise out_of_range(option, getattr(given, option), low, None)
    if given.threads is not None:
        if not 1 <= given.threads <= cores():
            raise out_of_range("threads", given.threads, 1, cores())
        torch.set_num_threads(given.threads)
    for name in given.model:
        network = models.build(name, [str(number) for number in range(given.classes)], input_size=given.image_size)
        for training in (True, False):
            speeds.settle(network.to(device), given.batch_size, training=training)
    settled = speeds.settled(device)
    fast = "bfloat16" if multiplies_bfloat16(device) else "float32"
    if given.json:
        _print_json({"device": device_name(device), "threads": torch.get_num_threads(), "torch": torch.__version__,
                     "precision": fast, "settled": settled})
        return 0
    print(f"{device_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}.\n"
          f"Networks run in {fast}, on a CPU those of depthwise convolutions in float32, or as is settled for them.")
    if settled:
        print()
        _print_table(["network", "classes", "input", "batch", "of", "way", "ms a step"],
                     [[each["network"], str(each["classes"]), f"{each['input_size']} px", str(each["batch_size"]),
                       "training" if each["training"] else "a forward", ", ".join(each["way"]),
                       ", ".join(f"{way} {1e3 * seconds:.1f}" for way, seconds in each["seconds"].items())]
                      for each in settled])
    else:
        print("Nothing is settled yet. Name networks to measure them, while the machine is quiet: "
              "python -m kdengine speeds resnet8 resnet20")
    return 0


def _methods(given: argparse.Namespace) -> int:
    import kdengine
    from kdengine.methods import METHODS, loss_code

    found = {each["name"]: each for each in kdengine.list_methods()}
    if given.name is None:
        if given.json:
            _print_json(list(found.values()))
        else:
            _print_table(["name", "matches", "hyperparameters", "what it does"],
                         [[each["name"], each["matches"],
                           " ".join(f"{field['name']}={field['default']}" for field in each["fields"]),
                           each["summary"]] for each in found.values()])
        return 0
    if given.name not in found:
        raise unknown_name("method", given.name, found)
    method = found[given.name]
    if given.json:
        _print_json(method)
        return 0
    print(f"{method['title']} ({method['name']})\n{method['summary']}\n\n  {method['formula']}\n\n"
          f"Matches: {method['matches']}. Source: {method['source']}.")
    if method["fields"]:
        print()
        _print_table(["field", "default", "allowed", "what it is"],
                     [[field["name"], str(field["default"]), _allowed(field), field["help"]]
                      for field in method["fields"]])
    chosen = METHODS[given.name]
    for stage in filter(None, (chosen.first_stage, chosen)):
        print(f"\n# {stage.title}\n\n{loss_code(stage)}")
    return 0


def _allowed(field: dict[str, Any]) -> str:
    return " | ".join(field["choices"]) if field["choices"] else f"{field['low']:g} to {field['high']:g}"


def _recipe(given: argparse.Namespace) -> int:
    from kdengine import recipes, results
    from kdengine.recipes import comparison, report

    if given.name is None:
        found = [recipes.describe(each) for each in recipes.RECIPES.values()]
        if given.json:
            _print_json(found)
        else:
            _print_table(["recipe", "what it asks"], [[each["name"], each["question"]] for each in found])
        return 0
    changes = {name: getattr(given, name) for name in recipes.CHANGES}
    asked = recipes.plan(given.name, given.scale, given.seeds, **changes)
    trust.add(given.teacher or "")
    trust.add(given.student or "")
    names = {} if given.keep is None else {part.label: _slug(given.keep, part.label) for part in asked.parts}
    results.check_names(list(names.values()), replace=given.replace)

    told: set[str] = set()

    def tell(done: int, of: int) -> None:
        if given.json:
            return
        for record in recipes.so_far(asked).teachers():
            if record.id not in told:
                told.add(record.id)
                print(f"{record.configuration.student}, to teach: {records.told(record.result['test'])}.", flush=True)
        print(f"{done} of {of} networks trained", file=sys.stderr, flush=True)

    outcome = recipes.so_far(asked) if given.so_far else recipes.run(asked, tell)
    table = comparison.rows(outcome)
    if given.json:
        _print_json(table)
    else:
        remarks = comparison.remarks(outcome, table)
        print(f"{asked.recipe.title}. {asked.recipe.question}\n")
        _print_table(list(comparison.titles(asked.recipe).values()), comparison.texts(asked.recipe, table))
        print(f"\n{comparison.READING}\n\n" + "\n".join(f"- {each}" for each in remarks))
    if given.report and outcome.records:
        page = report.write(outcome, given.report)
        print(f"Report: {page}", file=sys.stderr)
    for (label, seed), record in outcome.records.items():
        if names and seed == 0:
            print(f"Kept as {results.keep(record.id, names[label], replace=given.replace)}", file=sys.stderr)
    for (label, seed), reason in outcome.failures.items():
        print(f"{label}, seed {seed} failed: {reason}", file=sys.stderr)
    return 1 if outcome.failures else 0


def _results(given: argparse.Namespace) -> int:
    from kdengine.recipes import archive

    known = {path.name: path for path in archive.folders()}
    for name in given.name:
        if name not in known:
            raise unknown_name("report", name, known)
    tell = _verified if given.action == "verify" else _listed
    return tell([known[name] for name in given.name or known], given.json)


def _verified(folders: Sequence[Path], as_json: bool) -> int:
    """Compute again what reports say; 1 where anything is not as written, or cannot be read."""
    from kdengine.recipes import archive

    checks = {}
    for folder in folders:
        try:
            checks[folder.name] = check = archive.verify(folder)
        except KDError as error:
            checks[folder.name] = check = archive.Check(0, 0, [str(error)])
        if not as_json:
            print(f"{folder.name}: {check.networks} networks, {check.verdicts} verdicts, "
                  f"{'NOT all as written' if check.wrong else 'all as written'}.", flush=True)
            for each in check.wrong:
                print(f"  {each}")
    if as_json:
        _print_json({name: dataclasses.asdict(check) for name, check in checks.items()})
    return 1 if any(check.wrong for check in checks.values()) else 0


def _listed(folders: Sequence[Path], as_json: bool) -> int:
    """List reports, and what lab sheets print beside what they measured."""
    from kdengine.recipes import archive

    reports, printed, unreadable = [], [], {}
    for folder in folders:
        try:
            plan = archive.read(folder)[0].plan
        except KDError as error:
            unreadable[folder.name] = str(error)
            continue
        reports.append({"report": folder.name, "what was trained": plan.setting, "command": plan.command})
        printed += archive.printed(folder)
    if as_json:
        _print_json({"reports": reports, "printed": printed, "unreadable": unreadable})
        return 0
    for each in reports:
        print(f"{each['report']}: {each['what was trained']}\n  {each['command']}")
    if printed:
        print("\nWhat lab sheets print, single runs, and what was measured here:\n")
        _print_table(list(printed[0]), [list(each.values()) for each in printed])
    for name, reason in unreadable.items():
        print(_shown(f"cannot be read: {name}: {reason}"), file=sys.stderr)
    return 0


def _slug(name: str, label: str) -> str:
    """What a recipe's network is kept as: the name, then the label with dashes, all in small letters."""
    return f"{name.lower()}-{re.sub(r'[^a-z0-9]+', '-', label.lower()).strip('-')}"


def _import(given: argparse.Namespace) -> int:
    from kdengine import checkpoints, data

    trust.add(given.model)
    here, missing = None, ""
    try:
        here = data.outline(given.data)
    except KDError as error:
        missing = f" {error}"
    known = here.classes if here else data.known_classes(given.data)
    classes = _given_classes(given.classes) or known
    if classes is None:
        raise KDError(f"The classes of {given.data} are not known.{missing} Name them in the network's order: "
                      "--classes cat dog ..., or --classes FILE, a text file with one a line.")
    if known and classes != known:
        raise KDError(f"--classes are not those of {given.data}, which has {len(known)} in this order: "
                      f"{', '.join(known)}. Leave --classes out, or name another data set.")
    network, told = checkpoints.import_foreign(
        given.file, given.model, classes, input_size=given.image_size, known=here, mean=given.mean, std=given.std,
        part=given.part,
    )
    if told:
        print(f"{given.file.name}: {told}.")
    held = _held(given.data, network) if here else None
    about = {"name": given.data, "digest": held and held.digest, "labels_per_class": None, "share": 1.0}
    given.output.parent.mkdir(parents=True, exist_ok=True)
    digest = checkpoints.save(network, given.output, method=None, data=about, source=given.file.name, scores={})
    print(f"Wrote {given.output} ({network.architecture}, {len(classes)} classes, images of {network.input_size} "
          f"pixels, digest {digest}).")
    if held:
        _tell_first_score(network, held)
    measure = f"python -m kdengine evaluate {given.output}"
    print(f"On all test images: {measure}" if held else f"Not measured yet: {given.data} is not here, or not at this "
          f"size. Later: {measure}")
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


def _held(name: str, network: Any) -> Any:
    """A data set as a network takes it; None, and why, where it cannot be had so."""
    from kdengine import data

    try:
        held = data.load(name, image_size=network.input_size)
    except KDError as error:
        print(f"kdengine: {error}", file=sys.stderr)
        return None
    _same_classes(network, held)
    return held


def _tell_first_score(network: Any, held: Any) -> None:
    """Say how good imported weights are on some test images, and what may be wrong where they are near chance."""
    from kdengine import evaluation
    from kdengine.views import Split

    count = 1000 if held.task == "classification" else 100
    step = -(-len(held.test) // count)
    some = Split(held.test.images[::step], held.test.target[::step])
    if held.task == "segmentation":
        scores, _ = evaluation.segment(network, some)
    else:
        scores = evaluation.scores(evaluation.predict(network, some), some.target)
    print(f"A first look at {held.name}: {records.told(scores)}.")
    chance = 1 / len(held.classes)
    if records.headline(scores) < chance + _NEAR_CHANCE * (1 - chance):
        print("Warning: that is near chance. Look at --mean and --std (of images in [0, 1]), at the order of the "
              "classes, and at --image-size.")


def _export(given: argparse.Namespace) -> int:
    from kdengine import checkpoints

    network = checkpoints.open_reference(given.checkpoint)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    snippet = checkpoints.export(network, given.output, given.format)
    print(f"Wrote {given.output}. Load it with:\n\n{snippet}")
    return 0


def _worker(given: argparse.Namespace) -> int:
    from kdengine.worker import work

    work(given.run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
