"""kdengine: knowledge distillation, exact and fast. This is its public face: plain data in, plain data out.

    import kdengine

    runs = kdengine.start([kdengine.Configuration(method="kd", teacher="digits-teacher", epochs=10)])
    kdengine.watch(runs[0])["state"]

Networks and data sets are handles: get one from `open_network` or `open_data`, hand it back to the functions here.
More is in the parts: `kdengine.runs` (pause, rename, judge, the catalogue of networks), `kdengine.data` (pictures,
folders), `kdengine.explain` (heat maps), `kdengine.measures`, `kdengine.recipes` (lab experiments and their reports).
Nothing heavy is imported before a function needs it. Errors a person can mend are `KDError`s.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kdengine.configuration import Configuration
from kdengine.errors import DataMissing, KDError
from kdengine.runs import list_checkpoints, list_runs, references, resume, start, stop, watch

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image

    from kdengine import data as data
    from kdengine import explain as explain
    from kdengine import measures as measures
    from kdengine import recipes as recipes
    from kdengine.data import DataSet
    from kdengine.models.network import Network


def list_data() -> list[dict[str, Any]]:
    """Data sets in display order: name, title, summary, classes, present, download_bytes, ..."""
    from kdengine import data

    return data.describe()


def list_models() -> list[dict[str, Any]]:
    """Architectures in display order: name, title, family, input_size, stages, pretrained, ..."""
    from kdengine import models

    return models.describe()


def list_methods() -> list[dict[str, Any]]:
    """Methods in display order: name, title, summary, formula (LaTeX), source, what they match, and their fields.

    A field holds name, default, low, high, step, choices, allowed, help, symbol: enough to build a form.
    """
    from kdengine import methods

    return [methods.describe(method) for method in methods.METHODS.values()]


def method_anatomy(name: str) -> dict[str, Any]:
    """What `list_methods` says of a method, and what is inside it: code, terms, flows, known disagreements.

    Its parts are named in `kdengine.methods.anatomy`. Raises KDError for an unknown name.
    """
    from kdengine import methods

    return methods.anatomy(methods.find(name))


def open_data(name: str, image_size: int | None = None) -> DataSet:
    """A data set with all its labels: `classes`, and example pictures through `example`.

    image_size: pixels a side; None is the data set's own.
    """
    from kdengine import data

    return data.load(name, image_size=image_size)


def open_network(reference: str) -> Network:
    """A shipped checkpoint by name, a run's student by id, a checkpoint file by path, or an ImageNet network."""

    return references.open_reference(reference)


def predict(network: Network, picture: Image) -> dict[str, list]:
    """What a network says of a picture, resized and cropped to its input: logits and probabilities, by class number."""
    import torch

    from kdengine.data import pictures
    from kdengine.devices import one_thread

    with one_thread(), torch.inference_mode():
        logits = network(pictures.as_input(picture, network.input_size, whole=False)[None].float() / 255)[0]
    return {"logits": logits.tolist(), "probabilities": logits.softmax(dim=0).tolist()}


def segment(network: Network, picture: Image) -> numpy.ndarray:
    """What a network says of each pixel: class numbers, int16 [H, H], of the picture stretched to its input size H.

    Raises KDError for a network that classifies.
    """
    import torch

    from kdengine.data import pictures
    from kdengine.devices import one_thread

    if network.task != "segmentation":
        raise KDError(f"{network.architecture} names one class a picture, not one a pixel; ask `predict` instead.")
    with one_thread(), torch.inference_mode():
        logits = network(pictures.as_input(picture, network.input_size, whole=True)[None].float() / 255)[0]
    return logits.argmax(dim=0).to(torch.int16).numpy()


def __getattr__(name: str) -> Any:
    """The parts that bring torch, imported when they are first named."""
    if name in ("data", "explain", "measures", "recipes"):
        return importlib.import_module(f"kdengine.{name}")
    raise AttributeError(f"module 'kdengine' has no attribute {name!r}")


__version__ = "0.2.0"

__all__ = [
    "Configuration",
    "DataMissing",
    "KDError",
    "list_checkpoints",
    "list_data",
    "list_methods",
    "list_models",
    "list_runs",
    "method_anatomy",
    "open_data",
    "open_network",
    "predict",
    "resume",
    "segment",
    "start",
    "stop",
    "watch",
]
