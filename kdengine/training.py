"""Training: several students side by side on the same views and, where there is one, the same teacher."""

from __future__ import annotations

import copy
import inspect
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

import torch
from torch import Tensor, nn

from kdengine.devices import autocast, compiled, compiling, synchronise, workers
from kdengine.errors import KDError, NotFinite, OutOfMemory
from kdengine.methods import Method
from kdengine.models.folding import folded
from kdengine.models.network import Network
from kdengine.records import Configuration
from kdengine.signals import IGNORE, Batch, Facts, Signals, Wanted, observing
from kdengine.teacher_cache import TeacherCache
from kdengine.views import Policy, Split, Views, seed_from, steps_per_epoch, views

DECAYS = (0.625, 0.75, 0.875)
"""Shares of the epochs at which the `step` schedule divides the learning rate by 10: 150, 180, 210 of 240."""


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
        if method.needs_teacher:
            self.wanted, self.wanted_of_teacher = method.wants(network.stages, teacher.stages)
            self.adapter = self._build_adapter(teacher, split)
        self.parameters = [*network.parameters(), *(self.adapter.parameters() if self.adapter else ())]
        self.optimizer = _optimizer(self.parameters, configuration)
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
        if self.wanted.input_gradient:
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
        was_training = self.network.training
        self.network.eval()  # the example must not move the batch-norm statistics
        with (
            torch.no_grad(),
            observing(self.network, self.network.stages, self.wanted) as look,
            observing(teacher, teacher.stages, self.wanted_of_teacher) as look_at_teacher,
        ):
            student, taught = look(images, target), look_at_teacher(images, target)
        self.network.train(was_training)
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
        given = "one class an image" if data_task == "classification" else "a mask for each image"
        raise KDError(f"{student} is for {task}; these data have {given}. "
                      "`python -m kdengine models` says what each network is for.")


def train(
    learners: Sequence[Learner],
    teacher: Network | None,
    split: Split,
    policy: Policy,
    *,
    teacher_precision: str = "float32",
    teacher_cache: TeacherCache | None = None,
    first_epoch: int = 0,
    student_threads: int | None = None,
    on_epoch: Callable[[Learner, dict[str, Any]], None],
    on_step: Callable[[int], None] = lambda images: None,
    before_epoch: Callable[[int], None] = lambda epoch: None,
    keep_going: Callable[[Learner], bool] = lambda learner: True,
) -> None:
    """Train learners side by side, from `first_epoch` to the configured number of epochs.

    One teacher forward and one rendering of the views serve all learners. Each draws its own randomness from (seed,
    epoch, step), so a learner's numbers are those it would get alone, and those of a run that was never stopped:
    bit-equal on the CPU at one number of threads. All configurations agree in epochs, batch size and seed.

    student_threads: CPU threads of one learner's step; as many learners as torch's threads allow then take their steps
    at the same time. None: they take turns, each with all threads. Learners that draw random numbers in their steps
    (dropout) take turns in any case.

    teacher_cache: where what the teacher says of these views is kept; learners whose share of it fits there read it
    there. None asks the teacher at each step.

    on_epoch(learner, row) is called once an epoch for each learner still active: from several threads for learners that
    train at once. A row holds epoch (from 1), loss, terms, learning_rate, seconds, own_seconds (of this learner's steps
    alone, without views and teacher), images_per_second. on_step(images) is called once a batch with the images seen so
    far. before_epoch(epoch) is called with the number of complete epochs, and may wait. keep_going(learner) is asked
    before each step; a learner it refuses stops, its unfinished epoch is dropped.

    Raises OutOfMemory where a step does not fit the device; that ends all learners.
    """
    configuration = learners[0].configuration
    device = split.images.device
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
        looks = [
            stack.enter_context(observing(each.program, each.network.stages, each.wanted, weights_of=each.network))
            for each in learners
        ]
        weights = None
        if configuration.class_weights == "balanced":
            weights = balanced_weights(split, len(learners[0].network.classes))
        taught = None
        if any(each.method.needs_teacher for each in learners):
            taught = stack.enter_context(_Taught(teacher, learners, split, policy, teacher_precision, teacher_cache))
        together = _InTurns()
        if student_threads is not None:
            at_once = max(1, torch.get_num_threads() // student_threads)
            together = _AtOnce(stack.enter_context(workers(at_once, student_threads)))
        try:
            for epoch in range(first_epoch, configuration.epochs):
                before_epoch(epoch)
                if not _any_goes_on(learners, keep_going):
                    break
                _train_epoch(learners, looks, together, taught, split, policy, weights, epoch, on_epoch, on_step,
                             keep_going)
        except torch.OutOfMemoryError as error:
            smaller = [f"--batch-size {configuration.batch_size // 2}"] if configuration.batch_size > 3 else []
            fewer = ["fewer students side by side"] if len(learners) > 1 else []
            raise OutOfMemory(
                f"A step of {configuration.batch_size} images did not fit into the memory of {device}. "
                f"Try {', '.join([*smaller, 'smaller images (--image-size)', *fewer])}."
            ) from error


def balanced_weights(split: Split, classes: int) -> Tensor:
    """What a label of each class counts so that rare classes are heard: median share / share, float32 [classes].

    The share is of all labels (or pixels) that are there; a class that is not there gets 1. After Eigen and Fergus
    2015, arXiv 1411.4734, who take the share among the pixels of images in which a class appears.
    """
    counts = torch.stack([(split.target == label).sum() for label in range(classes)])
    there = counts > 0
    return torch.where(there, counts[there].median() / counts.clamp(min=1), 1.0).float()


def learning_rate_at(configuration: Configuration, progress: float, step: float) -> float:
    """The learning rate of a step that begins at `progress` epochs and is `step` epochs long.

    Linear warm-up over `warmup_epochs`, reaching the full rate at its end; then constant, cosine to 0, or divided by
    10 at each of DECAYS.
    """
    warmup, epochs = configuration.warmup_epochs, configuration.epochs
    scale = 1.0
    if progress < warmup:
        scale = min(1.0, (progress + step) / warmup)
    elif configuration.schedule == "cosine":
        scale = 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (epochs - warmup)))
    elif configuration.schedule == "step":
        scale = 0.1 ** sum(progress >= share * epochs for share in DECAYS)
    return configuration.learning_rate * scale


def _train_epoch(
    learners: Sequence[Learner],
    looks: Sequence[Callable],
    together: _InTurns | _AtOnce,
    taught: _Taught | None,
    split: Split,
    policy: Policy,
    class_weights: Tensor | None,
    epoch: int,
    on_epoch: Callable[[Learner, dict[str, Any]], None],
    on_step: Callable[[int], None],
    keep_going: Callable[[Learner], bool],
) -> None:
    configuration = learners[0].configuration
    device = split.images.device
    steps = steps_per_epoch(len(split), configuration.batch_size)
    histories: list[list[dict[str, Tensor]]] = [[] for _ in learners]
    clocks = [_Clock(device) for _ in learners]
    for learner in learners:
        learner.network.train()
    start = time.perf_counter()
    epoch_views = views(split, policy, configuration.seed, epoch, configuration.labelled_share)
    if taught:
        taught.begin(epoch_views, configuration.seed, epoch, lambda: _any_goes_on(learners, keep_going))
    seen = 0
    labelled = split.labelled
    few = configuration.labelled_images is not None
    known = labelled[epoch_views.order].cpu() if few else None
    for step, (index, images, target) in enumerate(epoch_views.batches(configuration.batch_size)):
        if not _any_goes_on(learners, keep_going):
            return
        batch = Batch(
            images=images,
            target=target,
            mask=_counting(epoch_views, seen, target, labelled[index], few),
            labelled=labelled[index],
            index=index,
            progress=epoch + step / steps,
            epochs=configuration.epochs,
            class_weights=class_weights,
        )
        says = taught.batch(batch, seen) if taught else {}
        heard = _labelled_part(batch, known[seen : seen + len(index)]) if few else batch
        # Own randomness for each student and step: neither company nor a pause changes a number.
        together.take([
            _Step(learner, look, says.get(learner), batch if learner.method.needs_teacher else heard, 1 / steps,
                  history, clock)
            for learner, look, history, clock in zip(learners, looks, histories, clocks, strict=True)
            if learner.active
        ], seed_from("step", configuration.seed, epoch, step))
        seen += len(index)
        on_step(seen)

    together.finish()
    synchronise(device)
    seconds = time.perf_counter() - start  # before anyone's epoch is validated and saved

    def end(learner: Learner, history: list[dict[str, Tensor]], clock: _Clock) -> None:
        values = torch.stack([torch.stack(list(terms.values())) for terms in history]).double().cpu()
        names = list(history[0])
        learner.failure = _failure(learner, epoch, values, names, taught, epoch_views)
        if learner.failure:
            return
        means = values.mean(dim=0).tolist()
        on_epoch(learner, {
            "epoch": epoch + 1,
            "loss": sum(means),
            "terms": dict(zip(names, means, strict=True)),
            "learning_rate": learner.optimizer.param_groups[0]["lr"],
            "seconds": seconds,
            "own_seconds": clock.seconds(),
            "images_per_second": len(split) / seconds,
        })

    together.each(end, [each for each in zip(learners, histories, clocks, strict=True) if each[0].active])


def _counting(shown: Views, start: int, target: Tensor, labelled: Tensor, few: bool) -> Tensor:
    """What of a batch counts: bool, shaped like its target. start: of its first view among those shown.

    A pixel without a class counts nowhere; an image whose label or mask is withheld still reaches the teacher. few:
    whether masks are withheld: without that an image of no class at all is one that nobody speaks of.
    """
    if target.dim() == 1:
        return torch.ones_like(target, dtype=torch.bool)
    counts = target != IGNORE
    return counts | ~labelled[:, None, None] & shown.inside(start, start + len(target)) if few else counts


def _labelled_part(batch: Batch, known: Tensor) -> Batch:
    """The images of a batch that have masks, for students without a teacher; all of it where there are fewer than two.

    Nothing would hold what such a student makes of the other images, and batch normalisation would follow it: with 16
    masks among 4,000 scenes it named 9% of the pixels rightly, where a plain loop over the 16 came to 78%. Of single
    labels no such harm was measured. known: bool [B] on the CPU, which has no device to wait for.
    """
    places = known.nonzero().flatten().to(batch.index.device)
    if not 1 < len(places) < len(known):
        return batch
    parts = ("images", "target", "mask", "labelled", "index")
    return replace(batch, **{name: getattr(batch, name)[places] for name in parts})


def _any_goes_on(learners: Sequence[Learner], keep_going: Callable[[Learner], bool]) -> bool:
    """Whether any learner still trains, once those that `keep_going` refuses have stopped."""
    for learner in learners:
        learner.stopped = learner.stopped or not keep_going(learner)
    return any(learner.active for learner in learners)


class _Taught:
    """What a teacher says to those of several learners who need one; a context, which ends the looking at it.

    It is asked once a batch for all whose share of it the cache does not hold.
    """

    def __init__(
        self, teacher: Network, learners: Sequence[Learner], split: Split, policy: Policy, precision: str,
        cache: TeacherCache | None,
    ) -> None:
        self.teacher, self.precision, self.cache = teacher.eval(), precision, cache
        self.cached, self.live = [], []
        self.kept = Wanted()
        """What goes to disk: of those who read rounded signals, what fits there for all together."""
        epochs = learners[0].configuration.epochs

        def fits(wanted: Wanted) -> bool:
            return cache is not None and cache.holds(wanted, teacher, split, policy, epochs)

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

    def __enter__(self) -> _Taught:
        self.stack = ExitStack()
        if self.live:
            self.folded = folded(self.teacher)
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def begin(self, views: Views, seed: int, epoch: int, keep_going: Callable[[], bool]) -> None:
        """Make an epoch's views ready, while any learner goes on."""
        self.epoch = None
        if active := [each.wanted_of_teacher for each in self.cached if each.active]:
            self.epoch = self.cache.epoch(
                self.teacher, views, seed, epoch, reduce(or_, active), self.precision, keep_going, kept=self.kept)

    def batch(self, batch: Batch, start: int) -> dict[Learner, Signals]:
        """To each learner, of a batch whose first view is the epoch's `start`-th."""
        says = {}
        if self.epoch:
            kept = self.epoch.batch(start, start + len(batch.index))
            says |= {each: kept.only(each.wanted_of_teacher) for each in self.cached if each.active}
        if live := [each for each in self.live if each.active]:
            look = self._looking_at(reduce(or_, (each.wanted_of_teacher for each in live)))
            with torch.no_grad(), autocast(batch.images.device, self.precision):
                seen = look(batch.images, batch.target)
            says |= {each: seen.only(each.wanted_of_teacher) for each in live}
        return says

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


class _Clock:
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
            start, end = (torch.Event(self.device, enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            self.events.append((start, end))

    def seconds(self) -> float:
        """Of all that counted so far."""
        return self.measured + sum(start.elapsed_time(end) for start, end in self.events) / 1e3


@dataclass(frozen=True)
class _Step:
    """One optimiser step of one learner, not yet taken; `history` gets its loss terms, detached, on the device.

    clock: counts how long it takes.
    """

    learner: Learner
    look: Callable
    taught: Signals | None
    batch: Batch
    length: float
    history: list[dict[str, Tensor]]
    clock: _Clock

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
            student = self.look(batch.images, batch.target)
        terms = learner.method.terms(student, self.taught, batch, learner.adapter)
        sum(terms.values()).backward()
        learner.optimizer.step()
        learner.optimizer.zero_grad(set_to_none=True)  # here: CUDA graphs may hold them until the next step begins
        self.history.append({name: term.detach() for name, term in terms.items()})


class _InTurns:
    """Takes the steps of several learners one after the other."""

    def take(self, steps: Sequence[_Step], seed: int) -> None:
        """Take all of them, each as if it were alone and torch's generator had just been seeded."""
        for step in steps:
            torch.manual_seed(seed)
            step.take()

    def finish(self) -> None:
        """All have ended already."""

    def each(self, do: Callable[..., None], given: Sequence[tuple]) -> None:
        """Do it with each of what is given."""
        for one in given:
            do(*one)


class _AtOnce:
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

    def take(self, steps: Sequence[_Step], seed: int) -> None:
        """As `_InTurns`, but where they draw nothing they have ended only when the next ones are given, or finished."""
        turns, free = [], []
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

    def each(self, do: Callable[..., None], given: Sequence[tuple]) -> None:
        """As `_InTurns`, but at once."""
        for done in [self.pool.submit(do, *one) for one in given]:
            done.result()


def _take_after(earlier: Future | None, step: _Step) -> None:
    """Take a step once the learner's earlier one has ended. That one began before this: nobody waits for ever."""
    if earlier:
        earlier.result()
    step.take()


def _failure(
    learner: Learner, epoch: int, values: Tensor, names: list[str], taught: _Taught | None, shown: Views
) -> NotFinite | None:
    """What stopped being finite in this epoch, if anything did. values: [steps, terms]; shown: the epoch's views."""
    configuration = learner.configuration
    advice = f"The last finite epoch is kept; try a learning rate below {configuration.learning_rate:g}."
    bad = (~values.isfinite()).nonzero()
    if len(bad):
        step, term = bad[0].tolist()
        where = f"Epoch {epoch + 1}, step {step + 1}: the term {names[term]!r} became {values[step, term].item()}."
        first = step * configuration.batch_size
        if learner.method.needs_teacher and not taught.is_finite(shown.render(first, first + configuration.batch_size)):
            teacher = configuration.teacher or taught.teacher.architecture
            return NotFinite(f"{where} The teacher {teacher} answers these images with numbers that are not finite; "
                             "no learning rate helps. Take another teacher.")
        return NotFinite(f"{where} {advice}")
    finite = torch.stack([parameter.detach().isfinite().all() for parameter in learner.parameters]).all()
    if not finite:
        return NotFinite(f"Epoch {epoch + 1}, step {len(values)}: weights stopped being finite numbers. {advice}")
    return None


def _plain(kind: type[torch.optim.Optimizer]) -> Any:
    """An optimizer that takes the same steps without the calls by which torch keeps its compiler off it.

    The first of them would import that compiler, a second at the start of every run; only networks are compiled here.
    """
    kept = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    steps = {name: inspect.unwrap(getattr(kind, name)) for name in kept}
    return type(kind.__name__, (kind,), steps | {"step": torch.no_grad()(inspect.unwrap(kind.step))})


_SGD, _ADAM, _ADAMW = map(_plain, (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW))


def _optimizer(parameters: list[nn.Parameter], configuration: Configuration) -> torch.optim.Optimizer:
    settings = {"lr": configuration.learning_rate, "weight_decay": configuration.weight_decay, "fused": True}
    if configuration.optimizer == "sgd":
        return _SGD(parameters, momentum=configuration.momentum, **settings)
    adam = _ADAM if configuration.optimizer == "adam" else _ADAMW
    return adam(parameters, betas=(configuration.momentum, 0.999), **settings)
