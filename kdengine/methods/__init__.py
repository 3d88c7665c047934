"""Every distillation method, in display order. Adding one: a file, a line here, a test of its formula."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from kdengine import trust
from kdengine.errors import KDError, unknown_name
from kdengine.methods import contract
from kdengine.methods.activation_boundary import ActivationBoundary
from kdengine.methods.anatomy import anatomy
from kdengine.methods.attention import Attention
from kdengine.methods.combined import Combined
from kdengine.methods.contract import Method, describe, hyperparameter
from kdengine.methods.crd import CRD, CRDBatch
from kdengine.methods.cwd import CWD
from kdengine.methods.dist import DIST
from kdengine.methods.dkd import DKD
from kdengine.methods.e2kd import E2KD
from kdengine.methods.factor import Factor
from kdengine.methods.features_cosine import FeaturesCosine
from kdengine.methods.features_mse import FeaturesMSE
from kdengine.methods.fitnet import FitNet, FitNetOriginal
from kdengine.methods.fsp import FSP
from kdengine.methods.independent import Independent
from kdengine.methods.input_gradient import InputGradient
from kdengine.methods.kd import KD
from kdengine.methods.label_smoothing import LabelSmoothing
from kdengine.methods.logit_standardization import LogitStandardization
from kdengine.methods.nst import NST
from kdengine.methods.pkt import PKT
from kdengine.methods.review import Review
from kdengine.methods.rkd import RKD
from kdengine.methods.similarity import Similarity
from kdengine.methods.vid import VID
from kdengine.methods.weights import Weights

METHODS: dict[str, type[Method]] = {
    each.name: each
    for each in (
        Independent, LabelSmoothing, KD, DKD, LogitStandardization, DIST, FeaturesMSE, FeaturesCosine, FitNet,
        FitNetOriginal, Attention, NST, VID, Factor, Review, ActivationBoundary, FSP, Similarity, RKD, PKT, CRD,
        CRDBatch, CWD, Weights, InputGradient, E2KD, Combined,
    )
}

FIRST_STAGES: dict[str, type[Method]] = {
    each.first_stage.name: each.first_stage for each in METHODS.values() if each.first_stage
}
"""What runs before the methods of two stages; not chosen by itself."""
_FEW = 2


def find(name: str) -> type[Method]:
    """The class of a method, or first stage: one of these, or a user's own, named as `package.module:Class`.

    Raises KDError for an unknown name, a module that is not trusted, and a class that is no method, see `contract`.
    """
    if ":" not in name:
        methods = FIRST_STAGES | METHODS
        if name not in methods:
            raise unknown_name("method", name, [*METHODS, "package.module:Class"])
        return methods[name]
    cls = trust.load(name, "method")
    contract.check(cls, name)
    return cls


def method(name: str, **fields: Any) -> Method:
    """The method of that name, or first stage, with these fields.

    Raises KDError as `find`, and for an unknown field or value.
    """
    return contract.build(find(name), name, fields)


def titled(name: str | None, hyperparameters: Mapping[str, Any] | None = None) -> str:
    """What a method, or first stage, is called on screen, with its hyperparameters where they are given.

    A name that no method has is its own title. None is a network that was not trained here, but imported. Of a method
    with more than two hyperparameters only those are named that differ from their defaults.
    """
    if name is None:
        return "imported"
    cls = _known(name)
    if cls is None:
        return name
    fields, values = dataclasses.fields(cls), hyperparameters or {}
    displayed = [each for each in fields
                 if each.name in values and (len(fields) <= _FEW or values[each.name] != each.default)]
    return ", ".join([cls.title, *(f"{_symbol(each)} {_value(values[each.name])}" for each in displayed)])


def told_apart(students: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """What students side by side are called: by method, and by the hyperparameters in which those of one method differ.

    students: (method, hyperparameters) of each. Of equal ones the second is called so, (2), and so on.
    """
    called: list[str] = []
    for name, fields in students:
        others = [theirs for method, theirs in students if method == name]
        apart = {key: value for key, value in fields.items() if any(value != other.get(key) for other in others)}
        cls = _known(name)
        symbols = {each.name: _symbol(each) for each in dataclasses.fields(cls)} if cls else {}
        title = ", ".join(
            [titled(name), *(f"{symbols.get(key, key)} {_value(value)}" for key, value in apart.items())])
        before = sum(each.partition(" (")[0] == title for each in called)
        called.append(f"{title} ({before + 1})" if before else title)
    return called


def _known(name: str) -> type[Method] | None:
    """The class of that name; None where it is gone, or of a module that is not trusted."""
    try:
        return find(name)
    except KDError:
        return None


def _symbol(field: dataclasses.Field) -> str:
    """A hyperparameter's symbol where it can be read aloud, else its name."""
    symbol = field.metadata["symbol"].removeprefix("\\").removeprefix("var")
    return symbol if symbol.isalpha() else field.name.replace("_", " ")


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


__all__ = ["FIRST_STAGES", "METHODS", "Method", "anatomy", "describe", "find", "hyperparameter", "method", "titled",
           "told_apart"]
