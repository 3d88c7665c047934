"""Weights from elsewhere made checkpoints, and checkpoints written for elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdengine.errors import KDError, unknown_name
from kdengine.files import replacing, writing
from kdengine.runs import checkpoints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from kdengine.data import Outline
    from kdengine.models.network import Network


def read_foreign(path: Path) -> dict[str, Any]:
    """What another program's `.pth`, `.pt`, `.th`, `.ckpt` or `.safetensors` holds; `foreign.choose` finds the weights.

    Read with `weights_only=True` alone: a file that would run code when unpickled is refused, and nothing runs.
    """
    import pickle

    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise KDError(f"There is no file {path}.")
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise KDError(f"{path.name} holds more than weights, or is no torch file; nothing in it was run. "
                      "Save the model's state_dict() alone and import that.") from error
    except Exception as error:  # on damaged bytes the readers raise almost anything
        raise KDError(f"{path.name} cannot be read as weights; it may be cut short: {error}") from error
    return content


def import_foreign(
    path: Path, architecture: str, classes: Sequence[str], *, input_size: int | None = None,
    known: Outline | None = None, mean: Sequence[float], std: Sequence[float], part: str | None = None,
) -> tuple[Network, str]:
    """A network of this project with another program's weights, and in one line how they were found in the file.

    known: of the data set, where it is on this machine. input_size: None is what the user's own module says, else the
    architecture's or the data set's, whichever is larger. part: the key or prefix under which the weights lie, where
    several lie in the file. Raises KDError where they do not fit, and says which architecture they would.
    """
    from kdengine import models
    from kdengine.runs import foreign

    _check_normalization(mean, std)
    content = read_foreign(path)
    size, of_data = input_size, known and known.size
    if size is None and architecture in models.MODELS:
        size = max(models.MODELS[architecture].input_size, of_data or 0)
    network = models.build(architecture, classes, input_size=size, mean=mean, std=std)
    if size is None and of_data and getattr(network.net, "input_size", None) is None:
        network = models.build(architecture, classes, input_size=of_data, mean=mean, std=std)
    if known and network.task != known.task:
        raise KDError(f"{architecture} is for {network.task}; these data are for {known.task}.")
    own = {name: tuple(value.shape) for name, value in network.net.state_dict().items()}
    reading = foreign.choose(content, own, path.name, part)
    try:
        checkpoints.fill(network, reading.state, path.name)
    except KDError as error:
        if foreign.misfit(reading.state, own):
            raise KDError(f"{error}{foreign.hint(content, architecture, len(classes), part)}") from error
        raise
    return network.eval(), reading.summary


def _check_normalization(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raise KDError for numbers that are not on [0, 1], as images are here, with those that are probably meant."""
    from kdengine.models.network import check_input

    check_input(None, mean, std)
    if min(mean) >= 0 and max(*mean, *std) <= 1:
        return
    # Of images in 0 to 255: a std of 1 beside such a mean says that they are not divided by anything.
    bytewise = {"mean": max(mean) > 1, "std": max(std) > 1 or (max(mean) > 1 and min(std) == 1)}
    meant = "".join(
        f" --{name} {' '.join(f'{value / 255 if bytewise[name] else value:.4g}' for value in values)}"
        for name, values in (("mean", mean), ("std", std))
    )
    advice = f"Of images in 0 to 255, divide them by 255:{meant}." if max(*mean, *std) > 1 else "Look at their signs."
    raise KDError(f"mean is {list(mean)} and std is {list(std)}; images are in [0, 1] here, so both are from 0 to 1. "
                  f"{advice}")


def export(network: Network, path: Path, form: str) -> str:
    """Write a network for other programs; returns a snippet that loads it. Raises KDError for an unknown form, and
    where the disk refuses.

    form: `torchscript` or `onnx`. Input: images [B, 3, H, W] in [0, 1], any B; output: logits [B, classes].
    Normalisation is inside.
    """
    import torch

    size = network.input_size
    network = network.eval()
    example = torch.zeros(2, 3, size, size)
    if form == "torchscript":
        with torch.no_grad(), writing(path), replacing(path) as written:
            # Not by torch to the file itself: on a full disk that ends the process.
            written.write_bytes(torch.jit.trace(network, example).save_to_buffer())
        return (f"import torch\n\nmodel = torch.jit.load({path.name!r})\n"
                f"logits = model(torch.rand(1, 3, {size}, {size}))  # images in [0, 1]")
    if form == "onnx":
        _export_onnx(network, example, path)
        return (f"import numpy, onnxruntime\n\nsession = onnxruntime.InferenceSession({path.name!r})\n"
                f"images = numpy.random.rand(1, 3, {size}, {size}).astype('float32')  # in [0, 1]\n"
                "logits, = session.run(None, {'images': images})")
    raise unknown_name("export format", form, ("torchscript", "onnx"))


def _export_onnx(network: nn.Module, example: Tensor, path: Path) -> None:
    import torch

    try:
        import onnxscript  # noqa: F401  torch's exporter needs it and names it only deep in a traceback
    except ImportError:
        raise KDError("ONNX export needs two more packages: pip install onnx onnxscript.") from None
    with writing(path), replacing(path) as written:
        torch.onnx.export(
            network, (example,), written, input_names=["images"], output_names=["logits"], verbose=False, dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},), external_data=False,
        )
