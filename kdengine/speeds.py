"""How fast this machine runs a network, by a short measurement."""

from __future__ import annotations

import torch

from kdengine.devices import device_name
from kdengine.models.network import Network
from kdengine.places import runs_root
from kdengine.records import read_json, write_json
from kdengine.training import step_seconds

_WORTH = 1.1
"""How many times faster bfloat16 must be to be chosen: a smaller gain is within the noise of the measurement."""


def faster_precision(network: Network, batch_size: int, *, backward: bool) -> str:
    """`bfloat16` where autocast is clearly faster for this network on its device, else `float32`.

    Measured once and remembered beside the runs, so that equal runs of a machine choose equally.
    """
    device = next(network.parameters()).device
    key = " ".join(str(part) for part in (
        network.architecture, network.input_size, batch_size, "training" if backward else "forward",
        device_name(device), torch.get_num_threads(), torch.__version__,
    ))
    remembered = runs_root() / ".precision.json"
    choices = read_json(remembered)
    if key not in choices:
        seconds = step_seconds(network, batch_size, ("float32", "bfloat16"), backward=backward)
        faster = "bfloat16" if seconds["float32"] > _WORTH * seconds["bfloat16"] else "float32"
        choices[key] = {"precision": faster, "seconds": seconds}
        remembered.parent.mkdir(parents=True, exist_ok=True)
        write_json(remembered, choices)
    return choices[key]["precision"]


def seconds_now(network: Network, batch_size: int, precision: str, *, backward: bool) -> float:
    """Seconds of one step as fast as the machine is at this moment; `auto` is the faster precision."""
    if precision == "auto":
        precision = faster_precision(network, batch_size, backward=backward)
    return step_seconds(network, batch_size, (precision,), backward=backward)[precision]
