"""Every data set, in display order. Adding one: a file, a line here, a test that it loads as it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdengine.data.cifar import CIFAR10, CIFAR100
from kdengine.data.content import (
    drop_class,
    require_labels,
    require_masks,
    share_count,
    take_share,
    withhold_labels,
    withhold_masks,
)
from kdengine.data.dataset import DataSet
from kdengine.data.digits import Digits
from kdengine.data.fashion_mnist import FASHION_MNIST
from kdengine.data.folder import Folder, image_folders
from kdengine.data.imagenette import IMAGENETTE
from kdengine.data.public_masks import OXFORD_PET, VOC2012
from kdengine.data.shapes import Shapes, ShapesSegmentation
from kdengine.data.source import Outline, Source
from kdengine.errors import KDError, out_of_range, unknown_name
from kdengine.paths import data_root

DIGITS = Digits(
    name="digits",
    title="Handwritten digits",
    summary="1,797 digits of 8 x 8 pixels, shown at 32 x 32. Always there.",
    views="crop",
    classes=10,
)
SHAPES = Shapes(
    name="shapes",
    title="Shapes",
    summary="5,500 drawn scenes of 64 x 64 pixels; the class is the kind of the large object. Always there.",
    views="flip",
    classes=10,
)
SHAPES_TIED = Shapes(
    name="shapes_tied",
    title="Shapes, colour tied to kind",
    summary="The same, but in training each kind has a colour of its own: will a network look at shape or colour?",
    views="flip",
    classes=10,
    tied=True,
)
SHAPES_SEGMENTATION = ShapesSegmentation(
    name="shapes_segmentation",
    title="Shapes, pixel by pixel",
    summary="The same scenes with a mask each: every pixel is background or one of the ten kinds. Always there.",
    views="flip",
    classes=11,
    task="segmentation",
)
FOLDER = Folder(
    name="folder",
    title="Image folder",
    summary="Your own images: train/<class>/<image>, or train/images and train/masks; the same under test, val or "
            "both.",
    views="crop+flip",
)
SOURCES: dict[str, Source] = {
    each.name: each
    for each in (DIGITS, SHAPES, SHAPES_TIED, SHAPES_SEGMENTATION, CIFAR10, CIFAR100, FASHION_MNIST, IMAGENETTE,
                 VOC2012, OXFORD_PET, FOLDER)
}


def load(
    spec: str,
    *,
    root: Path | None = None,
    labels_per_class: int | None = None,
    labelled_images: int | None = None,
    share: float = 1.0,
    without_class: int | None = None,
    image_size: int | None = None,
) -> DataSet:
    """The data set of that name, or `folder:PATH`; the same arguments and files always give the same pixels.

    root: None is the data root. share: part of the training images kept, in (0, 1], of every class alike.
    labels_per_class: labels kept of each class of what is left; the other images stay, their target IGNORE. None
    keeps all. labelled_images: of what is left, images that keep their mask; those of the others are IGNORE throughout,
    and None keeps all. without_class: number of a class whose training images are taken out altogether, while
    validation and test stay whole: the transfer set of Hinton et al. 2015 (arXiv 1503.02531, section 3). image_size: 8
    to 1,024 pixels; None is the data set's own. Masks have no one class an image: they take neither labels_per_class
    nor without_class, and they alone take labelled_images. Raises DataMissing where it is not on this machine, KDError
    for an argument out of range or unreadable files.
    """
    source, path = _source(spec)
    _check_share_and_size(share, image_size)
    content = source.read(root or data_root(), path, image_size)
    train = content.train
    _check_labels(spec, content.task, content.classes, labels_per_class, labelled_images, without_class)
    if without_class is not None:
        train = drop_class(train, without_class)
    if share != 1:
        train = take_share(train, share)
    if labels_per_class is not None:
        train = withhold_labels(train, labels_per_class, content.classes)
    if labelled_images is not None:
        train = withhold_masks(train, labelled_images)
    return DataSet(
        name=spec,
        title=Path(path).name or source.title,
        task=content.task,
        classes=content.classes,
        train=train,
        validation=content.validation,
        test=content.test,
        views=source.views_for(content.task),
        digest=content.digest,
        labels_per_class=labels_per_class,
        labelled_images=labelled_images,
        share=share,
        without_class=without_class,
        boxes=content.boxes,
        notes=content.notes,
    )


def outline(
    spec: str,
    *,
    root: Path | None = None,
    labels_per_class: int | None = None,
    labelled_images: int | None = None,
    share: float = 1.0,
    without_class: int | None = None,
    image_size: int | None = None,
) -> Outline:
    """What is known within a moment of what `load` gives for the same arguments: no picture is decoded.

    Raises as `load` does, for all that can be told so soon: data that are not here, a folder of another form, an
    argument that these data cannot take.
    """
    source, path = _source(spec)
    _check_share_and_size(share, image_size)
    data_outline = source.outline(root or data_root(), path, image_size)
    _check_labels(spec, data_outline.task, data_outline.classes, labels_per_class, labelled_images, without_class)
    if labels_per_class is not None and data_outline.smallest is not None and without_class is None:
        require_labels(labels_per_class, share_count(data_outline.smallest, share))
    if labelled_images is not None and data_outline.smallest is not None:
        require_masks(labelled_images, share_count(data_outline.smallest, share))
    return data_outline


def known_classes(spec: str) -> tuple[str, ...] | None:
    """The classes of a data set where they are known without it being here; None otherwise. KDError for no data set."""
    return _source(spec)[0].known_classes()


def task_of(spec: str, root: Path | None = None) -> str:
    """`classification` or `segmentation`, by what lies there; opens no image. Raises KDError for an unknown data set.
    """
    source, path = _source(spec)
    return source.task_at(root or data_root(), path)


def require(spec: str) -> None:
    """Raise KDError unless the spec names a data set, on this machine or not."""
    _source(spec)


def download(name: str, root: Path | None = None) -> None:
    """Bring a data set under the data root. Raises KDError where that fails, or there is nothing to download."""
    source, _ = _source(name)
    source.download(root or data_root())


def describe(root: Path | None = None) -> list[dict[str, Any]]:
    """Every data set as plain data, in display order, then the image folders that lie in the data root.

    name (as `load` takes it), title, summary, task, classes (how many, or None), views, present, found (where, for
    people, or None), download_bytes (or None). Opens no image.
    """
    root = root or data_root()
    rows = [source.describe(root) for source in SOURCES.values()]
    listed = {row["found"] for row in rows}  # a public data set in its image-folder form is not listed twice
    return rows + [FOLDER.describe_one(place) for place in image_folders(root) if str(place) not in listed]


def _check_share_and_size(share: float, image_size: int | None) -> None:
    if not 0 < share <= 1:
        raise KDError(f"share is {share!r}; allowed is a number above 0 and up to 1.")
    if image_size is not None and not 8 <= image_size <= 1024:
        raise out_of_range("image_size", image_size, 8, 1024)


def _check_labels(
    spec: str, task: str, classes: tuple[str, ...] | None, labels_per_class: int | None, labelled_images: int | None,
    without_class: int | None,
) -> None:
    if task == "segmentation" and (labels_per_class is not None or without_class is not None):
        raise KDError(f"{spec} has a mask for each image, not a label; labels_per_class and without_class are for "
                      "images of one class each. Use share to train on fewer, labelled_images to keep fewer masks.")
    if task != "segmentation" and labelled_images is not None:
        raise KDError(f"{spec} has one class an image, not a mask; labelled_images is for masks. Use labels_per_class "
                      "to keep fewer labels.")
    if without_class is not None and classes is not None and without_class not in range(len(classes)):
        allowed = ", ".join(f"{number} {name}" for number, name in enumerate(classes))
        raise KDError(f"without_class is {without_class!r}; allowed is the number of a class: {allowed}.")


def _source(spec: str) -> tuple[Source, str]:
    """The source a spec names, and the path that follows it (empty where none does)."""
    name, _, path = spec.partition(":")
    if name not in SOURCES:
        raise unknown_name("data set", name, SOURCES)
    if path and not SOURCES[name].takes_path:
        raise KDError(f"{spec!r} gives {name} a path; write {name} alone. Only a folder takes one: folder:PATH.")
    return SOURCES[name], path
