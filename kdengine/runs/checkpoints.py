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
from kdengine.errors import KDError, unknown_name
from kdengine.files import as_json, replacing, writing
from kdengine.paths import BAD_NAME, checkpoints_root, child, runs_root
from kdengine.runs import schema
from kdengine.runs.records import RECORD, STUDENT, has_headline, read_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from kdengine.data import Outline
    from kdengine.models.network import Network
    from kdengine.signals import Stage

_IDENTITY = "kdengine"
"""The header's key; its value is the identity as one JSON string."""

TEACHER_OF = "teacher-of:"
"""Before a student's name or run id: the ImageNet network that taught it, on that student's classes and image size."""

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
            if found := re.search(r"os error (\d+)", str(error)):
                raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
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
    _require_trust(identity)
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
                      f"have {_summary(classes)}. Name the {count} classes that it knows, in its order.")
    if found := foreign.misfit(state, own):
        reshaped = [f"{name} is {list(state[name].shape)}, not {list(own[name])}" for name in found.reshaped]
        told = [f"{word} {foreign.some(names)}" for word, names in
                (("missing:", found.missing), ("unexpected:", found.unexpected), ("of another shape:", reshaped))
                if names]
        raise KDError(f"{source} does not hold the weights of a {architecture} with {len(classes)} classes; "
                      f"{'; '.join(told)}.")


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
    found = [(name, about) for name, about in _folder()[0].items() if "data" in about]
    return dict(sorted(found, key=lambda each: not has_record(*each)))


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


def locate(reference: str) -> Path | None:
    """The file a reference means: a shipped checkpoint's name, a run's id, or a path; None where there is none."""
    run_folder = child(runs_root(), reference)
    named = child(checkpoints_root(), f"{reference}.safetensors"), run_folder and run_folder / STUDENT
    for path in (*filter(None, named), Path(reference)):
        try:
            path = path.expanduser()
            if path.is_file():
                return path
        except (OSError, RuntimeError):  # a name too long, a folder closed to us, the home of nobody
            continue
    return None


def require(reference: str) -> Path | None:
    """As `locate`, None for an ImageNet network's name.

    Raises KDError for a reference that means nothing, a file that is no checkpoint, and one whose network is code
    that is not trusted.
    """
    from kdengine import models

    path = locate(reference)
    pretrained = [name for name, architecture in models.MODELS.items() if architecture.pretrained]
    if reference == "none":
        raise KDError("There is no checkpoint 'none'. Without a teacher a network learns from the labels alone: "
                      "python -m kdengine train.")
    if path is None and reference not in pretrained:
        raise unknown_name("checkpoint", reference, [*shipped(), *pretrained])
    if path is not None:
        _require_trust(describe(path))
    return path


def open_reference(reference: str) -> Network:
    """The network a reference means, in evaluation mode. Raises KDError as `require` and `load` do.

    `teacher-of:STUDENT` is the student's teacher as it taught it, see `TEACHER_OF`.
    """
    from kdengine import models

    if reference.startswith(TEACHER_OF):
        return _teacher_of(reference.removeprefix(TEACHER_OF))
    path = require(reference)
    return load(path) if path else models.pretrained(reference).eval()


def imagenet_teacher(student: str, about: Mapping[str, Any]) -> str | None:
    """The reference of the ImageNet network that taught a student; None where it had another teacher, or none.

    about: the student's identity. What is on disk under the teacher's name is no ImageNet network.
    """
    teacher = (about.get("teacher") or {}).get("reference")
    if teacher is None or locate(teacher):
        return None
    from kdengine import models

    known = teacher in models.MODELS and models.MODELS[teacher].pretrained
    return f"{TEACHER_OF}{student}" if known else None


def open_teacher(reference: str, classes: Sequence[str], size: int) -> Network:
    """The network a reference means, to teach these classes from images of `size` pixels; in evaluation mode.

    A checkpoint must know exactly these classes, at this size. An ImageNet network need only have them among its
    1000: it keeps their logits, and takes the images as they are. Raises KDError as `open_reference`, and where it
    cannot teach this.
    """
    from kdengine import models

    path = require(reference)
    if path is None:
        return models.pretrained(reference, classes, size).eval()
    teacher = load(path)
    _check_teaches(reference, teacher.classes, teacher.input_size, classes, size)
    return teacher


def check_teacher(reference: str, task: str, classes: Sequence[str] | None, size: int | None) -> tuple[Stage, ...]:
    """The stages of the network a reference means, of which the header alone is read unless it is a stranger's.

    Raises KDError where it cannot teach this task, these classes, or from images of this size; None is not known yet.
    """
    from kdengine import models
    from kdengine.models import imagenet

    path = require(reference)
    about = {"architecture": reference} if path is None else describe(path)
    name = about["architecture"]
    its_task = models.MODELS[reference].task if path is None else about.get("task", "classification")
    if its_task != task:
        raise KDError(f"The teacher {reference} is for {its_task}; these data are for {task}. Take a teacher that was "
                      "trained on them.")
    if path is not None:
        _check_teaches(reference, about["classes"], about["input_size"], classes, size)
    elif classes is not None:
        imagenet.require_classes(reference, classes)
    return models.MODELS[name].stages if name in models.MODELS else open_reference(reference).stages


def _check_teaches(
    reference: str, known: Sequence[str], takes: int, classes: Sequence[str] | None, size: int | None
) -> None:
    if classes is not None and tuple(known) != tuple(classes):
        raise KDError(f"The teacher {reference} knows {_summary(known)}; the data set has "
                      f"{_summary(classes)}. Take a teacher that was trained on these classes.")
    if size is not None and takes != size:
        raise KDError(f"The teacher {reference} takes images of {takes} pixels; these have {size}. "
                      f"Set --image-size {takes}, or take another teacher.")


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
            held = load_file(path)
        else:
            held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise KDError(f"{path.name} holds more than weights, or is no torch file; nothing in it was run. "
                      "Save the model's state_dict() alone and import that.") from error
    except Exception as error:  # on damaged bytes the readers raise almost anything
        raise KDError(f"{path.name} cannot be read as weights; it may be cut short: {error}") from error
    return held


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

    _check_normalisation(mean, std)
    held = read_foreign(path)
    size, of_data = input_size, known and known.size
    if size is None and architecture in models.MODELS:
        size = max(models.MODELS[architecture].input_size, of_data or 0)
    network = models.build(architecture, classes, input_size=size, mean=mean, std=std)
    if size is None and of_data and getattr(network.net, "input_size", None) is None:
        network = models.build(architecture, classes, input_size=of_data, mean=mean, std=std)
    if known and network.task != known.task:
        raise KDError(f"{architecture} is for {network.task}; these data are for {known.task}.")
    own = {name: tuple(value.shape) for name, value in network.net.state_dict().items()}
    reading = foreign.choose(held, own, path.name, part)
    try:
        fill(network, reading.state, path.name)
    except KDError as error:
        if foreign.misfit(reading.state, own):
            raise KDError(f"{error}{foreign.hint(held, architecture, len(classes), part)}") from error
        raise
    return network.eval(), reading.told


def _check_normalisation(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raise KDError for numbers that are not on [0, 1], as images are here, with those that are probably meant."""
    from kdengine.models.network import check_input

    check_input(None, mean, std)
    if min(mean) >= 0 and max(*mean, *std) <= 1:
        return
    # Of images in 0 to 255: a std of 1 beside such a mean says that they are not divided by anything.
    bytewise = {"mean": max(mean) > 1, "std": max(std) > 1 or (max(mean) > 1 and min(std) == 1)}
    meant = "".join(
        f" --{name} {' '.join(f'{value / 255 if bytewise[name] else value:.4g}' for value in given)}"
        for name, given in (("mean", mean), ("std", std))
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


def _require_trust(about: Mapping[str, Any]) -> None:
    if ":" in about["architecture"]:
        trust.require(about["architecture"])


def _folder() -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The identities of the checkpoints in the folder by name, and of what cannot be opened, by file, the reason."""
    found, wrong = {}, {}
    for path in sorted(checkpoints_root().glob("*.safetensors")):
        if path.name.startswith("."):
            continue
        try:
            if child(path.parent, path.stem) is None:
                raise KDError(BAD_NAME)
            about = describe(path)
            _require_trust(about)
            found[path.stem] = about
        except KDError as error:
            wrong[path.name] = str(error)
    return found, wrong


def _teacher_of(student: str) -> Network:
    path = locate(student)
    if path is None:
        raise unknown_name("checkpoint", student, shipped())
    about = describe(path)
    if imagenet_teacher(student, about) is None:
        raise KDError(f"{student} was not taught by an ImageNet network.")
    return open_teacher(about["teacher"]["reference"], about["classes"], about["input_size"])


def _summary(names: Sequence[str]) -> str:
    return f"{len(names)} classes ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
