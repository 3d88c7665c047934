"""A place where code that is named in a file would be found, and where it is seen whether it ran."""

import sys

import pytest


@pytest.fixture
def mark(tmp_path, monkeypatch):
    """The file that importing the module `leaves_a_mark`, in the current folder, leaves behind."""
    place = tmp_path / "current"
    place.mkdir()
    (place / "leaves_a_mark.py").write_text(
        "from pathlib import Path\nPath(__file__).with_name('mark').touch()\n"
        "def f(classes):\n    from torch import nn\n    return nn.Sequential(nn.Flatten(), nn.Linear(3072, classes))\n")
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "leaves_a_mark", raising=False)
    yield place / "mark"
    sys.modules.pop("leaves_a_mark", None)
