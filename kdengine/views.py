"""Replayable views: the augmented images of an epoch as a pure function of (split, policy, seed, epoch).

A mask moves with its image. Every random choice of an epoch (order, crop, flip, colours, zoom) is drawn up front, on
the CPU, from one generator seeded by (seed, epoch). So teacher and student see the same pixels (Beyer et al., arXiv
2106.05237), a resumed run sees what the undisturbed one would have seen, and the batch size changes nothing but the
grouping.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.errors import out_of_range, unknown_name
from kdengine.losses import IGNORE


@dataclass(frozen=True)
class Split:
    """Images and their targets, resident on one device.

    images: uint8 [N, 3, H, W]. target: long [N], IGNORE where the label is withheld; or masks, int16 [N, H, W], IGNORE
    where a pixel has no class.
    """

    images: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labelled(self) -> Tensor:
        """bool [N]: the images whose label may be read; of masks, those where any pixel has one."""
        return (self.target != IGNORE).flatten(1).any(dim=1) if self.target.dim() > 1 else self.target != IGNORE

    def to(self, device: torch.device | str) -> Split:
        """The same split on another device."""
        return replace(self, images=self.images.to(device), target=self.target.to(device))


@dataclass(frozen=True)
class Policy:
    """What a view may change: a crop after zero-padding by `padding` pixels, a mirror image half of the time, a zoom,
    colours. What comes in from outside an image is black, and in its mask IGNORE.

    zoom: at least 1. Each image is scaled by a factor whose logarithm is drawn uniformly from [-log zoom, log zoom],
    then a window of the old size is taken from it, or it is laid into one, at a place drawn uniformly. jitter: strength
    s in [0, 1]. Each image's brightness, contrast and saturation are multiplied by factors drawn uniformly from
    [1 - s, 1 + s], then its hue is turned by a part of the full circle from [-s/4, s/4]: the numbers of torchvision's
    ColorJitter(s, s, s, s/4), always in this order (ColorJitter draws the order too). Raises KDError for another
    strength, or a zoom below 1.
    """

    padding: int = 0
    flip: bool = False
    zoom: float = 1.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.jitter <= 1:
            raise out_of_range("jitter", self.jitter, 0, 1)
        if not 1 <= self.zoom < math.inf:
            raise out_of_range("zoom", self.zoom, 1, None)


POLICIES: dict[str, Policy] = {
    "none": Policy(),
    "flip": Policy(flip=True),
    "crop": Policy(padding=4),
    "crop+flip": Policy(padding=4, flip=True),
    "jitter": Policy(jitter=0.4),
    "crop+flip+jitter": Policy(padding=4, flip=True, jitter=0.4),
    "zoom+flip": Policy(flip=True, zoom=1.5),
    "zoom+flip+jitter": Policy(flip=True, zoom=1.5, jitter=0.4),
}


def policy(name: str) -> Policy:
    """The policy of that name. Raises KDError for an unknown one."""
    if name not in POLICIES:
        raise unknown_name("view policy", name, POLICIES)
    return POLICIES[name]


def seed_from(*parts: object) -> int:
    """A generator seed in [0, 2**63) that depends on every part and on nothing else."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True)
class Views:
    """One epoch's views, drawn but not yet rendered. `order[i]` is the split's image shown i-th."""

    split: Split
    policy: Policy
    order: Tensor
    offsets: Tensor
    """long [N, 2]: top-left corner of the crop in the padded image, for the i-th shown."""
    flips: Tensor
    """bool [N], for the i-th shown."""
    colors: Tensor
    """float32 [N, 4]: factors of brightness, contrast and saturation, and turns of hue, for the i-th shown."""
    windows: Tensor
    """float32 [N, 3]: how much of an image a side of the window shows (1 / its scale), and the window's middle across
    and down, on [-1, 1] of the image, for the i-th shown."""

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(index, images, target) batches in order: long [B], float32 [B, 3, H, W] in [0, 1], long [B] or [B, H, W].

        The last batch is smaller where `size` does not divide the split; a single left-over image joins the batch
        before it, since batch normalisation cannot train on one.
        """
        count = len(self.order)
        start = 0
        while start < count:
            stop = count if count - start - size <= 1 else start + size
            yield self.order[start:stop], self.render(start, stop), self.target(start, stop)
            start = stop

    def render(self, start: int, stop: int) -> Tensor:
        """The images shown from `start` to `stop`: float32 [B, 3, H, W] in [0, 1]."""
        images = self.split.images[self.order[start:stop]]
        if self.policy.padding:
            images = _crop(images, self.policy.padding, self.offsets[start:stop])
        if self.policy.flip:
            images = torch.where(self.flips[start:stop, None, None, None], images.flip(3), images)
        images = images.float().div_(255)
        if self.policy.zoom > 1:
            images = _zoomed(images, self.windows[start:stop], "bilinear")
        return _jitter(images, self.colors[start:stop]) if self.policy.jitter else images

    def target(self, start: int, stop: int) -> Tensor:
        """The labels, or the masks, of the images shown from `start` to `stop`: long [B], or [B, H, W] moved with them.
        """
        target = self.split.target[self.order[start:stop]]
        if target.dim() == 1:
            return target
        return self._moved(target - IGNORE, start, stop) + IGNORE  # so that IGNORE is 0, as what comes in from outside

    def inside(self, start: int, stop: int) -> Tensor:
        """Which pixels shown from `start` to `stop` are the image's own, not from outside it: bool [B, H, W]."""
        whole = torch.ones_like(self.split.images[self.order[start:stop], 0])
        return self._moved(whole, start, stop) > 0

    def _moved(self, masks: Tensor, start: int, stop: int) -> Tensor:
        """Masks [B, H, W] moved as the images shown from `start` to `stop`, 0 outside: long [B, H, W]."""
        masks = masks[:, None]
        if self.policy.padding:
            masks = _crop(masks, self.policy.padding, self.offsets[start:stop])
        if self.policy.flip:
            masks = torch.where(self.flips[start:stop, None, None, None], masks.flip(3), masks)
        if self.policy.zoom > 1:
            masks = _zoomed(masks.float(), self.windows[start:stop], "nearest")
        return masks[:, 0].long()


def views(split: Split, policy: Policy, seed: int, epoch: int, labelled_share: float = 0.0) -> Views:
    """The views of one epoch (counted from 0): same arguments, same pixels, on any run and any device.

    An epoch shows as many views as the split has images. labelled_share: the part of them, in [0, 1] and evenly spread,
    that has a label at least. Where labels are rarer than that, images with one are shown several times an epoch, each
    time as another view, and of the others a part is drawn: so each batch holds enough labels to learn from.
    """
    generator = torch.Generator().manual_seed(seed_from("views", seed, epoch))
    count = len(split)
    device = split.images.device
    order = _order(split.labelled.cpu(), labelled_share, generator)
    # Drawn whatever the policy, and per image rather than per place in the order: two policies share their order.
    offsets = torch.randint(0, 2 * policy.padding + 1, (count, 2), generator=generator)
    flips = torch.rand(count, generator=generator) < 0.5
    colors = _colors(policy, count, generator)
    windows = _windows(policy, count, generator)
    return Views(split, policy, *(each.to(device) for each in (order, offsets, flips, colors, windows)))


def jittered(split: Split, strength: float, seed: int) -> Split:
    """The split with every image's colours jittered once, rounded to uint8: for measuring robustness to colour.

    strength: in [0, 1], as `Policy.jitter`; 0 gives the same pixels back. Same arguments, same pixels; an image's
    pixels do not depend on the others'. Raises KDError for another strength.
    """
    generator = torch.Generator().manual_seed(seed_from("jittered", seed))
    colors = _colors(Policy(jitter=strength), len(split), generator).to(split.images.device)
    parts = zip(split.images.split(256), colors.split(256), strict=True)  # not the whole split as floats at once
    images = [_jitter(part.float().div_(255), drawn).mul_(255).round_().to(torch.uint8) for part, drawn in parts]
    return replace(split, images=torch.cat(images))


def steps_per_epoch(count: int, size: int) -> int:
    """How many batches `Views.batches(size)` makes of `count` images."""
    full, rest = divmod(count, size)
    return full + (rest > 1 or full == 0)


def _order(labelled: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Which image is shown i-th: long [N] of bool [N], see `views`."""
    count, labelled_count = len(labelled), int(labelled.sum())
    cumulative = (torch.arange(count + 1, dtype=torch.float64) * share).floor()
    due = cumulative.diff() > 0  # evenly spread: whatever the batch size, each batch gets its part
    wanted = int(due.sum())
    if not 0 < labelled_count < share * count:
        return torch.randperm(count, generator=generator)
    passes = [torch.randperm(labelled_count, generator=generator) for _ in range(math.ceil(wanted / labelled_count))]
    order = torch.empty(count, dtype=torch.long)
    order[due] = labelled.nonzero().flatten()[torch.cat(passes)[:wanted]]
    others = (~labelled).nonzero().flatten()
    order[~due] = others[torch.randperm(len(others), generator=generator)[: count - wanted]]
    return order


def _crop(images: Tensor, padding: int, offsets: Tensor) -> Tensor:
    """Each image's own window, at `offsets` [B, 2], of the zero-padded images [B, C, H, W]."""
    count, _, height, width = images.shape
    windows = F.pad(images, [padding] * 4).unfold(2, height, 1).unfold(3, width, 1)  # all of them, without a copy
    return windows[torch.arange(count, device=images.device), :, offsets[:, 0], offsets[:, 1]]


def _windows(policy: Policy, count: int, generator: torch.Generator) -> Tensor:
    """Draws what `Views.windows` holds: float32 [count, 3], on the CPU."""
    drawn = 2 * torch.rand(count, 3, generator=generator) - 1
    extent = policy.zoom ** drawn[:, :1]
    return torch.cat([extent, (1 - extent).abs() * drawn[:, 1:]], dim=1)


def _zoomed(images: Tensor, windows: Tensor, mode: str) -> Tensor:
    """Each image of [B, C, H, W] as its own window [B, 3] shows it; 0 where the window looks beyond the image."""
    extent, across, down = windows.unbind(1)
    still = torch.zeros_like(extent)
    rows = [torch.stack(row, dim=1) for row in ((extent, still, across), (still, extent, down))]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)


def _colors(policy: Policy, count: int, generator: torch.Generator) -> Tensor:
    """Draws what `Views.colors` holds: float32 [count, 4], on the CPU."""
    spread = policy.jitter * torch.tensor([1, 1, 1, 0.25])
    return torch.tensor([1.0, 1, 1, 0]) + spread * (2 * torch.rand(count, 4, generator=generator) - 1)


def _jitter(images: Tensor, colors: Tensor) -> Tensor:
    """Each image of [B, 3, H, W] in [0, 1] with its own row of `colors` [B, 4], by torchvision's adjust_* formulas."""
    brightness, contrast, saturation, turn = (each[:, None, None, None] for each in colors.unbind(1))
    images = (brightness * images).clamp_(0, 1)
    # The mean is summed in whole numbers, exact in any order: float sums would differ by device and by batch size.
    parts = (_gray(images) * 2**24).round_().long()
    mean = parts.sum((1, 2, 3), keepdim=True) / (2**24 * parts[0].numel())
    images = _blend(images, mean, contrast)
    images = _blend(images, _gray(images), saturation)
    return _turn_hue(images, turn)


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """`other` at factor 0, the images at 1, beyond them above 1; within [0, 1]."""
    return (factor * images + (1 - factor) * other).clamp_(0, 1)


def _gray(images: Tensor) -> Tensor:
    """Luma of [B, 3, H, W] by the weights of ITU-R 601, rounded as torchvision does: [B, 1, H, W]."""
    red, green, blue = images.split(1, dim=1)
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def _turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """The images [B, 3, H, W] with their hue in HSV turned by `turn` [B, 1, 1, 1] of a full circle.

    Value and chroma stay, so back from HSV a channel is value - chroma * clamp(min(k, 4 - k), 0, 1), k = (n + hue) mod
    6, hue in sixths of the circle, n = 5, 3, 1 for red, green, blue. That cannot leave [0, 1].
    """
    value, strongest = images.max(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    # Green - blue beside red, blue - red beside green, red - green beside blue.
    difference = (images.roll(-1, dims=1) - images.roll(1, dims=1)).gather(1, strongest)
    hue = 2 * strongest + difference / torch.where(chroma == 0, 1, chroma)  # grey has no hue, and needs none
    k = (torch.tensor([5, 3, 1], device=images.device).view(3, 1, 1) + hue + 6 * turn) % 6
    return value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1)
