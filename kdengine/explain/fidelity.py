"""Heat-map fidelity: how much a student's heat maps are like its teacher's, over many images, beside controls.

A number alone says little here: the maps of any two networks resemble each other where objects lie in the middle. So
each stands beside what other maps get: those of a student taught by nobody, of a network that learned nothing, of
another image, of no network at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

from kdengine import models
from kdengine.data import pictures
from kdengine.errors import KDError
from kdengine.explain import comparison, heat_maps
from kdengine.measures import evaluation, uncertainty
from kdengine.measures.uncertainty import Interval
from kdengine.models.network import Network
from kdengine.views import Split

CENTER_WIDTH = 0.25
"""Standard deviation of the center's bump, as a share of the image's side."""
SEED = 10_000
"""Of what is drawn for the controls. Runs have small seeds: the untrained student has not the student's first weights.
"""


@dataclass(frozen=True)
class Likeness:
    """How much two maps an image are alike, by measure: `correlation`, `cosine`, `overlap`, as `comparison.likeness`.

    values: a number an image. means: over the images, each with its 95% interval (bootstrap). blank: of how many images
    one map or both are constant where they meet, all zero as a rule. Such a map says nothing of where, so these images
    count as 0 in every measure.
    """

    values: dict[str, list[float]]
    means: dict[str, Interval]
    blank: int

    def least(self, measure: str, count: int) -> list[int]:
        """The places of the images whose maps are least alike, least first; of equals the earlier one first."""
        values = self.values[measure]
        return sorted(range(len(values)), key=values.__getitem__)[:count]

    def share_below(self, measure: str, value: float) -> float:
        """The share of the images, in [0, 1], whose maps are less alike than `value`."""
        return float((numpy.array(self.values[measure]) < value).mean())


@dataclass(frozen=True)
class Change:
    """A mean over images less another over the same images. Its interval is at the confidence at which Holm judges it.

    p: of the randomisation test, corrected by Holm over the changes it came with.
    """

    interval: Interval
    p: float


@dataclass(frozen=True)
class Fidelity:
    """How much the student's heat maps are like the teacher's on n images, beside what other maps get.

    size: height and width of the maps where the two networks' meet. controls: by name, None where there is no such
    network. `independent`: the student's independent twin. `retrained`: the teacher trained with another seed.
    `untrained`: a network of the student's architecture that learned nothing. `another_image`: the student's maps
    against the teacher's of other images, of one other each. `center`: a Gaussian bump in the middle of every image.
    gains: by control, then by measure, the student less the control; the measures of one control are Holm's family.
    """

    method: str
    n: int
    size: tuple[int, int]
    student: Likeness
    controls: dict[str, Likeness | None]
    gains: dict[str, dict[str, Change]]


def fidelity(
    student: Network, teacher: Network, images: Tensor, *, method: str = "gradcam",
    independent: Network | None = None, retrained: Network | None = None,
) -> Fidelity:
    """How much the student's heat maps are like the teacher's, for the class that the teacher names.

    images: uint8 [N, 3, H, W] on the CPU, two or more; each network sees them at its own size. The maps are those of
    the default stages. The networks are left as they were. Raises KDError for fewer images, for networks that segment
    or know other classes, and as `heat_maps.heat_map`.
    """
    _check([each for each in (student, teacher, independent, retrained) if each is not None], len(images))
    classes = answers(teacher, images)
    teacher_maps, student_maps = (maps(network, images, classes, method) for network in (teacher, student))

    def beside(network: Network | None) -> Likeness | None:
        return None if network is None else alike(maps(network, images, classes, method), teacher_maps)

    controls = {
        "independent": beside(independent),
        "retrained": beside(retrained),
        "untrained": beside(untrained(student)),
        "another_image": alike(student_maps, teacher_maps[others(len(images))]),
        "center": alike(center(*teacher_maps.shape[1:]).expand_as(teacher_maps), teacher_maps),
    }
    likeness = alike(student_maps, teacher_maps)
    return Fidelity(
        method=method,
        n=len(images),
        size=comparison.meeting_size(student_maps, teacher_maps),
        student=likeness,
        controls=controls,
        gains={name: changes({measure: (values, control.values[measure])
                              for measure, values in likeness.values.items()})
               for name, control in controls.items() if control},
    )


def answers(network: Network, images: Tensor) -> Tensor:
    """The class that a network names for each of these images, uint8 [N, 3, H, W]: long [N] on the CPU."""
    return evaluation.predict(network, _seen(network, images)).argmax(dim=1)


def maps(network: Network, images: Tensor, target: Tensor, method: str) -> Tensor:
    """A network's heat maps [N, h, w] of images, uint8 [N, 3, H, W], for the classes target, [N]."""
    return heat_maps.map_split(network, _seen(network, images, target), method=method)


def alike(first: Tensor, second: Tensor) -> Likeness:
    """How much heat maps [N, h, w] are alike, pair by pair."""
    measured = comparison.likeness(first, second)
    blank = measured["correlation"].isnan()  # a constant map has no ranking
    values = {name: each.masked_fill(blank, 0) for name, each in measured.items()}
    return Likeness(
        values={name: each.tolist() for name, each in values.items()},
        means={name: uncertainty.image_mean_interval(each.numpy()) for name, each in values.items()},
        blank=int(blank.sum()),
    )


def changes(compared: Mapping[str, tuple[list[float], list[float]]]) -> dict[str, Change]:
    """Of each pair of values over the same images, the first less the second; these pairs are Holm's family."""
    pairs = [(numpy.array(first), numpy.array(second)) for first, second in compared.values()]
    p_values = [uncertainty.image_mean_test(*pair) for pair in pairs]
    judged = zip(pairs, uncertainty.holm(p_values), uncertainty.holm_levels(p_values), strict=True)
    return dict(zip(compared, [Change(uncertainty.image_mean_difference(*pair, confidence=level), p)
                               for pair, p, level in judged], strict=True))


def untrained(network: Network) -> Network:
    """An untrained network of the same architecture, classes, size and normalization, where the other one is."""
    drawn = models.build(network.architecture, network.classes, seed=SEED, input_size=network.input_size,
                         mean=network.mean, std=network.std)
    return drawn.eval().to(next(network.parameters()).device)


def others(count: int) -> Tensor:
    """Another image for each of `count`, two or more, each once: long [count]. The same count gives the same images."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SEED))
    # Along one circle through all of them: no image comes to itself.
    return torch.empty_like(order).scatter_(0, order, order.roll(1))


def center(height: int, width: int) -> Tensor:
    """A map [1, height, width] of no network: 1 in the middle, falling off as a Gaussian of CENTER_WIDTH."""
    down, across = ((torch.arange(size) + 0.5) / size - 0.5 for size in (height, width))
    return torch.exp(-(down[:, None] ** 2 + across**2) / (2 * CENTER_WIDTH**2))[None]


def _seen(network: Network, images: Tensor, target: Tensor | None = None) -> Split:
    """The images as a network takes them, on its device."""
    split = Split(pictures.resized(images, network.input_size), torch.zeros(len(images)) if target is None else target)
    return split.to(next(network.parameters()).device)


def _check(networks: list[Network], count: int) -> None:
    if count < 2:
        raise KDError(f"Heat maps of {count} image are to be compared; two or more are needed, to hold each against "
                      "another image's.")
    for network in networks:
        if network.task != "classification":
            raise KDError(f"{network.architecture} is for {network.task}; heat-map fidelity is measured for networks "
                          "that name one class an image.")
        if network.classes != networks[0].classes:
            raise KDError(f"{network.architecture} knows other classes than {networks[0].architecture}, so their heat "
                          "maps are of different things. Compare networks of the same classes.")
