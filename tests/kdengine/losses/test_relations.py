"""Relations in a batch: against slow loops over pairs and triples, by hand, and where images are equal or nothing."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdengine.losses import pkt, rkd_angle, rkd_distance, similarity

LOSSES = (rkd_distance, rkd_angle, similarity, pkt)


def huber(difference):
    return difference**2 / 2 if abs(difference) < 1 else abs(difference) - 0.5


def length(vector):
    return math.sqrt(sum(each * each for each in vector))


def slow_rkd_distance(student, teacher):
    """Sum over all pairs of the Huber form of the relative distances, divided by the number of pairs."""
    relative = []
    for network in (student, teacher):
        distances = {(i, j): length(a - b) for i, a in enumerate(network) for j, b in enumerate(network)}
        apart = [each for each in distances.values() if each > 0]
        mean = sum(apart) / len(apart) if apart else 1
        relative.append({pair: each / mean for pair, each in distances.items()})
    ours, theirs = relative
    return sum(huber(ours[pair] - theirs[pair]) for pair in ours) / len(ours)


def slow_rkd_angle(student, teacher):
    """Sum over all triples (i, j, k) of the Huber form of <e_ij, e_kj>, divided by the number of triples."""
    def cosine(network, i, j, k):
        first, second = network[i] - network[j], network[k] - network[j]
        if length(first) == 0 or length(second) == 0:
            return 0.0
        return sum(a * b for a, b in zip(first / length(first), second / length(second), strict=True))

    places = range(len(student))
    triples = [(i, j, k) for i in places for j in places for k in places]
    return sum(huber(cosine(student, *each) - cosine(teacher, *each)) for each in triples) / len(triples)


def slow_similarity(student, teacher):
    """|| G_t - G_s ||_F^2 / B^2, G the Gram matrix of the flattened activations with rows of length 1."""
    count, grams = len(student), []
    for network in (student, teacher):
        rows = [each.ravel() for each in network]
        gram = [[sum(a * b for a, b in zip(first, second, strict=True)) for second in rows] for first in rows]
        grams.append([[each / length(row) for each in row] for row in gram])
    return sum((grams[0][i][j] - grams[1][i][j]) ** 2 for i in range(count) for j in range(count)) / count**2


def slow_pkt(student, teacher):
    """sum_i sum_j p_t(j|i) ln(p_t(j|i) / p_s(j|i)) / B^2 of the kernel (cosine + 1) / 2."""
    count, conditional = len(student), []
    for network in (student, teacher):
        kernel = np.zeros((count, count))
        for i in range(count):
            for j in range(count):
                product = sum(a * b for a, b in zip(network[i], network[j], strict=True))
                kernel[i, j] = (product / (length(network[i]) * length(network[j])) + 1) / 2
        conditional.append([[each / sum(row) for each in row] for row in kernel])
    ours, theirs = conditional
    pairs = [(i, j) for i in range(count) for j in range(count)]
    return sum(theirs[i][j] * math.log(theirs[i][j] / ours[i][j]) for i, j in pairs) / count**2


SLOW = {rkd_distance: slow_rkd_distance, rkd_angle: slow_rkd_angle, similarity: slow_similarity, pkt: slow_pkt}


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rotation(size, seed):
    return torch.linalg.qr(drawn(size, size, seed=seed))[0]


def value_and_gradient(loss, student, teacher):
    student = student.clone().requires_grad_()
    value = loss(student, teacher)
    value.backward()
    return value.item(), student.grad


batches = st.tuples(st.integers(2, 5), st.integers(2, 6), st.integers(2, 6), st.integers(0, 1000)).map(
    lambda sizes: (drawn(sizes[0], sizes[1], seed=sizes[3]), drawn(sizes[0], sizes[2], seed=sizes[3] + 5000)))
"""Embeddings of a batch by a student and a teacher, of any two widths."""


@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=25, deadline=None)
@given(batches)
def test_it_equals_the_slow_reference_at_any_two_widths(loss, batch):
    student, teacher = batch
    expected = SLOW[loss](student.numpy(), teacher.numpy())
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_similarity_of_maps_is_that_of_the_flattened_maps():
    student, teacher = drawn(3, 2, 4, 4), drawn(3, 5, 2, 2, seed=1)
    expected = slow_similarity(student.numpy(), teacher.numpy())
    assert similarity(student, teacher).item() == pytest.approx(expected, rel=1e-9)


def test_distances_by_hand():
    # On a line at 0, 1, 4: distances 1, 3, 4, mean 8/3. Equilateral: all 1 of their mean.
    student = torch.tensor([[0.0], [1.0], [4.0]], dtype=torch.float64)
    teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]], dtype=torch.float64)
    squares = sum((each * 3 / 8 - 1) ** 2 / 2 for each in (1, 3, 4))
    assert rkd_distance(student, teacher).item() == pytest.approx(2 * squares / 9, rel=1e-12)


def test_a_relative_distance_more_than_1_off_counts_linearly():
    # Student: six images all as far apart. Teacher: five close, one far, its 5 of 15 distances 3 times the mean.
    student = torch.eye(6, dtype=torch.float64)
    teacher = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1e9], dtype=torch.float64))
    expected = (10 * (2 - 0.5) + 20 * 1 / 2) / 36
    assert rkd_distance(student, teacher).item() == pytest.approx(expected, rel=1e-6)


def test_angles_by_hand():
    # A right angle at the origin, 45 degrees at the two others; the teacher's triangle has 60 degrees everywhere.
    student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]], dtype=torch.float64)
    half = math.sqrt(0.5)
    expected = 2 * (0.5**2 / 2 + 2 * (half - 0.5) ** 2 / 2) / 27  # (i, k) and (k, i); i = k has cosine 1 in both
    assert rkd_angle(student, teacher).item() == pytest.approx(expected, rel=1e-12)


def test_similarity_by_hand():
    # Orthogonal images: Gram rows (1, 0), (0, 1). Equal images: (1, 1) / sqrt 2 twice.
    student = torch.eye(2, dtype=torch.float64)
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    half = math.sqrt(0.5)
    assert similarity(student, teacher).item() == pytest.approx(2 * ((1 - half) ** 2 + half**2) / 4, rel=1e-12)


def test_pkt_by_hand():
    # Orthogonal images: similarity 1/2 to the other, conditional (2/3, 1/3). Equal images: (1/2, 1/2).
    student = torch.eye(2, dtype=torch.float64)
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    row = 0.5 * math.log(0.5 / (2 / 3)) + 0.5 * math.log(0.5 / (1 / 3))
    assert pkt(student, teacher).item() == pytest.approx(2 * row / 4, rel=1e-12)


def test_pkt_takes_the_teachers_distribution_first():
    student, teacher = drawn(4, 3), drawn(4, 3, seed=1)
    assert pkt(student, teacher).item() != pytest.approx(pkt(teacher, student).item(), rel=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("images", [2, 4])
def test_numeric_gradient(loss, images):
    student = drawn(images, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda ours: loss(ours, drawn(images, 5, seed=1)), student)


@pytest.mark.parametrize("loss", [rkd_distance, pkt, rkd_angle])
def test_numeric_gradient_beside_a_pair_of_images_the_teacher_finds_equal(loss):
    teacher = drawn(4, 5, seed=1)
    teacher[1] = teacher[0]
    assert torch.autograd.gradcheck(lambda ours: loss(ours, teacher), drawn(4, 3).requires_grad_())


@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=20, deadline=None)
@given(batches, st.floats(0.01, 100))
def test_rotation_scale_and_order_of_the_batch_do_not_matter(loss, batch, scale):
    student, teacher = batch
    value = loss(student, teacher)
    order = torch.randperm(len(student), generator=torch.Generator().manual_seed(len(student)))
    turned = student @ rotation(student.shape[1], 1) * scale, teacher @ rotation(teacher.shape[1], 2) / scale
    torch.testing.assert_close(loss(*turned), value, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(loss(student[order], teacher[order]), value, rtol=1e-9, atol=1e-12)
    assert value >= -1e-12


@pytest.mark.parametrize("loss", [rkd_distance, rkd_angle])
@settings(max_examples=20, deadline=None)
@given(batches, st.floats(-100, 100))
def test_rkd_does_not_see_a_shift_of_all_images(loss, batch, shift):
    student, teacher = batch
    shifts = shift * drawn(student.shape[1], seed=3), shift * drawn(teacher.shape[1], seed=4)
    shifted = loss(student + shifts[0], teacher + shifts[1])
    torch.testing.assert_close(shifted, loss(student, teacher), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("loss", [similarity, pkt])
def test_the_others_do_see_a_shift(loss):
    student, teacher = drawn(4, 3), drawn(4, 5, seed=1)
    assert abs(loss(student + 5, teacher) - loss(student, teacher)) > 1e-3


def test_pkt_does_not_see_the_length_of_one_embedding():
    student, teacher = drawn(4, 3), drawn(4, 5, seed=1)
    lengths = torch.tensor([0.1, 1.0, 10.0, 3.0], dtype=torch.float64)[:, None]
    torch.testing.assert_close(pkt(student * lengths, teacher), pkt(student, teacher))


def test_rkd_keeps_its_digits_far_from_the_origin_and_at_any_scale_in_single_precision():
    student, teacher = (drawn(8, 6, seed=seed, dtype=torch.float32) for seed in (0, 1))
    for loss in (rkd_distance, rkd_angle):
        value = loss(student, teacher).item()
        assert loss(student + 1024, teacher).item() == pytest.approx(value, rel=2e-3)
        assert loss(student * 1e-9, teacher * 1e9).item() == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_teacher_itself_costs_nothing_nor_does_a_wider_copy_of_it(loss):
    teacher = drawn(5, 4)
    wider = torch.cat([teacher, torch.zeros(5, 3, dtype=torch.float64)], dim=1) @ rotation(7, 1)
    for student in (teacher, wider):
        value, gradient = value_and_gradient(loss, student, teacher)
        assert value == pytest.approx(0, abs=1e-12)
        assert gradient.abs().max() < 1e-7


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("ours", [torch.randn, torch.zeros])
def test_a_batch_of_one_has_no_relations(loss, ours):
    value, gradient = value_and_gradient(loss, ours(1, 4), torch.randn(1, 6))
    assert value == 0
    assert gradient.abs().sum() == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("spoilt", [
    pytest.param(lambda rows: rows.index_copy(0, torch.tensor([1]), rows[:1]), id="two equal images"),
    pytest.param(lambda rows: rows[:1].expand_as(rows), id="all images equal"),
    pytest.param(lambda rows: rows.index_fill(0, torch.tensor([1]), 0), id="an image of zeros"),
    pytest.param(torch.zeros_like, id="all zeros"),
])
@pytest.mark.parametrize("where", ["student", "teacher", "both"])
def test_equal_images_and_zeros_give_a_value_and_a_gradient_of_ordinary_size(loss, spoilt, where):
    student, teacher = (drawn(4, 6, seed=seed, dtype=torch.float32) for seed in (0, 1))
    student = student if where == "teacher" else spoilt(student)
    teacher = teacher if where == "student" else spoilt(teacher)
    value, gradient = value_and_gradient(loss, student, teacher)
    assert 0 <= value < 10
    assert gradient.abs().max() < 10


def test_all_equal_distances_are_0_of_their_mean():
    # The student sees no difference; the teacher's relative distances are all 1: 6 of 9 pairs cost 1/2.
    teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]], dtype=torch.float64)
    student = torch.ones(3, 2, dtype=torch.float64)
    assert rkd_distance(student, teacher).item() == pytest.approx(6 / 9 / 2, rel=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gap_of_500_stays_finite(loss, dtype):
    student = torch.tensor([[500.0, 0.0], [0.0, 500.0], [0.0, 0.0]], dtype=dtype)
    teacher = torch.tensor([[0.0, 500.0], [0.0, 500.0], [500.0, 0.0]], dtype=dtype)
    value, gradient = value_and_gradient(loss, student, teacher)
    assert math.isfinite(value)
    assert value > 0
    assert gradient.isfinite().all()


def test_opposite_embeddings_have_a_similarity_of_1e_minus_7_in_pkt():
    student = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    teacher = torch.eye(2, dtype=torch.float64)
    p, q = 1 / 3, 1e-7 / (1 + 1e-7)
    expected = 2 * (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))) / 4
    assert pkt(student, teacher).item() == pytest.approx(expected, rel=1e-9)
    backwards, gradient = value_and_gradient(pkt, teacher, student)
    assert backwards == pytest.approx(2 * (q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))) / 4, rel=1e-9)
    assert gradient.isfinite().all()
