"""What every method promises: each a function of a method and a task that raises AssertionError where it is broken."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from kdengine.losses import IGNORE, total
from kdengine.methods import Method, contract
from kdengine.methods.scene import COUNT, Scene
from kdengine.signals import Signals, Wanted


def _numbers(terms: dict[str, Tensor]) -> dict[str, float]:
    return {name: term.item() for name, term in terms.items()}


def _check(kept: bool, method: Method, task: str, promise: str) -> None:
    if not kept:
        raise AssertionError(f"{method.name} ({task}): {promise}.")


def says_what_it_is(method: Method, task: str) -> None:
    """Texts that are not empty; each field with a help, a symbol that stands in the formula, a range with its default.
    """
    about = contract.describe(type(method))
    for name in ("name", "title", "summary", "formula", "source", "matches"):
        _check(bool(about[name]), method, task, f"its {name} must not be empty")
    for field in about["fields"]:
        name = field["name"]
        _check(bool(field["help"]), method, task, f"{name} must have a help")
        if not field["choices"]:
            _check(field["low"] <= field["default"] <= field["high"], method, task,
                  f"{name}'s default must lie between its low and its high")
            _check(field["step"] > 0, method, task, f"{name}'s step must be above 0")
            _check(field["symbol"] in about["formula"], method, task, f"{name}'s symbol must stand in the formula")


def terms_are_finite_scalars(method: Method, task: str) -> None:
    """One term at least; each a float32 scalar and finite."""
    terms = Scene(method, task).terms()
    _check(bool(terms), method, task, "there must be a term")
    for name, term in terms.items():
        _check(term.shape == () and term.dtype == torch.float32 and bool(term.isfinite()), method, task,
              f"the term {name} must be a finite float32 scalar; it is {term}")


def a_gradient_reaches_the_student(method: Method, task: str) -> None:
    """A finite one, unless the method is a first stage that leaves the student alone."""
    gradients = Scene(method, task).gradients()
    _check(all(bool(each.isfinite().all()) for each in gradients.values()), method, task, "gradients must be finite")
    reached = any(bool(each.any()) for each in gradients.values())
    _check(reached == method.trains_student, method, task,
          f"a gradient must {'' if method.trains_student else 'not '}reach the student")


def the_teacher_matters(method: Method, task: str) -> None:
    """Another teacher, another loss and another gradient; unless the method needs none, or gives it a share of 0.

    The share is the field `alpha`. The teacher's answers are sharp, so that it is sure of some.
    """
    if not method.needs_teacher or getattr(method, "alpha", None) == 0:
        return
    scene, losses, gradients = Scene(method, task), [], []
    for seed in (0, 1):
        scene.teacher.load_state_dict(Scene(method, task, seed=seed).teacher.state_dict())
        with torch.no_grad():
            scene.teacher.head.weight.mul_(100)
        losses.append(total(scene.terms().values()).item())
        gradients.append(scene.gradients(step=1))  # a memory has heard the teacher by then
    _check(losses[0] != losses[1], method, task, "what another teacher says must change the loss")
    same = all(torch.equal(each, gradients[1][name]) for name, each in gradients[0].items())
    _check(not (method.trains_student and same), method, task, "what another teacher says must change the gradient")


def the_teacher_stays_as_it_is(method: Method, task: str) -> None:
    """Bit-identical and without a gradient after a step; no hook stays in either network."""
    scene = Scene(method, task)
    before = {name: value.clone() for name, value in scene.teacher.state_dict().items()}
    scene.gradients()
    same = all(torch.equal(value, before[name]) for name, value in scene.teacher.state_dict().items())
    _check(same and all(each.grad is None for each in scene.teacher.parameters()), method, task,
          "the teacher must not change")
    hooks = [each for network in (scene.student, scene.teacher) for each in network.modules()
             if each._forward_hooks or each._forward_pre_hooks]
    _check(not hooks, method, task, "no hook may stay")


def no_teacher_is_asked_where_none_is_needed(method: Method, task: str) -> None:
    """A method that needs no teacher wants nothing to be seen, and reads nothing of one."""
    if method.needs_teacher:
        return
    scene = Scene(method, task)
    _check((scene.wanted, scene.wanted_of_teacher) == (Wanted(), Wanted()), method, task, "it must want no signals")
    alone = method.terms(scene.signals()[0], Signals(torch.empty(0)), scene.batch, None)
    _check(_numbers(alone) == _numbers(scene.terms()), method, task, "it must not read what a teacher says")


def ignored_pixels_do_not_count(method: Method, task: str) -> None:
    """Whatever stands where the mask is false, in targets and in logits, no term changes."""
    if task != "segmentation":
        return
    scene = Scene(method, task)
    target = scene.batch.target.clone()
    target[~scene.batch.mask] = 3
    student, teacher = scene.signals()
    for signals in (student, teacher):
        signals.logits = torch.where(scene.batch.mask[:, None], signals.logits, 1e4)
    torch.manual_seed(1)
    terms = method.terms(student, teacher, dataclasses.replace(scene.batch, target=target), scene.adapter)
    torch.testing.assert_close(terms, scene.terms(), rtol=1e-6, atol=1e-12,
                               msg=lambda text: f"{method.name} ({task}): ignored pixels must not count. {text}")


def withheld_labels_are_not_read(method: Method, task: str) -> None:
    """Whatever the target of an unlabelled image is, no term changes."""
    scene = Scene(method, task)
    labelled = torch.tensor([True, False] * (COUNT // 2))
    of_targets = labelled.view(-1, *[1] * (scene.batch.target.dim() - 1))
    first, second = (
        scene.terms(dataclasses.replace(
            scene.batch, labelled=labelled, target=torch.where(of_targets, scene.batch.target, other)))
        for other in (0, 1))
    _check(_numbers(first) == _numbers(second), method, task, "a label that is withheld must not be read")


def a_batch_without_labels_is_finite(method: Method, task: str) -> None:
    """Terms and gradients, where no image of the batch has a label."""
    scene = Scene(method, task)
    scene.batch = dataclasses.replace(
        scene.batch, labelled=torch.zeros_like(scene.batch.labelled),
        target=torch.full_like(scene.batch.target, IGNORE), mask=torch.ones_like(scene.batch.mask))
    numbers = [*scene.terms().values(), *scene.gradients().values()]
    _check(all(bool(each.isfinite().all()) for each in numbers), method, task,
          "terms and gradients of a batch without a label must be finite")


def a_batch_that_counts_nowhere_is_finite(method: Method, task: str) -> None:
    """Terms and gradients, where the mask is false everywhere."""
    scene = Scene(method, task)
    scene.batch = dataclasses.replace(scene.batch, mask=torch.zeros_like(scene.batch.mask))
    numbers = [*scene.terms().values(), *scene.gradients().values()]
    _check(all(bool(each.isfinite().all()) for each in numbers), method, task,
           "terms and gradients of a batch that counts nowhere must be finite")


def large_logits_are_finite(method: Method, task: str) -> None:
    """Terms, at logits a thousand times as large."""
    scene = Scene(method, task)
    student, teacher = scene.signals()
    for signals in (student, teacher):
        signals.logits = signals.logits * 1000
    terms = method.terms(student, teacher, scene.batch, scene.adapter)
    _check(all(bool(term.isfinite()) for term in terms.values()), method, task, "terms of large logits must be finite")


def the_adapter_follows_its_generator(method: Method, task: str) -> None:
    """What a method trains besides the student is drawn from the generator alone."""
    scene, states = Scene(method, task), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        adapter = method.adapter(*scene.signals(), scene.facts, torch.Generator().manual_seed(0))
        states.append(adapter.state_dict() if adapter else {})
    first, second = states
    same = first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())
    _check(same, method, task, "the same generator must give the same adapter")


def double_stays_double(method: Method, task: str) -> None:
    """Terms of float64 signals are float64, so that a numeric gradient can be taken."""
    types = {term.dtype for term in Scene(method, task, dtype=torch.float64).terms().values()}
    _check(types == {torch.float64}, method, task, f"float64 must stay; the terms are {types}")


METHOD_PROMISES = (
    says_what_it_is, terms_are_finite_scalars, a_gradient_reaches_the_student, the_teacher_stays_as_it_is,
    the_teacher_matters, no_teacher_is_asked_where_none_is_needed, ignored_pixels_do_not_count,
    withheld_labels_are_not_read, a_batch_without_labels_is_finite, a_batch_that_counts_nowhere_is_finite,
    large_logits_are_finite, the_adapter_follows_its_generator, double_stays_double,
)


def check_method(method: type[Method], **fields: Any) -> None:
    """Hold a method with these fields, the others at their usual values, to every promise, for each of its tasks.

    Raises AssertionError where one is broken, and KDError for a class that is no method, an unknown field or value.
    """
    contract.check(method, method.__name__)
    built = contract.build(method, method.name, fields)
    for task in built.tasks:
        for promise in METHOD_PROMISES:
            promise(built, task)
