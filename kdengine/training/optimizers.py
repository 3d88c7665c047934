"""torch's optimizers, as a configuration asks for them."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from kdengine.configuration import Configuration


def _plain(kind: type[torch.optim.Optimizer]) -> Any:
    """An optimizer that takes the same steps without the calls by which torch keeps its compiler off it.

    The first of these calls would import that compiler, which takes a second at the start of every run. Only networks
    are compiled here.
    """
    method_names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    steps = {name: inspect.unwrap(getattr(kind, name)) for name in method_names}
    return type(kind.__name__, (kind,), steps | {"step": torch.no_grad()(inspect.unwrap(kind.step))})


_SGD, _ADAM, _ADAMW = map(_plain, (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW))


def optimizer_of(parameters: list[nn.Parameter], configuration: Configuration) -> torch.optim.Optimizer:
    """That of the configuration, over these parameters."""
    settings = {"lr": configuration.learning_rate, "weight_decay": configuration.weight_decay, "fused": True}
    if configuration.optimizer == "sgd":
        return _SGD(parameters, momentum=configuration.momentum, **settings)
    adam = _ADAM if configuration.optimizer == "adam" else _ADAMW
    return adam(parameters, betas=(configuration.momentum, 0.999), **settings)
