"""An epoch of KD beside the loop that public scripts use: `python -m benchmarks.training`.

The yardstick is written as published CIFAR distillation scripts do it: pictures decoded and augmented one by one in the
loader's worker processes, float32, the teacher asked at every step, a meter that waits for the loss at every step. The
pictures are noise: only speed is measured. Both sides train the same networks at the same batch size, in turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from kdengine import evaluation, models, speeds
from kdengine.devices import choose_device, device_name, memory_format, synchronise
from kdengine.methods import method
from kdengine.models.network import Network
from kdengine.records import Configuration
from kdengine.teacher_cache import TeacherCache, key
from kdengine.training import Learner, train
from kdengine.views import POLICIES, Split

PAIRS = (("resnet56", "resnet20"), ("resnet56", "resnet8"), ("vgg13_bn", "vgg8_bn"))
CLASSES = tuple(str(number) for number in range(100))
BATCH = 64
MEAN, STD = (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)


def main() -> None:
    """Print one table: images a second of each side, and the ratios, each the median over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1280, help="of one epoch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="in which the sides take turns (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the yardstick's loader (%(default)s)")
    given = parser.parse_args()
    device = choose_device("auto")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (given.images, 3, 32, 32), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.randint(0, len(CLASSES), (given.images,), generator=generator))
    print(f"{device_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}; "
          f"{given.images} images of 32 x 32 an epoch, batch {BATCH}, median of {given.rounds} rounds")
    product = _product_rate(device, torch.bfloat16)
    print(f"matrix product of 2048: {_product_rate(device, torch.float32):,.0f} GFLOP/s in float32, "
          f"{product:,.0f} in bfloat16")
    titles = ("images a second", "bare", "published", "live", "warm", "published/bare", "live/publ.", "warm/publ.",
              "of product")
    print(f"{titles[0]:<24}" + "".join(f"{title:>16}" for title in titles[1:]))
    for teacher, student in PAIRS:
        with tempfile.TemporaryDirectory() as folder:
            sides = _sides(teacher, student, split, device, given.workers, Path(folder))
            rates: dict[str, list[float]] = {name: [] for name in sides}
            for side in sides.values():
                side()  # warm-up: kernels chosen, workers started once, the teacher's logits computed and kept
            for _ in range(given.rounds):
                for name, side in sides.items():
                    rates[name].append(given.images / side())
        middle = {name: statistics.median(values) for name, values in rates.items()}
        ratios = (middle["published"] / middle["bare"], middle["live"] / middle["published"],
                  middle["warm"] / middle["published"], middle["warm"] * _training_flops(student) / 1e9 / product)
        print(f"{f'{teacher} -> {student}':<24}" + "".join(f"{rate:>16,.0f}" for rate in middle.values())
              + "".join(f"{ratio:>16.2f}" for ratio in ratios), flush=True)


def _training_flops(name: str) -> int:
    """Of one image: a forward, and a backward of twice its work."""
    return 3 * evaluation.flops(models.build(name, CLASSES))


def _sides(
    teacher: str, student: str, split: Split, device: torch.device, workers: int, folder: Path
) -> dict[str, Callable[[], float]]:
    """What is compared, by name: functions that train for one epoch and return its seconds."""
    def built(name: str, seed: int) -> Network:
        return models.build(name, CLASSES, seed=seed, mean=MEAN, std=STD).to(device)

    def ours(kept: TeacherCache | None) -> Callable[[], float]:
        once = Configuration(epochs=1, batch_size=BATCH)
        return our_training(built(teacher, 1), built(student, 0), split, device, once, kept)

    published = published_epoch(built(teacher, 1), built(student, 0), split, device, workers)
    bare = _bare(built(teacher, 1), built(student, 0), split, device)
    kept = TeacherCache(folder, key(teacher=teacher, student=student))
    return {"bare": bare, "published": published, "live": ours(None), "warm": ours(kept)}


def our_training(
    teacher: Network, student: Network, split: Split, device: torch.device, configuration: Configuration,
    kept: TeacherCache | None,
) -> Callable[[], float]:
    """Our side: a function that trains by KD for all epochs of a configuration and returns their seconds.

    kept: where what the teacher says lies; None asks it at every step.
    """
    placed = [each.to(memory_format=memory_format(device)) for each in (student, teacher)]
    precision, of_teacher = (speeds.faster_precision(each, configuration.batch_size, backward=backward)
                             for each, backward in zip(placed, (True, False), strict=True))
    student, teacher = placed
    teacher.eval().requires_grad_(False)
    resident = split.to(device)
    learner = Learner(student, method("kd"), teacher, resident, configuration, precision)

    def training() -> float:
        seconds = []
        train([learner], teacher, resident, POLICIES["crop+flip"], teacher_precision=of_teacher,
              teacher_cache=kept, on_epoch=lambda _, row: seconds.append(row["seconds"]))
        return sum(seconds)

    return training


def published_epoch(
    teacher: Network, student: Network, split: Split, device: torch.device, workers: int,
    *, temperature: float = 4.0, alpha: float = 0.9, epochs: int = 1,
) -> Callable[[], float]:
    """The yardstick: a function that trains for an epoch and returns its seconds.

    The learning rate starts at 0.05 and follows a cosine to 0 over `epochs`. Networks normalise by themselves here, so
    the loader leaves that one step out.
    """
    augment = transforms.Compose([
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()])
    loader = DataLoader(_Pictures(split, augment), BATCH, shuffle=True, num_workers=workers, persistent_workers=True)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    teacher.eval()

    def epoch() -> float:
        student.train()
        start, total, right, seen = time.perf_counter(), 0.0, 0, 0
        for images, target in loader:
            images, target = images.to(device), target.to(device)
            with torch.no_grad():
                taught = teacher(images)
            logits = student(images)
            loss = _kd(logits, taught, target, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(images)
            right += (logits.argmax(dim=1) == target).sum().item()
            seen += len(images)
        synchronise(device)
        return time.perf_counter() - start

    return epoch


def _bare(teacher: Network, student: Network, split: Split, device: torch.device) -> Callable[[], float]:
    """The yardstick's networks alone: forward of both and backward of one in float32, on one batch again and again."""
    images = split.images[:BATCH].to(device).float() / 255
    target = split.target[:BATCH].to(device)
    teacher.eval()

    def epoch() -> float:
        start = time.perf_counter()
        for _ in range(len(split) // BATCH):
            with torch.no_grad():
                taught = teacher(images)
            student.zero_grad()
            _kd(student(images), taught, target).backward()
        synchronise(device)
        return time.perf_counter() - start

    return epoch


def _kd(logits: Tensor, taught: Tensor, target: Tensor, temperature: float = 4.0, alpha: float = 0.9) -> Tensor:
    softened = F.log_softmax(logits / temperature, dim=1), F.softmax(taught / temperature, dim=1)
    divergence = temperature**2 * F.kl_div(*softened, reduction="batchmean")
    return (1 - alpha) * F.cross_entropy(logits, target) + alpha * divergence


def _product_rate(device: torch.device, kind: torch.dtype) -> float:
    """10^9 floating-point operations a second of a 2048 x 2048 matrix product."""
    factor = torch.randn(2048, 2048, device=device, dtype=kind)
    times = []
    for _ in range(6):
        synchronise(device)
        start = time.perf_counter()
        factor @ factor
        synchronise(device)
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times) / 1e9


class _Pictures(Dataset):
    """A split as pictures, each augmented when it is asked for."""

    def __init__(self, split: Split, augment: Callable[[Image.Image], Tensor]) -> None:
        self.pictures = [Image.fromarray(each.permute(1, 2, 0).numpy()) for each in split.images]
        self.target = split.target.tolist()
        self.augment = augment

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.augment(self.pictures[place]), self.target[place]


if __name__ == "__main__":
    main()
