"""What predictions are worth: metrics, whole evaluations of a network, and how sure one may be of either.

The functions here take and give plain data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

    from kdengine.data import DataSet
    from kdengine.models.network import Network


def cost(network: Network) -> dict[str, Any]:
    """Size and speed of one forward of one image: parameters, megabytes, flops, and latency with its median_ms."""
    from kdengine.measures import evaluation

    return evaluation.cost(network)


def kl_to_teacher(student: dict[str, list], teacher: dict[str, list]) -> float:
    """KL(teacher || student) at T = 1, in nats, of what two networks `predict` of one picture."""
    import torch

    from kdengine.measures import metrics

    return metrics.kl_to_teacher(*(torch.tensor([each["logits"]], dtype=torch.float64) for each in (student, teacher)))


def mask_scores(answer: numpy.ndarray, truth: numpy.ndarray, classes: int) -> dict[str, float] | None:
    """How good a network's answer to one picture is: `miou` and `pixel_accuracy`, in [0, 1].

    Both masks are [H, W], of class numbers below `classes`; where the truth is negative a pixel counts nowhere. mIoU
    is over the classes that the truth or the answer holds. None where no pixel counts.
    """
    import torch

    from kdengine.measures import metrics

    counts = metrics.confusion(torch.from_numpy(answer)[None].long(), torch.from_numpy(truth)[None].long(), classes)[0]
    if not counts.any():
        return None
    return {"miou": metrics.mean_iou(counts), "pixel_accuracy": metrics.pixel_accuracy(counts)}


def disagreements(data: DataSet, networks: Sequence[Network]) -> list[int]:
    """Test pictures, by index, of which not all the networks name the same class."""
    from kdengine.data import pictures
    from kdengine.devices import one_thread
    from kdengine.measures import evaluation
    from kdengine.views import Split

    with one_thread():
        named = [
            evaluation.predict(
                network, Split(pictures.resized(data.test.images, network.input_size), data.test.target)
            ).argmax(dim=1)
            for network in networks
        ]
    return sorted({int(index) for each in named[1:] for index in (each != named[0]).nonzero()})
