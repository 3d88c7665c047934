"""Where things lie, whatever the environment says."""

from pathlib import Path

import pytest

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
