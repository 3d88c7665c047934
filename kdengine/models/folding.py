"""Batch normalisation folded into the convolutions before it: the same function of an image, in fewer passes."""

from __future__ import annotations

import copy
from collections import Counter

from torch import nn
from torch.fx import Tracer
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kdengine.models.network import Network


def folded(network: Network) -> Network:
    """A copy in evaluation mode whose convolutions scale and shift as the normalisation behind each of them did.

    Stage outputs and logits stay as they were, up to rounding; the weights of the convolutions do not. A convolution
    that something else reads too keeps its normalisation, as does one at which a stage ends, and so does all of a
    network whose way through its layers depends on what it is shown.
    """
    copied = copy.deepcopy(network).eval()
    net = copied.net
    stages = [stage.path.removeprefix("net.") for stage in network.stages]
    for before, after in _followed(net):
        if any(_inside(before, stage) and not _inside(after, stage) for stage in stages):
            continue
        convolution, normalization = net.get_submodule(before), net.get_submodule(after)
        assert isinstance(convolution, nn.Conv2d) and isinstance(normalization, nn.BatchNorm2d)
        _put(net, before, fuse_conv_bn_eval(convolution, normalization))
        _put(net, after, nn.Identity())
    return copied


def _followed(net: nn.Module) -> list[tuple[str, str]]:
    """The paths of each convolution whose output goes into a batch normalisation and nowhere else, and of that one."""
    try:
        nodes = list(_Layers().trace(net).nodes)
    except Exception:  # the network may be a stranger's code: its forward may ask anything of what it is given
        return []
    calls = [node for node in nodes if node.op == "call_module"]
    times = Counter(node.target for node in calls)
    read = {node.target.rpartition(".")[0] for node in nodes if node.op == "get_attr"}  # whose weights, say
    pairs = []
    for node in calls:
        normalization = net.get_submodule(node.target)
        if not isinstance(normalization, nn.BatchNorm2d) or normalization.running_mean is None or node.kwargs:
            continue
        before, = node.args
        if (
            before.op == "call_module" and isinstance(net.get_submodule(before.target), nn.Conv2d)
            and len(before.users) == times[node.target] == times[before.target] == 1
            and not read & {before.target, node.target}
        ):
            pairs.append((before.target, node.target))
    return pairs


def _inside(path: str, stage: str) -> bool:
    return path == stage or path.startswith(f"{stage}.")


class _Layers(Tracer):
    """Takes a convolution and a normalisation as one step each, also where a network has a kind of its own."""

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        return isinstance(module, nn.Conv2d | nn.BatchNorm2d) or super().is_leaf_module(module, path)


def _put(net: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, module)
