"""The numbers of the lessons against numpy, and that each mistake is the mistake it says."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from kdengine.explain import lessons, list_mistakes, loss_parts, mistake_effects
from kdengine.views import Split
from tests.kdengine import tiny

STUDENT, TEACHER = [4.0, 2.5, 0.0, -1.0], [10.0, 2.0, -3.0, 1.0]
LOGITS = st.lists(st.floats(-20, 20), min_size=3, max_size=10)


def softmax(logits, temperature=1.0):
    powers = np.exp((np.array(logits) - max(logits)) / temperature)
    return powers / powers.sum()


@given(student=LOGITS, teacher=LOGITS, temperature=st.floats(0.5, 20), alpha=st.floats(0, 1), label=st.integers(0, 2))
def test_losses_and_gradients_are_those_of_the_formulas(student, teacher, temperature, alpha, label):
    count = min(len(student), len(teacher))
    student, teacher = student[:count], teacher[:count]
    parts = loss_parts(student, teacher, label, temperature, alpha)
    at_one, ours, theirs = softmax(student), softmax(student, temperature), softmax(teacher, temperature)
    kl = (theirs * (np.log(np.maximum(theirs, 1e-300)) - np.log(np.maximum(ours, 1e-300)))).sum()
    labels = -np.log(at_one[label])
    one_hot = np.eye(count)[label]
    close = {"rtol": 1e-6, "atol": 1e-9}
    expected = {"cross_entropy": labels, "kl": kl, "scaled_kl": temperature**2 * kl,
                "loss": (1 - alpha) * labels + alpha * temperature**2 * kl}
    for name, value in expected.items():
        assert parts["losses"][name] == pytest.approx(value, rel=1e-6, abs=1e-9)
    gradients = {"cross_entropy": at_one - one_hot, "kl": (ours - theirs) / temperature,
                 "scaled_kl": temperature * (ours - theirs),
                 "loss": (1 - alpha) * (at_one - one_hot) + alpha * temperature * (ours - theirs)}
    for name, value in gradients.items():
        np.testing.assert_allclose(parts["gradients"][name], value, **close)


def test_without_the_square_the_gradient_falls_as_one_over_it():
    """For large T: (z_s - z_t) / (C T^2) with centred logits, Hinton et al. 2015, equation 4."""
    student, teacher = (np.array(each) - np.mean(each) for each in (STUDENT, TEACHER))
    for temperature in (5e3, 5e4):
        parts = loss_parts(STUDENT, TEACHER, 0, temperature, 1.0)
        expected = (student - teacher) / len(student)
        np.testing.assert_allclose(parts["gradients"]["scaled_kl"], expected, rtol=0.005)
        np.testing.assert_allclose(parts["gradients"]["kl"], expected / temperature**2, rtol=0.005)


def kl(p, q):
    return (p * (np.log(p) - np.log(q))).sum()


WRONG_LOSSES = {
    "no_square": lambda s, t, temperature: kl(softmax(t, temperature), softmax(s, temperature)),
    "swapped": lambda s, t, temperature: temperature**2 * kl(softmax(s, temperature), softmax(t, temperature)),
    "softmax_twice": lambda s, t, temperature: temperature**2 * kl(
        softmax(softmax(t), temperature), softmax(softmax(s), temperature)),
    "element_mean": lambda s, t, temperature: temperature**2 * kl(
        softmax(t, temperature), softmax(s, temperature)) / len(s),
}
"""By the mistake's name, of one image's logits; the other mistakes have the right loss."""


@pytest.mark.parametrize("name", WRONG_LOSSES)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_each_wrong_loss_is_that_error(name, temperature):
    loss = WRONG_LOSSES[name]
    wrong = lessons.MISTAKES[name].loss(torch.tensor([STUDENT]).double(), torch.tensor([TEACHER]).double(), temperature)
    assert wrong.item() == pytest.approx(loss(STUDENT, TEACHER, temperature), rel=1e-9)


@pytest.mark.filterwarnings("ignore:reduction. 'mean'")
def test_the_mean_over_elements_is_what_torch_s_reduction_gives():
    student, teacher = torch.tensor([STUDENT, TEACHER]).double(), torch.tensor([TEACHER, STUDENT]).double()
    expected = F.kl_div((student / 4).log_softmax(1), (teacher / 4).softmax(1), reduction="mean") * 16
    assert lessons.MISTAKES["element_mean"].loss(student, teacher, 4.0).item() == pytest.approx(expected.item())


class Held:
    """A data set with nothing but test images."""

    test = Split(torch.randint(0, 256, (24, 3, tiny.SIZE, tiny.SIZE), dtype=torch.uint8,
                               generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3)


def test_effects_are_measured_against_the_right_loss():
    student, teacher = tiny.network().eval(), tiny.network(seed=1).eval()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    effects = mistake_effects(student, teacher, Held(), 4.0, count=16)
    assert set(effects) == {"right", *(each["name"] for each in list_mistakes())}
    assert effects["right"]["size"] == 1
    assert effects["right"]["direction"] == pytest.approx(1)
    assert effects["no_square"]["loss"] == pytest.approx(effects["right"]["loss"] / 16)
    assert effects["no_square"]["size"] == pytest.approx(1 / 16)
    assert effects["element_mean"]["size"] == pytest.approx(1 / 3)
    for name in ("no_square", "element_mean"):
        assert effects[name]["direction"] == pytest.approx(1)
    images = Held.test.images[:16].float() / 255
    shifted = torch.zeros_like(images)
    shifted[:, :, lessons.SHIFT:, lessons.SHIFT:] = images[:, :, :-lessons.SHIFT, :-lessons.SHIFT]
    with torch.no_grad():
        answers = {"training_mode": tiny.network(seed=1).train()(images), "other_crops": teacher(shifted)}
        logits = student(images)
    for name, taught in answers.items():
        ours, theirs = (each.double().numpy() for each in (logits, taught))
        expected = 16 * np.mean([kl(softmax(t, 4), softmax(s, 4)) for s, t in zip(ours, theirs, strict=True)])
        assert effects[name]["loss"] == pytest.approx(expected, rel=1e-4)
        assert effects[name]["right_answers"] == pytest.approx(
            (theirs.argmax(axis=1) == Held.test.target[:16].numpy()).mean())
    assert not teacher.training
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
