"""torchvision's segmentation networks: FCN, DeepLabV3 and LR-ASPP.

Long et al. 2015, arXiv 1411.4038; Chen et al. 2017, arXiv 1706.05587; Howard et al. 2019, arXiv 1905.02244. They can
start from torchvision's weights (COCO images, the 21 classes of PASCAL VOC), which are downloaded when asked for; the
last layer fits only where there are 21 classes.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from kdengine.models import imagenet
from kdengine.models.architecture import Architecture, ImageNetWeights, depths

_WEIGHTS = "COCO_WITH_VOC_LABELS_V1"
_RESNET50 = (("layer1", 256, 4), ("layer2", 512, 8), ("layer4", 2048, 8))
_MOBILENET = (("3", 24, 4), ("6", 40, 8), ("16", 960, 16))


class Logits(nn.Module):
    """A torchvision network that returns its logits alone: they come as a dict of outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes, H, W]."""
        return self.model(images)["out"]


def _network(classes: int, *, name: str) -> nn.Module:
    from torchvision.models import get_model

    return Logits(get_model(name, weights=None, weights_backbone=None, num_classes=classes))


def _downloaded(name: str, megabytes: float) -> dict[str, Tensor]:
    """torchvision's weights, less those of the auxiliary head, which only its own training needs."""
    weights = imagenet.downloaded(name, megabytes, _WEIGHTS)
    return {f"model.{key}": value for key, value in weights.items() if not key.startswith("aux_classifier.")}


ARCHITECTURES = tuple(
    Architecture(
        name=name,
        title=title,
        family="Segmentation",
        task="segmentation",
        input_size=512,
        build=partial(_network, name=name),
        stages=depths([(f"model.backbone.{path}", channels, stride) for path, channels, stride in places]),
        start=ImageNetWeights("download", megabytes, partial(_downloaded, name, megabytes)),
    )
    for name, title, places, megabytes in (
        ("fcn_resnet50", "FCN, ResNet-50", _RESNET50, 141.57),
        ("deeplabv3_resnet50", "DeepLabV3, ResNet-50", _RESNET50, 168.31),
        ("deeplabv3_mobilenet_v3_large", "DeepLabV3, MobileNetV3-Large", _MOBILENET, 44.36),
        ("lraspp_mobilenet_v3_large", "LR-ASPP, MobileNetV3-Large", _MOBILENET, 13.10),
    )
)
