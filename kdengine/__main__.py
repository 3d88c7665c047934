"""The command line: `kdengine COMMAND`, or `python -m kdengine COMMAND`. Each command has its own `--help`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import kdengine
from kdengine.cli import convert, evaluate, lists, recipes, runs, train
from kdengine.cli.parsing import Commands, Parser
from kdengine.cli.printing import shown
from kdengine.errors import KDError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for an error a person can mend, 130 after Ctrl-C."""
    commands = parser()
    parsed = commands.parse_args(arguments)
    if getattr(parsed, "replace", False) and parsed.keep is None:
        commands.error("--replace says what --keep NAME may do; give both")
    if parsed.command is runs.run and parsed.detach and not parsed.resume:
        commands.error("--detach says that --resume is not to wait; give both")
    _set_places(parsed)
    try:
        return parsed.command(parsed) or 0
    except KDError as error:
        print(f"kdengine: {shown(str(error))}", file=sys.stderr)
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


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    made = Parser(prog=_called(), description="Knowledge distillation, exact and fast.")
    made.add_argument("--version", action="version", version=f"kdengine {kdengine.__version__}")
    commands = Commands(made)
    for each in (train, evaluate, runs, lists, recipes, convert):
        each.add(commands)
    return made


def _called() -> str:
    """How it was started, so that help can be typed as it stands."""
    return "kdengine" if Path(sys.argv[0]).stem == "kdengine" else "python -m kdengine"


def _set_places(arguments: argparse.Namespace) -> None:
    for option, variable in (("runs", "KDENGINE_RUNS"), ("data_root", "KDENGINE_DATA")):
        if getattr(arguments, option):
            os.environ[variable] = str(Path(getattr(arguments, option)).expanduser().resolve())


if __name__ == "__main__":
    sys.exit(main())
