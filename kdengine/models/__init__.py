"""Every network, in display order. Adding one: a line in its family's file; a family: a file, and its line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from kdengine.errors import KDError, unknown_name
from kdengine.models import (
    cifar_resnet,
    custom,
    efficientnet_lite,
    fpn,
    imagenet,
    resnet,
    torchvision_segmentation,
    vgg,
    wide_resnet,
)
from kdengine.models.architecture import Architecture
from kdengine.models.network import Network, check, check_input

MODELS: dict[str, Architecture] = {
    each.name: each
    for family in (cifar_resnet, wide_resnet, resnet, vgg, efficientnet_lite, fpn, torchvision_segmentation)
    for each in family.ARCHITECTURES
}


def build(
    name: str, classes: Sequence[str], *, seed: int = 0, input_size: int | None = None,
    mean: Sequence[float] | None = None, std: Sequence[float] | None = None, start: bool = False,
) -> Network:
    """A new network, its weights drawn from `seed` alone; torch's global generators are left as they were.

    name: one of MODELS, or a model of the user's own as `package.module:function`, where that is trusted. input_size,
    mean, std: None takes the architecture's own. start: whether published weights take the place of those drawn
    wherever they fit; they expect the architecture's own mean and std. Raises KDError for an unknown name, a model that
    is not what it must be, and, with `start`, for one without published weights, and where they cannot be downloaded.
    """
    check_input(input_size, mean, std)
    with _seeded(seed):
        require(name, start=start)
        if name not in MODELS:
            return custom.network(name, classes, input_size=input_size, mean=mean, std=std)
        architecture = MODELS[name]
        built = Network(
            architecture.build(len(classes)),
            architecture=name,
            classes=classes,
            stages=architecture.stages,
            input_size=input_size or architecture.input_size,
            mean=mean or architecture.mean,
            std=std or architecture.std,
            task=architecture.task,
        )
    if start:
        _start(built)
    return built


def pretrained(name: str, classes: Sequence[str] | None = None, input_size: int | None = None) -> Network:
    """The network of that name with published weights of the 1000 ImageNet classes.

    classes: keep only the logits of these, in this order; None keeps all. input_size: pixels it is to be shown; None
    is the size its weights were trained at, where it is at its best. Raises KDError for a name that has no published
    weights, a class that is none of the 1000, and where the weights must be downloaded and cannot be.
    """
    published = {each: architecture.pretrained for each, architecture in MODELS.items() if architecture.pretrained}
    if name not in published:
        raise unknown_name("network with ImageNet weights", name, published)
    imagenet_classes = imagenet.class_names()
    classes = imagenet_classes if classes is None else tuple(classes)
    imagenet.require_classes(name, classes)
    weights = published[name].load()
    if classes != imagenet_classes:
        positions = torch.tensor([imagenet_classes.index(each) for each in classes])
        head = {each for each in weights if weights[each].ndim and len(weights[each]) == len(imagenet_classes)}
        weights = {each: value[positions] if each in head else value for each, value in weights.items()}
    network = build(name, classes, input_size=input_size)
    network.net.load_state_dict(weights)
    return network


def can_start(name: str) -> bool:
    """Whether `build` can start the network of that name from published weights."""
    return name in MODELS and bool(MODELS[name].start or MODELS[name].pretrained)


def require(name: str, *, start: bool = False) -> None:
    """Raise KDError unless `build` knows the name: one of MODELS, or a trusted function that can be imported.

    start: whether it must have published weights to start from.
    """
    if start and not can_start(name):
        raise unknown_name("network with published weights", name, filter(can_start, MODELS))
    if name in MODELS:
        return
    if ":" not in name:
        raise KDError(f"{unknown_name('network', name, MODELS)} One of your own is written package.module:function.")
    custom.function(name)


def describe() -> list[dict[str, Any]]:
    """Every network of MODELS as plain data, without building any.

    name, title, family, task, input_size, stages (name, channels, stride), pretrained (`packaged`, `download` or None)
    and download_mb (10^6 bytes; None where nothing needs to be downloaded).
    """
    described = []
    for each in MODELS.values():
        weights = each.start or each.pretrained
        described.append({
            "name": each.name,
            "title": each.title,
            "family": each.family,
            "task": each.task,
            "input_size": each.input_size,
            "stages": [{"name": at.name, "channels": at.channels, "stride": at.stride} for at in each.stages],
            "pretrained": weights.kind if weights else None,
            "download_mb": weights.megabytes if weights and weights.kind == "download" else None,
        })
    return described


def parameters(name: str, classes: int = 10) -> int:
    """How many numbers a network of MODELS trains, counted without memory or time for any of them."""
    return sum(each.numel() for each in _outline(name, classes).parameters())


def shapes(name: str, classes: int) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a network of MODELS, by its name in a state dict; as cheap as `parameters`."""
    return {key: tuple(value.shape) for key, value in _outline(name, classes).state_dict().items()}


def _outline(name: str, classes: int) -> nn.Module:
    """A bare network of MODELS without weights."""
    if name not in MODELS:
        raise unknown_name("network", name, MODELS)
    with torch.device("meta"), _Unfilled():
        return MODELS[name].build(classes)


class _Unfilled(TorchFunctionMode):
    """Draws no weights where there is no memory for any: for `normal_` alone torch would import its compiler, a second.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return args[0] if func is torch.Tensor.normal_ else func(*args, **(kwargs or {}))


def _start(network: Network) -> None:
    architecture = MODELS[network.architecture]
    own = network.net.state_dict()
    weights = architecture.start or architecture.pretrained
    assert weights is not None  # `can_start` has said so
    loaded = weights.load()
    # The head of other classes has another shape, and keeps what was drawn.
    fitting = {name: value for name, value in loaded.items() if name in own and value.shape == own[name].shape}
    network.net.load_state_dict(own | fitting)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would seed the GPUs too, and they are not restored here.
        torch.default_generator.manual_seed(seed)
        yield


__all__ = ["MODELS", "Architecture", "Network", "build", "can_start", "check", "describe", "parameters", "pretrained",
           "require", "shapes"]
