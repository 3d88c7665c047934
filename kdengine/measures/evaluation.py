"""Evaluation: what a network predicts, how good that is, and what it costs."""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.devices import OthersLoad, autocast, synchronize
from kdengine.errors import KDError
from kdengine.losses import IGNORE, cross_entropy, kl_divergence
from kdengine.measures import metrics
from kdengine.models.network import Network, evaluating
from kdengine.views import Split

_LOOK_S = 0.25
"""Seconds that a time is measured for at least: in less, the system cannot tell how much others used the machine."""
_BUSY = 0.1
"""Share of the machine's cores in use by others from which it is busy."""


def predict(network: Network, split: Split, batch_size: int = 256) -> Tensor:
    """Logits of a whole split, in its order: float32 [N, C] on the CPU. The network's mode is left as it was."""
    with evaluating(network), torch.inference_mode():
        parts = [network(images.float() / 255).float().cpu() for images in split.images.split(batch_size)]
    return torch.cat(parts)


def rounding(network: Network, images: Tensor, precision: str) -> float:
    """What a precision, `float32` or `bfloat16`, changes in a network's answers: mean KL(float32 || precision), nats.

    images: uint8 [N, 3, H, W] on the network's device, few enough for one forward. At T = 1, over images or pixels.
    The network's mode is left as it was.
    """
    with evaluating(network), torch.inference_mode():
        exact = network(images.float() / 255)
        with autocast(images.device, precision):
            rounded = network(images.float() / 255)
    return metrics.kl_to_teacher(rounded.float(), exact)


def scores(logits: Tensor, target: Tensor, teacher_logits: Tensor | None = None) -> dict[str, Any]:
    """The measures of a results table, from logits [N, C] and labels [N].

    n, loss (cross-entropy, nats), top1, top5, calibration_error; with a teacher also kl_to_teacher (nats, T = 1) and
    agreement. top5 is None where there are no more than five classes: it would always be 1.
    """
    target = target.cpu()
    measured: dict[str, Any] = {
        "n": len(target),
        "loss": F.cross_entropy(logits, target).item(),
        "top1": metrics.top_k(logits, target, 1),
        "top5": metrics.top_k(logits, target, 5) if logits.shape[1] > 5 else None,
        "calibration_error": metrics.calibration_error(logits, target),
    }
    if teacher_logits is not None:
        measured["kl_to_teacher"] = metrics.kl_to_teacher(logits, teacher_logits)
        measured["agreement"] = metrics.agreement(logits, teacher_logits)
    return measured


def segment(
    network: Network, split: Split, teacher: Network | None = None, batch_size: int = 32
) -> tuple[dict[str, Any], Tensor]:
    """The measures of a segmentation network on a split, and its confusion matrices: [N, C, C], one an image.

    n (images), loss (cross-entropy a pixel, nats), miou, iou (one a class, None where neither truth nor answer has it),
    pixel_accuracy; with a teacher also kl_to_teacher (nats, T = 1, at the images' size) and agreement, both over the
    pixels that count. mIoU is of the whole split, not the mean over images. The networks' modes are left as they were.
    Raises KDError where no pixel counts.
    """
    if not (split.target != IGNORE).any():
        raise KDError(f"No pixel of these {len(split)} images has a class, so nothing can be measured on them. "
                      "Look at the masks, and at which value in them means no class.")
    classes = len(network.classes)
    sums = torch.zeros(4, dtype=torch.float64, device=split.images.device)  # no waiting for the device inside the loop
    parts = []
    with evaluating(*(each for each in (network, teacher) if each is not None)), torch.inference_mode():
        for images, target in zip(split.images.split(batch_size), split.target.split(batch_size), strict=True):
            images, target = images.float() / 255, target.long()
            counts = target != IGNORE
            logits = network(images).float()
            answer = logits.argmax(dim=1)
            parts.append(metrics.confusion(answer, target, classes))
            weight = counts.sum()
            sums[0] += weight
            sums[1] += cross_entropy(logits, target) * weight
            if teacher is not None:
                taught = teacher(images).float()
                sums[2] += kl_divergence(logits, taught, counts) * weight
                sums[3] += (answer == taught.argmax(dim=1))[counts].sum()
    matrices = torch.cat(parts).cpu()
    total = matrices.sum(dim=0)
    pixels, loss, divergence, agreed = sums.tolist()
    measured: dict[str, Any] = {
        "n": len(split),
        "loss": loss / pixels,
        "miou": metrics.mean_iou(total),
        "iou": [None if math.isnan(each) else each for each in metrics.class_iou(total).tolist()],
        "pixel_accuracy": metrics.pixel_accuracy(total),
    }
    if teacher is not None:
        measured |= {"kl_to_teacher": divergence / pixels, "agreement": agreed / pixels}
    return measured, matrices.to(torch.int16 if split.images[0, 0].numel() < 2**15 else torch.int32)


def cost(network: Network) -> dict[str, Any]:
    """Size and speed of one forward of one image at the network's input size, in float32, on its device.

    parameters, megabytes (10^6 bytes of all weights and statistics), flops (2 x multiply-adds), and `latency` as
    `latency` returns it.
    """
    return {
        "parameters": parameters(network),
        "megabytes": network_bytes(network) / 1e6,
        "flops": flops(network),
        "latency": latency(network),
    }


def network_bytes(network: Network) -> int:
    """Bytes of all weights and statistics."""
    return sum(tensor.numel() * tensor.element_size() for tensor in network.net.state_dict().values())


def parameters(network: Network) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in network.parameters())


def flops(network: Network) -> int:
    """2 x the multiply-adds of one forward of one image, counted over convolutions and matrix products."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with evaluating(network), torch.no_grad(), counter:
        network(_one_image(network))
    return counter.get_total_flops()


def latency(network: Network, repeats: int = 50) -> dict[str, Any]:
    """Milliseconds a forward of one image takes: median_ms, quartiles_ms (first and third), mean_ms, std_ms.

    Over `repeats` forwards after 5 to warm up, and over more until a quarter of a second has passed; the result says
    how many. Synchronised on a GPU. `threads` are the CPU threads in use, `device` where it ran. `others_cores`: the
    CPU cores that other processes used meanwhile, in the mean; `busy`: whether that is more than a tenth of all cores,
    so that the figure says little of the network.
    """
    image = _one_image(network)
    device = image.device
    times: list[float] = []
    with evaluating(network), torch.inference_mode():
        for _ in range(5):
            _milliseconds(network, image)
        load, began = OthersLoad(), time.perf_counter()
        while len(times) < repeats or time.perf_counter() - began < _LOOK_S:
            times.append(_milliseconds(network, image))
        others = load.cores()
    return {
        "median_ms": statistics.median(times),
        "quartiles_ms": statistics.quantiles(times, method="inclusive")[::2],
        "mean_ms": statistics.fmean(times),
        "std_ms": statistics.stdev(times),
        "repeats": len(times),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "others_cores": others,
        "busy": others > _BUSY * (os.cpu_count() or 1),
    }


def _milliseconds(network: Network, image: Tensor) -> float:
    """How long one forward takes now."""
    start = time.perf_counter()
    network(image)
    synchronize(image.device)
    return (time.perf_counter() - start) * 1e3


def peak_memory(device: torch.device) -> dict[str, Any] | None:
    """The most memory used so far, in 10^6 bytes: of the GPU where one is used, else of the whole process.

    None on Windows, which keeps no such count for a process to read.
    """
    if device.type == "cuda":
        return {"megabytes": torch.cuda.max_memory_allocated(device) / 1e6, "of": "GPU"}
    try:
        import resource
    except ImportError:
        return None
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return {"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, "of": "process"}


def _one_image(network: Network) -> Tensor:
    device = next(network.parameters()).device
    return torch.rand(1, 3, network.input_size, network.input_size, device=device)
