"""What the networks with ImageNet weights share: the 1000 class names, and torchvision's downloads."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from kdengine.errors import KDError


def class_names() -> tuple[str, ...]:
    """The 1000 ImageNet classes in the order of the logits; installed with torchvision, no network needed."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def require_classes(name: str, classes: Sequence[str]) -> None:
    """Raise KDError unless all the classes are among the 1000, which the network of that name knows."""
    imagenet_classes = class_names()
    for each in classes:
        if each not in imagenet_classes:
            raise KDError(f"{each!r} is none of the 1000 ImageNet classes that {name} knows, such as "
                          f"{', '.join(imagenet_classes[:3])}.")


def downloaded(model: str, megabytes: float, version: str = "IMAGENET1K_V1") -> dict[str, Tensor]:
    """torchvision's weights of one of its models, kept in torch's own cache once they are there.

    V1 throughout: the later recipes (ResNet-50 has one) change label smoothing and image sizes along with the
    weights. Raises KDError where the file can neither be found nor fetched, or is damaged.
    """
    from torchvision.models import get_model_weights

    weights = get_model_weights(model)[version]
    try:
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True, map_location="cpu")
    except OSError as error:
        raise KDError(
            f"The published weights of {model} ({megabytes:.0f} MB) are not on this machine and could not be fetched "
            f"({error}). Try again with a network, or take one whose weights are installed: efficientnet_lite0, or "
            "fpn_efficientnet_lite2 for segmentation."
        ) from error
    except Exception as error:  # reading what is no weights file can end in almost any of them
        raise KDError(
            f"The file with the published weights of {model} ({megabytes:.0f} MB) is damaged "
            f"({type(error).__name__}: {error}). "
            f"Delete {weights.url.rsplit('/', 1)[-1]} in torch's cache and try again."
        ) from error
