"""Where a network looks: heat maps of its answers, and what two of them have in common.

The functions here take and give plain data; `heat_maps` and `comparison` work on tensors.
"""

from kdengine.explain.pictures import (
    compare_heat_maps,
    heat_map,
    heat_on_object,
    heat_on_objects,
    list_heat_maps,
    overlay,
)

__all__ = ["compare_heat_maps", "heat_map", "heat_on_object", "heat_on_objects", "list_heat_maps", "overlay"]
