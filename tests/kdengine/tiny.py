"""Networks and data so small that training them takes no time."""

import numpy as np
import torch
from PIL import Image
from torch import nn

from kdengine.losses import IGNORE
from kdengine.models.network import Network
from kdengine.signals import Stage
from kdengine.views import Split

SIZE = 8
TILES, TILED_SIZE = ("red", "green", "blue"), 32
"""The classes of `write_tiles`, and how large its pictures are."""


def net(classes, width=4, dropout=0.0):
    """A bare network: two convolutional stages, optional dropout, a linear head."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(dropout), nn.Linear(8 * width, classes),
    )


def network(seed=0, width=4, dropout=0.0, classes=3):
    """A Network around `net`, drawn from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(
            net(classes, width, dropout), architecture="tiny", classes=[f"class {i}" for i in range(classes)],
            stages=(Stage("stage1", "net.2", width, 1), Stage("stage2", "net.5", 2 * width, 2)),
            input_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3,
        )


def segmenter(seed=0, width=4, classes=3):
    """A segmentation Network: two stages and a head, its logits half as large as the images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(
            nn.Sequential(*net(classes, width)[:6], nn.Conv2d(2 * width, classes, 1)),
            architecture="tiny segmenter", classes=[f"class {i}" for i in range(classes)],
            stages=(Stage("stage1", "net.2", width, 1), Stage("stage2", "net.5", 2 * width, 2)),
            input_size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3, task="segmentation",
        )


def masks(count=37, seed=0):
    """Noise with a mask in 2x2 cells, a channel brighter where it says so; one pixel in twenty has no class."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(3, (count, SIZE // 2, SIZE // 2), generator=generator)
    target = cells.repeat_interleave(2, 1).repeat_interleave(2, 2)
    images = torch.randint(0, 128, (count, 3, SIZE, SIZE), generator=generator)
    images += 100 * nn.functional.one_hot(target, 3).movedim(3, 1)
    target[torch.rand(target.shape, generator=generator) < 0.05] = IGNORE
    return Split(images.to(torch.uint8), target.to(torch.int16))


def split(count=37, unlabelled=0, seed=0):
    """Noise whose brightness of one channel depends on the class, so that there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.arange(count) % 3
    images = torch.randint(0, 128, (count, 3, SIZE, SIZE), generator=generator)
    images[torch.arange(count), target] += 100
    target[count - unlabelled:] = IGNORE
    return Split(images.to(torch.uint8), target)


def write_tiles(root, **counts):
    """A folder of pictures in 8x8 tiles with masks: each brightest in the channel its mask names, some pixels of none.
    """
    generator = np.random.default_rng(0)
    for name, count in counts.items():
        for part in ("images", "masks"):
            (root / name / part).mkdir(parents=True)
        for number in range(count):
            mask = generator.integers(0, 3, (4, 4)).repeat(8, 0).repeat(8, 1)
            image = generator.integers(0, 120, (TILED_SIZE, TILED_SIZE, 3)) + 120 * np.eye(3, dtype=np.int64)[mask]
            mask[generator.random(mask.shape) < 0.05] = 255
            for part, held in (("images", image), ("masks", mask)):
                Image.fromarray(held.astype(np.uint8)).save(root / name / part / f"{number}.png")
    (root / "classes.txt").write_text("\n".join(TILES))
