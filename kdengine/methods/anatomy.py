"""What is inside a method, read from the method itself: the code that runs, what flows, and who reads labels.

Nothing of it is declared anywhere. The code is the installed one; all else is found by trying the method on toys.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from types import FunctionType
from typing import Any

import torch

from kdengine.losses import IGNORE
from kdengine.methods.contract import Method, describe
from kdengine.methods.scene import Scene
from kdengine.signals import Batch, Stage

STAGES = tuple(Stage(f"stage {number}", "", 1, 1) for number in (1, 2, 3))
PLACES = ("image", *(stage.name for stage in STAGES), "logits")
"""Where something may flow from a teacher of three stages to such a student, in the order of a forward."""
_OURS = ("kdengine.losses", "kdengine.methods")
_DISAGREEMENT = "Known disagreement: "


def anatomy(method: type[Method]) -> dict[str, Any]:
    """All that `describe` says of a method, and what is inside it with its fields at their usual values.

    runs: one, or two where a first stage comes before it. Each has a title and a summary; code, the text of its terms,
    of what is trained besides the student, and of all that they call in turn, as dicts of name, file and text; terms,
    by name, and whether each reads labels; adapter, what is trained besides the student, in a sentence, or None.
    flows: what the runs take of the teacher, by place, see PLACES: whether a trained layer stands between. maps: those
    of the places where it is a map of the picture, an explanation, and not the features.
    disagreements: where published code differs, in sentences by what they are about.
    """
    runs: list[dict[str, Any]] = []
    flows: dict[str, bool] = {}
    maps: list[str] = []
    disagreements: dict[str, str] = {}
    with torch.random.fork_rng(devices=[]):  # a scene seeds torch
        for stage in filter(None, (method.first_stage, method)):
            scene, functions = Scene(stage(), stage.tasks[0]), _functions(stage)
            terms, *called = functions
            code: list[FunctionType | type] = [terms, *_trained(scene), *called]
            runs.append({
                "title": stage.title, "summary": stage.summary, "terms": _terms(scene),
                "code": [_piece(each) for each in code],
                "adapter": (inspect.getdoc(stage.adapter) or "").partition("\n")[0] if scene.adapter else None,
            })
            flows |= _flows(scene)
            maps += scene.method.wants(STAGES, STAGES)[1].explanations
            disagreements |= _disagreements([stage, *functions])
    return describe(method) | {
        "runs": runs, "flows": {place: flows[place] for place in PLACES if place in flows},
        "maps": maps, "disagreements": disagreements,
    }


def _functions(method: type[Method]) -> list[FunctionType]:
    """The terms, and what they call in turn: what is called by the terms themselves comes first."""
    functions: dict[FunctionType, None] = {}
    waiting: list[Any] = [method.terms]
    while waiting:
        function, *waiting = waiting
        if function not in functions:
            functions[function] = None
            waiting += _called(function, method)
    return list(functions)


def _trained(scene: Scene) -> dict[type, None]:
    """The classes of what is trained besides the student, torch's own left out."""
    modules = scene.adapter.modules() if scene.adapter else ()
    return {type(each): None for each in modules if not type(each).__module__.startswith("torch.")}


def _called(function: FunctionType, method: type[Method]) -> Iterator[FunctionType]:
    """What a function calls, in the order of its text: losses, what methods share, what a batch or a parent offers.

    What is no function of these, torch's own above all, is left out.
    """
    nodes = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function))))
    names = [each for each in nodes if isinstance(each, ast.Name | ast.Attribute)]
    for node in sorted(names, key=lambda each: (each.lineno, each.col_offset)):
        if isinstance(node, ast.Attribute):
            value = getattr(_owner(node.value, function, method), node.attr, None)
            value = value.fget if isinstance(value, property) else value
        else:
            value = function.__globals__.get(node.id)
        if isinstance(value, FunctionType) and (value.__module__.startswith(_OURS) or isinstance(node, ast.Attribute)):
            yield value


def _owner(node: ast.expr, function: FunctionType, method: type[Method]) -> Any:
    """What stands before the dot: the batch, the method itself, or its parent; None where it is another thing."""
    if isinstance(node, ast.Name):
        return {"batch": Batch, "self": method}.get(node.id)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super":
        own = next(each for each in method.__mro__ if function in vars(each).values())
        return super(own, method)
    return None


def _piece(code: FunctionType | type) -> dict[str, str]:
    return {"name": code.__qualname__, "file": f"{code.__module__.replace('.', '/')}.py",
            "text": textwrap.dedent(inspect.getsource(code))}


def _flows(scene: Scene) -> dict[str, bool]:
    """What a method takes of a teacher of three stages: the place, and whether a trained layer stands between."""
    _, wanted = scene.method.wants(STAGES, STAGES)
    flows = dict.fromkeys(wanted.features + wanted.preactivations + wanted.weights, scene.adapter is not None)
    flows |= dict.fromkeys(wanted.explanations, False)
    if wanted.input_gradient:
        flows["image"] = False
    student, teacher = scene.signals()
    unreadable = dataclasses.replace(teacher, logits=torch.full_like(teacher.logits, torch.nan))
    if any(term.isnan() for term in scene.method.terms(student, unreadable, scene.batch, scene.adapter).values()):
        flows["logits"] = False
    return flows


def _terms(scene: Scene) -> dict[str, bool]:
    """The terms by name, and whether each reads labels: it is another number where all labels are withheld."""
    withheld = dataclasses.replace(scene.batch, labelled=torch.zeros_like(scene.batch.labelled),
                                   target=torch.full_like(scene.batch.target, IGNORE))
    without = scene.terms(withheld)
    return {name: not torch.equal(term, without[name]) for name, term in scene.terms().items()}


def _disagreements(documented: Sequence[Any]) -> dict[str, str]:
    """What docstrings of a method and of functions say of published code, by the name of each."""
    disagreements = {}
    for each in documented:
        for paragraph in (inspect.getdoc(each) or "").split("\n\n"):
            _, known, said = " ".join(paragraph.split()).partition(_DISAGREEMENT)
            if known:
                disagreements[getattr(each, "name", each.__name__)] = said
    return disagreements
