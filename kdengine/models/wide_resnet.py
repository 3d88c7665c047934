"""Wide ResNets for 32x32 images: few layers, many channels (Zagoruyko & Komodakis, arXiv 1605.07146).

`wrn_d_k` has 6n + 4 = d layers and stages of 16k, 32k and 64k channels. Blocks are pre-activated: batch normalisation
and ReLU come before each convolution, so a stage's output is a sum that no ReLU has seen yet.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from kdengine.models.architecture import Architecture, numbered

NETWORKS = ((16, 1), (16, 2), (40, 1), (40, 2))
"""(depth, widening factor): the pairs the distillation literature compares on."""


class PreactivatedBlock(nn.Module):
    """Two times batch normalisation, ReLU and a 3x3 convolution, beside a shortcut.

    Where the number of channels changes, the shortcut is a 1x1 convolution of the activated input; else it is the
    input itself.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu1(self.bn1(x))
        inner = self.conv2(self.relu2(self.bn2(self.conv1(activated))))
        return inner + (x if self.shortcut is None else self.shortcut(activated))


class WideResNet(nn.Module):
    """Stem, three stages at strides 1, 2 and 4, batch normalisation and ReLU, mean over the map, one linear layer."""

    def __init__(self, classes: int, *, blocks: int, factor: int) -> None:
        super().__init__()
        widths = (16, 16 * factor, 32 * factor, 64 * factor)
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.layer1 = _stage(widths[0], widths[1], 1, blocks)
        self.layer2 = _stage(widths[1], widths[2], 2, blocks)
        self.layer3 = _stage(widths[2], widths[3], 2, blocks)
        self.bn1 = nn.BatchNorm2d(widths[3])
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(widths[3], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(self.relu(self.bn1(x)).mean(dim=(2, 3)))


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    first = PreactivatedBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(PreactivatedBlock(outputs, outputs, 1) for _ in range(blocks - 1)))


ARCHITECTURES = tuple(
    Architecture(
        name=f"wrn_{depth}_{factor}",
        title=f"Wide ResNet {depth}-{factor}",
        family="Wide ResNet",
        input_size=32,
        build=partial(WideResNet, blocks=(depth - 4) // 6, factor=factor),
        stages=numbered([("layer1", 16 * factor, 1), ("layer2", 32 * factor, 2), ("layer3", 64 * factor, 4)]),
    )
    for depth, factor in NETWORKS
)
