"""What is chosen from measured seconds, and that one measurement is enough. The measurements themselves are real once.
"""

import pytest
import torch

from kdengine import places, records, speeds
from kdengine.errors import KDError
from tests.kdengine import tiny

FLOAT, HALF = "float32", "bfloat16"
LAST, PLAIN = "channels_last", "contiguous_format"


@pytest.fixture
def machine(monkeypatch):
    """A machine of four threads whose seconds are told, not measured; returns what was asked of it."""
    asked = []
    torch.set_num_threads(4)

    def install(turn=1.0, at_once=1.0, **ways):
        def step_seconds(given, batch_size):
            training = next(iter(given.values()))[0].training
            asked.append(("turn", batch_size, tuple(precision for _, precision in given.values()), training))
            return {name: ways.get(name.replace(" ", "_"), turn) for name in given}

        def seconds_at_once(network, batch_size, precision, students):
            asked.append(("at once", batch_size, precision, students))
            return at_once

        monkeypatch.setattr(speeds, "_step_seconds", step_seconds)
        monkeypatch.setattr(speeds, "_seconds_at_once", seconds_at_once)
        monkeypatch.setattr(speeds, "compiled", lambda network: network)
        return asked

    return install


@pytest.mark.parametrize(("float_last", "float_plain", "half_last", "half_plain", "chosen"), [
    (1.12, 2.00, 1.00, 2.00, (HALF, LAST)),
    (1.08, 2.00, 1.00, 2.00, (FLOAT, LAST)),  # too little to be sure
    (1.00, 2.00, 1.00, 2.00, (FLOAT, LAST)),
    (0.50, 2.00, 1.00, 2.00, (FLOAT, LAST)),
    (1.12, 1.00, 2.00, 2.00, (FLOAT, PLAIN)),
    (1.08, 1.00, 2.00, 2.00, (FLOAT, LAST)),
    (1.22, 1.12, 1.12, 1.00, (HALF, PLAIN)),  # a tenth for each: 1.21 times
    (1.20, 1.20, 1.20, 1.00, (FLOAT, LAST)),
    (1.30, 1.30, 1.08, 1.00, (HALF, LAST)),
])
def test_another_way_is_taken_where_it_is_clearly_faster(
    machine, float_last, float_plain, half_last, half_plain, chosen
):
    machine(float32_channels_last=float_last, float32_contiguous_format=float_plain,
            bfloat16_channels_last=half_last, bfloat16_contiguous_format=half_plain)
    assert speeds.fastest(tiny.network(), 8, backward=True) == chosen


@pytest.mark.parametrize(("float_last", "float_plain", "chosen"), [
    (1.12, 1.00, (FLOAT, PLAIN)), (1.08, 1.00, (FLOAT, LAST)),
])
def test_a_precision_that_is_not_allowed_is_not_taken(machine, float_last, float_plain, chosen):
    machine(float32_channels_last=float_last, float32_contiguous_format=float_plain,
            bfloat16_channels_last=0.1, bfloat16_contiguous_format=0.1)
    assert speeds.fastest(tiny.network(), 8, backward=False).precision == HALF
    assert speeds.fastest(tiny.network(), 8, (FLOAT,), backward=False) == chosen
    assert speeds.fastest(tiny.network(), 8, (HALF,), backward=False) == (HALF, LAST)


@pytest.mark.parametrize(("steps", "plain", "compiled", "pays", "measured"), [
    (1199, 1.0, 0.1, False, False),  # seconds of training
    (1201, 1.0, 0.1, True, True),
    (2402, 0.5, 0.45, True, True),
    (2402, 0.5, 0.46, False, True),  # too little to be sure
    (9999, 1.0, 1.5, False, True),
])
def test_compiling_pays_where_a_long_run_gets_faster(machine, steps, plain, compiled, pays, measured):
    asked = machine(turn=plain, as_it_is=plain, compiled=compiled)
    for _ in range(2):
        assert speeds.compiling_pays(tiny.network(), 8, speeds.Way(HALF, LAST), steps) == pays
    assert asked == [("turn", 8, (HALF,), True)] + [("turn", 8, (HALF, HALF), True)] * measured


def test_what_cannot_be_compiled_is_said(machine, monkeypatch):
    machine()

    def fails(network):
        raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr(speeds, "compiled", fails)
    with pytest.raises(KDError, match=r"of tiny on this machine \(RuntimeError: no compiler\)\. Train with --compile"):
        speeds.compiling_pays(tiny.network(), 8, speeds.Way(FLOAT, LAST), 10_000)


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
    assert speeds.student_threads(tiny.network(), 8, speeds.Way(FLOAT, LAST), students) == threads


def test_a_process_measures_what_it_is_of_once(machine):
    asked = machine(1.0, 1.0)
    given = ((8, FLOAT, LAST, 2), (16, FLOAT, LAST, 2), (8, HALF, LAST, 2), (8, FLOAT, PLAIN, 2), (8, FLOAT, LAST, 3))
    for batch, precision, memory_format, students in given:
        for _ in range(2):
            speeds.student_threads(tiny.network(), batch, speeds.Way(precision, memory_format), students)
    assert asked == [
        measured for batch, precision, _, students in given
        for measured in [("turn", batch, (precision,), True), ("at once", batch, precision, students)]
    ]
    asked.clear()
    for backward in (True, False):
        for _ in range(2):
            speeds.fastest(tiny.network(), 8, backward=backward)
    assert asked == [("turn", 8, (FLOAT, FLOAT, HALF, HALF), backward) for backward in (True, False)]
    torch.set_num_threads(2)
    speeds.fastest(tiny.network(), 8, backward=True)
    assert len(asked) == 3


def test_what_a_busy_machine_measured_is_mended(machine, monkeypatch):
    """The fewest seconds count; a process measures again until one agrees with them."""
    told = [(9.0, 10.0), (1.6, 1.0), (15.0, 1.0), (1.5, 1.1), (0.1, 9.0)]
    monkeypatch.setattr(speeds, "memory_formats", lambda _: (LAST,))
    chosen = []
    for single, half in told:
        monkeypatch.setattr(speeds, "_measured", set())  # another process
        asked = machine(float32_channels_last=single, bfloat16_channels_last=half)
        chosen += [speeds.fastest(tiny.network(), 8, backward=True).precision for _ in range(2)]
    assert chosen == 2 * [FLOAT] + 8 * [HALF]
    assert len(asked) == 4, "the last was not needed"
    held, = records.read_json(places.runs_root() / ".speeds.json").values()
    assert held == {"seconds": {"float32 channels_last": 1.5, "bfloat16 channels_last": 1.0}, "settled": True}


def test_seconds_at_once_are_measured_on_a_share_of_the_threads_each(monkeypatch):
    torch.set_num_threads(4)
    seen = []

    def step_seconds(ways, batch_size):
        (name, (network, _)), = ways.items()
        seen.append((id(network), torch.get_num_threads()))
        return {name: float(len(seen))}

    monkeypatch.setattr(speeds, "_step_seconds", step_seconds)
    network = tiny.network()
    assert speeds._seconds_at_once(network, 8, "float32", 2) == 2.0
    assert {threads for _, threads in seen} == {2}
    assert len({each for each, _ in seen} | {id(network)}) == 3
    assert torch.get_num_threads() == 4


def test_measuring_leaves_the_network_as_it_was():
    torch.set_num_threads(2)
    network = tiny.network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    speeds.fastest(network, 8, backward=True)
    speeds.student_threads(network, 8, speeds.Way(FLOAT, LAST), 2)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(value.is_contiguous() for value in network.state_dict().values())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


def test_each_way_is_measured_in_its_own_memory_format(monkeypatch):
    seen = {}
    monkeypatch.setattr(speeds, "_step_seconds", lambda ways, _: seen.update(ways) or dict.fromkeys(ways, 1.0))
    speeds.fastest(tiny.network(), 8, backward=False)
    assert list(seen) == [f"{FLOAT} {LAST}", f"{FLOAT} {PLAIN}", f"{HALF} {LAST}", f"{HALF} {PLAIN}"]
    for name, (network, precision) in seen.items():
        assert name.startswith(precision) and not network.training
        weight = network.net[3].weight
        assert weight.is_contiguous(memory_format=getattr(torch, name.split()[1]))


@pytest.mark.parametrize(("seconds", "steps", "best"), [(1.0, 8, 1.0), (2.0, 6, 2.0), (30.0, 4, 30.0)])
def test_what_takes_long_is_measured_fewer_times(monkeypatch, seconds, steps, best):
    clock = [0.0]
    taken = []

    def step(network, *_):
        taken.append(network)
        # The first is the slowest: it warms up, and does not count.
        clock[0] += seconds * (2 if len(taken) <= 2 else 1)

    monkeypatch.setattr(speeds, "_step", step)
    monkeypatch.setattr(speeds.time, "perf_counter", lambda: clock[0])
    one, other = tiny.network(), tiny.network()
    assert speeds._step_seconds({"one": (one, FLOAT), "other": (other, HALF)}, 4) == pytest.approx(
        {"one": best, "other": best})
    assert taken == [one, other] * (steps // 2)
