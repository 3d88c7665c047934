"""Heat-map fidelity against pytorch-grad-cam image by image, worked examples, and what must hold of any maps."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from scipy.spatial.distance import cosine
from scipy.stats import spearmanr

from kdengine import data, models
from kdengine.errors import KDError
from kdengine.explain import fidelity
from kdengine.explain.comparison import compare_maps
from kdengine.measures import uncertainty
from kdengine.runs import references

MEASURES = ["correlation", "cosine", "overlap"]
COUNT = 40


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").test.images[:COUNT]


@pytest.fixture(scope="module")
def networks():
    names = {"student": "digits-resnet8-kd", "teacher": "digits-teacher", "independent": "digits-resnet8-none"}
    return {role: references.open_reference(name) for role, name in names.items()}


@pytest.fixture(scope="module")
def measured(networks, digits):
    return fidelity.fidelity(**networks, images=digits)


def library_map(network, image, target):
    """pytorch-grad-cam's map of one image, cut at 0, before it is stretched to [0, 1] and enlarged: float [h, w]."""
    network = copy.deepcopy(network)  # the library leaves gradients behind
    layer = network.net.layer3
    with GradCAM(model=network, target_layers=[layer]) as cam:
        cam(image[None].float() / 255, [ClassifierOutputTarget(target)])
        seen = cam.activations_and_grads
        heat = cam.get_cam_image(None, layer, None, seen.activations[0].numpy(), seen.gradients[0].numpy(), False)
    return np.maximum(heat[0], 0)


def slow_likeness(first, second):
    """Of two maps with no ties for the thirteenth of their 64 cells."""
    hottest = [set(np.argsort(each.flatten())[-13:]) for each in (first, second)]
    assert all(len({*np.sort(each.flatten())[-14:]}) == 14 for each in (first, second))
    return [spearmanr(first.flatten(), second.flatten())[0], 1 - cosine(first.flatten(), second.flatten()),
            len(hottest[0] & hottest[1]) / len(hottest[0] | hottest[1])]


@pytest.mark.parametrize("role", ["student", "independent"])
def test_likeness_is_that_of_pytorch_grad_cam_s_maps_one_by_one(role, measured, networks, digits):
    expected = []
    for image in digits[:12]:
        with torch.no_grad():
            named = networks["teacher"](image[None].float() / 255).argmax().item()
        expected.append(slow_likeness(*(library_map(networks[each], image, named) for each in (role, "teacher"))))
    likeness = measured.student if role == "student" else measured.controls[role]
    values = np.array([likeness.values[name][:12] for name in MEASURES]).T
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_maps_of_many_images_are_those_of_each_alone(networks, digits):
    """In double precision: in single a batch's sums are rounded in another order, which changes the sixth digit."""
    target = torch.arange(COUNT) % 10
    for network in (copy.deepcopy(each).double() for each in networks.values()):
        together = fidelity.maps(network, digits, target, "gradcam")
        alone = [fidelity.maps(network, digits[i : i + 1], target[i : i + 1], "gradcam") for i in range(COUNT)]
        torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=0)


def test_a_network_is_wholly_like_itself(networks, digits):
    teacher = networks["teacher"]
    same = fidelity.fidelity(teacher, teacher, digits, independent=teacher)
    for name in MEASURES:
        assert same.student.values[name] == pytest.approx([1] * COUNT)
        gain = same.gains["independent"][name]
        assert (gain.interval.mean, gain.p) == (0, 1)


def test_a_distilled_student_is_more_like_its_teacher_than_what_knows_less(measured):
    """Digits lie in the middle: the map of another digit is no stranger, and a bump in the middle is as like."""
    rank = {"student": measured.student, **measured.controls}
    order = ["student", "independent", "another_image", "untrained"]
    means = [rank[name].means["correlation"].mean for name in order]
    assert means == sorted(means, reverse=True)
    assert rank["untrained"].means["correlation"].high < rank["another_image"].means["correlation"].low
    for control in ("independent", "another_image", "untrained"):
        assert measured.gains[control]["correlation"].interval.low > 0
    assert measured.gains["center"]["correlation"].p > 0.05


def test_a_mean_and_a_gain_are_those_of_the_images(measured):
    assert (measured.n, measured.size, measured.method) == (COUNT, (8, 8), "gradcam")
    assert measured.controls["retrained"] is None
    for control, likeness in measured.controls.items():
        if likeness is None:
            assert control not in measured.gains
            continue
        pairs = {name: (measured.student.values[name], likeness.values[name]) for name in MEASURES}
        assert measured.gains[control] == fidelity.changes(pairs)
        for name, (ours, theirs) in pairs.items():
            assert likeness.means[name] == uncertainty.image_mean_interval(np.array(theirs))
            assert measured.gains[control][name].interval.mean == pytest.approx(np.mean(ours) - np.mean(theirs))


def test_a_teacher_of_another_seed_is_held_against_the_teacher(networks, digits):
    other = fidelity.untrained(networks["teacher"])
    two = fidelity.fidelity(networks["student"], networks["teacher"], digits[:6], retrained=other)
    classes = fidelity.answers(networks["teacher"], digits[:6])
    maps = [fidelity.maps(each, digits[:6], classes, "gradcam") for each in (other, networks["teacher"])]
    assert two.controls["retrained"] == fidelity.alike(*maps)
    assert two.controls["independent"] is None


def test_the_class_is_the_one_that_the_teacher_names_whatever_the_student_says(networks, digits):
    student, teacher = networks["student"], fidelity.untrained(networks["teacher"])
    classes = fidelity.answers(teacher, digits[:6])
    assert (classes != fidelity.answers(student, digits[:6])).any()
    expected = fidelity.alike(*(fidelity.maps(each, digits[:6], classes, "gradcam") for each in (student, teacher)))
    assert fidelity.fidelity(student, teacher, digits[:6]).student == expected


def test_networks_are_left_as_they_were(networks, digits):
    before = [{name: value.clone() for name, value in each.state_dict().items()} for each in networks.values()]
    fidelity.fidelity(**networks, images=digits[:2])
    for network, state in zip(networks.values(), before, strict=True):
        assert not network.training and all(parameter.grad is None for parameter in network.parameters())
        torch.testing.assert_close(network.state_dict(), state, atol=0, rtol=0)


def test_a_map_that_prefers_no_position_is_counted_and_alike_to_nothing():
    first = torch.rand(4, 5, 5, generator=torch.Generator().manual_seed(0))
    second = first.clone()
    second[1], first[2], second[3], first[3] = 0, 1, 0, 0
    likeness = fidelity.alike(first, second)
    assert likeness.blank == 3
    for name in MEASURES:
        assert likeness.values[name] == pytest.approx([1, 0, 0, 0])
        assert likeness.means[name].mean == pytest.approx(0.25)


def test_a_map_that_prefers_no_position_where_it_meets_a_coarser_one_counts_as_such():
    checkered = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2)[None].float()
    coarse = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert fidelity.alike(checkered, coarse).blank == 1
    assert fidelity.alike(checkered, coarse).values == {name: [0] for name in MEASURES}


@given(st.integers(0, 10_000), st.sampled_from([(4, 8), (8, 8), (7, 5)]), st.sampled_from([2, 1_000]))
def test_likeness_is_in_range_and_that_of_each_pair_alone(seed, sizes, levels):
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randint(levels, (3, size, size), generator=generator) / (levels - 1) for size in sizes)
    likeness, turned = fidelity.alike(first, second), fidelity.alike(second, first)
    for name, values in likeness.values.items():
        assert turned.values[name] == pytest.approx(values)
        assert all(-1 <= value <= 1 for value in values)
        sure = likeness.means[name]
        assert sure.low <= sure.mean + 1e-12 and sure.mean <= sure.high + 1e-12
    alone = [compare_maps(*pair) for pair in zip(first, second, strict=True)]
    if not likeness.blank:
        for name in MEASURES:
            assert [each[name] for each in alone] == pytest.approx(likeness.values[name])


def test_changes_are_corrected_over_all_that_they_came_with():
    generator = np.random.default_rng(3)
    base = generator.random(40)
    pairs = {name: ((base + gain + 0.1 * generator.standard_normal(40)).tolist(), base.tolist())
             for name, gain in (("much", 0.2), ("little", 0.035), ("none", 0.0))}
    raw = {name: uncertainty.image_mean_test(*map(np.array, pair)) for name, pair in pairs.items()}
    judged = fidelity.changes(pairs)
    assert {name: each.p for name, each in judged.items()} == dict(
        zip(pairs, uncertainty.holm(list(raw.values())), strict=True))
    assert judged["much"].p == pytest.approx(3 * raw["much"])
    for name, each in judged.items():
        assert (each.interval.low <= 0 <= each.interval.high) == (each.p >= 0.05)
        assert each.interval.mean == pytest.approx(np.subtract(*pairs[name]).mean())


@given(st.integers(2, 300))
def test_every_image_is_held_against_one_other_and_each_serves_once(count):
    other = fidelity.others(count)
    assert sorted(other.tolist()) == list(range(count))
    assert (other != torch.arange(count)).all()
    assert torch.equal(other, fidelity.others(count))


def test_the_center_is_a_bump_a_quarter_of_the_side_wide():
    bump = fidelity.center(4, 8)[0]
    assert bump.shape == (4, 8)
    # Cells' middles lie at 1/8 and 3/8 of the height, 1/16 to 7/16 of the width from the center.
    assert bump[0, 0].item() == pytest.approx(np.exp(-((3 / 8) ** 2 + (7 / 16) ** 2) * 8))
    assert bump[1, 4].item() == pytest.approx(np.exp(-((1 / 8) ** 2 + (1 / 16) ** 2) * 8))
    torch.testing.assert_close(bump, bump.flip(0).flip(1))


def test_an_untrained_network_is_one_of_its_own_and_always_the_same(networks):
    student = networks["student"]
    drawn = fidelity.untrained(student)
    assert (drawn.architecture, drawn.classes, drawn.mean, drawn.std, drawn.input_size, drawn.training) == (
        student.architecture, student.classes, student.mean, student.std, student.input_size, False)
    torch.testing.assert_close(drawn.state_dict(), fidelity.untrained(student).state_dict(), atol=0, rtol=0)
    first_weights = models.build("resnet8", student.classes, seed=0, input_size=32)  # of the student's own seed
    assert not torch.equal(drawn.net.conv1.weight, first_weights.net.conv1.weight)


def test_networks_may_see_the_images_at_sizes_of_their_own(digits):
    large, small = (models.build("resnet8", data.load("digits").classes, seed=1, input_size=size).eval()
                    for size in (48, 32))
    assert fidelity.fidelity(small, large, digits[:3]).size == (8, 8)  # of 12x12 and 8x8 maps


def test_what_cannot_be_compared_is_refused(networks, digits):
    student, teacher = networks["student"], networks["teacher"]
    with pytest.raises(KDError, match="of 1 image are to be compared; two or more"):
        fidelity.fidelity(student, teacher, digits[:1])
    others = models.build("resnet8", ("cat", "dog"), input_size=32).eval()
    with pytest.raises(KDError, match="resnet8 knows other classes than resnet8"):
        fidelity.fidelity(student, others, digits)
    segments = models.build("fpn_tiny", student.classes).eval()
    with pytest.raises(KDError, match="fpn_tiny is for segmentation; heat-map fidelity is measured for"):
        fidelity.fidelity(segments, teacher, digits)
    with pytest.raises(KDError, match="Unknown heat map 'gradcat'"):
        fidelity.fidelity(student, teacher, digits, method="gradcat")


def test_the_result_is_plain_data(measured):
    data_of_it = dataclasses.asdict(measured)
    assert len(data_of_it["student"]["values"]["overlap"]) == COUNT
    assert isinstance(data_of_it["gains"]["center"]["cosine"]["interval"]["low"], float)


def test_the_least_alike_come_first_and_a_likeness_has_its_place_among_the_others():
    values = [0.5, -0.2, 0.9, -0.2, 0.0]
    alike = fidelity.Likeness({"cosine": values}, {}, 0)
    assert alike.least("cosine", 3) == [1, 3, 4]
    assert alike.least("cosine", 9) == [1, 3, 4, 0, 2]
    assert [alike.share_below("cosine", value) for value in (-0.2, -0.1, 0.5, 2.0)] == [0.0, 0.4, 0.6, 1.0]
