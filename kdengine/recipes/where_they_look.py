"""Does a student look where its teacher looks, and which method makes it? Heat maps compared, beside controls."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kdengine import charts
from kdengine.colors import INDEPENDENT
from kdengine.measures import uncertainty
from kdengine.measures.uncertainty import Interval
from kdengine.recipes.columns import Column, test_images
from kdengine.recipes.parts import crd, race
from kdengine.recipes.recipe import SCHEDULE, Outcome, Recipe
from kdengine.runs.records import Record
from kdengine.runs.sweeps import Part

if TYPE_CHECKING:
    from altair.typing import ChartType
    from torch import Tensor

    from kdengine.data import DataSet

IMAGES = 300
"""The first test images, so many, whose heat maps are compared: a student takes seconds."""
_METHOD = "gradcam"
_MEASURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "correlation": ("Rank correlation with the teacher's heat maps", "{:.3f}".format),
    "overlap": ("Overlap with the teacher's hottest fifths", "{:.1%}".format),
}
_CONTROLS = {"center": "a bump in the center", "untrained": "an untrained student"}
"""Those that are the same for every student."""
_BOUNDS = {"correlation": (-1.0, 1.0), "inside": (0.0, 1.0)}
_EXPLANATIONS = "Explanations"
_PAIRS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "quick": ("resnet20", "resnet8", {"data": "digits", "epochs": 20}),
    # Drawn scenes: there it is known where the object lies.
    "lab": ("resnet20", "resnet8", {"data": "shapes", **SCHEDULE["lab"]}),
    "paper": ("vgg16_bn", "vgg11_bn", {"data": "cifar100", **SCHEDULE["paper"]}),
}

COLUMNS = {
    "correlation": Column("Heat-map correlation", "{:.3f}".format),
    "another_image_correlation": Column("Of another image", "{:.3f}".format),
    "overlap": Column("Heat-map overlap"),
}
"""Some of what `measure` measures of a student; a teacher has none of these."""


def _parts(scale: str) -> list[Part]:
    return race(scale, _PAIRS[scale], {
        INDEPENDENT: ("none", {}),
        "Logit matching": ("kd", {}),
        "Attention transfer": ("attention", {}),
        "CRD": crd(scale),
        # At `paper` the last map has 2x2 places, too few to say where.
        _EXPLANATIONS: ("e2kd", {"stage": 2} if scale == "paper" else {}),
    })


def measure(record: Record) -> dict[str, float]:
    """What a network's heat maps have in common with its teacher's, and where they lie.

    Of a student `correlation` and `overlap`, means over the images as in `explain.fidelity`, the first with the
    `_low` and `_high` of its 95% interval; `blank`, the share of the images that say nothing; and of each control both
    measures, as `center_overlap`: of a bump in the center (`center`), an untrained student (`untrained`), and its maps
    against the teacher's of another image (`another_image`). Of every network, where the data know where their objects
    lie, the share of its heat that is `inside` their boxes, with its interval; the same in the boxes of the other
    images, `elsewhere`; and the `area` of the boxes.
    """
    asked = record.configuration
    return dict(_measured(record.id, asked.teacher, asked.data, asked.image_size))


@functools.lru_cache(maxsize=256)
def _measured(run: str, teacher: str | None, spec: str, image_size: int | None) -> Mapping[str, float]:
    """See `measure`. Once a run: a page asks for all of them again whenever another one has finished."""
    from kdengine.devices import one_thread
    from kdengine.explain import fidelity, heat_on_objects
    from kdengine.runs import references

    network, data_set = references.open_reference(run), _data(spec, image_size)
    measured: dict[str, float] = {}
    if objects := heat_on_objects(network, data_set, _METHOD, IMAGES):
        inside = objects["inside"]
        measured |= {"inside": inside["mean"], "inside_low": inside["low"], "inside_high": inside["high"],
                     "elsewhere": inside["elsewhere"], "area": objects["area"]}
    if teacher is None:
        return measured
    images = data_set.test.images[:IMAGES]
    with one_thread():
        classes, theirs = _taught(teacher, spec, image_size)
        ours = fidelity.maps(network, images, classes, _METHOD)
        likeness = fidelity.alike(ours, theirs)
        controls = {
            "center": fidelity.alike(fidelity.center(*theirs.shape[1:]).expand_as(theirs), theirs),
            "untrained": fidelity.alike(fidelity.maps(fidelity.untrained(network), images, classes, _METHOD), theirs),
            "another_image": fidelity.alike(ours, theirs[fidelity.others(len(images))]),
        }
    sure = likeness.means["correlation"]
    return measured | {name: likeness.means[name].mean for name in _MEASURES} | {
        "correlation_low": sure.low, "correlation_high": sure.high, "blank": likeness.blank / len(images),
        **{f"{control}_{name}": each.means[name].mean for control, each in controls.items() for name in _MEASURES},
    }


@functools.lru_cache(maxsize=1)
def _data(spec: str, image_size: int | None) -> DataSet:
    from kdengine import data

    return data.load(spec, image_size=image_size)


@functools.lru_cache(maxsize=1)
def _taught(teacher: str, spec: str, image_size: int | None) -> tuple[Tensor, Tensor]:
    """The class [N] that a teacher names for each image, and its heat maps [N, h, w] of these."""
    from kdengine.explain import fidelity
    from kdengine.runs import references

    network, images = references.open_reference(teacher), _data(spec, image_size).test.images[:IMAGES]
    classes = fidelity.answers(network, images)
    return classes, fidelity.maps(network, images, classes, _METHOD)


def _students(outcome: Outcome) -> list[str]:
    return [part.label for part in outcome.parts if part.taught and outcome.of(part.label)]


def _by_seed(outcome: Outcome, label: str, name: str) -> dict[int, float]:
    return {seed: outcome.measures[label, seed][name]
            for seed in (record.configuration.seed for record in outcome.of(label))}


def _mean(outcome: Outcome, label: str, name: str) -> float:
    return statistics.fmean(_by_seed(outcome, label, name).values())


def _sure(outcome: Outcome, label: str, name: str) -> Interval:
    """Over the images where there is one seed, over the seeds where there are more: Student's t knows no bounds."""
    values = list(_by_seed(outcome, label, name).values())
    if len(values) == 1:
        return Interval(values[0], *(_mean(outcome, label, f"{name}_{bound}") for bound in ("low", "high")))
    sure, (lowest, highest) = uncertainty.mean_interval(values), _BOUNDS[name]
    return Interval(sure.mean, max(lowest, sure.low), min(highest, sure.high))


def _controls(outcome: Outcome, measure: str) -> dict[str, float]:
    first = _students(outcome)[0]
    return {title: _mean(outcome, first, f"{name}_{measure}") for name, title in _CONTROLS.items()}


def _figures(outcome: Outcome) -> dict[str, ChartType]:
    students = _students(outcome)
    if not students:
        return {}
    rows = [{"label": label} | _point(outcome, label, "correlation", "another_image_correlation") for label in students]
    lines = {name.capitalize(): value for name, value in _controls(outcome, "correlation").items()}
    drawn: dict[str, ChartType] = {
        "Rank correlation of the heat maps with the teacher's. The 95% intervals are over the seeds, of one seed over "
        "the images. A tick: the same maps against the teacher's of another image.":
        charts.beside_controls(rows, lines, "Rank correlation")}
    networks = [part.label for part in outcome.parts if outcome.of(part.label)]
    if _knows_objects(outcome):
        rows = [{"network": label, "method": "Grad-CAM"} | _point(outcome, label, "inside", "elsewhere")
                for label in networks]
        drawn["Share of the heat inside the box of the object that names the image. A tick: the same maps in the boxes "
              "of other images. The dashed line: what a map that prefers nothing gets."] = charts.on_objects(
            rows, _mean(outcome, networks[0], "area"), "Heat inside the object's box")
    return drawn


def _point(outcome: Outcome, label: str, name: str, elsewhere: str) -> dict[str, float]:
    sure = _sure(outcome, label, name)
    return {"mean": sure.mean, "low": sure.low, "high": sure.high, "elsewhere": _mean(outcome, label, elsewhere)}


def _knows_objects(outcome: Outcome) -> bool:
    return all("inside" in each for each in outcome.measures.values())


def _remarks(outcome: Outcome) -> list[str]:
    students = _students(outcome)
    if not students:
        return []
    likeness = [_likeness(outcome, students, measure) for measure in _MEASURES]
    return [*likeness, *_judged(outcome, students), *_objects(outcome), *_how(outcome, students)]


def _likeness(outcome: Outcome, students: list[str], measure: str) -> str:
    """Which students' maps are above every control in a measure, and what all of them reach."""
    title, text = _MEASURES[measure]
    reached, elsewhere = ({label: _mean(outcome, label, name) for label in students}
                          for name in (measure, f"another_image_{measure}"))
    controls = _controls(outcome, measure)
    above: list[str] = []
    others: list[str] = []
    for label in sorted(students, key=reached.__getitem__, reverse=True):
        side = above if reached[label] > max(*controls.values(), elsewhere[label]) else others
        side.append(f"{label} {text(reached[label])}")
    told = ", ".join(f"{name} {text(value)}" for name, value in controls.items())
    return (f"{title}: above every control {', '.join(above) or 'is no student'}. "
            + (f"The others: {', '.join(others)}. " if others else "")
            + f"The controls: {told}, the students' maps of another image {text(min(elsewhere.values()))} to "
              f"{text(max(elsewhere.values()))}.")


def _judged(outcome: Outcome, students: list[str]) -> list[str]:
    """Which methods bring the maps nearer to the teacher's than those of the independent student, by their seeds."""
    if outcome.missing or INDEPENDENT not in students:
        return []
    alone = _by_seed(outcome, INDEPENDENT, "correlation")
    pairs: dict[str, tuple[list[float], list[float]]] = {}
    for label in students:
        seeds = _by_seed(outcome, label, "correlation")
        both = sorted(seeds.keys() & alone.keys())
        if label != INDEPENDENT and len(both) >= uncertainty.SEEDS_FOR_A_METHOD:
            pairs[label] = [seeds[seed] for seed in both], [alone[seed] for seed in both]
    if not pairs:
        return [f"It takes {uncertainty.SEEDS_FOR_A_METHOD} seeds or more to say which method makes the heat maps "
                "alike."]
    adjusted = dict(zip(pairs, uncertainty.holm([uncertainty.paired_t(*pair) for pair in pairs.values()]), strict=True))
    sides: dict[str, list[str]] = {"More like the teacher's than": [], "Less like the teacher's than": [],
                                   "Not told apart from": []}
    more, less, neither = sides.values()
    for label, (ours, theirs) in pairs.items():
        nearer = more if statistics.fmean(ours) > statistics.fmean(theirs) else less
        side = nearer if adjusted[label] < uncertainty.ALPHA else neither
        side.append(f"{label} ({uncertainty.p_text(adjusted[label])})")
    return [f"{words} the independent student's heat maps (rank correlation, paired by seed, adjusted by Holm): "
            f"{', '.join(labels)}." for words, labels in sides.items() if labels]


def _objects(outcome: Outcome) -> list[str]:
    """How much of the heat lies on the object, where that is known."""
    if not _knows_objects(outcome):
        return []
    networks = [part.label for part in outcome.parts if outcome.of(part.label)]
    told = ", ".join(f"{label} {_mean(outcome, label, 'inside'):.1%} ({_mean(outcome, label, 'elsewhere'):.1%})"
                     for label in networks)
    return [f"Heat inside the object's box, and in brackets inside the boxes of other images: {told}. The boxes take "
            f"{_mean(outcome, networks[0], 'area'):.1%} of an image."]


def _how(outcome: Outcome, students: list[str]) -> list[str]:
    count = min(IMAGES, test_images(outcome.of(students[0])[0]))
    sentences = [f"Heat maps are Grad-CAM of the class that the teacher names, on the first {count:,} test images."]
    blank = [f"{label} {share:.1%}" for label in students if (share := _mean(outcome, label, "blank"))]
    if blank:
        sentences.append(f"Images where a map is blank count as 0: {', '.join(blank)}.")
    if _EXPLANATIONS in students:
        sentences.append(f"{_EXPLANATIONS} is trained to make maps of this kind alike, on the training images; no "
                         "other method here is trained on them.")
    return sentences


WHERE_THEY_LOOK = Recipe(
    name="where_they_look",
    title="Where students look",
    question="Does a student look where its teacher looks, and which method makes it?",
    parts=_parts,
    columns=COLUMNS,
    measure=measure,
    figures=_figures,
    leads=True,
    remarks=_remarks,
    gallery=True,
)
