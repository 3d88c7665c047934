"""The data that a configuration asks for: in outline, or whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdengine.configuration import Configuration

if TYPE_CHECKING:
    from kdengine.data import DataSet, Outline


def outline(configuration: Configuration) -> Outline:
    """What is known of a run's data within a moment; raises as `data.outline`."""
    from kdengine import data

    return data.outline(configuration.data, **_cut(configuration))


def load(configuration: Configuration) -> DataSet:
    """A run's data; raises as `data.load`."""
    from kdengine import data

    return data.load(configuration.data, **_cut(configuration))


def _cut(configuration: Configuration) -> dict[str, Any]:
    return {name: getattr(configuration, name)
            for name in ("labels_per_class", "labelled_images", "share", "without_class", "image_size")}
