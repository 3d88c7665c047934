"""A document of headings, texts, tables, formulas and charts, as one HTML page and as Markdown.

The page needs nothing beside it: charts are SVG, formulas MathML, pictures lie inside; no script, no link to fetch. It
prints to A4, or to PDF, without a line that is cut off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from kdengine.runs.results import markdown_table

if TYPE_CHECKING:
    from altair.typing import ChartType

_STYLE = """
@page { size: A4; margin: 15mm; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1f2430; }
h1 { margin-bottom: 0; line-height: 1.2; } h2 { margin-top: 2.2rem; } h3 { margin-bottom: 0; }
table { border-collapse: collapse; font-size: .8rem; width: 100%; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid #d9dce3; text-align: left; vertical-align: top; }
body { counter-reset: figure; } figure { margin: 1.5rem 0; counter-increment: figure; }
figcaption::before { content: "Figure " counter(figure) ". "; }
figcaption { color: #596275; font-size: .9rem; } svg { max-width: 100%; height: auto; }
math { display: block; margin: .8rem 0; overflow-x: auto; overflow-y: hidden; }
pre { background: #f4f5f8; padding: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.note { color: #596275; font-size: .9rem; }
@media (max-width: 40rem) { table { display: block; overflow-x: auto; } }
@media print {
  body { font-size: 10.5pt; margin: 0; padding: 0; max-width: none; } table { font-size: 8pt; display: table; }
  th, td { padding: .2rem .3rem; } svg { max-height: 105mm; } h2 { margin-top: 1.4rem; }
  h2, h3, h3 + p { break-after: avoid; } figure, table, tr, .look { break-inside: avoid; }
  .look { gap: 2mm !important; } .look > div { width: 20mm !important; font-size: 7pt; } .look img { width: 20mm; }
}
"""
_WIDTH = 640
"""Pixels of a chart that has no width of its own."""


@dataclass(frozen=True)
class Heading:
    """The title of a section, or with `below` of a part of one."""

    text: str
    below: bool = False


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Note:
    """Who and when, or how a table is to be read: a paragraph in small letters."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Cells by row under their titles; without titles it is a list of facts."""

    titles: Sequence[str]
    cells: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Formula:
    """LaTeX without delimiters, set on a line of its own."""

    latex: str


@dataclass(frozen=True)
class Code:
    """What is typed."""

    text: str


@dataclass(frozen=True)
class Figure:
    """A chart and what it shows."""

    caption: str
    chart: ChartType


@dataclass(frozen=True)
class Pictures:
    """Pictures as HTML, and what they show. Markdown has them as the picture file of that name."""

    html: str
    caption: str
    file: str


Block = Heading | Text | Note | Items | Table | Formula | Code | Figure | Pictures


def html(title: str, subtitle: str, blocks: Iterable[Block]) -> str:
    """The document as one HTML page."""
    body = "".join(map(_html, blocks))
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width"><title>{escape(title)}: {escape(subtitle)}</title>'
            f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1><p><b>{escape(subtitle)}</b></p>{body}"
            "</body></html>\n")


def markdown(title: str, subtitle: str, blocks: Iterable[Block], *, with_files: bool) -> str:
    """The document as Markdown, formulas in TeX.

    with_files: whether the pictures of `save_pictures` lie beside it, and are shown; else their captions say where.
    """
    lines, number = [f"# {title}: {subtitle}", ""], 0
    for block in blocks:
        if isinstance(block, Figure):
            number += 1
        lines += [*_markdown(block, number, with_files), ""]
    return "\n".join(lines)


def save_pictures(blocks: Iterable[Block], folder: Path) -> None:
    """Write each chart as a picture into a folder that is there, in order."""
    figures = (block for block in blocks if isinstance(block, Figure))
    for number, block in enumerate(figures, start=1):
        _save_png(block.chart, folder / _picture(number))


def _html(block: Block) -> str:
    match block:
        case Heading():
            level = 3 if block.below else 2
            return f"<h{level}>{escape(block.text)}</h{level}>"
        case Text():
            return f"<p>{escape(block.text)}</p>"
        case Note():
            return f'<p class="note">{escape(block.text)}</p>'
        case Items():
            return f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in block.texts)}</ul>"
        case Table():
            return _html_table(block)
        case Formula():
            return mathml(block.latex)
        case Code():
            return f"<pre>{escape(block.text)}</pre>"
        case Figure():
            return f"<figure>{_svg(block)}<figcaption>{escape(block.caption)}</figcaption></figure>"
        case Pictures():
            return f"{block.html}<p>{escape(block.caption)}</p>"


def _markdown(block: Block, number: int, with_files: bool) -> list[str]:
    match block:
        case Heading():
            return [f"{'###' if block.below else '##'} {block.text}"]
        case Text() | Note():
            return [block.text]
        case Items():
            return [f"- {each}" for each in block.texts]
        case Table():
            return markdown_table(block.titles or [""] * len(block.cells[0]), block.cells) if block.cells else []
        case Formula():
            return [f"$${block.latex}$$"]
        case Code():
            return ["```sh", block.text, "```"]
        case Figure():
            return [f"![{block.caption}]({_picture(number)})"] if with_files else [f"Figure: {block.caption}"]
        case Pictures():
            shown = [f"![{block.caption}]({block.file})", ""] if with_files else []
            return [*shown, block.caption]


def mathml(latex: str) -> str:
    """A formula as MathML. The bars of a norm are signs there: the converter does not know their names after `big`."""
    from latex2mathml.converter import convert

    return convert(re.sub(r"\\[lr]Vert(?![A-Za-z])", "\N{DOUBLE VERTICAL LINE}", latex), display="block")


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in table.titles)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.cells)
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if table.titles else ''}<tbody>{body}</tbody></table>"


def _svg(figure: Figure) -> str:
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(_sized(figure.chart).to_dict())
    # Its clips are numbered on from one figure of a process to the next: the same report would be another text.
    clips = {name: f"clip-{crc32(figure.caption.encode())}-{place}"
             for place, name in enumerate(dict.fromkeys(re.findall(r"clip\d+", drawn)))}
    return re.sub(r"clip\d+", lambda match: clips[match[0]], drawn)


def _picture(number: int) -> str:
    return f"figure-{number}.png"


def _save_png(chart: ChartType, path: Path) -> None:
    """A chart as a picture of few colors, a third of the size of one of all."""
    import vl_convert
    from PIL import Image

    with Image.open(BytesIO(vl_convert.vegalite_to_png(_sized(chart).to_dict(), scale=1.5))) as drawn:
        drawn.convert("RGB").quantize(128).save(path, optimize=True)


def _sized(chart: ChartType) -> ChartType:
    """A chart as wide as a page, unless it has a width of its own."""
    return chart if "width" in chart.to_dict() else chart.properties(width=_WIDTH)
