"""What a method may see of a network in one step, and the one place that hooks into networks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kdengine.errors import KDError
from kdengine.losses import cross_entropy, grad_cam

Explained = Callable[[Tensor], Tensor]
"""Says of a network's logits [B, C] which class of each image is explained, long [B]."""


@dataclass(frozen=True)
class Stage:
    """A place inside a network whose output is a feature map [B, channels, H / stride, W / stride]."""

    name: str
    path: str
    channels: int
    stride: int


@dataclass(frozen=True)
class Wanted:
    """What a method asks to see of one network, by stage name. Logits are always there."""

    features: tuple[str, ...] = ()
    preactivations: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    input_gradient: bool = False
    explanations: tuple[str, ...] = ()

    @property
    def differentiates(self) -> bool:
        """Whether a logit's gradient is needed for it."""
        return self.input_gradient or bool(self.explanations)

    def __or__(self, other: Wanted) -> Wanted:
        """Everything either asks for, in first-asked order: several students share one teacher forward."""
        return Wanted(
            features=tuple(dict.fromkeys(self.features + other.features)),
            preactivations=tuple(dict.fromkeys(self.preactivations + other.preactivations)),
            weights=tuple(dict.fromkeys(self.weights + other.weights)),
            input_gradient=self.input_gradient or other.input_gradient,
            explanations=tuple(dict.fromkeys(self.explanations + other.explanations)),
        )


@dataclass(frozen=True)
class Facts:
    """What an adapter may know of the training split: its size, its classes, its targets."""

    count: int
    classes: int
    targets: Tensor
    """long [count] (or [count, H, W]); IGNORE where unlabelled."""


@dataclass(frozen=True)
class Batch:
    """One batch of views.

    images: float32 [B, 3, H, W] in [0, 1], before any normalisation.
    target: long [B] for classification, [B, H, W] for segmentation; IGNORE where there is no label to read.
    mask: bool, shaped like target: the positions that count at all (an ignored pixel counts nowhere).
    labelled: bool [B]: the images whose label may be read.
    index: long [B], each image's place in the training split.
    progress: epochs completed, fractional (2.5 is the middle of the third epoch). epochs: how many there will be.
    class_weights: float32 [C], what a label of each class counts in cross-entropy; None where all count the same.
    """

    images: Tensor
    target: Tensor
    mask: Tensor
    labelled: Tensor
    index: Tensor
    progress: float
    epochs: int
    class_weights: Tensor | None = None

    @property
    def supervised(self) -> Tensor:
        """bool, shaped like target: the positions that count and have a label."""
        return self.mask & self.labelled.view(-1, *[1] * (self.mask.dim() - 1))

    def cross_entropy(self, logits: Tensor, *, smoothing: float = 0.0) -> Tensor:
        """`kdengine.losses.cross_entropy` with the labels that may be read, of logits [B, C] or [B, C, H, W]."""
        return cross_entropy(logits, self.target, self.supervised, self.class_weights, smoothing=smoothing)


@dataclass
class Signals:
    """What was asked for, of one network on one batch.

    logits: [B, C] or [B, C, H, W]. By stage name: features and preactivations (what the stage's last ReLU was given;
    the features themselves where a stage ends in none), [B, C_s, H_s, W_s]; weights of the stage's largest
    convolution, [out, in, k, k]; explanations, the stage's Grad-CAM of the class that the teacher names, [B, H_s, W_s].
    input_gradient: of the target's logit with respect to each image, [B, 3, H, W].
    Half-precision tensors are promoted to float32, so a loss term is never computed in half; float64 stays.
    """

    logits: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)
    preactivations: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    input_gradient: Tensor | None = None
    explanations: dict[str, Tensor] = field(default_factory=dict)

    def only(self, wanted: Wanted) -> Signals:
        """What one asker wanted, in its order: signals of a shared forward hold what all askers wanted."""
        return Signals(
            self.logits,
            {name: self.features[name] for name in wanted.features},
            {name: self.preactivations[name] for name in wanted.preactivations},
            {name: self.weights[name] for name in wanted.weights},
            self.input_gradient if wanted.input_gradient else None,
            {name: self.explanations[name] for name in wanted.explanations},
        )


def pair_stages(student: Sequence[Stage], teacher: Sequence[Stage]) -> list[tuple[Stage, Stage]]:
    """Student stages beside teacher stages, shallow to deep.

    Networks with different numbers of stages are aligned at their deep ends: the shallowest stages of the longer
    one have no counterpart and are left out. Raises KDError where one of them has no stage.
    """
    for network, stages in (("student", student), ("teacher", teacher)):
        if not stages:
            raise KDError(f"The {network} has no feature maps [B, channels, h, w] that this method could match: its "
                          "layers put out vectors or tokens. Take a method that matches logits, such as kd, or another "
                          f"{network}. Where a layer of your own network has such maps, name it in `stages`.")
    count = min(len(student), len(teacher))
    return list(zip(student[len(student) - count :], teacher[len(teacher) - count :], strict=True))


def promoted(tensor: Tensor) -> Tensor:
    """float32 in place of float16 and bfloat16; every other type as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


@contextmanager
def observing(
    network: nn.Module, stages: Sequence[Stage], wanted: Wanted, weights_of: nn.Module | None = None
) -> Iterator[Callable[..., Signals]]:
    """A forward that also returns what was wanted: `with observing(...) as look: signals = look(images, target)`.

    weights_of: the network whose weights are shown, where the one that runs was folded or compiled from it. target,
    long [B], is read for the input gradient alone; an image whose target is IGNORE gets that of class 0. A third
    argument, see Explained, is read for explanations alone; without it they are of the class with the largest logit.
    Hooks sit on whole stages (a hooked convolution before an in-place ReLU would show post-ReLU values) and are removed
    when the block ends, however it ends. Each call, of which there may be one at a time, returns that call's tensors
    alone, whatever another thread runs through the same network meanwhile; threads are not to share a compiled one.
    """
    paths = {stage.name: stage.path for stage in stages}
    outputs: dict[str, Tensor] = {}
    before: dict[str, Tensor] = {}
    looking: set[int] = set()  # the thread whose forward is looked at, while it is

    def look(images: Tensor, target: Tensor | None = None, explained: Explained = _largest) -> Signals:
        outputs.clear()
        before.clear()
        looking.add(threading.get_ident())
        again = torch.is_grad_enabled()
        try:
            with torch.set_grad_enabled(again or wanted.differentiates):
                images = images.detach().requires_grad_() if wanted.input_gradient else images
                logits = network(images)
                gradient = _input_gradient(logits, target, images, again) if wanted.input_gradient else None
                explanations = _explanations(logits, explained, outputs, wanted.explanations, again)
        finally:
            looking.clear()
        # A gradient needs a graph even where the caller wants none: what leaves here must not carry it.
        give = promoted if torch.is_grad_enabled() else lambda tensor: promoted(tensor.detach())
        return Signals(
            give(logits),
            {name: give(outputs[name]) for name in wanted.features},
            {name: give(before.get(name, outputs[name])) for name in wanted.preactivations},
            {name: give(weight) for name, weight in weights.items()},
            None if gradient is None else give(gradient),
            {name: give(each) for name, each in explanations.items()},
        )

    weights = largest_convolutions(weights_of or network, stages, wanted.weights)
    handles = []
    try:
        for name in wanted.preactivations:
            handles += _watch_last_relu(network.get_submodule(paths[name]), name, before, looking)
        for name in wanted.explanations:
            handles.append(network.get_submodule(paths[name]).register_forward_hook(_begin_a_graph(looking)))
        for name in dict.fromkeys(wanted.features + wanted.preactivations + wanted.explanations):
            handles.append(network.get_submodule(paths[name]).register_forward_hook(_keep(name, outputs, looking)))
        yield look
    finally:
        for handle in handles:
            handle.remove()
        outputs.clear()
        before.clear()


def largest_convolutions(network: nn.Module, stages: Sequence[Stage], names: Sequence[str]) -> dict[str, Tensor]:
    """The weights of the largest convolution of each stage named: what `Signals.weights` shows."""
    paths = {stage.name: stage.path for stage in stages}
    return {name: _largest_convolution(network, paths[name]).weight for name in names}


def _looked_at(looking: set[int]) -> bool:
    """Whether this thread's forward is looked at. What a compiler traces it traces for good."""
    return torch.compiler.is_compiling() or threading.get_ident() in looking


def _keep(name: str, outputs: dict[str, Tensor], looking: set[int]) -> Callable[[nn.Module, tuple, Tensor], None]:
    """A hook that keeps a stage's output in `outputs[name]`."""

    def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        if _looked_at(looking):
            outputs[name] = output

    return hook


def _begin_a_graph(looking: set[int]) -> Callable[[nn.Module, tuple, Tensor], Tensor]:
    """A hook on an explained stage: nothing before it needs a graph, so a teacher's begins at its output."""

    def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        begins = _looked_at(looking) and not output.requires_grad
        return output.detach().requires_grad_() if begins else output

    return hook


def _watch_last_relu(
    stage: nn.Module, name: str, before: dict[str, Tensor], looking: set[int]
) -> list[RemovableHandle]:
    """Keep in `before[name]` what the ReLU that ends the stage was given; nothing where the stage ends in none.

    A copy: an in-place ReLU overwrites its input. A ReLU ends the stage when its output is the stage's output.
    """
    last: dict[str, Tensor] = {}

    def enter(_module: nn.Module, inputs: tuple) -> None:
        if _looked_at(looking):
            last["input"] = inputs[0].clone()

    def leave(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        if _looked_at(looking):
            last["output"] = output

    def end(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        if _looked_at(looking):
            if last.get("output") is output:
                before[name] = last["input"]
            last.clear()

    handles = []
    for module in stage.modules():
        if isinstance(module, nn.ReLU | nn.ReLU6):
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    return [*handles, stage.register_forward_hook(end)]


def _largest_convolution(network: nn.Module, path: str) -> nn.Conv2d:
    """The convolution with the most weights in a stage, the later of equals; in a stage of none, the last before it.

    A stage that is a single ReLU has its convolution before it. Raises KDError where there is none at all.
    """
    before: list[nn.Conv2d] = []
    inside: list[nn.Conv2d] = []
    reached = False
    for name, module in network.named_modules():
        if reached and not name.startswith(f"{path}."):
            break
        reached = reached or name == path
        if isinstance(module, nn.Conv2d):
            (inside if reached else before).append(module)
    if not inside + before:
        raise KDError(f"There is no convolution in {path} of the network, nor before it, so there are no weights to "
                      "match. Take another method.")
    return max(reversed(inside), key=lambda each: each.weight.numel()) if inside else before[-1]


def _largest(logits: Tensor) -> Tensor:
    """The class of each image that a network names, long [B]: the first of equals."""
    return logits.argmax(dim=1)


def _input_gradient(logits: Tensor, target: Tensor | None, images: Tensor, again: bool) -> Tensor:
    """The gradient of the targets' logits at the images."""
    assert target is not None  # whoever wants the gradient gives it
    gradient, = _gradients(logits, target.clamp(min=0), (images,), again)
    return gradient


def _explanations(
    logits: Tensor, explained: Explained, outputs: dict[str, Tensor], names: Sequence[str], again: bool
) -> dict[str, Tensor]:
    """Grad-CAM of the explained classes at each stage named, from its output."""
    if not names:
        return {}
    features = [outputs[name] for name in names]
    gradients = _gradients(logits, explained(promoted(logits)), features, again)
    return {name: grad_cam(promoted(each), promoted(gradient))
            for name, each, gradient in zip(names, features, gradients, strict=True)}


def _gradients(logits: Tensor, classes: Tensor, places: Sequence[Tensor], again: bool) -> tuple[Tensor, ...]:
    """The gradients of these classes' logits, one an image, at each place.

    again: whether they can be differentiated in turn, as a student's must. The graph stays: more may be asked of it.
    """
    chosen = logits.gather(1, classes[:, None]).float().sum()
    return torch.autograd.grad(chosen, places, create_graph=again, retain_graph=True)
