"""The lab experiments, in display order. Adding one: a file, a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kdengine import runs, sweeps
from kdengine.errors import unknown_name
from kdengine.recipes.colour_invariance import COLOUR_INVARIANCE
from kdengine.recipes.missing_class import MISSING_CLASS
from kdengine.recipes.recipe import CHANGES, SCALES, Outcome, Plan, Recipe
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


def plan(name: str, scale: str = "quick", seeds: int = 1, **changes: Any) -> Plan:
    """A recipe as it is to be run; changes that are None change nothing. Raises KDError as `Plan`."""
    return Plan(recipe(name), scale, seeds, {key: value for key, value in changes.items() if value is not None})


def run(asked: Plan, on_change: Callable[[int, int], None] = lambda done, of: None) -> Outcome:
    """Train what a plan has not trained yet, and return all of it. See `sweeps.run`."""
    return _outcome(asked, sweeps.run(asked.parts, asked.seeds, on_change))


def so_far(asked: Plan) -> Outcome:
    """What of a plan has finished; trains nothing."""
    return _outcome(asked, sweeps.finished(asked.parts, asked.seeds))


def describe(each: Recipe) -> dict[str, Any]:
    """A recipe as plain data: name, title, question, and by scale the labels of its parts."""
    return {"name": each.name, "title": each.title, "question": each.question,
            "parts": {scale: [part.label for part in each.parts(scale)] for scale in SCALES}}


def _outcome(asked: Plan, ids: sweeps.Ids) -> Outcome:
    return Outcome(asked, {key: runs.read(run) for key, run in ids.items()})


__all__ = ["CHANGES", "RECIPES", "SCALES", "Outcome", "Plan", "Recipe", "describe", "plan", "recipe", "run", "so_far"]
