"""Photographs that are on every machine: the two that come with scikit-learn."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

_HELD = (
    ("Palace", "china.jpg", "Photo: danielbuechele, CC BY 2.0"),
    ("Dahlia", "flower.jpg", "Photo: vultilion, CC BY 2.0"),
)


def photographs() -> list[dict[str, Any]]:
    """Each as plain data: title, credit (to be shown beside it), path."""
    # By file, not through sklearn.datasets: importing that costs a second.
    folder = Path(str(files("sklearn"))) / "datasets" / "images"
    return [{"title": title, "credit": credit, "path": folder / name} for title, name, credit in _HELD]
