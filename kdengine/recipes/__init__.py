"""The lab experiments: planned, trained, watched, and what came out of them."""

from kdengine.recipes.own_sweep import read_sweep, write_sweep
from kdengine.recipes.plans import (
    RECIPES,
    check,
    describe,
    log,
    plan,
    progress,
    recipe,
    run,
    running,
    so_far,
    start,
    stop,
)
from kdengine.recipes.recipe import CHANGES, SCALES, Outcome, Plan, Recipe
from kdengine.recipes.shown import (
    archived_report,
    earlier_results,
    group_report,
    list_recipes,
    measured,
    recipe_report,
    recipe_results,
)

__all__ = [
    "CHANGES", "RECIPES", "SCALES", "Outcome", "Plan", "Recipe", "archived_report", "check", "describe",
    "earlier_results", "group_report", "list_recipes", "log", "measured", "plan", "progress", "read_sweep",
    "recipe", "recipe_report", "recipe_results", "run", "running", "so_far", "start", "stop", "write_sweep",
]
