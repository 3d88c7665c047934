"""Each loss on feature maps against its closed form, a slow numpy reference, its numeric gradient, and at its edges."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdengine.errors import KDError
from kdengine.losses import (
    attention,
    attention_map,
    channel_distribution,
    factor_distance,
    feature_cosine,
    feature_distance,
    fsp,
    fsp_matrix,
    hierarchical_context,
    neuron_selectivity,
    variational_information,
)


def flow_distance(student, teacher, mask=None):
    """FSP as a method uses it, of two stages: the map itself and a second one made from it, of other width."""
    ours, theirs = (
        fsp_matrix(each, torch.cat([each, each.sum(dim=1, keepdim=True)], dim=1), mask) for each in (student, teacher))
    return fsp(ours, theirs)


def variational(student, teacher, mask=None):
    """VID with a different variance in every channel."""
    return variational_information(student, teacher, VARIANCES[: student.shape[1]].to(student.dtype), mask)


VARIANCES = torch.tensor([0.5, 2.0, 1.0, 0.1], dtype=torch.float64)
LOSSES = {
    "cosine": feature_cosine, "attention": attention, "selectivity": neuron_selectivity, "fsp": flow_distance,
    "variational": variational, "factor": factor_distance, "context": hierarchical_context,
    "channels": channel_distribution,
}
every_loss = pytest.mark.parametrize("name", LOSSES)
ANY_WIDTH = ("attention", "selectivity")


# --- the slow reference: one image, position, channel and pair after the other


def counted(mask, image):
    """The positions of an image that count, as (row, column)."""
    return [(i, j) for i in range(mask.shape[1]) for j in range(mask.shape[2]) if mask[image, i, j]]


def unit(values):
    length = math.sqrt(sum(v * v for v in values))
    return [v / length for v in values]


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def slow_cosine(s, t, mask):
    values = []
    for b in range(len(s)):
        for i, j in counted(mask, b):
            ours, theirs = [c[i, j] for c in s[b]], [c[i, j] for c in t[b]]
            values.append(1 - dot(unit(ours), unit(theirs)))
    return mean(values)


def slow_attention_map(maps, places):
    """The energies of one image's positions that count, as a unit vector."""
    return unit([mean(c[i, j] ** 2 for c in maps) for i, j in places])


def slow_attention(s, t, mask):
    values = []
    for b in range(len(s)):
        places = counted(mask, b)
        if places:
            ours, theirs = slow_attention_map(s[b], places), slow_attention_map(t[b], places)
            values += [(x - y) ** 2 for x, y in zip(ours, theirs, strict=True)]
    return mean(values)


def slow_selectivity(s, t, mask):
    values = []
    for b in range(len(s)):
        places = counted(mask, b)
        if not places:
            continue
        ours, theirs = ([unit([c[i, j] for i, j in places]) for c in maps] for maps in (s[b], t[b]))
        values.append(mean(dot(x, y) ** 2 for x in theirs for y in theirs)
                      + mean(dot(x, y) ** 2 for x in ours for y in ours)
                      - 2 * mean(dot(x, y) ** 2 for x in ours for y in theirs))
    return mean(values)


def slow_flow(first, second, places):
    return [[mean(x[i, j] * y[i, j] for i, j in places) for y in second] for x in first]


def slow_fsp(s, t, mask):
    values = []
    for b in range(len(s)):
        places = counted(mask, b)
        ours, theirs = (
            slow_flow(maps, [*maps, maps.sum(axis=0)], places) for maps in (s[b], t[b]))
        values += [(x - y) ** 2 for left, right in zip(ours, theirs, strict=True)
                   for x, y in zip(left, right, strict=True)]
    return mean(values)


def slow_variational(s, t, mask):
    values = []
    for b in range(len(s)):
        for i, j in counted(mask, b):
            for c in range(s.shape[1]):
                sigma = math.sqrt(VARIANCES[c].item())
                values.append(math.log(sigma) + (t[b, c, i, j] - s[b, c, i, j]) ** 2 / (2 * sigma**2))
    return mean(values)


def slow_factor(s, t, mask):
    values = []
    for b in range(len(s)):
        places = counted(mask, b)
        if places:
            ours, theirs = (unit([c[i, j] for c in maps for i, j in places]) for maps in (s[b], t[b]))
            values += [abs(x - y) for x, y in zip(ours, theirs, strict=True)]
    return mean(values)


def softmax(values, temperature):
    raised = [math.exp((v - max(values)) / temperature) for v in values]
    return [v / sum(raised) for v in raised]


def slow_channels(s, t, mask, temperature=4):
    values = []
    for b in range(len(s)):
        places = counted(mask, b)
        divergences = []
        for ours, theirs in zip(s[b], t[b], strict=True) if places else ():
            q, p = (softmax([maps[i, j] for i, j in places], temperature) for maps in (ours, theirs))
            divergences.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
        values += [mean(divergences)] if places else []
    return temperature**2 * mean(values)


def slow_context(s, t, mask):
    height, width = s.shape[2:]
    levels = [None] + [size for size in (4, 2, 1) if size < min(height, width)]
    total = 0.0
    for place, size in enumerate(levels):
        rows = [(i, i + 1) for i in range(height)] if size is None else cells(height, size)
        columns = [(j, j + 1) for j in range(width)] if size is None else cells(width, size)
        values = []
        for b in range(len(s)):
            for top, bottom in rows:
                for left, right in columns:
                    inside = [(i, j) for i in range(top, bottom) for j in range(left, right) if mask[b, i, j]]
                    for ours, theirs in zip(s[b], t[b], strict=True) if inside else ():
                        values.append((mean(ours[p] for p in inside) - mean(theirs[p] for p in inside)) ** 2)
        total += 0.5**place * mean(values)
    return total / sum(0.5**place for place in range(len(levels)))


def cells(length, count):
    """Where `count` cells of a length begin and end; neighbours overlap where it does not divide."""
    return [(n * length // count, -(-(n + 1) * length // count)) for n in range(count)]


SLOW = {
    "cosine": slow_cosine, "attention": slow_attention, "selectivity": slow_selectivity, "fsp": slow_fsp,
    "variational": slow_variational, "factor": slow_factor, "context": slow_context, "channels": slow_channels,
}


# --- what the tests draw


def draw(shape, seed, teacher_channels=None):
    """Student and teacher maps in float64, and a mask in which every image counts somewhere, from a seed."""
    generator = torch.Generator().manual_seed(seed)
    batch, channels, *size = shape
    student = torch.randn(shape, generator=generator, dtype=torch.float64)
    teacher = torch.randn(batch, teacher_channels or channels, *size, generator=generator, dtype=torch.float64)
    mask = torch.rand(batch, *size, generator=generator) > 0.4
    mask[:, 0, 0] = True
    return student, teacher, mask


SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))
cases = st.builds(draw, SHAPES, st.integers(0, 10_000))


@every_loss
@settings(max_examples=20, deadline=None)
@given(case=cases, masked=st.booleans(), drop=st.booleans())
def test_the_value_is_that_of_the_slow_reference(name, case, masked, drop):
    student, teacher, mask = case
    if drop and name != "fsp":  # an image of which nothing counts; a flow matrix no longer knows
        mask[-1] = False
    counts = mask if masked else torch.ones_like(mask)
    expected = SLOW[name](student.numpy(), teacher.numpy(), counts.numpy())
    value = LOSSES[name](student, teacher, mask if masked else None).item()
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(case=cases, temperature=st.floats(0.3, 20))
def test_channels_have_the_value_of_the_slow_reference_at_any_temperature(case, temperature):
    student, teacher, mask = case
    expected = slow_channels(student.numpy(), teacher.numpy(), mask.numpy(), temperature)
    value = channel_distribution(student, teacher, mask, temperature=temperature).item()
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("name", ANY_WIDTH)
@settings(max_examples=15, deadline=None)
@given(case=st.builds(draw, SHAPES, st.integers(0, 1000), st.integers(1, 5)))
def test_networks_of_different_width_have_the_value_of_the_slow_reference(name, case):
    student, teacher, mask = case
    expected = SLOW[name](student.numpy(), teacher.numpy(), mask.numpy())
    assert LOSSES[name](student, teacher, mask).item() == pytest.approx(expected, rel=1e-6, abs=1e-12)


@settings(max_examples=15, deadline=None)
@given(case=st.builds(draw, SHAPES, st.integers(0, 1000), st.integers(1, 5)))
def test_the_flow_matrix_is_that_of_the_slow_reference(case):
    first, second, mask = case
    expected = [slow_flow(first[b].numpy(), second[b].numpy(), counted(mask, b)) for b in range(len(first))]
    torch.testing.assert_close(fsp_matrix(first, second, mask), torch.tensor(expected, dtype=torch.float64))


# --- by hand


def maps(*channels):
    """One image of one row: a list of values for each channel."""
    return torch.tensor([[[values] for values in channels]], dtype=torch.float64)


def test_cosine_by_hand():
    # Channel vectors (3, 4) and (1, 0) at the first position, (1, 0) and (-2, 0) at the second.
    student, teacher = maps([3.0, 1.0], [4.0, 0.0]), maps([1.0, -2.0], [0.0, 0.0])
    assert feature_cosine(student, teacher).item() == pytest.approx((0.4 + 2) / 2)


def test_attention_by_hand():
    # Mean squares (9, 12) -> (3, 4) / 5; (2, 0) -> (1, 0).
    student, teacher = maps([3.0, math.sqrt(12)]), maps([2.0, 0.0], [0.0, 0.0])
    torch.testing.assert_close(attention_map(student), torch.tensor([[[0.6, 0.8]]], dtype=torch.float64))
    assert attention(student, teacher).item() == pytest.approx((0.16 + 0.64) / 2)


def test_selectivity_by_hand():
    # Student (3, 4) / 5. Teacher (1, 0) and (0, 1): mean kernels 1 and 1/2, and across (0.36 + 0.64) / 2.
    student, teacher = maps([3.0, 4.0]), maps([2.0, 0.0], [0.0, 7.0])
    assert neuron_selectivity(student, teacher).item() == pytest.approx(0.5 + 1 - 2 * 0.5)
    # One channel each: 1 + 1 - 2 cos^2.
    assert neuron_selectivity(student, maps([1.0, 0.0])).item() == pytest.approx(2 - 2 * 0.36)


def test_fsp_by_hand():
    first, second = maps([1.0, 2.0], [0.0, 1.0]), maps([3.0, 5.0])
    flow = fsp_matrix(first, second)
    torch.testing.assert_close(flow, torch.tensor([[[6.5], [2.5]]], dtype=torch.float64))
    only_first = torch.tensor([[[True, False]]])
    torch.testing.assert_close(fsp_matrix(first, second, only_first), torch.tensor([[[3.0], [0.0]]]).double())
    assert fsp(flow, torch.zeros_like(flow)).item() == pytest.approx((6.5**2 + 2.5**2) / 2)


def test_variational_by_hand():
    mean_map, teacher = maps([1.0], [1.0]), maps([3.0], [1.0])
    variance = torch.tensor([4.0, math.e], dtype=torch.float64)
    expected = 0.5 * ((4 / 4 + math.log(4)) + (0 + 1)) / 2
    assert variational_information(mean_map, teacher, variance).item() == pytest.approx(expected)


def test_factor_by_hand():
    # Both channels and positions make one vector: (3, 0, 0, 4) / 5 and (0, 0, 0, 1).
    student, teacher = maps([3.0, 0.0], [0.0, 4.0]), maps([0.0, 0.0], [0.0, 9.0])
    assert factor_distance(student, teacher).item() == pytest.approx((0.6 + 0.2) / 4)


def test_context_by_hand():
    # Differences 1, 2, 3, 6 on a 2x2 map: mean square 50 / 4; the mean is 3 and weighs half.
    student = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]], dtype=torch.float64)
    value = hierarchical_context(student, torch.zeros_like(student)).item()
    assert value == pytest.approx((12.5 + 9 / 2) / 1.5)
    # A sign that alternates pools to 0 on every level but the map itself.
    checks = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    checks[..., ::2] = -1
    assert hierarchical_context(checks, 0 * checks).item() == pytest.approx(1 / (1 + 1 / 2 + 1 / 4 + 1 / 8))


def test_channels_by_hand():
    # Over the two positions the teacher has (3/4, 1/4), the student (1/2, 1/2); in the second channel both are alike.
    student, teacher = maps([5.0, 5.0], [1.0, 2.0]), maps([math.log(3), 0.0], [7.0, 8.0])
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert channel_distribution(student, teacher, temperature=1).item() == pytest.approx(divergence / 2)
    # Maps twice as large at twice the temperature are the same distributions: only T^2 is left.
    assert channel_distribution(2 * student, 2 * teacher, temperature=2).item() == pytest.approx(4 * divergence / 2)
    # With the third position counted out, and an image of which nothing counts.
    wider = [torch.cat([each, torch.full((1, 2, 1, 1), 1e30)], dim=3) for each in (student, teacher)]
    mask = torch.tensor([[[True, True, False]], [[False] * 3]])
    both = [torch.cat([each, each.flip(1)]) for each in wider]
    assert channel_distribution(*both, mask, temperature=1).item() == pytest.approx(divergence / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_channels_with_a_gap_of_500_are_as_in_float64(dtype, temperature):
    student, teacher = (each.to(dtype) for each in (maps([500.0, 0.0, 3.0]), maps([0.0, 500.0, -2.0])))
    for ours, theirs in ((student, teacher), (teacher, student)):
        loss = partial(channel_distribution, temperature=temperature)
        value, gradient = value_and_gradient(loss, ours, theirs)
        exact, slope = value_and_gradient(loss, ours.double(), theirs.double())
        assert exact.item() == pytest.approx(500 * temperature)  # T^2 * gap / T
        rough = 1e-4 if dtype == torch.float32 else 0.02
        torch.testing.assert_close(value.double(), exact, rtol=rough, atol=rough)
        torch.testing.assert_close(gradient.double(), slope, rtol=rough, atol=rough)


@settings(max_examples=15, deadline=None)
@given(case=cases, seed=st.integers(0, 1000))
def test_a_constant_added_to_a_channel_changes_nothing_where_it_is_softened_over_positions(case, seed):
    student, teacher, mask = case
    generator = torch.Generator().manual_seed(seed)
    ours, theirs = (50 * torch.randn(*student.shape[:2], 1, 1, generator=generator, dtype=torch.float64)
                    for _ in range(2))
    shifted = channel_distribution(student + ours, teacher + theirs, mask)
    torch.testing.assert_close(shifted, channel_distribution(student, teacher, mask), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("masked", [False, True])
def test_context_of_an_even_difference_is_its_square_whatever_the_size_and_the_mask(size, masked):
    student, _, mask = draw((2, 3, size, size), 1)
    value = hierarchical_context(student, student + 3, mask if masked else None)
    assert value.item() == pytest.approx(9)


# --- gradients


@every_loss
@pytest.mark.parametrize("shape", [(2, 3, 2, 3), (1, 2, 5, 5), (3, 4, 1, 1)])
@pytest.mark.parametrize("masked", [False, True])
def test_numeric_gradient(name, shape, masked):
    student, teacher, mask = draw(shape, 2)
    assert torch.autograd.gradcheck(
        lambda s: LOSSES[name](s, teacher, mask if masked else None), student.requires_grad_())


def test_numeric_gradient_of_the_variance_and_of_both_stages():
    student, teacher, mask = draw((2, 3, 2, 2), 3)
    variance = VARIANCES[:3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: variational_information(student, teacher, v, mask), variance)
    stages = student.requires_grad_(), teacher.requires_grad_()
    assert torch.autograd.gradcheck(lambda first, second: fsp_matrix(first, second, mask), stages)
    assert torch.autograd.gradcheck(lambda first: attention_map(first, mask), student)


# --- invariances


def same(value, expected):
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-12)


@every_loss
@settings(max_examples=15, deadline=None)
@given(case=cases, seed=st.integers(0, 1000))
def test_the_order_of_images_channels_and_positions_changes_nothing(name, case, seed):
    student, teacher, mask = case
    generator = torch.Generator().manual_seed(seed)
    value = LOSSES[name](student, teacher, mask)
    images = torch.randperm(len(student), generator=generator)
    same(LOSSES[name](student[images], teacher[images], mask[images]), value)
    same(LOSSES[name](student.flip(2, 3), teacher.flip(2, 3), mask.flip(1, 2)), value)
    same(LOSSES[name](student.transpose(2, 3), teacher.transpose(2, 3), mask.transpose(1, 2)), value)
    if name != "context":  # which reads where a position lies
        order = torch.randperm(mask[0].numel(), generator=generator)
        moved = [each.flatten(-2)[..., order].view_as(each) for each in case]
        same(LOSSES[name](*moved), value)
    if name != "variational":  # which has a variance for each channel
        channels = torch.randperm(student.shape[1], generator=generator)
        same(LOSSES[name](student[:, channels], teacher[:, channels], mask), value)
        if name in ANY_WIDTH:
            same(LOSSES[name](student[:, channels], teacher, mask), value)


@settings(max_examples=15, deadline=None)
@given(case=cases, seed=st.integers(0, 1000))
def test_what_is_normalised_loses_its_scale(case, seed):
    student, teacher, mask = case
    generator = torch.Generator().manual_seed(seed)

    def scales(*shape):
        return torch.rand(shape, generator=generator, dtype=torch.float64) * 10 + 0.1

    batch, channels, height, width = student.shape
    image, channel, position = (batch, 1, 1, 1), (batch, channels, 1, 1), (batch, 1, height, width)
    for loss, shape in ((attention, image), (factor_distance, image), (neuron_selectivity, channel),
                        (feature_cosine, position)):
        same(loss(student * scales(*shape), teacher * scales(*shape), mask), loss(student, teacher, mask))
    # The kernel is even and so is the energy: a sign is lost as well.
    same(neuron_selectivity(-student, teacher, mask), neuron_selectivity(student, teacher, mask))
    same(attention(-student, teacher, mask), attention(student, teacher, mask))
    same(feature_cosine(-student, teacher, mask), 2 - feature_cosine(student, teacher, mask))


@settings(max_examples=15, deadline=None)
@given(case=cases, factor=st.floats(0.2, 5), shift=st.floats(-5, 5))
def test_what_is_not_normalised_keeps_its_unit(case, factor, shift):
    student, teacher, mask = case
    value = hierarchical_context(student, teacher, mask)
    same(hierarchical_context(factor * student, factor * teacher, mask), factor**2 * value)
    same(hierarchical_context(student + shift, teacher + shift, mask), value)
    same(fsp_matrix(factor * student, teacher, mask), factor * fsp_matrix(student, teacher, mask))
    same(fsp_matrix(teacher, student, mask), fsp_matrix(student, teacher, mask).transpose(1, 2))
    flows = fsp_matrix(student, student, mask), fsp_matrix(teacher, teacher, mask)
    same(fsp(factor * flows[0], factor * flows[1]), factor**2 * fsp(*flows))
    variance = VARIANCES[: student.shape[1]]
    value = variational_information(student, teacher, variance, mask)
    same(variational_information(student + shift, teacher + shift, variance, mask), value)
    # A density in another unit: ln a for each element.
    scaled = variational_information(factor * student, factor * teacher, factor**2 * variance, mask)
    torch.testing.assert_close(scaled, value + math.log(factor), rtol=1e-6, atol=1e-9)


def test_the_best_variance_is_the_mean_square_error():
    student, teacher, mask = draw((2, 3, 3, 3), 7)
    best = torch.stack([(student - teacher)[:, c][mask].pow(2).mean() for c in range(3)]).requires_grad_()
    gradient, = torch.autograd.grad(variational_information(student, teacher, best, mask), best)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)
    value = variational_information(student, teacher, best, mask)
    for factor in (0.5, 2):
        assert variational_information(student, teacher, factor * best, mask) > value


@every_loss
@settings(max_examples=15, deadline=None)
@given(case=cases)
def test_an_identical_student_has_the_least_value(name, case):
    student, teacher, mask = case
    least = VARIANCES[: student.shape[1]].log().mean().item() / 2 if name == "variational" else 0
    assert LOSSES[name](teacher, teacher, mask).item() == pytest.approx(least, abs=1e-12)
    assert LOSSES[name](student, teacher, mask).item() >= least - 1e-12


@every_loss
def test_a_masked_image_counts_like_an_absent_one(name):
    student, teacher, mask = draw((4, 3, 5, 6), 8)
    mask[[1, 3]] = False
    if name == "fsp":  # its mean is over the matrices it is given: the absent ones are 0
        same(LOSSES[name](student, teacher, mask), LOSSES[name](student[::2], teacher[::2], mask[::2]) / 2)
    else:
        same(LOSSES[name](student, teacher, mask), LOSSES[name](student[::2], teacher[::2], mask[::2]))


@every_loss
def test_a_mask_that_is_true_everywhere_is_no_mask(name):
    student, teacher, mask = draw((2, 3, 5, 6), 9)
    same(LOSSES[name](student, teacher, torch.ones_like(mask)), LOSSES[name](student, teacher))


# --- edges


def value_and_gradient(loss, student, teacher, mask=None):
    student = student.clone().requires_grad_()
    value = loss(student, teacher, mask)
    gradient, = torch.autograd.grad(value, student)
    return value.detach(), gradient


@pytest.mark.parametrize("name", [*LOSSES, "distance"])
@pytest.mark.parametrize("spoiled", ["student", "teacher"])
@pytest.mark.parametrize("poison", [math.inf, -math.inf, math.nan])
def test_what_a_masked_position_holds_changes_nothing(name, spoiled, poison):
    loss = {**LOSSES, "distance": feature_distance}[name]
    student, teacher, mask = draw((3, 2, 5, 4), 21)
    mask[1] = False
    clean = value_and_gradient(loss, student, teacher, mask)
    bad = torch.where(mask[:, None], student if spoiled == "student" else teacher, poison)
    value, gradient = value_and_gradient(loss, *((bad, teacher) if spoiled == "student" else (student, bad)), mask)
    torch.testing.assert_close(value, clean[0])
    torch.testing.assert_close(gradient, clean[1])
    assert gradient.movedim(1, -1)[~mask].abs().max().item() == 0


@every_loss
def test_where_nothing_counts_value_and_gradient_are_0(name):
    student, teacher, mask = draw((2, 3, 5, 5), 22)
    value, gradient = value_and_gradient(LOSSES[name], student, teacher, torch.zeros_like(mask))
    assert value.item() == 0
    assert gradient.abs().max().item() == 0


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_maps_of_zeros_and_large_maps_stay_finite(name, dtype):
    student, teacher, _ = draw((2, 3, 6, 5), 23)
    student, teacher = student.to(dtype), teacher.to(dtype)
    half = student.clone()
    half[0], half[1, 0], half[1, :, 0] = 0, 0, 0  # a dead image, a dead channel, dead positions
    for ours, theirs in ((0 * student, teacher), (student, 0 * teacher), (0 * student, 0 * teacher), (half, teacher),
                         (student, half), (500 * student, -500 * teacher), (500 * student, 0 * teacher)):
        value, gradient = value_and_gradient(LOSSES[name], ours, theirs)
        assert value.isfinite() and gradient.isfinite().all()


@every_loss
def test_a_dead_map_beside_a_dead_map_moves_nothing(name):
    zeros = torch.zeros(2, 3, 5, 5)
    _, gradient = value_and_gradient(LOSSES[name], zeros, zeros)
    # A softmax over the positions sums to 1 but for rounding.
    assert gradient.abs().max().item() <= (1e-8 if name == "channels" else 0)


def test_a_vector_of_zeros_has_cosine_0():
    assert feature_cosine(maps([0.0, 1.0], [0.0, 0.0]), maps([1.0, 1.0], [1.0, 0.0])).item() == pytest.approx(0.5)


@every_loss
def test_equal_images_have_the_value_and_a_share_of_the_gradient_of_one(name):
    student, teacher, mask = draw((1, 3, 5, 4), 24)
    value, gradient = value_and_gradient(LOSSES[name], student, teacher, mask)
    alike = [each.expand(3, *each.shape[1:]) for each in (student, teacher, mask)]
    values, gradients = value_and_gradient(LOSSES[name], *alike)
    same(values, value)
    same(gradients, (gradient / 3).expand_as(gradients))


@every_loss
def test_single_positions_and_single_channels_are_allowed(name):
    for shape in ((1, 1, 1, 1), (2, 1, 3, 1), (1, 3, 1, 1)):
        value, gradient = value_and_gradient(LOSSES[name], *draw(shape, 25))
        assert value.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_a_temperature_that_is_none_is_refused(temperature):
    maps = torch.zeros(1, 1, 2, 2)
    with pytest.raises(KDError, match=r"temperature is .* above 0"):
        channel_distribution(maps, maps, temperature=temperature)
