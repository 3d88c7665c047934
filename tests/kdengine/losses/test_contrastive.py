"""Contrastive losses: against slow loops over images and pairs, by hand, and at their edges."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdengine.errors import KDError
from kdengine.losses import info_nce, noise_contrastive


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def probabilities(*shape, seed=0):
    """Model probabilities about as large as one image's share of a set of ten."""
    return drawn(*shape, seed=seed).exp() / 10


def value_and_gradient(loss, student):
    student = student.clone().requires_grad_()
    value = loss(student)
    value.backward()
    return value.item(), student.grad


def slow_noise_contrastive(scores, count):
    """- ln h(true) - sum over the noise of ln(1 - h(noise)), h(p) = p / (p + K / n); mean over the images."""
    total = 0.0
    for row in scores:
        noise = (len(row) - 1) / count
        for place, p in enumerate(row):
            h = p / (p + noise)
            total -= math.log(h if place == 0 else 1 - h)
    return total / len(scores)


def slow_info_nce(student, teacher, temperature):
    """Mean over the images of the two cross-entropies of finding the own partner among all of the other network."""
    def cosine(first, second):
        product = sum(a * b for a, b in zip(first, second, strict=True))
        return product / math.sqrt(sum(a * a for a in first) * sum(b * b for b in second))

    total, count = 0.0, len(student)
    for anchors, partners in ((student, teacher), (teacher, student)):
        for i, anchor in enumerate(anchors):
            scores = [math.exp(cosine(anchor, partner) / temperature) for partner in partners]
            total -= math.log(scores[i] / sum(scores))
    return total / (2 * count)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 8), st.integers(2, 100), st.integers(0, 1000))
def test_noise_contrastive_equals_the_slow_reference(images, noise, count, seed):
    scores = probabilities(images, 1 + noise, seed=seed)
    expected = slow_noise_contrastive(scores.numpy(), count)
    assert noise_contrastive(scores, count=count).item() == pytest.approx(expected, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 1000), st.floats(0.05, 2))
def test_info_nce_equals_the_slow_reference(images, width, seed, temperature):
    student, teacher = drawn(images, width, seed=seed), drawn(images, width, seed=seed + 5000)
    expected = slow_info_nce(student.numpy(), teacher.numpy(), temperature)
    assert info_nce(student, teacher, temperature=temperature).item() == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_noise_contrastive_by_hand():
    # K / n = 2 / 4; true 3/2 -> h = 3/4; noise 1/2 -> 1 - h = 1/2; noise 1/6 -> 1 - h = 3/4.
    scores = torch.tensor([[1.5, 0.5, 1 / 6]], dtype=torch.float64)
    expected = -math.log(3 / 4) - math.log(1 / 2) - math.log(3 / 4)
    assert noise_contrastive(scores, count=4).item() == pytest.approx(expected, rel=1e-12)


def test_a_model_that_knows_nothing_gives_each_pair_the_odds_of_its_kind():
    # p = 1 / n everywhere: h = 1 / (1 + K), for the true pair and for K of noise.
    noise, count = 6, 50
    scores = torch.full((3, 1 + noise), 1 / count, dtype=torch.float64)
    expected = math.log(1 + noise) + noise * math.log(1 + 1 / noise)
    assert noise_contrastive(scores, count=count).item() == pytest.approx(expected, rel=1e-12)


def test_info_nce_by_hand():
    # Orthogonal images, each equal to its partner: cosines 1 and 0, at temperature 1/2.
    embeddings = torch.eye(3, dtype=torch.float64)
    expected = math.log(1 + 2 * math.exp(-2))
    assert info_nce(embeddings, 7 * embeddings, temperature=0.5).item() == pytest.approx(expected, rel=1e-12)
    swapped = embeddings[[1, 0, 2]]
    expected = (2 * math.log(2 + math.exp(2)) + math.log(1 + 2 * math.exp(-2))) / 3
    assert info_nce(embeddings, swapped, temperature=0.5).item() == pytest.approx(expected, rel=1e-12)


def test_info_nce_looks_both_ways():
    # Both teacher embeddings are the first axis: the student's two anchors see no difference, the teacher's do.
    student, teacher = torch.eye(2, dtype=torch.float64), torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    towards_teacher = math.log(2)
    towards_student = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2
    expected = (towards_teacher + towards_student) / 2
    assert info_nce(student, teacher, temperature=1).item() == pytest.approx(expected, rel=1e-12)


def test_numeric_gradient():
    scores = probabilities(3, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda ours: noise_contrastive(ours, count=9), scores)
    # The teacher's embedding has a trained head too.
    embeddings = drawn(4, 3).requires_grad_(), drawn(4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda ours, theirs: info_nce(ours, theirs, temperature=0.3), embeddings)


def test_noise_contrastive_ignores_the_order_of_images_and_of_noise_but_not_which_pair_is_true():
    scores = probabilities(4, 6)
    value = noise_contrastive(scores, count=20)
    torch.testing.assert_close(noise_contrastive(scores[[2, 0, 3, 1]], count=20), value)
    torch.testing.assert_close(noise_contrastive(scores[:, [0, 3, 5, 1, 2, 4]], count=20), value)
    assert abs(noise_contrastive(scores[:, [1, 0, 2, 3, 4, 5]], count=20) - value) > 1e-3


def test_noise_contrastive_sees_the_score_relative_to_the_noise_alone():
    scores = probabilities(4, 6)
    torch.testing.assert_close(noise_contrastive(scores / 3, count=60), noise_contrastive(scores, count=20))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 1000), st.floats(0.01, 100))
def test_info_nce_ignores_scale_a_common_rotation_the_order_and_which_is_the_student(images, width, seed, scale):
    student, teacher = drawn(images, width, seed=seed), drawn(images, width, seed=seed + 5000)
    value = info_nce(student, teacher)
    turn = torch.linalg.qr(drawn(width, width))[0]
    order = torch.arange(images - 1, -1, -1)
    for other in (
        info_nce(student * scale, teacher / scale), info_nce(student @ turn, teacher @ turn),
        info_nce(student[order], teacher[order]), info_nce(teacher, student),
    ):
        torch.testing.assert_close(other, value, rtol=1e-9, atol=1e-12)


def test_info_nce_at_a_high_temperature_is_a_guess_among_the_batch():
    student, teacher = drawn(5, 3), drawn(5, 3, seed=1)
    value, gradient = value_and_gradient(lambda ours: info_nce(ours, teacher, temperature=1e9), student)
    assert value == pytest.approx(math.log(5), rel=1e-8)
    assert gradient.abs().max() < 1e-8


def test_info_nce_of_a_batch_of_one_is_zero():
    value, gradient = value_and_gradient(lambda ours: info_nce(ours, torch.randn(1, 4)), torch.randn(1, 4))
    assert value == 0
    assert gradient.abs().sum() == 0


def test_without_noise_the_true_pair_is_told_for_nothing():
    value, gradient = value_and_gradient(lambda scores: noise_contrastive(scores, count=7), torch.full((2, 1), 0.3))
    assert value == 0
    assert gradient.abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gap_of_500_stays_finite(dtype):
    student = torch.tensor([[500.0, 0.0], [0.0, 500.0]], dtype=dtype)
    teacher = torch.tensor([[0.0, 500.0], [500.0, 0.0]], dtype=dtype)
    value, gradient = value_and_gradient(lambda ours: info_nce(ours, teacher, temperature=0.01), student)
    assert value == pytest.approx(100, rel=1e-2)
    assert gradient.isfinite().all()
    # Scores of e^(+-80): the true pair hopeless, the noise certain.
    scores = torch.tensor([[-80.0, 80.0], [80.0, -80.0]]).exp().to(dtype)
    value, gradient = value_and_gradient(lambda ours: noise_contrastive(ours, count=1), scores)
    assert value == pytest.approx(80, rel=1e-2)
    assert gradient.isfinite().all()


def test_noise_contrastive_keeps_its_digits_with_thousands_of_noise_pairs_in_single_precision():
    # The true pair certain, each of 16384 noise pairs costs 6e-8, which 1 + 6e-8 in single precision cannot hold.
    noise, count = 16384, 50_000
    scores = torch.full((1, 1 + noise), 1e-3 / count).index_fill(1, torch.tensor([0]), 1e9)
    assert noise_contrastive(scores, count=count).item() == pytest.approx(noise * math.log1p(1e-3 / noise), rel=1e-4)


def test_equal_images_are_a_guess_between_them_and_zeros_point_nowhere():
    rows = drawn(1, 3).expand(4, 3)
    value, gradient = value_and_gradient(lambda ours: info_nce(ours, rows), rows)
    assert value == pytest.approx(math.log(4), rel=1e-12)
    assert gradient.abs().max() < 1e-9
    value, gradient = value_and_gradient(lambda ours: info_nce(ours, drawn(4, 3, seed=1)),
                                         drawn(4, 3).index_fill(0, torch.tensor([2]), 0))
    assert math.isfinite(value)
    assert gradient[2].abs().sum() == 0
    assert gradient.abs().max() < 100


@pytest.mark.parametrize("temperature", [0, -0.1])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(KDError, match=r"temperature is .* above 0"):
        info_nce(drawn(2, 2), drawn(2, 2), temperature=temperature)
