"""What each method does with its losses: weights, warm-ups, adapters, memories; the losses have tests of their own."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from kdengine import losses, methods
from kdengine.errors import KDError
from kdengine.methods import METHODS, method
from kdengine.methods.adapters import vector, warm_up
from kdengine.methods.crd import SIZE
from kdengine.methods.scene import CLASSES, COUNT
from kdengine.signals import Signals, Wanted
from tests.kdengine.methods.scene import example

WEIGHTS = [
    # method, the field that weighs, the term it weighs
    ("dkd", "target_weight", "target_class"), ("dkd", "non_target_weight", "non_target"),
    ("logit_standardization", "cross_entropy_weight", "cross_entropy"), ("logit_standardization", "kl_weight", "kl"),
    ("dist", "inter_weight", "inter_class"), ("dist", "intra_weight", "intra_class"),
    ("features_mse", "beta", "features"), ("features_cosine", "gamma", "features"), ("fitnet", "beta", "hint"),
    ("attention", "beta", "attention"), ("nst", "beta", "selectivity"), ("vid", "beta", "information"),
    ("factor", "beta", "factors"), ("review", "beta", "review"), ("similarity", "beta", "similarity"),
    ("rkd", "distance_weight", "distance"), ("rkd", "angle_weight", "angle"), ("pkt", "beta", "similarities"),
    ("crd", "beta", "contrast"), ("crd_batch", "beta", "contrast"), ("weights", "beta", "weights"),
    ("input_gradient", "beta", "gradients"), ("e2kd", "explanation_weight", "explanation"),
    ("combined", "cross_entropy_weight", "cross_entropy"),
    ("combined", "kl_weight", "kl"), ("combined", "feature_weight", "features"),
    ("combined", "relation_weight", "relations"), ("cwd", "logits_weight", "channels"),
    ("cwd", "feature_weight", "features"), ("fsp_first", "beta", "flow"),
    ("activation_boundary_first", "beta", "boundary"),
]

DEFAULTS = {
    # The usual weights of the published comparison tables (Tian et al. 2020, arXiv 1910.10699, section 5, and the
    # papers each method names).
    "label_smoothing": {"smoothing": 0.1}, "kd": {"temperature": 4, "alpha": 0.9},
    "dkd": {"target_weight": 1, "non_target_weight": 8, "temperature": 4},
    "logit_standardization": {"cross_entropy_weight": 0.1, "kl_weight": 9, "temperature": 2},
    "dist": {"inter_weight": 1, "intra_weight": 1, "temperature": 1}, "fitnet": {"beta": 100},
    "attention": {"beta": 1000}, "nst": {"beta": 50}, "fsp": {"beta": 1, "alpha": 0}, "vid": {"beta": 1},
    "factor": {"beta": 200}, "similarity": {"beta": 3000}, "rkd": {"distance_weight": 25, "angle_weight": 50},
    "pkt": {"beta": 30_000}, "crd": {"beta": 0.8, "temperature": 0.07, "negatives": 16384},
    "activation_boundary": {"beta": 1, "alpha": 0}, "review": {"beta": 5}, "input_gradient": {"beta": 20},
    "features_cosine": {"gamma": 0.5}, "cwd": {"logits_weight": 3, "feature_weight": 0, "temperature": 4},
    "combined": {"cross_entropy_weight": 1, "kl_weight": 0.7, "feature_weight": 0.5, "temperature": 4},
    # Its weight is chosen on validation, see its docstring; the paper tries 0.2 to 10.
    "e2kd": {"temperature": 4, "explanation_weight": 5, "stage": 1},
}
FREE_OF_LABELS = ("e2kd",)


@pytest.mark.parametrize(("name", "field", "term"), WEIGHTS)
def test_a_weight_scales_its_own_term_and_no_other(name, field, term):
    once, thrice = (example(name, **{field: value}).terms() for value in (1, 3))
    assert once[term].item() != 0
    for each in once:
        factor = 3 if each == term else 1
        assert thrice[each].item() == pytest.approx(factor * once[each].item(), rel=1e-5)


@pytest.mark.parametrize(("name", "expected"), DEFAULTS.items())
def test_defaults_are_the_usual_ones(name, expected):
    made = method(name)
    assert {key: getattr(made, key) for key in expected} == expected


@pytest.mark.parametrize("class_weights", [None, torch.tensor([0.2, 1, 3, 0.5, 7])])
@pytest.mark.parametrize("name", [name for name in METHODS if name not in FREE_OF_LABELS])
def test_labels_enter_as_cross_entropy_each_with_the_weight_of_its_class(name, class_weights):
    fields = METHODS[name].__dataclass_fields__
    scene = example(name, **({"alpha": 0} if "alpha" in fields else {}))
    batch = dataclasses.replace(scene.batch, class_weights=class_weights)
    weight, smoothing = getattr(scene.method, "cross_entropy_weight", 1.0), getattr(scene.method, "smoothing", 0.0)
    logits = scene.signals()[0].logits
    rows, labels = logits.movedim(1, -1)[batch.mask], batch.target[batch.mask]
    counts = torch.ones(CLASSES)[labels] if class_weights is None else class_weights[labels]
    each = F.cross_entropy(rows, labels, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(scene.terms(batch)["cross_entropy"], weight * (counts * each).sum() / counts.sum())


@pytest.mark.parametrize("name", FREE_OF_LABELS)
def test_where_no_label_enters_none_changes_a_term(name):
    scene = example(name)
    withheld = dataclasses.replace(scene.batch, labelled=torch.zeros(COUNT, dtype=torch.bool),
                                   target=torch.full_like(scene.batch.target, losses.IGNORE))
    assert scene.terms(withheld) == scene.terms()


@pytest.mark.parametrize(("name", "terms"), [("dkd", ("target_class", "non_target")), ("review", ("review",))])
def test_warm_up_rises_linearly_over_a_twelfth_of_the_epochs(name, terms):
    full = example(name, progress=20.0).terms()  # 240 epochs: min(20, 240 / 12) = 20
    for progress, share in ((0.0, 0.0), (5.0, 0.25), (100.0, 1.0)):
        now = example(name, progress=progress).terms()
        for term in terms:
            assert now[term].item() == pytest.approx(share * full[term].item(), rel=1e-5)


def test_a_short_run_warms_up_too():
    batch = example("kd").batch
    object.__setattr__(batch, "epochs", 12)
    object.__setattr__(batch, "progress", 0.5)
    assert warm_up(batch) == 0.5


def test_cwd_compares_where_each_class_is_and_with_its_weight_where_the_last_map_looks():
    scene = example("cwd", feature_weight=50)
    student, teacher = scene.signals()
    terms = scene.terms()
    expected = losses.channel_distribution(student.logits, teacher.logits, scene.batch.mask, temperature=4)
    torch.testing.assert_close(terms["channels"], 3 * expected)
    ours = scene.adapter.maps[0](student.features["stage2"])
    coarse = scene.batch.mask[:, ::2, ::2] | scene.batch.mask[:, 1::2, 1::2]  # a mask of whole rows
    expected = losses.channel_distribution(ours, teacher.features["stage2"], coarse, temperature=4)
    torch.testing.assert_close(terms["features"], 50 * expected)
    assert len(scene.adapter.maps) == 1
    assert scene.adapter.maps[0].weight.shape == (14, 8, 1, 1)


def test_cwd_leaves_out_what_weighs_nothing():
    plain = example("cwd")
    assert plain.adapter is None
    assert (plain.wanted, plain.wanted_of_teacher) == (Wanted(), Wanted())
    assert set(plain.terms()) == {"cross_entropy", "channels"}
    assert set(example("cwd", logits_weight=0).terms()) == {"cross_entropy"}


def test_e2kd_compares_both_networks_explanations_of_the_class_that_the_teacher_names():
    scene = example("e2kd")
    with torch.no_grad():
        scene.teacher.head.weight.abs_()  # else nothing in the picture speaks for the class that it names
    student, teacher = scene.signals()
    named = teacher.logits.argmax(dim=1)
    assert not (named == student.logits.argmax(dim=1)).any()
    assert teacher.explanations["stage2"].flatten(1).any(dim=1).all()

    def by_hand(network):
        features = network.two(network.one(scene.batch.images))
        features = features if features.requires_grad else features.requires_grad_()
        logits = network.head(features).mean((2, 3))
        gradient, = torch.autograd.grad(logits[torch.arange(COUNT), named].sum(), features)
        return torch.einsum("bc,bchw->bhw", gradient.mean((2, 3)), features).clamp(min=0)

    expected = losses.explanation_cosine(by_hand(scene.student), by_hand(scene.teacher))
    torch.testing.assert_close(scene.terms()["explanation"], scene.method.explanation_weight * expected)


def test_e2kd_explains_the_stage_that_is_counted_from_the_last():
    for stage, name, size in ((1, "stage2", 4), (2, "stage1", 8)):
        scene = example("e2kd", stage=stage)
        assert scene.wanted == scene.wanted_of_teacher == Wanted(explanations=(name,))
        assert scene.signals()[0].explanations[name].shape == (COUNT, size, size)
    with pytest.raises(KDError, match=r"e2kd's stage is 3, counted from the last; student and teacher have 2 stages"):
        example("e2kd", stage=3)


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_e2kd_refuses_a_map_that_cannot_say_where(who):
    signals = {"student": Signals(torch.zeros(2, 3), explanations={"a": torch.ones(2, 4, 4)}),
               "teacher": Signals(torch.zeros(2, 3), explanations={"a": torch.ones(2, 4, 4)})}
    assert method("e2kd").adapter(*signals.values(), None, None) is None
    signals[who].explanations["a"] = torch.ones(2, 1, 1)
    with pytest.raises(KDError, match=f"The {who}'s a has a map of 1x1 for these images: it cannot say where"):
        method("e2kd").adapter(*signals.values(), None, None)


def test_rkd_compares_pooled_features_of_the_last_stage():
    scene = example("rkd")
    ours, theirs = (vector(signals.features["stage2"]) for signals in scene.signals())
    torch.testing.assert_close(scene.terms()["distance"], 25 * losses.rkd_distance(ours, theirs))
    torch.testing.assert_close(scene.terms()["angle"], 50 * losses.rkd_angle(ours, theirs))


def test_logit_standardization_does_not_see_the_magnitude_of_the_teacher():
    scene = example("logit_standardization")
    student, teacher = scene.signals()
    plain = scene.method.terms(student, teacher, scene.batch, None)["kl"]
    teacher.logits = 7 * teacher.logits + 3
    torch.testing.assert_close(scene.method.terms(student, teacher, scene.batch, None)["kl"], plain)


def test_features_cosine_is_the_mean_over_its_stages():
    scene = example("features_cosine")
    student, teacher = scene.signals()
    pairs = scene.adapter(list(student.features.values()), list(teacher.features.values()))
    expected = sum((1 - F.cosine_similarity(a, b, dim=1)).mean() for a, b in pairs) / len(pairs)
    torch.testing.assert_close(scene.terms()["features"], 0.5 * expected)


def test_vid_starts_from_a_variance_of_five_and_trains_it():
    scene = example("vid")
    _, variance = scene.adapter[0](scene.signals()[0].features["stage1"])
    torch.testing.assert_close(variance, torch.full_like(variance, 5.0))
    student, teacher = scene.signals()
    sum(scene.method.terms(student, teacher, scene.batch, scene.adapter).values()).backward()
    assert scene.adapter[0].scale.grad.abs().sum() > 0


def test_factor_leaves_the_paraphraser_as_it_was_trained():
    scene = example("factor")
    before = {name: value.clone() for name, value in scene.adapter.paraphraser.state_dict().items()}
    sum(scene.method.terms(*scene.signals(), scene.batch, scene.adapter).values()).backward()
    assert all(torch.equal(value, before[name]) for name, value in scene.adapter.paraphraser.state_dict().items())
    assert all(each.grad is None for each in scene.adapter.paraphraser.parameters())
    assert all(each.grad is not None for each in scene.adapter.translator.parameters())


def test_the_paraphraser_s_code_has_half_the_channels():
    scene = example("factor_first")
    features = scene.signals()[1].features["stage2"]
    assert scene.adapter.paraphraser.encoder(features).shape[1] == features.shape[1] // 2
    assert scene.adapter.paraphraser.decoder(scene.adapter.paraphraser.encoder(features)).shape == features.shape


def test_weights_are_mapped_only_where_shapes_differ():
    scene = example("weights")
    first, second = scene.adapter
    assert first.rows.shape == (7, 4) and first.columns is None  # 3x3 convolutions 3 -> 4 and 3 -> 7
    assert second.rows.shape == (14, 8) and second.columns.shape == (36, 63)


def test_crd_moves_the_memory_of_the_batch_by_half_and_of_no_other():
    scene = example("crd")
    adapter = scene.adapter
    before = adapter.student_bank.clone()
    torch.manual_seed(1)
    scene.batch = type(scene.batch)(**{**scene.batch.__dict__, "index": torch.tensor([0, 1, 2, 4, 5, 3])})
    student, teacher = scene.signals()
    scene.method.terms(student, teacher, scene.batch, adapter)
    new = adapter.student(vector(student.features["stage2"])).detach()
    expected = F.normalize(0.5 * before[scene.batch.index] + 0.5 * new, dim=1)
    torch.testing.assert_close(adapter.student_bank[scene.batch.index], expected)
    assert adapter.student_bank.shape == (COUNT, SIZE)


def test_crd_equals_the_paper_s_loss_worked_out_pair_by_pair():
    """Equation by equation, with the noise the method drew (K = n - 1 = 5), against its own memory."""
    scene = example("crd")
    student, teacher = scene.signals()
    banks = {"student": scene.adapter.student_bank.clone(), "teacher": scene.adapter.teacher_bank.clone()}
    torch.manual_seed(1)
    drawn = torch.randint(COUNT - 1, (COUNT, COUNT - 1))
    total = 0.0
    for anchor_of, bank_of in (("student", "teacher"), ("teacher", "student")):
        signals = student if anchor_of == "student" else teacher
        anchors = getattr(scene.adapter, anchor_of)(vector(signals.features["stage2"])).detach()
        raw = []
        for i in range(COUNT):
            chosen = [i] + [int(k) + (int(k) >= i) for k in drawn[i]]
            assert i not in chosen[1:]
            raw.append([math.exp(float(anchors[i] @ banks[bank_of][j]) / 0.07) for j in chosen])
        constant = sum(map(sum, raw)) / (COUNT * COUNT) * COUNT
        noise = (COUNT - 1) / COUNT
        for own, *others in raw:
            total -= math.log(own / constant / (own / constant + noise)) / COUNT
            total -= sum(math.log(noise / (other / constant + noise)) for other in others) / COUNT
    assert scene.terms()["contrast"].item() == pytest.approx(0.8 * total, rel=1e-4)


def test_crd_keeps_the_constants_of_its_first_batch():
    scene = example("crd")
    student, teacher = scene.signals()
    scene.method.terms(student, teacher, scene.batch, scene.adapter)
    first = scene.adapter.constants.clone()
    assert (first > 0).all()
    scene.method.terms(student, teacher, scene.batch, scene.adapter)
    assert torch.equal(scene.adapter.constants, first)


def test_combined_is_the_sum_of_its_parts_and_leaves_out_what_weighs_nothing():
    scene = example("combined", relation_weight=3000)
    parts = scene.terms()
    torch.testing.assert_close(parts["relations"], example("similarity").terms()["similarity"])
    torch.testing.assert_close(parts["features"], example("features_cosine").terms()["features"])
    torch.testing.assert_close(parts["kl"] / 0.7, example("kd", alpha=1).terms()["kl"])
    assert set(example("combined", kl_weight=0, feature_weight=0).terms()) == {"cross_entropy"}


def test_six_kinds_of_knowledge_can_be_matched():
    assert {each.matches for each in METHODS.values()} == {
        "nothing", "logits", "weights", "features", "gradients", "sparsity", "relations"}


def test_students_side_by_side_are_called_by_what_sets_them_apart():
    kd = {"temperature": 4.0, "alpha": 1.0}
    assert methods.told_apart([("kd", kd), ("none", {})]) == ["Logit matching", "Independent student"]
    assert methods.told_apart([("kd", kd), ("kd", kd | {"temperature": 8.0}), ("none", {})]) == [
        "Logit matching, T 4", "Logit matching, T 8", "Independent student"]
    assert methods.told_apart([("kd", kd), ("kd", {"temperature": 1.0, "alpha": 0.5})]) == [
        "Logit matching, T 4, alpha 1", "Logit matching, T 1, alpha 0.5"]
    assert methods.told_apart([("none", {}), ("none", {}), ("none", {})]) == [
        "Independent student", "Independent student (2)", "Independent student (3)"]
    assert methods.told_apart([("forgotten", {"moon": "full"}), ("forgotten", {"moon": "new"})]) == [
        "forgotten, moon full", "forgotten, moon new"]


def test_a_method_is_titled_with_its_settings():
    assert methods.titled("kd", {"temperature": 4.0, "alpha": 0.5}) == "Logit matching, T 4, alpha 0.5"
    assert methods.titled(None) == "imported" and methods.titled("forgotten", {"moon": 1}) == "forgotten"
    usual = {each.name: each.default for each in dataclasses.fields(methods.METHODS["combined"])}
    assert methods.titled("combined", usual) == methods.METHODS["combined"].title
    assert methods.titled("combined", usual | {"kl_weight": 5.0}).startswith(
        f"{methods.METHODS['combined'].title}, ")
