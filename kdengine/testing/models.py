"""What every network promises: each a function of how it is built that raises AssertionError where it is broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdengine.models import Network, check, custom
from kdengine.models.folding import folded

Build = Callable[[int], Network]
"""A network of one kind, its weights drawn from that seed."""


def _images(network: Network, count: int) -> Tensor:
    size = network.input_size
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def keeps_its_word(build: Build) -> None:
    """Logits and stages are as `kdengine.models.check` says."""
    check(build(0))


def a_gradient_reaches_every_parameter(build: Build) -> None:
    """Of those that are trained, from the logits, in evaluation mode."""
    network = build(0).eval()
    network(_images(network, 2)).square().sum().backward()
    without = [name for name, each in network.named_parameters()
               if each.requires_grad and (each.grad is None or not each.grad.any())]
    if without:
        raise AssertionError(f"{network.architecture}: no gradient of the logits reaches {', '.join(without)}.")


def stages_are_not_overwritten(build: Build) -> None:
    """What a stage puts out is still the same when the forward has ended."""
    network = build(0).train()
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(path: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            seen[path] = output, output.detach().clone()
        return hook

    for stage in network.stages:
        network.get_submodule(stage.path).register_forward_hook(keep(stage.path))
    network(_images(network, 2))
    for path, (output, before) in seen.items():
        if not torch.equal(output, before):
            raise AssertionError(f"{network.architecture}: what {path} puts out is overwritten later in the forward.")


def evaluation_is_of_each_image_alone(build: Build) -> None:
    """In evaluation mode nothing is drawn, and an image's logits do not depend on the others of its batch."""
    network = build(0).eval()
    images = _images(network, 3)
    before = torch.get_rng_state()
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    if not torch.equal(torch.get_rng_state(), before):
        raise AssertionError(f"{network.architecture} draws random numbers in evaluation mode.")
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4, msg=lambda text: (
        f"{network.architecture}: logits of an image must not depend on the others of its batch. {text}"))


def the_state_dict_carries_everything(build: Build) -> None:
    """A network with the weights of another, batch-norm statistics included, answers as that one does; so does a copy
    with its batch normalisation folded."""
    source, other = build(1), build(2).eval()
    images = _images(source, 2)
    with torch.no_grad():
        source.train()(images)  # moves the batch-norm statistics
        other.net.load_state_dict(source.net.state_dict())
        expected = source.eval()(images)
        if not torch.equal(expected, other(images)):
            raise AssertionError(f"{source.architecture}: its state_dict must carry all that decides its logits.")
        torch.testing.assert_close(folded(source)(images), expected, rtol=1e-3, atol=1e-3)


MODEL_PROMISES = (
    keeps_its_word, stages_are_not_overwritten, evaluation_is_of_each_image_alone, a_gradient_reaches_every_parameter,
    the_state_dict_carries_everything,
)


def check_model(
    make: Callable[[int], nn.Module], *, classes: Sequence[str] = tuple("abcde"), input_size: int | None = None
) -> None:
    """Hold what a function makes of a number of classes, as `--student` takes it, to every promise of a network.

    input_size: None is the network's own. Raises AssertionError where a promise is broken, and KDError as --student.
    """
    def build(seed: int) -> Network:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return custom.as_network(make, getattr(make, "__name__", "model"), classes, input_size=input_size)

    for promise in MODEL_PROMISES:
        promise(build)
