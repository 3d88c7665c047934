"""The one place with hooks: what it returns, and that it leaves nothing behind."""

import threading

import pytest
import pytorch_grad_cam
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from kdengine import models
from kdengine.losses import IGNORE
from kdengine.signals import Batch, Stage, Wanted, observing, pair_stages


class Small(nn.Module):
    """A convolution, its in-place ReLU, and a linear head."""

    def __init__(self):
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Linear(4, 2)

    def forward(self, images):
        return self.head(self.stage(images).mean((2, 3)))


STAGES = (Stage("stage1", "stage", 4, 1),)
EVERYTHING = Wanted(("stage1",), ("stage1",), ("stage1",), input_gradient=True, explanations=("stage1",))


class Twice(nn.Module):
    """Two convolutions that share one ReLU, as a residual block does; what comes after it is given."""

    def __init__(self, inplace, after=None):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=inplace)
        self.after = after or nn.Identity()

    def inner(self, images):
        return self.second(self.first(images).relu())

    def forward(self, images):
        return self.after(self.relu(self.second(self.relu(self.first(images)))))


class Around(nn.Module):
    """A stage of one's own, then the mean over its map."""

    def __init__(self, stage, channels=4):
        super().__init__()
        self.stage = stage
        self.head = nn.Linear(channels, 2)

    def forward(self, images):
        return self.head(self.stage(images).mean((2, 3)))


def hooks(module):
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) + len(each._backward_hooks)
               for each in module.modules())


def test_it_returns_logits_and_the_wanted_stage_alone():
    network, images = Small(), torch.rand(2, 3, 5, 5)
    with observing(network, STAGES, Wanted(("stage1",))) as look:
        signals = look(images)
    assert torch.equal(signals.logits, network(images))
    assert torch.equal(signals.features["stage1"], network.stage(images))
    with observing(network, STAGES, Wanted()) as look:
        assert look(images).features == {}


def test_each_call_returns_its_own_tensors():
    network = Small()
    with observing(network, STAGES, Wanted(("stage1",))) as look:
        first, second = look(torch.zeros(1, 3, 5, 5)), look(torch.ones(1, 3, 5, 5))
    assert torch.equal(first.features["stage1"], network.stage(torch.zeros(1, 3, 5, 5)))
    assert torch.equal(second.features["stage1"], network.stage(torch.ones(1, 3, 5, 5)))


def test_another_thread_on_the_same_network_is_not_seen():
    """Not even one that has looked itself before."""
    network, mine, other = Small(), torch.zeros(1, 3, 5, 5), torch.ones(1, 3, 5, 5)
    ready, looked, passed = threading.Event(), threading.Event(), threading.Event()

    def let_the_other_pass(*_):
        """Between the stage and the head of this thread's forward, the other thread runs all of its own."""
        if threading.current_thread() is not thread:
            looked.set()
            passed.wait()

    network.head.register_forward_pre_hook(let_the_other_pass)
    with observing(network, STAGES, Wanted(("stage1",), ("stage1",))) as look:
        def disturb():
            look(other)
            ready.set()
            looked.wait()
            network(other)
            passed.set()

        thread = threading.Thread(target=disturb)
        thread.start()
        ready.wait()
        signals = look(mine)
    thread.join()
    assert torch.equal(signals.features["stage1"], network.stage(mine))
    assert torch.equal(signals.preactivations["stage1"], network.stage[0](mine))


def test_hooks_are_removed_however_the_block_ends():
    network = Small()
    with pytest.raises(RuntimeError), observing(network, STAGES, Wanted(("stage1",))) as look:
        assert hooks(network) == 1
        look(torch.rand(2, 5))
    assert hooks(network) == 0
    with observing(network, STAGES, EVERYTHING) as look:
        assert hooks(network) > 1
        look(torch.rand(2, 3, 5, 5), torch.tensor([0, 1]))
    assert hooks(network) == 0
    with pytest.raises(RuntimeError), observing(network, STAGES, EVERYTHING) as look:
        look(torch.rand(2, 5), torch.tensor([0, 1]))
    assert hooks(network) == 0
    unknown = Stage("stage2", "nowhere", 1, 1)
    for wanted in (Wanted(("stage1", "stage2")), Wanted(preactivations=("stage1", "stage2"))):
        with pytest.raises(AttributeError), observing(network, (*STAGES, unknown), wanted):
            pass
        assert hooks(network) == 0


@pytest.mark.parametrize(("dtype", "promoted"), [
    (torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64),
])
def test_half_is_promoted_and_double_stays(dtype, promoted):
    network = Small().to(dtype)
    with observing(network, STAGES, EVERYTHING) as look:
        signals = look(torch.rand(2, 3, 5, 5, dtype=dtype), torch.tensor([0, 1]))
    assert signals.logits.dtype == signals.features["stage1"].dtype == promoted
    assert signals.preactivations["stage1"].dtype == signals.weights["stage1"].dtype == promoted
    assert signals.input_gradient.dtype == signals.explanations["stage1"].dtype == promoted


def test_several_requests_become_one():
    assert Wanted(("a", "b")) | Wanted(("b", "c")) == Wanted(("a", "b", "c"))
    assert Wanted(preactivations=("a",), weights=("b", "c")) | Wanted(("a",), ("b",), ("c",), True) == Wanted(
        ("a",), ("a", "b"), ("b", "c"), True)
    assert Wanted(explanations=("b",)) | Wanted(explanations=("a", "b")) == Wanted(explanations=("b", "a"))


def test_of_shared_signals_each_asker_gets_its_own():
    with observing(Small(), STAGES, EVERYTHING) as look:
        signals = look(torch.rand(2, 3, 5, 5), torch.tensor([0, 1]))
    none = signals.only(Wanted())
    assert (none.features, none.preactivations, none.weights, none.input_gradient) == ({}, {}, {}, None)
    assert none.explanations == {}
    assert signals.only(Wanted(explanations=("stage1",))).explanations == signals.explanations != {}
    own = signals.only(Wanted(preactivations=("stage1",), input_gradient=True))
    assert (list(own.features), list(own.preactivations), list(own.weights)) == ([], ["stage1"], [])
    assert own.logits is signals.logits
    assert own.input_gradient is signals.input_gradient


def preactivation(network, images):
    with observing(network, STAGES, Wanted(("stage1",), ("stage1",))) as look:
        signals = look(images)
    return signals.preactivations["stage1"], signals.features["stage1"]


@pytest.mark.parametrize("inplace", [True, False])
def test_a_preactivation_is_what_the_relu_that_ends_the_stage_was_given(inplace):
    network, images = Small(), torch.rand(2, 3, 5, 5)
    network.stage[1].inplace = inplace
    before, features = preactivation(network, images)
    assert torch.equal(before, network.stage[0](images))
    assert before.min() < 0
    assert torch.equal(before.relu(), features)


@pytest.mark.parametrize("inplace", [True, False])
def test_of_a_relu_that_a_stage_uses_twice_the_last_use_counts(inplace):
    stage, images = Twice(inplace), torch.rand(2, 3, 5, 5)
    before, features = preactivation(Around(stage), images)
    assert torch.equal(before, stage.inner(images))
    assert torch.equal(before.relu(), features)


@pytest.mark.parametrize("after", [nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.AvgPool2d(1), nn.Sigmoid()])
@pytest.mark.parametrize("inplace", [True, False])
def test_a_stage_that_ends_in_no_relu_gives_its_features(after, inplace):
    before, features = preactivation(Around(Twice(inplace, after)).eval(), torch.rand(2, 3, 5, 5))
    assert torch.equal(before, features)


def test_relu6_counts_too_and_each_call_gives_its_own_preactivations():
    network = Around(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6(inplace=True)))
    first, second = torch.rand(1, 3, 5, 5), 100 * torch.rand(1, 3, 5, 5)
    with observing(network, STAGES, Wanted(preactivations=("stage1",))) as look:
        seen = [look(images).preactivations["stage1"] for images in (first, second)]
    assert torch.equal(seen[0], network.stage[0](first))
    assert torch.equal(seen[1], network.stage[0](second))
    assert seen[1].max() > 6


def test_the_gradient_of_a_preactivation_is_not_stopped_where_the_relu_stops_it():
    network = Small()
    before, features = preactivation(network, torch.rand(2, 3, 5, 5))
    through, = torch.autograd.grad(features.sum(), network.stage[0].bias, retain_graph=True)
    assert torch.equal(through, (before > 0).sum((0, 2, 3)).float())
    whole, = torch.autograd.grad(before.sum(), network.stage[0].bias)
    assert whole.tolist() == [50.0] * 4


ENDS_IN_RELU = {"resnet8": True, "resnet20a": True, "wrn_16_2": False, "resnet18": True, "vgg11_bn": True}


@pytest.mark.parametrize("name", ENDS_IN_RELU)
@pytest.mark.parametrize("training", [True, False])
def test_the_relu_of_a_preactivation_is_the_feature_in_every_family(name, training):
    network, images = models.build(name, ("a", "b", "c")).train(training), torch.rand(2, 3, 32, 32)
    names = tuple(stage.name for stage in network.stages)
    with torch.no_grad(), observing(network, network.stages, Wanted(names, names)) as look:
        signals = look(images)
    assert list(signals.preactivations) == list(names)
    for stage in names:
        before, features = signals.preactivations[stage], signals.features[stage]
        if ENDS_IN_RELU[name]:
            assert torch.equal(before.relu(), features)
            assert before.min() < 0
        else:
            assert torch.equal(before, features)
    assert hooks(network) == 0


@pytest.mark.parametrize(("name", "shapes"), [
    ("resnet8", [(16, 16, 3, 3), (32, 32, 3, 3), (64, 64, 3, 3)]),
    ("wrn_16_2", [(32, 32, 3, 3), (64, 64, 3, 3), (128, 128, 3, 3)]),
    ("vgg11_bn", [(64, 3, 3, 3), (128, 64, 3, 3), (256, 256, 3, 3), (512, 512, 3, 3), (512, 512, 3, 3)]),
])
def test_weights_are_the_last_of_a_stages_largest_convolutions(name, shapes):
    network = models.build(name, ("a", "b", "c"))
    names = tuple(stage.name for stage in network.stages)
    with observing(network, network.stages, Wanted(weights=names)) as look:
        weights = look(torch.rand(2, 3, 32, 32)).weights
    assert [tuple(weight.shape) for weight in weights.values()] == shapes
    for stage in network.stages:
        if name == "vgg11_bn":  # a stage is a ReLU, two layers after its convolution
            parent, place = stage.path.rsplit(".", 1)
            expected = network.get_submodule(f"{parent}.{int(place) - 2}").weight
        else:
            expected = network.get_submodule(f"{stage.path}").get_submodule(
                "0.conv2" if name == "resnet8" else "1.conv2").weight
        assert weights[stage.name] is expected


def test_a_larger_convolution_wins_over_a_later_one():
    network = Around(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)))
    with observing(network, STAGES, Wanted(weights=("stage1",))) as look:
        images = torch.rand(1, 3, 5, 5)
        assert look(images).weights["stage1"] is network.stage[0].weight
        with torch.no_grad():
            constant = look(images).weights["stage1"]
    assert torch.equal(constant, network.stage[0].weight)
    assert not constant.requires_grad


class Smooth(nn.Module):
    """A network whose logits have a third derivative everywhere."""

    def __init__(self):
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh())
        self.head = nn.Linear(4, 3)

    def forward(self, images):
        return self.head(self.stage(images).mean((2, 3)))


def input_gradient(network, images, target):
    with observing(network, STAGES, Wanted(input_gradient=True)) as look:
        return look(images, target).input_gradient


@pytest.mark.parametrize("network", [Smooth, Small])
def test_the_input_gradient_equals_a_central_difference_of_the_targets_logit(network):
    network, target = network().double(), torch.tensor([1, 0])
    images = torch.rand(2, 3, 3, 3, dtype=torch.float64)
    gradient = input_gradient(network, images, target)
    expected, step = torch.zeros_like(images), 1e-6
    with torch.no_grad():
        for place in range(images[0].numel()):
            shift = torch.zeros_like(images)
            shift.flatten(1)[:, place] = step
            change = network(images + shift) - network(images - shift)
            expected.flatten(1)[:, place] = change[torch.arange(2), target] / (2 * step)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)


def test_an_input_gradient_can_be_differentiated_again():
    network, images, target = Smooth().double(), torch.rand(2, 3, 3, 3, dtype=torch.float64), torch.tensor([1, 2])

    def energy():
        return input_gradient(network, images, target).pow(2).sum()

    weight = network.stage[0].weight
    gradient, = torch.autograd.grad(energy(), weight)
    for place in ((0, 0, 0, 0), (3, 2, 1, 1)):
        values, step = [], 1e-5
        for shift in (step, -step):
            with torch.no_grad():
                weight[place] += shift
            values.append(energy().item())
            with torch.no_grad():
                weight[place] -= shift
        assert gradient[place].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


def test_looking_leaves_no_gradient_behind_and_a_teachers_signals_are_constants():
    network, images, target = Small(), torch.rand(2, 3, 5, 5), torch.tensor([1, 0])
    with observing(network, STAGES, EVERYTHING) as look:
        student = look(images, target)
        with torch.no_grad():
            teacher = look(images, target)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert images.grad is None
    assert not images.requires_grad
    for one, other in (
        (student.logits, teacher.logits), (student.input_gradient, teacher.input_gradient),
        *((getattr(student, kind)["stage1"], getattr(teacher, kind)["stage1"])
          for kind in ("features", "preactivations", "weights", "explanations")),
    ):
        assert torch.equal(one, other)
        assert one.requires_grad
        assert not other.requires_grad


def test_an_image_without_a_target_gets_the_input_gradient_of_class_0_and_changes_no_other():
    network, images = Small(), torch.rand(3, 3, 5, 5)
    gradient = input_gradient(network, images, torch.tensor([1, IGNORE, 0]))
    assert torch.equal(gradient, input_gradient(network, images, torch.tensor([1, 0, 0])))
    nothing = input_gradient(network, images, torch.full((3,), IGNORE))
    assert torch.equal(nothing, input_gradient(network, images, torch.zeros(3, dtype=torch.long)))


def explanation(network, images, explained=None, wanted=None):
    with observing(network, STAGES, wanted or Wanted(explanations=("stage1",))) as look:
        return look(images, torch.zeros(len(images), dtype=torch.long), *([explained] if explained else ())
                    ).explanations["stage1"]


def in_order(*classes):
    return lambda logits: torch.tensor(classes)


class Deep(nn.Module):
    """A convolution, the explained stage after it, a convolution behind that, and a head."""

    def __init__(self):
        super().__init__()
        self.before = nn.Conv2d(3, 5, 3, padding=1)
        self.stage = nn.Sequential(nn.Conv2d(5, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.behind = nn.Conv2d(4, 6, 3, padding=1)
        self.head = nn.Linear(6, 3)

    def forward(self, images):
        return self.head(self.behind(self.stage(self.before(images))).tanh().mean((2, 3)))


@pytest.mark.parametrize("constant", [True, False])
def test_an_explanation_is_the_grad_cam_of_another_hand(constant):
    """pytorch-grad-cam takes activations and gradients with hooks of its own, one image at a time here."""
    network, images, classes = Deep().eval(), torch.rand(3, 3, 5, 5), (2, 0, 1)
    with torch.set_grad_enabled(not constant):
        seen = explanation(network, images, in_order(*classes))
    assert seen.shape == (3, 5, 5) and seen.any()
    with pytorch_grad_cam.GradCAM(model=network, target_layers=[network.stage]) as cam:
        for image, target, each in zip(images, classes, seen, strict=True):
            expected = torch.from_numpy(cam(image[None], [ClassifierOutputTarget(target)])[0])
            scaled = (each - each.min()) / (each.max() - each.min() + 1e-7)  # as the library scales its maps
            torch.testing.assert_close(scaled.detach(), expected, rtol=1e-4, atol=1e-4)


def test_an_explanation_is_of_the_class_that_the_network_names_unless_another_is_given():
    network, images = Deep(), torch.rand(8, 3, 5, 5)
    named = network(images).argmax(dim=1)
    assert torch.equal(explanation(network, images), explanation(network, images, lambda _: named))
    other = explanation(network, images, lambda logits: (logits.argmax(dim=1) + 1) % 3)
    assert torch.equal(other, explanation(network, images, lambda _: (named + 1) % 3))
    assert not torch.equal(other, explanation(network, images))


def test_an_explanation_can_be_differentiated_again():
    """By the weights before the stage, in it and behind it, against central differences."""
    network, images = Deep().double(), torch.rand(2, 3, 4, 4, dtype=torch.float64)

    def energy():
        return explanation(network, images, in_order(1, 2)).pow(2).sum()

    for layer in (network.before, network.stage[0], network.behind, network.head):
        gradient, = torch.autograd.grad(energy(), layer.weight)
        weight = layer.weight.view(-1)
        for place in (0, len(weight) // 2, len(weight) - 1):
            values, step = [], 1e-6
            for shift in (step, -step):
                with torch.no_grad():
                    weight[place] += shift
                values.append(energy().item())
                with torch.no_grad():
                    weight[place] -= shift
            assert gradient.reshape(-1)[place].item() == pytest.approx((values[0] - values[1]) / (2 * step),
                                                                    rel=1e-4, abs=1e-9)


def test_a_teacher_s_graph_begins_at_the_explained_stage():
    """Nothing before it is kept for a backward pass, so an explanation takes hardly more memory than an answer."""
    network, graphs = Deep().eval().requires_grad_(False), {}
    for name in ("before", "stage", "behind"):
        network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: graphs.update({name: output.requires_grad}))
    with torch.no_grad():
        seen = explanation(network, torch.rand(2, 3, 5, 5))
        assert graphs == {"before": False, "stage": False, "behind": True}
        assert not seen.requires_grad
    trained = Deep().eval()
    trained.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 5, 5)
    assert torch.equal(explanation(network, images), explanation(trained, images))


def test_of_two_explained_stages_the_deeper_does_not_cut_off_the_other():
    network, images = Deep().eval().requires_grad_(False), torch.rand(2, 3, 5, 5)
    stages = (Stage("early", "before", 5, 1), Stage("stage1", "stage", 4, 1))
    alone = {}
    for name in ("early", "stage1"):
        with torch.no_grad(), observing(network, stages, Wanted(explanations=(name,))) as look:
            alone |= look(images).explanations
    with torch.no_grad(), observing(network, stages, Wanted(explanations=("stage1", "early"))) as look:
        both = look(images).explanations
    assert list(both) == ["stage1", "early"]
    assert all(torch.equal(each, alone[name]) and each.any() for name, each in both.items())


@pytest.mark.parametrize("constant", [True, False])
def test_input_gradient_and_explanation_do_not_depend_on_each_other(constant):
    network, images, target = Small(), torch.rand(2, 3, 5, 5), torch.zeros(2, dtype=torch.long)
    with torch.set_grad_enabled(not constant), observing(network, STAGES, EVERYTHING) as look:
        both = look(images, target)
        assert torch.equal(both.input_gradient, input_gradient(network, images, target))
        assert torch.equal(both.explanations["stage1"], explanation(network, images))


def test_logits_do_not_depend_on_what_else_is_wanted():
    network, images, target = Small(), torch.rand(2, 3, 5, 5), torch.tensor([1, 0])
    with observing(network, STAGES, EVERYTHING) as look:
        logits = look(images, target).logits
    assert torch.equal(logits, network(images))
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_networks_of_different_depth_are_paired_at_their_deep_ends():
    student = [Stage(f"s{i}", "", 1, 2**i) for i in range(3)]
    teacher = [Stage(f"t{i}", "", 1, 2**i) for i in range(5)]
    assert [(a.name, b.name) for a, b in pair_stages(student, teacher)] == [("s0", "t2"), ("s1", "t3"), ("s2", "t4")]
    assert [(a.name, b.name) for a, b in pair_stages(teacher, student)] == [("t2", "s0"), ("t3", "s1"), ("t4", "s2")]


def test_supervised_positions_count_and_have_a_label():
    mask = torch.tensor([[[True, False]], [[True, True]]])
    batch = Batch(torch.zeros(2, 3, 1, 2), torch.zeros(2, 1, 2).long(), mask, torch.tensor([True, False]),
                  torch.arange(2), 0.0, 1)
    assert batch.supervised.tolist() == [[[True, False]], [[False, False]]]
