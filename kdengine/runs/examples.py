"""Test images that tell something, found in the answers that results have stored: no network is asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kdengine.errors import KDError
from kdengine.runs import records, results, verdicts

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

    from kdengine.data import DataSet


def hard_examples(name: str, among: int) -> list[int]:
    """Of the first `among` test images those that a network answers rightly, by entropy: the least certain first.

    From stored answers; all in their order where there are none.
    """
    from kdengine.measures import metrics
    stored = _stored(name)
    if stored is None or "confusion" in stored:
        return list(range(among))
    right = verdicts.right(stored)
    uncertain = metrics.entropy(metrics.soften(_logits(stored)[:among], 1))
    return [each for each in uncertain.argsort(descending=True, stable=True).tolist() if right[each]]


def farthest_examples(teacher: str, student: str) -> list[int]:
    """The numbers of the test images, by how far a student's answer is from its teacher's: the largest KL first.

    That is KL(teacher || student) at T = 1. From stored answers; empty where one has none, or they are to other images
    or classes.
    """
    from kdengine.measures import metrics

    stored = _same_images((teacher, student))
    if stored is None:
        return []
    taught, student_says = map(_logits, stored)
    return metrics.divergences(student_says, taught).argsort(descending=True, stable=True).tolist()


def confusion(name: str) -> dict[str, Any] | None:
    """What a classifier takes for what on its test split: `classes`, and `matrix`, whole numbers [C][C], truth first.

    From stored answers; None where there are none, or of segmentation.
    """
    import numpy

    stored = _stored(name)
    if stored is None or "confusion" in stored:
        return None
    classes = records.read_record(results.folder(name) / records.RECORD).data["classes"]
    matrix = numpy.zeros((len(classes), len(classes)), dtype=int)
    numpy.add.at(matrix, (stored["target"], verdicts.answers(stored)), 1)
    return {"classes": list(classes), "matrix": matrix.tolist()}


def images_of(name: str, truth: int, answer: int) -> dict[str, Any]:
    """The test images of one class that a classifier takes for another: `data`, their `size`, and `indices`.

    Raises KDError where its answers are not stored.
    """
    stored = _stored(name)
    if stored is None or "confusion" in stored:
        raise KDError(f"What {name} answered to the test images is not stored.")
    record = records.read_record(results.folder(name) / records.RECORD)
    there = (stored["target"] == truth) & (verdicts.answers(stored) == answer)
    return {"data": record.configuration.data, "size": record.data["size"], "indices": there.nonzero()[0].tolist()}


def misses(name: str) -> tuple[int, int] | None:
    """How many of its test images a checkpoint or finished run answers wrongly, and how many there are.

    From stored answers; None where there are none, or of segmentation.
    """
    stored = _stored(name)
    if stored is None or "confusion" in stored:
        return None
    right = verdicts.right(stored)
    return int((~right).sum()), len(right)


def telling_example(teacher: str, distilled: str, alone: str) -> int | None:
    """The number of a test image that shows what a teacher gives: it and the distilled student are right, the student
    trained alone is wrong.

    On such an image the distilled student is no farther from its teacher (KL) than it is in the mean. If there are
    some where the one alone is sure of its wrong class, only these are looked at. Of them it is the image that the
    teacher is least certain of (entropy). From stored answers; None where they are missing or there is no such image.
    """
    import torch

    from kdengine.measures import metrics
    stored = _same_images((teacher, distilled, alone))
    if stored is None:
        return None
    right = [torch.from_numpy(verdicts.right(each)) for each in stored]
    taught, distilled_says, alone_says = map(_logits, stored)
    apart = metrics.divergences(distilled_says, taught)
    telling = right[0] & right[1] & ~right[2] & (apart <= apart.mean())
    sure = telling & (metrics.soften(alone_says, 1).amax(dim=1) > 0.5)
    telling = sure if sure.any() else telling
    uncertain = metrics.entropy(metrics.soften(taught, 1))
    return int(torch.where(telling, uncertain, -1).argmax()) if telling.any() else None


def mask_disagreements(data: DataSet, names: Sequence[str]) -> list[int]:
    """Test pictures, by index: the tenth on which stored answers differ most from the first one's, and differ at all.

    names: shipped checkpoints and finished runs. Two answers differ on at least half as many pixels as their stored
    confusion matrices of the picture count differently: no network is asked again. Raises KDError where one has no
    stored answers to these very pictures.
    """
    import numpy

    first, *others = _confusions(data, names)
    differ = numpy.max([numpy.abs(each - first).sum(axis=(1, 2)) for each in others], axis=0)
    most = numpy.argsort(-differ, kind="stable")[: max(1, len(differ) // 10)]
    return sorted(int(index) for index in most if differ[index])


def typical_masks(data: DataSet, names: Sequence[str]) -> int:
    """The number of the test picture on which these networks are most as they are in the mean, by its mIoU of each.

    Raises KDError as `mask_disagreements`.
    """
    import torch

    from kdengine.measures import metrics

    distances = []
    for counts in _confusions(data, names):
        iou = torch.tensor([metrics.mean_iou(torch.from_numpy(each)) for each in counts])
        distances.append((iou - iou.nanmean()).abs().nan_to_num(nan=1.0))
    return int(sum(distances, torch.tensor(0.0)).argmin())


def _stored(name: str) -> dict[str, Any] | None:
    """A result's stored answers; None where there is no such result, or nothing is stored."""
    try:
        return results.predictions(name)
    except KDError:
        return None


def _same_images(names: Sequence[str]) -> list[dict[str, Any]] | None:
    """The stored answers of these classifiers; None where one has none, or they are to other images or classes."""
    stored = [answers for name in names if (answers := _stored(name)) and "confusion" not in answers]
    if len(stored) < len(names) or any(each["logits"].shape != stored[0]["logits"].shape
                                       or (each["target"] != stored[0]["target"]).any() for each in stored):
        return None
    return stored


def _logits(stored: Mapping[str, Any]) -> Tensor:
    import torch

    return torch.from_numpy(stored["logits"]).double()


def _confusions(data: DataSet, names: Sequence[str]) -> list[numpy.ndarray]:
    """The stored confusion matrices of each test picture, int64 [N, C, C], of each network."""
    import numpy

    matrices: list[numpy.ndarray] = []
    for name in names:
        stored = results.predictions(name)
        tested = records.read_record(results.folder(name) / records.RECORD).data.get("digest")
        if stored is None or tested != data.digest or stored.keys() != {"confusion"} or (
                matrices and stored["confusion"].shape != matrices[0].shape):
            raise KDError(f"{name} has no stored answers to these test pictures, so it cannot be told where it "
                          "disagrees. Finish a run of it on this data set first.")
        matrices.append(stored["confusion"].astype(numpy.int64))
    return matrices
