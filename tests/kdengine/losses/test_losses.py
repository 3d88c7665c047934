"""Each loss against its closed form, its numeric gradient, a slow numpy reference, and at its edges."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kdengine.errors import KDError
from kdengine.losses import IGNORE, cross_entropy, feature_distance, kl_divergence, mask_at, mean_over

HANDOUT = torch.tensor([[10.0, 2.0, -3.0]], dtype=torch.float64)


def numpy_softmax(row):
    row = np.asarray(row, dtype=np.float64)
    exponentials = np.exp(row - row.max())
    return exponentials / exponentials.sum()


def slow_kl(student, teacher, temperature):
    """T^2 KL(teacher || student), one position after the other, in numpy."""
    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        p, q = numpy_softmax(theirs / temperature), numpy_softmax(ours / temperature)
        total += sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(student)


def slow_cross_entropy(logits, target, smoothing):
    total = 0.0
    for row, label in zip(logits, target, strict=True):
        p, classes = numpy_softmax(row), len(row)
        for c in range(classes):
            q = (1 - smoothing) * (c == label) + smoothing / classes
            total -= q * math.log(p[c])
    return total / len(logits)


def pairs():
    """Two float64 logit matrices of one hypothesis-chosen shape, from a chosen seed."""
    def draw(shape):
        generator = torch.Generator().manual_seed(shape[2])
        return [torch.randn(shape[0], shape[1], generator=generator, dtype=torch.float64) * 3 for _ in range(2)]

    return st.tuples(st.integers(1, 6), st.integers(2, 12), st.integers(0, 1000)).map(draw)


@settings(max_examples=40, deadline=None)
@given(pairs(), st.floats(0.5, 20))
def test_kl_equals_the_slow_reference(logits, temperature):
    student, teacher = logits
    expected = slow_kl(student.numpy(), teacher.numpy(), temperature)
    value = kl_divergence(student, teacher, temperature=temperature).item()
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(pairs(), st.sampled_from([0.0, 0.1, 0.5]))
def test_cross_entropy_equals_the_slow_reference(logits, smoothing):
    target = torch.arange(len(logits[0])) % logits[0].shape[1]
    expected = slow_cross_entropy(logits[0].numpy(), target.numpy(), smoothing)
    assert cross_entropy(logits[0], target, smoothing=smoothing).item() == pytest.approx(expected, rel=1e-9)


# --- a weight for each class


def weighed(shape, seed):
    """Logits of a shape [B, C, ...] in float64, a target with some IGNORE, a mask, a weight for each class."""
    generator = torch.Generator().manual_seed(seed)
    places = (shape[0], *shape[2:])
    logits = torch.randn(shape, generator=generator, dtype=torch.float64) * 2
    target = torch.randint(shape[1], places, generator=generator)
    target[torch.rand(places, generator=generator) < 0.2] = IGNORE
    return logits, target, torch.rand(places, generator=generator) > 0.3, torch.rand(
        shape[1], generator=generator, dtype=torch.float64) * 5 + 0.01


weighed_cases = st.builds(weighed, st.tuples(st.integers(1, 4), st.integers(2, 6)).flatmap(
    lambda shape: st.sampled_from([shape, (*shape, 3, 2)])), st.integers(0, 10_000))


@settings(max_examples=40, deadline=None)
@given(weighed_cases, st.sampled_from([0.0, 0.3]), st.booleans())
def test_weighted_cross_entropy_equals_the_slow_reference(case, smoothing, masked):
    logits, target, mask, weights = case
    above = below = 0.0
    for place in np.ndindex(*target.shape):
        if target[place] == IGNORE or (masked and not mask[place]):
            continue
        image, *position = place
        row = [[logits[(image, c, *position)].item() for c in range(logits.shape[1])]]
        label = target[place].item()
        above += weights[label].item() * slow_cross_entropy(row, [label], smoothing)
        below += weights[label].item()
    value = cross_entropy(logits, target, mask if masked else None, weights, smoothing=smoothing)
    assert value.item() == pytest.approx(above / below if below else 0, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(weighed_cases, st.floats(0.01, 100))
def test_weighted_cross_entropy_is_torchs_and_only_their_ratios_count(case, factor):
    logits, target, _, weights = case
    target.view(-1)[0] = 0
    value = cross_entropy(logits, target, None, weights)
    torch.testing.assert_close(value, F.cross_entropy(logits, target, weights, ignore_index=IGNORE))
    torch.testing.assert_close(cross_entropy(logits, target, None, factor * weights), value)
    torch.testing.assert_close(cross_entropy(logits, target, None, torch.ones_like(weights)),
                               cross_entropy(logits, target))


def test_weighted_cross_entropy_by_hand():
    # Right with 3/4 and with 1/2; the second label weighs three times the first.
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0], [9.0, -9.0]], dtype=torch.float64)
    target, weights = torch.tensor([0, 1, IGNORE]), torch.tensor([2.0, 6.0])
    expected = (2 * math.log(4 / 3) + 6 * math.log(2)) / 8
    assert cross_entropy(logits, target, None, weights).item() == pytest.approx(expected)
    assert cross_entropy(logits, target, None, torch.tensor([0.0, 1.0])).item() == pytest.approx(math.log(2))


def test_where_no_weight_counts_the_loss_is_zero_and_so_is_its_gradient():
    logits = torch.randn(2, 3, requires_grad=True)
    for target, weights in (([0, 0], [0.0, 1, 1]), ([IGNORE, IGNORE], [1.0, 1, 1])):
        value = cross_entropy(logits, torch.tensor(target), None, torch.tensor(weights))
        gradient, = torch.autograd.grad(value, logits)
        assert value.item() == 0
        assert gradient.abs().max().item() == 0


def test_a_masked_infinity_leaves_the_gradient_of_weighted_cross_entropy_alone():
    logits, target, mask, weights = weighed((2, 3, 5, 4), 4)
    spoiled = torch.where(mask[:, None], logits, torch.inf)
    gradients = []
    for each in (logits, spoiled):
        each.requires_grad_()
        gradients += torch.autograd.grad(cross_entropy(each, target, mask, weights), each)
    torch.testing.assert_close(*gradients)
    assert gradients[0].movedim(1, -1)[~mask].abs().max().item() == 0


def test_kl_by_hand():
    # Teacher uniform over two classes, student odds 3:1: KL = ln 2 - (ln 3/4 + ln 1/4) / -2 = ln(2 / sqrt 3).
    student = torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64)
    teacher = torch.zeros(1, 2, dtype=torch.float64)
    assert kl_divergence(student, teacher).item() == pytest.approx(math.log(2 / math.sqrt(3)))


def test_kl_gradient_is_temperature_times_the_difference_of_probabilities():
    temperature = 3.0
    student = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(4, 5, dtype=torch.float64)
    kl_divergence(student, teacher, temperature=temperature).backward()
    expected = temperature * ((student / temperature).softmax(1) - (teacher / temperature).softmax(1)) / 4
    torch.testing.assert_close(student.grad, expected.detach())


def test_kl_becomes_logit_matching_for_a_high_temperature():
    student = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(3, 6, dtype=torch.float64)
    kl_divergence(student, teacher, temperature=1e6).backward()
    centerd = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    torch.testing.assert_close(student.grad, centerd.detach() / 6 / 3, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("loss", [
    lambda s, t: kl_divergence(s, t, temperature=2.5),
    lambda s, t: cross_entropy(s, torch.tensor([0, 3, 1])),
    lambda s, t: cross_entropy(s, torch.tensor([0, 3, IGNORE]), smoothing=0.2),
    lambda s, t: cross_entropy(s, torch.tensor([0, 3, 1]), None, torch.tensor([0.5, 2, 0, 1])),
    lambda s, t: cross_entropy(s, torch.tensor([0, 3, IGNORE]), None, torch.tensor([0.5, 2, 0, 1]), smoothing=0.2),
    lambda s, t: feature_distance(s[..., None, None], t[..., None, None]),
    lambda s, t: feature_distance(s[..., None, None], t[..., None, None], norm="smooth_l1"),
])
def test_numeric_gradient(loss):
    generator = torch.Generator().manual_seed(1)
    student = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(loss, (student, teacher))


@settings(max_examples=20, deadline=None)
@given(pairs(), st.floats(-50, 50))
def test_logit_losses_ignore_a_shift_and_the_order_of_the_batch(logits, shift):
    student, teacher = logits
    value = kl_divergence(student, teacher, temperature=4)
    order = torch.arange(len(student) - 1, -1, -1)
    shifted = kl_divergence(student + shift, teacher - shift, temperature=4)
    torch.testing.assert_close(shifted, value, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(kl_divergence(student[order], teacher[order], temperature=4), value)
    assert value >= -1e-12
    assert kl_divergence(teacher, teacher, temperature=4).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_logit_gap_of_500_stays_finite(dtype):
    student = torch.tensor([[500.0, 0.0], [0.0, 500.0]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[0.0, 500.0], [0.0, 500.0]], dtype=dtype)
    value = kl_divergence(student, teacher, temperature=4)
    value.backward()
    assert value.item() == pytest.approx(16 * 125 / 2, rel=1e-2)  # T^2 * gap / T, in one of two images
    assert student.grad.isfinite().all()


def test_one_image_and_two_classes():
    student, teacher = torch.zeros(1, 2), torch.tensor([[0.0, math.log(3.0)]])
    expected = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert kl_divergence(student, teacher).item() == pytest.approx(expected, rel=1e-6)


def test_a_constant_map_gives_the_value_of_the_vector():
    student, teacher = torch.randn(1, 5), torch.randn(1, 5)
    maps = [each[:, :, None, None].expand(1, 5, 7, 3) for each in (student, teacher)]
    torch.testing.assert_close(kl_divergence(*maps, temperature=4), kl_divergence(student, teacher, temperature=4))


def test_ignored_pixels_around_a_constant_map_change_nothing():
    student, teacher = torch.randn(1, 5), torch.randn(1, 5)
    mask = torch.zeros(1, 6, 4, dtype=torch.bool)
    mask[0, 2:4, 1:3] = True
    maps = [torch.where(mask[:, None], each[:, :, None, None], 1e4 * torch.randn(1, 5, 6, 4))
            for each in (student, teacher)]
    value = kl_divergence(student, teacher, temperature=4)
    torch.testing.assert_close(kl_divergence(*maps, mask, temperature=4), value)
    weights, labels = torch.rand(5) + 0.1, torch.where(mask, 2, IGNORE)
    torch.testing.assert_close(cross_entropy(maps[0], labels, None, weights), cross_entropy(student, torch.tensor([2])))


def test_masked_positions_count_nowhere():
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    target = torch.randint(3, (2, 4, 4))
    mask = torch.rand(2, 4, 4) > 0.4
    spoiled = torch.where(mask[:, None], student, torch.inf)
    for loss in (lambda s: kl_divergence(s, teacher, mask, temperature=4), lambda s: cross_entropy(s, target, mask),
                 lambda s: feature_distance(s, teacher, mask)):
        torch.testing.assert_close(loss(spoiled), loss(student))
    kept = kl_divergence(student.permute(0, 2, 3, 1)[mask], teacher.permute(0, 2, 3, 1)[mask], temperature=4)
    torch.testing.assert_close(kl_divergence(student, teacher, mask, temperature=4), kept)


def test_where_nothing_counts_the_loss_is_zero_and_so_is_its_gradient():
    student = torch.randn(2, 3, requires_grad=True)
    value = cross_entropy(student, torch.full((2,), IGNORE)) + kl_divergence(student, student.detach() + 1,
                                                                             torch.zeros(2, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert student.grad.abs().sum() == 0


def test_cross_entropy_is_the_mean_over_labelled_images_alone():
    logits = torch.randn(4, 3)
    target = torch.tensor([2, IGNORE, 0, IGNORE])
    torch.testing.assert_close(cross_entropy(logits, target), cross_entropy(logits[[0, 2]], torch.tensor([2, 0])))


def test_feature_distance_by_hand():
    student = torch.tensor([0.0, 3.0]).view(1, 2, 1, 1)
    teacher = torch.tensor([0.5, 1.0]).view(1, 2, 1, 1)
    assert feature_distance(student, teacher).item() == pytest.approx((0.25 + 4) / 2)
    assert feature_distance(student, teacher, norm="smooth_l1").item() == pytest.approx((0.125 + 1.5) / 2)


def test_mask_at_a_smaller_size_keeps_a_cell_when_any_pixel_counts():
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 3, 0] = True
    assert mask_at(mask, (2, 2)).tolist() == [[[False, False], [True, False]]]
    assert mask_at(torch.tensor([True, False]), (1, 2)).tolist() == [[[True, True]], [[False, False]]]


def test_mean_over_is_not_spoiled_by_a_masked_infinity():
    assert mean_over(torch.tensor([1.0, torch.inf]), torch.tensor([True, False])).item() == 1


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_a_temperature_that_softens_nothing_is_refused(temperature):
    with pytest.raises(KDError, match=r"temperature is .* above 0"):
        kl_divergence(HANDOUT, HANDOUT, temperature=temperature)


def test_an_unknown_norm_is_refused():
    with pytest.raises(KDError, match=r"norm is 'l3'; allowed are l2, smooth_l1"):
        feature_distance(HANDOUT, HANDOUT, norm="l3")
