"""Whose code may run: modules that a network is named after, as `package.module:function`. Needs no torch.

A checkpoint or a run folder is data, and may come from anywhere. What it names runs only where the person at this
machine has named the module too: in KDENGINE_TRUST, or on the command line.
"""

from __future__ import annotations

import os
import re

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
            "On the command line, --student, --model and a recipe's --teacher trust what they name, for that command."
        )


def add(name: str) -> None:
    """Trust the module of `module:function` in this process and those that it starts; any other name changes nothing.

    For names that the person at the machine has typed, never for one that was read from a file.
    """
    module, colon, _ = name.partition(":")
    if colon and not trusted(name):
        os.environ[VARIABLE] = ",".join([*_names(), module])


def _names() -> list[str]:
    named = re.split(f"[,{re.escape(os.pathsep)}]", os.environ.get(VARIABLE, ""))
    return [name.strip() for name in named if name.strip()]
