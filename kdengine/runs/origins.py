"""Where a network comes from, as its record says it, or else its header: the images it was tested on, its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdengine.errors import KDError
from kdengine.runs import catalogue, checkpoints, references, results
from kdengine.runs.records import RECORD, read_record

if TYPE_CHECKING:
    from kdengine.data import DataSet
    from kdengine.models.network import Network


@dataclass(frozen=True)
class Origin:
    """What a network was trained on and taught by; None where nobody says it.

    data, data_digest, size: the data set's name, the digest of its images, and their side in pixels. teacher:
    `reference`, and `digest` of its weights where that is stated.
    """

    data: str | None
    data_digest: str | None
    size: int | None
    teacher: Mapping[str, Any] | None


def origin(reference: str) -> Origin | None:
    """Of a result, a run or a checkpoint file; None of what is none of them, or cannot be read."""
    try:
        record = read_record(results.folder(reference) / RECORD)
        return Origin(record.data.get("name"), record.data.get("digest"), record.data.get("size"), record.teacher)
    except KDError:
        pass  # imported weights have no record, nor does a file of somebody's
    path = references.locate(reference)
    try:
        about = checkpoints.describe(path) if path else None
    except KDError:
        return None
    if about is None:
        return None
    data = about.get("data") or {}
    return Origin(data.get("name"), data.get("digest"), about["input_size"], about.get("teacher"))


def other_images(reference: str, data: DataSet, called: str | None = None) -> str | None:
    """A sentence that says so where a network was tested on other images of this data set than these.

    None where they are the same, and where nobody knows: no digest, another data set, images of another size. called:
    what people know the network by; None is its reference.
    """
    its = origin(reference)
    if its is None or (its.data, its.size) != (data.name, data.size) or its.data_digest in (None, data.digest):
        return None
    return (f"{called or reference} was trained and tested on other images of {data.title} than are here now (their "
            f"digest is {its.data_digest}, that of today's {data.digest}): its stored answers cannot be compared with "
            "today's images.")


def open_teacher(reference: str) -> tuple[str, Network] | None:
    """The very network that taught this one, after its reference; None where it had no teacher.

    Raises KDError, with the reason, where the teacher is gone or cannot be opened, or has other weights today.
    """
    its = origin(reference)
    if its is None or its.teacher is None:
        return None
    name, stated = its.teacher["reference"], its.teacher.get("digest")
    teacher = catalogue.teacher_of(reference, {"teacher": its.teacher})
    if teacher is None:
        raise KDError(f"its teacher {name} is gone.")
    network = references.open_reference(teacher)
    if (digest := checkpoints.network_digest(network)) != stated:
        raise KDError(f"its teacher {name} has other weights today: their digest is {digest}, "
                      f"{f'not {stated}' if stated else 'and it does not say which taught it'}.")
    return teacher, network
