"""Whose code may run: modules that networks and methods are named after, as `package.module:name`. Needs no torch.

A checkpoint or a run folder is data, and may come from anywhere. What it names runs only where the person at this
machine has named the module too: in KDENGINE_TRUST, or on the command line.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Any

from kdengine.errors import KDError

VARIABLE = "KDENGINE_TRUST"
"""Modules and packages, separated by commas or as PATH is."""


def trusted(reference: str) -> bool:
    """Whether `module:function` may be imported: its module, or a package that holds it, is named in KDENGINE_TRUST."""
    module = reference.partition(":")[0]
    return any(module == name or module.startswith(f"{name}.") for name in _names())


def require(reference: str) -> None:
    """Raise KDError unless `module:function` may be imported."""
    if not trusted(reference):
        module = reference.partition(":")[0]
        raise KDError(
            f"{reference} is code of the module {module}, and importing that runs what is written in it. It is "
            f"imported only where it is trusted: if you know whose it is, set {VARIABLE}={module} and start again. "
            "On the command line, --student, --model, --method and a recipe's --teacher trust what they name, for that "
            "command."
        )


def add(name: str) -> None:
    """Trust the module of `module:function` in this process and those that it starts; any other name changes nothing.

    For names that the person at the machine has typed, never for one that was read from a file.
    """
    module, colon, _ = name.partition(":")
    if colon and not trusted(name):
        os.environ[VARIABLE] = ",".join([*_names(), module])


def load(reference: str, kind: str) -> Any:
    """What `package.module:name` refers to; the current folder is searched too. kind: what it is to be, in a word.

    Raises KDError where its module is not trusted, and nothing is imported; and where there is no such name in it.
    """
    module_name, _, name = reference.partition(":")
    if not module_name or not name.isidentifier():
        raise KDError(f"{reference!r} names no {kind}. Write package.module:name, as in my_package:small.")
    require(reference)
    here = os.getcwd()  # noqa: PTH109  sys.path holds text
    if here not in sys.path:
        sys.path.append(here)  # at the end, so that no file there can stand in for an installed module
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs a stranger's code: anything can come out
        raise KDError(
            f"The module {module_name} of {reference} cannot be imported ({type(error).__name__}: {error}). "
            f"It must be installed, or lie in {here}."
        ) from error
    if not hasattr(module, name):
        raise KDError(f"The module {module_name} ({getattr(module, '__file__', None)}) has no {kind} {name!r}.")
    return getattr(module, name)


def _names() -> list[str]:
    named = re.split(f"[,{re.escape(os.pathsep)}]", os.environ.get(VARIABLE, ""))
    return [name.strip() for name in named if name.strip()]
