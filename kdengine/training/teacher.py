"""What a teacher says of each batch to the students side by side: from its cache, or asked live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import reduce
from operator import or_

import torch
from torch import Tensor

from kdengine.devices import autocast
from kdengine.models.folding import folded
from kdengine.models.network import Network
from kdengine.signals import Batch, Signals, Wanted, observing
from kdengine.training.learner import Learner
from kdengine.training.teacher_cache import Epoch, TeacherCache
from kdengine.views import Policy, Split, Views


class TeacherSignals:
    """What a teacher says to those of several learners who need one; a context, which ends the looking at it.

    It is asked once a batch for all whose share of it the cache does not hold.
    """

    def __init__(
        self, teacher: Network, learners: Sequence[Learner], split: Split, policy: Policy, precision: str,
        cache: TeacherCache | None,
    ) -> None:
        self.teacher, self.precision, self.cache = teacher.eval(), precision, cache
        self.cached: list[Learner] = []
        self.live: list[Learner] = []
        self.kept = Wanted()
        """What goes to disk: of those who read rounded signals, what fits there for all together."""
        epochs = learners[0].configuration.epochs

        def fits(wanted: Wanted) -> bool:
            return cache is not None and cache.fits(wanted, teacher, split, policy, epochs)

        for each in learners:
            if not each.method.needs_teacher:
                continue
            # Asked of each alone: company must not decide whether its numbers are rounded.
            if not fits(each.wanted_of_teacher):
                self.live.append(each)
                continue
            self.cached.append(each)
            if fits(self.kept | each.wanted_of_teacher):
                self.kept |= each.wanted_of_teacher
        self.wanted: Wanted | None = None
        """What is looked at in the live teacher."""

    def __enter__(self) -> TeacherSignals:
        self.stack = ExitStack()
        if self.live:
            self.folded = folded(self.teacher)
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def begin(self, views: Views, seed: int, epoch: int, keep_going: Callable[[], bool]) -> None:
        """Make an epoch's views ready, while any learner goes on."""
        self.epoch: Epoch | None = None
        active = [each.wanted_of_teacher for each in self.cached if each.active]
        if self.cache and active:
            self.epoch = self.cache.epoch(
                self.teacher, views, seed, epoch, reduce(or_, active), self.precision, keep_going, kept=self.kept)

    def batch(self, batch: Batch, start: int) -> dict[Learner, Signals]:
        """What the teacher says to each learner of a batch. The batch's first view is the epoch's `start`-th."""
        signals: dict[Learner, Signals] = {}
        if self.epoch:
            cached = self.epoch.batch(start, start + len(batch.index))
            signals |= {each: cached.only(each.wanted_of_teacher) for each in self.cached if each.active}
        if live := [each for each in self.live if each.active]:
            look = self._looking_at(reduce(or_, (each.wanted_of_teacher for each in live)))
            with torch.no_grad(), autocast(batch.images.device, self.precision):
                observed = look(batch.images, batch.target)
            signals |= {each: observed.only(each.wanted_of_teacher) for each in live}
        return signals

    def is_finite(self, images: Tensor) -> bool:
        """Whether the teacher answers these images with finite numbers."""
        with torch.no_grad(), autocast(images.device, self.precision):
            return bool(self.teacher(images).isfinite().all())

    def _looking_at(self, wanted: Wanted) -> Callable[..., Signals]:
        """A look at the live teacher that shows what is wanted: less, once some of its learners are out."""
        if wanted != self.wanted:
            self.stack.close()
            self.look = self.stack.enter_context(
                observing(self.folded, self.teacher.stages, wanted, weights_of=self.teacher))
            self.wanted = wanted
        return self.look
