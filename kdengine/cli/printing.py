"""What the commands print: tables, JSON, and texts from anywhere as a terminal may show them."""

from __future__ import annotations

from typing import Any

from kdengine import files


def print_json(value: Any) -> None:
    """What `--json` prints: JSON that every reader takes."""
    print(files.as_json(value, indent=1))


def print_table(titles: list[str], cells: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    for line in (titles, ["-" * width for width in widths], *cells):
        print("  ".join(shown(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def shown(text: str) -> str:
    """A text from anywhere as a terminal may show it: what would steer the terminal becomes a question mark."""
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
