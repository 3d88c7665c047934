"""Each method's loss is the formula it states."""

import pytest
import torch
import torch.nn.functional as F

from kdengine.losses import IGNORE
from kdengine.methods import method
from kdengine.methods.features_mse import Connectors
from kdengine.signals import Batch, Signals


def make_batch(target):
    count = len(target)
    return Batch(torch.zeros(count, 3, 4, 4), target, torch.ones(count, dtype=torch.bool), target != IGNORE,
                 torch.arange(count), 0.0, 10)


STUDENT, TEACHER = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.randn(4, 3)
TARGET = torch.tensor([0, 2, 1, 1])


def loss(name, student=STUDENT, teacher=TEACHER, target=TARGET, **fields):
    made = method(name, **fields)
    return sum(made.terms(Signals(student), Signals(teacher), make_batch(target), None).values())


def hinton(student, teacher, target, temperature, alpha):
    """The formula in probabilities, as the paper writes it."""
    hard = -student.softmax(1).log()[torch.arange(len(target)), target].mean()
    p, q = (teacher / temperature).softmax(1), (student / temperature).softmax(1)
    return (1 - alpha) * hard + alpha * temperature**2 * (p * (p / q).log()).sum(1).mean()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_kd(temperature, alpha):
    expected = hinton(STUDENT.double(), TEACHER.double(), TARGET, temperature, alpha)
    value = loss("kd", STUDENT.double(), TEACHER.double(), temperature=temperature, alpha=alpha)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)


def test_alpha_0_is_plain_training_and_never_reads_the_teacher():
    assert loss("kd", teacher=torch.full((4, 3), torch.nan), alpha=0).item() == loss("none").item()


def test_alpha_1_never_reads_a_label():
    assert loss("kd", target=torch.full((4,), IGNORE), alpha=1).item() == loss("kd", alpha=1).item() > 0


def test_the_gradient_has_no_jump_in_alpha_or_temperature():
    # T^2 holds in every branch: half-way between two alphas is half-way between their losses, at any temperature.
    for temperature in (1, 8):
        ends = loss("kd", temperature=temperature, alpha=0), loss("kd", temperature=temperature, alpha=1)
        middle = loss("kd", temperature=temperature, alpha=0.5)
        assert middle.item() == pytest.approx(sum(ends).item() / 2, rel=1e-6)


def test_label_smoothing():
    log_p = STUDENT.double().log_softmax(1)
    q = 0.8 * F.one_hot(TARGET, 3) + 0.2 / 3
    expected = -(q * log_p).sum(1).mean().item()
    assert loss("label_smoothing", STUDENT.double(), smoothing=0.2).item() == pytest.approx(expected)
    assert loss("label_smoothing", smoothing=0).item() == pytest.approx(loss("none").item(), rel=1e-6)


@pytest.mark.parametrize("norm", ["l2", "smooth_l1"])
def test_features_mse_sums_over_the_stages(norm):
    generator = torch.Generator().manual_seed(2)
    student = {f"stage{i}": torch.randn(4, 2 * i, 4, 4, generator=generator) for i in (1, 2)}
    teacher = {f"stage{i}": torch.randn(4, 3 * i, 4, 4, generator=generator) for i in (1, 2)}
    made = method("features_mse", beta=2, norm=norm)
    signals = Signals(STUDENT, student), Signals(TEACHER, teacher)
    adapter = made.adapter(*signals, None, generator)
    terms = made.terms(*signals, make_batch(TARGET), adapter)
    distance = F.mse_loss if norm == "l2" else F.smooth_l1_loss
    expected = 2 * sum(
        distance(torch.einsum("oc,bchw->bohw", adapter.maps[i].weight[:, :, 0, 0], student[f"stage{i + 1}"]),
                 teacher[f"stage{i + 1}"]) for i in range(2)
    )
    torch.testing.assert_close(terms["features"], expected)
    torch.testing.assert_close(terms["cross_entropy"], F.cross_entropy(STUDENT, TARGET))


def test_connected_maps_meet_at_the_smaller_size():
    student, teacher = torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 6)
    connectors = Connectors([student], [teacher], torch.Generator())
    (ours, theirs), = connectors([student], [teacher])
    assert ours.shape == theirs.shape == (2, 5, 4, 6)
    torch.testing.assert_close(theirs, teacher)
    torch.testing.assert_close(ours, connectors.maps[0](F.adaptive_avg_pool2d(student, (4, 6))))


def e2kd(student, teacher, ours, theirs, temperature, weight):
    """The paper's equations 1 and 3, image by image."""
    cosines = [(a.ravel() @ b.ravel()) / (a.norm() * b.norm()) for a, b in zip(ours, theirs, strict=True)]
    return hinton(student, teacher, TARGET, temperature, 1) + weight * (1 - sum(cosines) / len(cosines))


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 1.0), (5.0, 0.2), (4.0, 10.0)])
def test_e2kd(temperature, weight):
    generator = torch.Generator().manual_seed(3)
    ours, theirs = (torch.rand(4, 5, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    made = method("e2kd", temperature=temperature, explanation_weight=weight)
    terms = made.terms(Signals(STUDENT.double(), explanations={"stage2": ours}),
                       Signals(TEACHER.double(), explanations={"layer4": theirs}), make_batch(TARGET), None)
    assert set(terms) == {"kl", "explanation"}
    expected = e2kd(STUDENT.double(), TEACHER.double(), ours, theirs, temperature, weight)
    assert sum(terms.values()).item() == pytest.approx(expected.item(), rel=1e-6)


def test_explanations_of_two_sizes_are_compared_at_the_smaller():
    fine = torch.rand(4, 4, 6, generator=torch.Generator().manual_seed(4))
    coarse = fine.unflatten(1, (2, 2)).unflatten(3, (3, 2)).mean(dim=(2, 4))
    signals = Signals(STUDENT, explanations={"a": fine}), Signals(TEACHER, explanations={"b": coarse})
    terms = method("e2kd").terms(*signals, make_batch(TARGET), None)
    assert terms["explanation"].item() == pytest.approx(0, abs=1e-5)


def test_without_a_weight_explanations_are_logit_matching_that_reads_no_label():
    assert loss("e2kd", explanation_weight=0, temperature=7).item() == loss("kd", alpha=1, temperature=7).item()


def test_an_identical_student_has_nothing_left_to_learn_from_the_teacher():
    assert loss("kd", student=TEACHER, alpha=1, temperature=7).item() == pytest.approx(0, abs=1e-6)
