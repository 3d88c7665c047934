"""Where a network looks: heat maps of its answers, and what two of them have in common."""

from kdengine.explain.comparison import compare_maps, on_object, on_objects, overlay
from kdengine.explain.heat_maps import HEAT_MAPS, SMALLEST_MAP, HeatMap, default_stage, heat_map

__all__ = ["HEAT_MAPS", "SMALLEST_MAP", "HeatMap", "compare_maps", "default_stage", "heat_map", "on_object",
           "on_objects", "overlay"]
