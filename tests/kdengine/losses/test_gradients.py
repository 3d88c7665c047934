"""The distances of input gradients and of explanations: against slow references, by hand, and where one is nothing."""

import math

import pytest
import pytorch_grad_cam
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdengine.losses import explanation_cosine, grad_cam, input_gradient


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(images=3, size=2, seed=0):
    return drawn(images, 3, size, size, seed=seed), drawn(images, 3, size, size, seed=seed + 5000)


def value_and_gradient(student, teacher, mask=None):
    student = student.clone().requires_grad_()
    value = input_gradient(student, teacher, mask)
    value.backward()
    return value.item(), student.grad


def slow(student, teacher, counts):
    """Mean over the images that count of || g_s / ||g_s|| - g_t / ||g_t|| ||^2."""
    total = 0.0
    for ours, theirs, each in zip(student, teacher, counts, strict=True):
        if each:
            ours, theirs = ours.ravel(), theirs.ravel()
            lengths = math.sqrt(sum(a * a for a in ours)), math.sqrt(sum(b * b for b in theirs))
            total += sum((a / lengths[0] - b / lengths[1]) ** 2 for a, b in zip(ours, theirs, strict=True))
    return total / max(sum(counts), 1)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=5), st.integers(1, 4), st.integers(0, 1000))
def test_it_equals_the_slow_reference(counts, size, seed):
    student, teacher = pair(len(counts), size, seed)
    value = input_gradient(student, teacher, torch.tensor(counts)).item()
    assert value == pytest.approx(slow(student.numpy(), teacher.numpy(), counts), rel=1e-6, abs=1e-12)
    everything = slow(student.numpy(), teacher.numpy(), [True] * len(counts))
    assert input_gradient(student, teacher).item() == pytest.approx(everything, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("theirs", "expected"), [
    ([2.0, 0.0], 0), ([0.0, 5.0], 2), ([-1.0, 0.0], 4), ([1.0, 1.0], 2 - math.sqrt(2)),
])
def test_by_hand_it_is_2_minus_2_cosines(theirs, expected):
    student, teacher = torch.zeros(1, 3, 1, 2, dtype=torch.float64), torch.zeros(1, 3, 1, 2, dtype=torch.float64)
    student[0, 1, 0] = torch.tensor([3.0, 0.0])
    teacher[0, 1, 0] = torch.tensor(theirs)
    assert input_gradient(student, teacher).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_numeric_gradient():
    student, teacher = pair()
    mask = torch.tensor([True, False, True])
    assert torch.autograd.gradcheck(lambda ours: input_gradient(ours, teacher), student.requires_grad_())
    assert torch.autograd.gradcheck(lambda ours: input_gradient(ours, teacher, mask), student.requires_grad_())


def test_the_scale_of_a_gradient_does_not_matter_nor_the_order_of_images_and_pixels():
    student, teacher = pair()
    value = input_gradient(student, teacher)
    scale = torch.tensor([1e-3, 1.0, 1e6], dtype=torch.float64).view(3, 1, 1, 1)
    torch.testing.assert_close(input_gradient(student * scale, teacher / scale), value)
    torch.testing.assert_close(input_gradient(student[[2, 0, 1]], teacher[[2, 0, 1]]), value)
    torch.testing.assert_close(input_gradient(student.flip(3), teacher.flip(3)), value)
    torch.testing.assert_close(input_gradient(teacher, student), value)
    assert input_gradient(teacher, 3 * teacher).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("spoilt", [torch.inf, torch.nan])
def test_a_masked_image_changes_nothing(spoilt):
    student, teacher = pair()
    mask = torch.tensor([True, False, True])
    value, gradient = value_and_gradient(student[mask], teacher[mask])
    for network in (student, teacher):
        network[1] = spoilt
    masked_value, masked_gradient = value_and_gradient(student, teacher, mask)
    assert masked_value == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(masked_gradient[mask], gradient)
    assert masked_gradient[1].abs().sum() == 0


def test_where_no_image_counts_the_loss_is_zero_and_so_is_its_gradient():
    value, gradient = value_and_gradient(*pair(), torch.zeros(3, dtype=torch.bool))
    assert value == 0
    assert gradient.abs().sum() == 0


def test_a_gradient_of_zeros_points_nowhere():
    student, teacher = pair()
    value, gradient = value_and_gradient(torch.zeros_like(student), teacher)
    assert value == pytest.approx(1, rel=1e-12)
    assert gradient.abs().sum() == 0
    value, gradient = value_and_gradient(student, torch.zeros_like(teacher))
    assert value == pytest.approx(1, rel=1e-12)
    assert gradient.abs().max() < 1e-9  # all directions are equally far from nowhere


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [500, 1e-6])
def test_large_and_small_gradients_stay_finite(dtype, scale):
    student, teacher = pair(images=1)
    expected = input_gradient(student, teacher).item()
    value, gradient = value_and_gradient((student * scale).to(dtype), (teacher * scale).to(dtype))
    assert value == pytest.approx(expected, rel=3e-2)
    assert gradient.isfinite().all()


def test_grad_cam_by_hand():
    """Channel one has a mean gradient of 2, channel two of -1: 2 * 1 - 3, 2 * 2 - 1, 2 * 0 - 4, 2 * 5 - 0."""
    features = torch.tensor([[[[1.0, 2], [0, 5]], [[3, 1], [4, 0]]]], dtype=torch.float64)
    gradients = torch.tensor([[[[8.0, 0], [0, 0]], [[-1, -1], [-2, 0]]]], dtype=torch.float64)
    assert grad_cam(features, gradients).tolist() == [[[0, 3], [0, 10]]]


@settings(max_examples=25, deadline=None)
@given(images=st.integers(1, 3), channels=st.integers(1, 5), size=st.integers(1, 6), seed=st.integers(0, 1000))
def test_grad_cam_is_that_of_pytorch_grad_cam(images, channels, size, seed):
    layer = torch.nn.Conv2d(1, 1, 1)  # is not run: the library only asks where its weights lie
    features = drawn(images, channels, size, size + 1, seed=seed)
    gradients = drawn(images, channels, size, size + 1, seed=seed + 5000)
    with pytorch_grad_cam.GradCAM(model=layer, target_layers=[layer]) as cam:
        expected = cam.get_cam_image(None, layer, None, features.numpy(), gradients.numpy(), False).clip(0)
    torch.testing.assert_close(grad_cam(features, gradients), torch.from_numpy(expected))


def test_the_numeric_gradient_of_grad_cam():
    features, gradients = drawn(2, 3, 2, 2), drawn(2, 3, 2, 2, seed=1)
    assert torch.autograd.gradcheck(grad_cam, (features.requires_grad_(), gradients.requires_grad_()))


def maps(images=3, size=3, seed=0):
    """Explanations of student and teacher, as these are: half of the places are 0."""
    return drawn(images, size, size, seed=seed).relu(), drawn(images, size, size, seed=seed + 5000).relu()


def slow_cosine(student, teacher, counts):
    """Mean over the images that count of 1 - cosine; one that is all zero has cosine 0."""
    total = 0.0
    for ours, theirs, each in zip(student, teacher, counts, strict=True):
        dot = sum(a * b for a, b in zip(ours.ravel(), theirs.ravel(), strict=True))
        lengths = math.sqrt(sum(a * a for a in ours.ravel())) * math.sqrt(sum(b * b for b in theirs.ravel()))
        total += each * (1 - (dot / lengths if lengths else 0))
    return total / max(sum(counts), 1)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=5), st.integers(1, 4), st.integers(0, 1000))
def test_the_cosine_of_explanations_equals_the_slow_reference(counts, size, seed):
    student, teacher = maps(len(counts), size, seed)
    value = explanation_cosine(student, teacher, torch.tensor(counts)).item()
    assert value == pytest.approx(slow_cosine(student.numpy(), teacher.numpy(), counts), rel=1e-9, abs=1e-12)
    everything = slow_cosine(student.numpy(), teacher.numpy(), [True] * len(counts))
    assert explanation_cosine(student, teacher).item() == pytest.approx(everything, rel=1e-9, abs=1e-12)
    assert 0 <= everything <= 1


@pytest.mark.parametrize(("theirs", "expected"), [
    ([2.0, 0.0], 0), ([0.0, 5.0], 1), ([3.0, 4.0], 0.4), ([1.0, 1.0], 1 - math.sqrt(0.5)), ([0.0, 0.0], 1),
])
def test_the_cosine_of_explanations_by_hand(theirs, expected):
    student, teacher = torch.tensor([[[3.0, 0.0]]]).double(), torch.tensor([[theirs]]).double()
    assert explanation_cosine(student, teacher).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_the_numeric_gradient_of_the_cosine_of_explanations():
    student, teacher = (each + 0.1 for each in maps())
    mask = torch.tensor([True, False, True])
    assert torch.autograd.gradcheck(lambda ours: explanation_cosine(ours, teacher), student.requires_grad_())
    assert torch.autograd.gradcheck(lambda ours: explanation_cosine(ours, teacher, mask), student.requires_grad_())


def test_the_scale_of_an_explanation_does_not_matter_and_one_of_zeros_pulls_nowhere():
    student, teacher = maps()
    scale = torch.tensor([1e-3, 1.0, 1e6], dtype=torch.float64).view(3, 1, 1)
    torch.testing.assert_close(explanation_cosine(student * scale, teacher / scale),
                               explanation_cosine(student, teacher))
    student[0], teacher[1] = 0, 0
    student.requires_grad_()
    explanation_cosine(student, teacher).backward()
    assert student.grad[:2].abs().max() == 0 < student.grad[2].abs().max()


@pytest.mark.parametrize("spoilt", [torch.inf, torch.nan])
def test_a_masked_explanation_changes_nothing(spoilt):
    student, teacher = maps()
    mask = torch.tensor([True, False, True])
    expected = explanation_cosine(student[mask], teacher[mask]).item()
    student[1], teacher[1] = spoilt, spoilt
    student.requires_grad_()
    value = explanation_cosine(student, teacher, mask)
    value.backward()
    assert value.item() == pytest.approx(expected, rel=1e-12)
    assert student.grad[1].abs().sum() == 0
    assert explanation_cosine(student, teacher, torch.zeros(3, dtype=torch.bool)).item() == 0
