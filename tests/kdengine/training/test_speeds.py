"""The way a machine runs a network is settled once, while it is quiet, or is what the hardware is made for."""

import time

import pytest
import torch

from kdengine import files, models, paths
from kdengine.errors import KDError
from kdengine.training import speeds
from kdengine.training.speeds import Execution
from tests.kdengine import tiny

FLOAT, HALF = "float32", "bfloat16"
LAST, PLAIN = "channels_last", "contiguous_format"
CPU = torch.device("cpu")


@pytest.fixture
def machine(monkeypatch):
    """A machine whose seconds and load are told, not measured; returns how many rounds were measured."""
    rounds = []
    monkeypatch.setattr(speeds, "multiplies_bfloat16", lambda device: False)

    def install(*seconds, load=0.0):
        """seconds: by way, for each round in turn; the last for all further ones. load: cores that others use."""
        def step_seconds(ways, batch_size):
            measured = seconds[min(len(rounds), len(seconds) - 1)]
            rounds.append(batch_size)
            return {way: measured.get(way, 9.0) for way in ways}

        loads = iter(load) if isinstance(load, list) else None
        monkeypatch.setattr(speeds, "_step_seconds", step_seconds)
        monkeypatch.setattr(speeds, "_LOOK_S", 0.0)
        monkeypatch.setattr(speeds.OthersLoad, "cores", lambda self: next(loads) if loads else load)
        monkeypatch.setattr(speeds.os, "cpu_count", lambda: 4)
        return rounds

    return install


def table(float_last, float_plain, half_last, half_plain):
    return {Execution(FLOAT, LAST): float_last, Execution(FLOAT, PLAIN): float_plain,
            Execution(HALF, LAST): half_last, Execution(HALF, PLAIN): half_plain}


@pytest.mark.parametrize(("seconds", "chosen"), [
    ((1.12, 2.00, 1.00, 2.00), (HALF, LAST)),
    ((1.08, 2.00, 1.00, 2.00), (FLOAT, LAST)),  # too little to be sure
    ((1.00, 2.00, 1.00, 2.00), (FLOAT, LAST)),
    ((1.12, 1.00, 2.00, 2.00), (FLOAT, PLAIN)),
    ((1.08, 1.00, 2.00, 2.00), (FLOAT, LAST)),
    ((1.22, 1.12, 1.12, 1.00), (HALF, PLAIN)),  # a tenth for each: 1.21 times
    ((1.20, 1.20, 1.20, 1.00), (FLOAT, LAST)),
])
def test_another_way_is_settled_where_it_is_clearly_faster(machine, seconds, chosen):
    machine(table(*seconds))
    assert speeds.settle(tiny.network(), 8, training=True) == chosen
    assert speeds.execution(tiny.network(), 8, training=True) == chosen


def test_where_the_hardware_multiplies_half_precision_full_precision_must_be_clearly_faster(machine, monkeypatch):
    machine(table(1.0, 2.0, 1.08, 2.0))
    monkeypatch.setattr(speeds, "multiplies_bfloat16", lambda device: True)
    assert speeds.settle(tiny.network(), 8, training=True) == (HALF, LAST)


def test_what_is_not_settled_is_what_the_hardware_is_made_for(monkeypatch):
    for multiplies, precision in ((True, HALF), (False, FLOAT)):
        monkeypatch.setattr(speeds, "multiplies_bfloat16", lambda device, multiplies=multiplies: multiplies)
        assert speeds.execution(tiny.network(), 8, training=True) == (precision, LAST)
    depthwise = models.build("efficientnet_lite0", ["0", "1"])
    monkeypatch.setattr(speeds, "multiplies_bfloat16", lambda device: True)
    assert speeds.execution(depthwise, 8, training=True) == (FLOAT, LAST)
    assert speeds.execution(tiny.network(), 8, FLOAT, training=True) == (FLOAT, LAST)
    assert speeds.execution(tiny.network(), 8, HALF, training=False) == (HALF, LAST)


def test_rounds_that_disagree_settle_nothing(machine):
    slow = {way: 1.3 * seconds for way, seconds in table(1.0, 2.0, 0.5, 2.0).items()}
    machine(table(1.0, 2.0, 0.5, 2.0), slow)
    with pytest.raises(KDError, match="Nothing was settled; try again when it is quiet"):
        speeds.settle(tiny.network(), 8, training=True)
    assert speeds.settled(CPU) == []
    assert speeds.execution(tiny.network(), 8, training=True) == speeds.default_execution(tiny.network())


@pytest.mark.parametrize("load", [0.4, [0.0, 0.4]])  # from the beginning, or since
def test_a_machine_that_others_use_settles_nothing(machine, load):
    machine(table(1.0, 2.0, 0.5, 2.0), load=load)
    with pytest.raises(KDError, match=r"Other work takes 0\.4 of 4 cores"):
        speeds.settle(tiny.network(), 8, training=True)
    assert speeds.settled(CPU) == []


def test_the_file_holds_it_for_this_machine_and_version(machine):
    rounds = machine(table(1.0, 2.0, 0.5, 2.0))
    assert speeds.settle(tiny.network(), 8, training=True) == (HALF, LAST)
    measured = len(rounds)
    assert speeds.settle(tiny.network(), 8, training=True) == (HALF, LAST)
    assert len(rounds) == measured
    entry, = speeds.settled(CPU)
    assert {key: entry[key] for key in ("network", "input_size", "batch_size", "training", "way")} == {
        "network": "tiny", "input_size": tiny.SIZE, "batch_size": 8, "training": True, "way": (HALF, LAST)}
    assert entry["seconds"][f"{HALF} {LAST}"] == 0.5
    for other in ({"batch_size": 16, "training": True}, {"batch_size": 8, "training": False}):
        assert speeds.execution(tiny.network(), **other) == (FLOAT, LAST)
    torch.set_num_threads(3)  # as another machine
    assert speeds.execution(tiny.network(), 8, training=True) == (FLOAT, LAST)
    assert speeds.settled(CPU) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"tiny 8 8": {"seconds": {"x": 1}, "settled": true}}',
                                     '{"version": 1, "settled": {}}', '{"version": 2}', '{"version": 2, "settled": 3}',
                                     '{"version": 2, "settled": {"x": {"way": ["float16", "bogus"]}}}'])
def test_a_file_of_another_kind_settles_nothing_and_breaks_nothing(machine, content):
    path = paths.runs_root() / speeds.FILE
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert speeds.execution(tiny.network(), 8, training=True) == speeds.default_execution(tiny.network())
    machine(table(1.0, 2.0, 0.5, 2.0))
    assert speeds.settle(tiny.network(), 8, training=True) == (HALF, LAST)
    assert files.read_json(path)["version"] == 2


def test_a_file_that_cannot_be_written_is_said(machine, monkeypatch):
    def full(path, value):
        raise OSError(28, "No space left on device", str(path))

    machine(table(1.0, 2.0, 0.5, 2.0))
    monkeypatch.setattr(speeds, "write_json", full)
    with pytest.raises(KDError, match="cannot be written, so nothing can be settled: No space left"):
        speeds.settle(tiny.network(), 8, training=True)
    assert speeds.execution(tiny.network(), 8, training=True) == (FLOAT, LAST)


@pytest.mark.parametrize(("students", "threads"), [(1, None), (2, 2), (3, 1), (4, 1), (9, 1)])
def test_several_students_share_the_threads(students, threads):
    torch.set_num_threads(4)
    assert speeds.student_threads(CPU, students) == threads
    assert speeds.student_threads(torch.device("cuda"), students) is None


def test_a_measurement_leaves_the_network_as_it_was(monkeypatch):
    monkeypatch.setattr(speeds, "_require_quiet", lambda: None)
    monkeypatch.setattr(speeds, "_AGREE", float("inf"))
    network = tiny.network().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert speeds.settle(network, 4, training=True) in [Execution(p, m) for p in (FLOAT, HALF) for m in (LAST, PLAIN)]
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert speeds.seconds_now(network, 4, "auto", training=False) > 0


def test_seconds_are_the_fewest_of_three_after_one_to_warm_up(monkeypatch):
    clock, taken = [0.0], {"one": [9.0, 3.0, 2.0, 4.0], "other": [9.0, 1.0, 5.0, 6.0]}
    networks = {"one": tiny.network(), "other": tiny.network(seed=1)}

    def step(network, images, precision):
        name = next(each for each in networks if networks[each] is network)
        clock[0] += taken[name].pop(0)

    monkeypatch.setattr(speeds, "_step", step)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    ways = {Execution(FLOAT, LAST): (networks["one"], FLOAT), Execution(HALF, LAST): (networks["other"], HALF)}
    assert speeds._step_seconds(ways, 4) == {Execution(FLOAT, LAST): 2.0, Execution(HALF, LAST): 1.0}
