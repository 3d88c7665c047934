"""The legend of a formula: every letter that is explained stands in one, and no formula is left without."""

import pytest

from explorer.symbols import SYMBOLS, legend
from kdengine.methods import METHODS


def test_no_symbol_is_explained_that_no_formula_has():
    assert not [each for each in SYMBOLS if not any(each in method.formula for method in METHODS.values())]


@pytest.mark.parametrize("name", METHODS)
def test_what_a_formula_has_is_explained_once(name):
    formula = METHODS[name].formula
    told = legend(formula).split(" · ")
    assert told[0].startswith(r"$\mathrm{CE}$: cross-entropy" if r"\mathrm{CE}" in formula else r"$\mathrm{KL}$: ")
    assert len(told) == len(set(told))


def test_the_legend_of_the_classical_loss():
    assert legend(METHODS["kd"].formula) == (
        r"$\mathrm{CE}$: cross-entropy · $y$: the label; $p_s$: the student's probabilities · "
        r"$\mathrm{KL}$: Kullback-Leibler divergence · $z_t, z_s$: logits of teacher and student · $\sigma$: softmax")
