"""The run that a method of two stages starts from."""

from __future__ import annotations

import dataclasses
import math

from kdengine.configuration import Configuration

FIRST_STAGE_SHARE = 1 / 8
"""Epochs of a first stage, as a share of the whole: 30 of 240 in the published comparisons (Tian et al. 2020)."""


def first_stage(configuration: Configuration) -> Configuration | None:
    """Of the run that a method of two stages starts from; None where it has one stage."""
    from kdengine import methods

    first = methods.find(configuration.method).first_stage
    if first is None:
        return None
    own = {each.name for each in dataclasses.fields(first)}
    hyperparameters = {name: value for name, value in configuration.hyperparameters.items() if name in own}
    return dataclasses.replace(
        configuration, method=first.name, hyperparameters=hyperparameters, epochs=first_epochs(configuration))


def first_epochs(configuration: Configuration) -> int:
    """How many epochs the first stage of a method of two stages gets, beside those of the second."""
    return math.ceil(FIRST_STAGE_SHARE * configuration.epochs)
