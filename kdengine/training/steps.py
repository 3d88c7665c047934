"""The steps of students side by side: one by one, or at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from kdengine.devices import autocast
from kdengine.errors import KDError
from kdengine.losses import total
from kdengine.signals import Batch, Signals
from kdengine.training.learner import Learner
from kdengine.training.schedule import learning_rate_at


class Clock:
    """How long one learner's steps take on a device. Nobody waits for a GPU before `seconds`, which needs it idle."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.measured = 0.0
        self.events: list[tuple[torch.Event, torch.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """A block that counts."""
        if self.device.type == "cpu":
            start = time.perf_counter()
            yield
            self.measured += time.perf_counter() - start
        else:
            before, after = (torch.Event(self.device, enable_timing=True) for _ in range(2))
            before.record()
            yield
            after.record()
            self.events.append((before, after))

    def seconds(self) -> float:
        """Of all that counted so far."""
        return self.measured + sum(start.elapsed_time(end) for start, end in self.events) / 1e3


@dataclass(frozen=True)
class Step:
    """One optimiser step of one learner, not yet taken; `history` gets its loss terms, detached, on the device.

    clock: counts how long it takes.
    """

    learner: Learner
    look: Callable
    taught: Signals
    batch: Batch
    length: float
    history: list[dict[str, Tensor]]
    clock: Clock

    def take(self) -> None:
        with self.clock.running():
            self._take()

    def _take(self) -> None:
        learner, batch = self.learner, self.batch
        rate = learning_rate_at(learner.configuration, batch.progress, self.length)
        for group in learner.optimizer.param_groups:
            group["lr"] = rate
        if learner.compiled:
            torch.compiler.cudagraph_mark_step_begin()  # nobody reads any more what the step before put out
        with autocast(batch.images.device, learner.precision):
            # The teacher names the class whose explanations are compared.
            student = self.look(batch.images, batch.target, lambda _: self.taught.logits.argmax(dim=1))
        terms = learner.method.terms(student, self.taught, batch, learner.adapter)
        total(terms.values()).backward()
        learner.optimizer.step()
        learner.optimizer.zero_grad(set_to_none=True)  # here: CUDA graphs may hold them until the next step begins
        self.history.append({name: term.detach() for name, term in terms.items()})


class OneByOne:
    """Takes the steps of several learners one after the other."""

    def take(self, steps: Sequence[Step], seed: int) -> None:
        """Take all of them, each as if it were alone and torch's generator had just been seeded."""
        for step in steps:
            torch.manual_seed(seed)
            step.take()

    def finish(self) -> None:
        """All have ended already."""

    def each(self, do: Callable[..., None], argument_lists: Sequence[tuple]) -> None:
        """Call `do` with each of these lists of arguments."""
        for arguments in argument_lists:
            do(*arguments)


class AtOnce:
    """Takes the steps of several learners at once, in the threads of a pool.

    A learner takes its own steps in their order, and one may be a batch ahead of another, so that no thread waits for
    the slowest. torch has one generator for all threads, so the first step of each learner shows whether it draws from
    it: those that do take turns, with nobody beside them.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool
        self.draws: dict[Learner, bool] = {}
        self.under_way: dict[Learner, Future] = {}
        """Each learner's latest step, where it may not have ended yet."""
        self.generator: Tensor | None = None
        """The state of torch's generator before all steps that are under way."""

    def take(self, steps: Sequence[Step], seed: int) -> None:
        """As `OneByOne`, but where they draw nothing they have ended only when the next ones are given, or finished."""
        turns: list[Step] = []
        free: list[Step] = []
        for step in steps:
            (turns if self.draws.get(step.learner, True) else free).append(step)
        if turns:
            self.finish()
        for step in turns:
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            self.pool.submit(step.take).result()
            drew = not torch.equal(torch.get_rng_state(), before)
            self.draws[step.learner] = drew or self.draws.get(step.learner, False)
        if self.generator is None:
            self.generator = torch.get_rng_state()
        earlier = self.under_way
        self.under_way = {step.learner: self.pool.submit(_take_after, earlier.get(step.learner), step) for step in free}
        for each in earlier.values():
            each.result()

    def finish(self) -> None:
        """Wait until all steps have ended."""
        for each in self.under_way.values():
            each.result()
        self.under_way = {}
        if self.generator is not None and not torch.equal(torch.get_rng_state(), self.generator):
            raise KDError("A network drew random numbers in a step, but not in its first one, so students cannot be "
                          "trained at once. Train it with --threads 1.")
        self.generator = None

    def each(self, do: Callable[..., None], argument_lists: Sequence[tuple]) -> None:
        """As `OneByOne`, but at once."""
        for done in [self.pool.submit(do, *arguments) for arguments in argument_lists]:
            done.result()


def _take_after(earlier: Future | None, step: Step) -> None:
    """Take a step once the learner's earlier one has ended. That one began before this: nobody waits for ever."""
    if earlier:
        earlier.result()
    step.take()
