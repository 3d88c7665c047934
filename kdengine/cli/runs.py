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
    listed.add_argument("run", nargs="*", help="a run's id; --stop, --resume and --remove take several")
    action = listed.add_mutually_exclusive_group()
    action.add_argument("--stop", action="store_true", help="stop it at its last complete epoch")
    action.add_argument("--resume", action="store_true",
                        help="continue it from its last complete epoch, and wait for its end")
    action.add_argument("--remove", action="store_true", help="delete it and its files")
    action.add_argument("--log", action="store_true", help="print what its worker printed")
    action.add_argument("--keep", metavar="NAME", help="make it a checkpoint of that name, beside the shipped ones")
    listed.add_argument("--detach", action="store_true", help="with --resume: return at once")
    add_replace(listed)
    add_json(listed)

    worker = commands.add("worker", _worker, "Train queued runs of one group (started by the other commands).")
    worker.add_argument("run", nargs="+", help="the runs' ids")


def run(given: argparse.Namespace) -> int:
    from kdengine.runs import control, results, store

    asked = next((word for word in ("stop", "resume", "remove", "log", "keep") if getattr(given, word)), None)
    if asked and not given.run:
        raise KDError(f"--{asked} needs the name of a run; `python -m kdengine runs` lists them.")
    if not given.run:
        found = store.listed()
        if given.json:
            print_json([dataclasses.asdict(each) | {"state": state} for each, state in found])
        elif found:
            print_table(["run", "state", "data", "student", "method", "epoch", "test score"],
                        [_run_cells(each, state) for each, state in found])
        else:
            print(f"No runs in {paths.runs_root()} yet. Start one: python -m kdengine distill --method kd")
        for name, reason in store.unreadable().items():
            print(shown(f"cannot be read: {name}: {reason}"), file=sys.stderr)
    elif given.resume:
        control.resume(given.run)
        if given.detach:
            return 0
        return 0 if len(see_through(given, given.run)) == len(given.run) else 1
    elif given.stop or given.remove:
        for run in given.run:
            (control.stop if given.stop else control.remove)(run)
            print(f"Stopping {run} at its last complete epoch." if given.stop else f"Removed {run}.")
    elif len(given.run) > 1:
        raise KDError(f"{len(given.run)} runs are named; only --stop, --resume and --remove take several.")
    elif given.log:
        print(store.log(given.run[0]) or f"The worker of {given.run[0]} has printed nothing.\n", end="")
    elif given.keep is not None:
        print(f"Kept as {results.keep(given.run[0], given.keep, replace=given.replace)}")
    else:
        record = store.read(given.run[0])
        state = store.state(record.id)
        print_json(dataclasses.asdict(record) | {"status": record.status | {"state": state}, "state": state})
        if record.ignored:
            print(shown(f"Ignored, as this version does not know them: {', '.join(record.ignored)}"), file=sys.stderr)
    return 0


def _run_cells(record: records.Record, state: str) -> list[str]:
    asked = record.configuration
    test = record.result.get("test")
    return [record.id, state, asked.data, asked.student, asked.method, f"{record.status['epoch']}/{asked.epochs}",
            f"{100 * records.headline(test):.2f}%" if test else "–"]


def _worker(given: argparse.Namespace) -> int:
    from kdengine.runs.worker import work

    work(given.run)
    return 0
