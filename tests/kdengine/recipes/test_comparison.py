"""The table of a recipe: one seed speaks of two networks, three of a method, and of neither more than is measured."""

import dataclasses
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from kdengine.recipes import comparison
from kdengine.recipes.columns import Column
from kdengine.recipes.recipe import Recipe
from kdengine.runs import store
from kdengine.runs.records import PREDICTIONS
from tests.kdengine.recipes.scene import METHODS, THREE, changes, made, student_s, wilson


def table(outcome):
    return {row["label"]: row for row in comparison.rows(outcome)}


def text(row, column):
    return comparison.as_text(Recipe("any", "", "", list), row, column)


def resampled(ours, theirs, confidence):
    """The interval of a difference of accuracies of 100 images, from what each network alone gets right."""
    each = np.array([1] * ours + [-1] * theirs + [0] * (100 - ours - theirs))
    drawn = np.random.default_rng(7).choice(each, (20_000, 100)).mean(axis=1)
    exact = stats.binomtest(ours, ours + theirs).proportion_ci(confidence, method="exact")
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return (min(low, (2 * exact.low - 1) * (ours + theirs) / 100),
            max(high, (2 * exact.high - 1) * (ours + theirs) / 100))


def shares(counts):
    return [count / 100 for count in counts]


def test_a_time_of_a_busy_machine_says_so():
    outcome = made({"Teacher": [90], "Independent": [60], "KD": [75]})
    outcome.of("KD")[0].result["latency"] |= {"busy": True}
    told, recipe = table(outcome), outcome.plan.recipe
    assert comparison.as_text(recipe, told["KD"], "milliseconds") == "1.25 (1.20 to 1.50), busy"
    assert comparison.as_text(recipe, told["Independent"], "milliseconds") == "1.25 (1.20 to 1.50)"
    del told["KD"]["milliseconds_busy"]  # a table that was written before there was the mark
    assert comparison.as_text(recipe, told["KD"], "milliseconds") == "1.25 (1.20 to 1.50)"


def test_one_seed_is_measured_over_the_images():
    told = table(made({"Teacher": [90], "Independent": [60], "KD": [75]}))
    assert list(told) == ["Teacher", "Independent", "KD"]
    for label, right in (("Teacher", 90), ("Independent", 60), ("KD", 75)):
        assert told[label]["accuracy"] == right / 100
        assert told[label]["interval"] == pytest.approx(wilson(right))
        assert told[label]["std"] is None
        assert told[label]["over"] == "100 images"
        assert told[label]["seeds"] == 1
    assert {key: told["KD"][key] for key in ("network", "loss", "kl_to_teacher", "agreement", "parameters",
                                             "milliseconds")} == {
        "network": "resnet8", "loss": 0.5, "kl_to_teacher": 0.125, "agreement": 0.75, "parameters": 78_042,
        "milliseconds": 1.25}
    assert told["Teacher"]["network"] == "resnet20"
    assert told["Teacher"]["kl_to_teacher"] is told["Teacher"]["agreement"] is None


def test_one_seed_says_whether_two_networks_differ_on_these_images():
    # KD alone gets 60 to 84 right, its twin alone 0 to 9; CRD gets two more than its twin, and loses none.
    told = table(made({"Teacher": [90], "Independent": [60], "KD": [range(10, 85)], "CRD": [62]}, METHODS))
    assert told["KD"]["change"] == pytest.approx(0.15)
    exact = sum(math.comb(35, k) for k in range(25, 36)) / 2**34  # both tails
    assert told["KD"]["verdict"] == f"differ (p = {2 * exact:.2g})" == "differ (p = 0.033)"  # Holm over two
    assert told["CRD"]["verdict"] == "not distinguishable (p = 0.5)"  # 2 * (1/2)^2
    assert told["KD"]["change_interval"] == pytest.approx(resampled(25, 10, 1 - 0.05 / 2), abs=0.0101)
    assert told["CRD"]["change_interval"] == pytest.approx(resampled(2, 0, 0.95), abs=0.0101)


def test_a_worse_network_loses():
    told = table(made({"Teacher": [90], "Independent": [80], "KD": [50]}))
    assert told["KD"]["change"] == pytest.approx(-0.3)
    low, high = told["KD"]["change_interval"]
    assert low < -0.3 < high < 0


def test_two_seeds_have_an_interval_and_say_nothing_of_a_method():
    told = table(made({"Teacher": [90], "Independent": [60, 64], "KD": [80, 78]}))
    assert told["KD"]["accuracy"] == pytest.approx(0.79)
    assert told["KD"]["std"] == pytest.approx(statistics.stdev([0.80, 0.78]))
    assert told["KD"]["interval"] == pytest.approx(student_s(shares([80, 78])))
    assert told["KD"]["over"] == "2 seeds"
    assert told["KD"]["change"] == pytest.approx(0.17)
    assert told["KD"]["change_interval"] == pytest.approx(student_s([0.20, 0.14]))
    assert told["KD"]["verdict"] == "two seeds say too little"
    assert told["Teacher"]["over"] == "100 images"


def test_an_interval_over_seeds_ends_where_accuracies_do():
    told = table(made({"Teacher": [90], "Independent": [60, 64], "KD": [79, 75]}))
    low, high = student_s(shares([79, 75]))
    assert high > 1
    assert told["KD"]["interval"] == pytest.approx((low, 1.0))




def test_three_seeds_judge_a_method_by_pairs_of_one_seed():
    told = table(made(THREE, METHODS))
    raw = {label: stats.ttest_rel(THREE[label], THREE["Independent"]).pvalue for label in ("KD", "DKD", "CRD")}
    assert raw["KD"] < raw["CRD"] < raw["DKD"]
    expected = {"KD": 3 * raw["KD"], "CRD": 2 * raw["CRD"], "DKD": raw["DKD"]}  # Holm, over the three compared
    assert told["KD"]["verdict"] == f"better (p = {expected['KD']:.2g})"
    assert told["CRD"]["verdict"] == f"worse (p = {expected['CRD']:.2g})"
    assert told["DKD"]["verdict"] == f"not distinguishable (p = {expected['DKD']:.2g})"
    assert expected["CRD"] < 0.05 < expected["DKD"]
    for label, family in (("KD", 3), ("CRD", 2), ("DKD", 1)):
        differences = changes(THREE[label], THREE["Independent"])
        assert told[label]["change"] == pytest.approx(statistics.fmean(differences))
        assert told[label]["change_interval"] == pytest.approx(student_s(differences, 1 - 0.05 / family))
        assert told[label]["interval"] == pytest.approx(student_s(shares(THREE[label])))
        assert told[label]["seeds"] == 3


def test_a_method_that_passes_alone():
    right = {"Teacher": [90], "Independent": [60, 60, 60], "KD": [64, 66, 63]}
    p = stats.ttest_1samp([4, 6, 3], 0).pvalue
    assert 0.025 < p < 0.05
    assert table(made(right))["KD"]["verdict"] == f"better (p = {p:.2g})"


def test_holm_counts_every_method_compared():
    right = {"Teacher": [90], "Independent": [60, 60, 60], "KD": [64, 66, 63], "CRD": [61, 59, 61]}
    p = stats.ttest_1samp([4, 6, 3], 0).pvalue
    told = table(made(right, {label: METHODS[label] for label in ("Independent", "KD", "CRD")}))
    assert told["KD"]["verdict"] == f"not distinguishable (p = {2 * p:.2g})"
    other = stats.ttest_1samp([1, -1, 1], 0).pvalue
    assert told["CRD"]["verdict"] == f"not distinguishable (p = {other:.2g})"


def test_a_method_is_judged_once_all_is_trained():
    half = made({**THREE, "CRD": [56, 58]}, METHODS)
    told = table(half)
    assert told["KD"]["verdict"] == told["DKD"]["verdict"] == "open until all is trained"
    assert told["CRD"]["verdict"] == "two seeds say too little"
    failed = dataclasses.replace(half, failures={("CRD", 2): "the loss is nan"})
    p = {label: stats.ttest_rel(THREE[label], THREE["Independent"]).pvalue for label in ("KD", "DKD")}
    assert table(failed)["KD"]["verdict"] == f"better (p = {2 * p['KD']:.2g})"  # what failed is waited for by nobody


def test_the_same_change_in_every_seed_is_nothing_to_judge_by():
    told = table(made({"Teacher": [90], "Independent": [60, 62, 64], "KD": [61, 63, 65]}))
    assert told["KD"]["verdict"] == "not distinguishable (p = 1)"
    assert told["KD"]["change_interval"] is None


def test_only_what_a_recipe_judges_has_a_verdict_though_all_count_for_it():
    told = table(made({"Teacher": [90], "Independent": [60], "KD": [range(10, 85)], "CRD": [62]}, METHODS,
                      judges=lambda outcome, label: label == "KD"))
    assert told["KD"]["verdict"] == "differ (p = 0.033)"
    assert told["CRD"]["verdict"] is None
    assert told["CRD"]["change"] == pytest.approx(0.02)


def test_without_stored_predictions_there_is_a_change_and_no_verdict():
    outcome = made({"Teacher": [90], "Independent": [60], "KD": [75]})
    (store.directory(outcome.records["KD", 0].id) / PREDICTIONS).unlink()
    told = table(outcome)
    assert told["KD"]["change"] == pytest.approx(0.15)
    assert told["KD"]["change_interval"] is told["KD"]["verdict"] is None


def test_without_a_twin_there_is_no_change():
    told = table(made({"Teacher": [90], "KD": [75, 76, 77]}))
    assert told["KD"]["change"] is told["KD"]["change_interval"] is told["KD"]["verdict"] is None
    assert [text(told["KD"], key) for key in ("change", "change_interval", "verdict")] == ["–"] * 3
    assert told["KD"]["accuracy"] == pytest.approx(0.76)


def test_a_twin_on_other_pictures_is_none():
    told = table(made({"Teacher": [90], "Independent": [60], "KD": [75]}, digest={"Independent": "other"}))
    assert told["KD"]["change"] is told["KD"]["verdict"] is None


def test_only_pairs_of_one_seed_are_compared():
    # Two of three seeds have a twin: a change of 10 and 20 points, and no word about the method.
    told = table(made({"Teacher": [90], "Independent": [60, 60], "KD": [70, 80, 99]}))
    assert told["KD"]["change"] == pytest.approx(0.15)
    assert told["KD"]["seeds"] == 3
    assert told["KD"]["verdict"] == "two seeds say too little"


def test_the_independent_student_and_the_teacher_are_compared_with_nothing():
    told = table(made(THREE, METHODS))
    assert told["Independent"]["change"] is told["Teacher"]["change"] is None
    assert told["Independent"]["verdict"] is told["Teacher"]["verdict"] is None


def test_what_has_not_finished_has_no_row():
    assert list(table(made({"Teacher": [90], "KD": [75]}, METHODS))) == ["Teacher", "KD"]
    assert comparison.rows(made({}, METHODS, seeds=1)) == []


def test_columns_of_a_recipe_are_means_over_the_seeds():
    told = table(made({"Teacher": [90], "KD": [70, 80]}, columns={"wrong": Column("Wrong")},
                      measure=lambda record: {"wrong": 1 - record.result["test"]["top1"]}))
    assert told["KD"]["wrong"] == pytest.approx(0.25)
    assert told["Teacher"]["wrong"] == pytest.approx(0.1)
    titles = comparison.titles(made({}, METHODS, seeds=1, columns={"wrong": Column("Wrong")}).plan.recipe)
    assert list(titles.values())[-4:] == ["Agreement", "Wrong", "Parameters", "ms / image"]
    assert list(titles)[:3] == ["label", "network", "seeds"]


def test_a_share_among_the_columns_has_its_interval():
    columns = {"wrong": Column("Wrong", count=lambda record, measured: 40), "sum": Column("Sum", "{:.1f}".format)}
    outcome = made({"Teacher": [90], "Independent": [60, 64], "KD": [75]}, columns=columns, seeds=2,
                   measure=lambda record: {"wrong": 1 - record.result["test"]["top1"], "sum": 2.0})
    told, recipe = table(outcome), outcome.plan.recipe
    assert told["Teacher"]["wrong_interval"] == pytest.approx(wilson(4, 40))
    assert told["Independent"]["wrong_interval"] == pytest.approx(student_s([0.40, 0.36]))
    low, high = wilson(4, 40)
    assert comparison.as_text(recipe, told["Teacher"], "wrong") == f"10.00% ({low:.2%} to {high:.2%})"
    assert comparison.as_text(recipe, told["Teacher"], "sum") == "2.0"


@pytest.mark.parametrize(("right", "label", "expected"), [
    ({"Teacher": [90], "Independent": [60], "KD": [range(10, 85)]}, "KD", {
        "label": "KD", "network": "resnet8", "seeds": "1", "loss": "0.5000", "accuracy": "75.00%",
        "interval": "65.70% to 82.45%, over 100 images", "change": "+15.00 pts (+25.0%)",
        "verdict": "differ (p = 0.017)", "kl_to_teacher": "0.1250", "agreement": "75.00%",
        "parameters": "78,042", "milliseconds": "1.25 (1.20 to 1.50)"}),
    ({"Teacher": [90], "Independent": [80, 80], "KD": [77, 76]}, "KD", {
        "accuracy": "76.50% ± 0.71%", "interval": "70.15% to 82.85%, over 2 seeds", "change": "-3.50 pts (-4.4%)",
        "change_interval": "-9.85 to +2.85"}),  # t(0.975) of one degree of freedom, 12.7062, times half a point
    ({"Teacher": [90]}, "Teacher", {"change": "–", "kl_to_teacher": "–", "agreement": "–", "verdict": "–"}),
])
def test_a_cell_as_people_read_it(right, label, expected):
    row = table(made(right))[label]
    assert {key: text(row, key) for key in expected} == expected
