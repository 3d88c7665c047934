"""A student in training: what it is made of, what it needs, what stopped it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from kdengine.configuration import Configuration
from kdengine.devices import autocast, compiled, compiling
from kdengine.errors import KDError, NotFinite
from kdengine.methods import Method
from kdengine.models.network import Network, evaluating
from kdengine.signals import Facts, Wanted, observing
from kdengine.training.optimizers import optimizer_of
from kdengine.views import Split, seed_from, steps_per_epoch


class Learner:
    """A student in training: its network, its method, what it trains besides, its optimiser.

    `program` is what its steps run: the network itself, or what torch compiled of it. The adapter is built here, from
    the signals of the split's first images. `failure` is set when a loss term or a weight stopped being a finite
    number; a failed or stopped learner takes no further part.
    """

    def __init__(
        self,
        network: Network,
        method: Method,
        teacher: Network | None,
        split: Split,
        configuration: Configuration,
        precision: str,
    ) -> None:
        if method.needs_teacher and teacher is None:
            raise KDError(f"Method {method.name!r} needs a teacher and none was given.")
        check_task(method, network.architecture, network.task,
                   "classification" if split.target.dim() == 1 else "segmentation")
        self.network = network
        self.program: nn.Module = network
        self.method = method
        self.configuration = configuration
        self.precision = precision
        self.wanted, self.wanted_of_teacher = Wanted(), Wanted()
        self.adapter: nn.Module | None = None
        if method.needs_teacher and teacher is not None:
            self.wanted, self.wanted_of_teacher = method.wants(network.stages, teacher.stages)
            self.adapter = self._build_adapter(teacher, split)
        self.parameters = [*network.parameters(), *(self.adapter.parameters() if self.adapter else ())]
        self.optimizer = optimizer_of(self.parameters, configuration)
        self.failure: NotFinite | None = None
        self.stopped = False

    @property
    def active(self) -> bool:
        """Whether it still trains."""
        return self.failure is None and not self.stopped

    @property
    def compiled(self) -> bool:
        """Whether its steps run what torch compiled."""
        return self.program is not self.network

    def compile(self, split: Split) -> None:
        """Take its steps through `torch.compile` from now on. Raises KDError where torch cannot: nothing changes then.

        Tried on a copy, with the batches that training will bring. Three times: CUDA graphs are recorded at the second
        step and first played at the third.
        """
        if self.wanted.differentiates:
            raise KDError(f"torch.compile cannot differentiate a gradient again, as method {self.method.name!r} does. "
                          "Train it with --compile never.")
        size, steps = self.configuration.batch_size, steps_per_epoch(len(split), self.configuration.batch_size)
        last = len(split) - (steps - 1) * size
        copied = copy.deepcopy(self.network).train()
        with (
            compiling(self.network.architecture),
            observing(compiled(copied), copied.stages, self.wanted, weights_of=copied) as look,
        ):
            for count in 3 * ([last] if steps == 1 else [size, last]):
                images = split.images[:count].float() / 255
                torch.compiler.cudagraph_mark_step_begin()
                with autocast(images.device, self.precision):
                    logits = look(images).logits
                logits.sum().backward()
                copied.zero_grad(set_to_none=True)
        self.program = compiled(self.network)

    def state(self) -> dict[str, Any]:
        """What a resumed run needs besides its configuration; tensors are the live ones."""
        return {
            "network": self.network.net.state_dict(),
            "adapter": self.adapter.state_dict() if self.adapter else None,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state that `state` returned."""
        self.network.net.load_state_dict(state["network"])
        if self.adapter:
            self.adapter.load_state_dict(state["adapter"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _build_adapter(self, teacher: Network, split: Split) -> nn.Module | None:
        device = split.images.device
        images, target = split.images[:2].float() / 255, split.target[:2]
        with (
            evaluating(self.network),  # the example must not move the batch-norm statistics
            torch.no_grad(),
            observing(self.network, self.network.stages, self.wanted) as look,
            observing(teacher, teacher.stages, self.wanted_of_teacher) as look_at_teacher,
        ):
            student, taught = look(images, target), look_at_teacher(images, target)
        facts = Facts(len(split), len(self.network.classes), split.target)
        # Drawn on the CPU: the same adapter on every device.
        generator = torch.Generator().manual_seed(seed_from("adapter", self.configuration.seed))
        adapter = self.method.adapter(student, taught, facts, generator)
        return adapter.to(device) if adapter else None


def check_task(method: Method, student: str, task: str, data_task: str) -> None:
    """Raise KDError unless a method does a student's task, and that is the task of the data."""
    if task not in method.tasks:
        raise KDError(f"Method {method.name!r} is for {' and '.join(method.tasks)}; this is {task}.")
    if task != data_task:
        targets = "one class an image" if data_task == "classification" else "a mask for each image"
        raise KDError(f"{student} is for {task}; these data have {targets}. "
                      "`python -m kdengine models` says what each network is for.")
