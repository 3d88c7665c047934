"""A model of the user's own, named as `package.module:function`. Only a trusted module is imported, see `trust`.

The function takes the number of classes and returns a module from images [B, 3, H, W] to logits [B, classes]. The
module may say more of itself in plain attributes, all optional:

stages      list or tuple of (path, channels, stride) or Stage, shallow to deep, paths inside the module
input_size  pixels of a side; 32 where it says nothing
task        "segmentation" where it returns logits [B, classes, h, w], of the images' size or coarser
mean, std   three plain numbers each, for images in [0, 1]; ImageNet's where it says nothing

Attributes of these names that are something else (a submodule called `stages`, a tensor called `mean`) are the
module's own affair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdengine import trust
from kdengine.errors import KDError
from kdengine.models.architecture import numbered
from kdengine.models.network import IMAGENET_MEAN, IMAGENET_STD, Network, check, check_input, evaluating
from kdengine.signals import Stage

INPUT_SIZE = 32


def function(reference: str) -> Callable[[int], Any]:
    """What `package.module:function` refers to. Raises KDError as `trust.load`, and where it cannot be called."""
    loaded = trust.load(reference, "model")
    if not callable(loaded):
        raise KDError(f"{reference} is no function that makes a network; it is a {type(loaded).__name__}.")
    return loaded


def network(
    reference: str, classes: Sequence[str], *, input_size: int | None = None,
    mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
) -> Network:
    """The user's network, see `as_network`. Raises KDError as that does, and where the reference is none."""
    return as_network(function(reference), reference, classes, input_size=input_size, mean=mean, std=std)


def as_network(
    make: Callable[[int], Any], reference: str, classes: Sequence[str], *, input_size: int | None = None,
    mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
) -> Network:
    """What a user's function makes, held to what it promises by `check`. What is None, the module says itself.

    Raises KDError where the function or the module is not what is described above.
    """
    try:
        net = make(len(classes))
    except Exception as error:  # a stranger's code: anything can come out
        raise KDError(f"{reference}({len(classes)}) raised {type(error).__name__}: {error}") from error
    if not isinstance(net, nn.Module):
        raise KDError(f"{reference} returned a {type(net).__name__}; it must return a torch.nn.Module.")
    size: Any = input_size or getattr(net, "input_size", INPUT_SIZE)
    mean = mean or _plain(net, "mean") or IMAGENET_MEAN
    std = std or _plain(net, "std") or IMAGENET_STD
    check_input(size, mean, std, whose=f"{reference}'s ")
    declared = _plain(net, "stages")
    built = Network(
        net,
        architecture=reference,
        classes=classes,
        stages=find_stages(net, size) if declared is None else _as_stages(declared, reference),
        input_size=size,
        mean=mean,
        std=std,
        task="segmentation" if getattr(net, "task", None) == "segmentation" else "classification",
    )
    check(built)
    return built


def find_stages(net: nn.Module, size: int) -> tuple[Stage, ...]:
    """The stages of a module that declares none, from one forward of images of `size`; empty where it has no maps.

    For each resolution, among the submodules that put out square maps [B, C, h, h] of it: the last of those nested
    least deeply, so whole blocks rather than the convolutions within. Left out are maps larger than one already seen
    (a decoder's, or a pooling that enlarges), 1x1 maps (pooled vectors), resolutions that are no whole fraction of
    the input's, and submodules that run more than once in a forward (a shared ReLU). A network that has its maps at
    its beginning alone, and most of its weights behind them, among tokens [B, tokens, channels], has no stages: the
    patch embedding of a transformer says nothing of what it answers.
    """
    outputs: list[tuple[str, Tensor]] = []
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, path=path: outputs.append((path, output)))
        for path, module in net.named_modules() if path
    ]
    try:
        with evaluating(net), torch.no_grad():
            net(torch.rand(2, 3, size, size))
    except Exception:
        return ()  # `check` runs the same images and says what is wrong
    finally:
        for handle in handles:
            handle.remove()

    if _ends_in_tokens(net, outputs):
        return ()
    runs = Counter(path for path, _ in outputs)
    best: dict[int, tuple[str, int]] = {}
    smallest = size
    for path, output in outputs:
        if not _is_map(output):
            continue
        side = output.shape[2]
        if not 1 < side <= smallest or -(-size // _stride(size, side)) != side:
            continue
        smallest = side
        if runs[path] == 1 and (side not in best or path.count(".") <= best[side][0].count(".")):
            best[side] = (path, output.shape[1])
    return numbered([(path, channels, _stride(size, side)) for side, (path, channels) in best.items()])


def _is_map(output: object) -> bool:
    return isinstance(output, Tensor) and output.dim() == 4 and output.shape[2] == output.shape[3]


def _ends_in_tokens(net: nn.Module, outputs: Sequence[tuple[str, object]]) -> bool:
    """Whether the submodules that put out tokens after the last map hold more weights than all up to that map.

    outputs: path and output of each submodule, in the order in which they ended. Tokens are [B, tokens, channels], or
    channels last [B, h, w, channels].
    """
    last = max((place for place, (_, output) in enumerate(outputs) if _is_map(output)), default=None)
    if last is None:
        return False

    def weights(paths: Iterable[str]) -> dict[int, int]:
        return {id(each): each.numel() for path in paths for each in net.get_submodule(path).parameters()}

    first = weights(path for path, _ in outputs[: last + 1])
    behind = weights(path for path, output in outputs[last + 1 :] if isinstance(output, Tensor) and output.dim() > 2)
    return sum(behind[each] for each in behind.keys() - first.keys()) > sum(first.values())


def _stride(size: int, side: int) -> int:
    return round(size / side)


def _plain(net: nn.Module, name: str) -> list | tuple | None:
    value = getattr(net, name, None)
    return value if isinstance(value, (list, tuple)) else None


def _as_stages(declared: Sequence, reference: str) -> tuple[Stage, ...]:
    """The declared stages with paths as `Network` has them; a Stage keeps its name, the others are numbered."""
    stages = []
    for number, each in enumerate(declared, start=1):
        parts: Any = [each.path, each.channels, each.stride] if isinstance(each, Stage) else each
        shaped = isinstance(parts, (list, tuple)) and [type(part) for part in parts] == [str, int, int]
        if not shaped or min(parts[1:]) < 1:
            raise KDError(f"{reference}'s stages hold {each!r}; each must be (path, channels, stride) or a Stage.")
        path, channels, stride = parts
        name = each.name if isinstance(each, Stage) else f"stage{number}"
        stages.append(Stage(name, f"net.{path}", channels, stride))
    if len({stage.name for stage in stages}) < len(stages):
        raise KDError(f"{reference}'s stages share a name: {', '.join(stage.name for stage in stages)}.")
    return tuple(stages)
