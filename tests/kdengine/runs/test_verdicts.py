"""One pair of networks has one verdict, wherever it is said; a family of comparisons has one correction."""

import dataclasses
import itertools
import random

import pytest
from scipy import stats

from kdengine import paths
from kdengine.measures import uncertainty
from kdengine.recipes import comparison
from kdengine.runs import results, verdicts
from kdengine.runs.records import PREDICTIONS, STUDENT
from tests.kdengine.recipes.scene import answers, finished, made, recipe

METHODS = {"Independent": ("none", {}), "KD": ("kd", {}), "DKD": ("dkd", {}), "CRD": ("crd", {})}
RIGHT = {"Teacher": [90], "Independent": [60], "KD": [range(9, 81)], "DKD": [range(5, 70)], "CRD": [range(30, 95)]}


@pytest.fixture(autouse=True)
def nothing_shipped(tmp_path, monkeypatch):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "none"))


def on_the_results_page():
    return {row["name"]: (row["change"], (row["change_low"], row["change_high"]), row["verdict"])
            for row in results.rows()}


def in_the_report(outcome):
    return {outcome.of(row["label"])[0].id: (row["change"], row["change_interval"], row["verdict"])
            for row in comparison.rows(outcome)}


def judged(among, *names):
    return verdicts.of_networks(names or list(among), among, results.predictions)


def alone(first, second):
    """What each of two networks alone gets right, by counting."""
    ours, theirs = (set(range(each)) if isinstance(each, int) else set(each) for each in (first, second))
    return len(ours - theirs), len(theirs - ours)


def test_the_table_and_the_report_say_the_same_of_the_same_pair():
    outcome = made(RIGHT, METHODS)
    table, report = on_the_results_page(), in_the_report(outcome)
    for label in ("KD", "DKD", "CRD"):
        name = outcome.of(label)[0].id
        assert table[name] == report[name]
        assert table[name][2]
    raw = [uncertainty.mcnemar(*alone(RIGHT[label][0], 60)) for label in ("KD", "DKD", "CRD")]
    adjusted = dict(zip(("KD", "DKD", "CRD"), uncertainty.holm(raw), strict=True))
    assert min(raw) < 0.05 < 3 * min(raw)  # uncorrected, a table would say that they differ
    for label, p in adjusted.items():
        assert table[outcome.of(label)[0].id][2] == f"not distinguishable ({uncertainty.p_text(p)})"


def test_a_network_trained_elsewhere_counts_in_both_places():
    outcome = made({label: RIGHT[label] for label in ("Teacher", "Independent", "KD")},
                   {label: METHODS[label] for label in ("Independent", "KD")})
    name = outcome.of("KD")[0].id
    before = in_the_report(outcome)[name]
    asked = dataclasses.replace(outcome.of("KD")[0].configuration, method="rkd", hyperparameters={})
    finished(asked, "another", answers(RIGHT["CRD"][0]))
    assert on_the_results_page()[name] == in_the_report(outcome)[name] != before
    assert judged(results.finished(), name)[name].compared == 2


def test_an_interval_agrees_with_its_verdict():
    draw = random.Random(5)
    for _ in range(6):
        right = {"Teacher": [90], "Independent": [60],
                 **{label: [range(start := draw.randint(0, 20), start + draw.randint(50, 79))]
                    for label in ("KD", "DKD", "CRD")}}
        for path in paths.runs_root().glob("*"):
            path.rename(path.with_name(f".{path.name}-{draw.random()}"))
        outcome = made(right, METHODS)
        for row in comparison.rows(outcome)[2:]:
            low, high = row["change_interval"]
            assert (low > 0 or high < 0) == row["verdict"].startswith("differ")


def test_copies_of_one_network_count_once():
    outcome = made({label: RIGHT[label] for label in ("Teacher", "Independent", "KD")},
                   {label: METHODS[label] for label in ("Independent", "KD")})
    among = {record.id: record for record in outcome.records.values()}
    kept = dataclasses.replace(outcome.of("KD")[0], files={STUDENT: "d1g"})
    among |= {kept.id: kept}
    single, = judged(among, kept.id).values()
    finished(kept.configuration, "kept", answers(RIGHT["KD"][0]))
    both = judged(among | {"kept": dataclasses.replace(kept, id="kept")})
    assert both[kept.id] == both["kept"] == single
    assert single.compared == 1


@pytest.mark.parametrize(("environment", "told"), [
    ({"precision": {"student": "bfloat16"}}, "bfloat16 against float32"),
    ({"memory_formats": {"student": "contiguous_format"}}, "contiguous_format against channels_last"),
    ({"student_threads": 1}, "1 thread against 2 threads"),
    ({"compiled": True}, "compiled against not compiled"),
    ({"device": "cuda"}, "cuda against cpu"),
    ({"device_name": "Another CPU"}, "Another CPU against cpu"),
    ({"packages": {"torch": "2.11.0"}}, "torch 2.11.0 against torch 2.15.0"),
    ({}, None),
])
def test_twins_that_were_computed_otherwise_are_said_to_be(environment, told):
    usual = {"precision": {"student": "float32"}, "memory_formats": {"student": "channels_last"}, "threads": 2,
             "student_threads": None, "compiled": False, "device": "cpu", "packages": {"torch": "2.15.0"}}
    outcome = made({label: RIGHT[label] for label in ("Teacher", "Independent", "KD")},
                   {label: METHODS[label] for label in ("Independent", "KD")})
    twin = dataclasses.replace(outcome.of("Independent")[0], environment=usual)
    ours = dataclasses.replace(outcome.of("KD")[0], environment=usual | environment)
    verdict, = judged({ours.id: ours, twin.id: twin}).values()
    assert verdicts.execution_difference(ours, twin) == told
    assert verdict.text.partition("; ")[2] == (f"trained otherwise: {told}" if told else "")


def test_of_several_twins_the_one_that_ran_alike_is_taken():
    outcome = made({label: RIGHT[label] for label in ("Teacher", "Independent", "KD")},
                   {label: METHODS[label] for label in ("Independent", "KD")})
    ours, twin = (dataclasses.replace(outcome.of(label)[0], environment={"device": "cuda"})
                  for label in ("KD", "Independent"))
    other = dataclasses.replace(twin, environment={"device": "cpu"})
    for order in itertools.permutations([("other", other), ("alike", twin), ("kd", ours)]):
        assert verdicts.independent_twins(dict(order)) == {"kd": "alike"}
    assert verdicts.independent_twins({"other": other, "kd": ours}) == {"kd": "other"}


def test_a_network_that_started_from_another_is_no_independent_twin():
    outcome = made({label: RIGHT[label] for label in ("Teacher", "Independent", "KD")},
                   {label: METHODS[label] for label in ("Independent", "KD")})
    ours, twin = outcome.of("KD")[0], outcome.of("Independent")[0]
    started = dataclasses.replace(twin, configuration=dataclasses.replace(twin.configuration, initial="plain"))
    assert verdicts.independent_twins({"kd": ours, "tuned": started}) == {}


def test_answers_to_other_images_are_not_compared():
    outcome = made({label: RIGHT[label] for label in ("Teacher", "Independent", "KD")},
                   {label: METHODS[label] for label in ("Independent", "KD")})
    name = outcome.of("KD")[0].id
    held = results.predictions(name)
    other = {**held, "target": 1 - held["target"]}
    shown = {name: other}
    verdict, = verdicts.of_networks([name], {record.id: record for record in outcome.records.values()},
                                    lambda each: shown.get(each) or results.predictions(each)).values()
    assert verdict.text is verdict.interval is None
    assert verdict.change == pytest.approx(0.12)
    (paths.runs_root() / name / PREDICTIONS).unlink()
    assert on_the_results_page()[name][1:] == ((None, None), None)


THREE = {"Teacher": [90], "Independent": [60, 64, 62], "KD": [64, 70, 65], "DKD": [60, 66, 61], "CRD": [56, 58, 58]}


def by_label(outcome):
    return {row["label"]: (row["change"], row["change_interval"], row["verdict"]) for row in comparison.rows(outcome)}


def test_a_method_of_two_recipes_has_one_verdict():
    """Its correction is over all methods held against that student, whichever recipe trained them."""
    whole = made(THREE, METHODS)
    part = dataclasses.replace(whole, plan=dataclasses.replace(whole.plan, recipe=recipe(
        {label: METHODS[label] for label in ("Independent", "KD")})), records={
            key: record for key, record in whole.records.items() if key[0] in ("Teacher", "Independent", "KD")})
    assert by_label(part)["KD"] == by_label(whole)["KD"]
    raw = {label: stats.ttest_rel(THREE[label], THREE["Independent"]).pvalue for label in ("KD", "DKD", "CRD")}
    adjusted = dict(zip(raw, uncertainty.holm(list(raw.values())), strict=True))
    assert raw["KD"] < 0.05 < adjusted["KD"]  # alone it would be better
    assert by_label(part)["KD"][2] == f"not distinguishable ({uncertainty.p_text(adjusted['KD'])})"


def test_another_teacher_or_other_hyperparameters_are_another_method():
    outcome = made({label: THREE[label] for label in ("Teacher", "Independent", "KD")},
                   {label: METHODS[label] for label in ("Independent", "KD")})
    alone = by_label(outcome)["KD"][2]
    for number, change in enumerate(({"teacher": "another"}, {"hyperparameters": {"temperature": 2.0}})):
        for record in outcome.of("KD"):
            asked = dataclasses.replace(record.configuration, **change)
            finished(asked, f"other-{number}-{asked.seed}", answers(61 + asked.seed))
    assert verdicts.of_methods([[(ours.id, theirs.id) for ours, theirs in
                                 zip(outcome.of("KD"), outcome.of("Independent"), strict=True)]],
                               results.finished())[0].compared == 3
    assert by_label(outcome)["KD"][2] != alone


@pytest.mark.parametrize(("old", "new"), [(1024.0, 1024), ([1.0, 2.0], [1, 2])])
def test_seeds_of_one_method_are_pooled_where_old_records_hold_other_numbers_than_new_ones(old, new):
    outcome = made({label: THREE[label] for label in ("Teacher", "Independent", "KD")},
                   {label: METHODS[label] for label in ("Independent", "KD")})
    for record in outcome.of("KD"):
        seed = record.configuration.seed
        other = dataclasses.replace(record.configuration, method="crd",
                                    hyperparameters={"negatives": new if seed else old})
        finished(other, f"crd-{seed}", answers(THREE["CRD"][seed]))
    verdict, = verdicts.of_methods([[(ours.id, theirs.id) for ours, theirs in
                                     zip(outcome.of("KD"), outcome.of("Independent"), strict=True)]],
                                   results.finished())
    assert verdict.compared == 2  # CRD has its three seeds


def test_the_twin_trained_beside_a_network_comes_first():
    outcome = made({label: RIGHT[label] for label in ("Teacher", "Independent", "KD")},
                   {label: METHODS[label] for label in ("Independent", "KD")})
    ours = dataclasses.replace(outcome.of("KD")[0], group="race")
    beside, earlier = (dataclasses.replace(outcome.of("Independent")[0], group=group) for group in ("race", "before"))
    assert verdicts.independent_twins({"earlier": earlier, "beside": beside, "kd": ours}) == {"kd": "beside"}
