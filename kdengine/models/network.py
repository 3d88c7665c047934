"""A network together with what must be known to use it: classes, stages, input size and normalisation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdengine.errors import KDError, out_of_range
from kdengine.signals import Stage, Wanted, observing

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SIZES = (8, 1024)
"""Smallest and largest side of the images that a network may be for, in pixels."""


class Network(nn.Module):
    """A model that takes images in [0, 1] and normalises them itself.

    So one batch of images serves a student and a teacher with different normalisations. `stages` are ordered from
    shallow to deep; their paths are relative to this module (they begin with `net.`). `net` alone is what a
    checkpoint stores.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        net: nn.Module,
        *,
        architecture: str,
        classes: Sequence[str],
        stages: Sequence[Stage],
        input_size: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        task: str = "classification",
    ) -> None:
        super().__init__()
        self.net = net
        self.architecture = architecture
        self.classes = tuple(classes)
        self.stages = tuple(stages)
        self.input_size = input_size
        self.mean = tuple(float(value) for value in mean)
        self.std = tuple(float(value) for value in std)
        self.task = task
        self.register_buffer("_mean", torch.tensor(self.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(self.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] of images [B, 3, H, W] in [0, 1]; for segmentation [B, C, H, W].

        Where the bare network answers in coarser cells, they are enlarged to the images (bilinear).
        """
        logits = self.net((images - self._mean) / self._std)
        if self.task == "segmentation" and logits.shape[2:] != images.shape[2:]:
            logits = F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)
        return logits


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Networks in evaluation mode. Modes are put back module by module: a part may be frozen in eval by intent."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    try:
        for network in networks:
            network.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


def check_input(
    input_size: int | None, mean: Sequence[float] | None, std: Sequence[float] | None, whose: str = ""
) -> None:
    """Raise KDError for an input size outside SIZES, and for a mean or std that cannot normalise images. None is fine.

    mean and std: one finite number a channel, std above 0. whose: what the error says before the name.
    """
    if input_size is not None and (type(input_size) is not int or not SIZES[0] <= input_size <= SIZES[1]):
        raise out_of_range(f"{whose}input_size", input_size, *SIZES)
    for name, numbers in (("mean", mean), ("std", std)):
        if numbers is None:
            continue
        values = list(numbers) if isinstance(numbers, Sequence) else [numbers]
        if len(values) != 3 or not all(isinstance(each, int | float) and math.isfinite(each) for each in values):
            raise KDError(f"{whose}{name} is {values}; must be three finite numbers, one a color channel.")
        if name == "std" and min(values) <= 0:
            raise KDError(f"{whose}std is {values}; images are divided by it, so each number must be above 0.")


def check(network: Network) -> None:
    """Check that a network does what it declares. Raises KDError that says what is declared and what came out.

    On a batch of two images of its input size: logits are finite, no probabilities, and [2, classes], or for
    segmentation [2, classes, input_size, input_size]; every stage exists and gives
    [2, channels, input_size / stride, same], rounded up. The network's mode and its batch-norm statistics are left as
    they were.
    """
    for stage in network.stages:
        try:
            network.get_submodule(stage.path)
        except AttributeError as error:
            raise KDError(f"{network.architecture}: {stage.name} names a layer that is not there ({error}).") from error

    size = network.input_size
    example = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(network._mean.device)
    with evaluating(network), torch.no_grad():
        _check_logits(network, example)
        _check_stages(network, example)


def _check_logits(network: Network, example: Tensor) -> None:
    try:
        logits = network(example)
    except Exception as error:  # the network may be a stranger's code: anything can come out
        raise KDError(
            f"{network.architecture} cannot take images {list(example.shape)} ({type(error).__name__}: {error})."
        ) from error
    expected = [2, len(network.classes)]
    if network.task == "segmentation":
        expected += example.shape[2:]
    if not isinstance(logits, Tensor):
        raise KDError(f"{network.architecture} returns a {type(logits).__name__}; must be one tensor {expected}.")
    if list(logits.shape) != expected:
        raise KDError(f"{network.architecture} returns logits {list(logits.shape)}; must be {expected}.")
    if not logits.isfinite().all():
        raise KDError(f"{network.architecture} returns logits that are not finite numbers on ordinary images.")
    sums = logits.sum(dim=1)
    if logits.min() >= 0 and torch.allclose(sums, torch.ones_like(sums), rtol=0, atol=1e-3):
        raise KDError(f"{network.architecture} returns probabilities: they are never negative and add up to 1, as "
                      "after a softmax. Return the logits; take the softmax at the end away.")


def _check_stages(network: Network, example: Tensor) -> None:
    wanted = Wanted(features=tuple(stage.name for stage in network.stages))
    try:
        with observing(network, network.stages, wanted) as look:
            features = look(example).features
    except (KeyError, AttributeError) as error:
        raise KDError(
            f"{network.architecture}: a stage names a layer that puts out no tensor in a forward ({error})."
        ) from error
    for stage in network.stages:
        side = -(-network.input_size // stage.stride)
        given, expected = list(features[stage.name].shape), [2, stage.channels, side, side]
        if given != expected:
            raise KDError(f"{network.architecture}: {stage.name} gives {given}; declared is {expected}.")
