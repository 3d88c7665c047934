"""The sections of a report that say how its numbers came about: what was equal, what it cost, and where its limits are.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

from kdengine import methods
from kdengine.configuration import Configuration
from kdengine.measures import uncertainty
from kdengine.recipes.columns import test_images
from kdengine.recipes.recipe import Outcome
from kdengine.runs import costs, diagnosis, first_stages, verdicts
from kdengine.runs.diagnosis import Diagnosis
from kdengine.runs.records import Record
from kdengine.runs.sweeps import Part

_OF_THE_METHOD = ("method", "hyperparameters", "teacher", "initial", "seed")
"""Fields of a configuration that students of one comparison may differ in, and what follows from them."""
_ALWAYS = ("data", "student", "epochs", "batch_size", "optimizer", "learning_rate", "momentum", "weight_decay",
           "schedule")
"""Fields of a configuration that a report tells even where they are as usual."""
_USUAL = dataclasses.asdict(Configuration())
_PUBLISHED_EPOCHS = 240
NO_GAIN = ("Network and change", "Cause", "What was measured", "What may be tried")
"""The titles of `no_gain`."""


def trained(outcome: Outcome) -> str:
    """When its networks were trained, first to last."""
    days = [_day(each) for each in sorted(record.created for record in outcome.records.values())]
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def diagnoses(outcome: Outcome) -> dict[str, Diagnosis]:
    """Why the judged networks that have gained nothing have not, by label."""
    found = {}
    for part in outcome.parts:
        records = outcome.of(part.label)
        if not part.taught or not records or not outcome.plan.recipe.judges(outcome, part.label):
            continue
        each = diagnosis.diagnose([record.id for record in records], outcome.everything(), outcome.source.history,
                                  outcome.source.predictions)
        if each is not None and not each.gained:
            found[part.label] = each
    return found


def no_gain(outcome: Outcome) -> list[list[str]]:
    """The table of `diagnoses`, a row a finding; titles in NO_GAIN."""
    cells = [[part.label, "–", "No teacher takes part in it.", "–"] for part in outcome.parts if part.taught
             and part.configuration.method != "none" and outcome.of(part.label)
             and not methods.find(part.configuration.method).needs_teacher]
    for label, each in diagnoses(outcome).items():
        change = f"{label}, {100 * each.change:+.2f} points"
        cells += [[change, diagnosis.CAUSES[finding.cause], finding.measured, finding.advice]
                  for finding in each.findings] or [[change, "–", "None of the usual causes was measured here.", "–"]]
    return cells


def equal_and_different(outcome: Outcome) -> list[list[str]]:
    """What all students have in common, and what each has of its own."""
    students = [part for part in outcome.parts if part.taught and outcome.of(part.label)]
    if not students:
        return []
    values = {part.label: _comparable(part) for part in students}
    first = next(iter(values.values()))
    different = [name for name in first if len({repr(each[name]) for each in values.values()}) > 1]
    equal = [f"{name.replace('_', ' ')} {_plain(value)}" for name, value in first.items()
             if name not in different and (name in _ALWAYS or value != _USUAL[name])]
    seeds = sorted({record.configuration.seed for part in students for record in outcome.of(part.label)})
    same = "first weights, order and views of the images"
    rows = [["Equal for every student", ", ".join(equal)],
            ["Equal for every seed", f"{same}; seeds {', '.join(map(str, seeds))}"],
            ["Different", "the method and its hyperparameters" if not different else
             f"the method and its hyperparameters; {', '.join(name.replace('_', ' ') for name in different)}"]]
    rows += [[f"{name.replace('_', ' ').capitalize()}", "; ".join(
        f"{label}: {_plain(each[name])}" for label, each in values.items())] for name in different]
    return rows + _computed(students, outcome)


def facts(outcome: Outcome) -> dict[str, list[list[str]]]:
    """What it ran on, on which pictures, with which settings, and what that cost."""
    record = next(iter(outcome.records.values()))
    students = [each for part in outcome.parts if part.taught for each in outcome.of(part.label)]
    about = (students or [record])[0]
    machine = record.environment
    each = about.environment.get("student_threads")
    threads = f"{machine['threads']}{f', {each} for each student, several at once' if each else ''}"
    return {
        "Settings": [[part.label, ", ".join(_settings(part))] for part in outcome.parts],
        "Cost": [[f"{label}, seed {seed}", _cost(each)] for (label, seed), each in outcome.records.items()],
        "Data": [[key.replace("_", " "), str(about.data[key])] for key in
                 ("title", "size", "train", "labelled", "validation", "test", "views", "digest")],
        "Hardware and software": [
            ["Device", f"{machine['device_name']} ({machine['device']})"], ["Threads", threads],
            ["System", f"{machine['system']}, Python {machine['python']}"],
            *([name, number] for name, number in machine["packages"].items()),
            *([["Commit", machine["commit"]]] if machine["commit"] else []),
        ],
    }


def limits(outcome: Outcome) -> list[str]:
    """What the numbers cannot say, in sentences."""
    record = next(iter(outcome.records.values()))
    configuration, images = record.configuration, test_images(record)
    seeds = max((len(outcome.of(part.label)) for part in outcome.parts if part.taught), default=1)
    sentences = ["All numbers are of the last epoch; none was chosen by the test images."]
    if seeds < uncertainty.SEEDS_FOR_A_METHOD:
        sentences.append(f"{'One seed' if seeds == 1 else 'Two seeds'}: the verdicts are about these very networks. "
                         "Another seed may give other ones; three or more speak of methods.")
    if record.data.get("task") != "segmentation":
        half = uncertainty.share_interval(0.9, images)
        sentences.append(f"The test split has {images:,} images: an accuracy near 90% is known to about "
                         f"±{50 * (half.high - half.low):.1f} points.")
    if configuration.share < 1:
        sentences.append(f"Only {configuration.share:.0%} of the training images were used.")
    if configuration.epochs < _PUBLISHED_EPOCHS:
        sentences.append(f"Published comparisons train for about {_PUBLISHED_EPOCHS} epochs, and rank methods after "
                         f"those; here it was {configuration.epochs}.")
    return [*sentences, "One data set and these networks: others may give another answer."]


def _day(seconds: float) -> str:
    then = time.gmtime(seconds)
    return f"{then.tm_mday} {time.strftime('%B %Y', then)}"


def _comparable(part: Part) -> dict[str, Any]:
    """The configuration of a student, without what the comparison is about."""
    return {name: value for name, value in dataclasses.asdict(part.configuration).items()
            if name not in _OF_THE_METHOD}


def _plain(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _computed(students: Sequence[Part], outcome: Outcome) -> list[list[str]]:
    """How students were computed differently, where they were."""
    first, *others = [record for part in students for record in outcome.of(part.label)]
    differences = dict.fromkeys(text for each in others if (text := verdicts.execution_difference(first, each)))
    return [["Computed differently", "; ".join(differences)]] if differences else []


def _settings(part: Part) -> Iterator[str]:
    config = part.configuration
    chosen = methods.method(config.method, **config.hyperparameters)
    fields = ", ".join(f"{key} {value}" for key, value in dataclasses.asdict(chosen).items())
    yield f"{config.student}, {config.method} ({fields})" if fields else f"{config.student}, {config.method}"
    if part.taught and chosen.needs_teacher:
        yield f"taught by {part.teacher or config.teacher}"
    if part.start:
        yield f"starting from {part.start}"
    if config.labels_per_class:
        yield f"{config.labels_per_class} labels per class"
    if config.labelled_images:
        yield f"masks of {config.labelled_images:,} images"
    if config.share < 1:
        yield f"{config.share:.0%} of the training images"
    if config.without_class is not None:
        yield f"without class {config.without_class}"
    if config.image_size:
        yield f"images of {config.image_size} pixels"
    if config.pretrained:
        yield "starting from published weights"
    if config.views:
        yield f"views {config.views}"
    first = first_stages.first_epochs(config) if chosen.first_stage else 0
    epochs = f"{config.epochs} epoch{'s' if config.epochs > 1 else ''}"
    yield f"{epochs} after {first} of its first stage" if first else epochs
    yield from (f"batch {config.batch_size}", f"{config.optimizer} {config.learning_rate:g}",
                f"momentum {config.momentum:g}", config.schedule, f"weight decay {config.weight_decay:g}")


def _cost(record: Record) -> str:
    """Seconds of its own steps, and of the whole group where several trained side by side; speed, size, memory."""
    result = record.result
    group, whole = result["side_by_side"], f"{result['training_seconds']:,.0f} s"
    if group == 1:
        seconds = whole
    elif "own_seconds" in result:
        seconds = f"{result['own_seconds']:,.0f} s of its own steps; {whole} for the group of {group}"
    else:
        seconds = f"{whole} with {group - 1} others"
    peak, whose = result.get("peak_memory"), costs.memory_of(result)
    memory = f"; memory at most {peak['megabytes']:,.0f} MB ({whose})" if peak else ""
    return (f"{seconds}, {result['images_per_second']:,.0f} images a second; "
            f"{result['flops'] / 1e6:,.1f} MFLOPs (2 × multiply-adds of one forward of one image), "
            f"weights {result['megabytes']:.2f} MB{memory}")
