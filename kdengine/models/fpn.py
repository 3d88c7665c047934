"""Segmentation networks of this project: a residual encoder, and a feature pyramid that puts its three depths together.

Lin et al. 2017, arXiv 1612.03144, with the decoder cut to what small pictures need: 1x1 convolutions bring the maps at
strides 4, 8 and 16 to one width, deep maps are enlarged and added to shallow ones, a 3x3 convolution smooths the sum.
`fpn_compact` has the 2.8 million parameters of the usual laboratory student; `fpn_tiny` trains on a CPU in minutes.
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from kdengine.models import efficientnet_lite
from kdengine.models.architecture import Architecture, ImageNetWeights, depths

STRIDES = (4, 8, 16)


class Pyramid(nn.Module):
    """An encoder's maps, shallow to deep, to one map of `width` channels of the shallowest one's size."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(each, width, 1, bias=False) for each in channels)
        self.smooth = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, maps: list[Tensor]) -> Tensor:
        """[B, width, h, w] of the maps [B, channels, h, w], [B, channels, h / 2, w / 2], ..."""
        *shallow, deep = (lateral(each) for lateral, each in zip(self.laterals, maps, strict=True))
        for each in reversed(shallow):
            deep = each + F.interpolate(deep, size=each.shape[2:], mode="nearest")
        return self.smooth(deep)


class Residual(nn.Module):
    """An encoder of torchvision's basic residual blocks: a stem of stride 2, then a stage at each of STRIDES."""

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        width = channels[0] // 2
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.stages = nn.ModuleList()
        for each, count in zip(channels, blocks, strict=True):
            self.stages.append(nn.Sequential(
                _block(width, each, stride=2), *(_block(each, each, stride=1) for _ in range(count - 1))))
            width = each

    def forward(self, images: Tensor) -> list[Tensor]:
        """The maps at strides 4, 8 and 16."""
        features, maps = self.stem(images), []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps


class EfficientNetLite(nn.Module):
    """The packaged EfficientNet-Lite without its head; `ends` are the last blocks at strides 4, 8, 16 and 32."""

    def __init__(self, size: int, ends: tuple[int, ...]) -> None:
        super().__init__()
        whole = efficientnet_lite.network(1, size=size)
        self._conv_stem, self._bn0, self._swish = whole._conv_stem, whole._bn0, whole._swish
        self._blocks = whole._blocks
        # Blocks are dropped at random in training as the package does it, more often the deeper they lie.
        self.drop = whole._global_params.drop_connect_rate / len(whole._blocks)
        self.ends = ends

    def forward(self, images: Tensor) -> list[Tensor]:
        """The maps at strides 4, 8, 16 and 32."""
        features, maps = self._swish(self._bn0(self._conv_stem(images))), []
        for place, block in enumerate(self._blocks):
            features = block(features, drop_connect_rate=self.drop * place)
            if place in self.ends:
                maps.append(features)
        return maps


class FPN(nn.Module):
    """Encoder, pyramid, and a 1x1 convolution to the classes: logits [B, classes, H / 4, W / 4]."""

    def __init__(self, encoder: nn.Module, channels: tuple[int, ...], width: int, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.pyramid = Pyramid(channels, width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.head(self.pyramid(self.encoder(images)))


class EverySecond(nn.Conv2d):
    """A 1x1 convolution of stride 2, computed as one of stride 1 on every second row and column: the same numbers.

    oneDNN's own backward of stride 2 on 8 channels in channels_last ends the process at maps of 48 x 48 and more
    (torch 2.15, AMD EPYC).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """[B, outputs, ceil(h / 2), ceil(w / 2)] of [B, inputs, h, w]."""
        return super().forward(features[:, :, ::2, ::2])


def _block(inputs: int, outputs: int, *, stride: int) -> nn.Module:
    from torchvision.models.resnet import BasicBlock

    shortcut = None
    if stride > 1:
        shortcut = nn.Sequential(EverySecond(inputs, outputs), nn.BatchNorm2d(outputs))
    return BasicBlock(inputs, outputs, stride, shortcut)


def _residual(classes: int, *, channels: tuple[int, ...], blocks: tuple[int, ...], width: int) -> nn.Module:
    return FPN(Residual(channels, blocks), channels, width, classes)


def _lite(classes: int, *, size: int, ends: tuple[int, ...], channels: tuple[int, ...], width: int) -> nn.Module:
    return FPN(EfficientNetLite(size, ends), channels, width, classes)


def _packaged_encoder(size: int) -> dict[str, Tensor]:
    """The packaged weights of what `EfficientNetLite` keeps."""
    return {f"encoder.{name}": value for name, value in efficientnet_lite.packaged(size).items()
            if name.startswith(("_conv_stem.", "_bn0.", "_blocks."))}


_LITE2_ENDS, _LITE2_CHANNELS = (3, 6, 14, 20), (24, 48, 120, 352)

ARCHITECTURES = (
    *(
        Architecture(
            name=f"fpn_{name}",
            title=f"FPN, {name}",
            family="Segmentation",
            task="segmentation",
            input_size=64,
            build=partial(_residual, channels=channels, blocks=blocks, width=width),
            stages=depths([(f"encoder.stages.{place}", each, stride)
                           for place, (each, stride) in enumerate(zip(channels, STRIDES, strict=True))]),
        )
        for name, channels, blocks, width in (
            ("tiny", (16, 32, 64), (1, 1, 1), 24),
            ("compact", (64, 128, 256), (1, 2, 2), 96),
            ("large", (96, 192, 384), (2, 2, 3), 128),
        )
    ),
    Architecture(
        name="fpn_efficientnet_lite2",
        title="FPN on EfficientNet-Lite2",
        family="Segmentation",
        task="segmentation",
        input_size=260,
        build=partial(_lite, size=2, ends=_LITE2_ENDS, channels=_LITE2_CHANNELS, width=128),
        stages=depths([(f"encoder._blocks.{block}", each, stride)
                       for block, each, stride in zip(_LITE2_ENDS, _LITE2_CHANNELS, STRIDES, strict=False)]),
        mean=(0.498,) * 3,
        std=(0.502,) * 3,
        start=ImageNetWeights("packaged", 24.7, partial(_packaged_encoder, 2)),
    ),
)
