"""Weights as other programs leave them: found in their containers, freed of prefixes, told which network they fit.

No list of containers is kept. Of all dictionaries in a file, and of all beginnings that its names share, the one is
taken under which the network's own names lie: so `model_state_dict`, `state_dict_ema`, Lightning's `state_dict` with
`model.`, `module._orig_mod.` and `student.` are one case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdengine.errors import KDError

_DEEPEST = 5
"""Dictionaries inside dictionaries that are looked into."""
_COMPILED = "_orig_mod."
"""What torch.compile puts before a module's names, at the beginning or in the middle."""
_COUNTER = "num_batches_tracked"
"""Old checkpoints have no counters of batches seen; nothing but a batch normalisation without momentum reads them."""

Shapes = Mapping[str, Sequence[int]]
"""A network's own names, and the shape of each."""


@dataclass(frozen=True)
class Reading:
    """One way to read a file.

    state: tensors by the names that are left. keys: of the dictionaries they lie in, outermost first. prefix: what was
    taken from all their names. compiled: whether `_orig_mod.` was. left_out: keys and names beside them.
    """

    state: dict[str, Tensor]
    keys: tuple[str, ...]
    prefix: str
    compiled: bool
    left_out: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """What a person may call it by: the keys, and the parts of the prefix."""
        return *self.keys, *filter(None, self.prefix.split("."))

    @property
    def summary(self) -> str:
        """What was done to come to these weights, in one line; empty where nothing was."""
        parts = [f"read from {'.'.join(self.keys)!r}"] if self.keys else []
        removed = ([f"{_COMPILED!r}"] if self.compiled else []) + ([f"prefix {self.prefix!r}"] if self.prefix else [])
        parts += [f"{' and '.join(removed)} removed"] if removed else []
        return ", ".join(parts + ([f"left out: {some(self.left_out)}"] if self.left_out else []))


@dataclass(frozen=True)
class Misfit:
    """How a state does not fit a network: names missing, unexpected, and of another shape."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.reshaped)


def misfit(state: Mapping[str, Tensor], own: Shapes) -> Misfit:
    """How a state fits a network of these names and shapes; false where it does."""
    return Misfit(
        tuple(name for name in own if name not in state and not name.endswith(_COUNTER)),
        tuple(name for name in state if name not in own),
        tuple(name for name in own if name in state and tuple(state[name].shape) != tuple(own[name])),
    )


def other_classes(state: Mapping[str, Tensor], own: Shapes, classes: int) -> int | None:
    """How many classes a state is for, where it fits a network but for its head; None where that is not so.

    classes: how many the network has.
    """
    difference = misfit(state, own)
    if difference.missing or difference.unexpected or not difference.reshaped:
        return None
    pairs = [(tuple(state[name].shape), tuple(own[name])) for name in difference.reshaped]
    if any(not given or given[1:] != wanted[1:] or wanted[0] != classes for given, wanted in pairs):
        return None
    counts = {given[0] for given, _ in pairs}
    return counts.pop() if len(counts) == 1 else None


def choose(content: Mapping[str, object], own: Shapes, source: str, part: str | None = None) -> Reading:
    """The reading of a file whose names fit a network's own, or come closest to them.

    part: a key, or a part of a prefix, under which it lies. Raises KDError where the file holds no tensors by name,
    none under `part`, and where several sets of weights fit.
    """
    readings = [each for keys, tensors, beside in _dictionaries(content)
                for each in _readings(keys, tensors, beside, own)]
    if not readings:
        raise KDError(f"{source} holds no state dict: names with tensors are expected.")
    if part is not None:
        named = [each for each in readings if part in each.words]
        if not named:
            parts = sorted({word for each in readings for word in each.words})
            raise KDError(f"{source} holds no weights under {part!r}. It has: {', '.join(parts) or 'no parts'}.")
        readings = named
    fitting = [each for each in readings if not misfit(each.state, own)]
    if not fitting:
        return max(readings, key=lambda each: (sum(name in own for name in each.state), len(each.state)))
    first, *others = fitting
    if all(_same(first.state, other.state) for other in others):
        return first
    shared = set.intersection(*(set(each.words) for each in fitting))
    own_words = [[word for word in each.words if word not in shared] for each in fitting]
    if [] in own_words:  # it is the file's own; the others are copies beside it
        return fitting[own_words.index([])]
    names = [words[0] for words in own_words]
    raise KDError(f"{source} holds several sets of weights that fit: {', '.join(names)}. Say which one is meant: "
                  f"{' or '.join(f'--part {name}' for name in names)}.")


def hint(content: Mapping[str, object], architecture: str, classes: int, part: str | None = None) -> str:
    """A sentence that names the registered architectures whose names and shapes a file's are; empty where none is."""
    from kdengine import models

    fitting = []
    for name in models.MODELS:
        if name == architecture:
            continue
        own = models.shapes(name, classes)
        state = choose(content, own, name, part).state
        if not misfit(state, own):
            fitting.append(name)
        elif count := other_classes(state, own, classes):
            fitting.append(f"{name} with {count} classes")
    if not fitting:
        return ""
    return f" Its names and shapes are those of {' or '.join(fitting)}: --model {fitting[0].split()[0]}."


def some(names: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _dictionaries(
    content: object, keys: tuple[str, ...] = (), beside: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor], tuple[str, ...]]]:
    """Keys, named tensors, and the keys left aside on the way, of every dictionary in a file that holds tensors."""
    if not isinstance(content, dict) or len(keys) > _DEEPEST:
        return
    named = {key: value for key, value in content.items() if isinstance(key, str)}
    tensors = {key: value for key, value in named.items() if isinstance(value, Tensor)}
    if tensors:
        yield keys, tensors, beside + tuple(key for key in named if key not in tensors)
    for key, value in named.items():
        others = tuple(other for other in named if other != key)
        yield from _dictionaries(value, (*keys, key), beside + others)


def _readings(
    keys: tuple[str, ...], tensors: dict[str, Tensor], beside: tuple[str, ...], own: Shapes
) -> Iterator[Reading]:
    """The readings of one dictionary: as it is, and under every prefix behind which a network's names lie."""
    plain = {name.replace(_COMPILED, ""): value for name, value in tensors.items()}
    compiled = plain.keys() != tensors.keys()
    prefixes: Counter[str] = Counter()
    for name in plain:
        starts = [0, *(place + 1 for place, letter in enumerate(name) if letter == ".")]
        prefixes.update(name[:start] for start in starts if name[start:] in own)
    most = max(prefixes.values(), default=0)  # a few names stand behind many: every block has its `conv1.weight`
    for prefix in dict.fromkeys(["", *(each for each, count in prefixes.most_common() if 2 * count >= most)]):
        state = {name.removeprefix(prefix): value for name, value in plain.items() if name.startswith(prefix)}
        left = tuple(name for name in plain if not name.startswith(prefix))
        yield Reading(state, keys, prefix, compiled, beside + left)


def _same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
