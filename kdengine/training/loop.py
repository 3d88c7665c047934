"""The loop: epochs of views, a teacher asked once a batch, a step of each student, and what stopped being finite."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kdengine.configuration import Configuration
from kdengine.devices import synchronize, workers
from kdengine.errors import NotFinite, OutOfMemory
from kdengine.losses import IGNORE
from kdengine.models.network import Network
from kdengine.signals import Batch, Signals, observing
from kdengine.training.learner import Learner
from kdengine.training.schedule import balanced_weights
from kdengine.training.steps import AtOnce, Clock, OneByOne, Step
from kdengine.training.teacher import TeacherSignals
from kdengine.training.teacher_cache import TeacherCache
from kdengine.views import Policy, Split, Views, seed_from, steps_per_epoch, views

NOTHING = Signals(torch.empty(0))
"""What a learner without a teacher hears."""


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
        balanced = configuration.class_weights == "balanced"
        weights = balanced_weights(split, len(learners[0].network.classes)) if balanced else None
        taught = None
        if teacher is not None and any(each.method.needs_teacher for each in learners):
            taught = stack.enter_context(
                TeacherSignals(teacher, learners, split, policy, teacher_precision, teacher_cache))
        together = _together(stack, student_threads)
        try:
            for epoch in range(first_epoch, configuration.epochs):
                before_epoch(epoch)
                if not _any_goes_on(learners, keep_going):
                    break
                _train_epoch(learners, looks, together, taught, split, policy, weights, epoch, on_epoch, on_step,
                             keep_going)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(configuration.batch_size, len(learners), device) from error


def _together(stack: ExitStack, student_threads: int | None) -> OneByOne | AtOnce:
    """How the learners take their steps. stack: where the threads of those that take them at once end."""
    if student_threads is None:
        return OneByOne()
    at_once = max(1, torch.get_num_threads() // student_threads)
    return AtOnce(stack.enter_context(workers(at_once, student_threads)))


def _out_of_memory(batch_size: int, students: int, device: torch.device) -> OutOfMemory:
    smaller = [f"--batch-size {batch_size // 2}"] if batch_size > 3 else []
    fewer = ["fewer students side by side"] if students > 1 else []
    return OutOfMemory(f"A step of {batch_size} images did not fit into the memory of {device}. "
                       f"Try {', '.join([*smaller, 'smaller images (--image-size)', *fewer])}.")


def _train_epoch(
    learners: Sequence[Learner],
    looks: Sequence[Callable],
    together: OneByOne | AtOnce,
    taught: TeacherSignals | None,
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
    length = 1 / steps_per_epoch(len(split), configuration.batch_size)
    histories: list[list[dict[str, Tensor]]] = [[] for _ in learners]
    clocks = [Clock(device) for _ in learners]
    for learner in learners:
        learner.network.train()
    start = time.perf_counter()
    epoch_views = views(split, policy, configuration.seed, epoch, configuration.labelled_share)
    if taught:
        taught.begin(epoch_views, configuration.seed, epoch, lambda: _any_goes_on(learners, keep_going))
    labelled = split.labelled[epoch_views.order].cpu() if configuration.labelled_images is not None else None
    for step, (first, batch) in enumerate(_batches(split, epoch_views, configuration, epoch, class_weights)):
        if not _any_goes_on(learners, keep_going):
            return
        end = first + len(batch.index)
        teacher_signals = taught.batch(batch, first) if taught else {}
        labelled_part = batch if labelled is None else _labelled_part(batch, labelled[first:end])
        # Own randomness for each student and step: neither company nor a pause changes a number.
        together.take([
            Step(learner, look, teacher_signals.get(learner, NOTHING),
                 batch if learner.method.needs_teacher else labelled_part, length, history, clock)
            for learner, look, history, clock in zip(learners, looks, histories, clocks, strict=True)
            if learner.active
        ], seed_from("step", configuration.seed, epoch, step))
        on_step(end)

    together.finish()
    synchronize(device)
    seconds = time.perf_counter() - start  # before anyone's epoch is validated and saved

    def tell(learner: Learner, history: list[dict[str, Tensor]], clock: Clock) -> None:
        values = torch.stack([torch.stack(list(terms.values())) for terms in history]).double().cpu()
        names = list(history[0])
        learner.failure = _failure(learner, epoch, values, names, taught, epoch_views)
        if learner.failure:
            return
        means = values.mean(dim=0).tolist()
        rate = learner.optimizer.param_groups[0]["lr"]
        on_epoch(learner, {
            "epoch": epoch + 1, "loss": sum(means), "terms": dict(zip(names, means, strict=True)),
            "learning_rate": rate, "seconds": seconds, "own_seconds": clock.seconds(),
            "images_per_second": len(split) / seconds,
        })

    together.each(tell, [each for each in zip(learners, histories, clocks, strict=True) if each[0].active])


def _batches(
    split: Split, epoch_views: Views, configuration: Configuration, epoch: int, class_weights: Tensor | None
) -> Iterator[tuple[int, Batch]]:
    """An epoch's batches, each with the place of its first view among those shown."""
    steps, first = steps_per_epoch(len(split), configuration.batch_size), 0
    few = configuration.labelled_images is not None
    for step, (index, images, target) in enumerate(epoch_views.batches(configuration.batch_size)):
        yield first, Batch(
            images=images,
            target=target,
            mask=_counting(epoch_views, first, target, split.labelled[index], few),
            labelled=split.labelled[index],
            index=index,
            progress=epoch + step / steps,
            epochs=configuration.epochs,
            class_weights=class_weights,
        )
        first += len(index)


def _counting(epoch_views: Views, start: int, target: Tensor, labelled: Tensor, few: bool) -> Tensor:
    """What of a batch counts: bool, shaped like its target. start: the place of its first view among those shown.

    A pixel without a class counts nowhere; an image whose label or mask is withheld still reaches the teacher. few:
    whether masks are withheld; where none are, an image without any class counts nowhere.
    """
    if target.dim() == 1:
        return torch.ones_like(target, dtype=torch.bool)
    counts = target != IGNORE
    return counts | ~labelled[:, None, None] & epoch_views.inside(start, start + len(target)) if few else counts


def _labelled_part(batch: Batch, labelled: Tensor) -> Batch:
    """The images of a batch that have masks, for students without a teacher; all of it where there are fewer than two.

    Nothing would hold what such a student makes of the other images, and batch normalisation would follow it: with 16
    masks among 4,000 scenes it named 9% of the pixels rightly, where a plain loop over the 16 came to 78%. Of single
    labels no such harm was measured. labelled: bool [B] on the CPU, which has no device to wait for.
    """
    places = labelled.nonzero().flatten().to(batch.index.device)
    if not 1 < len(places) < len(labelled):
        return batch
    parts = ("images", "target", "mask", "labelled", "index")
    return replace(batch, **{name: getattr(batch, name)[places] for name in parts})


def _any_goes_on(learners: Sequence[Learner], keep_going: Callable[[Learner], bool]) -> bool:
    """Whether any learner still trains, once those that `keep_going` refuses have stopped."""
    for learner in learners:
        learner.stopped = learner.stopped or not keep_going(learner)
    return any(learner.active for learner in learners)


def _failure(
    learner: Learner, epoch: int, values: Tensor, names: list[str], taught: TeacherSignals | None, epoch_views: Views
) -> NotFinite | None:
    """What stopped being finite in this epoch, if anything did. values: [steps, terms]."""
    configuration = learner.configuration
    advice = f"The last finite epoch is kept; try a learning rate below {configuration.learning_rate:g}."
    bad = (~values.isfinite()).nonzero()
    if len(bad):
        step, term = bad[0].tolist()
        where = f"Epoch {epoch + 1}, step {step + 1}: the term {names[term]!r} became {values[step, term].item()}."
        first = step * configuration.batch_size
        views_of_step = epoch_views.render(first, first + configuration.batch_size)
        if taught and learner.method.needs_teacher and not taught.is_finite(views_of_step):
            teacher = configuration.teacher or taught.teacher.architecture
            return NotFinite(f"{where} The teacher {teacher} answers these images with numbers that are not finite; "
                             "no learning rate helps. Take another teacher.")
        return NotFinite(f"{where} {advice}")
    finite = torch.stack([parameter.detach().isfinite().all() for parameter in learner.parameters]).all()
    if not finite:
        return NotFinite(f"Epoch {epoch + 1}, step {len(values)}: weights stopped being finite numbers. {advice}")
    return None
