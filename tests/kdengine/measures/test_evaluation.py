"""Evaluation: measures against hand-worked values, costs against counts."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from kdengine import models
from kdengine.errors import KDError
from kdengine.losses import IGNORE
from kdengine.measures import evaluation
from kdengine.models.network import Network
from kdengine.views import Split
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


def test_rounding_by_hand():
    """Two logits: 192 ones, and 192 times 1 + 2^-9, which bfloat16 (8 significant bits) takes for ones too."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2, bias=False))
    net[1].weight.data = torch.stack([torch.ones(192), torch.full((192,), 1 + 2**-9)])
    network = Network(net, architecture="sums", classes=("a", "b"), stages=(), input_size=8,
                      mean=(0.0,) * 3, std=(1.0,) * 3)
    white = torch.full((5, 3, 8, 8), 255, dtype=torch.uint8)
    p = 1 / (1 + math.exp(0.375))
    expected = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
    assert evaluation.rounding(network, white, "bfloat16") == pytest.approx(expected, rel=1e-4)
    assert evaluation.rounding(network, white, "float32") == 0


def test_rounding_is_of_what_a_network_says_once_trained_and_leaves_its_mode():
    network, images = tiny.network(dropout=0.5).train(), tiny.split().images
    assert 0 < evaluation.rounding(network, images, "bfloat16") < 1e-3
    assert network.training


def evened(network, split):
    """The network, its biases moved so that on average every class has the same logit: it answers all of them."""
    with torch.no_grad():
        network.net[-1].bias -= network.eval()(split.images.float() / 255).mean((0, 2, 3))
    return network.train()


def logits_of(network, split):
    """Of the whole split at once, in evaluation mode: float64 [N, H, W, C]."""
    network.eval()
    with torch.no_grad():
        return network(split.images.float() / 255).movedim(1, -1).double().numpy()


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@pytest.mark.parametrize("batch_size", [1, 10, 37, 100])
def test_segmentation_is_measured_as_numpy_measures_the_whole_split_at_once(batch_size):
    split = tiny.masks()
    student, teacher = evened(tiny.segmenter(), split), evened(tiny.segmenter(seed=4, width=6), split)
    split.target[3] = IGNORE  # an image of which nothing counts
    measured, confusion = evaluation.segment(student, split, teacher, batch_size)

    counts, labels = split.target.numpy() != IGNORE, split.target.numpy()
    ours, theirs = logits_of(student, split), logits_of(teacher, split)
    log_q, log_p = log_softmax(ours)[counts], log_softmax(theirs)[counts]
    answer, truth = ours.argmax(-1)[counts], labels[counts]
    assert measured["n"] == 37
    assert set(answer) == set(truth) == {0, 1, 2}
    assert measured["loss"] == pytest.approx(-log_q[np.arange(len(truth)), truth].mean(), rel=1e-5)
    assert measured["kl_to_teacher"] == pytest.approx((np.exp(log_p) * (log_p - log_q)).sum(1).mean(), rel=1e-4)
    assert measured["agreement"] == pytest.approx((answer == theirs.argmax(-1)[counts]).mean(), abs=1e-9)
    assert measured["pixel_accuracy"] == pytest.approx((answer == truth).mean(), abs=1e-6)
    iou = [((answer == c) & (truth == c)).sum() / ((answer == c) | (truth == c)).sum() for c in range(3)]
    assert measured["iou"] == pytest.approx(iou)
    assert measured["miou"] == pytest.approx(np.mean(iou))

    assert confusion.shape == (37, 3, 3)
    for image in range(37):
        of_image = split.target[image].numpy()
        for label in range(3):
            found = np.bincount(ours[image].argmax(-1)[of_image == label], minlength=3)
            assert confusion[image, label].tolist() == found.tolist()


def test_without_a_teacher_nothing_is_said_of_one_and_an_absent_class_has_no_iou():
    network, split = tiny.segmenter(classes=3), tiny.masks(5)
    with torch.no_grad():
        network.net[-1].bias[1] = -1e4  # never answered
    split.target[split.target == 1] = 0
    measured, _ = evaluation.segment(network, split)
    assert set(measured) == {"n", "loss", "miou", "iou", "pixel_accuracy"}
    assert measured["iou"][1] is None
    assert measured["miou"] == pytest.approx((measured["iou"][0] + measured["iou"][2]) / 2)


@pytest.mark.parametrize("training", [True, False])
def test_segmenting_leaves_the_networks_as_they_were(training):
    networks = [tiny.segmenter().train(training), tiny.segmenter(seed=4).train(training)]
    before = [{name: value.clone() for name, value in each.state_dict().items()} for each in networks]
    evaluation.segment(networks[0], tiny.masks(9), networks[1], batch_size=4)
    for network, held in zip(networks, before, strict=True):
        assert network.training == training
        assert all(torch.equal(value, held[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("side", "dtype"), [(181, torch.int16), (182, torch.int32)])
def test_the_counts_of_an_image_are_kept_in_as_few_bits_as_hold_them(side, dtype):
    network = Network(nn.Conv2d(3, 2, 1), architecture="x", classes=["a", "b"], stages=(), input_size=side,
                      task="segmentation")
    with torch.no_grad():
        network.net.bias.copy_(torch.tensor([1e4, 0.0]))
    split = Split(torch.zeros(1, 3, side, side, dtype=torch.uint8), torch.zeros(1, side, side, dtype=torch.int16))
    measured, confusion = evaluation.segment(network, split)
    assert confusion.dtype == dtype
    assert confusion.tolist() == [[[side**2, 0], [0, 0]]]
    assert (measured["miou"], measured["pixel_accuracy"], measured["loss"]) == (1, 1, 0)


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


@pytest.fixture
def clock(monkeypatch):
    """A clock that each forward moves on by the next of some spans, in seconds, and nothing else does."""
    def install(spans, others=0.0):
        now, left, network = [0.0], iter(spans), tiny.network()

        def forward(images):
            now[0] += next(left)

        monkeypatch.setattr(evaluation, "time", SimpleNamespace(perf_counter=lambda: now[0]))
        monkeypatch.setattr(evaluation, "OthersLoad", lambda: SimpleNamespace(cores=lambda: others))
        monkeypatch.setattr(evaluation.os, "cpu_count", lambda: 4)
        monkeypatch.setattr(network, "forward", forward)
        return network

    return install


def test_latency_reports_its_own_conditions():
    measured = evaluation.latency(tiny.network(), repeats=7)
    assert measured["repeats"] >= 7
    assert measured["threads"] == torch.get_num_threads()
    assert measured["device"] == "cpu"
    assert measured["median_ms"] > 0
    assert measured["std_ms"] >= 0
    low, high = measured["quartiles_ms"]
    assert low <= measured["median_ms"] <= high
    assert measured["others_cores"] >= 0


def test_the_quartiles_of_a_forward_do_not_follow_one_slow_one(clock):
    """Milliseconds 1 to 8 and 1,000; the first five warm up."""
    measured = evaluation.latency(clock([0.1] * 5 + [each / 1000 for each in (1, 2, 3, 4, 5, 6, 7, 8, 1000)]), 9)
    assert measured["median_ms"] == pytest.approx(5) and measured["quartiles_ms"] == pytest.approx([3, 7])
    assert measured["repeats"] == 9


def test_a_quick_forward_is_repeated_for_as_long_as_it_takes_to_see_what_others_do(clock):
    measured = evaluation.latency(clock([2**-7] * 100), repeats=3)  # 7.8 ms: 32 of them are a quarter of a second
    assert measured["repeats"] == 32 and measured["median_ms"] == 1000 * 2**-7


@pytest.mark.parametrize(("others", "busy"), [(0.0, False), (0.4, False), (0.41, True), (3.0, True)])
def test_a_machine_of_which_others_use_more_than_a_tenth_is_busy(clock, others, busy):
    measured = evaluation.latency(clock([0.1] * 9, others), repeats=3)
    assert (measured["others_cores"], measured["busy"]) == (others, busy)


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


def test_masks_without_a_class_are_refused():
    masks = tiny.masks(4)
    nothing = Split(masks.images, torch.full_like(masks.target, IGNORE))
    with pytest.raises(KDError, match="No pixel of these 4 images has a class"):
        evaluation.segment(tiny.segmenter(), nothing)
