"""Heat maps compared: with another network's, with where the object is; and laid over their picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.errors import KDError, out_of_range
from kdengine.explain.heat_maps import map_split, resized
from kdengine.measures import metrics
from kdengine.models.network import Network
from kdengine.views import Split

if TYPE_CHECKING:
    from PIL import Image

COLORS = "viridis"
"""matplotlib's name of the colour map: evenly spaced to the eye, safe for the colour-blind, and neither end is black
or white, so a map stays visible on a dark page and on a light one."""


def compare_maps(student: Tensor, teacher: Tensor) -> dict[str, float]:
    """How alike two heat maps [h, w] are: rank `correlation`, `cosine`, and `overlap` of their hottest fifths.

    See `likeness`; NaN is the correlation with a constant map. Raises KDError where one is not a single map.
    """
    for name, heat in (("student", student), ("teacher", teacher)):
        if heat.dim() != 2:
            raise KDError(f"The {name}'s heat map is {list(heat.shape)}; must be one map [h, w].")
    return {name: values.item() for name, values in likeness(student[None], teacher[None]).items()}


def likeness(first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """How alike heat maps [N, h, w] are, pair by pair: `correlation`, `cosine` and `overlap`, float64 [N] each.

    None of the three looks at absolute heat; see the functions `map_*` of `kdengine.measures.metrics`. Maps of
    different sizes are both brought to the smaller height and width, each cell the mean of what it covers: so every
    value that is compared was measured in both networks. Enlarged, the coarser map would be compared at places that it
    never saw.
    """
    size = meeting_size(first, second)
    first, second = (F.adaptive_avg_pool2d(each, size) for each in (first, second))
    return {
        "correlation": metrics.map_correlation(first, second),
        "cosine": metrics.map_cosine(first, second),
        "overlap": metrics.map_overlap(first, second),
    }


def meeting_size(first: Tensor, second: Tensor) -> tuple[int, int]:
    """Height and width at which heat maps [N, h, w] are compared: the smaller of the two."""
    return min(first.shape[1], second.shape[1]), min(first.shape[2], second.shape[2])


def on_object(heat: Tensor, boxes: Tensor, size: int) -> dict[str, Tensor]:
    """Whether heat maps [B, h, w] in [0, 1] lie on the objects they should: float32 [B] each, a value a map, in [0, 1].

    boxes: [B, 4], left, top, right and bottom (exclusive) in pixels of images of `size` a side; the maps are enlarged
    to that (bilinear). `inside` is the share of a map's heat inside its box (Wang et al. 2020, arXiv 1910.01279),
    `pointing` is 1 where its hottest pixel, the first of equals, is, else 0 (Zhang et al. 2016, arXiv 1608.00507),
    `area` the share of the image that the box takes: what a map that prefers nothing gets of both. Objects often lie
    in the middle, and so may the heat of any network: `inside_elsewhere` and `pointing_elsewhere` are the means of the
    first two over the boxes of the other images, what the same map gets without following its own object; NaN where
    there is no other. A map that is all 0 is on no object. Raises KDError where maps and boxes differ in number.
    """
    if len(heat) != len(boxes):
        raise KDError(f"{len(heat)} heat maps and {len(boxes)} boxes are given; must be one box a map.")
    heat = F.interpolate(heat.float()[:, None], size=(size, size), mode="bilinear", align_corners=False).flatten(1)
    pixel = torch.arange(size)
    left, top, right, bottom = (each[:, None] for each in boxes.unbind(1))
    across, down = (pixel >= left) & (pixel < right), (pixel >= top) & (pixel < bottom)
    box = (down[:, :, None] & across[:, None, :]).flatten(1).float()
    total = heat.sum(dim=1, keepdim=True)
    # Every map in every box, [B, B]: the diagonal is a map in its own.
    inside = (heat / torch.where(total > 0, total, 1)) @ box.T
    pointing = box[:, heat.argmax(dim=1)].T * (total > 0)
    measures: dict[str, Tensor] = {}
    for name, each in (("inside", inside), ("pointing", pointing)):
        own = each.diagonal()
        measures |= {name: own, f"{name}_elsewhere": (each.sum(dim=1) - own) / (len(each) - 1)}
    return measures | {"area": box.mean(dim=1)}


def on_objects(
    network: Network, split: Split, boxes: Tensor, size: int, *, method: str = "gradcam"
) -> dict[str, Tensor]:
    """`on_object` of the heat maps of a split's true classes, at the default stage. split: on the CPU, one class each.

    boxes: [N, 4], in pixels of images of `size` a side, of which the split's may be another size of the same.
    """
    return on_object(map_split(network, split, method=method), boxes, size)


def overlay(picture: Image.Image, heat: Tensor, opacity: float) -> Image.Image:
    """A picture with its heat map on top: RGB, of the picture's size; dark violet is cold, yellow is hot.

    heat: [h, w] in [0, 1], enlarged to the picture (bilinear). opacity: in [0, 1]; 0 is the picture alone, 1 the map
    alone. Raises KDError for a heat map or an opacity outside that.
    """
    import matplotlib
    from PIL import Image

    if heat.dim() != 2 or not ((heat >= 0) & (heat <= 1)).all():
        raise KDError(f"The heat map {list(heat.shape)} must be one map [h, w] of numbers from 0 to 1.")
    if not 0 <= opacity <= 1:
        raise out_of_range("opacity", opacity, 0, 1)
    enlarged = resized(heat.detach().float().cpu(), (picture.height, picture.width))
    colored = matplotlib.colormaps[COLORS](enlarged.numpy(), bytes=True)[..., :3]
    return Image.blend(picture.convert("RGB"), Image.fromarray(colored), opacity)
