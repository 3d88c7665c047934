"""What finished runs say of their costs: times of a busy machine count only where there are no others."""

import pytest

from kdengine.runs import costs
from tests.kdengine import made


def run(median, busy=None, quartiles=None):
    record = made.finished(f"of-{median}")
    record.result["latency"] = {"median_ms": median, "std_ms": 0.1} | (
        {} if busy is None else {"busy": busy}) | ({} if quartiles is None else {"quartiles_ms": quartiles})
    return record


@pytest.mark.parametrize(("runs", "milliseconds", "busy"), [
    ([run(2.0, False), run(4.0, False)], 3.0, False),
    ([run(2.0, False), run(40.0, True)], 2.0, False),  # the other seed was measured on a busy machine
    ([run(20.0, True), run(40.0, True)], 30.0, True),
    ([run(2.0), run(4.0)], 3.0, None),  # older records do not say
    ([run(2.0), run(40.0, True)], 2.0, None),
    ([run(2.0), run(4.0, False)], 3.0, None),
])
def test_seeds_on_a_busy_machine_count_only_where_all_were(runs, milliseconds, busy):
    speed = costs.speed(runs)
    assert (speed.milliseconds, speed.quartiles, speed.busy) == (milliseconds, None, busy)


def test_quartiles_are_means_over_the_same_seeds():
    runs = [run(2.0, False, [1.0, 3.0]), run(4.0, False, [2.0, 7.0]), run(9.0, True, [5.0, 90.0])]
    assert costs.speed(runs) == costs.Speed(3.0, (1.5, 5.0), False)
    assert costs.speed([*runs, run(6.0, False)]).quartiles is None


@pytest.mark.parametrize(("speed", "text"), [
    (costs.Speed(1.25, (1.2, 1.5), False), "1.25 (1.20 to 1.50)"),
    (costs.Speed(1.25, (1.2, 1.5), True), "1.25 (1.20 to 1.50), busy"),
    (costs.Speed(1.25, None, None), "1.25"),
    (costs.Speed(1.25, None, True), "1.25, busy"),
])
def test_a_busy_time_says_so_in_words(speed, text):
    assert str(speed) == text


@pytest.mark.parametrize(("of", "students", "whose"), [
    ("process", 1, "process"), ("process", 4, "process, 4 students"), ("GPU", 2, "GPU, 2 students"),
])
def test_a_peak_of_memory_is_named_after_all_that_it_served(of, students, whose):
    result = made.finished("x").result
    assert costs.memory_of(result) is None
    result |= {"peak_memory": {"megabytes": 512.5, "of": of}, "side_by_side": students}
    assert costs.memory_of(result) == whose
    assert costs.memory_of({}) is None  # a run that has not finished
