"""Where a network looks: heat maps of its answers, and what two of them have in common; and what a loss does to logits.

The functions here take and give plain data; `heat_maps` and `comparison` work on tensors, `lessons` holds the
experiments for teaching, `short_run` trains with them.
"""

from kdengine.explain.lessons import MEASURED, list_mistakes, loss_parts, mistake_effects
from kdengine.explain.pictures import (
    activity_maps,
    compare_heat_maps,
    heat_map,
    heat_on_object,
    heat_on_objects,
    list_heat_maps,
    overlay,
)
from kdengine.explain.short_run import SHORT_RUN, train_with_mistake

__all__ = ["MEASURED", "SHORT_RUN", "activity_maps", "compare_heat_maps", "heat_map", "heat_on_object",
           "heat_on_objects", "list_heat_maps", "list_mistakes", "loss_parts", "mistake_effects", "overlay",
           "train_with_mistake"]
