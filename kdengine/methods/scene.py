"""A method among toys: a small student, a small teacher and one batch, all from one seed, on which it can be tried."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from kdengine.losses import IGNORE, total
from kdengine.methods.contract import Method
from kdengine.signals import Batch, Facts, Signals, Stage, observing

CLASSES, SIZE, COUNT = 5, 8, 6
"""Of a scene: how many classes, pixels a side, and images."""


class Toy(nn.Module):
    """A network of two stages and a head; `width` sets the channels, so that student and teacher differ."""

    def __init__(self, width: int, task: str) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.BatchNorm2d(2 * width),
                                 nn.ReLU())
        self.head = nn.Conv2d(2 * width, CLASSES, 1)
        self.task = task
        self.stages = (Stage("stage1", "one", width, 1), Stage("stage2", "two", 2 * width, 2))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, CLASSES], or of masks [B, CLASSES, SIZE, SIZE]."""
        logits = self.head(self.two(self.one(images)))
        if self.task == "classification":
            return logits.mean((2, 3))
        return nn.functional.interpolate(logits, scale_factor=2, mode="bilinear")


class Scene:
    """A toy student, a toy teacher, a batch, and the adapter that a method builds for them, all from one seed.

    Seeds torch's generator.
    """

    def __init__(
        self, method: Method, task: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, progress: float = 20.0
    ) -> None:
        torch.manual_seed(seed)
        self.method = method
        self.student, self.teacher = Toy(4, task).to(dtype), Toy(7, task).to(dtype).eval().requires_grad_(False)
        shape = (COUNT,) if task == "classification" else (COUNT, SIZE, SIZE)
        target = torch.randint(CLASSES, shape)
        mask = torch.ones(shape, dtype=torch.bool)
        if task == "segmentation":
            mask[:, :2] = False
            target[~mask] = IGNORE
        images = torch.rand(COUNT, 3, SIZE, SIZE, dtype=dtype)
        labelled = torch.ones(COUNT, dtype=torch.bool)
        self.batch = Batch(images, target, mask, labelled, torch.arange(COUNT), progress, 240)
        self.wanted, self.wanted_of_teacher = method.wants(self.student.stages, self.teacher.stages)
        self.facts = Facts(COUNT, CLASSES, target)
        adapter = method.adapter(*self.signals(), self.facts, torch.Generator().manual_seed(seed))
        self.adapter = adapter.to(dtype) if adapter else None

    def signals(self) -> tuple[Signals, Signals]:
        """What the method wants to see of the student, with its graph, and of the teacher."""
        with torch.no_grad(), observing(self.teacher, self.teacher.stages, self.wanted_of_teacher) as look:
            teacher = look(self.batch.images, self.batch.target)
        with observing(self.student, self.student.stages, self.wanted) as look:
            return look(self.batch.images, self.batch.target, lambda _: teacher.logits.argmax(dim=1)), teacher

    def terms(self, batch: Batch | None = None, *, step: int = 0) -> dict[str, Tensor]:
        """The terms of one step, from the same adapter and the same random draws every time.

        step: how many came before it, which an adapter may remember.
        """
        torch.manual_seed(1)
        adapter = copy.deepcopy(self.adapter)
        for _ in range(step):
            self.method.terms(*self.signals(), batch or self.batch, adapter)
        return self.method.terms(*self.signals(), batch or self.batch, adapter)

    def gradients(self, *, step: int = 0) -> dict[str, Tensor]:
        """The student's, by parameter, where there is one; see `terms`."""
        self.student.zero_grad()
        total(self.terms(step=step).values()).backward()
        return {name: each.grad.clone() for name, each in self.student.named_parameters() if each.grad is not None}
