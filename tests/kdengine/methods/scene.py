"""A student, a teacher and a batch so small that any method can be asked about them at once."""

import copy

import torch
from torch import nn

from kdengine.methods import method
from kdengine.signals import IGNORE, Batch, Facts, Stage, observing

CLASSES, SIZE, COUNT = 5, 8, 6


class Toy(nn.Module):
    """Two stages and a head; `width` sets the channels, so student and teacher differ."""

    def __init__(self, width, task):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.BatchNorm2d(2 * width),
                                 nn.ReLU())
        self.head = nn.Conv2d(2 * width, CLASSES, 1)
        self.task = task
        self.stages = (Stage("stage1", "one", width, 1), Stage("stage2", "two", 2 * width, 2))

    def forward(self, images):
        logits = self.head(self.two(self.one(images)))
        if self.task == "classification":
            return logits.mean((2, 3))
        return nn.functional.interpolate(logits, scale_factor=2, mode="bilinear")


class Scene:
    """A student, a teacher, a batch and a method's adapter, all from one seed."""

    def __init__(self, name, task=None, seed=0, dtype=torch.float32, progress=20.0, **fields):
        torch.manual_seed(seed)
        self.method = method(name, **fields)
        task = task or self.method.tasks[0]
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
        self.wanted, self.wanted_of_teacher = self.method.wants(self.student.stages, self.teacher.stages)
        facts = Facts(COUNT, CLASSES, target)
        generator = torch.Generator().manual_seed(seed)
        student, teacher = self.signals()
        adapter = self.method.adapter(student, teacher, facts, generator)
        self.adapter = adapter.to(dtype) if adapter else None

    def signals(self):
        with observing(self.student, self.student.stages, self.wanted) as look:
            student = look(self.batch.images, self.batch.target)
        with torch.no_grad(), observing(self.teacher, self.teacher.stages, self.wanted_of_teacher) as look:
            return student, look(self.batch.images, self.batch.target)

    def terms(self, batch=None):
        """The terms of one step, from the same adapter and the same random draws every time."""
        torch.manual_seed(1)
        return self.method.terms(*self.signals(), batch or self.batch, copy.deepcopy(self.adapter))

    def gradients(self):
        self.student.zero_grad()
        sum(self.terms().values()).backward()
        return {name: each.grad.clone() for name, each in self.student.named_parameters() if each.grad is not None}
