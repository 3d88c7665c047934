"""An architecture: everything that is known of a network before one is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from kdengine.models.network import IMAGENET_MEAN, IMAGENET_STD
from kdengine.signals import Stage


@dataclass(frozen=True)
class ImageNetWeights:
    """Weights that somebody else trained on ImageNet, or on COCO after it, and published.

    kind: `packaged` (installed with this program, no network needed) or `download`. megabytes: 10^6 bytes.
    `load` returns the state dict of the bare network, or raises KDError.
    """

    kind: str
    megabytes: float
    load: Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class Architecture:
    """A network by name, as plain facts and one function.

    input_size: pixels, the side it was designed for; it takes others. build: the bare network for a number of
    classes, initialised from torch's global generator. stages: shallow to deep, their paths as `Network` has them.
    mean, std: the normalisation its published weights expect, and the default for new ones. pretrained: weights of the
    whole network for the 1000 ImageNet classes. start: weights of the part that a new network of any classes can start
    from, where that is another; their names are the bare network's. task: `classification` or `segmentation`.
    """

    name: str
    title: str
    family: str
    input_size: int
    build: Callable[[int], nn.Module]
    stages: tuple[Stage, ...]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    pretrained: ImageNetWeights | None = None
    start: ImageNetWeights | None = None
    task: str = "classification"


def depths(places: Sequence[tuple[str, int, int]]) -> tuple[Stage, ...]:
    """Stages named low, mid and high, as segmentation has them, from three (path inside the network, channels, stride).
    """
    return tuple(
        Stage(name, f"net.{path}", channels, stride)
        for name, (path, channels, stride) in zip(("low", "mid", "high"), places, strict=True)
    )


def numbered(places: Sequence[tuple[str, int, int]]) -> tuple[Stage, ...]:
    """Stages named stage1, stage2, ... from (path inside the bare network, channels, stride), shallow to deep."""
    return tuple(
        Stage(f"stage{number}", f"net.{path}", channels, stride)
        for number, (path, channels, stride) in enumerate(places, start=1)
    )
