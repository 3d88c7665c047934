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
"""Pixels by which the teacher's crop is off where the effect of the mistake `other_crops` is measured."""


MEASURED = 10
"""Seeds from 0 on with which the gaps below were measured."""


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


def _right_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return kl_divergence(student, teacher, temperature=temperature)


def _right_logits(teacher: Network, images: Tensor, others: Tensor) -> Tensor:
    return teacher(images)


def _in_training_mode(teacher: Network, images: Tensor, others: Tensor) -> Tensor:
    return copy.deepcopy(teacher).train()(images)


def _of_other_crops(teacher: Network, images: Tensor, others: Tensor) -> Tensor:
    return teacher(others)


@dataclass(frozen=True)
class Mistake:
    """A way to get distillation wrong; without `loss` and `logits` it is the right way.

    loss: what is written for T^2 KL(teacher || student), of logits [B, C] of student and teacher, and T. logits: what
    the teacher is made to answer, of a teacher in evaluation mode, the images that the student sees, and other crops of
    the same pictures. gap: what MEASURED short runs made of it, see `train_with_mistake`: accuracy with the mistake
    less without, in points, mean and standard deviation over the seeds. said: what that tells.
    """

    name: str
    title: str
    code: str
    why: str
    gap: tuple[float, float] = (0.0, 0.0)
    said: str = ""
    loss: Callable[[Tensor, Tensor, float], Tensor] = _right_loss
    logits: Callable[[Network, Tensor, Tensor], Tensor] = _right_logits


RIGHT = Mistake("right", "No mistake", code="", why="")
MISTAKES: dict[str, Mistake] = {
    each.name: each for each in (
        Mistake(
            "no_square", "T² is forgotten",
            'kl_div(log_softmax(s / T), softmax(t / T), reduction="batchmean")',
            "The gradient shrinks as 1/T²: at a high T the teacher is hardly heard beside the labels.",
            gap=(-24.3, 4.1),
            said="The steps become smaller, too: at twice the learning rate half of this gap was left. At alpha = 1 "
                 "this mistake is a smaller learning rate, and nothing else.",
            loss=lambda student, teacher, temperature: _right_loss(student, teacher, temperature) / temperature**2,
        ),
        Mistake(
            "swapped", "KL's arguments are swapped",
            'kl_div(log_softmax(t / T), softmax(s / T), reduction="batchmean") * T**2',
            "KL(student || teacher) lets the student ignore classes that the teacher finds likely, as long as it is "
            "sure of one of them.",
            gap=(-3.5, 3.3),
            said="A small harm, and not in every run: one run alone may show the opposite.",
            loss=lambda student, teacher, temperature: _right_loss(teacher, student, temperature),
        ),
        Mistake(
            "softmax_twice", "Softmax is applied twice",
            'kl_div(log_softmax(softmax(s) / T), softmax(softmax(t) / T), reduction="batchmean") * T**2',
            "Probabilities lie between 0 and 1, so as logits they are nearly equal: both answers become nearly "
            "uniform, and there is hardly anything left to learn.",
            gap=(-26.0, 3.9),
            said="KL has hardly a gradient left, so the labels are nearly alone, as if there were no teacher.",
            loss=lambda student, teacher, temperature: _right_loss(
                student.softmax(dim=1), teacher.softmax(dim=1), temperature),
        ),
        Mistake(
            "element_mean", "The mean is over elements",
            'kl_div(log_softmax(s / T), softmax(t / T), reduction="mean") * T**2',
            "The sum over the classes becomes a mean: the loss, and its gradient, are as many times too small as there "
            "are classes.",
            gap=(-21.4, 2.7),
            said="As with T² forgotten: the teacher is too quiet beside the labels, and the steps become smaller.",
            loss=lambda student, teacher, temperature: _right_loss(student, teacher, temperature) / student.shape[1],
        ),
        Mistake(
            "training_mode", "The teacher is in training mode", "teacher.train(); t = teacher(images)",
            "Batch normalization then takes mean and variance of this batch: the teacher's answer to an image depends "
            "on the other images beside it.",
            gap=(1.4, 1.4),
            said="No harm here: in training mode, too, this teacher named each of these training digits rightly. Do "
                 "not count on that elsewhere.",
            logits=_in_training_mode,
        ),
        Mistake(
            "other_crops", "Each sees another crop",
            "t = teacher(crop(images)); s = student(crop(images))",
            "The teacher answers for another picture than the student sees. Both must see the same view.",
            gap=(-0.3, 1.5),
            said="No harm to be seen here: this teacher named each of these training digits rightly in either crop. "
                 "Do not count on that elsewhere.",
            logits=_of_other_crops,
        ),
    )
}


def list_mistakes() -> list[dict[str, Any]]:
    """The mistakes in display order: name, title, code as people write it, why it is wrong; gap and said as `Mistake`.
    """
    return [{key: getattr(each, key) for key in ("name", "title", "code", "why", "gap", "said")}
            for each in MISTAKES.values()]


def mistake_effects(
    student: Network, teacher: Network, data: DataSet, temperature: float, count: int = 128
) -> dict[str, dict[str, float]]:
    """What each mistake does to loss and gradient on the first test images, by name; `right` is without any.

    loss: in nats. size: length of the gradient on the student's logits, mean over the images, as a share of the right
    one's. direction: its cosine with the right one, mean over the images. right_answers: share of the images whose
    label is the top class of the teacher's answer.
    """
    images, labels = data.test.images[:count].float() / 255, data.test.target[:count]
    height, width = images.shape[2:]
    others = F.pad(images, (SHIFT, 0, SHIFT, 0))[:, :, :height, :width]
    with torch.no_grad():
        logits = student(images).double()

    def effect(mistake: Mistake) -> tuple[float, Tensor, float]:
        """The loss, its gradient on each image's logits, and how many labels the teacher's answers name."""
        with torch.no_grad():
            taught = mistake.logits(teacher, images, others).double()
        leaf = logits.clone().requires_grad_()
        loss = mistake.loss(leaf, taught, temperature)
        gradient = torch.autograd.grad(loss, leaf)[0] * len(leaf)
        return loss.item(), gradient, (taught.argmax(dim=1) == labels).double().mean().item()

    effects = {}
    _, right, _ = effect(RIGHT)
    for each in (RIGHT, *MISTAKES.values()):
        loss, wrong, answers = effect(each)
        effects[each.name] = {
            "loss": loss, "size": (wrong.norm(dim=1).mean() / right.norm(dim=1).mean()).item(),
            "direction": F.cosine_similarity(wrong, right, dim=1).mean().item(), "right_answers": answers,
        }
    return effects
