"""Runs in training, watched from a terminal to their end."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from typing import Any

from kdengine.cli.printing import print_json, print_table
from kdengine.runs import records, schema

_POLL_S = 0.3


def see_through(arguments: argparse.Namespace, ids: list[str]) -> list[str]:
    """Follow runs to their end, Ctrl-C stops them; tells their results and returns those that finished."""
    from kdengine.runs import control, results, store

    try:
        _follow(ids, quiet=arguments.json)
    except KeyboardInterrupt:
        for run in ids:
            if store.state(run) in records.ACTIVE:
                control.stop(run)
        print("\nStopping at the last complete epoch. Continue with: "
              f"python -m kdengine runs {' '.join(ids)} --resume", file=sys.stderr)
        raise
    ended = {run: store.read(run) for run in ids}
    finished = [run for run, record in ended.items() if record.state == records.FINISHED]
    if arguments.json:
        print_json({run: dataclasses.asdict(record) for run, record in ended.items()})
    elif finished:
        table = {row["name"]: row for row in results.rows()}
        _print_results([table[run] for run in finished])
        if note := results.no_baseline([table[run] for run in finished]):
            print(f"\n{note}")
    for run, record in ended.items():
        if record.state != records.FINISHED:
            gone = f"Its worker is gone; go on with: python -m kdengine runs {run} --resume"
            print(f"{run}: {store.state(run)}. {record.status['reason'] or gone}", file=sys.stderr)
    return finished


def _follow(ids: list[str], *, quiet: bool) -> None:
    """Wait until a group has ended: the teacher's own score, then a progress bar (in a pipe, a line an epoch)."""
    from kdengine.runs import store

    told_teacher, told_epoch = False, 0
    bar = sys.stderr.isatty() and not quiet
    while True:
        states = [store.state(run) for run in ids]
        first = store.read(ids[0])
        if first.teacher and not told_teacher:
            told_teacher = True
            if not quiet:
                print(_teacher_line(first.teacher), flush=True)
        active = [run for run, state in zip(ids, states, strict=True) if state in records.ACTIVE]
        progress = store.progress(active[0] if active else ids[0])
        if bar:
            line = _progress_line(progress, states) if active else ""
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        elif not quiet and progress.get("epoch", 0) > told_epoch:
            told_epoch = progress["epoch"]
            print(_progress_line(progress, states), file=sys.stderr, flush=True)
        if not active:
            return
        time.sleep(_POLL_S)


def _teacher_line(teacher: schema.Teacher) -> str:
    return f"Teacher {teacher['reference']} ({teacher['architecture']}): {records.score_text(teacher['test'])}."


def _progress_line(progress: dict[str, Any], states: Sequence[str]) -> str:
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
    from kdengine.runs.results import COLUMNS, as_text

    columns = [column for column in COLUMNS
               if column not in ("name", "data") and any(row[column] is not None for row in table)]
    print_table([COLUMNS[column] for column in columns],
                [[as_text(row[column], column) for column in columns] for row in table])
