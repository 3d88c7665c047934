"""The checks for one's own methods and networks: what keeps its promises passes, what breaks one is told which."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from kdengine.errors import KDError
from kdengine.losses import cross_entropy, kl_divergence
from kdengine.methods import Method, hyperparameter
from kdengine.methods.adapters import Embedding
from kdengine.methods.independent import Independent
from kdengine.methods.kd import KD
from kdengine.signals import Wanted
from kdengine.testing import check_method, check_model


@dataclass(frozen=True)
class Mine(Method):
    """A method as its user would write it."""

    name, title, summary, matches = "mine", "My method", "As logit matching.", "logits"
    formula, source = r"(1-\alpha) CE + \alpha T^2 KL", "nobody"

    temperature: float = hyperparameter(4.0, low=0.1, high=100.0, step=0.5, symbol="T", help="Softens.")
    alpha: float = hyperparameter(0.9, low=0.0, high=1.0, step=0.05, symbol=r"\alpha", help="The teacher's share.")

    def terms(self, student, teacher, batch, adapter):
        softened = kl_divergence(student.logits, teacher.logits, batch.mask, temperature=self.temperature)
        return {"cross_entropy": (1 - self.alpha) * batch.cross_entropy(student.logits), "kl": self.alpha * softened}


def broken(base, terms=None, **attributes):
    """A method that is `base` in all but this."""
    changed = {"terms": terms} if terms else {}
    return dataclass(frozen=True)(type("Broken", (base,), changed | attributes))


def test_a_method_that_keeps_its_promises_passes():
    check_method(Mine)
    check_method(Mine, alpha=0.0)  # no teacher matters then
    check_method(KD)


def of_all_pixels(self, student, teacher, batch, adapter):
    return {"kl": kl_divergence(student.logits, teacher.logits, None, temperature=4.0)}


def of_all_labels(self, student, teacher, batch, adapter):
    return {"cross_entropy": cross_entropy(student.logits, batch.target.clamp(min=0), batch.mask),
            "kl": of_all_pixels(self, student, teacher, batch, adapter)["kl"]}


def of_the_labels_alone(self, student, teacher, batch, adapter):
    return {"cross_entropy": batch.cross_entropy(student.logits)}


def without_a_gradient(self, student, teacher, batch, adapter):
    return {"kl": student.logits.detach().mean().requires_grad_() + teacher.logits.mean()}


def in_vectors(self, student, teacher, batch, adapter):
    return {"kl": student.logits.mean(dim=0)}


def in_half(self, student, teacher, batch, adapter):
    return {name: term.float() for name, term in Mine().terms(student, teacher, batch, adapter).items()}


def overflowing(self, student, teacher, batch, adapter):
    odds = student.logits.exp() / student.logits.exp().sum(dim=1, keepdim=True)
    return {"odds": (odds - teacher.logits.softmax(dim=1)).square().mean()}


def undefined_without_labels(self, student, teacher, batch, adapter):
    return {"cross_entropy": nn.functional.cross_entropy(student.logits[batch.labelled], batch.target[batch.labelled]),
            "kl": kl_divergence(student.logits, teacher.logits, batch.mask, temperature=4.0)}


def detached(self, student, teacher, batch, adapter):
    terms = Mine().terms(student, teacher, batch, adapter)
    return {"cross_entropy": terms["cross_entropy"], "kl": terms["kl"].detach()}


def undefined_where_nothing_counts(self, student, teacher, batch, adapter):
    terms = Mine().terms(student, teacher, batch, adapter)
    return terms | {"kl": terms["kl"] * batch.mask.sum() / batch.mask.sum()}


def teaching_the_teacher(self, student, teacher, batch, adapter):
    with torch.no_grad():
        next(iter(teacher.weights.values())).add_(1.0)
    return {"kl": kl_divergence(student.logits, teacher.logits, batch.mask, temperature=4.0)}


def reading_a_teacher(self, student, teacher, batch, adapter):
    return {"cross_entropy": batch.cross_entropy(student.logits) + teacher.logits.mean()}


@pytest.mark.parametrize(("method", "said"), [
    (broken(Mine, in_vectors, tasks=("classification",)), "the term kl must be a finite float32 scalar"),
    (broken(Mine, without_a_gradient), "a gradient must reach the student"),
    (broken(Mine, of_the_labels_alone), "what another teacher says must change the loss"),
    (broken(Mine, detached), "what another teacher says must change the gradient"),
    (broken(Mine, undefined_where_nothing_counts), "a batch that counts nowhere must be finite"),
    (broken(Mine, of_all_pixels), r"\(segmentation\): ignored pixels must not count"),
    (broken(Mine, of_all_labels, tasks=("classification",)), "a label that is withheld must not be read"),
    (broken(Mine, undefined_without_labels, tasks=("classification",)), "a batch without a label must be finite"),
    (broken(Mine, overflowing, tasks=("classification",)), "terms of large logits must be finite"),
    (broken(Mine, in_half), "float64 must stay"),
    (broken(Mine, teaching_the_teacher, wants=lambda self, student, teacher: (
        Wanted(), Wanted(weights=(teacher[0].name,)))), "the teacher must not change"),
    (broken(Mine, adapter=lambda self, student, teacher, facts, generator: Embedding(4, 2)),
     "the same generator must give the same adapter"),
    (broken(Mine, summary=""), "its summary must not be empty"),
    (broken(Mine, formula="CE"), "temperature's symbol must stand in the formula"),
    (broken(Independent, reading_a_teacher), "must not read what a teacher says"),
    (broken(Independent, wants=lambda self, student, teacher: (Wanted(input_gradient=True), Wanted()),
            tasks=("classification",)), "it must want no signals"),
])
def test_a_broken_promise_is_named(method, said):
    with pytest.raises(AssertionError, match=said):
        check_method(method)


def test_what_is_no_method_is_refused_as_on_the_command_line():
    with pytest.raises(KDError, match="frozen dataclass"):
        check_method(type("Bare", (Mine,), {}))
    with pytest.raises(KDError, match="Unknown hyperparameter of mine 'beta'"):
        check_method(Mine, beta=1)
    with pytest.raises(KDError, match=r"Unknown matches of Broken 'logitz'\. Did you mean 'logits'"):
        check_method(broken(Mine, matches="logitz"))


class Net(nn.Module):
    """A network as its user would write it."""

    input_size = 16
    stages = (("body", 6, 2),)

    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Linear(6, classes)

    def forward(self, images):
        return self.head(self.body(images).mean(dim=(2, 3)))


class Unused(Net):
    def __init__(self, classes):
        super().__init__(classes)
        self.spare = nn.Linear(6, 6)


class Mixing(Net):
    def forward(self, images):
        logits = super().forward(images)
        return logits - logits.mean(dim=0)


class Drawing(Net):
    def forward(self, images):
        return super().forward(images + 0 * torch.rand_like(images))


class Overwriting(Net):
    def forward(self, images):
        return self.head(self.body(images).add_(1).mean(dim=(2, 3)))


class Forgetful(Net):
    def __init__(self, classes):
        super().__init__(classes)
        self.shift = torch.randn(classes)  # no buffer

    def forward(self, images):
        return super().forward(images) + self.shift


def test_a_network_that_keeps_its_promises_passes():
    check_model(Net)
    check_model(lambda classes: Net(classes), classes=("a", "b", "c"), input_size=32)


@pytest.mark.parametrize(("make", "said"), [
    (Unused, "no gradient of the logits reaches net.spare.weight, net.spare.bias"),
    (Mixing, "must not depend on the others of its batch"),
    (Drawing, "draws random numbers in evaluation mode"),
    (Overwriting, "what net.body puts out is overwritten"),
    (Forgetful, "its state_dict must carry all that decides its logits"),
])
def test_a_network_s_broken_promise_is_named(make, said):
    with pytest.raises(AssertionError, match=said):
        check_model(make)


def test_a_network_that_answers_wrongly_is_refused_as_on_the_command_line():
    with pytest.raises(KDError, match="returns logits"):
        check_model(lambda classes: Net(classes + 1))
