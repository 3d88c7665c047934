"""What is inside a method is read from the method that runs: its code, what flows, who reads labels, what differs."""

import inspect
import textwrap

import pytest
import torch

import kdengine
from kdengine import losses
from kdengine.errors import KDError
from kdengine.losses import logits, reduction
from kdengine.methods import METHODS, anatomy
from kdengine.signals import Batch

LOSSES = {  # the functions of kdengine.losses that each formula is made of
    "none": ["cross_entropy"], "label_smoothing": ["cross_entropy"], "kd": ["kl_divergence"],
    "dkd": ["target_class_kl", "non_target_kl"], "logit_standardization": ["standardized", "kl_divergence"],
    "dist": ["inter_class_relation", "intra_class_relation"], "features_mse": ["feature_distance"],
    "features_cosine": ["feature_cosine"], "fitnet": ["feature_distance"],
    "fitnet_original": ["feature_distance", "kl_divergence"], "attention": ["attention", "attention_map"],
    "nst": ["neuron_selectivity"], "vid": ["variational_information"], "factor": ["factor_distance"],
    "review": ["hierarchical_context"], "activation_boundary": ["activation_boundary", "kl_divergence"],
    "fsp": ["fsp", "fsp_matrix", "kl_divergence"], "similarity": ["similarity"], "rkd": ["rkd_distance", "rkd_angle"],
    "pkt": ["pkt"], "crd": ["noise_contrastive"], "crd_batch": ["info_nce"], "cwd": ["channel_distribution"],
    "weights": ["weight_distance"], "input_gradient": ["input_gradient"],
    "e2kd": ["kl_divergence", "explanation_cosine"],
    "combined": ["kl_divergence", "feature_cosine", "feature_distance", "similarity"],
}
FLOWS = {  # of the teacher, with the usual fields: where, and whether a trained layer stands between
    "none": {}, "label_smoothing": {}, "kd": {"logits": False}, "dkd": {"logits": False}, "dist": {"logits": False},
    "cwd": {"logits": False}, "input_gradient": {"image": False}, "rkd": {"stage 3": False}, "crd": {"stage 3": True},
    "e2kd": {"stage 3": False, "logits": False},
    "fitnet": {"stage 2": True}, "fitnet_original": {"stage 2": True, "logits": False},
    "attention": dict.fromkeys(("stage 1", "stage 2", "stage 3"), False),
    "features_mse": dict.fromkeys(("stage 1", "stage 2", "stage 3"), True),
    "weights": dict.fromkeys(("stage 1", "stage 2", "stage 3"), True),
    "activation_boundary": dict.fromkeys(("stage 1", "stage 2", "stage 3"), True),
    "fsp": dict.fromkeys(("stage 1", "stage 2", "stage 3"), True),  # alpha is 0: the second run reads labels alone
    "combined": dict.fromkeys(("stage 1", "stage 2", "stage 3"), True) | {"logits": False},
}


def texts(name):
    return {piece["name"]: piece["text"] for run in kdengine.method_anatomy(name)["runs"] for piece in run["code"]}


def test_every_method_has_its_losses_here():
    assert set(LOSSES) == set(METHODS)


@pytest.mark.parametrize("name", LOSSES)
def test_the_code_is_that_of_the_losses_that_run(name):
    shown = texts(name)
    for loss in LOSSES[name]:
        assert shown[loss] == inspect.getsource(getattr(losses, loss))
    assert any(text == textwrap.dedent(inspect.getsource(METHODS[name].terms)) for text in shown.values())
    assert not {each for each in losses.__all__ if each in shown} - {
        *LOSSES[name], "cross_entropy", "mask_at", "mean_over", "total"}


def test_the_code_goes_down_to_the_last_function_of_the_losses():
    shown = texts("kd")
    assert shown["_log_softened"] == inspect.getsource(logits._log_softened)
    assert shown["softened"] == inspect.getsource(reduction.softened)
    assert shown["Batch.cross_entropy"] == textwrap.dedent(inspect.getsource(Batch.cross_entropy))
    assert {piece["name"]: piece["file"] for piece in kdengine.method_anatomy("kd")["runs"][0]["code"]}[
        "kl_divergence"] == "kdengine/losses/logits.py"


def test_the_code_of_a_parent_and_of_what_is_trained_is_shown():
    assert list(texts("fitnet"))[:3] == ["FitNet.terms", "Connectors", "FitNetOriginalFirst.terms"]
    assert list(texts("crd"))[1:3] == ["Memory", "Embedding"]


def test_a_method_of_two_stages_shows_both_runs():
    method = kdengine.method_anatomy("factor")
    assert [run["title"] for run in method["runs"]] == ["Paraphraser training", "Factor transfer"]
    assert [run["terms"] for run in method["runs"]] == [
        {"reconstruction": False}, {"cross_entropy": True, "factors": False}]
    assert method["runs"][1]["adapter"] == "Paraphraser and translator."


@pytest.mark.parametrize("name", FLOWS)
def test_what_flows_from_the_teacher(name):
    assert kdengine.method_anatomy(name)["flows"] == FLOWS[name]


def test_explanations_alone_flow_as_maps():
    assert {name: kdengine.method_anatomy(name)["maps"] for name in METHODS if anatomy(METHODS[name])["maps"]} == {
        "e2kd": ["stage 3"]}


def test_a_method_that_needs_no_teacher_takes_nothing_and_every_other_something():
    for name, method in METHODS.items():
        assert bool(anatomy(method)["flows"]) == method.needs_teacher, name


@pytest.mark.parametrize(("name", "reading", "free"), [
    ("none", {"cross_entropy"}, set()), ("kd", {"cross_entropy"}, {"kl"}),
    # To know which class is the true one, DKD reads labels in every term; so do input gradients.
    ("dkd", {"cross_entropy", "target_class", "non_target"}, set()),
    ("input_gradient", {"cross_entropy", "gradients"}, set()),
    ("e2kd", set(), {"kl", "explanation"}),
    ("crd", {"cross_entropy"}, {"contrast"}), ("rkd", {"cross_entropy"}, {"distance", "angle"}),
])
def test_which_terms_read_labels(name, reading, free):
    (run,) = kdengine.method_anatomy(name)["runs"]
    assert {term for term, reads in run["terms"].items() if reads} == reading
    assert {term for term, reads in run["terms"].items() if not reads} == free


def test_known_disagreements_are_those_of_the_method_and_of_its_losses():
    assert kdengine.method_anatomy("attention")["disagreements"] == {
        "attention": "the paper takes the norm of the difference, the authors' code its mean square; this is the "
                     "code's."}
    assert set(kdengine.method_anatomy("fsp")["disagreements"]) == {"fsp_first", "kl_divergence"}
    assert "masks the true class by -1000" in kdengine.method_anatomy("dkd")["disagreements"]["non_target_kl"]
    assert kdengine.method_anatomy("rkd")["disagreements"] == {}


def test_looking_leaves_torch_s_seed_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    kdengine.method_anatomy("crd")
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_method_is_refused_in_words():
    with pytest.raises(KDError, match="Unknown method 'kdd'"):
        kdengine.method_anatomy("kdd")


def test_the_range_of_a_field_is_told_in_words():
    allowed = {name: {field["name"]: field["allowed"] for field in kdengine.method_anatomy(name)["fields"]}
               for name in ("kd", "features_mse", "pkt")}
    assert allowed == {"kd": {"temperature": "0.1 to 100", "alpha": "0 to 1"},
                       "features_mse": {"beta": "0 to 1,000", "norm": "l2 or smooth_l1"},
                       "pkt": {"beta": "0 to 1,000,000"}}
