"""torchvision's VGG networks with batch normalisation (Simonyan & Zisserman, arXiv 1409.1556).

`vgg11_bn` to `vgg19_bn`: torchvision's convolutions and a classifier 512-512-512-C, for 32x32 images. `vgg8_bn`, the
slim student of the distillation literature (Tian et al., arXiv 1910.10699), has one convolution a stage.
`vgg11_bn_imagenet` to `vgg19_bn_imagenet`: torchvision's own 4096-wide classifier, for photos. A stage is the last ReLU
before each pooling.
Poolings round up, so a map has ceil(input / stride) pixels at any input size; where 32 divides the size, nothing
differs from torchvision.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from kdengine.models import imagenet
from kdengine.models.architecture import Architecture, ImageNetWeights, numbered
from kdengine.signals import Stage

CHANNELS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3),
                19: (2, 2, 4, 4, 4)}
"""How many 3x3 convolutions each of the five stages has, by depth; a pooling follows each stage."""
DOWNLOAD_MB = {11: 531.50, 13: 532.25, 16: 553.51, 19: 574.77}


class SmallVGG(nn.Module):
    """torchvision's convolutions, mean over the last map (1x1 for 32x32 images), classifier 512-512-512-C.

    Without the dropout of the original: batch normalisation does its work here.
    """

    def __init__(self, classes: int, *, depth: int) -> None:
        from torchvision.models.vgg import make_layers

        super().__init__()
        layers: list[int | str] = []
        for channels, count in zip(CHANNELS, CONVOLUTIONS[depth], strict=True):
            layers += [channels] * count + ["M"]
        self.features = _rounding_up(make_layers(layers, batch_norm=True))
        self.classifier = nn.Sequential(
            nn.Linear(512, 512), nn.ReLU(inplace=True), nn.Linear(512, 512), nn.ReLU(inplace=True),
            nn.Linear(512, classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None  # torchvision's layers have one
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean(dim=(2, 3)))


def own_layout(classes: int, *, depth: int) -> nn.Module:
    """torchvision's network, classifier and all."""
    from torchvision.models import get_model

    net = get_model(f"vgg{depth}_bn", num_classes=classes)
    _rounding_up(net.features)
    return net


def _rounding_up(features: nn.Sequential) -> nn.Sequential:
    for module in features:
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = True
    return features


def _stages(depth: int) -> tuple[Stage, ...]:
    """A convolution is three layers of `features` (with its batch normalisation and ReLU), a pooling is one."""
    places, end = [], 0
    for place, (channels, count) in enumerate(zip(CHANNELS, CONVOLUTIONS[depth], strict=True)):
        end += 3 * count
        places.append((f"features.{end - 1}", channels, 2**place))
        end += 1
    return numbered(places)


ARCHITECTURES = (
    *(
        Architecture(
            name=f"vgg{depth}_bn",
            title=f"VGG-{depth}",
            family="VGG",
            input_size=32,
            build=partial(SmallVGG, depth=depth),
            stages=_stages(depth),
        )
        for depth in CONVOLUTIONS
    ),
    *(
        Architecture(
            name=f"vgg{depth}_bn_imagenet",
            title=f"VGG-{depth}, ImageNet classifier",
            family="VGG",
            input_size=224,
            build=partial(own_layout, depth=depth),
            stages=_stages(depth),
            pretrained=ImageNetWeights(
                "download", megabytes, partial(imagenet.downloaded, f"vgg{depth}_bn", megabytes)
            ),
        )
        for depth, megabytes in DOWNLOAD_MB.items()
    ),
)
