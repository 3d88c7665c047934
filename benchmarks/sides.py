"""What the benchmarks compare: ways to train a student by KD, each a function that trains and returns its seconds.

The published loop is written as public CIFAR distillation scripts do it: pictures decoded and augmented one by one in
the loader's worker processes, float32, the teacher asked at every step, a meter that waits for the loss at every step.
torchdistill's own box and loop stand beside it where that package is installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from kdengine.configuration import Configuration
from kdengine.devices import set_memory_format, synchronize
from kdengine.methods import method
from kdengine.models.network import Network
from kdengine.training import Learner, speeds, train
from kdengine.training.teacher_cache import TeacherCache
from kdengine.views import POLICIES, Split

BATCH = 64
_SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
_TEMPERATURE, _ALPHA = 4.0, 0.9


def ours(
    teacher: Network, student: Network, split: Split, device: torch.device, configuration: Configuration,
    cache: TeacherCache | None,
) -> Callable[[], float]:
    """This engine: trains for all epochs of a configuration. Without a cache the teacher is asked at every step."""
    ways = []
    for network, training in ((student, True), (teacher, False)):
        ways.append(speeds.execution(network.to(device), configuration.batch_size, training=training))
        set_memory_format(network, ways[-1].memory_format)
    precision, of_teacher = (way.precision for way in ways)
    teacher.eval().requires_grad_(False)
    resident = split.to(device)
    learner = Learner(student, method("kd"), teacher, resident, configuration, precision)

    def trained() -> float:
        seconds = []
        train([learner], teacher, resident, POLICIES["crop+flip"], teacher_precision=of_teacher,
              teacher_cache=cache, on_epoch=lambda _, row: seconds.append(row["seconds"]))
        return sum(seconds)

    return trained


def published(
    teacher: Network, student: Network, split: Split, device: torch.device, workers: int, *, epochs: int = 1
) -> Callable[[], float]:
    """The published loop: trains for one epoch.

    The learning rate starts at 0.05 and follows a cosine to 0 over `epochs`. Networks normalise by themselves here, so
    the loader leaves that one step out.
    """
    loader = DataLoader(_pictures(split), BATCH, shuffle=True, num_workers=workers, persistent_workers=True)
    optimizer = torch.optim.SGD(student.parameters(), **_SGD)
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
            loss = _kd(logits, taught, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(images)
            right += (logits.argmax(dim=1) == target).sum().item()
            seen += len(images)
        synchronize(device)
        return time.perf_counter() - start

    return epoch


def torchdistill(
    teacher: Network, student: Network, split: Split, device: torch.device, workers: int
) -> Callable[[], float]:
    """torchdistill's distillation box in the loop of its image classification example: trains for one epoch.

    Raises ImportError where it is not installed.
    """
    from torchdistill.core.distillation import get_distillation_box
    from torchdistill.misc.log import MetricLogger

    logits = {f"{who}_module_{what}": place for who in ("student", "teacher")
              for what, place in (("path", "."), ("io", "output"))}
    loss = {"key": "KDLoss", "kwargs": {**logits, "temperature": _TEMPERATURE, "alpha": 1 - _ALPHA}}
    box = get_distillation_box(_Bare(teacher), _Bare(student), {"train": _pictures(split)}, {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train", "sampler": {"class_or_func": RandomSampler},
            "kwargs": {"batch_size": BATCH, "num_workers": workers, "persistent_workers": True},
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "requires_grad": True},
        "optimizer": {"key": "SGD", "kwargs": dict(_SGD)},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": {"criterion": loss, "weight": 1.0}}}},
    }, device, None, False, 1)

    def epoch() -> float:
        box.pre_epoch_process(epoch=0)
        box.teacher_model.eval()
        meters = MetricLogger(delimiter="  ")
        start = time.perf_counter()
        for images, target, more in meters.log_every(box.train_data_loader, 1000, "Epoch:"):
            began = time.time()
            images, target = images.to(device), target.to(device)
            value = box.forward_process(images, target, more)
            box.post_forward_process(loss=value)
            meters.update(loss=value.item(), lr=box.optimizer.param_groups[0]["lr"])
            meters.update(speed=len(images) / (time.time() - began))
        box.post_epoch_process()
        synchronize(device)
        return time.perf_counter() - start

    return epoch


def bare(teacher: Network, student: Network, split: Split, device: torch.device) -> Callable[[], float]:
    """The published loop's networks alone: forward of both, backward of one, in float32, on one batch again and again.
    """
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
        synchronize(device)
        return time.perf_counter() - start

    return epoch


def _kd(logits: Tensor, taught: Tensor, target: Tensor) -> Tensor:
    softened = F.log_softmax(logits / _TEMPERATURE, dim=1), F.softmax(taught / _TEMPERATURE, dim=1)
    divergence = _TEMPERATURE**2 * F.kl_div(*softened, reduction="batchmean")
    return (1 - _ALPHA) * F.cross_entropy(logits, target) + _ALPHA * divergence


class _Bare(nn.Module):
    """A network that is only its forward: torchdistill walks through what it is given by names of its own."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


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


def _pictures(split: Split) -> _Pictures:
    return _Pictures(split, transforms.Compose([
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]))
