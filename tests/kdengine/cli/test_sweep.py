"""`sweep` and `runs --config`: what they print, what they leave, and the sentence for a slip."""

import json

import pytest

import kdengine
from kdengine import recipes
from kdengine.__main__ import main
from kdengine.runs import checkpoints, store

SWEEP = """
teacher = "digits-teacher"
share = 0.1
epochs = 1
batch_size = 32
precision = "float32"
threads = 1
seed = 2

[[method]]
method = "kd"
alpha = [0.5, 1]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SWEEP, encoding="utf-8-sig")  # as some editors write it
    return path


def run(capsys, *words):
    """Exit status, standard output, standard error."""
    status = main([str(word) for word in words])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_a_sweep_is_trained_told_reported_and_kept(capsys, file, tmp_path, train_here, monkeypatch):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "checkpoints"))
    teacher = kdengine.list_checkpoints()
    assert teacher == {}  # a folder of its own has none, so the file's teacher is nobody
    status, _, err = run(capsys, "sweep", "--config", file)
    assert status == 1 and "Unknown checkpoint 'digits-teacher'." in err
    monkeypatch.delenv("KDENGINE_CHECKPOINTS")
    status, out, _ = run(capsys, "sweep", "--config", file, "--so-far", "--json")
    assert (status, json.loads(out)) == (0, [])
    status, out, err = run(capsys, "sweep", "--config", file, "--report", tmp_path / "report")
    assert status == 0, err
    assert out.startswith("A sweep of your own. ")
    assert [line.partition("  ")[0] for line in out.splitlines()[4:7]] == [
        "Independent student", "Logit matching, alpha 0.5", "Logit matching, alpha 1"]
    assert err.splitlines()[-2:] == ["3 of 3 networks trained", f"Report: {tmp_path / 'report' / 'report.html'}"]
    assert (tmp_path / "report" / "sweep.toml").read_text() == SWEEP
    ids = sorted(record.id for record in store.all_runs())
    status, out, _ = run(capsys, "runs", *ids, "--config")
    assert status == 0
    assert recipes.read_sweep(out).identity == recipes.read_sweep(SWEEP).identity
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "checkpoints"))
    status, _, err = run(capsys, "sweep", "--config", file, "--so-far", "--keep", "mine")
    assert status == 0, err
    assert sorted(checkpoints.shipped()) == [
        "mine-independent-student", "mine-logit-matching-alpha-0-5", "mine-logit-matching-alpha-1"]


@pytest.mark.parametrize(("content", "sentence"), [
    ("seeds = 1\nepochs 2",
     "kdengine: This is not valid TOML: Expected '=' after a key in a key/value pair (at line 2, column 8)."),
    ("epoch = 1", "kdengine: Unknown key 'epoch'. Did you mean 'epochs'?"),
    ("\xff = 1", "kdengine: This is not valid TOML: Invalid statement (at line 1, column 1)."),
])
def test_a_slip_in_the_file_is_told_and_nothing_starts(capsys, tmp_path, content, sentence):
    path = tmp_path / "mine.toml"
    path.write_bytes(content.encode("latin-1"))
    status, out, err = run(capsys, "sweep", "--config", path)
    assert (status, out) == (1, "")
    assert err.startswith(sentence)
    assert store.all_runs() == []


def test_a_file_that_is_not_there_is_told(capsys, tmp_path):
    status, _, err = run(capsys, "sweep", "--config", tmp_path / "none.toml")
    assert status == 1
    assert err.startswith(f"kdengine: There is no file {tmp_path / 'none.toml'}. Write one, or have a run written as "
                          "one: python -m kdengine runs RUN --config.")


def test_config_needs_a_run_that_is_there(capsys):
    for words, sentence in ((["runs", "--config"], "--config needs the name of a run"),
                            (["runs", "nothing", "--config"], "nothing")):
        status, _, err = run(capsys, *words)
        assert status == 1 and sentence in err
