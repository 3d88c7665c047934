"""Heat maps of pictures, as pages ask for them: plain data in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image

    from kdengine.data import DataSet
    from kdengine.models.network import Network


def heat_map(
    network: Network, picture: Image, target: int, *, method: str = "gradcam", stage: str | None = None,
    region: numpy.ndarray | None = None,
) -> dict[str, Any]:
    """Where a network looks for a class: `heat` [h][w] in [0, 1] at the map's own size, `stage`, `size` (h, w).

    `input` is the picture as the network saw it; the map lies over that. region: of a network that segments, whose
    pixels' score is explained, bool [H, W] of its input; None is all. Raises KDError where it holds no pixel.
    """
    import torch

    from kdengine.data import pictures
    from kdengine.devices import one_thread
    from kdengine.explain import heat_maps

    pixels = pictures.as_input(picture, network.input_size, whole=network.task == "segmentation")
    stage = stage or heat_maps.default_stage(network).name
    within = None if region is None else torch.from_numpy(region)[None]
    with one_thread():
        heat = heat_maps.heat_map(
            network, pixels[None].float() / 255, [target], method=method, stage=stage, region=within)[0]
    return {"heat": heat.tolist(), "stage": stage, "size": tuple(heat.shape), "input": pictures.picture(pixels)}


def activity_maps(network: Network, picture: Image) -> dict[str, list[list[float]]]:
    """Where each stage of a network is active for a picture: by stage, [h][w] in [0, 1]; see `heat_maps`."""
    from kdengine.data import pictures
    from kdengine.devices import one_thread
    from kdengine.explain import heat_maps

    pixels = pictures.as_input(picture, network.input_size, whole=network.task == "segmentation")
    with one_thread():
        return {name: each[0].tolist()
                for name, each in heat_maps.activity_maps(network, pixels[None].float() / 255).items()}


def list_heat_maps() -> list[dict[str, Any]]:
    """Heat-map methods in display order: name, title, summary, source, and uses_target.

    uses_target is False where the map is the same whichever class is asked for.
    """
    from kdengine.explain import heat_maps

    attributes = ("name", "title", "summary", "source", "uses_target")
    return [{key: getattr(each, key) for key in attributes} for each in heat_maps.HEAT_MAPS.values()]


def overlay(picture: Image, heat: Sequence[Sequence[float]], opacity: float) -> Image:
    """A picture with a heat map [h][w] in [0, 1] over it, enlarged smoothly; opacity in [0, 1], 1 is the map alone."""
    import torch

    from kdengine.explain import comparison

    return comparison.overlay(picture, torch.tensor(heat), opacity)


def heat_on_object(heat: Sequence[Sequence[float]], data: DataSet, index: int) -> dict[str, float] | None:
    """Whether a heat map [h][w] of a test picture lies on its object: inside, pointing and area, in [0, 1].

    See `comparison.on_object`. None where the data set does not know where its objects lie.
    """
    import torch

    from kdengine.explain import comparison

    if data.boxes is None:
        return None
    measures = comparison.on_object(torch.tensor([heat]), data.boxes[index : index + 1], data.size)
    return {name: measures[name].item() for name in ("inside", "pointing", "area")}


def heat_on_objects(network: Network, data: DataSet, method: str, count: int) -> dict[str, Any] | None:
    """Whether a network's heat maps of the first `count` (2 or more) test pictures lie on their objects.

    The maps are of the true classes. `n` pictures, mean `area` of the boxes, `hits`: whether each map points at its
    object. `inside` and `pointing` hold mean, low and high (95%, over the pictures), and `elsewhere`, what the same
    maps get in the boxes of the other pictures; all in [0, 1]. See `comparison.on_object`. None where the data
    set does not know where its objects lie.
    """
    from kdengine.data import pictures
    from kdengine.devices import one_thread
    from kdengine.explain import comparison
    from kdengine.measures.uncertainty import mean_interval, share_interval
    from kdengine.views import Split

    if data.boxes is None:
        return None
    images = pictures.resized(data.test.images[:count], network.input_size)
    with one_thread():
        measures = comparison.on_objects(
            network, Split(images, data.test.target[:count]), data.boxes[:count], data.size, method=method)
    means = {name: values.mean().item() for name, values in measures.items()}
    summary: dict[str, Any] = {"n": len(images), "area": means["area"], "hits": measures["pointing"].bool().tolist()}
    sure = {"inside": mean_interval(measures["inside"].tolist()),
            "pointing": share_interval(means["pointing"], len(images))}
    for name, each in sure.items():
        low, high = max(0.0, each.low), min(1.0, each.high)  # t knows no bounds, a share does
        summary[name] = {"mean": each.mean, "low": low, "high": high, "elsewhere": means[f"{name}_elsewhere"]}
    return summary


def compare_heat_maps(student: Sequence[Sequence[float]], teacher: Sequence[Sequence[float]]) -> dict[str, float]:
    """How alike two heat maps [h][w] are: rank correlation (NaN for a constant map), cosine, overlap of the top 20%."""
    import torch

    from kdengine.explain import comparison

    return comparison.compare_maps(*(torch.tensor(each, dtype=torch.float32) for each in (student, teacher)))
