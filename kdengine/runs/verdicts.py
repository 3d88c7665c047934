"""What may be said of a network, or of a method, against its independent student: the same wherever it is said.

All that is held against one and the same independent student is one family of comparisons: Holm's correction is over
all of it, whatever part of it a table shows, and an interval has the confidence at which its comparison is judged.
One seed says whether two networks differ on these images, three or more whether a method does. Functions of records and
stored predictions; needs no torch.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdengine.measures import uncertainty
from kdengine.measures.uncertainty import Interval
from kdengine.runs.records import STUDENT, Record, headline

Predictions = Callable[[str], "dict[str, Any] | None"]
"""A result's stored predictions by its name, as `kdengine.runs.results.predictions` gives them; or `answer` [N] for
logits."""
Pairs = Sequence[tuple[str, str]]
"""Names of results, the one to judge before the one it is held against."""

TOO_FEW = "two seeds say too little"
"""In place of a verdict, where there are more seeds than one and fewer than a method takes."""
_METHOD_ALONE = ("method", "hyperparameters", "teacher", "initial")
_HOW_IT_RAN = ("precision", "device", "threads", "compile")
_Method = tuple[str, frozenset[tuple[str, Any]], str | None]
"""A method, its hyperparameters and its teacher."""


@dataclass(frozen=True)
class Verdict:
    """What is known of a change of the headline, and what may be said of it.

    interval: of the change, at the confidence at which Holm's procedure judges it; None where predictions are gone, or
    all seeds gained the same. text: None where nothing can be said. compared: how many its correction is over.
    """

    change: float
    interval: tuple[float, float] | None
    text: str | None
    compared: int


@dataclass(frozen=True)
class _Comparison:
    p: float
    interval: Callable[[float], Interval | None]
    """By confidence."""


def independent_twins(among: Mapping[str, Record]) -> dict[str, str]:
    """By name, the `none` run that is equal in everything but the method and the teacher it does not listen to.

    Same data, to the digest, and same configuration; of several the one trained beside it, else one that ran in the
    same way, else the first.
    """
    alone: dict[str, list[str]] = {}
    for name, record in among.items():
        if record.configuration.method == "none" and record.configuration.initial is None:
            alone.setdefault(_family(record), []).append(name)
    twins = {}
    for name, record in among.items():
        if record.configuration.method != "none" and (others := alone.get(_family(record))):
            twins[name] = min(others, key=lambda each: (
                among[each].group != record.group, execution_difference(record, among[each]) is not None))
    return twins


def setting(record: Record) -> tuple[str, _Method]:
    """Equal for runs that are equal but for the seed."""
    return _family(record, seed=False), _method(record)


def relatives(names: Sequence[str], among: Mapping[str, Record]) -> list[str]:
    """The results of one family with these, whatever their seed: these, their twins, and all held against the twins."""
    families = {_family(among[name], seed=False) for name in names}
    return [name for name, record in among.items() if _family(record, seed=False) in families]


def execution_difference(record: Record, other: Record) -> str | None:
    """How two runs were computed differently, beyond what was asked of them; None where no difference is known.

    Such runs differ in their last digits, and after some epochs visibly, for no reason of their methods.
    """
    ours, theirs = (_execution(each) for each in (record, other))
    differences = [f"{ours[what]} against {theirs[what]}" for what in ours
                   if ours[what] is not None and theirs[what] is not None and ours[what] != theirs[what]]
    return ", ".join(differences) or None


def of_networks(
    names: Sequence[str], among: Mapping[str, Record], predictions: Predictions
) -> dict[str, Verdict]:
    """Each of these results against its independent twin, where there is one: do the two differ on these images?

    McNemar's test for accuracies, randomisation for mIoU. The family is everything `among` that is held against that
    twin's configuration; copies of one network count once.
    """
    twins = independent_twins(among)
    families: dict[str, dict[str, list[str]]] = {}
    wanted = {_family(among[name]) for name in names if name in twins}
    for name in twins:
        record = among[name]
        if (key := _family(record)) in wanted:
            families.setdefault(key, {}).setdefault(record.files.get(STUDENT, record.id), []).append(name)
    verdicts: dict[str, Verdict] = {}
    for networks in families.values():
        pairs = [(copies[0], twins[copies[0]]) for copies in networks.values()]
        for copies, verdict in zip(networks.values(), of_pairs(pairs, among, predictions), strict=True):
            verdicts |= dict.fromkeys(copies, verdict)
    return {name: verdicts[name] for name in names if name in verdicts}


def of_pairs(pairs: Pairs, among: Mapping[str, Record], predictions: Predictions) -> list[Verdict]:
    """Whether the two networks of each pair of results differ on these images; these pairs are the family."""
    compared = [_compare(predictions(first), predictions(second)) for first, second in pairs]
    possible = [each for each in compared if each is not None]
    judged = iter(_judged(possible))
    verdicts = []
    for (first, second), each in zip(pairs, compared, strict=True):
        ours, theirs = among[first], among[second]
        change = headline(ours.result["test"]) - headline(theirs.result["test"])
        interval, text = None, None
        if each is not None:
            p, interval = next(judged)
            text = f"{'differ' if p < uncertainty.ALPHA else 'not distinguishable'} ({uncertainty.p_text(p)})"
            if otherwise := execution_difference(ours, theirs):
                text += f"; trained otherwise: {otherwise}"
        verdicts.append(Verdict(change, interval, text, len(possible)))
    return verdicts


def of_methods(methods: Sequence[Pairs], among: Mapping[str, Record]) -> list[Verdict]:
    """Whether each method is better than its independent student.

    A method is given as its results beside their independent twins: a pair a seed, three pairs or more. The family is
    every method `among` that is held against that independent student with so many seeds.
    """
    by_family: dict[str, dict[_Method, dict[int, tuple[str, str]]]] = {}
    for pair in independent_twins(among).items():
        record = among[pair[0]]
        seeds = by_family.setdefault(_family(record, seed=False), {}).setdefault(_method(record), {})
        seeds.setdefault(record.configuration.seed, pair)
    families: dict[str, dict[_Method, Pairs]] = {
        family: {method: list(seeds.values()) for method, seeds in each.items()
                 if len(seeds) >= uncertainty.SEEDS_FOR_A_METHOD}
        for family, each in by_family.items()
    }
    places = []
    for pairs in methods:
        record = among[pairs[0][0]]
        family, method = _family(record, seed=False), _method(record)
        families.setdefault(family, {})[method] = pairs  # those seeds that the asker speaks of
        places.append((family, method))
    judged: dict[tuple[str, _Method], Verdict] = {}
    for family in dict.fromkeys(family for family, _ in places):
        verdicts = of_seeds(list(families[family].values()), among)
        judged |= {(family, method): verdict for method, verdict in zip(families[family], verdicts, strict=True)}
    return [judged[place] for place in places]


def of_seeds(compared: Sequence[Pairs], among: Mapping[str, Record]) -> list[Verdict]:
    """Whether the first of each comparison is better; these comparisons are the family.

    A comparison is given as its pairs of results of one seed, three pairs or more. Paired t-test over the seeds.
    """
    sides = [tuple([headline(among[name].result["test"]) for name in side] for side in zip(*pairs, strict=True))
             for pairs in compared]
    verdicts = []
    for (ours, theirs), (p, interval) in zip(sides, _judged([_compare_seeds(*each) for each in sides]), strict=True):
        change = statistics.fmean(ours) - statistics.fmean(theirs)
        word = "not distinguishable"
        if p < uncertainty.ALPHA:
            word = "better" if change > 0 else "worse"
        verdicts.append(Verdict(change, interval, f"{word} ({uncertainty.p_text(p)})", len(compared)))
    return verdicts


def of_settings(compared: Sequence[Pairs], among: Mapping[str, Record], predictions: Predictions) -> list[Verdict]:
    """What may be said of runs that are equal but for the seed, each beside its independent twin: a pair a seed.

    One seed speaks of two networks, see `of_networks`; three or more of the method, see `of_methods`; two of neither.
    """
    several = [pairs for pairs in compared if len(pairs) >= uncertainty.SEEDS_FOR_A_METHOD]
    of_several = iter(of_methods(several, among))
    of_single = of_networks([pairs[0][0] for pairs in compared if len(pairs) == 1], among, predictions)
    judged = []
    for pairs in compared:
        if len(pairs) == 1:
            judged.append(of_single[pairs[0][0]])
        elif len(pairs) >= uncertainty.SEEDS_FOR_A_METHOD:
            judged.append(next(of_several))
        else:
            changes = [headline(among[ours].result["test"]) - headline(among[theirs].result["test"])
                       for ours, theirs in pairs]
            sure = uncertainty.mean_interval(changes)
            judged.append(Verdict(sure.mean, (sure.low, sure.high), TOO_FEW, len(compared)))
    return judged


def right(predictions: Mapping[str, Any]) -> Any:
    """bool [N]: which test images stored predictions answer rightly."""
    return answers(predictions) == predictions["target"]


def answers(predictions: Mapping[str, Any]) -> Any:
    """Whole numbers [N]: the class that stored predictions name for each test image."""
    return predictions["answer"] if "answer" in predictions else predictions["logits"].argmax(axis=1)


def _judged(compared: Sequence[_Comparison]) -> list[tuple[float, tuple[float, float] | None]]:
    """The adjusted p-value and the interval of each comparison, both of Holm's procedure over all of them."""
    p_values = [each.p for each in compared]
    adjusted, levels = uncertainty.holm(p_values), uncertainty.holm_levels(p_values)
    intervals = [each.interval(level) for each, level in zip(compared, levels, strict=True)]
    return [(p, None if sure is None else (sure.low, sure.high)) for p, sure in zip(adjusted, intervals, strict=True)]


def _compare(ours: dict[str, Any] | None, theirs: dict[str, Any] | None) -> _Comparison | None:
    """Two networks on the same test images; None where predictions are gone, or of other images."""
    if ours is None or theirs is None or ours.keys() != theirs.keys():
        return None
    if "confusion" in ours:
        matrices = ours["confusion"], theirs["confusion"]
        if matrices[0].shape != matrices[1].shape:
            return None
        return _Comparison(uncertainty.mean_iou_test(*matrices),
                           lambda level: uncertainty.mean_iou_difference(*matrices, confidence=level))
    if ours["target"].shape != theirs["target"].shape or (ours["target"] != theirs["target"]).any():
        return None
    first, second = right(ours), right(theirs)
    alone = int((first & ~second).sum()), int((second & ~first).sum())
    return _Comparison(uncertainty.mcnemar(*alone),
                       lambda level: uncertainty.difference_interval(*alone, len(first), level))


def _compare_seeds(ours: Sequence[float], theirs: Sequence[float]) -> _Comparison:
    p = uncertainty.paired_t(ours, theirs)
    differences = [first - second for first, second in zip(ours, theirs, strict=True)]
    varied = not uncertainty.same(differences)
    return _Comparison(p, lambda level: uncertainty.mean_interval(differences, level) if varied else None)


def _family(record: Record, *, seed: bool = True) -> str:
    """Equal for runs that are held against the same independent student; without the seed, whatever that is."""
    left_out = _METHOD_ALONE + _HOW_IT_RAN + (() if seed else ("seed",))
    fields = {name: value for name, value in dataclasses.asdict(record.configuration).items() if name not in left_out}
    return json.dumps(fields | {"digest": record.data["digest"]}, sort_keys=True)


def _method(record: Record) -> _Method:
    """Equal for runs of one method, its hyperparameters and its teacher. A first stage is another run for each seed.

    Old records hold 1024.0 where new ones hold 1024: these are equal here, as they are not in JSON.
    """
    configuration = record.configuration
    values = {name: tuple(value) if isinstance(value, list) else value
              for name, value in configuration.hyperparameters.items()}
    return configuration.method, frozenset(values.items()), configuration.teacher


def _execution(record: Record) -> dict[str, str | None]:
    """How a student was computed, in words by what they are of; None where its record does not say."""
    ran = record.environment
    threads = ran.get("student_threads") or ran.get("threads")
    return {
        "precision": ran.get("precision", {}).get("student"),
        "memory": ran.get("memory_formats", {}).get("student"),
        "threads": f"{threads} thread{'s' if threads > 1 else ''}" if threads else None,
        "compiling": None if "compiled" not in ran else "compiled" if ran["compiled"] else "not compiled",
        "device": ran.get("device_name") or ran.get("device"),
        "torch": (version := ran.get("packages", {}).get("torch")) and f"torch {version}",
    }
