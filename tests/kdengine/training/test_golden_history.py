"""The numbers of one short run, to the bit: what a change of the code around the mathematics must not move.

`golden/history.json` was written by `OMP_NUM_THREADS=1 python -m tests.kdengine.training.test_golden_history` at the
commit, on the processor and with the torch it names. There the history is equal to the bit. Another processor or torch
sums in another order: there the first epoch is nearly equal.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch

from kdengine.configuration import Configuration
from kdengine.runs import control, records, store, worker

GOLDEN = Path(__file__).parent / "golden" / "history.json"
METHODS = {"kd": {"temperature": 4.0, "alpha": 0.9}, "none": {}}
TIMES = ("seconds", "own_seconds", "images_per_second")
SHARES = ("top1", "top5", "agreement")


def machine():
    """What decides the last digits."""
    told = ("model name", "cpu family", "model", "stepping")
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return {"torch": torch.__version__.partition("+")[0], **{key: facts.get(key) for key in told}}


def histories():
    """The rows of each method: without what a clock says, and with counts of images in place of their shares."""
    ids = control.submit([
        Configuration(method=method, hyperparameters=fields, teacher="digits-teacher", epochs=3, threads=1,
                      precision="float32", device="cpu")
        for method, fields in METHODS.items()
    ])
    worker.work(ids)
    assert [store.state(run) for run in ids] == [records.FINISHED] * len(ids)
    rows = {store.read(run).configuration.method: store.history(run) for run in ids}
    for row in (row for each in rows.values() for row in each):
        for key in TIMES:
            del row[key]
        scores = row["validation"]
        scores |= {key: round(scores[key] * scores["n"]) for key in SHARES}
    return rows


def test_a_short_run_gives_the_numbers_it_always_gave(monkeypatch):
    monkeypatch.setattr(control, "_launch", lambda ids: None)
    golden = json.loads(GOLDEN.read_text())
    now = histories()
    if golden["machine"] == machine():
        assert now == golden["histories"]
    for method, rows in golden["histories"].items():
        assert len(now[method]) == len(rows)
        assert now[method][0]["terms"] == pytest.approx(rows[0]["terms"], rel=1e-2)
        assert now[method][0]["validation"]["top1"] == pytest.approx(rows[0]["validation"]["top1"], abs=4)


def _write():
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"KDENGINE_RUNS": f"{folder}/runs", "KDENGINE_DATA": f"{folder}/data"}
        torch.set_num_threads(1)
        control._launch = lambda ids: None
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        held = {"commit": commit, "machine": machine(), "histories": histories()}
    GOLDEN.write_text(json.dumps(held, indent=1) + "\n")


if __name__ == "__main__":
    _write()
