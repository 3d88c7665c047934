"""What a recipe says of its numbers, in sentences."""

import dataclasses

from scipy import stats

from kdengine.measures import uncertainty
from kdengine.recipes import comparison
from kdengine.recipes.remarks import answer
from kdengine.recipes.remarks import remarks as remarks_of
from tests.kdengine.recipes.scene import METHODS, THREE, changes, made, student_s, wilson


def remarks(right, labels_of=None, **more):
    labels_of = labels_of or {label: each for label, each in METHODS.items() if label in right or not right}
    outcome = made(right, labels_of, **more)
    return remarks_of(outcome, comparison.rows(outcome))


def test_remarks_on_one_seed_name_the_numbers_and_their_limit():
    low, high = wilson(75)
    assert remarks({"Teacher": [90], "Independent": [60], "KD": [75], "CRD": [70]}) == [
        "1 seed cannot say that a method is better: that takes 3 or more.",
        "Highest mean accuracy among the students with a method: KD, 75.00% "
        f"({low:.2%} to {high:.2%}, over 100 images).",
        "Closest to its teacher among them: KD, KL 0.1250 nats.",
        "Teacher (resnet20): 90.00% in this very pipeline.",
    ]


def test_the_closest_need_not_be_the_best():
    told = remarks({"Teacher": [90], "Independent": [60], "KD": [65], "CRD": [70]})
    assert any(each.startswith("Highest mean accuracy among the students with a method: CRD, 70.00%") for each in told)
    assert "Closest to its teacher among them: KD, KL 0.1250 nats." in told


def test_a_teacher_no_better_than_the_independent_student_is_warned_of():
    told = remarks({"Teacher": [70], "Independent": [70], "KD": [75], "CRD": [69]})
    assert told[-1] == "Careful: Teacher is not better than Independent, 70.00% against 70.00%."


def test_a_student_that_passes_its_teacher_is_no_warning():
    assert not any("Careful" in each for each in remarks({"Teacher": [70], "Independent": [60], "KD": [75]}, seeds=1))


ALONE = ", one comparison alone"


def test_a_recipe_s_own_question_is_answered_by_holding_its_networks_against_each_other():
    right = {"Teacher": [90], "Independent": [60], "KD": [range(10, 85)], "CRD": [60]}
    told = remarks(right, contrasts=lambda outcome: [("KD", "CRD"), ("CRD", "DKD")])  # there is no DKD
    assert told[1].startswith("KD against CRD: +15.00 points of test accuracy (interval +")
    assert told[1].endswith(f"; differ (p = 0.017){ALONE}.")
    assert not any("DKD" in each for each in told[2:])


def test_three_seeds_answer_it_for_the_methods():
    told = remarks(THREE, contrasts=lambda outcome: [("KD", "CRD")])
    low, high = student_s(changes(THREE["KD"], THREE["CRD"]))
    p = stats.ttest_rel(THREE["KD"], THREE["CRD"]).pvalue
    assert told[2] == (f"KD against CRD: +15.67 points of test accuracy (interval {100 * low:+.2f} to "
                       f"{100 * high:+.2f}); better (p = {p:.2g}){ALONE}.")


def test_two_questions_are_corrected_for_each_other():
    told = remarks(THREE, contrasts=lambda outcome: [("KD", "CRD"), ("DKD", "CRD")])
    adjusted = uncertainty.holm([stats.ttest_rel(THREE[each], THREE["CRD"]).pvalue for each in ("KD", "DKD")])
    assert [each.rpartition("; ")[2] for each in told[2:4]] == [
        f"{'better' if p < 0.05 else 'not distinguishable'} ({uncertainty.p_text(p)})." for p in adjusted]


def test_a_recipe_that_tunes_does_not_name_the_highest_test_accuracy():
    told = remarks({"Teacher": [90], "Independent": [60], "KD": [75]}, ranks=False, seeds=1)
    assert not any(each.startswith(("Highest", "Closest")) for each in told)


def test_students_with_fewer_labels_than_their_teacher_are_told_of():
    outcome = made({"Teacher": [90], "Independent": [60], "KD": [75]})
    for (label, _), record in outcome.records.items():
        record.data["labelled"] = 1258 if label == "Teacher" else 100
    told = remarks_of(outcome, comparison.rows(outcome))
    sentence, = (each for each in told if each.startswith("The students had 100 labels, their teacher 1,258: "))
    assert "from the 1,158 images whose label" in sentence


def test_what_is_missing_and_what_failed_is_told_first():
    outcome = dataclasses.replace(made({"Teacher": [90], "KD": [75]}, METHODS), failures={("CRD", 0): "It is nan."})
    told = remarks_of(outcome, comparison.rows(outcome))
    assert told[:2] == ["So far: 2 networks are still to be trained; no method is judged before.",
                        "Not trained: CRD, seed 0. It is nan."]


def test_who_has_no_baseline_is_told_with_the_command_that_trains_it():
    outcome = made({"Teacher": [90], "KD": [75]}, {"Independent": ("none", {}), "KD": ("kd", {})})
    plan = dataclasses.replace(outcome.plan, changes={"only": ["KD"], "epochs": 7})
    outcome = dataclasses.replace(outcome, plan=plan)
    told = remarks_of(outcome, comparison.rows(outcome))
    assert told[-1] == (
        "No baseline yet for KD: there is no independent student of the same seed, data and schedule, so no change can "
        "be told. Train it: python -m kdengine recipe two_ways --scale quick --seeds 1 --epochs 7 --only Independent")


def test_who_has_a_baseline_is_told_nothing_of_it():
    assert not any("baseline" in each for each in remarks({"Teacher": [90], "Independent": [60], "KD": [75]}, seeds=1))


def test_where_nobody_gains_the_closest_is_named_first():
    said = remarks({"Teacher": [90], "Independent": [60], "KD": [58], "CRD": [60]})
    assert said[0] == "No student is above the independent one: CRD comes closest, +0.00 points."


def test_where_one_gains_no_closest_is_named():
    assert not any("No student" in each for each in remarks({"Teacher": [90], "Independent": [60], "KD": [61]}))


def test_a_better_teacher_is_not_warned_of():
    assert not any("Careful" in each for each in remarks({"Teacher": [76], "Independent": [60], "KD": [75]}))


def test_two_seeds_cannot_say_it_either():
    told = remarks({"Teacher": [90], "Independent": [60, 61], "KD": [75, 76]})
    assert told[0] == "2 seeds cannot say that a method is better: that takes 3 or more."


def test_from_three_seeds_on_methods_are_named_better_or_worse():
    told = remarks(THREE)
    assert told[:2] == [
        "Better than the independent student: KD +11.0 points (paired by seed, Holm-adjusted p < 0.05; all under the "
        "same teacher).",
        "Worse than the independent student: CRD -4.7 points (paired by seed, Holm-adjusted p < 0.05; all under the "
        "same teacher).",
    ]
    assert not any("cannot say" in each for each in told)


def test_the_fewest_seeds_decide_what_may_be_said():
    told = remarks({"Teacher": [90], "Independent": [60, 64, 62], "KD": [71, 76, 72], "CRD": [56]})
    assert told[1] == "1 seed cannot say that a method is better: that takes 3 or more."
    assert not any(each.startswith(("Better", "Worse")) for each in told)


def test_nothing_is_said_of_what_was_not_measured():
    assert remarks({}, seeds=1) == ["So far: 5 networks are still to be trained; no method is judged before."]
    assert remarks({"Teacher": [90]}, METHODS, seeds=1) == [
        "So far: 4 networks are still to be trained; no method is judged before."]


def test_nothing_of_methods_without_a_method():
    assert remarks({"Teacher": [90], "Independent": [60]}, {"Independent": ("none", {})}) == [
        "Teacher (resnet20): 90.00% in this very pipeline."]


def test_remarks_of_the_recipe_come_last():
    told = remarks({"Teacher": [90], "KD": [60]}, remarks=lambda outcome: ["And one more."])
    assert told[-1] == "And one more."


def answered(outcome):
    return answer(outcome, comparison.rows(outcome))


def test_the_answer_is_the_recipe_s_own_comparison_and_what_may_be_said_of_the_methods():
    labels_of = {label: each for label, each in METHODS.items() if label in THREE}
    outcome = made(THREE, labels_of, contrasts=lambda outcome: [("KD", "CRD")],
                   remarks=lambda outcome: ["And one more."])
    told = answered(outcome)
    assert set(told) < set(remarks_of(outcome, comparison.rows(outcome)))
    assert [each.split(" than ")[0] for each in told[:2]] == ["Better", "Worse"]
    assert told[2].startswith("KD against CRD: +15.67 points of test accuracy")
    assert told[3:] == ["And one more."]


def test_where_a_recipe_compares_no_pair_the_answer_is_who_came_first():
    labels_of = {label: METHODS[label] for label in ("Independent", "KD", "CRD")}
    told = answered(made({"Teacher": [90], "Independent": [60], "KD": [65], "CRD": [70]}, labels_of))
    assert [each.partition(", ")[0] for each in told] == [
        "1 seed cannot say that a method is better: that takes 3 or more.",
        "Highest mean accuracy among the students with a method: CRD", "Closest to its teacher among them: KD"]


def test_an_answer_says_first_that_networks_are_missing():
    assert answered(made({"Teacher": [90]}, METHODS, seeds=1)) == [
        "So far: 4 networks are still to be trained; no method is judged before."]
