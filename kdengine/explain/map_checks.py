"""What heat maps themselves are worth: do they depend on what a network learned, and on what its answer rests on?

Two checks of a network's maps of its own answers. Its weights are drawn anew from the top down: a map that stays as it
was shows the image, not the network (Adebayo et al. 2018, arXiv 1810.03292). And the hottest pixels are hidden first,
or shown first: the answer should fall, or rise, sooner than with pixels chosen by chance (Petsiuk et al. 2018, arXiv
1806.07421).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kdengine.data import pictures
from kdengine.explain import fidelity
from kdengine.explain.fidelity import Change, Likeness
from kdengine.measures import uncertainty
from kdengine.measures.uncertainty import Interval
from kdengine.models.network import Network, evaluating

STEPS = 8
"""In how many equal parts an image's pixels are hidden or shown."""
HEAD = "head"
"""What comes after a network's last stage."""
_AT_ONCE = 256


@dataclass(frozen=True)
class Area:
    """The area under a curve of the answer's probability over the share of pixels, in [0, 1].

    values: an image each. mean: over the images, with its 95% interval. shuffled: the same of the same maps with their
    cells in an order drawn by chance. change: the mean less the shuffled one.
    """

    values: list[float]
    mean: Interval
    shuffled: Interval
    change: Change


@dataclass(frozen=True)
class MapChecks:
    """What became of a network's heat maps of its own answers on n images.

    randomized: how much the maps are still like those of the trained network, once all from the head down to and with
    this stage is drawn anew; by stage, the head first. deletion: hottest pixels hidden first; lower is better.
    insertion: hottest pixels shown first; higher is better.
    """

    n: int
    randomized: dict[str, Likeness]
    deletion: Area
    insertion: Area


def check_maps(network: Network, images: Tensor, *, method: str = "gradcam") -> MapChecks:
    """Both checks of a network's heat maps on images, uint8 [N, 3, H, W] on the CPU; the network is left as it was."""
    images = pictures.resized(images, network.input_size)
    own = fidelity.answers(network, images)
    heat = fidelity.maps(network, images, own, method)
    randomized = {part: fidelity.alike(fidelity.maps(drawn, images, own, method), heat)
                  for part, drawn in from_the_top(network)}
    curves, by_chance = (curve_areas(network, images, own, each) for each in (heat, _shuffled(heat)))
    judged = fidelity.changes({name: (curves[name].tolist(), by_chance[name].tolist()) for name in curves})
    areas = {
        name: Area(
            values=curves[name].tolist(),
            mean=uncertainty.image_mean_interval(curves[name].numpy()),
            shuffled=uncertainty.image_mean_interval(by_chance[name].numpy()),
            change=judged[name],
        )
        for name in curves
    }
    return MapChecks(len(images), randomized, **areas)


def from_the_top(network: Network) -> Iterator[tuple[str, Network]]:
    """A network of which ever more is untrained: its head, then also its last stage, and so on to all of it.

    Yields what was drawn last and the network, one and the same each time. A stage goes with all that comes before it
    back to the stage before, in the order in which the network names its modules.
    """
    drawn, state, fresh = copy.deepcopy(network), network.net.state_dict(), fidelity.untrained(network).net.state_dict()
    for part, names in reversed(_parts(network).items()):
        state |= {name: fresh[name] for name in names}
        drawn.net.load_state_dict(state)
        yield part, drawn


def curve_areas(network: Network, images: Tensor, target: Tensor, heat: Tensor) -> dict[str, Tensor]:
    """The areas under the `deletion` and the `insertion` curve of each image, by the trapezoid rule: float64 [N] each.

    images: uint8 [N, 3, H, W]. target: the classes whose probability falls or rises, [N]. heat: maps [N, h, w],
    enlarged to the images (bilinear); of equal pixels the one first read goes first. STEPS steps. A hidden pixel has
    the mean color that the network normalizes with.

    Known disagreement: the authors start the insertion from a blurred image. A blur as wide in proportion hides nothing
    of an image of 32 pixels, so both curves have the same hidden pixels here.
    """
    device = next(network.parameters()).device
    whole, hidden = images.float() / 255, torch.tensor(network.mean).view(1, 3, 1, 1)
    enlarged = F.interpolate(heat[:, None], size=images.shape[2:], mode="bilinear", align_corners=False)
    rank = enlarged.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1).view_as(enlarged)
    probabilities: dict[str, list[Tensor]] = {"deletion": [], "insertion": []}
    for step in range(STEPS + 1):
        hot = rank < round(step / STEPS * rank[0].numel())
        for name, seen in (("deletion", ~hot), ("insertion", hot)):
            pictured = torch.where(seen, whole, hidden)
            with evaluating(network), torch.inference_mode():
                logits = torch.cat([network(each.to(device)).double().cpu() for each in pictured.split(_AT_ONCE)])
            probabilities[name].append(logits.softmax(dim=1).gather(1, target[:, None])[:, 0])
    return {name: torch.trapezoid(torch.stack(each), dx=1 / STEPS, dim=0) for name, each in probabilities.items()}


def _parts(network: Network) -> dict[str, list[str]]:
    """The names in a network's state dict by the stage they belong to, shallow to deep; the head comes last."""
    modules = [name for name, _ in network.named_modules()]
    ends = {stage.name: max(place for place, name in enumerate(modules) if f"{name}.".startswith(f"{stage.path}."))
            for stage in network.stages}
    parts: dict[str, list[str]] = {name: [] for name in (*ends, HEAD)}
    for name in network.net.state_dict():
        place = modules.index(f"net.{name}".rpartition(".")[0])
        parts[next((stage for stage, end in ends.items() if place <= end), HEAD)].append(name)
    return parts


def _shuffled(heat: Tensor) -> Tensor:
    """The same maps [N, h, w], the cells of each in another order; the same number of maps gives the same orders."""
    generator = torch.Generator().manual_seed(fidelity.SEED)
    order = torch.rand(heat.flatten(1).shape, generator=generator).argsort(dim=1)
    return heat.flatten(1).gather(1, order).view_as(heat)
