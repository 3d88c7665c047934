"""Where a person reads how a folder was taken: the command line, a run's log and record, and the public face."""

from __future__ import annotations

import json

import pytest

import kdengine
from kdengine.__main__ import main
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.runs import control, store, worker

TAKEN = "The masks hold 0 and 255 alone: 0 was taken as background, 255 as foreground."


@pytest.fixture
def discs(make_mask_folder, tmp_path):
    """A folder in the data root whose masks are black and white, named there."""
    make_mask_folder("data/discs", classes=None, values=(0, 255), train=10, val=2, test=4)
    return "folder:discs"


def test_the_command_line_says_it(discs, capsys):
    assert main(["data", discs]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == TAKEN
    assert main(["data", discs, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [TAKEN]
    assert main(["data", "digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []


def test_the_public_face_says_it(discs, make_mask_folder):
    assert kdengine.data.notes(discs) == (TAKEN,)
    assert kdengine.data.notes("digits") == ()
    make_mask_folder("data/levels", classes=None, values=(0, 128, 255), train=10, test=4)
    with pytest.raises(KDError, match="The masks hold the values 0, 128, 255"):
        kdengine.data.notes("folder:levels")


def test_a_run_s_log_and_record_say_it(discs, capsys, monkeypatch):
    monkeypatch.setattr(control, "_launch", lambda ids: None)
    ids = control.submit([Configuration(
        data=discs, student="fpn_tiny", method="none", epochs=1, image_size=16, threads=1, precision="float32",
        device="cpu")])
    worker.work(ids)
    assert TAKEN in capsys.readouterr().err.splitlines()  # the worker's output is the log
    record = store.read(ids[0])
    assert record.status["state"] == "finished"
    assert record.data["notes"] == [TAKEN]
