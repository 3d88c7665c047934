"""Where a network looks: class activation maps.

pytorch-grad-cam has some of the formulas; activations and gradients are taken here. By itself it is not thread-safe,
fails where gradients are off or every parameter is frozen, leaves gradients and the evaluation mode behind, answers too
few targets with zero maps, and enlarges the maps to the image. Here a network is left exactly as it was found, and a
map has the size of the stage it was taken from.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.errors import KDError, out_of_range, unknown_name
from kdengine.losses import grad_cam
from kdengine.models.network import Network, evaluating
from kdengine.signals import Stage, Wanted, observing
from kdengine.views import Split

SMALLEST_MAP = 4
"""Fewest cells along a side for a map to say where something is: a 2x2 map only names a quarter of the image."""
_AT_ONCE = 100
"""Images whose activations and graph are in memory together."""


@dataclass(frozen=True)
class HeatMap:
    """A way to make a heat map of a stage's activations and of the gradients of the target's logit there."""

    name: str
    title: str
    summary: str
    source: str
    uses_target: bool
    """False where the map is the same whichever class is asked for."""
    formula: str | Callable[[Tensor, Tensor], Tensor]
    """A class of pytorch-grad-cam by its name; or what makes maps [B, h, w], neither cut at 0 nor scaled yet, of
    activations and gradients [B, C, h, w]."""


def _grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Channels weighted by sum over positions of relu(G) / (2 + G sum(A)): equation 19 with G^2 cancelled.

    Known disagreement: pytorch-grad-cam adds 1e-6 to the uncancelled denominator. The square of a real network's
    gradient is about 1e-7, so there its weights tend to relu(G)^3 (maps of EfficientNet-lite0 differ by up to 0.2 at
    the last convolution, and often have little in common at a stage without a ReLU).
    """
    denominators = 2 + gradients * activations.sum(dim=(2, 3), keepdim=True)
    alphas = 1 / torch.where(denominators == 0, 1, denominators)
    weights = (alphas * gradients.clamp(min=0)).sum(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1)


def _strongest_pattern(activations: Tensor, _gradients: Tensor) -> Tensor:
    """The channels projected on their first principal component over an image's positions.

    The sign of a principal component is arbitrary; here the side with the larger excursion is positive. Known
    disagreement: pytorch-grad-cam keeps the sign that comes. It also decomposes in full: 9 s and 2.6 GB for one
    112x112 map on two CPU cores, against 13 ms for the part that is used.
    """
    # In double a constant channel minus its mean is exactly 0; in float the residue would be scaled up to a map.
    positions = activations.double().flatten(2).transpose(1, 2)
    left, sizes, _ = torch.linalg.svd(positions - positions.mean(dim=1, keepdim=True), full_matrices=False)
    pattern = (left[:, :, 0] * sizes[:, :1]).unflatten(1, activations.shape[2:])
    flipped = -pattern.amin(dim=(1, 2), keepdim=True) > pattern.amax(dim=(1, 2), keepdim=True)
    return torch.where(flipped, -pattern, pattern)


HEAT_MAPS: dict[str, HeatMap] = {
    each.name: each
    for each in (
        HeatMap(
            "gradcam",
            "Grad-CAM",
            "Adds the channels up, each weighted by its mean gradient: what speaks for the class, coarsely.",
            "Selvaraju et al. 2017, arXiv 1610.02391",
            uses_target=True,
            formula=grad_cam,
        ),
        HeatMap(
            "gradcam++",
            "Grad-CAM++",
            "Weights by positive gradients, corrected position by position: better with several objects of the class.",
            "Chattopadhay et al. 2018, arXiv 1710.11063",
            uses_target=True,
            formula=_grad_cam_plus_plus,
        ),
        HeatMap(
            "hirescam",
            "HiResCAM",
            "Multiplies gradient and activation cell by cell: shows only cells that this very score was computed from.",
            "Draelos and Carin 2020, arXiv 2011.08891",
            uses_target=True,
            formula="HiResCAM",
        ),
        HeatMap(
            "layercam",
            "LayerCAM",
            "Multiplies positive gradient and activation cell by cell: stays sharp at shallow stages.",
            "Jiang et al. 2021, IEEE Transactions on Image Processing 30, doi 10.1109/TIP.2021.3089943",
            uses_target=True,
            formula="LayerCAM",
        ),
        HeatMap(
            "xgradcam",
            "XGrad-CAM",
            "Weights a channel by its gradient averaged over where the channel is active.",
            "Fu et al. 2020, arXiv 2008.02312",
            uses_target=True,
            formula="XGradCAM",
        ),
        HeatMap(
            "eigencam",
            "Eigen-CAM",
            "The strongest pattern among the channels of this image. It ignores the class that is asked for.",
            "Muhammad and Yeasin 2020, arXiv 2008.00299",
            uses_target=False,
            formula=_strongest_pattern,
        ),
    )
}


def default_stage(network: Network, size: int | None = None) -> Stage:
    """The deepest stage whose map is at least 4x4 for images of `size` pixels a side (None: the network's own size).

    Where no stage has so large a map, the one with the largest. Raises KDError for a network without stages.
    """
    _require_stages(network)
    size = network.input_size if size is None else size
    large = [stage for stage in network.stages if -(-size // stage.stride) >= SMALLEST_MAP]
    return large[-1] if large else min(network.stages, key=lambda stage: stage.stride)


def heat_map(
    network: Network,
    images: Tensor,
    targets: Tensor | Sequence[int],
    *,
    method: str = "gradcam",
    stage: str | None = None,
    region: Tensor | None = None,
) -> Tensor:
    """Where the network looks for one class an image: float32 [B, h, w] in [0, 1] on the CPU, h x w the stage's map.

    images: float [B, 3, H, W] in [0, 1]. targets: B class numbers. method: a name of HEAT_MAPS. stage: a stage's name;
    None is `default_stage` for these images. The score explained is the target's logit, in evaluation mode; for
    segmentation, its sum over each image's region, bool [B, H, W], or over all pixels where that is None (Seg-Grad-CAM:
    Vinogradova et al. 2020, arXiv 2002.11434).

    Negative values are cut off, then each map is divided by its own maximum, so two maps can be compared in shape,
    never in size; a map without a positive value is all 0. An image's map does not depend on the rest of its batch.

    The network's modes, gradients, flags and hooks are as before, also after an error, and the gradient mode of the
    caller does not matter. Calls on one network wait for each other, so threads may share it.

    Raises KDError for an unknown method or stage, images, targets or a region of another shape, a class that the
    network does not have, a region without a pixel or of a network that classifies, and values that are not finite.

    Known disagreement: pytorch-grad-cam also subtracts a map's minimum, so its weakest cell always reads 0.
    """
    if method not in HEAT_MAPS:
        raise unknown_name("heat map", method, HEAT_MAPS)
    _check_images(images)
    classes = _checked_targets(targets, len(images), len(network.classes))
    place = default_stage(network, min(images.shape[2:])) if stage is None else _stage(network, stage)
    if region is not None:
        _check_region(region, images, network)

    with _lock(network), evaluating(network):
        activations, gradients = _activations_and_gradients(network, images, classes, place, region)
        maps = _maps(HEAT_MAPS[method].formula, network, place, activations, gradients).clamp(min=0)
    peaks = maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(peaks > 0, maps / peaks, 0).float()


def map_split(network: Network, split: Split, *, method: str = "gradcam") -> Tensor:
    """The heat maps of all images of a split, each of its target, at the default stage: [N, h, w], as `heat_map`."""
    device = next(network.parameters()).device
    batches = zip(split.images.split(_AT_ONCE), split.target.split(_AT_ONCE), strict=True)
    return torch.cat([heat_map(network, images.to(device).float() / 255, target, method=method)
                      for images, target in batches])


def activity_maps(network: Network, images: Tensor) -> dict[str, Tensor]:
    """Where each stage is active: the mean square over its channels, by stage, float32 [B, h, w] in [0, 1] on the CPU.

    images: float [B, 3, H, W] in [0, 1]. Each map is divided by its own maximum, as attention transfer compares them
    (Zagoruyko and Komodakis 2017, arXiv 1612.03928, with another norm). The network is left as it was.
    """
    _check_images(images)
    wanted = Wanted(features=tuple(stage.name for stage in network.stages))
    with _lock(network), evaluating(network), torch.no_grad(), observing(network, network.stages, wanted) as look:
        features = look(images).features
    maps = {name: each.square().mean(dim=1).cpu() for name, each in features.items()}
    return {name: each / each.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12) for name, each in maps.items()}


def _check_images(images: Tensor) -> None:
    if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise KDError(f"images are {list(images.shape)} of {images.dtype}; must be float [B, 3, H, W] in [0, 1].")


def _checked_targets(targets: Tensor | Sequence[int], count: int, classes: int) -> list[int]:
    targets = torch.as_tensor(targets, device="cpu")
    if targets.dim() != 1 or targets.is_floating_point() or targets.dtype == torch.bool:
        raise KDError(f"targets are {list(targets.shape)} of {targets.dtype}; must be class numbers [B], one an image.")
    if len(targets) != count:
        raise KDError(f"{len(targets)} targets for {count} images; must be one class number for each image.")
    # Numbers, not a tensor: one made under inference mode could not index inside a graph.
    numbers = targets.tolist()
    for target in numbers:
        if not 0 <= target < classes:
            raise out_of_range("target", target, 0, classes - 1)
    return numbers


def _check_region(region: Tensor, images: Tensor, network: Network) -> None:
    if network.task != "segmentation":
        raise KDError(f"A region is given, but {network.architecture} says one thing of a whole image; only a network "
                      "that segments has a score of a region. Leave it out.")
    expected = [len(images), *images.shape[2:]]
    if region.dtype != torch.bool or list(region.shape) != expected:
        raise KDError(f"region is {list(region.shape)} of {region.dtype}; must be bool {expected}, the pixels whose "
                      "score is explained.")
    for place, pixels in enumerate(region.flatten(1).any(dim=1).tolist()):
        if not pixels:
            raise KDError(f"The region of image {place} holds no pixel, so there is no score to explain. Choose "
                          "another region, or none for the whole image.")


def _require_stages(network: Network) -> None:
    if not network.stages:
        raise KDError(f"{network.architecture} has no feature maps [B, channels, h, w] to draw a heat map from: its "
                      "layers, those of a patch embedding apart, put out vectors or tokens. Where a deeper layer has "
                      "such maps, name it in the module's `stages`.")


def _stage(network: Network, name: str) -> Stage:
    _require_stages(network)
    stages = {stage.name: stage for stage in network.stages}
    if name not in stages:
        raise unknown_name("stage", name, stages)
    return stages[name]


# Hooks and modes belong to the modules, which threads share. The keys are weak: no lock keeps a network alive.
_LOCKS: WeakKeyDictionary[Network, threading.Lock] = WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()


def _lock(network: Network) -> threading.Lock:
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(network, threading.Lock())


def _activations_and_gradients(
    network: Network, images: Tensor, targets: Sequence[int], stage: Stage, region: Tensor | None
) -> tuple[Tensor, Tensor]:
    """A stage's output on the images and the gradient of the targets' scores there: both [B, C, h, w], on the CPU.

    The graph starts at the images, so frozen parameters do not matter, and the gradient is asked for at the stage
    alone, so none reaches a parameter.
    """
    weights = [*network.parameters(), *network.buffers()]
    if any(weight.is_inference() for weight in weights):
        raise KDError(
            f"{network.architecture} was built or loaded under torch.inference_mode, whose tensors have no gradients. "
            "Build it outside of that block; calling heat_map inside one is fine."
        )
    example = weights[0]
    with (
        torch.inference_mode(False),  # turns gradients on, under no_grad too
        torch.autocast(example.device.type, enabled=False),
        observing(network, network.stages, Wanted(features=(stage.name,))) as look,
    ):
        # A copy: a tensor made under inference mode cannot enter a graph, and the caller's images keep no gradient.
        signals = look(images.detach().to(example, copy=True).requires_grad_())
        features = signals.features[stage.name]
        scored = [logits[target] for logits, target in zip(signals.logits, targets, strict=True)]
        if region is not None:
            # A copy, as of the images.
            scored = [score[inside] for score, inside in zip(scored, region.to(example.device, copy=True), strict=True)]
        score = sum(each.sum() for each in scored)
        (gradients,) = torch.autograd.grad(score, features)
    return features.detach().cpu(), gradients.cpu()


def _maps(
    formula: str | Callable[[Tensor, Tensor], Tensor], network: Network, stage: Stage, activations: Tensor,
    gradients: Tensor,
) -> Tensor:
    """What a formula makes of a stage's activations and gradients: [B, h, w], neither cut nor scaled.

    Raises KDError where these are not finite numbers.
    """
    if not (activations.isfinite().all() and gradients.isfinite().all()):
        raise KDError(
            f"{stage.name} of {network.architecture} has values that are not finite numbers on these images, so there "
            "is nothing to map. Check the images, or choose a checkpoint whose training did not diverge."
        )
    if not isinstance(formula, str):
        return formula(activations, gradients)
    import pytorch_grad_cam

    layer = network.get_submodule(stage.path)
    with getattr(pytorch_grad_cam, formula)(model=network, target_layers=[layer]) as cam:
        return torch.from_numpy(cam.get_cam_image(None, layer, None, activations.numpy(), gradients.numpy(), False))


def resized(heat: Tensor, size: tuple[int, ...]) -> Tensor:
    if tuple(heat.shape) == size:
        return heat
    return F.interpolate(heat[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
