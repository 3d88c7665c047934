"""Training: equal to a plain loop, to itself in company, and to itself after a pause."""

import copy
import math
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import Future

import pytest
import torch
import torch.nn.functional as F

from kdengine import methods
from kdengine.configuration import CLASS_WEIGHTS, Configuration
from kdengine.devices import compiled
from kdengine.errors import KDError, OutOfMemory
from kdengine.losses import IGNORE
from kdengine.methods import method
from kdengine.methods.weights import Weights
from kdengine.signals import Wanted, observing
from kdengine.training import Learner, train
from kdengine.training.schedule import balanced_weights, learning_rate_at
from kdengine.training.steps import AtOnce
from kdengine.training.teacher_cache import TeacherCache
from kdengine.views import POLICIES, Split, steps_per_epoch, views
from tests.kdengine import tiny

SPLIT, MASKS = tiny.split(), tiny.masks()
METHODS = {
    task: tuple(name for name, each in (methods.METHODS | methods.FIRST_STAGES).items() if task in each.tasks)
    for task in ("classification", "segmentation")
}


DIFFERENTIATE = ("input_gradient", "e2kd")
"""Methods that differentiate a gradient again."""


def settings(**given):
    return Configuration(**{"epochs": 3, "batch_size": 8, "learning_rate": 0.1, **given})


def teacher(split=SPLIT):
    made = tiny.segmenter if split.target.dim() > 1 else tiny.network
    return made(seed=9, width=6).eval().requires_grad_(False)


def learner(name="none", configuration=None, network=None, split=SPLIT, **fields):
    network = network or (tiny.segmenter() if split.target.dim() > 1 else tiny.network())
    return Learner(network, method(name, **fields), teacher(split), split, configuration or settings(), "float32")


def run(*learners, split=SPLIT, policy="crop+flip", **given):
    """Train, and return each learner's rows."""
    rows = {id(each): [] for each in learners}
    train(list(learners), teacher(split), split, POLICIES[policy],
          on_epoch=lambda each, row: rows[id(each)].append(row), **given)
    return [rows[id(each)] for each in learners]


def weights(each):
    return {name: value.clone() for name, value in each.network.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_equals_a_plain_loop():
    configuration = settings(epochs=2, schedule="constant")
    each = learner("kd", configuration, temperature=3, alpha=0.6)
    rows, = run(each)

    network, theirs = tiny.network(), teacher()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    means = []
    for epoch in range(2):
        losses = []
        for index, images, labels in views(SPLIT, POLICIES["crop+flip"], 0, epoch).batches(8):
            logits, taught = network(images), theirs(images)
            divergence = F.kl_div(F.log_softmax(logits / 3, 1), F.softmax(taught / 3, 1), reduction="batchmean")
            assert torch.equal(labels, SPLIT.target[index])
            loss = 0.4 * F.cross_entropy(logits, labels) + 0.6 * 9 * divergence
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(each.network.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    assert [row["loss"] for row in rows] == pytest.approx(means, rel=1e-4)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(row["loss"] == pytest.approx(sum(row["terms"].values())) for row in rows)


def test_explanations_equal_a_plain_loop_and_read_no_label():
    """Every image has a part, whether its label is withheld or not."""
    configuration = settings(epochs=2, schedule="constant")
    each = learner("e2kd", configuration, temperature=3, explanation_weight=2)
    rows, = run(each)

    def explained(features, logits, classes, **again):
        gradient, = torch.autograd.grad(logits[torch.arange(len(logits)), classes].sum(), features, **again)
        return (gradient.mean((2, 3), keepdim=True) * features).sum(1).relu().flatten(1)

    network, theirs = tiny.network(), teacher()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    means = []
    for epoch in range(2):
        losses = []
        for _, images, _ in views(SPLIT, POLICIES["crop+flip"], 0, epoch).batches(8):
            seen = [each.net[:6]((images - 0.5) / 0.25) for each in (network, theirs)]
            seen[1].requires_grad_()
            logits, taught = (each.net[6:](features) for each, features in zip((network, theirs), seen, strict=True))
            named = taught.argmax(1)
            ours = explained(seen[0], logits, named, create_graph=True)
            cosine = F.cosine_similarity(ours, explained(seen[1], taught, named).detach())
            softened = F.softmax(taught.detach() / 3, 1)
            divergence = F.kl_div(F.log_softmax(logits / 3, 1), softened, reduction="batchmean")
            loss = 9 * divergence + 2 * (1 - cosine).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    assert [row["loss"] for row in rows] == pytest.approx(means, rel=1e-4)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(each.network.state_dict()[name], value, rtol=1e-3, atol=1e-5)

    unlabelled = tiny.split(unlabelled=37)
    none = learner("e2kd", configuration, split=unlabelled, temperature=3, explanation_weight=2)
    run(none, split=unlabelled)
    assert same(weights(none), weights(each))


@pytest.mark.parametrize(("precision", "memory_format", "rel"), [
    ("float32", torch.channels_last, 1e-4), ("bfloat16", torch.contiguous_format, 0.1),
    ("bfloat16", torch.channels_last, 0.1)])
def test_explanations_are_learned_in_every_precision_and_memory_format(precision, memory_format, rel):
    """As far as its rounding allows: the losses of a first epoch are those of the plain way."""
    configuration = settings(epochs=1, learning_rate=0.01)
    plain, = run(learner("e2kd", configuration))
    network = tiny.network().to(memory_format=memory_format)
    other, = run(Learner(network, method("e2kd"), teacher(), SPLIT, configuration, precision),
                 teacher_precision=precision)
    for name, value in plain[0]["terms"].items():
        assert other[0]["terms"][name] == pytest.approx(value, rel=rel), name


@pytest.mark.parametrize("task", METHODS)
def test_side_by_side_equals_alone_to_the_bit(task):
    split, network = {
        "classification": (SPLIT, lambda: tiny.network(dropout=0.5)), "segmentation": (MASKS, tiny.segmenter),
    }[task]

    def networks():
        return {name: learner(name, network=network(), split=split) for name in METHODS[task]}

    together, alone = networks(), networks()
    run(*together.values(), split=split)
    for each in alone.values():
        run(each, split=split)
    assert all(same(weights(together[name]), weights(alone[name])) for name in METHODS[task])
    assert not same(weights(together["none"]), weights(together["kd"]))


@pytest.fixture
def without_a_compiler(monkeypatch):
    """torch traces the networks, and their backwards, but makes no machine code of them."""
    monkeypatch.setattr("kdengine.training.learner.compiled", lambda network: _traced(compiled, network))


def _traced(compiled, network):
    with pytest.MonkeyPatch.context() as patch:
        compile = torch.compile
        patch.setattr(torch, "compile", lambda network, *, fullgraph, dynamic, mode: compile(
            network, fullgraph=fullgraph, dynamic=dynamic, backend="aot_eager"))
        return compiled(network)


@pytest.mark.parametrize("task", ["classification", pytest.param("segmentation", marks=pytest.mark.slow)])
def test_compiled_equals_as_it_is_up_to_rounding(task, without_a_compiler):
    """Every method sees through the program what it sees through the network; the last batch is a smaller one."""
    split, network = {"classification": (SPLIT, tiny.network), "segmentation": (MASKS, tiny.segmenter)}[task]
    names = [name for name in METHODS[task] if name not in DIFFERENTIATE]

    def learners():
        return [learner(name, settings(epochs=2, learning_rate=0.01), network(), split) for name in names]

    plain, programs = learners(), learners()
    before = weights(programs[0])
    for each in programs:
        each.compile(split)
        assert each.compiled
    assert same(weights(programs[0]), before), "compiling is tried on a copy"
    for name, first, second in zip(names, run(*plain, split=split), run(*programs, split=split), strict=True):
        assert [row["loss"] for row in second] == pytest.approx([row["loss"] for row in first], rel=1e-3), name


def test_steps_run_what_was_compiled(monkeypatch):
    ran = []

    def counting(graph, _):
        return lambda *given: ran.append(graph) or graph(*given)

    monkeypatch.setattr("kdengine.training.learner.compiled", lambda network: torch.compile(
        network, dynamic=False, backend=counting))
    each = learner(configuration=settings(epochs=2))
    each.compile(SPLIT)
    assert len(ran) == 3 * 2, "three times a full batch and the last, smaller one"
    shapes = len({id(graph) for graph in ran})
    run(each)
    assert len(ran) == 3 * 2 + 2 * steps_per_epoch(len(SPLIT), 8)
    assert len({id(graph) for graph in ran}) == shapes == 2, "what was tried is what trains"


@pytest.mark.skipif(not shutil.which("g++") and not shutil.which("clang++"), reason="needs a C++ compiler")
def test_compiled_to_machine_code_equals_as_it_is_up_to_rounding():
    plain, program, again = (learner("attention", settings(epochs=2, learning_rate=0.01)) for _ in range(3))
    for each in (program, again):
        each.compile(SPLIT)
    first, second, _ = (run(each)[0] for each in (plain, program, again))
    assert [row["loss"] for row in second] == pytest.approx([row["loss"] for row in first], rel=1e-3)
    assert same(weights(program), weights(again))


def test_what_torch_cannot_compile_is_refused_and_trains_as_it_is(without_a_compiler):
    twice = [learner(name) for name in DIFFERENTIATE]
    for each in twice:
        with pytest.raises(KDError, match=f"cannot differentiate a gradient again, as method '{each.method.name}'"):
            each.compile(SPLIT)
    looks_at_values = learner()
    looks_at_values.network.register_forward_pre_hook(lambda _, images: print(images[0].sum().item(), end=""))
    with pytest.raises(KDError, match="cannot make a program of tiny on this machine"):
        looks_at_values.compile(SPLIT)
    assert not any(each.compiled for each in (*twice, looks_at_values))
    assert len(run(looks_at_values)[0]) == 3


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("task", METHODS)
def test_at_once_equals_alone_to_the_bit(task, four_threads):
    """Half of the students drop out at random: they take turns, and nobody's numbers change."""
    split, made = {
        "classification": (SPLIT, lambda place: tiny.network(dropout=0.5 * (place % 2))),
        "segmentation": (MASKS, lambda place: tiny.segmenter()),
    }[task]

    def learners():
        return [learner(name, network=made(place), split=split) for place, name in enumerate(METHODS[task])]

    together, alone = learners(), learners()
    run(*together, split=split, student_threads=1)
    for each in alone:
        run(each, split=split, student_threads=1)
    assert all(same(weights(first), weights(second)) for first, second in zip(together, alone, strict=True))


@pytest.mark.parametrize("students", [2, 3])
def test_as_many_are_under_way_as_there_are_threads_for(four_threads, students):
    """Two threads each of four: after a first step in turns, no student gets through a step without another.

    Of three students, the third of a batch meets the first of the next.
    """
    meeting = threading.Barrier(2, timeout=60)
    steps = Counter()

    def wait(network, *_):
        steps[network] += 1
        if steps[network] > 1:
            assert torch.get_num_threads() == 2
            meeting.wait()

    learners = [learner("kd", configuration=settings(epochs=1, batch_size=4)) for _ in range(students)]
    for each in learners:
        each.network.register_forward_pre_hook(wait)
    run(*learners, student_threads=2)
    count = steps_per_epoch(len(SPLIT), 4)
    assert count % 2, "an even number of steps at once"
    assert list(steps.values()) == [count] * students
    assert torch.get_num_threads() == 4


def test_a_step_at_once_waits_for_the_one_before_it_of_its_own_student_alone():
    order = []

    class Ended(Future):
        def __init__(self, name):
            super().__init__()
            self.name = name
            self.set_result(None)

        def result(self, timeout=None):
            order.append(f"after {self.name}")

    class Pool:
        """Takes a step when it is given."""

        def submit(self, take, *given):
            take(*given)
            return Ended(order[-1])

    class Step:
        def __init__(self, name):
            self.learner = self.name = name

        def take(self):
            order.append(self.name)

    steps = AtOnce(Pool())
    steps.take([Step("a"), Step("b")], 0)  # in turns, to see who draws
    for _ in range(2):
        order.clear()
        steps.take([Step("a"), Step("b")], 0)
    assert order[:4] == ["after a", "a", "after b", "b"]


def test_who_begins_to_draw_random_numbers_later_cannot_train_at_once(four_threads):
    each = learner()
    steps = Counter()

    def later(*_):
        steps["taken"] += 1
        if steps["taken"] > 2:
            torch.rand(1)

    each.network.register_forward_pre_hook(later)
    with pytest.raises(KDError, match="--threads 1"):
        run(each, student_threads=1)


def test_who_draws_random_numbers_now_and_then_takes_turns_throughout(four_threads):
    """In the first step and in every second one after it: alone and in company the same."""
    def occasional():
        each, steps = learner(), Counter()

        def now_and_then(*_):
            steps["taken"] += 1
            if steps["taken"] % 2:
                each.network.net[9].weight.data += 0.01 * torch.rand(1)

        each.network.register_forward_pre_hook(now_and_then)
        return each

    pair, alone = [occasional(), learner("kd")], occasional()
    run(*pair, student_threads=1)
    run(alone, student_threads=1)
    assert same(weights(pair[0]), weights(alone))


def test_a_method_is_shown_the_teacher_s_weights_and_not_the_folded_ones(monkeypatch):
    theirs, shown = teacher(), []
    terms = Weights.terms

    def spy(self, student, taught, *rest):
        shown.append(taught.weights)
        return terms(self, student, taught, *rest)

    monkeypatch.setattr(Weights, "terms", spy)
    each = learner("weights", settings(epochs=1))
    train([each], theirs, SPLIT, POLICIES["crop"], on_epoch=lambda *_: None)
    own = [theirs.net[0].weight, theirs.net[3].weight]
    for weight in shown[-1].values():
        assert any(weight.shape == each.shape and torch.equal(weight, each) for each in own)
    assert shown[-1]


@pytest.mark.parametrize(("name", "optimizer"), [
    *((name, "sgd") for name in METHODS["classification"]), ("features_mse", "adam"), ("crd", "adamw")])
def test_a_resumed_run_equals_an_undisturbed_one_to_the_bit(name, optimizer, tmp_path):
    configuration = settings(optimizer=optimizer, learning_rate=0.01, warmup_epochs=0.5)
    undisturbed = learner(name, configuration, tiny.network(dropout=0.5))
    states = []
    train([undisturbed], teacher(), SPLIT, POLICIES["crop"],
          on_epoch=lambda each, row: torch.save(each.state(), tmp_path / f"{row['epoch']}.pt"))
    resumed = learner(name, configuration, tiny.network(seed=5, dropout=0.5))
    resumed.restore(torch.load(tmp_path / "1.pt", weights_only=True))
    train([resumed], teacher(), SPLIT, POLICIES["crop"], first_epoch=1, on_epoch=lambda each, row: states.append(row))
    assert same(weights(resumed), weights(undisturbed))
    assert [row["epoch"] for row in states] == [2, 3]


@pytest.mark.parametrize(("name", "torchs"), [
    ("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_an_optimizer_takes_the_steps_of_torch_s_to_the_bit(name, torchs):
    ours, theirs = tiny.network(seed=3), tiny.network(seed=3)
    asked = settings(optimizer=name, weight_decay=0.01)
    plain = learner(configuration=asked, network=ours).optimizer
    parameters = list(theirs.parameters())
    optimizer = torchs(parameters, lr=asked.learning_rate, weight_decay=0.01, fused=True, **(
        {"momentum": asked.momentum} if name == "sgd" else {"betas": (asked.momentum, 0.999)}))
    assert isinstance(plain, torchs)
    for step in range(4):
        for mine, other in zip(ours.parameters(), parameters, strict=True):
            mine.grad = torch.randn_like(other, generator=torch.Generator().manual_seed(step))
            other.grad = mine.grad.clone()
        for each in (plain, optimizer):
            each.step()
            each.zero_grad()
        plain.load_state_dict(plain.state_dict())
    assert all(torch.equal(mine, other) and mine.grad is None
               for mine, other in zip(ours.parameters(), parameters, strict=True))
    assert not torch.equal(parameters[0], next(tiny.network(seed=3).parameters()))


def test_a_resumed_run_on_masks_equals_an_undisturbed_one_to_the_bit():
    configuration = settings(class_weights="balanced")
    undisturbed, resumed = (
        learner("cwd", configuration, tiny.segmenter(seed), MASKS, feature_weight=50) for seed in (0, 5))
    kept = []

    def keep(each, row):
        kept.append(copy.deepcopy(each.state()))

    train([undisturbed], teacher(MASKS), MASKS, POLICIES["zoom+flip"], on_epoch=keep)
    resumed.restore(kept[0])
    train([resumed], teacher(MASKS), MASKS, POLICIES["zoom+flip"], first_epoch=1, on_epoch=keep)
    assert same(weights(resumed), weights(undisturbed))
    assert same(kept[-1]["adapter"], kept[2]["adapter"])


def masked_rows(logits, labels):
    """Logits as rows [N, C] and labels [N] of the pixels that have a class."""
    there = labels != IGNORE
    return logits.movedim(1, -1)[there], labels[there]


@pytest.mark.parametrize("class_weights", CLASS_WEIGHTS)
def test_on_masks_it_equals_a_plain_loop_over_the_pixels_that_have_a_class(class_weights):
    each = learner("kd", settings(epochs=2, schedule="constant", class_weights=class_weights), split=MASKS,
                   temperature=3, alpha=0.6)
    rows, = run(each, split=MASKS, policy="zoom+flip")

    counts = [int((MASKS.target == label).sum()) for label in range(3)]
    weight = [sorted(counts)[1] / count for count in counts] if class_weights == "balanced" else [1.0] * 3
    network, theirs = tiny.segmenter(), teacher(MASKS)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    means = []
    for epoch in range(2):
        losses = []
        for _, images, target in views(MASKS, POLICIES["zoom+flip"], 0, epoch).batches(8):
            logits, labels = masked_rows(network(images), target)
            taught, _ = masked_rows(theirs(images), target)
            divergence = F.kl_div(F.log_softmax(logits / 3, 1), F.softmax(taught / 3, 1), reduction="batchmean")
            loss = 0.4 * F.cross_entropy(logits, labels, torch.tensor(weight)) + 0.6 * 9 * divergence
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(each.network.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    assert [row["loss"] for row in rows] == pytest.approx(means, rel=1e-4)


def test_weights_that_balance_are_the_median_share_over_the_share():
    masks = torch.full((2, 4, 4), 0, dtype=torch.int16)
    masks[0, 0], masks[0, 1, :2], masks[1] = 1, 3, IGNORE  # 10 pixels of class 0, 4 of 1, none of 2, 2 of 3
    found = balanced_weights(Split(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), masks), 5)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([4 / 10, 1, 1, 4 / 2, 1])
    # Of labels as of pixels; then every class together counts the same.
    labels = Split(torch.zeros(9, 3, 1, 1, dtype=torch.uint8), torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, IGNORE]))
    assert balanced_weights(labels, 3).tolist() == pytest.approx([2 / 5, 1, 2])


def test_a_network_for_one_task_is_not_trained_on_the_data_of_the_other():
    for network, split, sentence in (
        (tiny.network(), MASKS, "tiny is for classification; these data have a mask for each image"),
        (tiny.segmenter(), SPLIT, "tiny segmenter is for segmentation; these data have one class an image"),
    ):
        with pytest.raises(KDError, match=f"{sentence}.*`python -m kdengine models` says what each network is for"):
            Learner(network, method("none"), None, split, settings(), "float32")


def test_it_learns_and_leaves_teacher_and_global_randomness_alone():
    each, theirs = learner("kd", settings(epochs=8, learning_rate=0.2)), teacher()
    before, random = {k: v.clone() for k, v in theirs.state_dict().items()}, torch.random.get_rng_state()
    rows = []
    train([each], theirs, SPLIT, POLICIES["none"], on_epoch=lambda _, row: rows.append(row))
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert all(torch.equal(theirs.state_dict()[name], value) for name, value in before.items())
    assert torch.equal(torch.random.get_rng_state(), random)


class Poisoned:
    """Plain training whose term becomes NaN at one step of one epoch."""

    name, needs_teacher, tasks = "poisoned", False, ("classification",)

    def __init__(self, epoch, step):
        self.when = (epoch, step)
        self.steps = 0

    def terms(self, student, teacher, batch, adapter):
        self.steps += 1
        poison = math.nan if self.steps == self.when[0] * 5 + self.when[1] + 1 else 0.0
        return {"cross_entropy": F.cross_entropy(student.logits, batch.target), "odd": student.logits.sum() * poison}


def test_a_nan_ends_that_student_alone_and_names_epoch_step_and_term():
    poisoned = Learner(tiny.network(), Poisoned(1, 2), None, SPLIT, settings(), "float32")
    healthy, alone = learner(), learner()
    rows, other_rows = run(poisoned, healthy)
    assert "Epoch 2, step 3: the term 'odd' became nan" in str(poisoned.failure)
    assert [row["epoch"] for row in rows] == [1]
    assert [row["epoch"] for row in other_rows] == [1, 2, 3]
    run(alone)
    assert same(weights(healthy), weights(alone))


def test_weights_that_end_an_epoch_infinite_are_noticed():
    each = learner("none", settings(learning_rate=1e40, epochs=1, batch_size=100))
    rows, = run(each)
    assert rows == []
    assert "weights stopped being finite numbers" in str(each.failure)
    assert "try a learning rate below 1e+40" in str(each.failure)


def test_a_stopped_learner_drops_its_unfinished_epoch_and_leaves_the_others():
    stopped, other = learner(), learner("kd")
    asked = []

    def keep_going(each):
        asked.append(each)
        return each is not stopped or asked.count(stopped) <= 7  # five steps an epoch

    rows, other_rows = run(stopped, other, keep_going=keep_going)
    assert stopped.stopped
    assert [row["epoch"] for row in rows] == [1]
    assert [row["epoch"] for row in other_rows] == [1, 2, 3]


def test_it_ends_at_once_when_nobody_is_left():
    steps = []
    run(learner(), keep_going=lambda _: False, on_step=steps.append)
    assert steps == []


def test_steps_count_the_images_seen():
    steps = []
    run(learner(configuration=settings(epochs=1)), on_step=steps.append)
    assert steps == [8, 16, 24, 32, 37]


def test_a_learner_s_own_seconds_are_those_of_its_own_steps(monkeypatch):
    slow, quick = learner(configuration=settings(epochs=1)), learner("kd", settings(epochs=1))
    step = slow.optimizer.step

    def slower():
        time.sleep(0.05)
        step()

    monkeypatch.setattr(slow.optimizer, "step", slower)
    (of_slow,), (of_quick,) = run(slow, quick)
    assert of_slow["own_seconds"] > 5 * 0.05  # five steps an epoch
    assert of_quick["own_seconds"] > 0
    assert of_slow["own_seconds"] + of_quick["own_seconds"] < of_slow["seconds"] == of_quick["seconds"]


def test_unlabelled_images_reach_the_teacher_term_alone():
    half = tiny.split(unlabelled=37)
    plain, distilled = learner("none", split=half), learner("kd", split=half, alpha=1)
    before = weights(plain)
    plain_rows, distilled_rows = run(plain, distilled, split=half)
    assert [row["loss"] for row in plain_rows] == [0, 0, 0]
    assert all(row["loss"] > 0 for row in distilled_rows)
    # Only weight decay moves a student that may read nothing.
    assert weights(plain)["net.9.weight"].norm() < before["net.9.weight"].norm()


@pytest.mark.parametrize("name", METHODS["segmentation"])
def test_every_method_trains_on_batches_without_a_mask(name):
    few = Split(MASKS.images, MASKS.target.clone())
    few.target[2:] = IGNORE
    each = learner(name, settings(labelled_images=2, labelled_share=0.0, learning_rate=0.01), split=few)
    rows, = run(each, split=few, policy="zoom+flip")
    assert each.failure is None
    assert all(math.isfinite(value) for row in rows for value in row["terms"].values())


def test_an_image_without_its_mask_reaches_the_teacher_with_every_pixel_of_its_own():
    whole = Split(MASKS.images, MASKS.target.clamp(min=0))
    none = Split(MASKS.images, torch.full_like(MASKS.target, IGNORE))
    rows = []
    for split, few in ((whole, None), (none, 1)):
        alone, taught = (learner(name, settings(labelled_images=few), split=split, **fields)
                         for name, fields in (("none", {}), ("kd", {"alpha": 1.0})))
        rows.append(run(alone, taught, split=split, policy="zoom+flip"))
    (_, before), (alone, after) = rows
    assert [row["terms"] for row in after] == [row["terms"] for row in before]  # no border, and nothing but the border
    assert [row["loss"] for row in alone] == [0, 0, 0]


def test_alone_with_few_masks_it_equals_a_plain_loop_over_the_images_that_have_one():
    few = Split(MASKS.images, MASKS.target.clone())
    few.target[6:] = IGNORE
    each = learner("none", settings(epochs=2, schedule="constant", labelled_images=6), split=few)
    run(each, learner("kd", settings(epochs=2, schedule="constant", labelled_images=6), split=few), split=few)

    network = tiny.segmenter()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for epoch in range(2):
        for index, images, target in views(few, POLICIES["crop+flip"], 0, epoch, 0.5).batches(8):
            assert 2 <= (index < 6).sum() <= 4  # half of a batch of 8, or of the last one of 5
            logits, labels = masked_rows(network(images[index < 6]), target[index < 6])
            optimizer.zero_grad()
            F.cross_entropy(logits, labels).backward()
            optimizer.step()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(each.network.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_an_image_whose_pixels_have_no_class_counts_nowhere_where_no_mask_is_withheld():
    none = Split(MASKS.images, torch.full_like(MASKS.target, IGNORE))
    rows, = run(learner("kd", split=none, alpha=1.0), split=none)
    assert [row["loss"] for row in rows] == [0, 0, 0]


def test_a_step_that_does_not_fit_says_which_batch_size_to_try(monkeypatch):
    each = learner()

    def full(*_):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(each.optimizer, "step", full)
    with pytest.raises(OutOfMemory, match=r"A step of 8 images did not fit .* Try --batch-size 4, smaller images"):
        run(each)
    with pytest.raises(OutOfMemory, match=r"Try --batch-size 4, smaller .*, fewer students side by side\."):
        run(each, learner("kd"))
    each.configuration = settings(batch_size=2)
    with pytest.raises(OutOfMemory, match=r"A step of 2 images did not fit .* Try smaller images"):
        run(each)


def test_a_method_without_its_teacher_is_refused():
    with pytest.raises(KDError, match="Method 'kd' needs a teacher and none was given"):
        Learner(tiny.network(), method("kd"), None, SPLIT, settings(), "float32")


def test_building_an_adapter_moves_no_statistics():
    network = tiny.network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    each = learner("features_mse", network=network)
    assert network.training
    assert same(weights(each), before)
    with observing(network, network.stages, Wanted(("stage1",))) as look:
        look(torch.rand(2, 3, 8, 8))
    assert not same(weights(each), before)  # the comparison above can fail


@pytest.mark.parametrize(("schedule", "progress", "expected"), [
    ("constant", 7.0, 1.0),
    ("cosine", 0.0, 1.0),
    ("cosine", 5.0, 0.5),
    ("cosine", 7.5, 0.5 * (1 - math.sqrt(0.5))),
    ("step", 6.2, 1.0),
    ("step", 6.25, 0.1),
    ("step", 7.5, 0.01),
    ("step", 9.9, 0.001),
])
def test_learning_rate_by_schedule(schedule, progress, expected):
    configuration = settings(epochs=10, learning_rate=1.0, schedule=schedule)
    assert learning_rate_at(configuration, progress, 0.1) == pytest.approx(expected)


def test_warm_up_rises_linearly_to_the_full_rate_and_the_cosine_follows():
    configuration = settings(epochs=10, learning_rate=1.0, warmup_epochs=2)
    assert [learning_rate_at(configuration, step / 4, 1 / 4) for step in range(8)] == pytest.approx(
        [(step + 1) / 8 for step in range(8)])
    assert learning_rate_at(configuration, 2.0, 0.25) == 1.0
    assert learning_rate_at(configuration, 6.0, 0.25) == pytest.approx(0.5)


def test_side_by_side_no_student_pays_for_the_keeping_of_another():
    rows = []

    def keep(each, row):
        rows.append(row)

    train([learner(), learner("kd")], teacher(), SPLIT, POLICIES["none"], on_epoch=keep)
    assert all(first["seconds"] == second["seconds"] for first, second in zip(rows[::2], rows[1::2], strict=True))


class Asked:
    """A teacher that counts how often it is asked, and what for."""

    def __init__(self):
        self.network, self.forwards, self.backwards = teacher(), 0, 0
        self.network.register_forward_hook(self.asked)  # stays on the folded copy

    def __deepcopy__(self, memo):
        return self

    def asked(self, _module, inputs, _output):
        self.forwards += 1
        self.backwards += inputs[0].requires_grad


STEPS = steps_per_epoch(len(SPLIT), 8)


@pytest.mark.parametrize("ended", ["stopped", "failed"])
def test_once_all_are_out_no_view_is_drawn_and_no_teacher_asked(monkeypatch, ended):
    drawn, counts = [], Asked()
    monkeypatch.setattr("kdengine.training.loop.views", lambda *given: drawn.append(given[3]) or views(*given))
    configuration = settings(learning_rate=1e38 if ended == "failed" else 0.1)
    each = learner("kd", configuration)
    train([each], counts.network, SPLIT, POLICIES["crop"], on_epoch=lambda *_: None,
          keep_going=lambda one: ended == "failed" or not drawn)
    assert (each.failure is not None) == (ended == "failed")
    assert not each.active
    assert drawn == [0]
    # A failed one trains its epoch to the end, and then it is looked whether its teacher was at fault.
    assert counts.forwards == (STEPS + 1 if ended == "failed" else 0)


def test_the_teacher_is_asked_for_those_alone_who_still_train():
    """The input gradient, a backward pass, until its student is out; then logits; then nothing."""
    counts, steps = Asked(), Counter()
    learners = [learner(name) for name in ("input_gradient", "kd", "none")]

    def keep_going(each):
        steps[each] += 1
        return steps[each] <= {"input_gradient": 3, "kd": 6, "none": 1000}[each.method.name]

    rows = []
    train(learners, counts.network, SPLIT, POLICIES["crop"], keep_going=keep_going,
          on_epoch=lambda each, row: rows.append((each.method.name, row["epoch"])))
    # Each is asked once more at the beginning of an epoch.
    assert (counts.backwards, counts.forwards) == (2, STEPS)
    assert rows == [("kd", 1), ("none", 1), ("none", 2), ("none", 3)]


@pytest.mark.parametrize("cached", [False, True])
def test_a_teacher_that_is_not_finite_is_named_and_no_learning_rate_blamed(tmp_path, cached):
    broken = teacher()
    with torch.no_grad():
        broken.net[-1].weight.fill_(1e38)
    configuration = settings(teacher="the-broken-one")
    each = Learner(tiny.network(), method("kd"), broken, SPLIT, configuration, "float32")
    train([each], broken, SPLIT, POLICIES["crop"], on_epoch=lambda *_: pytest.fail("it trained"),
          teacher_cache=TeacherCache(tmp_path, "key") if cached else None)
    assert str(each.failure) == (
        "Epoch 1, step 1: the term 'kl' became nan. The teacher the-broken-one answers these images with numbers that "
        "are not finite; no learning rate helps. Take another teacher.")
