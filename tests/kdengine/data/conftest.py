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


@pytest.fixture
def make_mask_folder(tmp_path):
    """Writes a folder of seeded noise with masks under tmp_path: make_mask_folder("pets", train=4, test=2)."""

    def make(name="pets", size=(16, 16), suffix=".png", classes=("background", "cat", "dog"), values=(0, 1, 2, 255),
             **splits):
        generator = np.random.default_rng(0)
        place = tmp_path / name
        for split, count in splits.items():
            for part in ("images", "masks"):
                (place / split / part).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / split / "images" / f"{number:03d}{suffix}")
                mask = generator.choice(np.array(values, dtype=np.uint8), (size[1], size[0]))
                Image.fromarray(mask).save(place / split / "masks" / f"{number:03d}.png")
        if classes is not None:
            (place / "classes.txt").write_text("\n".join(classes) + "\n")
        return place

    return make
