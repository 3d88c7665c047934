"""The distance of weights: against slow sums over every entry, by hand, and through the maps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdengine.losses import weight_distance


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(student, teacher, rows, columns):
    """The mean over the entries (i, j) of (sum_a sum_b L_ia W^s_ab R_bj - W^t_ij)^2."""
    ours, theirs = student.reshape(len(student), -1), teacher.reshape(len(teacher), -1)
    left = (lambda i, a: float(i == a)) if rows is None else (lambda i, a: rows[i, a])
    right = (lambda b, j: float(b == j)) if columns is None else (lambda b, j: columns[b, j])
    total = 0.0
    for i in range(theirs.shape[0]):
        for j in range(theirs.shape[1]):
            mapped = sum(
                left(i, a) * ours[a, b] * right(b, j)
                for a in range(ours.shape[0]) for b in range(ours.shape[1]))
            total += (mapped - theirs[i, j]) ** 2
    return total / theirs.size


def layers(ours, theirs, kernels, seed=0):
    """A student's and a teacher's convolution of (out, in) channels, and the maps their shapes need."""
    student, teacher = (
        drawn(*channels, kernel, kernel, seed=seed + place)
        for place, (channels, kernel) in enumerate(zip((ours, theirs), kernels, strict=True)))
    inner = student[0].numel(), teacher[0].numel()
    rows = drawn(theirs[0], ours[0], seed=seed + 2) if ours[0] != theirs[0] else None
    columns = drawn(*inner, seed=seed + 3) if inner[0] != inner[1] else None
    return student, teacher, rows, columns


channels = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=25, deadline=None)
@given(channels, channels, st.sampled_from([(1, 1), (2, 2), (1, 2)]), st.integers(0, 1000))
def test_it_equals_the_slow_reference_at_any_two_shapes(ours, theirs, kernels, seed):
    arguments = layers(ours, theirs, kernels, seed)
    expected = slow(*(each if each is None else each.numpy() for each in arguments))
    assert weight_distance(*arguments).item() == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_by_hand():
    student = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    teacher = torch.tensor([[3.0], [5.0]], dtype=torch.float64)
    rows, columns = torch.tensor([[1.0], [2.0]], dtype=torch.float64), torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    # (1, 2) (1, 3)^T = 7; rows give 7 and 14: ((7 - 3)^2 + (14 - 5)^2) / 2.
    assert weight_distance(student, teacher, rows, columns).item() == pytest.approx((16 + 81) / 2, rel=1e-12)
    assert weight_distance(student, torch.tensor([[0.0, 5.0]], dtype=torch.float64)).item() == (1 + 9) / 2


def test_numeric_gradient_of_the_weights_and_of_the_maps():
    student, teacher, rows, columns = layers((2, 3), (3, 2), (1, 2))
    assert torch.autograd.gradcheck(
        lambda ours, left, right: weight_distance(ours, teacher, left, right),
        (student.requires_grad_(), rows.requires_grad_(), columns.requires_grad_()))
    assert torch.autograd.gradcheck(lambda ours: weight_distance(ours, drawn(2, 3, 1, 1, seed=9)), student)


def test_maps_that_change_nothing_are_as_none():
    student, teacher, *_ = layers((2, 3), (2, 3), (2, 2))
    identity = torch.eye(2, dtype=torch.float64), torch.eye(12, dtype=torch.float64)
    torch.testing.assert_close(weight_distance(student, teacher, *identity), weight_distance(student, teacher))


def test_reordered_channels_with_maps_to_match_give_the_same_value():
    student, teacher, rows, columns = layers((2, 3), (3, 2), (1, 2))
    value = weight_distance(student, teacher, rows, columns)
    torch.testing.assert_close(weight_distance(student[[1, 0]], teacher, rows[:, [1, 0]], columns), value)
    torch.testing.assert_close(weight_distance(student[:, [2, 0, 1]], teacher, rows, columns[[2, 0, 1]]), value)
    torch.testing.assert_close(weight_distance(student, teacher[[2, 0, 1]], rows[[2, 0, 1]], columns), value)


def test_scale_goes_in_squared():
    arguments = layers((2, 3), (3, 2), (1, 2))
    value = weight_distance(*arguments)
    torch.testing.assert_close(weight_distance(3 * arguments[0], 3 * arguments[1], *arguments[2:]), 9 * value)


def test_the_teachers_own_weights_cost_nothing():
    teacher = drawn(2, 3, 3, 3)
    student = teacher.clone().requires_grad_()
    value = weight_distance(student, teacher)
    value.backward()
    assert value.item() == 0
    assert student.grad.abs().sum() == 0
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    mapped = (rows @ teacher.flatten(1)).view(3, 3, 3, 3)
    assert weight_distance(teacher, mapped, rows).item() == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gap_of_500_and_zeros_stay_finite(dtype):
    student = torch.full((2, 1, 1, 1), 500.0, dtype=dtype, requires_grad=True)
    value = weight_distance(student, torch.zeros(2, 1, 1, 1, dtype=dtype))
    value.backward()
    assert value.item() == pytest.approx(500**2, rel=1e-2)
    assert student.grad.flatten().tolist() == [500.0, 500.0]
    zeros = torch.zeros(2, 1, 1, 1, dtype=dtype, requires_grad=True)
    weight_distance(zeros, torch.zeros(2, 1, 1, 1, dtype=dtype)).backward()
    assert zeros.grad.flatten().tolist() == [0.0, 0.0]
