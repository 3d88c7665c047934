"""Heat-map fidelity as the command `evaluate` measures and prints it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kdengine.cli.printing import print_table
from kdengine.errors import KDError
from kdengine.measures.uncertainty import CONFIDENCE, Interval, p_text
from kdengine.runs.fidelity import CHECKED_IMAGES, MEASURES, MOST_IMAGES, HeatFidelity, heat_fidelity

if TYPE_CHECKING:
    from kdengine.data import DataSet
    from kdengine.explain.fidelity import Change, Likeness
    from kdengine.explain.map_checks import Area, MapChecks


def add_heat_fidelity(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("--heat-fidelity", metavar="METHOD", nargs="?", const="gradcam",
                          help="also measure how much its heat maps are like the teacher's: gradcam (the default), ...")
    evaluate.add_argument("--images", type=int, metavar="N",
                          help=f"how many test images --heat-fidelity takes (all, at most {MOST_IMAGES:,})")


def measure(
    arguments: argparse.Namespace, teacher: str | None, data: DataSet, device: str
) -> HeatFidelity | None:
    """What `--heat-fidelity` asks for; None where it does not. Raises KDError for options that need another.

    teacher: its reference, None where there is none.
    """
    if not arguments.heat_fidelity:
        if arguments.images is not None:
            raise KDError("--images says how many images --heat-fidelity takes. Give both, or neither.")
        return None
    if teacher is None:
        raise KDError(f"--heat-fidelity holds heat maps against the teacher's, and none is known of "
                      f"{arguments.checkpoint}. Name it with --teacher.")
    count = MOST_IMAGES if arguments.images is None else arguments.images
    return heat_fidelity(arguments.checkpoint, teacher, data, method=arguments.heat_fidelity, count=count,
                         device=device)


def print_fidelity(measured: HeatFidelity) -> None:
    """As tables: likeness to the teacher's maps, the changes against each control, and what the maps are worth."""
    fidelity = measured.fidelity
    height, width = fidelity.size
    maps = {
        "student": f"{measured.student} (student)",
        "independent": f"{measured.independent or 'none there'} (independent student)",
        "retrained": f"{measured.retrained or 'none there'} (teacher of another seed)",
        "untrained": "untrained student",
        "another_image": "student, against another image's map",
        "center": "center of the image",
    }
    print(f"\n{fidelity.method} of the first {fidelity.n:,} test images, {height} x {width} positions, for the class "
          f"that {measured.teacher} names.\nHow much each map is like the teacher's: mean over the images and its "
          f"{CONFIDENCE:.0%} interval. A map that prefers no position counts as 0.\n")
    rows = {"student": fidelity.student} | fidelity.controls
    print_table(["maps", *MEASURES.values(), "no position"],
                [[maps[name], *_likeness(likeness)] for name, likeness in rows.items()])
    print(f"\nThe student less each of these, image by image (corrected by Holm over the {len(MEASURES)} measures):\n")
    print_table(["maps", *MEASURES.values()],
                [[maps[name], *_changes(gains)] for name, gains in fidelity.gains.items()])
    _print_checks(measured)


def _print_checks(measured: HeatFidelity) -> None:
    names = {"student": measured.student, "teacher": measured.teacher}
    count = min(CHECKED_IMAGES, measured.fidelity.n)
    print(f"\nEach network's maps of its own answers, first {count} images. Rank correlation with the map before, once "
          "all from the head down to this stage is untrained:\n")
    for role, checks in measured.checks.items():
        print_table([f"{names[role]}, down to", MEASURES["correlation"]],
                    [[part, _interval(likeness.means["correlation"])] for part, likeness in checks.randomized.items()])
        print()
    print("Area under the answer's probability, the hottest pixels hidden (deletion, lower is better) or shown "
          "(insertion, higher is better) first:\n")
    print_table(["network", "curve", "area", "cells shuffled", "change"],
                [[names[role], curve, *_area(area)]
                 for role, checks in measured.checks.items() for curve, area in _areas(checks).items()])


def _areas(checks: MapChecks) -> dict[str, Area]:
    return {"deletion": checks.deletion, "insertion": checks.insertion}


def _area(area: Area) -> list[str]:
    return [_interval(area.mean), _interval(area.shuffled), _change(area.change)]


def _likeness(likeness: Likeness | None) -> list[str]:
    if likeness is None:
        return ["–"] * (len(MEASURES) + 1)
    return [*(_interval(likeness.means[measure]) for measure in MEASURES), f"{likeness.blank:,}"]


def _changes(gains: Mapping[str, Change]) -> list[str]:
    return [_change(gains[measure]) for measure in MEASURES]


def _change(change: Change) -> str:
    sure = change.interval
    return f"{sure.mean:+.3f} [{sure.low:+.3f}, {sure.high:+.3f}] {p_text(change.p)}"


def _interval(sure: Interval) -> str:
    return f"{sure.mean:.3f} [{sure.low:.3f}, {sure.high:.3f}]"
