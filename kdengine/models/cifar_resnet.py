"""The ResNets that were designed for 32x32 images: three stages, one channel width each (He et al., arXiv 1512.03385).

Depth is 6n + 2: a 3x3 stem, three stages of n blocks of two 3x3 convolutions, one linear layer. `resnet8x4` and
`resnet32x4` are the four times wider ones of the distillation literature (stem 32, stages 64-128-256; Tian et al.,
arXiv 1910.10699); `resnet8x4_imagenet` has the stem of the ImageNet ResNets instead, 7x7 of stride 2 and a max-pool: a
small network (1.2 million parameters) for photos of 128 pixels. Where a block changes the shape, the shortcut is a 1x1
convolution with batch normalisation, as that literature has it; in the networks whose names end in `a` it has no
parameters, as in the original.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from kdengine.models.architecture import Architecture, numbered

DEPTHS = (8, 14, 20, 32, 44, 56, 110)
ORIGINAL_DEPTHS = (20, 32, 44, 56, 110)
WIDTHS = (16, 16, 32, 64)
"""Channels of the stem and of the three stages."""
WIDE = (32, 64, 128, 256)

Shortcut = Callable[[int, int, int], nn.Module]
"""(channels in, channels out, stride) -> the shortcut of a block that changes the shape."""


def projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """A shortcut that learns: 1x1 convolution and batch normalisation (option B of the paper)."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class Padding(nn.Module):
    """A shortcut without parameters: every second pixel, new channels all zero (option A of the paper).

    The paper does not say where the zeros go. Half of them on either side, as in the code whose CIFAR-10 weights are
    the most used; with them on one side those weights would be worthless.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.before = (outputs - inputs) // 2
        self.after = outputs - inputs - self.before
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        changes = stride != 1 or inputs != outputs
        self.downsample = shortcut(inputs, outputs, stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.relu(self.bn1(self.conv1(x)))
        # In place: batch normalisation remembers its input, not what it put out.
        return self.relu(self.bn2(self.conv2(inner)).add_(self.downsample(x)))


class CifarResNet(nn.Module):
    """Stem, three stages at strides 1, 2 and 4, mean over the last map, one linear layer.

    imagenet_stem: it makes the map four times smaller, so the strides are 4, 8 and 16. head: the linear layer's name;
    published weights call it `fc` where shortcuts learn and `linear` where they do not, and load without renaming.
    """

    def __init__(
        self, classes: int, *, blocks: int, widths: tuple[int, ...], shortcut: Shortcut, head: str, imagenet_stem: bool
    ) -> None:
        super().__init__()
        size, stride = (7, 2) if imagenet_stem else (3, 1)
        self.conv1 = nn.Conv2d(3, widths[0], size, stride, padding=size // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if imagenet_stem else nn.Identity()
        self.layer1 = _stage(widths[0], widths[1], 1, blocks, shortcut)
        self.layer2 = _stage(widths[1], widths[2], 2, blocks, shortcut)
        self.layer3 = _stage(widths[2], widths[3], 2, blocks, shortcut)
        self.head = head
        self.add_module(head, nn.Linear(widths[3], classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.get_submodule(self.head)(x.mean(dim=(2, 3)))


def _stage(inputs: int, outputs: int, stride: int, blocks: int, shortcut: Shortcut) -> nn.Sequential:
    first = Block(inputs, outputs, stride, shortcut)
    return nn.Sequential(first, *(Block(outputs, outputs, 1, shortcut) for _ in range(blocks - 1)))


def _architecture(
    name: str, title: str, depth: int, widths: tuple[int, ...] = WIDTHS, *,
    shortcut: Shortcut = projection, head: str = "fc", imagenet_stem: bool = False,
) -> Architecture:
    blocks = (depth - 2) // 6
    first = 4 if imagenet_stem else 1
    return Architecture(
        name=name,
        title=title,
        family="CIFAR ResNet",
        input_size=128 if imagenet_stem else 32,
        build=partial(CifarResNet, blocks=blocks, widths=widths, shortcut=shortcut, head=head,
                      imagenet_stem=imagenet_stem),
        stages=numbered([(f"layer{number}", widths[number], first * 2 ** (number - 1)) for number in (1, 2, 3)]),
    )


ARCHITECTURES = (
    *(_architecture(f"resnet{depth}", f"ResNet-{depth}", depth) for depth in DEPTHS),
    *(_architecture(f"resnet{depth}x4", f"ResNet-{depth} x4", depth, WIDE) for depth in (8, 32)),
    _architecture("resnet8x4_imagenet", "ResNet-8 x4, ImageNet stem", 8, WIDE, imagenet_stem=True),
    *(
        _architecture(
            f"resnet{depth}a", f"ResNet-{depth}, parameter-free shortcuts", depth, shortcut=Padding, head="linear"
        )
        for depth in ORIGINAL_DEPTHS
    ),
)
