"""Where things lie, whatever the environment says."""

import sys
from pathlib import Path

import pytest

from kdengine import paths
from kdengine.paths import PROJECT, data_root, runs_root


@pytest.mark.parametrize(("given", "place"), [
    ("", PROJECT / "runs"), ("elsewhere", PROJECT / "elsewhere"), ("~/mine", Path.home() / "mine"), ("/x", "/x"),
])
def test_a_place_is_absolute_from_home_or_from_the_project(monkeypatch, given, place):
    monkeypatch.setenv("KDENGINE_RUNS", given)
    assert runs_root() == Path(place).resolve()


def test_without_the_variable_it_lies_in_the_project(monkeypatch):
    monkeypatch.delenv("KDENGINE_DATA")
    assert data_root() == PROJECT / "data"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """As a package outside of its source tree, for a user with an empty home."""
    site = tmp_path / "site-packages"
    packaged = site / "kdengine" / "shipped"
    (packaged / "records").mkdir(parents=True)
    (packaged / "digits-teacher.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(paths, "PROJECT", site)
    monkeypatch.setattr(paths, "_PACKAGED", packaged)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    for variable in ("KDENGINE_RUNS", "KDENGINE_DATA", "KDENGINE_CHECKPOINTS"):
        monkeypatch.delenv(variable, raising=False)
    return site


@pytest.mark.skipif(sys.platform != "linux", reason="each system has its own folder for a user's data")
def test_an_installed_package_writes_into_folders_of_the_user(installed, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in installed.rglob("*")}
    home = tmp_path / "home" / "kdengine"
    assert (paths.runs_root(), paths.data_root()) == (home / "runs", home / "data")
    assert paths.reports_root() == home / "results"
    root = paths.checkpoints_root()
    assert root == home / "checkpoints" and (root / "digits-teacher.safetensors").read_bytes() == b"weights"
    (root / "mine.safetensors").write_bytes(b"mine")
    (root / "digits-teacher.safetensors").unlink()
    assert sorted(path.name for path in paths.checkpoints_root().iterdir()) == ["mine.safetensors", "records"]
    assert {path: path.stat().st_mtime_ns for path in installed.rglob("*")} == before


def test_a_folder_for_checkpoints_that_is_named_is_taken_as_it_is(installed, tmp_path, monkeypatch):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "mine"))
    assert paths.checkpoints_root() == tmp_path / "mine" and not (tmp_path / "mine").exists()
