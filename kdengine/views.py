"""Replayable views: the augmented images of an epoch as a pure function of (split, policy, seed, epoch).

Every random choice of an epoch (order, crop, flip) is drawn up front, on the CPU, from one generator seeded by
(seed, epoch). So teacher and student see the same pixels (Beyer et al., arXiv 2106.05237), a resumed run sees what
the undisturbed one would have seen, and the batch size changes nothing but the grouping.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.errors import unknown_name
from kdengine.signals import IGNORE


@dataclass(frozen=True)
class Split:
    """Images and their targets, resident on one device.

    images: uint8 [N, 3, H, W]. target: long [N]; IGNORE where the label is withheld.
    """

    images: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labelled(self) -> Tensor:
        """bool [N]: the images whose label may be read."""
        return self.target != IGNORE

    def to(self, device: torch.device | str) -> Split:
        """The same split on another device."""
        return replace(self, images=self.images.to(device), target=self.target.to(device))


@dataclass(frozen=True)
class Policy:
    """What a view may change: a crop after zero-padding by `padding` pixels, a mirror image half of the time."""

    padding: int = 0
    flip: bool = False


POLICIES: dict[str, Policy] = {
    "none": Policy(),
    "flip": Policy(flip=True),
    "crop": Policy(padding=4),
    "crop+flip": Policy(padding=4, flip=True),
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

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(index, images) batches in order: long [B] and float32 [B, 3, H, W] in [0, 1].

        The last batch is smaller where `size` does not divide the split; a single left-over image joins the batch
        before it, since batch normalisation cannot train on one.
        """
        count = len(self.order)
        start = 0
        while start < count:
            stop = count if count - start - size <= 1 else start + size
            yield self.order[start:stop], self.render(start, stop)
            start = stop

    def render(self, start: int, stop: int) -> Tensor:
        """The images shown from `start` to `stop`: float32 [B, 3, H, W] in [0, 1]."""
        images = self.split.images[self.order[start:stop]]
        if self.policy.padding:
            images = _crop(images, self.policy.padding, self.offsets[start:stop])
        if self.policy.flip:
            images = torch.where(self.flips[start:stop, None, None, None], images.flip(3), images)
        return images.float().div_(255)


def views(split: Split, policy: Policy, seed: int, epoch: int) -> Views:
    """The views of one epoch (counted from 0): same arguments, same pixels, on any run and any device."""
    generator = torch.Generator().manual_seed(seed_from("views", seed, epoch))
    count = len(split)
    device = split.images.device
    order = torch.randperm(count, generator=generator)
    # Drawn whatever the policy, and per image rather than per place in the order: two policies share their order.
    offsets = torch.randint(0, 2 * policy.padding + 1, (count, 2), generator=generator)
    flips = torch.rand(count, generator=generator) < 0.5
    return Views(split, policy, order.to(device), offsets.to(device), flips.to(device))


def steps_per_epoch(count: int, size: int) -> int:
    """How many batches `Views.batches(size)` makes of `count` images."""
    full, rest = divmod(count, size)
    return full + (rest > 1 or full == 0)


def _crop(images: Tensor, padding: int, offsets: Tensor) -> Tensor:
    """Each image's own window, at `offsets` [B, 2], of the zero-padded images [B, C, H, W]."""
    count, _, height, width = images.shape
    padded = F.pad(images, [padding] * 4)
    rows = offsets[:, 0, None] + torch.arange(height, device=images.device)
    columns = offsets[:, 1, None] + torch.arange(width, device=images.device)
    batch = torch.arange(count, device=images.device)
    picked = padded[batch[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)
