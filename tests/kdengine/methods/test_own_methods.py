"""A method of the user's own, named as `package.module:Class`: trusted, checked, trained like the others."""

import pytest

from kdengine import methods
from kdengine.__main__ import main
from kdengine.configuration import Configuration
from kdengine.errors import KDError
from kdengine.runs import control, records, results, store, worker

MINE = """
from dataclasses import dataclass

from kdengine.losses import cross_entropy, kl_divergence
from kdengine.methods import Method, hyperparameter


@dataclass(frozen=True)
class Mine(Method):
    name, title, summary, matches = "mine", "My method", "As logit matching.", "logits"
    formula, source = r"T^2 KL", "nobody"

    temperature: float = hyperparameter(4.0, low=0.1, high=100.0, step=0.5, symbol="T", help="Softens.")
    alpha: float = hyperparameter(0.9, low=0.0, high=1.0, step=0.05, symbol=r"\\alpha", help="The teacher's share.")

    def terms(self, student, teacher, batch, adapter):
        labels = cross_entropy(student.logits, batch.target, batch.supervised, batch.class_weights)
        softened = kl_divergence(student.logits, teacher.logits, batch.mask, temperature=self.temperature)
        return {"cross_entropy": (1 - self.alpha) * labels, "kl": self.alpha * softened}


class Bare(Method):
    name, title, summary, matches, formula, source = "bare", "Bare", "", "", "", ""


@dataclass(frozen=True)
class Silent(Method):
    name = "silent"


@dataclass(frozen=True)
class Loose(Mine):
    size: int = 3


@dataclass(frozen=True)
class Twice(Mine):
    first_stage = Mine


def function():
    pass
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the working folder; its name differs by test, since modules stay imported."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KDENGINE_TRUST", raising=False)
    return name


def test_it_is_imported_only_where_its_module_is_trusted(own, monkeypatch):
    with pytest.raises(KDError, match=f"KDENGINE_TRUST={own}"):
        methods.method(f"{own}:Mine")
    assert methods.titled(f"{own}:Mine") == f"{own}:Mine"
    monkeypatch.setenv("KDENGINE_TRUST", own)
    assert methods.method(f"{own}:Mine", temperature="2").temperature == 2
    assert methods.titled(f"{own}:Mine", {"temperature": 2.0, "alpha": 0.9}) == "My method, T 2, alpha 0.9"
    with pytest.raises(KDError, match="mine's temperature is 0; allowed is a number from 0"):
        methods.method(f"{own}:Mine", temperature=0)


@pytest.mark.parametrize(("name", "told"), [
    ("function", "must be a subclass of kdengine.methods.Method"),
    ("Bare", "write @dataclass\\(frozen=True\\) above it"),
    ("Silent", "lacks title, summary, formula, source, matches"),
    ("Loose", "size has no range; declare it with kdengine.methods.hyperparameter"),
    ("Twice", "has a first stage"),
    ("Gone", "has no method 'Gone'"),
])
def test_what_is_no_method_is_refused_with_what_it_lacks(own, monkeypatch, name, told):
    monkeypatch.setenv("KDENGINE_TRUST", own)
    with pytest.raises(KDError, match=told):
        methods.find(f"{own}:{name}")


def test_it_trains_to_the_very_numbers_of_the_same_method_of_this_project(own, waiting, monkeypatch):
    monkeypatch.setenv("KDENGINE_TRUST", own)
    asked = [Configuration(method=name, hyperparameters={"temperature": 2.0}, teacher="digits-teacher", share=0.1,
                           epochs=1, precision="float32", threads=1) for name in ("kd", f"{own}:Mine")]
    ids = control.submit(asked)
    worker.work(ids)
    ours, mine = (store.history(run)[-1] for run in ids)
    assert store.read(ids[1]).state == records.FINISHED, store.log(ids[1])
    assert ids[1].endswith("-2-Mine") and store.read(ids[1]).configuration.method == f"{own}:Mine"
    assert mine["terms"] == ours["terms"] and mine["validation"] == ours["validation"]
    assert results.names_to_keep("mine", asked) == ["mine-kd", "mine-Mine"]
    monkeypatch.delenv("KDENGINE_TRUST")
    assert {row["name"] for row in results.rows()} >= set(ids)  # a run of an untrusted method is listed all the same


def test_the_command_line_trusts_what_it_names(own, capsys):
    assert main(["methods", f"{own}:Mine"]) == 0
    assert "My method" in capsys.readouterr().out
