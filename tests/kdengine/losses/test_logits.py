"""Each loss on logits against its closed form, a slow numpy reference, its numeric gradient, and at its edges."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdengine.errors import KDError
from kdengine.losses import (
    IGNORE,
    cross_entropy,
    dkd,
    inter_class_relation,
    intra_class_relation,
    kl_divergence,
    non_target_kl,
    standardized,
    target_class_kl,
)


def standardized_kl(student, teacher, mask=None, *, temperature=2.0):
    return kl_divergence(standardized(student), standardized(teacher), mask, temperature=temperature)


# The losses under one signature: student, teacher, target, mask, temperature.
LOSSES = {
    "kl": lambda s, t, y, m, T: kl_divergence(s, t, m, temperature=T),
    "target_class": lambda s, t, y, m, T: target_class_kl(s, t, y, m, temperature=T),
    "non_target": lambda s, t, y, m, T: non_target_kl(s, t, y, m, temperature=T),
    "dkd": lambda s, t, y, m, T: dkd(s, t, y, m, target_weight=0.7, non_target_weight=3.0, temperature=T),
    "standardized": lambda s, t, y, m, T: standardized_kl(s, t, m, temperature=T),
    "inter_class": lambda s, t, y, m, T: inter_class_relation(s, t, m, temperature=T),
    "intra_class": lambda s, t, y, m, T: intra_class_relation(s, t, m, temperature=T),
}
SOFTENED = [name for name in LOSSES if name != "standardized"]
every_loss = pytest.mark.parametrize("name", LOSSES)
every_softened_loss = pytest.mark.parametrize("name", SOFTENED)


# --- the slow reference: lists of rows, one position after the other, one class after the other


def softmax(row, temperature):
    exponentials = [math.exp(z / temperature) for z in row]
    return [e / sum(exponentials) for e in exponentials]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def pearson(x, y):
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    below = sum((a - mean_x) ** 2 for a in x) * sum((b - mean_y) ** 2 for b in y)
    return above / math.sqrt(below)


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def slow_kl(ours, theirs, labels, T):
    return T**2 * mean(kl(softmax(t, T), softmax(s, T)) for s, t in zip(ours, theirs, strict=True))


def slow_target_class(ours, theirs, labels, T):
    values = []
    for s, t, y in zip(ours, theirs, labels, strict=True):
        p, q = softmax(t, T)[y], softmax(s, T)[y]
        values.append(kl([p, 1 - p], [q, 1 - q]))
    return T**2 * mean(values)


def slow_non_target(ours, theirs, labels, T):
    values = []
    for s, t, y in zip(ours, theirs, labels, strict=True):
        p, q = softmax(t, T), softmax(s, T)
        p_hat = [p[c] / (1 - p[y]) for c in range(len(p)) if c != y]
        q_hat = [q[c] / (1 - q[y]) for c in range(len(q)) if c != y]
        values.append(kl(p_hat, q_hat))
    return T**2 * mean(values)


def slow_dkd(ours, theirs, labels, T):
    return 0.7 * slow_target_class(ours, theirs, labels, T) + 3 * slow_non_target(ours, theirs, labels, T)


def slow_z_score(row):
    middle = mean(row)
    deviation = math.sqrt(sum((z - middle) ** 2 for z in row) / (len(row) - 1))
    return [(z - middle) / (deviation + 1e-7) for z in row]


def slow_standardized(ours, theirs, labels, T):
    return slow_kl([slow_z_score(s) for s in ours], [slow_z_score(t) for t in theirs], labels, T)


def slow_inter_class(ours, theirs, labels, T):
    return T**2 * mean(1 - pearson(softmax(s, T), softmax(t, T)) for s, t in zip(ours, theirs, strict=True))


def slow_intra_class(ours, theirs, labels, T):
    if len(ours) < 2:
        return 0.0
    p, q = ([softmax(row, T) for row in rows] for rows in (ours, theirs))
    classes = range(len(p[0]))
    return T**2 * mean(1 - pearson([row[c] for row in p], [row[c] for row in q]) for c in classes)


SLOW = {
    "kl": slow_kl, "target_class": slow_target_class, "non_target": slow_non_target, "dkd": slow_dkd,
    "standardized": slow_standardized, "inter_class": slow_inter_class, "intra_class": slow_intra_class,
}


def counted_rows(logits, mask):
    """The logits of the positions that count, as lists."""
    rows = []
    for place in np.ndindex(*mask.shape):
        if mask[place]:
            image, *position = place
            rows.append([float(logits[(image, c, *position)]) for c in range(logits.shape[1])])
    return rows


# --- what the tests draw


def draw(shape, seed, scale=1.5):
    """Student and teacher logits of a shape [B, C, ...] in float64, a target and a mask, from a seed."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(shape, generator=generator, dtype=torch.float64) * scale for _ in range(2))
    places = (shape[0], *shape[2:])
    target = torch.randint(shape[1], places, generator=generator)
    return student, teacher, target, torch.rand(places, generator=generator) > 0.3


SHAPES = st.tuples(st.integers(1, 4), st.integers(2, 6)).flatmap(
    lambda shape: st.sampled_from([shape, (*shape, 2, 3), (*shape, 1, 1)]))
cases = st.builds(draw, SHAPES, st.integers(0, 10_000))


@every_loss
@settings(max_examples=25, deadline=None)
@given(case=cases, temperature=st.floats(0.7, 12), masked=st.booleans())
def test_the_value_is_that_of_the_slow_reference(name, case, temperature, masked):
    student, teacher, target, mask = case
    counts = mask if masked else torch.ones_like(mask)
    ours, theirs = (counted_rows(each.numpy(), counts.numpy()) for each in (student, teacher))
    expected = SLOW[name](ours, theirs, target[counts].tolist(), temperature)
    value = LOSSES[name](student, teacher, target, mask if masked else None, temperature).item()
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-10)


# --- by hand


def rows(*probabilities):
    """Logits whose softmax is these rows."""
    return torch.tensor(probabilities, dtype=torch.float64).log()


# Teacher (1/2, 1/4, 1/4), student (1/4, 1/4, 1/2), the first class true: the binary distributions are (1/2, 1/2) and
# (1/4, 3/4), those of the others (1/2, 1/2) and (1/3, 2/3).
TEACHER, STUDENT, FIRST = rows([0.5, 0.25, 0.25]), rows([0.25, 0.25, 0.5]), torch.tensor([0])
BINARY = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
OTHERS = 0.5 * math.log(1.5) + 0.5 * math.log(0.75)


def test_target_class_by_hand():
    assert target_class_kl(STUDENT, TEACHER, FIRST, temperature=1).item() == pytest.approx(BINARY)
    # Logits twice as large at twice the temperature are the same distributions: only T^2 is left.
    assert target_class_kl(2 * STUDENT, 2 * TEACHER, FIRST, temperature=2).item() == pytest.approx(4 * BINARY)


def test_non_target_by_hand():
    assert non_target_kl(STUDENT, TEACHER, FIRST, temperature=1).item() == pytest.approx(OTHERS)
    assert non_target_kl(3 * STUDENT, 3 * TEACHER, FIRST, temperature=3).item() == pytest.approx(9 * OTHERS)


def test_dkd_by_hand():
    value = dkd(STUDENT, TEACHER, FIRST, target_weight=2, non_target_weight=5, temperature=1).item()
    assert value == pytest.approx(2 * BINARY + 5 * OTHERS)
    # Its defaults are the paper's: 1 and 8 at T = 4.
    assert dkd(4 * STUDENT, 4 * TEACHER, FIRST).item() == pytest.approx(16 * (BINARY + 8 * OTHERS))


def test_standardized_by_hand():
    # Mean 2, sample variance (4 + 0 + 4) / 2 = 4.
    value = standardized(torch.tensor([[0.0, 2.0, 4.0]], dtype=torch.float64))
    torch.testing.assert_close(value, torch.tensor([[-1.0, 0.0, 1.0]], dtype=torch.float64))
    two = standardized(torch.tensor([[7.0, 3.0]], dtype=torch.float64))
    torch.testing.assert_close(two, torch.tensor([[1.0, -1.0]], dtype=torch.float64) / math.sqrt(2))


def test_inter_class_by_hand():
    # Centred: (2, -1, -1) and (-1, -1, 2), each over 12: correlation (-2 + 1 - 2) / 6 = -1/2.
    assert inter_class_relation(STUDENT, TEACHER).item() == pytest.approx(1.5)
    assert inter_class_relation(4 * STUDENT, 4 * TEACHER, temperature=4).item() == pytest.approx(16 * 1.5)


def test_intra_class_by_hand():
    # Over three images the first class has (1, 3, 5) / 10 and (3, 1, 5) / 10: centred (-2, 0, 2) and (0, -2, 2), so
    # correlation 4 / 8; the second class is 1 minus the first and correlates as much.
    student, teacher = rows([0.1, 0.9], [0.3, 0.7], [0.5, 0.5]), rows([0.3, 0.7], [0.1, 0.9], [0.5, 0.5])
    assert intra_class_relation(student, teacher).item() == pytest.approx(0.5)
    assert intra_class_relation(2 * student, 2 * teacher, temperature=2).item() == pytest.approx(4 * 0.5)


# --- gradients


@every_loss
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 2, 2), (3, 2)])
@pytest.mark.parametrize("masked", [False, True])
def test_numeric_gradient(name, shape, masked):
    student, teacher, target, mask = draw(shape, 3)
    mask.view(-1)[:2] = True
    assert torch.autograd.gradcheck(
        lambda s: LOSSES[name](s, teacher, target, mask if masked else None, 2.5), student.requires_grad_())


def test_numeric_gradient_of_the_z_score():
    assert torch.autograd.gradcheck(standardized, draw((3, 4), 5)[0].requires_grad_())


# --- invariances


@every_loss
@settings(max_examples=15, deadline=None)
@given(case=cases, seed=st.integers(0, 1000))
def test_a_shift_and_the_order_of_images_and_classes_change_nothing(name, case, seed):
    student, teacher, target, _ = case
    generator = torch.Generator().manual_seed(seed)
    loss = LOSSES[name]
    value = loss(student, teacher, target, None, 3.0)
    shift = 20 * torch.randn(target.shape, generator=generator, dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(loss(student + shift, teacher - shift, target, None, 3.0), value, rtol=1e-6, atol=1e-9)
    images = torch.randperm(len(student), generator=generator)
    torch.testing.assert_close(loss(student[images], teacher[images], target[images], None, 3.0), value)
    classes = torch.randperm(student.shape[1], generator=generator)
    renamed = classes.argsort()[target]
    torch.testing.assert_close(loss(student[:, classes], teacher[:, classes], renamed, None, 3.0), value)


@every_softened_loss
@settings(max_examples=15, deadline=None)
@given(case=cases, factor=st.floats(0.5, 4))
def test_logits_and_temperature_in_another_unit_leave_only_the_square(name, case, factor):
    student, teacher, target, mask = case
    value = LOSSES[name](student, teacher, target, mask, 2.0)
    scaled = LOSSES[name](factor * student, factor * teacher, target, mask, factor * 2.0)
    torch.testing.assert_close(scaled, factor**2 * value, rtol=1e-6, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(case=cases, ours=st.floats(0.1, 50), theirs=st.floats(0.1, 50))
def test_standardized_logits_lose_their_scale(case, ours, theirs):
    student, teacher, _, mask = case
    value = standardized_kl(student, teacher, mask)
    scaled = standardized_kl(ours * student + 3, theirs * teacher - 7, mask)
    torch.testing.assert_close(scaled, value, rtol=1e-3, atol=1e-5)  # the 1e-7 in the denominator keeps its scale
    z = standardized(student)
    torch.testing.assert_close(z.mean(dim=1), torch.zeros_like(z[:, 0]), rtol=0, atol=1e-9)
    torch.testing.assert_close(z.var(dim=1), torch.ones_like(z[:, 0]), rtol=1e-3, atol=0)


@every_loss
@settings(max_examples=15, deadline=None)
@given(case=cases)
def test_no_value_is_negative_and_an_identical_student_has_0(name, case):
    student, teacher, target, mask = case
    assert LOSSES[name](student, teacher, target, mask, 3.0).item() >= -1e-12
    assert LOSSES[name](teacher, teacher, target, mask, 3.0).item() == pytest.approx(0, abs=1e-10)


@every_loss
def test_a_constant_map_has_the_value_of_its_vector(name):
    student, teacher, target, _ = draw((3, 4), 11)
    maps = [each[:, :, None, None].expand(-1, -1, 2, 3) for each in (student, teacher)]
    value = LOSSES[name](*maps, target[:, None, None].expand(-1, 2, 3), None, 4.0)
    torch.testing.assert_close(value, LOSSES[name](student, teacher, target, None, 4.0))


@every_loss
def test_the_teacher_comes_second(name):
    student, teacher, target, _ = draw((3, 4), 12)
    forth = LOSSES[name](student, teacher, target, None, 1.0)
    back = LOSSES[name](teacher, student, target, None, 1.0)
    symmetric = name in ("inter_class", "intra_class")
    assert torch.isclose(forth, back, rtol=1e-6).item() == symmetric


# --- weights


def test_a_weight_of_0_leaves_the_other_term_alone():
    student, teacher, target, mask = draw((4, 5), 21)
    mask[0] = True
    only_target = dkd(student, teacher, target, mask, target_weight=1, non_target_weight=0)
    torch.testing.assert_close(only_target, target_class_kl(student, teacher, target, mask))
    only_others = dkd(student, teacher, target, mask, target_weight=0, non_target_weight=1)
    torch.testing.assert_close(only_others, non_target_kl(student, teacher, target, mask))
    assert dkd(student, teacher, target, mask, target_weight=0, non_target_weight=0).item() == 0


@settings(max_examples=20, deadline=None)
@given(case=st.builds(draw, st.tuples(st.just(1), st.integers(2, 7)), st.integers(0, 1000)), T=st.floats(0.7, 12))
def test_the_classical_loss_is_the_decoupled_one_weighted_by_the_teachers_doubt(case, T):
    student, teacher, target, _ = case
    doubt = 1 - (teacher / T).softmax(dim=1)[0, target.item()].item()
    decoupled = dkd(student, teacher, target, target_weight=1, non_target_weight=doubt, temperature=T)
    torch.testing.assert_close(decoupled, kl_divergence(student, teacher, temperature=T), rtol=1e-6, atol=1e-10)


# --- high temperature


def limits(student, teacher, target):
    """What each loss tends to for T -> infinity (the relations, divided by T^2): a match of centred logits."""
    classes = student.shape[1]
    values = {"kl": [], "target_class": [], "non_target": []}
    for s, t, y in zip(student.numpy(), teacher.numpy(), target.tolist(), strict=True):
        difference = (s - s.mean()) - (t - t.mean())
        values["kl"].append((difference**2).sum() / (2 * classes))
        values["target_class"].append(difference[y] ** 2 / (2 * (classes - 1)))
        others = np.delete(s - t, y)
        values["non_target"].append(((others - others.mean()) ** 2).sum() / (2 * (classes - 1)))
    found = {name: float(np.mean(each)) for name, each in values.items()}
    found["dkd"] = 0.7 * found["target_class"] + 3 * found["non_target"]
    rows = [each.tolist() for each in (student, teacher)]
    found["inter_class"] = mean(1 - pearson(s, t) for s, t in zip(*rows, strict=True))
    centerd = [(each - each.mean(dim=1, keepdim=True)).T.tolist() for each in (student, teacher)]
    found["intra_class"] = mean(1 - pearson(s, t) for s, t in zip(*centerd, strict=True))
    return found


@every_softened_loss
def test_a_high_temperature_matches_centred_logits(name):
    student, teacher, target, _ = draw((4, 5), 31)
    high = 1e4
    value = LOSSES[name](student, teacher, target, None, high).item()
    if name in ("inter_class", "intra_class"):
        value /= high**2
    assert value == pytest.approx(limits(student, teacher, target)[name], rel=1e-3)


def test_the_gradients_of_the_decoupled_terms_at_a_high_temperature():
    student, teacher, _, _ = draw((1, 5), 32)
    difference = (student - student.mean() - (teacher - teacher.mean()))[0]
    y = difference.abs().argmax().item()
    target = torch.tensor([y])
    student.requires_grad_()
    gradient, = torch.autograd.grad(target_class_kl(student, teacher, target, temperature=1e4), student)
    # d/dz of d_y^2 / (2 (C - 1)), where d_y holds z_y - mean z.
    direction = torch.full((5,), -1 / 5, dtype=torch.float64)
    direction[y] += 1
    torch.testing.assert_close(gradient[0], difference[y] / 4 * direction, rtol=1e-3, atol=1e-3)
    gradient, = torch.autograd.grad(non_target_kl(student, teacher, target, temperature=1e4), student)
    others = (student - teacher).detach()[0]
    expected = (others - (others.sum() - others[y]) / 4) / 4
    expected[y] = 0
    torch.testing.assert_close(gradient[0], expected, rtol=1e-3, atol=1e-3)


# --- edges


def value_and_gradient(name, student, teacher, target, mask, temperature):
    student = student.clone().requires_grad_()
    value = LOSSES[name](student, teacher, target, mask, temperature)
    gradient, = torch.autograd.grad(value, student)
    return value.detach(), gradient


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("target", [[0, 1], [1, 0], [2, 2]])
def test_a_logit_gap_of_500_is_as_in_float64(name, dtype, temperature, target):
    student = torch.tensor([[500.0, 0, -4], [2, 500, 1]], dtype=dtype)
    teacher = torch.tensor([[0.0, 500, 2], [0, 500, 3]], dtype=dtype)
    target = torch.tensor(target)
    for ours, theirs in ((student, teacher), (teacher, student)):
        value, gradient = value_and_gradient(name, ours, theirs, target, None, temperature)
        exact, slope = value_and_gradient(name, ours.double(), theirs.double(), target, None, temperature)
        rough = 1e-4 if dtype == torch.float32 else 0.05
        torch.testing.assert_close(value.double(), exact, rtol=rough, atol=rough)
        rough = 1e-4 if dtype == torch.float32 else 0.2  # log-probabilities near -125 lie 0.5 apart in bfloat16
        torch.testing.assert_close(gradient.double(), slope, rtol=rough, atol=rough)


@every_loss
def test_a_batch_of_one(name):
    student, teacher, target, _ = draw((1, 4), 41)
    value, gradient = value_and_gradient(name, student, teacher, target, None, 2.0)
    assert gradient.isfinite().all()
    assert (value.item() == 0) == (name == "intra_class")  # the one loss that needs other images
    assert (gradient.abs().max().item() == 0) == (name == "intra_class")


def test_with_two_classes_there_is_no_dark_knowledge():
    student, teacher, target, _ = draw((5, 2), 42)
    value, gradient = value_and_gradient("non_target", student, teacher, target, None, 2.0)
    assert value.item() == 0
    assert gradient.abs().max().item() == 0
    # and the target's share of the classical loss is all of it
    torch.testing.assert_close(target_class_kl(student, teacher, target, temperature=3),
                               kl_divergence(student, teacher, temperature=3))


def test_two_classes_correlate_wholly_or_not_at_all():
    student = torch.tensor([[2.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert inter_class_relation(student, teacher, temperature=2).item() == pytest.approx(4 * (0 + 2) / 2)
    # z-scores of two classes are (1, -1) / sqrt 2 whatever the logits: the first image agrees, the second is reversed.
    odds = math.sqrt(2) / 2
    reversed_pair = odds * math.tanh(odds / 2)  # KL of (p, 1 - p) to (1 - p, p) with log odds `odds`
    assert standardized_kl(student, teacher).item() == pytest.approx(4 * reversed_pair / 2, rel=1e-6)


@every_loss
@pytest.mark.parametrize("spoiled", ["student", "teacher"])
@pytest.mark.parametrize("poison", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 3, 2)])
def test_what_a_masked_position_holds_changes_nothing(name, spoiled, poison, shape):
    student, teacher, target, mask = draw(shape, 51)
    mask.view(-1)[:3] = torch.tensor([True, True, False])
    clean = value_and_gradient(name, student, teacher, target, mask, 2.0)
    bad = torch.where(mask.unsqueeze(1), student if spoiled == "student" else teacher, poison)
    given = (bad, teacher) if spoiled == "student" else (student, bad)
    value, gradient = value_and_gradient(name, *given, target, mask, 2.0)
    torch.testing.assert_close(value, clean[0])
    if name == "standardized" and spoiled == "student":
        # `standardized` sees no mask, so a spoiled row of the student keeps a spoiled gradient: its own alone.
        seen = mask.unsqueeze(1).expand_as(gradient)
        torch.testing.assert_close(gradient[seen], clean[1][seen])
    else:
        torch.testing.assert_close(gradient, clean[1])


def test_a_masked_infinity_leaves_the_gradient_of_cross_entropy_alone():
    student, _, target, _ = draw((3, 4), 52)
    target[1] = IGNORE
    spoiled = student.clone()
    spoiled[1:] = torch.inf
    gradients = []
    for logits in (student, spoiled):
        logits.requires_grad_()
        gradients += torch.autograd.grad(cross_entropy(logits, target, torch.tensor([True, True, False])), logits)
    torch.testing.assert_close(*gradients)
    assert gradients[0][1:].abs().max().item() == 0


@every_loss
def test_where_nothing_counts_value_and_gradient_are_0(name):
    student, teacher, target, mask = draw((2, 3, 2, 2), 53)
    value, gradient = value_and_gradient(name, student, teacher, target, torch.zeros_like(mask), 2.0)
    assert value.item() == 0
    assert gradient.abs().max().item() == 0


@pytest.mark.parametrize("name", ["target_class", "non_target", "dkd"])
def test_an_image_without_a_label_counts_nowhere_in_a_loss_that_reads_labels(name):
    student, teacher, target, _ = draw((4, 3), 54)
    target[[1, 3]] = IGNORE
    value, gradient = value_and_gradient(name, student, teacher, target, None, 2.0)
    kept = LOSSES[name](student[[0, 2]], teacher[[0, 2]], target[[0, 2]], None, 2.0)
    torch.testing.assert_close(value, kept)
    assert gradient[[1, 3]].abs().max().item() == 0


@every_loss
def test_equal_images_and_uniform_logits_keep_gradients_finite(name):
    student, teacher, target, _ = draw((1, 3), 55)
    alike = [each.expand(4, 3).float() for each in (student, teacher)]
    varied, flat = torch.randn(4, 3), torch.full((4, 3), 0.3)
    for ours, theirs in (alike, (alike[0], varied), (varied, alike[1]), (flat, varied), (varied, flat), (flat, flat)):
        value, gradient = value_and_gradient(name, ours, theirs, target.expand(4), None, 2.0)
        assert value.isfinite() and gradient.isfinite().all()


@every_loss
@pytest.mark.parametrize("temperature", [0, -1.0])
def test_a_temperature_that_softens_nothing_is_refused(name, temperature):
    student, teacher, target, _ = draw((2, 3), 56)
    with pytest.raises(KDError, match=r"temperature is .* above 0"):
        LOSSES[name](student, teacher, target, None, temperature)
