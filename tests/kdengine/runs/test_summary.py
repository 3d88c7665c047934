"""The results as an answer: seeds averaged, and each verdict that of the tables and reports."""

import dataclasses
import statistics

import numpy as np
import pytest

import kdengine
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.measures import uncertainty
from kdengine.recipes import comparison
from kdengine.runs import costs, results, verdicts
from kdengine.runs.records import STUDENT
from kdengine.runs.summary import latex, summaries
from tests.kdengine.recipes.scene import answers, finished, made

METHODS = {"Independent": ("none", {}), "KD": ("kd", {}), "DKD": ("dkd", {})}
ONE = {"Teacher": [90], "Independent": [60], "KD": [range(9, 81)], "DKD": [range(5, 70)]}
THREE = {"Teacher": [90], "Independent": [60, 62, 61], "KD": [70, 73, 71], "DKD": [61, 60, 64]}


@pytest.fixture(autouse=True)
def nothing_shipped(tmp_path, monkeypatch):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "none"))


def by_method(rows):
    return {row.method: row for row in rows}


def test_who_taught_another_is_a_teacher():
    outcome = made(ONE, METHODS)
    assert not any(row.teaches for row in summaries())  # no weights are known
    record = outcome.of("Teacher")[0]
    record.files[STUDENT] = outcome.of("KD")[0].teacher["digest"]
    record.save(results.folder(record.id))
    assert [row.names for row in summaries() if row.teaches] == [(record.id,)]


def test_of_one_seed_the_row_says_what_the_table_of_runs_says():
    outcome = made(ONE, METHODS)
    table = {row["name"]: row for row in results.rows()}
    rows = {row.method: row for row in summaries() if row.network == "resnet8"}
    assert set(rows) == {"none", "kd", "dkd"}
    for label, method in (("KD", "kd"), ("DKD", "dkd")):
        name, row = outcome.of(label)[0].id, rows[method]
        assert row.names == (name,) and row.changes == (row.change,)
        assert (row.change, row.change_interval, row.verdict) == (
            table[name]["change"], (table[name]["change_low"], table[name]["change_high"]), table[name]["verdict"])
        assert (row.score, row.interval) == (table[name]["accuracy"], (table[name]["low"], table[name]["high"]))
    assert (rows["none"].change, rows["none"].changes, rows["none"].verdict) == (None, (), None)


def test_three_seeds_are_one_row_and_its_verdict_is_the_report_s():
    outcome = made(THREE, METHODS)
    report, rows = {row["label"]: row for row in comparison.rows(outcome)}, by_method(summaries())
    for label, method in (("KD", "kd"), ("DKD", "dkd")):
        row = rows[method]
        scores = [right / 100 for right in THREE[label]]
        gains = [ours - theirs / 100 for ours, theirs in zip(scores, THREE["Independent"], strict=True)]
        assert sorted(row.names) == sorted(record.id for record in outcome.of(label))
        assert row.score == pytest.approx(statistics.fmean(scores))
        assert sorted(row.changes) == pytest.approx(sorted(gains))
        assert row.change == pytest.approx(statistics.fmean(gains))
        assert (row.change_interval, row.verdict) == (report[label]["change_interval"], report[label]["verdict"])
        expected = uncertainty.mean_interval(scores)
        assert row.interval == pytest.approx((expected.low, expected.high))
    assert rows["kd"].verdict.startswith("better") and rows["dkd"].verdict.startswith("not distinguishable")


def test_two_seeds_have_a_change_and_no_verdict():
    outcome = made({label: right[:2] for label, right in THREE.items()}, METHODS)
    report = next(row for row in comparison.rows(outcome) if row["label"] == "KD")
    row = by_method(summaries())["kd"]
    assert row.change == pytest.approx((10 + 11) / 200)
    assert (row.verdict, row.change_interval) == (verdicts.TOO_FEW, report["change_interval"])


def test_an_interval_over_seeds_is_one_of_a_share():
    outcome = made({"Teacher": [90], "Independent": [60, 60, 60], "KD": [100, 90, 100]},
                   {label: METHODS[label] for label in ("Independent", "KD")})
    row = by_method(summaries())["kd"]
    assert uncertainty.mean_interval([1.0, 0.9, 1.0]).high > 1
    assert row.interval == (pytest.approx(uncertainty.mean_interval([1.0, 0.9, 1.0]).low), 1.0)
    assert row.interval == next(each for each in comparison.rows(outcome) if each["label"] == "KD")["interval"]


def test_other_settings_are_another_row_and_a_seed_counts_once():
    outcome = made(ONE, METHODS)
    asked = outcome.of("KD")[0].configuration
    finished(asked, "again", answers(75))
    finished(dataclasses.replace(asked, hyperparameters={"temperature": 2.0}), "softer", answers(65))
    rows = [row for row in summaries() if row.method == "kd"]
    assert len(rows) == 2 and all(len(row.names) == 1 for row in rows)
    assert ["softer"] in [list(row.names) for row in rows]


def test_a_table_for_a_paper_holds_the_figures_and_no_command_of_a_stranger():
    made(ONE, METHODS)
    rows = [row for row in summaries() if row.network == "resnet8"]
    text = latex(rows, [rf"50% of \input{{x}} & {row.method}_1 < 2" for row in rows])
    assert text.startswith("\\begin{tabular}{lrrlr}\n\\toprule\n") and text.endswith("\\bottomrule\n\\end{tabular}\n")
    lines = [line for line in text.splitlines() if "kd\\_1" in line and "dkd" not in line]
    row = next(row for row in rows if row.method == "kd")
    low, high = row.interval
    assert lines == [
        r"50\% of \textbackslash{}input\{x\} \& kd\_1 $<$ 2 & "
        f"{100 * row.score:.2f} ({100 * low:.1f} to {100 * high:.1f}) & ${100 * row.change:+.2f}$ & "
        f"{row.verdict} & {row.kl_to_teacher:.4f} " + r"\\"]
    assert text.count("&") - text.count(r"\&") == 4 * (1 + len(rows))


def test_what_is_taken_for_what_is_counted_from_stored_answers():
    made(ONE, METHODS)
    name = by_method(summaries())["kd"].names[0]
    stored = results.predictions(name)
    answered = stored["logits"].argmax(axis=1)
    found = kdengine.runs.confusion(name)
    size = len(found["classes"])
    expected = [[int(((stored["target"] == truth) & (answered == answer)).sum()) for answer in range(size)]
                for truth in range(size)]
    assert found["matrix"] == expected and sum(map(sum, expected)) == len(answered)
    truth, answer = next((truth, answer) for truth in range(size) for answer in range(size)
                         if truth != answer and expected[truth][answer])
    images = kdengine.runs.images_of(name, truth, answer)
    assert images["indices"] == [index for index in range(len(answered))
                                 if (stored["target"][index], answered[index]) == (truth, answer)]
    assert images["size"] == results.finished()[name].data["size"]
    assert kdengine.runs.confusion("nobody") is None
    with pytest.raises(KDError, match="What nobody answered"):
        kdengine.runs.images_of("nobody", 0, 1)


def test_a_seed_that_was_timed_on_a_busy_machine_moves_no_time():
    outcome = made(THREE, METHODS)
    for record, median in zip(outcome.of("KD"), (2.0, 4.0, 90.0), strict=True):
        record.result["latency"] = {"median_ms": median, "std_ms": 0.1, "busy": median == 90.0}
        record.save(results.folder(record.id))
    rows = by_method(summaries())
    assert rows["kd"].speed == costs.Speed(3.0, None, False)
    assert rows["dkd"].speed == costs.Speed(1.25, (1.2, 1.5), None)
    assert rows["kd"].image_size == 32


def test_the_farthest_examples_are_those_with_the_largest_divergence():
    drawn = np.random.default_rng(0)
    teacher, student = "the-teacher", "the-student"
    for name in (teacher, student):  # of three classes, so that the divergence is not the same the other way round
        finished(Configuration(seed=len(name)), name, drawn.normal(0, 3, (40, 3)).astype(np.float32))

    def shares(name):
        logits = results.predictions(name)["logits"].astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    first, second = shares(teacher), shares(student)
    kl = (first * (np.log(first) - np.log(second))).sum(axis=1)
    assert kdengine.runs.farthest_examples(teacher, student) == np.argsort(-kl, kind="stable").tolist()
    assert kdengine.runs.farthest_examples(teacher, "nobody") == []
