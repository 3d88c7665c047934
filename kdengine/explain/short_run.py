"""A short run with a mistake: a student trained wrongly beside an equal one trained rightly.

For teaching, as the mistakes are. The loop is a small one of its own: no ordinary run can make these mistakes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kdengine import models
from kdengine.data.content import take_share, withhold_labels
from kdengine.devices import one_thread, set_memory_format
from kdengine.explain.lessons import MISTAKES, RIGHT, Mistake
from kdengine.losses import cross_entropy
from kdengine.measures import uncertainty
from kdengine.measures.evaluation import predict
from kdengine.views import Views, policy, steps_per_epoch, views

if TYPE_CHECKING:
    from kdengine.data import DataSet
    from kdengine.models.network import Network


@dataclass(frozen=True)
class Setting:
    """What both students of a short run share.

    share: part of the training images used, in (0, 1]. labels_per_class: labels left of these; half of each batch has
    one. alpha: the teacher's share. The optimizer is SGD, set as in ordinary runs; its learning rate falls to 0 along
    a cosine.
    """

    student: str = "resnet8"
    epochs: int = 12
    batch_size: int = 32
    share: float = 0.25
    labels_per_class: int = 5
    labelled_share: float = 0.5
    temperature: float = 4.0
    alpha: float = 0.5
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4


SHORT_RUN = Setting()
"""What the lesson trains with."""


def train_with_mistake(
    mistake: str, teacher: Network, data: DataSet, setting: Setting, seed: int
) -> Iterator[dict[str, Any]]:
    """Train two equal students, one rightly and one with a mistake of `list_mistakes`; a row after each epoch.

    Both have the same first weights, and see the same views in the same batches; seed decides all of these. A row holds
    epoch (from 1), right and wrong (each student's accuracy on the test images, in [0, 1]), count (of these images) and
    differ: whether an exact McNemar test at 5% tells the two networks apart.

    Each student has a thread of its own, with one CPU thread of torch: the same arguments give the same bits on one
    machine, whatever else runs there. Between two rows nothing is left running, so whoever asks for no further one has
    ended the training. teacher: in evaluation mode, and left as it is.
    """
    train = withhold_labels(take_share(data.train, setting.share), setting.labels_per_class, data.classes)
    data = replace(data, train=train)
    teacher = copy.deepcopy(teacher)  # laid out anew in memory, while others ask the one that was given
    set_memory_format(teacher, "channels_last")
    students = [_Student(each, data, setting, seed) for each in (RIGHT, MISTAKES[mistake])]
    for epoch in range(setting.epochs):
        drawn, elsewhere = (views(train, policy(data.views), each, epoch, setting.labelled_share)
                            for each in (seed, seed + 1))
        other_crops = replace(drawn, offsets=elsewhere.offsets)
        with ThreadPoolExecutor(len(students)) as pool:
            trained = [pool.submit(each.epoch, teacher, drawn, other_crops) for each in students]
        right, wrong = (each.result() for each in trained)
        p = uncertainty.mcnemar(int((right & ~wrong).sum()), int((wrong & ~right).sum()))
        yield {
            "epoch": epoch + 1, "right": right.double().mean().item(), "wrong": wrong.double().mean().item(),
            "count": len(right), "differ": p < uncertainty.ALPHA,
        }


def batch_loss(mistake: Mistake, student: Tensor, teacher: Tensor, target: Tensor, setting: Setting) -> Tensor:
    """(1 - alpha) CE + alpha times what the mistake makes of T^2 KL; logits [B, C], target long [B] or IGNORE."""
    distance = mistake.loss(student, teacher, setting.temperature)
    return (1 - setting.alpha) * cross_entropy(student, target) + setting.alpha * distance


class _Student:
    """A student in training."""

    def __init__(self, mistake: Mistake, data: DataSet, setting: Setting, seed: int) -> None:
        self.mistake, self.data, self.setting = mistake, data, setting
        self.network = models.build(setting.student, data.classes, seed=seed, input_size=data.size, mean=data.mean,
                                    std=data.std)
        set_memory_format(self.network, "channels_last")
        self.optimizer = torch.optim.SGD(self.network.parameters(), setting.learning_rate, setting.momentum,
                                         weight_decay=setting.weight_decay)
        steps = setting.epochs * steps_per_epoch(len(data.train), setting.batch_size)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)

    def epoch(self, teacher: Network, drawn: Views, other_crops: Views) -> Tensor:
        """Train on these views; which test images it then names rightly: bool [N]."""
        first = 0
        with one_thread():
            self.network.train()
            for index, images, target in drawn.batches(self.setting.batch_size):
                others = other_crops.render(first, first + len(index))
                first += len(index)
                with torch.no_grad():
                    taught = self.mistake.logits(teacher, images, others)
                loss = batch_loss(self.mistake, self.network(images), taught, target, self.setting)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.schedule.step()
            test = self.data.test
            return predict(self.network, test).argmax(dim=1) == test.target
