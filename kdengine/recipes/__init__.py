"""The lab experiments, in display order. Adding one: a file, a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kdengine import runs, sweeps
from kdengine.errors import unknown_name
from kdengine.recipes import comparison
from kdengine.recipes.colour_invariance import COLOUR_INVARIANCE
from kdengine.recipes.missing_class import MISSING_CLASS
from kdengine.recipes.recipe import SCALES, Outcome, Recipe
from kdengine.recipes.response_vs_feature import RESPONSE_VS_FEATURE
from kdengine.recipes.six_methods import SIX_METHODS
from kdengine.recipes.teacher_capacity import TEACHER_CAPACITY
from kdengine.recipes.temperature_alpha import TEMPERATURE_ALPHA
from kdengine.recipes.what_can_be_matched import WHAT_CAN_BE_MATCHED

RECIPES: dict[str, Recipe] = {
    each.name: each
    for each in (
        RESPONSE_VS_FEATURE, TEMPERATURE_ALPHA, SIX_METHODS, COLOUR_INVARIANCE, TEACHER_CAPACITY, WHAT_CAN_BE_MATCHED,
        MISSING_CLASS,
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises KDError for an unknown one."""
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


def run(name: str, scale: str, seeds: int, on_change: Callable[[int, int], None]) -> Outcome:
    """Train what a recipe has not trained yet, and return all of it. See `sweeps.run`."""
    parts = recipe(name).plan(scale)
    return _outcome(parts, sweeps.run(parts, seeds, on_change))


def so_far(name: str, scale: str, seeds: int) -> Outcome:
    """What of a recipe has finished; trains nothing."""
    parts = recipe(name).plan(scale)
    return _outcome(parts, sweeps.finished(parts, seeds))


def describe(each: Recipe) -> dict[str, Any]:
    """A recipe as plain data: name, title, question, and by scale the labels of its parts."""
    return {"name": each.name, "title": each.title, "question": each.question,
            "parts": {scale: [part.label for part in each.plan(scale)] for scale in SCALES}}


def _outcome(parts: list[sweeps.Part], ids: sweeps.Ids) -> Outcome:
    return Outcome(parts, {key: runs.read(run) for key, run in ids.items()})


__all__ = ["RECIPES", "SCALES", "Outcome", "Recipe", "comparison", "describe", "recipe", "run", "so_far"]
