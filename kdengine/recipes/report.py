"""The lab report of a recipe, from its records alone: Markdown, and one HTML file that needs nothing beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdengine import charts, methods
from kdengine.colors import INDEPENDENT, STUDENTS, TEACHER, student_colors
from kdengine.errors import KDError
from kdengine.files import writing
from kdengine.recipes import archive, comparison, document, gallery, remarks, sections
from kdengine.recipes.document import (
    Block,
    Code,
    Figure,
    Formula,
    Heading,
    Items,
    Note,
    Pictures,
    Table,
    Text,
)
from kdengine.recipes.recipe import Outcome

if TYPE_CHECKING:
    from altair.typing import ChartType

PAGE = "report.html"
PRINTED_SIDE = 300
"""Pixels of a heat map in print: an inch at 300 dots an inch."""


def write(outcome: Outcome, folder: Path) -> Path:
    """Write report.md, report.html, its charts and heat maps as pictures, and what it was made from, into a folder.

    What it was made from: see `archive`. Returns the HTML file. Raises KDError where nothing is trained yet, or where
    the disk refuses.
    """
    printed = gallery.looks(outcome, PRINTED_SIDE)
    outcome = dataclasses.replace(outcome, measured=outcome.measures, looks=gallery.looks(outcome))  # once is enough
    content = list(blocks(outcome))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        page = _write_pages(outcome, content, folder)
        if printed:
            gallery.sheet(printed).save(folder / gallery.file(outcome), quality=90, dpi=(300, 300))
        archive.write(outcome, comparison.rows(outcome), folder)
    return page


def rewrite(folder: Path) -> Path:
    """Write the pages and charts of a report again from what it was made from, as a report is written today.

    Raises KDError where that cannot be read.
    """
    outcome, _, _ = archive.read(folder)
    with writing(folder):
        return _write_pages(outcome, list(blocks(outcome)), folder)


def markdown(outcome: Outcome, author: str = "", discussion: str = "") -> str:
    """The report as Markdown, formulas in TeX; its figures are in the HTML alone. See `blocks`."""
    return document.markdown(outcome.plan.recipe.title, outcome.plan.setting,
                             blocks(outcome, author, discussion), with_files=False)


def html(outcome: Outcome, author: str = "", discussion: str = "") -> str:
    """The report as one HTML page. See `blocks`."""
    return document.html(outcome.plan.recipe.title, outcome.plan.setting, blocks(outcome, author, discussion))


def blocks(outcome: Outcome, author: str = "", discussion: str = "") -> Iterator[Block]:
    """The report, the answer first, how it came about last.

    author, discussion: what a person says of it; paragraphs of a discussion stand apart by an empty line. Raises
    KDError where nothing is trained yet.
    """
    table = _table(outcome)
    yield Note(". ".join([*([author] if author else []), f"Trained {sections.trained(outcome)}"]) + ".")
    yield Text(outcome.plan.recipe.question)
    yield Heading("What came out")
    yield Items(remarks.remarks(outcome, table))
    yield from _results(outcome, table)
    if discussion.strip():
        yield Heading("Discussion")
        yield from (Text(paragraph.strip()) for paragraph in discussion.split("\n\n") if paragraph.strip())
    if causes := sections.no_gain(outcome):
        yield Heading("Why no gain?")
        yield Table(sections.NO_GAIN, causes)
    yield Heading("How they were compared")
    yield Table([], sections.equal_and_different(outcome))
    yield Heading("Methods")
    for name in dict.fromkeys(part.configuration.method for part in outcome.parts):
        method = methods.find(name)
        yield Heading(method.title, below=True)
        yield Text(f"{method.summary} Source: {method.source}.")
        yield Formula(method.formula)
    yield Heading("Limits")
    yield Items(sections.limits(outcome))
    for title, facts in sections.facts(outcome).items():
        yield Heading(title)
        yield Table([], facts)
    yield Heading("All other numbers")
    rest = comparison.rest(outcome.plan.recipe)
    yield Table([comparison.titles(outcome.plan.recipe)[key] for key in rest],
                comparison.texts(outcome.plan.recipe, table, rest))
    yield Heading("To repeat it")
    yield Code(outcome.plan.command)
    for name, text in outcome.plan.files.items():
        yield Note(f"{name}:")
        yield Code(text.rstrip())


def figures(outcome: Outcome, table: Sequence[dict[str, Any]]) -> dict[str, ChartType]:
    """A recipe's charts by caption: accuracies with their intervals, its own, and how the students learned.

    A student has one color in all of them.
    """
    recipe, colors = outcome.plan.recipe, _colors(outcome, table)
    overs = dict.fromkeys(row["over"] for row in table)
    drawn: dict[str, ChartType] = {f"Test {recipe.headline}, with 95% intervals over {' or '.join(overs)}.":
                                   charts.accuracies(table, colors, recipe.headline)}
    apart = {row["label"]: row["kl_to_teacher"] for row in table if row["kl_to_teacher"] is not None}
    if recipe.ranks and len(apart) > 1:
        drawn["KL(teacher || student) on the test images, nats; the closest first."] = (
            charts.ranking(apart, colors, "KL to teacher"))
    drawn |= recipe.figures(outcome)
    curves = {part.label: outcome.source.history(record.id) for part in outcome.parts if part.seeded
              for record in outcome.of(part.label)[:1]}
    if curves and len(curves) <= len(STUDENTS) + 1:  # more lines than colors tell nobody apart
        dotted = f" The dotted line: where the {INDEPENDENT.lower()} ended." if INDEPENDENT in curves else ""
        drawn[f"Validation {recipe.headline} of the students while training, first seed.{dotted}"] = (
            charts.accuracy_curves(curves, baseline=INDEPENDENT))
        drawn["Terms of the students' training loss, first seed."] = charts.term_curves(curves)
    return drawn


def _write_pages(outcome: Outcome, content: Sequence[Block], folder: Path) -> Path:
    """The two pages and the charts; charts from before that are no more go. Returns the HTML file."""
    title, setting = outcome.plan.recipe.title, outcome.plan.setting
    for old in folder.glob("figure-*.png"):
        old.unlink()
    text = document.markdown(title, setting, content, with_files=True)
    (folder / "report.md").write_text(text, encoding="utf-8")
    (folder / PAGE).write_text(document.html(title, setting, content), encoding="utf-8")
    document.save_pictures(content, folder)
    return folder / PAGE


def _colors(outcome: Outcome, table: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The color of each network of the table, by label: teachers have theirs, students one each."""
    teachers = {part.label for part in outcome.parts if not part.seeded}
    students = [row["label"] for row in table if row["label"] not in teachers]
    own = dict(zip(students, student_colors(students), strict=True))
    return {row["label"]: own.get(row["label"], TEACHER) for row in table}


def _results(outcome: Outcome, table: Sequence[dict[str, Any]]) -> Iterator[Block]:
    """The table, what lab sheets print, the charts and the pictures."""
    recipe, drawn = outcome.plan.recipe, figures(outcome, table)
    yield Heading("Results")
    yield Table(*comparison.main(recipe, table))
    yield Note(comparison.READING)
    titles, printed = comparison.printed(outcome, table)
    if printed:
        yield Heading("As lab sheets print it")
        yield Table(titles, printed)
        yield Text(recipe.apart)
    yield from (Figure(caption, chart) for caption, chart in drawn.items())
    if looks := gallery.looks(outcome):
        yield Heading(gallery.TITLES[recipe.headline])
        yield Pictures(gallery.html(looks, gallery.colors(outcome)), gallery.caption(outcome, looks),
                       gallery.file(outcome))


def _table(outcome: Outcome) -> list[dict[str, Any]]:
    """The recipe's table. Raises KDError where there is none."""
    if not outcome.records:
        raise KDError(f"Nothing of {outcome.plan.recipe.name} is trained yet, so there is nothing to report. Run it: "
                      f"{outcome.plan.command}")
    return comparison.rows(outcome)
