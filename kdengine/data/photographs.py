"""Photographs that are on every machine: a cat that comes with this program, two that come with scikit-learn."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

_ASSETS = Path(__file__).resolve().parent / "assets"


def photographs() -> list[dict[str, Any]]:
    """Each as plain data: title, credit (to be shown beside it), path, and the classes that name it rightly."""
    # By file, not through sklearn.datasets: importing that costs a second.
    theirs = Path(str(files("sklearn"))) / "datasets" / "images"
    return [
        {"title": "Cat", "credit": "Photo: Stéfan van der Walt, CC0", "path": _ASSETS / "cat.jpg",
         "classes": ("cat", "tabby")},
        {"title": "Palace", "credit": "Photo: danielbuechele, CC BY 2.0", "path": theirs / "china.jpg",
         "classes": ("palace",)},
        {"title": "Dahlia", "credit": "Photo: vultilion, CC BY 2.0", "path": theirs / "flower.jpg", "classes": ()},
    ]
