"""`recipe`, the lab experiments; `sweep`, one's own; `results`, the reports that were measured earlier."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kdengine import files, trust
from kdengine.cli.parsing import Commands, add_json, add_replace
from kdengine.cli.printing import print_json, print_table, shown
from kdengine.configuration import LEARNING_RATES
from kdengine.errors import KDError, unknown_name
from kdengine.runs import records

if TYPE_CHECKING:
    from kdengine.recipes import Plan


def add(commands: Commands) -> None:
    """Declare the commands of this module."""
    recipe = commands.add(
        "recipe", _recipe, "List the lab experiments, or run one: train what is missing, tell the table.")
    recipe.add_argument("name", nargs="?", help="a recipe")
    recipe.add_argument("--scale", default="quick", help="quick, lab or paper (%(default)s)")
    recipe.add_argument("--seeds", type=int, default=1, help="students trained of each kind (%(default)s)")
    recipe.add_argument("--data", help="another data set than the scale's")
    recipe.add_argument("--share", type=float, metavar="S", help="part of its training images, in (0, 1]")
    recipe.add_argument("--image-size", type=int, metavar="PIXELS", help="another side of the images")
    recipe.add_argument("--epochs", type=int, help="another number of epochs, for every network")
    recipe.add_argument("--batch-size", type=int, help="another batch size, for every network")
    recipe.add_argument("--optimizer", choices=tuple(LEARNING_RATES), help="another, for every network")
    recipe.add_argument("--learning-rate", type=float, help="another learning rate, for every network")
    recipe.add_argument("--labels-per-class", type=int, metavar="N", help="labels per class that the students read")
    recipe.add_argument("--labelled-images", type=int, metavar="N",
                        help="of data with masks: images whose mask the students read")
    recipe.add_argument("--temperature", type=float, metavar="T", help="another T, for every method that has one")
    recipe.add_argument("--kl-weight", type=float, metavar="W",
                        help="another weight of the teacher's answers, where a method has one so called")
    recipe.add_argument("--only", action="append", metavar="LABEL", help="train that student alone; repeat for several")
    recipe.add_argument("--skip", action="append", metavar="LABEL", help="leave out the student of that label; repeat")
    recipe.add_argument("--skip-combined", dest="skip", action="append_const", const="Combined",
                        help="the same as --skip Combined")
    recipe.add_argument("--teacher", metavar="MODEL", help="another architecture for the teachers")
    recipe.add_argument("--student", metavar="MODEL", help="another architecture for the students")
    _add_outcome_options(recipe)

    sweep = commands.add(
        "sweep", _sweep, "Run an experiment of your own, as a file says it: train what is missing, tell the table.",
        epilog="A file holds the fields of a run once, and a table [[method]] for each method; a list is a grid. "
               "`python -m kdengine runs RUN --config` prints a run as such a file; the README has an example.")
    sweep.add_argument("--config", type=Path, metavar="FILE", required=True, help="the file, in TOML")
    _add_outcome_options(sweep)

    earlier = commands.add(
        "results", _results, "List the lab reports that were measured earlier; verify them, or write them again.")
    earlier.add_argument("action", nargs="?", choices=("list", "verify", "rewrite"), default="list",
                         help="verify: compute all they say again, from their own files; rewrite: write their pages "
                              "again from these files (%(default)s)")
    earlier.add_argument("name", nargs="*", help="folders in results/ (all)")
    add_json(earlier)


def _add_outcome_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--so-far", action="store_true", help="train nothing; tell what has finished")
    parser.add_argument("--keep", metavar="NAME",
                        help="make its networks of the first seed checkpoints, NAME and their label")
    add_replace(parser)
    parser.add_argument("--report", type=Path, metavar="DIR", help="write report.html and report.md there")
    add_json(parser)


def _recipe(arguments: argparse.Namespace) -> int:
    from kdengine import recipes

    if arguments.name is None:
        descriptions = [recipes.describe(each) for each in recipes.RECIPES.values()]
        if arguments.json:
            print_json(descriptions)
        else:
            print_table(["recipe", "what it asks"], [[each["name"], each["question"]] for each in descriptions])
        return 0
    changes = {name: getattr(arguments, name) for name in recipes.CHANGES}
    plan = recipes.plan(arguments.name, arguments.scale, arguments.seeds, **changes)
    trust.add(arguments.teacher or "")
    trust.add(arguments.student or "")
    return _carry_out(plan, arguments)


def _sweep(arguments: argparse.Namespace) -> int:
    from kdengine import recipes

    content = files.content(arguments.config)
    if content is None:
        raise KDError(f"There is no file {arguments.config}. Write one, or have a run written as one: "
                      "python -m kdengine runs RUN --config.")
    return _carry_out(recipes.read_sweep(content.decode("utf-8-sig", errors="replace")), arguments)


def _carry_out(plan: Plan, arguments: argparse.Namespace) -> int:
    """Train what of a plan is missing, tell its table, write its report, keep its networks; 1 where any has failed."""
    from kdengine import recipes
    from kdengine.recipes import comparison, remarks, report, sections
    from kdengine.runs import results

    names = {} if arguments.keep is None else {part.label: _slug(arguments.keep, part.label) for part in plan.parts}
    results.check_names(list(names.values()), replace=arguments.replace)

    announced: set[str] = set()

    def tell(done: int, of: int) -> None:
        if arguments.json:
            return
        for record in recipes.so_far(plan).teachers():
            if record.id not in announced:
                announced.add(record.id)
                scores = records.score_text(record.result["test"])
                print(f"{record.configuration.student}, to teach: {scores}.", flush=True)
        print(f"{done} of {of} networks trained", file=sys.stderr, flush=True)

    outcome = recipes.so_far(plan) if arguments.so_far else recipes.run(plan, tell)
    table = comparison.rows(outcome)
    if arguments.json:
        print_json(table)
    else:
        sentences = remarks.remarks(outcome, table) + [
            f"{change}: {measured} {advice}" for change, _, measured, advice in sections.no_gain(outcome)]
        print(f"{plan.recipe.title}. {plan.recipe.question}\n")
        print_table(list(comparison.titles(plan.recipe).values()), comparison.texts(plan.recipe, table))
        print(f"\n{comparison.READING}\n\n" + "\n".join(f"- {each}" for each in sentences))
    if arguments.report and outcome.records:
        page = report.write(outcome, arguments.report)
        print(f"Report: {page}", file=sys.stderr)
    for part in plan.parts:
        record = outcome.records.get((part.label, part.configuration.seed))
        if names and record:
            print(f"Kept as {results.keep(record.id, names[part.label], replace=arguments.replace)}", file=sys.stderr)
    for (label, seed), reason in outcome.failures.items():
        print(f"{label}, seed {seed} failed: {reason}", file=sys.stderr)
    return 1 if outcome.failures else 0


def _results(arguments: argparse.Namespace) -> int:
    from kdengine.recipes import archive

    folders = {path.name: path for path in archive.folders()}
    for name in arguments.name:
        if name not in folders:
            raise unknown_name("report", name, folders)
    act = {"list": _listed, "verify": _verified, "rewrite": _rewritten}[arguments.action]
    return act([folders[name] for name in arguments.name or folders], arguments.json)


def _verified(folders: Sequence[Path], as_json: bool) -> int:
    """Compute again what reports say; 1 where anything is not as written, or cannot be read."""
    from kdengine.recipes import archive

    checks = {}
    for folder in folders:
        try:
            checks[folder.name] = check = archive.verify(folder)
        except KDError as error:
            checks[folder.name] = check = archive.Check(0, 0, [str(error)])
        if not as_json:
            print(f"{folder.name}: {check.networks} networks, {check.verdicts} verdicts, "
                  f"{'NOT all as written' if check.wrong else 'all as written'}.", flush=True)
            for each in check.wrong:
                print(f"  {each}")
    if as_json:
        print_json({name: dataclasses.asdict(check) for name, check in checks.items()})
    return 1 if any(check.wrong for check in checks.values()) else 0


def _rewritten(folders: Sequence[Path], as_json: bool) -> int:
    """Write the pages of reports again."""
    from kdengine.recipes import report

    pages = {folder.name: str(report.rewrite(folder)) for folder in folders}
    if as_json:
        print_json(pages)
    else:
        for page in pages.values():
            print(page)
    return 0


def _listed(folders: Sequence[Path], as_json: bool) -> int:
    """List reports, and what lab sheets print beside what they measured."""
    from kdengine.recipes import archive

    reports, printed, unreadable = [], [], {}
    for folder in folders:
        try:
            plan = archive.read(folder)[0].plan
        except KDError as error:
            unreadable[folder.name] = str(error)
            continue
        reports.append({"report": folder.name, "what was trained": plan.setting, "command": plan.command})
        printed += archive.printed(folder)
    if as_json:
        print_json({"reports": reports, "printed": printed, "unreadable": unreadable})
        return 0
    for each in reports:
        print(f"{each['report']}: {each['what was trained']}\n  {each['command']}")
    if printed:
        print("\nWhat lab sheets print, single runs, and what was measured here:\n")
        print_table(list(printed[0]), [list(each.values()) for each in printed])
    for name, reason in unreadable.items():
        print(shown(f"cannot be read: {name}: {reason}"), file=sys.stderr)
    return 0


def _slug(name: str, label: str) -> str:
    """What a recipe's network is kept as: the name, then the label with dashes, all in small letters."""
    return f"{name.lower()}-{re.sub(r'[^a-z0-9]+', '-', label.lower()).strip('-')}"
