"""What is chosen from measured seconds, and that one measurement is enough. The measurements themselves are real once.
"""

import pytest
import torch

from kdengine import places, records, speeds
from tests.kdengine import tiny


@pytest.fixture
def machine(monkeypatch):
    """A machine of four threads whose seconds are told, not measured; returns what was asked of it."""
    asked = []
    torch.set_num_threads(4)

    def install(turn, at_once, **precisions):
        def step_seconds(network, batch_size, names, *, backward):
            asked.append(("turn", batch_size, tuple(names), backward))
            return {name: precisions.get(name, turn) for name in names}

        def seconds_at_once(network, batch_size, precision, students):
            asked.append(("at once", batch_size, precision, students))
            return at_once

        monkeypatch.setattr(speeds, "step_seconds", step_seconds)
        monkeypatch.setattr(speeds, "_seconds_at_once", seconds_at_once)
        return asked

    return install


@pytest.mark.parametrize(("float32", "bfloat16", "chosen"), [
    (1.12, 1.0, "bfloat16"), (1.08, 1.0, "float32"), (1.0, 1.0, "float32"), (0.5, 1.0, "float32"),
])
def test_half_precision_is_taken_where_it_is_clearly_faster(machine, float32, bfloat16, chosen):
    machine(0, 0, float32=float32, bfloat16=bfloat16)
    assert speeds.faster_precision(tiny.network(), 8, backward=True) == chosen


@pytest.mark.parametrize(("students", "turn", "at_once", "threads"), [
    (1, 1.0, 1.0, None),  # alone
    (2, 1.0, 1.7, 2),  # 2 turns against 1 round of two
    (2, 1.0, 2.1, 2),  # too little to be sure
    (2, 1.0, 2.3, None),
    (6, 1.0, 4.3, 1),  # 4 turns against a round of four
    (6, 1.0, 4.5, None),
    (5, 1.0, 4.3, 1),
    (5, 1.0, 4.5, None),
])
def test_students_take_turns_where_that_is_clearly_faster(machine, students, turn, at_once, threads):
    machine(turn, at_once)
    assert speeds.student_threads(tiny.network(), 8, "float32", students) == threads


def test_a_process_measures_what_it_is_of_once(machine):
    asked = machine(1.0, 1.0)
    given = ((8, "float32", 2), (16, "float32", 2), (8, "bfloat16", 2), (8, "float32", 3))
    for each in given:
        for _ in range(2):
            speeds.student_threads(tiny.network(), *each)
    assert asked == [
        measured for batch, precision, students in given
        for measured in [("turn", batch, (precision,), True), ("at once", batch, precision, students)]
    ]
    asked.clear()
    for backward in (True, False):
        for _ in range(2):
            speeds.faster_precision(tiny.network(), 8, backward=backward)
    assert asked == [("turn", 8, ("float32", "bfloat16"), backward) for backward in (True, False)]
    torch.set_num_threads(2)
    speeds.faster_precision(tiny.network(), 8, backward=True)
    assert len(asked) == 3


def test_what_a_busy_machine_measured_is_mended(machine, monkeypatch):
    """The fewest seconds count; a process measures again until one agrees with them."""
    told = [(9.0, 10.0), (1.6, 1.0), (15.0, 1.0), (1.5, 1.1), (0.1, 9.0)]
    chosen = []
    for float32, bfloat16 in told:
        monkeypatch.setattr(speeds, "_measured", set())  # another process
        asked = machine(0, 0, float32=float32, bfloat16=bfloat16)
        chosen += [speeds.faster_precision(tiny.network(), 8, backward=True) for _ in range(2)]
    assert chosen == 2 * ["float32"] + 8 * ["bfloat16"]
    assert len(asked) == 4, "the last was not needed"
    held, = records.read_json(places.runs_root() / ".speeds.json").values()
    assert held == {"seconds": {"float32": 1.5, "bfloat16": 1.0}, "settled": True}


def test_seconds_at_once_are_measured_on_a_share_of_the_threads_each(monkeypatch):
    torch.set_num_threads(4)
    seen = []

    def step_seconds(network, batch_size, precisions, *, backward):
        seen.append((id(network), torch.get_num_threads()))
        return dict.fromkeys(precisions, float(len(seen)))

    monkeypatch.setattr(speeds, "step_seconds", step_seconds)
    network = tiny.network()
    assert speeds._seconds_at_once(network, 8, "float32", 2) == 2.0
    assert {threads for _, threads in seen} == {2}
    assert len({each for each, _ in seen} | {id(network)}) == 3
    assert torch.get_num_threads() == 4


def test_measuring_leaves_the_network_as_it_was():
    torch.set_num_threads(2)
    network = tiny.network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    speeds.faster_precision(network, 8, backward=True)
    speeds.student_threads(network, 8, "float32", 2)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
