"""How words become options: each once, with the configuration's own defaults."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from kdengine.configuration import Configuration

DEFAULTS = {each.name: each.default for each in dataclasses.fields(Configuration)}


class _Once(argparse.Action):
    """Takes a value that is given once; argparse by itself keeps the last and drops the others without a word."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
        option_string: str | None = None,
    ) -> None:
        options_given = vars(namespace).setdefault("options_given", set())
        if self.option_strings and self.dest in options_given:
            raise argparse.ArgumentError(self, "given twice; give it once")
        options_given.add(self.dest)
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


class Parser(argparse.ArgumentParser):
    """A parser, and those of its commands, that refuses an option given twice where that is no list."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        for name, action in ((None, _Once), ("store", _Once), ("store_true", _OnceTrue)):
            self.register("action", name, action)


class Commands:
    """The commands of a parser. Each of them may be told where runs are written and where data sets lie."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        self, name: str, run: Callable[[argparse.Namespace], int], help: str, **more: Any
    ) -> argparse.ArgumentParser:
        """A new command. run: does it, and returns the exit status."""
        added = self._commands.add_parser(name, help=help, description=help, **more)
        added.add_argument("--runs", metavar="DIR", help="where runs are written (default: runs/ in the project)")
        added.add_argument("--data-root", metavar="DIR", help="where data sets lie (default: data/ in the project)")
        added.set_defaults(command=run)
        return added


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_replace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--replace", action="store_true", help="with --keep: in place of a checkpoint of that name")
