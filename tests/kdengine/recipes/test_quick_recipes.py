"""Every recipe at its quick scale, as a person runs it: trained, told, and reported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdengine.data import SOURCES
from kdengine.recipes import RECIPES
from tests.kdengine.recipes.test_report import Page

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent.parent
PLACES = (Path(os.environ.get("KDENGINE_DATA") or ROOT / "data"), ROOT.parent / "shared" / "data")
"""Where real pictures may lie: the data root as it was before the tests got their own, and beside the project."""


def data_root(name, tmp_path):
    """A data root of the test's own with the recipe's data in it; the test skips where this machine has none."""
    root = tmp_path / "data"
    root.mkdir()
    asked = RECIPES[name].parts("quick")[0].configuration.data
    if SOURCES[asked].download_bytes is not None:  # the others come with the program
        found = next(filter(None, map(SOURCES[asked].found, PLACES)), None)
        if found is None:
            pytest.skip(f"needs {asked}, which is in none of {', '.join(map(os.path.relpath, PLACES))}")
        (root / Path(found).name).symlink_to(Path(found).resolve())
    return root


@pytest.mark.parametrize("name", RECIPES)
def test_a_quick_recipe_is_trained_told_and_reported(name, tmp_path):
    words = ["recipe", name, "--runs", tmp_path / "runs", "--data-root", data_root(name, tmp_path), "--json",
             "--report", tmp_path / "report"]
    done = subprocess.run([sys.executable, "-m", "kdengine", *map(str, words)], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    recipe = RECIPES[name]
    labels = [part.label for part in recipe.parts("quick")]
    assert [row["label"] for row in rows] == labels
    for row, part in zip(rows, recipe.parts("quick"), strict=True):
        low, high = row["interval"]
        assert 0 <= low <= row["accuracy"] <= high <= 1
        if part.taught or name != "where_they_look":  # which holds students against their teacher
            assert all(row[column] is not None for column in recipe.columns)
        if part.teacher:
            assert row["kl_to_teacher"] >= 0
            assert 0 <= row["agreement"] <= 1
        if part.configuration.method != "none":
            assert row["change"] is not None
            if recipe.ranks:  # where it tunes, what validation did not choose is not judged
                assert "network" in row["verdict"]  # one seed speaks of two networks

    page = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert set(labels) <= set(page.texts["td"])
    assert len(page.named("svg")) == len(page.named("figcaption")) >= 2
    assert len(page.named("math")) == len({part.configuration.method for part in recipe.parts("quick")})
    assert page.named("script") == []
    assert all(attributes["src"].startswith("data:image/png;base64,") for attributes in page.named("img"))
    assert bool(page.named("img")) == recipe.gallery
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert all(f"| {label} |" in text for label in labels)

    if name == "missing_class":
        by_label = {row["label"]: row for row in rows}
        assert by_label["Teacher"]["missing"] > 0.8
        assert by_label["Hard labels"]["missing"] == 0
        warm = [by_label[f"Soft targets, T {temperature}"]["missing_corrected"] for temperature in (4, 8, 16)]
        assert max(warm) > 0.5, warm
