"""Evaluation: measures against hand-worked values, costs against counts."""

import pytest
import torch
from torch import nn

from kdengine import evaluation, models
from kdengine.models.network import Network
from tests.kdengine import tiny


def test_scores_by_hand():
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    target = torch.tensor([0, 1, 1])
    teacher = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    measured = evaluation.scores(logits, target, teacher)
    right, wrong = 0.1269280110429725, 2.1269280110429727  # -ln of 1 / (1 + e^-2) and of its complement
    assert measured["n"] == 3
    assert measured["top1"] == pytest.approx(2 / 3)
    assert measured["top5"] is None
    assert measured["loss"] == pytest.approx((2 * right + wrong) / 3)
    assert measured["agreement"] == pytest.approx(2 / 3)
    p = 1 / (1 + torch.tensor(-2.0).exp()).item()
    assert measured["kl_to_teacher"] == pytest.approx((2 * p - 1) * 2 / 3, rel=1e-5)
    assert "agreement" not in evaluation.scores(logits, target)


def test_top5_is_measured_where_it_can_fail():
    logits = torch.arange(6.0).flip(0).repeat(2, 1)
    assert evaluation.scores(logits, torch.tensor([4, 5]))["top5"] == 0.5


def test_predictions_are_in_order_whatever_the_batch_and_leave_the_mode():
    network, split = tiny.network(dropout=0.5), tiny.split()
    network.train()
    logits = evaluation.predict(network, split, batch_size=10)
    assert network.training
    network.eval()
    torch.testing.assert_close(logits, network(split.images.float() / 255).detach())


def test_flops_are_twice_the_multiply_adds():
    # 3x3 convolutions 3 -> 4 on 8x8 and 4 -> 8 on 4x4, and one matrix 32 -> 3.
    assert evaluation.flops(tiny.network()) == 2 * (8 * 8 * 4 * 27 + 4 * 4 * 8 * 36 + 32 * 3)


def test_cost_counts_trained_numbers_and_stored_bytes():
    network = models.build("resnet20", [str(i) for i in range(10)])
    measured = evaluation.cost(network)
    # Convolutions, projections, two numbers a batch-norm channel, and the classifier, by hand.
    convolutions = 9 * (3 * 16 + 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64) + 16 * 32 + 32 * 64
    norms = 2 * (7 * 16 + 7 * 32 + 7 * 64)
    assert measured["parameters"] == convolutions + norms + 64 * 10 + 10
    counters = 21 * 8
    assert measured["megabytes"] == pytest.approx((4 * (measured["parameters"] + norms) + counters) / 1e6)
    assert measured["flops"] == pytest.approx(82e6, rel=0.02)


def test_latency_reports_its_own_conditions():
    measured = evaluation.latency(tiny.network(), repeats=7)
    assert measured["repeats"] == 7
    assert measured["threads"] == torch.get_num_threads()
    assert measured["device"] == "cpu"
    assert measured["median_ms"] > 0
    assert measured["std_ms"] >= 0


def test_peak_memory_of_this_process_is_more_than_a_tensor_it_holds():
    held = torch.ones(25_000_000)  # 100 * 10^6 bytes
    measured = evaluation.peak_memory(torch.device("cpu"))
    assert measured["of"] == "process"
    assert measured["megabytes"] > held.numel() * 4 / 1e6


def test_measuring_leaves_no_hook_and_no_gradient():
    network = Network(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), architecture="x", classes=["a", "b"], stages=(),
                      input_size=2)
    evaluation.cost(network)
    assert all(each.grad is None for each in network.parameters())
    assert not any(each._forward_hooks for each in network.modules())
