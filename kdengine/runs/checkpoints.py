"""Trained weights that know what they are: one `.safetensors` file whose header carries the identity as JSON.

Listable without torch, loadable without pickle.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdengine import files, trust
from kdengine.errors import KDError
from kdengine.files import as_json, replacing
from kdengine.paths import BAD_NAME, checkpoints_root, child
from kdengine.runs import schema
from kdengine.runs.records import RECORD, STUDENT, has_headline, read_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from kdengine.models.network import Network

_IDENTITY = "kdengine"
"""The header's key; its value is the identity as one JSON string."""
SHIPPED = "records"
"""Where, in the checkpoints folder, each shipped checkpoint's record, history and predictions lie."""
_MOST_HEADER_BYTES = 16 * 2**20
"""Names and places of a million tensors."""


def save(network: Network, path: Path, **about: Any) -> str:
    """Write a network's weights and identity; returns the digest of the weights.

    `about` is plain data: method, hyperparameters, data, teacher digest, scores. Written to a neighbouring file,
    then renamed.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.net.state_dict().items()}
    identity = {
        "architecture": network.architecture,
        "task": network.task,
        "classes": list(network.classes),
        "input_size": network.input_size,
        "mean": list(network.mean),
        "std": list(network.std),
        "digest": digest(state),
        **about,
    }
    save_tensors(path, state, {_IDENTITY: as_json(identity)})
    return identity["digest"]


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors to a `.safetensors` file, whole or not at all. Raises OSError where the disk refuses it."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(path) as written:
        try:
            save_file(dict(tensors), written, metadata=metadata)
        except SafetensorError as error:  # it hides what the disk said in its text
            if match := re.search(r"os error (\d+)", str(error)):
                raise OSError(int(match[1]), os.strerror(int(match[1])), str(path)) from error
            raise


def describe(path: Path) -> dict[str, Any]:
    """A checkpoint's identity, as `schema.Identity`, from its header alone and without torch.

    task, method, scores and what labels it read are always there. Raises KDError where there is none.
    """
    try:
        about = files.decode(_stated(path), schema.Identity)
        if odd := [split for split, scores in about.get("scores", {}).items() if not has_headline(scores)]:
            raise KDError(f"its {odd[0]} scores hold neither top1 nor miou")
    except OSError as error:
        raise KDError(f"{path} cannot be read: {error.strerror or error}.") from error
    except KDError as error:
        raise KDError(f"{path.name} is not one of this project's checkpoints, or is damaged ({error}). "
                      "Other programs' weights come in with `python -m kdengine import`.") from error
    about = {"task": "classification", "method": None, "scores": {}} | about
    if "data" in about:
        about["data"] = {"labels_per_class": None, "labelled_images": None, "without_class": None} | about["data"]
    return about


def _stated(path: Path) -> str:
    """What a checkpoint's header says of it, as JSON text. Raises KDError where it says nothing, and OSError."""
    from safetensors import SafetensorError, safe_open

    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
        raise KDError("it is not a file")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _MOST_HEADER_BYTES:
        raise KDError(f"its header is of {length:,} bytes; {_MOST_HEADER_BYTES:,} are allowed")
    try:
        with safe_open(path, framework="numpy") as file:
            stated = file.metadata()
    except (SafetensorError, ValueError) as error:
        raise KDError(f"its header cannot be read: {str(error).rpartition(': ')[2].lower()}") from error
    if not stated or _IDENTITY not in stated:
        raise KDError("its header does not say what network it is")
    return stated[_IDENTITY]


def load(path: Path) -> Network:
    """The network in a checkpoint, in evaluation mode on the CPU. Raises KDError where it is damaged.

    The weights must be all there, finite and of the recorded digest; a network that is code must be trusted.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from kdengine import models

    identity = describe(path)
    require_trust(identity)
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise KDError(f"{path.name} is damaged: {error}. Train it again, or copy it from where it came.") from error
    if digest(state) != identity["digest"]:
        raise KDError(f"{path.name} is damaged: its weights do not have the digest {identity['digest']} it states.")
    if identity["architecture"] in models.MODELS:  # before it is built: a header may claim a network of any size
        _require_fit(state, models.shapes(identity["architecture"], len(identity["classes"])),
                     identity["architecture"], identity["classes"], path.name)
    try:
        network = models.build(
            identity["architecture"], identity["classes"],
            input_size=identity["input_size"], mean=identity["mean"], std=identity["std"],
        )
    except KDError as error:
        raise KDError(f"{path.name} cannot be opened: {error}") from error
    fill(network, state, path.name)
    return network.eval()


def fill(network: Network, state: Mapping[str, Tensor], source: str) -> None:
    """Put weights into a network. Raises KDError that names what is missing, unexpected or of another shape."""
    from kdengine.runs import foreign

    own = {name: tuple(value.shape) for name, value in network.net.state_dict().items()}
    _require_fit(state, own, network.architecture, network.classes, source)
    infinite = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if infinite:
        raise KDError(f"{source} holds weights that are not finite numbers: {foreign.some(infinite)}.")
    network.net.load_state_dict(state, strict=False)


def _require_fit(
    state: Mapping[str, Tensor], own: Mapping[str, tuple[int, ...]], architecture: str, classes: Sequence[str],
    source: str,
) -> None:
    """Raise KDError unless weights have the names and shapes of a network's own."""
    from kdengine.runs import foreign

    if count := foreign.other_classes(state, own, len(classes)):
        raise KDError(f"{source} holds the weights of a {architecture} with {count} classes; here it would "
                      f"have {summary(classes)}. Name the {count} classes that it knows, in its order.")
    if misfit := foreign.misfit(state, own):
        reshaped = [f"{name} is {list(state[name].shape)}, not {list(own[name])}" for name in misfit.reshaped]
        problems = [f"{word} {foreign.some(names)}" for word, names in
                    (("missing:", misfit.missing), ("unexpected:", misfit.unexpected), ("of another shape:", reshaped))
                    if names]
        raise KDError(f"{source} does not hold the weights of a {architecture} with {len(classes)} classes; "
                      f"{'; '.join(problems)}.")


def digest(state: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits over names, types, shapes and values of the tensors alone."""
    import torch

    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]


def network_digest(network: Network) -> str:
    """The digest of a network's weights, as its checkpoint states it."""
    return digest(network.net.state_dict())


def shipped() -> dict[str, dict[str, Any]]:
    """Name and identity of every readable checkpoint in the folder that says what it was trained on.

    In order of their names, those that somebody else has put there behind the others: see `has_record`.
    """
    identities = [(name, about) for name, about in _folder()[0].items() if "data" in about]
    return dict(sorted(identities, key=lambda each: not has_record(*each)))


def unreadable() -> dict[str, str]:
    """The files in the folder that should be checkpoints and are not, by their whole name, and why."""
    return _folder()[1]


def has_record(name: str, about: Mapping[str, Any]) -> bool:
    """Whether a checkpoint in the folder was made here or came with the project.

    about: its identity. It was where a readable record of that name lies in `records/` beside it, and the record
    names the digest of its weights. A file that somebody put there has no such record, however it calls itself.
    """
    place = child(checkpoints_root() / SHIPPED, name)
    try:
        return place is not None and read_record(place / RECORD).files.get(STUDENT) == about["digest"]
    except KDError:
        return False


def require_trust(about: Mapping[str, Any]) -> None:
    if ":" in about["architecture"]:
        trust.require(about["architecture"])


def _folder() -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The identities of the checkpoints in the folder by name, and of what cannot be opened, by file, the reason."""
    identities, wrong = {}, {}
    for path in sorted(checkpoints_root().glob("*.safetensors")):
        if path.name.startswith("."):
            continue
        try:
            if child(path.parent, path.stem) is None:
                raise KDError(BAD_NAME)
            about = describe(path)
            require_trust(about)
            identities[path.stem] = about
        except KDError as error:
            wrong[path.name] = str(error)
    return identities, wrong


def summary(names: Sequence[str]) -> str:
    """How many classes, and what the first of them are called."""
    return f"{len(names)} classes ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
