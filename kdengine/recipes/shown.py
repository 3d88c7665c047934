"""Recipes and their results as pages show them: plain data, charts and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kdengine.errors import KDError, unknown_name
from kdengine.recipes import archive, comparison, gallery, group, plans, remarks, report, sections
from kdengine.recipes.recipe import Outcome, Plan
from kdengine.runs import checkpoints, results
from kdengine.runs.networks import method_title

_MEASURED = (
    "Data", "Network", "Test score", "Change", "Verdict", "From", "Setting", "Interval of the change", "Method")


def list_recipes() -> list[dict[str, Any]]:
    """The lab experiments in display order: name, title, question, and by scale data, epochs and parts."""
    return [plans.describe(each) for each in plans.RECIPES.values()]


def recipe_results(plan: Plan) -> dict[str, Any]:
    """What of a recipe is finished: `table`, rows of texts under their titles, `reading`, `remarks`, ...

    rest: the columns that the table has no room for. answer: those of the remarks that answer its question. no_gain:
    rows that say why students gained nothing. figures: Altair charts by caption, the main one first. gallery: heat
    maps, or masks, as HTML, empty where there are none; gallery_title and gallery_caption say what it shows.
    """
    outcome = plans.so_far(plan)
    return _texts_and_charts(outcome, comparison.rows(outcome))


def earlier_results(recipe: str) -> list[dict[str, Any]]:
    """What lab reports in `results/` say of a recipe, as `recipe_results`, and more.

    name, setting (what was trained on what), command, device, created (seconds since 1970), printed (rows of what lab
    sheets print, may be empty), apart (in what these differ). Those of most seeds, which can say most, come first.
    Folders that cannot be read are left to `kdengine results verify`.
    """
    reports = []
    for folder, outcome, table in sorted(_archives(), key=lambda each: -each[1].plan.seeds):
        plan = outcome.plan
        if plan.recipe.name != recipe or not outcome.records:
            continue
        newest = max(outcome.records.values(), key=lambda record: record.created)
        titles, printed = comparison.printed(outcome, table)
        reports.append(_texts_and_charts(outcome, table) | {
            "name": folder.name, "setting": plan.setting, "command": plan.command, "created": newest.created,
            "device": newest.environment["device_name"], "apart": plan.recipe.apart,
            "printed": _by_title(titles, printed),
        })
    return reports


def measured(method: str) -> list[dict[str, str]]:
    """What was measured with a method: reports in `results/`, then finished runs and shipped networks here.

    A dict a row, of texts by title. Rows with a verdict come first. No rows where nothing was measured yet.
    """
    rows = [dict(zip(_MEASURED, cells, strict=True)) for cells in (*_in_reports(method), *_here(method))]
    return sorted(rows, key=lambda row: row["Verdict"] == "–")


def recipe_report(plan: Plan, author: str = "", discussion: str = "") -> dict[str, str]:
    """The lab report of what of a recipe is finished: `html`, one file that needs nothing beside it, and `markdown`.

    author, discussion: what a person adds; paragraphs stand apart by an empty line.
    """
    return _report(plans.so_far(plan), author, discussion)


def archived_report(name: str, author: str = "", discussion: str = "") -> dict[str, str]:
    """The lab report of a folder in `results/`, as `recipe_report`. Raises KDError where there is none to be read."""
    folders = {folder.name: folder for folder in archive.folders()}
    if name not in folders:
        raise unknown_name("report", name, folders)
    return _report(archive.read(folders[name])[0], author, discussion)


def group_report(ids: Sequence[str], author: str = "", discussion: str = "") -> dict[str, str]:
    """The lab report of runs of one group, as `recipe_report`. Raises KDError where none of them has finished."""
    return _report(group.outcome(ids), author, discussion)


def _report(outcome: Outcome, author: str, discussion: str) -> dict[str, str]:
    return {"html": report.html(outcome, author, discussion), "markdown": report.markdown(outcome, author, discussion)}


def _texts_and_charts(outcome: Outcome, table: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What `recipe_results` returns."""
    recipe = outcome.plan.recipe
    titles, cells = comparison.main(recipe, table)
    rest = comparison.rest(recipe)
    named, drawn, looks = comparison.titles(recipe), report.figures(outcome, table), gallery.looks(outcome)
    return {
        "table": _by_title(titles, cells),
        "rest": _by_title([named[key] for key in rest], comparison.texts(recipe, table, rest)),
        "reading": comparison.READING,
        "answer": remarks.answer(outcome, table),
        "remarks": remarks.remarks(outcome, table),
        "no_gain": _by_title(sections.NO_GAIN, sections.no_gain(outcome)),
        "figures": recipe.figures(outcome) | drawn if recipe.leads else drawn,
        "gallery": gallery.html(looks, gallery.colors(outcome)) if looks else "",
        "gallery_title": gallery.TITLES[recipe.headline],
        "gallery_caption": gallery.caption(outcome, looks),
    }


def _by_title(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    return [dict(zip(titles, row, strict=True)) for row in cells]


def _archives() -> Iterator[tuple[Path, Outcome, list[dict[str, Any]]]]:
    """The reports in `results/` that can be read: folder, outcome and table."""
    for folder in archive.folders():
        try:
            outcome, table, _ = archive.read(folder)
        except KDError:
            continue
        yield folder, outcome, table


def _in_reports(method: str) -> Iterator[tuple[str, ...]]:
    """The cells of each row of a report whose networks were trained with a method."""
    for folder, outcome, table in _archives():
        recipe = outcome.plan.recipe
        for row in table:
            configuration = outcome.of(row["label"])[0].configuration
            if configuration.method == method:
                score, change, interval, verdict = (comparison.as_text(recipe, row, column)
                                                    for column in ("accuracy", "change", "change_interval", "verdict"))
                yield (configuration.data, row["label"], f"{score} {recipe.headline}", change, verdict, folder.name,
                       outcome.plan.setting, interval, method_title(method, configuration.hyperparameters))


def _here(method: str) -> Iterator[tuple[str, ...]]:
    """The cells of each finished run or shipped network that was trained with a method."""
    records, shipped = results.finished(), checkpoints.shipped()
    for row in results.rows(method):
        configuration = records[row["name"]].configuration
        origin = "shipped network" if row["name"] in shipped else "run here"
        column, headline = ("accuracy", "accuracy") if row["miou"] is None else ("miou", "mIoU")
        low, high = row["change_low"], row["change_high"]
        interval = "–" if low is None else f"{100 * low:+.2f} to {100 * high:+.2f}"
        yield (row["data"], row["called"] or row["name"], f"{results.as_text(row[column], column)} {headline}",
               results.as_text(row["change"], "change"), row["verdict"] or "–", origin,
               f"{row['teacher'] or 'no teacher'} to {row['student']}, {row['labels']:,} labels, "
               f"{row['epochs']} epochs, seed {row['seed']}", interval,
               method_title(method, configuration.hyperparameters))
