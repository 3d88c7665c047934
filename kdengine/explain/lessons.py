"""What a distillation loss does to the logits of one image, and of a batch where it is written wrongly.

Experiments for teaching: no method and no run knows them. The losses are those that methods train with.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.losses import cross_entropy, kl_divergence

if TYPE_CHECKING:
    from kdengine.data import DataSet
    from kdengine.models.network import Network

SHIFT = 4
"""Pixels by which the teacher's crop is off in the mistake `other_crops`."""


def loss_parts(
    student: Sequence[float], teacher: Sequence[float], label: int, temperature: float, alpha: float
) -> dict[str, Any]:
    """The loss (1 - alpha) CE + alpha T^2 KL of one image in its parts, and their gradients on the student's logits.

    student, teacher: logits, one a class. `losses`, in nats, and `gradients`, one number a class: `cross_entropy`, `kl`
    without T^2, `scaled_kl` with it, and `loss`, the weighted sum.
    """
    logits = torch.tensor([student], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([teacher], dtype=torch.float64)
    scaled = kl_divergence(logits, target, temperature=temperature)
    labels = cross_entropy(logits, torch.tensor([label]))
    losses = {"cross_entropy": labels, "kl": scaled / temperature**2, "scaled_kl": scaled,
              "loss": (1 - alpha) * labels + alpha * scaled}
    return {
        "losses": {name: each.item() for name, each in losses.items()},
        "gradients": {name: torch.autograd.grad(each, logits, retain_graph=True)[0][0].tolist()
                      for name, each in losses.items()},
    }


@dataclass(frozen=True)
class Mistake:
    """A way to get distillation wrong.

    loss: what is written in place of `kl_divergence`, of logits [B, C] and T. logits: what the teacher is made to
    answer to images, in place of its answer in evaluation mode to what the student sees.
    """

    name: str
    title: str
    code: str
    why: str
    loss: Callable[[Tensor, Tensor, float], Tensor] | None = None
    logits: Callable[[Network, Tensor], Tensor] | None = None


def _right(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return kl_divergence(student, teacher, temperature=temperature)


def _in_training_mode(teacher: Network, images: Tensor) -> Tensor:
    return copy.deepcopy(teacher).train()(images)


def _of_other_crops(teacher: Network, images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    return teacher(F.pad(images, (SHIFT, 0, SHIFT, 0))[:, :, :height, :width])


MISTAKES: dict[str, Mistake] = {
    each.name: each for each in (
        Mistake(
            "no_square", "T² is forgotten",
            'kl_div(log_softmax(s / T), softmax(t / T), reduction="batchmean")',
            "The gradient shrinks as 1/T²: at a high T the teacher is hardly heard beside the labels.",
            loss=lambda student, teacher, temperature: _right(student, teacher, temperature) / temperature**2,
        ),
        Mistake(
            "swapped", "KL's arguments are swapped",
            'kl_div(log_softmax(t / T), softmax(s / T), reduction="batchmean") * T**2',
            "KL(student || teacher) lets the student ignore classes that the teacher finds likely, as long as it is "
            "sure of one of them.",
            loss=lambda student, teacher, temperature: _right(teacher, student, temperature),
        ),
        Mistake(
            "softmax_twice", "Softmax is applied twice",
            'kl_div(log_softmax(softmax(s) / T), softmax(softmax(t) / T), reduction="batchmean") * T**2',
            "Probabilities lie between 0 and 1, so as logits they are nearly equal: both answers become nearly "
            "uniform, and there is hardly anything left to learn.",
            loss=lambda student, teacher, temperature: _right(
                student.softmax(dim=1), teacher.softmax(dim=1), temperature),
        ),
        Mistake(
            "element_mean", "The mean is over elements",
            'kl_div(log_softmax(s / T), softmax(t / T), reduction="mean") * T**2',
            "The sum over the classes becomes a mean: the loss, and its gradient, are as many times too small as there "
            "are classes.",
            loss=lambda student, teacher, temperature: _right(student, teacher, temperature) / student.shape[1],
        ),
        Mistake(
            "training_mode", "The teacher is in training mode", "teacher.train(); t = teacher(images)",
            "Batch normalisation then takes mean and variance of this batch: the teacher's answer to an image depends "
            "on the other images beside it.",
            logits=_in_training_mode,
        ),
        Mistake(
            "other_crops", "Teacher and student see other crops",
            "t = teacher(crop(images)); s = student(crop(images))",
            "The teacher answers for another picture than the student sees. Both must see the same view.",
            logits=_of_other_crops,
        ),
    )
}


def list_mistakes() -> list[dict[str, str]]:
    """The mistakes in display order: name, title, code as people write it, and why it is wrong."""
    return [{key: getattr(each, key) for key in ("name", "title", "code", "why")} for each in MISTAKES.values()]


def mistake_effects(
    student: Network, teacher: Network, data: DataSet, temperature: float, count: int = 128
) -> dict[str, dict[str, float]]:
    """What each mistake does to loss and gradient on the first test images, by name; `right` is without any.

    loss: in nats. size: length of the gradient on the student's logits, mean over the images, as a share of the right
    one's. direction: its cosine with the right one, mean over the images. right_answers: share of the images whose
    label is the top class of the teacher's answer.
    """
    images, labels = data.test.images[:count].float() / 255, data.test.target[:count]
    with torch.no_grad():
        logits, taught = student(images).double(), teacher(images).double()

    def gradient(loss: Callable[[Tensor, Tensor, float], Tensor], answers: Tensor) -> tuple[float, Tensor]:
        leaf = logits.clone().requires_grad_()
        value = loss(leaf, answers, temperature)
        return value.item(), torch.autograd.grad(value, leaf)[0] * len(leaf)

    loss, right = gradient(_right, taught)
    effects = {"right": {"loss": loss, "size": 1.0, "direction": 1.0,
                         "right_answers": (taught.argmax(dim=1) == labels).double().mean().item()}}
    for name, each in MISTAKES.items():
        answers = taught
        if each.logits:
            with torch.no_grad():
                answers = each.logits(teacher, images).double()
        loss, wrong = gradient(each.loss or _right, answers)
        effects[name] = {
            "loss": loss, "size": (wrong.norm(dim=1).mean() / right.norm(dim=1).mean()).item(),
            "direction": F.cosine_similarity(wrong, right, dim=1).mean().item(),
            "right_answers": (answers.argmax(dim=1) == labels).double().mean().item(),
        }
    return effects
