"""`runs`: list them, show one, stop, resume, remove, keep; and `worker`, which trains them."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from kdengine import paths
from kdengine.cli.follow import see_through
from kdengine.cli.parsing import Commands, add_json, add_replace
from kdengine.cli.printing import print_json, print_table, shown
from kdengine.errors import KDError
from kdengine.runs import records


def add(commands: Commands) -> None:
    """Declare the commands of this module."""
    listed = commands.add("runs", run, "List runs, show one, or stop, resume, remove, keep it.")
    listed.add_argument("run", nargs="*", help="a run's id; --stop, --resume, --remove and --config take several")
    action = listed.add_mutually_exclusive_group()
    action.add_argument("--stop", action="store_true", help="stop it at its last complete epoch")
    action.add_argument("--resume", action="store_true",
                        help="continue it from its last complete epoch, and wait for its end")
    action.add_argument("--remove", action="store_true", help="delete it and its files")
    action.add_argument("--config", action="store_true",
                        help="print it as a file for `sweep`; several runs of one group as one")
    action.add_argument("--log", action="store_true", help="print what its worker printed")
    action.add_argument("--keep", metavar="NAME", help="make it a checkpoint of that name, beside the shipped ones")
    listed.add_argument("--detach", action="store_true", help="with --resume: return at once")
    add_replace(listed)
    add_json(listed)

    worker = commands.add("worker", _worker, "Train queued runs of one group (started by the other commands).")
    worker.add_argument("run", nargs="+", help="the runs' ids")


def run(arguments: argparse.Namespace) -> int:
    from kdengine.runs import control, costs, results, store

    actions = ("stop", "resume", "remove", "config", "log", "keep")
    action = next((word for word in actions if getattr(arguments, word)), None)
    if action and not arguments.run:
        raise KDError(f"--{action} needs the name of a run; `python -m kdengine runs` lists them.")
    if not arguments.run:
        runs = store.listed()
        if arguments.json:
            print_json([dataclasses.asdict(each) | {"state": state} for each, state in runs])
        elif runs:
            print_table(["run", "state", "data", "student", "method", "epoch", "test score"],
                        [_run_cells(each, state) for each, state in runs])
        else:
            print(f"No runs in {paths.runs_root()} yet. Start one: python -m kdengine distill --method kd")
        for name, reason in store.unreadable().items():
            print(shown(f"cannot be read: {name}: {reason}"), file=sys.stderr)
    elif arguments.resume:
        control.resume(arguments.run)
        if arguments.detach:
            return 0
        return 0 if len(see_through(arguments, arguments.run)) == len(arguments.run) else 1
    elif arguments.stop or arguments.remove:
        for run in arguments.run:
            (control.stop if arguments.stop else control.remove)(run)
            print(f"Stopping {run} at its last complete epoch." if arguments.stop else f"Removed {run}.")
    elif arguments.config:
        from kdengine import __version__, recipes

        print(recipes.write_sweep(arguments.run, __version__), end="")
    elif len(arguments.run) > 1:
        raise KDError(f"{len(arguments.run)} runs are named; only --stop, --resume, --remove and --config take "
                      "several.")
    elif arguments.log:
        print(store.log(arguments.run[0]) or f"The worker of {arguments.run[0]} has printed nothing.\n", end="")
    elif arguments.keep is not None:
        print(f"Kept as {results.keep(arguments.run[0], arguments.keep, replace=arguments.replace)}")
    else:
        record = store.read(arguments.run[0])
        state = store.state(record.id)
        result = dict(record.result)
        if peak := record.result.get("peak_memory"):
            result["peak_memory"] = peak | {"of": costs.memory_of(record.result)}
        print_json(dataclasses.asdict(record) | {
            "status": record.status | {"state": state}, "state": state, "result": result})
        if record.ignored:
            print(shown(f"Ignored, as this version does not know them: {', '.join(record.ignored)}"), file=sys.stderr)
    return 0


def _run_cells(record: records.Record, state: str) -> list[str]:
    config = record.configuration
    test = record.result.get("test")
    return [record.id, state, config.data, config.student, config.method, f"{record.status['epoch']}/{config.epochs}",
            f"{100 * records.headline(test):.2f}%" if test else "–"]


def _worker(arguments: argparse.Namespace) -> int:
    from kdengine.runs.worker import work

    work(arguments.run)
    return 0
