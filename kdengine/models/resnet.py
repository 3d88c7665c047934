"""torchvision's ResNets, with a stem for small images and with their own (He et al., arXiv 1512.03385).

`resnet18`, `resnet34`, `resnet50`: a 3x3 stem of stride 1 and no max-pool, the usual change for 32x32 images. The same
names with `_imagenet`: torchvision's own 7x7 stem of stride 2 and max-pool, for photos; at 32x32 it throws away three
quarters of the pixels twice before the first block, and costs 5 to 7 points of accuracy.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from kdengine.models import imagenet
from kdengine.models.architecture import Architecture, ImageNetWeights, numbered
from kdengine.signals import Stage

DOWNLOAD_MB = {18: 46.83, 34: 87.32, 50: 102.53}
EXPANSION = {18: 1, 34: 1, 50: 4}
"""A stage has 64, 128, 256 or 512 channels times this: the bottleneck blocks of ResNet-50 end four times wider."""


def own_layout(classes: int, *, depth: int) -> nn.Module:
    """torchvision's network as it is."""
    from torchvision.models import get_model

    return get_model(f"resnet{depth}", num_classes=classes)


def small_images(classes: int, *, depth: int) -> nn.Module:
    """torchvision's network with a 3x3 stem of stride 1 and no max-pool."""
    net = own_layout(classes, depth=depth)
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    net.maxpool = nn.Identity()
    return net


def _stages(depth: int, first_stride: int) -> tuple[Stage, ...]:
    return numbered([
        (f"layer{place + 1}", 64 * 2**place * EXPANSION[depth], first_stride * 2**place) for place in range(4)
    ])


ARCHITECTURES = (
    *(
        Architecture(
            name=f"resnet{depth}",
            title=f"ResNet-{depth}",
            family="ResNet",
            input_size=32,
            build=partial(small_images, depth=depth),
            stages=_stages(depth, first_stride=1),
        )
        for depth in DOWNLOAD_MB
    ),
    *(
        Architecture(
            name=f"resnet{depth}_imagenet",
            title=f"ResNet-{depth}, ImageNet stem",
            family="ResNet",
            input_size=224,
            build=partial(own_layout, depth=depth),
            stages=_stages(depth, first_stride=4),
            pretrained=ImageNetWeights(
                "download", megabytes, partial(imagenet.downloaded, f"resnet{depth}", megabytes)
            ),
        )
        for depth, megabytes in DOWNLOAD_MB.items()
    ),
)
