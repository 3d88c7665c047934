"""Activation boundaries: against a slow reference over every neuron, by hand, and at the edges."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdengine.losses import activation_boundary


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


def pair(*shape, seed=0):
    return drawn(*shape, seed=seed), drawn(*shape, seed=seed + 5000)


def value_and_gradient(student, teacher, mask=None, **options):
    student = student.clone().requires_grad_()
    value = activation_boundary(student, teacher, mask, **options)
    value.backward()
    return value.item(), student.grad


def slow(student, teacher, mask, margin):
    """(s + m)^2 [s > -m, t <= 0] + (s - m)^2 [s <= m, t > 0], mean over the neurons at positions that count."""
    total, count = 0.0, 0
    images, channels, height, width = student.shape
    for b in range(images):
        for y in range(height):
            for x in range(width):
                if not mask[b, y, x]:
                    continue
                for c in range(channels):
                    s, t = student[b, c, y, x], teacher[b, c, y, x]
                    count += 1
                    if t <= 0 and s > -margin:
                        total += (s + margin) ** 2
                    elif t > 0 and s <= margin:
                        total += (s - margin) ** 2
    return total / max(count, 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(0, 1000), st.floats(0, 3))
def test_it_equals_the_slow_reference(images, channels, size, seed, margin):
    student, teacher = pair(images, channels, size, size + 1, seed=seed)
    mask = drawn(images, size, size + 1, seed=seed) > 0
    value = activation_boundary(student, teacher, mask, margin=margin).item()
    assert value == pytest.approx(slow(student.numpy(), teacher.numpy(), mask, margin), rel=1e-6, abs=1e-12)
    everything = slow(student.numpy(), teacher.numpy(), torch.ones_like(mask), margin)
    value = activation_boundary(student, teacher, margin=margin).item()
    assert value == pytest.approx(everything, rel=1e-6, abs=1e-12)


def test_by_hand():
    student = torch.tensor([-3.0, -0.5, 0.5, 3.0, -3.0, -0.5, 0.5, 3.0], dtype=torch.float64).view(1, 8, 1, 1)
    teacher = torch.tensor([-1.0, -9.0, 0.0, -1.0, 1.0, 9.0, 0.1, 1.0], dtype=torch.float64).view(1, 8, 1, 1)
    expected = [0, 0.25, 2.25, 16, 16, 2.25, 0.25, 0]  # a teacher at exactly 0 does not fire
    assert activation_boundary(student, teacher).item() == pytest.approx(sum(expected) / 8, rel=1e-12)


def test_numeric_gradient():
    student, teacher = pair(2, 3, 2, 2)
    mask = torch.tensor([[[True, False], [True, True]], [[False, True], [True, False]]])
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda ours: activation_boundary(ours, teacher), student)
    assert torch.autograd.gradcheck(lambda ours: activation_boundary(ours, teacher, mask, margin=0.3), student)


def test_only_where_the_teacher_fires_matters_not_how_strongly():
    student, teacher = pair(2, 3, 2, 2)
    value = activation_boundary(student, teacher)
    torch.testing.assert_close(activation_boundary(student, teacher.sign() * 1e-9), value)
    torch.testing.assert_close(activation_boundary(student, teacher * 1e9), value)
    torch.testing.assert_close(activation_boundary(-student, -teacher), value)  # firing and not firing are alike


def test_the_order_of_images_and_of_channels_does_not_matter_and_margin_and_scale_go_together():
    student, teacher = pair(3, 4, 2, 2)
    value = activation_boundary(student, teacher)
    torch.testing.assert_close(activation_boundary(student[[2, 0, 1]], teacher[[2, 0, 1]]), value)
    torch.testing.assert_close(activation_boundary(student[:, [3, 1, 0, 2]], teacher[:, [3, 1, 0, 2]]), value)
    torch.testing.assert_close(activation_boundary(5 * student, teacher, margin=5), 25 * value)


def test_a_student_beyond_the_margin_on_the_teachers_side_costs_nothing():
    teacher = drawn(2, 3, 2, 2)
    value, gradient = value_and_gradient(teacher.sign() * 1.5, teacher)
    assert value == 0
    assert gradient.abs().sum() == 0
    # The teacher itself is inside the margin where it is weak: only with a margin of 0 it costs nothing.
    assert activation_boundary(teacher, teacher).item() > 0
    assert activation_boundary(teacher, teacher, margin=0).item() == 0


def test_maps_of_zeros_are_a_margin_away():
    zeros = torch.zeros(1, 2, 2, 2)
    value, gradient = value_and_gradient(zeros, zeros, margin=3)
    assert value == 9
    assert gradient.isfinite().all()
    assert (gradient > 0).all()  # downwards: the teacher does not fire


@pytest.mark.parametrize("spoilt", [torch.inf, torch.nan])
def test_masked_positions_change_nothing(spoilt):
    student, teacher = pair(2, 3, 2, 2)
    mask = torch.tensor([[[True, False], [True, True]], [[False, True], [True, False]]])
    value, gradient = value_and_gradient(student, teacher, mask)
    spoil = torch.where(mask[:, None], 0, spoilt)
    masked_value, masked_gradient = value_and_gradient(student + spoil, teacher - spoil, mask)
    assert masked_value == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(masked_gradient, gradient)
    kept = [each.movedim(1, -1)[mask].T[None, ..., None] for each in (student, teacher)]
    assert activation_boundary(*kept).item() == pytest.approx(value, rel=1e-12)


def test_where_nothing_counts_the_loss_is_zero_and_so_is_its_gradient():
    value, gradient = value_and_gradient(*pair(2, 3, 2, 2), torch.zeros(2, 2, 2, dtype=torch.bool))
    assert value == 0
    assert gradient.abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gap_of_500_stays_finite(dtype):
    student = torch.tensor([500.0, -500.0], dtype=dtype).view(1, 2, 1, 1)
    value, gradient = value_and_gradient(student, -student)
    assert value == pytest.approx(501**2, rel=1e-2)
    assert gradient.isfinite().all()
