"""Scenes of coloured shapes, drawn by this program: nothing is downloaded, and where the object lies is known.

A scene is a textured background with one large object, whose kind is the scene's class, and up to three small ones; its
mask says which kind is seen at each pixel. The
ten kinds come in families that are easy to confuse: circle, ellipse, ring and crescent; square, rectangle, cross and
diamond; triangle and star. Colour says nothing of the kind, unless it is tied to it in training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.data import cache
from kdengine.data.content import Content, content
from kdengine.data.source import Outline, Source
from kdengine.errors import KDError, out_of_range
from kdengine.views import Split, seed_from

SIZES = (48, 96)
"""Smallest and largest side of a scene, in pixels."""
COUNTS = {"train": 4000, "validation": 500, "test": 1000}
MOST_OBJECTS = 4
BACKGROUND = "background"

_VERSION = 1
"""Counted up when a scene of the same seed would look different."""
_SHARP = 2
"""Points a pixel in each direction that decide how much of it an object covers."""
_AT_ONCE = 250
_LARGE, _SMALL = (0.26, 0.40), (0.09, 0.15)
"""Radius of the object that names the scene, and of the others, as shares of the side."""
_VISIBLE = 0.7
"""At least so much of the large object is seen; where others would hide more, it stands before them."""


def _within_star(u: Tensor, v: Tensor) -> Tensor:
    """A five-pointed star of outer radius 1 and inner radius 0.45: each tenth of it lies on one side of a line."""
    tenth = torch.pi / 5
    angle = (torch.atan2(u, v).abs() + tenth) % (2 * tenth) - tenth
    radius = torch.hypot(u, v)
    x, y = radius * angle.cos(), radius * angle.sin().abs()
    inner_x, inner_y = 0.45 * torch.cos(torch.tensor(tenth)), 0.45 * torch.sin(torch.tensor(tenth))
    return (inner_x - 1) * y - inner_y * (x - 1) > 0


KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": lambda u, v: u**2 + v**2 < 0.85**2,
    "ellipse": lambda u, v: u**2 + (v / 0.6) ** 2 < 1,
    "ring": lambda u, v: (u**2 + v**2 < 0.9) & (u**2 + v**2 > 0.3),
    "crescent": lambda u, v: (u**2 + v**2 < 0.9) & ((u - 0.45) ** 2 + v**2 > 0.5),
    "square": lambda u, v: torch.maximum(u.abs(), v.abs()) < 0.75,
    "rectangle": lambda u, v: (u.abs() < 0.95) & (v.abs() < 0.5),
    "cross": lambda u, v: (torch.minimum(u.abs(), v.abs()) < 0.3) & (torch.maximum(u.abs(), v.abs()) < 0.9),
    "diamond": lambda u, v: u.abs() / 0.65 + v.abs() < 1,
    "triangle": lambda u, v: (v > -0.5) & (3**0.5 * u.abs() + v < 1),
    "star": _within_star,
}
"""Whether a point lies inside, in the object's own frame: bool of (u, v), all within the unit circle's square."""


@dataclass(frozen=True)
class Scenes:
    """Drawn scenes.

    images: uint8 [N, 3, H, H]. target: long [N], the kind of the large object. boxes: long [N, 4], left, top, right
    and bottom (exclusive) of what is seen of it. masks: int16 [N, H, H], 0 for background, 1 + the kind of the object
    that is seen there.
    """

    images: Tensor
    target: Tensor
    boxes: Tensor
    masks: Tensor


@dataclass(frozen=True)
class Shapes(Source):
    """4,000 training, 500 validation and 1,000 test scenes, the same on every machine.

    tied: in training each kind has a colour of its own; in validation and test colour is free, as it is without it.
    """

    tied: bool = False

    def found(self, root: Path) -> str:
        """See Source.found."""
        del root
        return "drawn by this program"

    def read(self, root: Path, path: str, image_size: int | None) -> Content:
        """See Source.read. Raises KDError for a size outside SIZES."""
        del path
        size = _size(image_size)
        key = cache.key((self.name, _VERSION, size, torch.__version__), ())
        return cache.cached(root, key, lambda: self._content(size))

    def outline(self, root: Path, path: str, image_size: int | None) -> Outline:
        """See Source.outline. Raises KDError for a size outside SIZES."""
        del root, path
        return self._outline(_size(image_size))

    def download(self, root: Path) -> None:
        """See Source.download."""
        raise KDError("Shapes are drawn by this program; there is nothing to download.")

    def _drawn(self, size: int) -> dict[str, Scenes]:
        return {split: scenes(count, size, split, tied=self.tied and split == "train")
                for split, count in COUNTS.items()}

    def _outline(self, size: int) -> Outline:
        return Outline(self.task, tuple(KINDS), size, smallest=COUNTS["train"] // len(KINDS))

    def _content(self, size: int) -> Content:
        drawn = self._drawn(size)
        splits = {split: Split(each.images, each.target) for split, each in drawn.items()}
        return content(tuple(KINDS), splits["train"], splits["test"], splits["validation"], drawn["test"].boxes)


@dataclass(frozen=True)
class ShapesSegmentation(Shapes):
    """The same scenes, with a mask each."""

    def _outline(self, size: int) -> Outline:
        return Outline(self.task, (BACKGROUND, *KINDS), size, smallest=COUNTS["train"])

    def _content(self, size: int) -> Content:
        splits = {split: Split(each.images, each.masks) for split, each in self._drawn(size).items()}
        return content((BACKGROUND, *KINDS), splits["train"], splits["test"], splits["validation"])


def _size(image_size: int | None) -> int:
    """Height and width of the scenes. Raises KDError outside SIZES."""
    size = image_size or 64
    if not SIZES[0] <= size <= SIZES[1]:
        raise out_of_range("image_size of shapes", size, *SIZES)
    return size


def scenes(count: int, size: int, seed: object, *, tied: bool = False) -> Scenes:
    """`count` scenes of size x size pixels, kinds in turn; the same arguments give the same scenes.

    tied: the hue of every object is its kind's own, tenths of the colour circle; otherwise any.
    """
    parts = [
        _scenes(torch.arange(start, min(start + _AT_ONCE, count)) % len(KINDS), size,
                torch.Generator().manual_seed(seed_from("shapes", seed, start)), tied)
        for start in range(0, count, _AT_ONCE)
    ]
    names = (each.name for each in fields(Scenes))
    return Scenes(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def _scenes(target: Tensor, size: int, generator: torch.Generator, tied: bool) -> Scenes:
    count = len(target)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    kinds = torch.randint(len(KINDS), (count, MOST_OBJECTS), generator=generator)
    kinds[:, 0] = target
    present = torch.arange(MOST_OBJECTS) < torch.randint(1, MOST_OBJECTS + 1, (count, 1), generator=generator)
    radius = torch.cat([uniform(*_LARGE, 1), uniform(*_SMALL, MOST_OBJECTS - 1)], dim=1)
    center = radius[..., None] + (1 - 2 * radius[..., None]) * uniform(0, 1, MOST_OBJECTS, 2)
    turn = uniform(0, 2 * torch.pi, MOST_OBJECTS)
    hue = uniform(0, 1, MOST_OBJECTS)
    hue = kinds / len(KINDS) + uniform(-0.03, 0.03, MOST_OBJECTS) if tied else hue
    colors = _rgb(hue, uniform(0.5, 1, MOST_OBJECTS), uniform(0.55, 1, MOST_OBJECTS))

    cover = torch.zeros(count, MOST_OBJECTS, size, size)
    for number, inside in enumerate(KINDS.values()):
        scene, place = ((kinds == number) & present).nonzero(as_tuple=True)
        u, v = _frame(center[scene, place], radius[scene, place], turn[scene, place], size)
        cover[scene, place] = F.avg_pool2d(inside(u, v).float()[:, None], _SHARP)[:, 0]

    # From the back to the front: the large object first, unless the others would hide too much of it.
    large, others = cover[:, :1], cover[:, 1:]
    visible = large * (1 - others).prod(dim=1, keepdim=True)
    hidden = visible.sum((1, 2, 3)) < _VISIBLE * large.sum((1, 2, 3))
    visible[hidden] = large[hidden]
    images = _background(uniform, size)
    images = torch.where(hidden[:, None, None, None], images, _painted(images, large, colors[:, 0]))
    for other in range(1, MOST_OBJECTS):
        images = _painted(images, cover[:, other:other + 1], colors[:, other])
    images = torch.where(hidden[:, None, None, None], _painted(images, large, colors[:, 0]), images)
    masks = _masks(cover, kinds, hidden)
    noise = torch.randn(images.shape, generator=generator) * uniform(0.01, 0.06, 1, 1, 1)
    images = ((images + noise).clamp(0, 1) * 255).round().to(torch.uint8)
    return Scenes(images, target, _boxes(visible[:, 0] >= 0.5), masks)


def _frame(center: Tensor, radius: Tensor, turn: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The points of a fine grid in each object's own frame: u, v [n, fine, fine], 1 a radius from the centre."""
    points = (torch.arange(size * _SHARP) + 0.5) / (size * _SHARP)
    x = (points[None, None, :] - center[:, 0, None, None]) / radius[:, None, None]
    y = (center[:, 1, None, None] - points[None, :, None]) / radius[:, None, None]
    cosine, sine = turn.cos()[:, None, None], turn.sin()[:, None, None]
    return cosine * x + sine * y, cosine * y - sine * x


def _background(uniform: Callable[..., Tensor], size: int) -> Tensor:
    """A smooth random texture between two quiet colours: [N, 3, H, H]."""
    first, second = (_rgb(uniform(0, 1), uniform(0, 0.35), uniform(0.15, 0.85)) for _ in range(2))
    texture = F.interpolate(uniform(0, 1, 1, 6, 6), size=(size, size), mode="bilinear", align_corners=True)
    return texture * first[:, :, None, None] + (1 - texture) * second[:, :, None, None]


def _painted(images: Tensor, cover: Tensor, color: Tensor) -> Tensor:
    """The images [N, 3, H, H] with one object in front of them: cover [N, 1, H, H] in [0, 1], colour [N, 3]."""
    return (1 - cover) * images + cover * color[:, :, None, None]


def _masks(cover: Tensor, kinds: Tensor, hidden: Tensor) -> Tensor:
    """Which kind is seen where: int16 [N, H, H], of cover [N, O, H, H], kinds [N, O], and who stands before the others.

    A pixel is of the foremost object that covers half of it or more.
    """
    inside, number = cover >= 0.5, (kinds + 1).to(torch.int16)[..., None, None]
    masks = torch.zeros(len(cover), *cover.shape[2:], dtype=torch.int16)
    for place in range(MOST_OBJECTS):
        masks = torch.where(inside[:, place], number[:, place], masks)
    return torch.where(hidden[:, None, None] & inside[:, 0], number[:, 0], masks)


def _rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """[..., 3] from HSV in [0, 1], hue of any real: value - value * saturation * clamp(min(k, 4 - k), 0, 1)."""
    k = (torch.tensor([5.0, 3.0, 1.0]) + 6 * hue[..., None]) % 6
    return value[..., None] * (1 - saturation[..., None] * torch.minimum(k, 4 - k).clamp(0, 1))


def _boxes(visible: Tensor) -> Tensor:
    """Left, top, right and bottom (exclusive) of what is true in each [H, H] of [N, H, H]: long [N, 4]."""
    def ends(line: Tensor) -> tuple[Tensor, Tensor]:
        first = line.int().argmax(dim=1)
        return first, line.shape[1] - line.flip(1).int().argmax(dim=1)

    (left, right), (top, bottom) = ends(visible.any(dim=1)), ends(visible.any(dim=2))
    return torch.stack([left, top, right, bottom], dim=1)
