from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def make_folder(tmp_path):
    """Writes an image folder of seeded noise under tmp_path: make_folder("flowers", train={"rose": 3}, ...)."""

    def make(name="flowers", size=(16, 16), suffix=".png", **splits):
        generator = np.random.default_rng(0)
        for split, classes in splits.items():
            for label, count in classes.items():
                place = tmp_path / name / split / label
                place.mkdir(parents=True)
                for number in range(count):
                    pixels = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(place / f"{number:03d}{suffix}")
        return tmp_path / name

    return make
