"""The lab report of a recipe, from its records alone: Markdown, and one HTML file that needs nothing beside it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from kdengine import charts, methods
from kdengine.colors import INDEPENDENT, STUDENTS
from kdengine.errors import KDError
from kdengine.files import writing
from kdengine.recipes import archive, comparison, gallery
from kdengine.recipes.recipe import Outcome, Recipe
from kdengine.runs import first_stages, results
from kdengine.runs.records import Record

if TYPE_CHECKING:
    from altair.typing import ChartType

PAGE = "report.html"
_PRINTED_SIDE = 300
"""Pixels of a heat map in print: an inch at 300 dots an inch."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #1f2430; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: .8rem; display: block; overflow-x: auto; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #d9dce3; text-align: left; vertical-align: top; }
figure, ul, p, pre { max-width: 62rem; }
figure { margin: 1.5rem 0; } figcaption { color: #596275; font-size: .9rem; } svg { max-width: 100%; height: auto; }
pre { background: #f4f5f8; padding: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print { body { margin: 0; max-width: none; } h2 { break-after: avoid; } figure { break-inside: avoid; } }
"""


def write(outcome: Outcome, folder: Path) -> Path:
    """Write report.md, report.html, its charts and heat maps as pictures, and what it was made from, into a folder.

    What it was made from: see `archive`. Returns the HTML file. Raises KDError where nothing is trained yet, or where
    the disk refuses.
    """
    recipe, table = _trained(outcome)
    page = folder / PAGE
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.md").write_text(markdown(outcome), encoding="utf-8")
        page.write_text(html(outcome), encoding="utf-8")
        for number, chart in enumerate(figures(outcome, table).values(), start=1):
            _save_png(chart, folder / f"figure-{number}.png")
        if recipe.gallery and (looks := gallery.looks(outcome, _PRINTED_SIDE)):
            name = gallery.TITLES[recipe.headline].lower().replace(" ", "-")
            gallery.sheet(looks).save(folder / f"{name}.jpg", quality=90, dpi=(300, 300))
        archive.write(outcome, table, folder)
    return page


def markdown(outcome: Outcome) -> str:
    """The report as Markdown, formulas in TeX; its figures are in the HTML alone."""
    recipe, table = _trained(outcome)
    titles = list(comparison.titles(recipe).values())
    lines = [f"# {recipe.title}: {outcome.plan.setting}", "", recipe.question, "",
             f"Command: `{outcome.plan.command}`", ""]
    for name, text in outcome.plan.files.items():
        lines += [f"`{name}`:", "", "```toml", text.rstrip(), "```", ""]
    lines += ["## Results", "", *results.markdown_table(titles, comparison.texts(recipe, table)), ""]
    lines += [comparison.READING, ""]
    printed_titles, printed = comparison.printed(outcome, table)
    if printed:
        lines += ["## As lab sheets print it", "", *results.markdown_table(printed_titles, printed), "",
                  recipe.apart, ""]
    lines += ["## Observations", "", *(f"- {each}" for each in comparison.remarks(outcome, table)), ""]
    for title, facts in _sections(outcome).items():
        lines += [f"## {title}", "", *results.markdown_table(["", ""], facts), ""]
    lines += ["## Methods", ""]
    for method in _methods(outcome):
        lines += [f"**{method.title}** (`{method.name}`): {method.summary} Source: {method.source}.", "",
                  f"$${method.formula}$$", ""]
    return "\n".join(lines)


def html(outcome: Outcome) -> str:
    """The report as one HTML page: charts as SVG, formulas as MathML; no script, no link to fetch."""
    from latex2mathml.converter import convert

    recipe, table = _trained(outcome)
    titles = list(comparison.titles(recipe).values())
    parts = [f"<h1>{escape(recipe.title)}</h1><p><b>{escape(outcome.plan.setting)}</b></p>"
             f"<p>{escape(recipe.question)}</p>",
             f"<pre>{escape(outcome.plan.command)}</pre>",
             *(f"<p><code>{name}</code>:</p><pre>{escape(text.rstrip())}</pre>"
               for name, text in outcome.plan.files.items()), "<h2>Results</h2>",
             _html_table(titles, comparison.texts(recipe, table)), f"<p>{escape(comparison.READING)}</p>"]
    printed_titles, printed = comparison.printed(outcome, table)
    if printed:
        parts += ["<h2>As lab sheets print it</h2>", _html_table(printed_titles, printed),
                  f"<p>{escape(recipe.apart)}</p>"]
    parts += [_figure(caption, chart) for caption, chart in figures(outcome, table).items()]
    if recipe.gallery and (looks := gallery.looks(outcome)):
        parts += [f"<h2>{gallery.TITLES[recipe.headline]}</h2>{gallery.html(looks, gallery.colors(outcome))}"
                  f"<p>{escape(gallery.CAPTIONS[recipe.headline])}</p>"]
    remarks = comparison.remarks(outcome, table)
    parts += ["<h2>Observations</h2><ul>", *(f"<li>{escape(each)}</li>" for each in remarks), "</ul>"]
    for title, facts in _sections(outcome).items():
        parts.append(f"<h2>{escape(title)}</h2>{_html_table(['', ''], facts)}")
    parts.append("<h2>Methods</h2>")
    for method in _methods(outcome):
        parts.append(f"<h3>{escape(method.title)}</h3><p>{escape(method.summary)} Source: {escape(method.source)}.</p>"
                     f"{convert(method.formula, display='block')}")
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(recipe.title)}: '
            f'{escape(outcome.plan.setting)}</title>'
            f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n")


def figures(outcome: Outcome, table: Sequence[dict[str, Any]]) -> dict[str, ChartType]:
    """A recipe's charts by caption: accuracies with their intervals, its own, and how the networks learned."""
    overs = dict.fromkeys(row["over"] for row in table)
    drawn: dict[str, ChartType] = {
        f"Test {outcome.plan.recipe.headline}, with 95% intervals over {' or '.join(overs)}.":
            charts.accuracies(table, outcome.plan.recipe.headline)}
    drawn |= outcome.plan.recipe.figures(outcome)
    curves = {part.label: outcome.source.history(record.id) for part in outcome.parts
              for record in outcome.of(part.label)[:1]}
    if len(curves) <= len(STUDENTS):  # more lines than colours tell nobody apart
        dotted = f" The dotted line: where the {INDEPENDENT.lower()} ended." if INDEPENDENT in curves else ""
        drawn[f"Validation {outcome.plan.recipe.headline} while training, first seed.{dotted}"] = (
            charts.accuracy_curves(curves, baseline=INDEPENDENT))
        drawn["Terms of the training loss, first seed."] = charts.term_curves(curves)
    return drawn


def _trained(outcome: Outcome) -> tuple[Recipe, list[dict[str, Any]]]:
    """The recipe and its table. Raises KDError where there is none."""
    if not outcome.records:
        raise KDError(f"Nothing of {outcome.plan.recipe.name} is trained yet, so there is nothing to report. Run it: "
                      f"{outcome.plan.command}")
    return outcome.plan.recipe, comparison.rows(outcome)


def _figure(caption: str, chart: ChartType) -> str:
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(_sized(chart).to_dict())
    # Its clips are numbered on from one figure of a process to the next: the same report would be another text.
    clips = {name: f"clip-{crc32(caption.encode())}-{place}"
             for place, name in enumerate(dict.fromkeys(re.findall(r"clip\d+", drawn)))}
    drawn = re.sub(r"clip\d+", lambda match: clips[match[0]], drawn)
    return f"<figure>{drawn}<figcaption>{escape(caption)}</figcaption></figure>"


def _save_png(chart: ChartType, path: Path) -> None:
    """A chart as a picture of few colors, a third of the size of one of all."""
    import vl_convert
    from PIL import Image

    with Image.open(BytesIO(vl_convert.vegalite_to_png(_sized(chart).to_dict(), scale=1.5))) as drawn:
        drawn.convert("RGB").quantize(128).save(path, optimize=True)


def _sized(chart: ChartType) -> ChartType:
    """A chart as wide as a page, unless it has a width of its own."""
    return chart if "width" in chart.to_dict() else chart.properties(width=640)


def _sections(outcome: Outcome) -> dict[str, list[list[str]]]:
    """What it ran on, on which pictures, and with which settings."""
    record = next(iter(outcome.records.values()))
    students = [each for part in outcome.parts if part.taught for each in outcome.of(part.label)]
    about = (students or [record])[0]
    machine = record.environment
    each = about.environment.get("student_threads")
    threads = f"{machine['threads']}{f', {each} for each student, several at once' if each else ''}"
    return {
        "Hardware and software": [
            ["Device", f"{machine['device_name']} ({machine['device']})"], ["Threads", threads],
            ["System", f"{machine['system']}, Python {machine['python']}"],
            *([name, number] for name, number in machine["packages"].items()),
            *([["Commit", machine["commit"]]] if machine["commit"] else []),
        ],
        "Data": [[key.replace("_", " "), str(about.data[key])] for key in
                 ("title", "size", "train", "labelled", "validation", "test", "views", "digest")],
        "Settings": _settings(outcome),
        "Cost": [[f"{label}, seed {seed}", _cost(each)] for (label, seed), each in outcome.records.items()],
    }


def _settings(outcome: Outcome) -> list[list[str]]:
    facts = []
    for part in outcome.parts:
        config = part.configuration
        chosen = methods.method(config.method, **config.hyperparameters)
        fields = ", ".join(f"{key} {value}" for key, value in dataclasses.asdict(chosen).items())
        phrases = [f"{config.student}, {config.method} ({fields})" if fields else f"{config.student}, {config.method}"]
        phrases += [f"taught by {part.teacher or config.teacher}"] if part.taught and chosen.needs_teacher else []
        phrases += [f"starting from {part.start}"] if part.start else []
        phrases += [f"{config.labels_per_class} labels per class"] if config.labels_per_class else []
        phrases += [f"masks of {config.labelled_images:,} images"] if config.labelled_images else []
        phrases += [f"{config.share:.0%} of the training images"] if config.share < 1 else []
        phrases += [f"without class {config.without_class}"] if config.without_class is not None else []
        phrases += [f"images of {config.image_size} pixels"] if config.image_size else []
        phrases += ["starting from published weights"] if config.pretrained else []
        phrases += [f"views {config.views}"] if config.views else []
        first = first_stages.first_epochs(config) if chosen.first_stage else 0
        phrases += [f"{config.epochs} epochs" + (f" after {first} of its first stage" if first else "")]
        phrases += [f"batch {config.batch_size}", f"{config.optimizer} {config.learning_rate:g}",
                    f"momentum {config.momentum:g}", config.schedule, f"weight decay {config.weight_decay:g}"]
        facts.append([part.label, ", ".join(phrases)])
    return facts


def _cost(record: Record) -> str:
    """Seconds of its own steps, and of the whole group where several trained side by side; speed and size."""
    result = record.result
    group, whole = result["side_by_side"], f"{result['training_seconds']:,.0f} s"
    if group == 1:
        seconds = whole
    elif "own_seconds" in result:
        seconds = f"{result['own_seconds']:,.0f} s of its own steps; {whole} for the group of {group}"
    else:
        seconds = f"{whole} with {group - 1} others"
    return (f"{seconds}, {result['images_per_second']:,.0f} images a second; "
            f"{result['flops'] / 1e6:,.1f} MFLOPs, {result['megabytes']:.2f} MB")


def _methods(outcome: Outcome) -> list[type[methods.Method]]:
    used = dict.fromkeys(part.configuration.method for part in outcome.parts)
    return [methods.find(name) for name in used]


def _html_table(titles: list[str], cells: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if any(titles) else ''}<tbody>{body}</tbody></table>"
