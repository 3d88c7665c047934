"""The one contract of a distillation method.

A method is a frozen dataclass of hyperparameters that says which signals it wants, builds what it must train besides
the student, and turns signals into weighted, named terms whose sum is the loss. It never calls a model, never holds
one, never sees the optimiser. Its fields are declared once, with `hyperparameter`; forms, validation, flags, records
and documentation all read that declaration.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kdengine.errors import KDError, out_of_range, unknown_name
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted, pair_stages

MATCHES = ("logits", "weights", "features", "gradients", "sparsity", "relations", "nothing")
"""The six kinds of what a method may match."""


def hyperparameter(
    default: float | str,
    *,
    help: str,
    symbol: str,
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """A field of a method: its default, its closed range [low, high] or its choices, a slider's step, its meaning.

    A whole number where the default is one: then give low, high and step as whole numbers too.
    """
    declared = {"low": low, "high": high, "step": step, "choices": tuple(choices), "help": help, "symbol": symbol}
    return dataclasses.field(default=default, metadata=declared)


@dataclass(frozen=True)
class Method:
    """Base of every method. A subclass declares the class attributes and its fields, and answers three questions."""

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str]
    """LaTeX, without delimiters."""
    source: ClassVar[str]
    matches: ClassVar[str]
    """One of MATCHES."""
    needs_teacher: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classification", "segmentation")
    first_stage: ClassVar[type[Method] | None] = None
    """What is trained before it, in a run of its own whose student (and adapter) this one starts from."""
    trains_student: ClassVar[bool] = True
    """False for a first stage that only prepares an adapter."""

    def __post_init__(self) -> None:
        for declared in dataclasses.fields(self):
            checked = _checked(declared, getattr(self, declared.name), self.name)
            object.__setattr__(self, declared.name, checked)

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """What to look at in the student and in the teacher, besides their logits."""
        del student, teacher
        return Wanted(), Wanted()

    def adapter(
        self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator
    ) -> nn.Module | None:
        """What must be trained besides the student, built once from example signals; None where nothing is."""
        del student, teacher, facts, generator
        return None

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: Any) -> dict[str, Tensor]:
        """Weighted, named scalars whose sum is the loss.

        teacher: without anything in it where `needs_teacher` is false. adapter: what `adapter` built.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what its loss is.")


def every_stage(student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
    """The features of all stages that both have, aligned at the deep end and in the same order."""
    pairs = pair_stages(student, teacher)
    return Wanted(tuple(ours.name for ours, _ in pairs)), Wanted(tuple(theirs.name for _, theirs in pairs))


def deepest_stage(student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
    """The features of each network's last stage."""
    ours, theirs = pair_stages(student, teacher)[-1]
    return Wanted((ours.name,)), Wanted((theirs.name,))


def describe(method: type[Method]) -> dict[str, Any]:
    """A method as plain data: name, title, summary, formula, source, what it matches, tasks, fields, first stage.

    Of a field `allowed` says its range, or its choices, in words.
    """
    fields = [{"name": each.name, "default": each.default, **each.metadata, "allowed": _allowed(each)}
              for each in dataclasses.fields(method)]
    described = ("name", "title", "summary", "formula", "source", "matches", "needs_teacher", "tasks")
    first = method.first_stage.name if method.first_stage else None
    return {key: getattr(method, key) for key in described} | {"first_stage": first, "fields": fields}


def check(cls: Any, name: str) -> None:
    """Raise KDError unless a user's own class is a method: a frozen dataclass of `Method` that says what it is."""
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        raise KDError(f"{name} is no method: it must be a subclass of kdengine.methods.Method.")
    if "__dataclass_fields__" not in vars(cls):
        raise KDError(f"{name} is no frozen dataclass; write @dataclass(frozen=True) above it.")
    said = ("name", "title", "summary", "formula", "source", "matches")
    if missing := [each for each in said if not isinstance(getattr(cls, each, None), str)]:
        raise KDError(f"{name} lacks {', '.join(missing)}: a method says what it is, each in a text.")
    if cls.matches not in MATCHES:
        raise unknown_name(f"matches of {name}", cls.matches, MATCHES)
    for field in dataclasses.fields(cls):
        if not {"low", "high", "choices", "symbol", "help"} <= field.metadata.keys():
            raise KDError(f"{name}'s {field.name} has no range; declare it with kdengine.methods.hyperparameter.")
    if cls.first_stage is not None:
        raise KDError(f"{name} has a first stage. Only the methods of this project have one; train it in a run of its "
                      "own, and start from that.")


def build(cls: type[Method], name: str, fields: dict[str, Any]) -> Method:
    """The method of that class with these fields, checked. Raises KDError for an unknown field or value."""
    declared = [each.name for each in dataclasses.fields(cls)]
    for key in fields:
        if key not in declared:
            if not declared:
                raise KDError(f"Method {name!r} has no hyperparameters; {key!r} was given.")
            raise unknown_name(f"hyperparameter of {name}", key, declared)
    return cls(**fields)


def _allowed(declared: dataclasses.Field) -> str:
    about = declared.metadata
    return " or ".join(about["choices"]) if about["choices"] else f"{about['low']:,.10g} to {about['high']:,.10g}"


def _checked(declared: dataclasses.Field, value: Any, method: str) -> Any:
    """The value in its declared type and range; text from a command line is read as a number where one is meant."""
    original, name = value, f"{method}'s {declared.name}"
    if declared.metadata["choices"]:
        if value not in declared.metadata["choices"]:
            raise unknown_name(name, str(value), declared.metadata["choices"])
        return value
    whole = isinstance(declared.default, int)
    try:
        value = float(value)
    except (TypeError, ValueError):
        raise KDError(f"{name} is {original!r}; allowed is a {'whole ' if whole else ''}number.") from None
    low, high = declared.metadata["low"], declared.metadata["high"]
    if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
        raise out_of_range(name, original, low, high)
    if whole and not value.is_integer():
        raise KDError(f"{name} is {original!r}; allowed is a whole number.")
    return int(value) if whole else value
