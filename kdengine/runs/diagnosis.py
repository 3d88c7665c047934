"""Why there is no gain: what records, histories and stored answers say about a student that its teacher did not help.

Each cause is measured, and none is guessed: what cannot be computed from what is stored is left out. Needs no torch.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdengine.measures import uncertainty
from kdengine.runs import results, verdicts
from kdengine.runs.records import Record, headline, headline_name
from kdengine.runs.verdicts import Predictions, Verdict

Histories = Callable[[str], Sequence[Mapping[str, Any]]]
"""A result's rows, one an epoch, by its name."""

CAUSES: dict[str, str] = {
    "weak_teacher": "The teacher is no better",
    "certain_teacher": "The teacher is certain of everything",
    "unmatched": "The student did not come closer to its teacher",
    "setting": "Another setting was better on validation",
    "labels": "Labels are plentiful",
    "epochs": "The student was still learning",
    "noise": "The difference is within chance",
}
"""By name, what each cause is called. In the order in which they are told."""
_CERTAIN = 0.05
"""Of the highest entropy there is: a teacher below has little to tell besides the label."""
_LEFT = 0.75
"""Of a term of the first epoch: where more is left at the end, the student has hardly matched it."""
_FARTHER = 1.05
"""Times the independent student's divergence: what is above is farther from the teacher, not only as far."""
_FEW_EPOCHS = 4
_ONE_SIDED = 1.645
"""Standard errors that a rise must have to be more than chance, at 95%."""


@dataclass(frozen=True)
class Finding:
    """A cause, by its name in CAUSES; what was measured; and what may be tried. Sentences."""

    cause: str
    measured: str
    advice: str


@dataclass(frozen=True)
class Diagnosis:
    """Why students that are equal but for the seed have gained nothing.

    change: of the headline, the mean over the seeds, against their independent students. gained, lost: whether it is
    above or below 0 and more than chance; where it is gained there are no findings. findings: in the order of CAUSES.
    """

    headline: str
    change: float
    gained: bool
    lost: bool
    findings: tuple[Finding, ...]

    @property
    def text(self) -> str:
        """The change in a sentence or two, to stand before the findings."""
        change = f"{100 * self.change:+.2f} points of test {self.headline} against the independent student"
        if self.gained:
            return f"{change}: more than chance."
        if not self.findings:
            return f"{change}. None of the usual causes was measured here."
        if self.lost:
            return (f"{change}: a loss, more than chance. What was measured says why little can be gained; what is "
                    "lost may have other causes too.")
        return f"{change}. What was measured that bears on it:"


@dataclass(frozen=True)
class _Case:
    """What is asked about: results by seed beside their independent twins, and where what is stored of them lies."""

    pairs: Sequence[tuple[str, str]]
    among: Mapping[str, Record]
    history: Histories
    predictions: Predictions
    verdict: Verdict

    @property
    def records(self) -> list[Record]:
        return [self.among[ours] for ours, _ in self.pairs]

    @property
    def first(self) -> Record:
        return self.records[0]

    @property
    def alone(self) -> list[Record]:
        return [self.among[theirs] for _, theirs in self.pairs]

    @property
    def headline(self) -> str:
        return headline_name(self.first.result["test"])

    @property
    def all_labelled(self) -> bool:
        return self.first.data["labelled"] == self.first.data["train"]


def diagnose(
    names: Sequence[str], among: Mapping[str, Record] | None = None, history: Histories = results.history,
    predictions: Predictions = results.predictions,
) -> Diagnosis | None:
    """Why these results, equal but for the seed, have gained nothing.

    among: all results there are, by name; None for this machine's. None where nothing can be said: they had no teacher
    or do not listen to it, or there is no independent student to hold them against.
    """
    among = results.finished() if among is None else among
    twins = verdicts.independent_twins(among)
    pairs = [(name, twins[name]) for name in names if name in twins and among[name].teacher]
    if not pairs or not _listens(among[pairs[0][0]]):
        return None
    verdict, = verdicts.of_settings([pairs], among, predictions)
    case = _Case(pairs, among, history, predictions, verdict)
    beyond = not _by_chance(verdict)
    gained, lost = beyond and verdict.change > 0, beyond and verdict.change < 0
    findings = () if gained else tuple(finding for look in _LOOKS for finding in look(case))
    return Diagnosis(case.headline, verdict.change, gained, lost, findings)


def _listens(record: Record) -> bool:
    from kdengine import methods

    return methods.find(record.configuration.method).needs_teacher


def _by_chance(verdict: Verdict) -> bool:
    """Whether the interval of a change, at the confidence at which it is judged, holds 0; or is not known."""
    return verdict.interval is None or verdict.interval[0] <= 0 <= verdict.interval[1]


def _weak_teacher(case: _Case) -> Iterator[Finding]:
    facts = case.first.teacher
    assert facts is not None  # see `diagnose`
    theirs, alone = headline(facts["test"]), _mean_headline(case.alone)
    if theirs <= alone:
        yield Finding("weak_teacher", f"The teacher scores {theirs:.2%} on the test images, the independent student "
                      f"{alone:.2%}: its answers hold a student back.",
                      "Train the teacher longer or on more images, or take a better one.")


def _certain_teacher(case: _Case) -> Iterator[Finding]:
    """Where every image has its label, an answer without doubt says what the label says."""
    reference, temperature = case.first.configuration.teacher, _hyperparameters(case.first).get("temperature")
    if not case.all_labelled or temperature is None or reference is None or reference not in case.among:
        return
    stored = case.predictions(reference)
    if stored is None or "logits" not in stored:
        return
    entropy, most = _entropy(stored["logits"], temperature), math.log(stored["logits"].shape[1])
    if entropy < _CERTAIN * most:
        yield Finding("certain_teacher", f"At T = {temperature:g} the teacher's answers have an entropy of "
                      f"{entropy:.3f} nats, of {most:.2f} possible: they say what the labels say already.",
                      "Raise T, or train the teacher for fewer epochs.")


def _unmatched(case: _Case) -> Iterator[Finding]:
    """The capacity gap: the student cannot follow, on what it was trained to match or in its answers."""
    for term, (start, end) in _matching_terms(case).items():
        if start > 0 and end > _LEFT * start:
            named = term.replace("_", " ")
            yield Finding("unmatched", f"On the training images the term \"{named}\" of the loss was {start:.3g} in "
                          f"the first epoch and is {end:.3g} in the last: the student has hardly matched what it was "
                          "asked to match.",
                          "Take a larger student or a smaller teacher, a lower learning rate, or another method.")
            return
    ours, theirs = _mean_kl(case.records), _mean_kl(case.alone)
    if ours is not None and theirs is not None and ours >= theirs:
        where = "farther from" if ours > _FARTHER * theirs else "no closer to"
        yield Finding("unmatched", f"KL to the teacher on the test images is {ours:.3f} nats, the independent "
                      f"student's {theirs:.3f}: the method brought the student {where} its teacher.",
                      "Try another T or another weight of the teacher's part of the loss, train longer, or take a "
                      "larger student.")


def _setting(case: _Case) -> Iterator[Finding]:
    """Whether the same method with other hyperparameters, all else equal, was better on the validation images."""
    own, images = _validation(case.records), case.first.data["validation"]
    others: dict[str, list[Record]] = {}
    for record in case.among.values():
        if _equal_but_for_hyperparameters(record, case.first):
            others.setdefault(_said(record, case.first), []).append(record)
    if not others or not images:
        return
    best = max(others, key=lambda setting: _validation(others[setting]))
    score = _validation(others[best])
    if score - own > _ONE_SIDED * _standard_error(score, images) * math.sqrt(2):
        yield Finding("setting", f"With {best} the validation {case.headline} was {score:.2%}, with "
                      f"{_said(case.first, others[best][0])} it is {own:.2%}.", f"Take {best}.")


def _labels(case: _Case) -> Iterator[Finding]:
    if case.all_labelled and case.first.configuration.without_class is None:
        masks = case.headline == "mIoU"
        label = "mask" if masks else "label"
        yield Finding("labels", f"Each of the {case.first.data['train']:,} training images has its {label}, which "
                      "leaves a teacher less to add.",
                      f"Try fewer {label}s ({'--labelled-images' if masks else '--labels-per-class'}).")


def _epochs(case: _Case) -> Iterator[Finding]:
    """Whether validation rose by more than chance in the last quarter of the epochs, in the first seed."""
    scores = [headline(row["validation"]) for row in case.history(case.pairs[0][0])]
    count = len(scores)
    advice = "Train for more epochs."
    if 0 < count < _FEW_EPOCHS:
        yield Finding("epochs", f"It was trained for {count} epoch{'s' if count > 1 else ''}: too few to tell where it "
                      "would end.", advice)
    elif count and (images := case.first.data["validation"]):
        before, last = scores[-1 - count // 4], scores[-1]
        if last - before > _ONE_SIDED * _standard_error(last, images):
            yield Finding("epochs", f"In the last quarter of its epochs the validation {case.headline} rose from "
                          f"{before:.2%} to {last:.2%}.", advice)


def _noise(case: _Case) -> Iterator[Finding]:
    if not _by_chance(case.verdict):
        return
    changes = [headline(ours.result["test"]) - headline(theirs.result["test"])
               for ours, theirs in zip(case.records, case.alone, strict=True)]
    count = len(changes)
    if count == 1:
        interval = case.verdict.interval
        between = "" if interval is None else f" (interval {100 * interval[0]:+.2f} to {100 * interval[1]:+.2f})"
        yield Finding("noise", f"One seed, {100 * changes[0]:+.2f} points{between}: these images do not tell the two "
                      "networks apart.",
                      f"Train {uncertainty.SEEDS_FOR_A_METHOD} seeds or more: only these say what a method does.")
        return
    change, spread, compared = statistics.fmean(changes), statistics.stdev(changes), case.verdict.compared
    needed = uncertainty.seeds_needed(change, spread, uncertainty.ALPHA / max(1, compared))
    among = f" while {compared} are compared at once" if compared > 1 else ""
    yield Finding("noise", f"Over {count} seeds the change is {100 * change:+.2f} points, with a standard deviation of "
                  f"{100 * spread:.2f} from seed to seed.",
                  f"To tell a change of this size from chance{among} takes "
                  f"{'too many' if needed is None else f'about {needed:,}'} seeds, in four of five such experiments.")


_LOOKS: Sequence[Callable[[_Case], Iterator[Finding]]] = (
    _weak_teacher, _certain_teacher, _unmatched, _setting, _labels, _epochs, _noise)


def _mean_headline(records: Sequence[Record]) -> float:
    return statistics.fmean(headline(record.result["test"]) for record in records)


def _mean_kl(records: Sequence[Record]) -> float | None:
    values = [value for record in records if (value := record.result["test"].get("kl_to_teacher")) is not None]
    return statistics.fmean(values) if len(values) == len(records) else None


def _validation(records: Sequence[Record]) -> float:
    return statistics.fmean(headline(record.result["validation"]) for record in records)


def _matching_terms(case: _Case) -> dict[str, tuple[float, float]]:
    """The terms of the training loss besides cross-entropy, in the first and in the last epoch, of the first seed."""
    rows = case.history(case.pairs[0][0])
    if len(rows) < 2:
        return {}
    start, end = rows[0]["terms"], rows[-1]["terms"]
    return {term: (start[term], end[term]) for term in end
            if term != "cross_entropy" and start.get(term) is not None and end[term] is not None}


def _hyperparameters(record: Record) -> dict[str, Any]:
    """All of a result's method, those it did not name too."""
    from kdengine import methods

    return dataclasses.asdict(methods.method(record.configuration.method, **record.configuration.hyperparameters))


def _equal_but_for_hyperparameters(record: Record, other: Record) -> bool:
    """Whether two results differ in hyperparameters of their method, and at most in the seed besides."""
    same = (record.configuration.method == other.configuration.method
            and record.configuration.teacher == other.configuration.teacher
            and verdicts.setting(record)[0] == verdicts.setting(other)[0])
    return same and _hyperparameters(record) != _hyperparameters(other)


def _said(record: Record, other: Record) -> str:
    """The hyperparameters in which a result differs from another, as people read them."""
    ours, theirs = _hyperparameters(record), _hyperparameters(other)
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else
                     f"{name.replace('_', ' ')} {value}"
                     for name, value in ours.items() if value != theirs[name])


def _entropy(logits: Any, temperature: float) -> float:
    """Mean entropy in nats of softmax(logits [N, C] / temperature)."""
    import numpy
    from scipy.special import log_softmax

    log_p = log_softmax(logits.astype(float) / temperature, axis=1)
    return float(-(numpy.exp(log_p) * log_p).sum(axis=1).mean())


def _standard_error(share: float, count: int) -> float:
    """Of a share of so many images; of an mIoU it is a rough measure."""
    return math.sqrt(share * (1 - share) / count)
