"""kdengine: knowledge distillation, exact and fast. This is its public face: plain data in, plain data out.

    import kdengine

    runs = kdengine.start([kdengine.Configuration(method="kd", teacher="digits-teacher", epochs=10)])
    kdengine.watch(runs[0])["state"]

Networks and data sets are handles: get one from `open_network` or `open_data`, hand it back to the functions here.
Nothing heavy is imported before a function needs it. Errors a person can mend are `KDError`s.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdengine.configuration import Configuration
from kdengine.errors import DataMissing, KDError
from kdengine.runs.records import ACTIVE

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image
    from torch import Tensor

    from kdengine.data import DataSet
    from kdengine.models.network import Network
    from kdengine.recipes import Outcome
    from kdengine.runs.catalogue import Family
    from kdengine.runs.estimates import Pace


def list_data() -> list[dict[str, Any]]:
    """Data sets in display order: name, title, summary, classes, present, download_bytes, ..."""
    from kdengine import data

    return data.describe()


def about_data(data: str) -> dict[str, Any]:
    """A data set, or `folder:PATH`, as `list_data` tells of it, there or not; and `place`, the folder it belongs in.

    Raises KDError for a name that is no data set's.
    """
    from kdengine import data as sets
    from kdengine.paths import data_root

    sets.require(data)
    name, _, path = data.partition(":")
    about = next(each for each in list_data() if each["name"] == name)
    if not path:
        return about | {"place": str(data_root() / name)}
    place = data_root() / path
    return about | {"name": data, "title": place.name, "present": place.is_dir(), "place": str(place)}


def task_of(data: str) -> str:
    """`classification` or `segmentation`: what a data set, or a folder, is for. Raises KDError where it is not there.
    """
    from kdengine import data as sets

    return sets.task_of(data)


def data_notes(data: str) -> tuple[str, ...]:
    """How a folder was read, in sentences for people: what was taken for what, and what was left out.

    Reads it where that has not been done yet; nothing is said of data sets that are no folders. Raises KDError where it
    cannot be read.
    """
    from kdengine import data as sets

    return sets.load(data).notes


def download(name: str) -> None:
    """Fetch a public data set into the data root. Raises KDError where it cannot be had."""
    from kdengine import data

    data.download(name)


def list_models() -> list[dict[str, Any]]:
    """Architectures in display order: name, title, family, input_size, stages, pretrained, ..."""
    from kdengine import models

    return models.describe()


def list_methods() -> list[dict[str, Any]]:
    """Methods in display order: name, title, summary, formula (LaTeX), source, what they match, and their fields.

    A field holds name, default, low, high, step, choices, help, symbol: enough to build a form.
    """
    from kdengine import methods

    return [methods.describe(method) for method in methods.METHODS.values()]


def list_checkpoints() -> dict[str, dict[str, Any]]:
    """Shipped checkpoints by name, each with its identity: architecture, classes, method, data, scores, ..."""
    from kdengine.runs import checkpoints

    return checkpoints.shipped()


def list_runs() -> list[dict[str, Any]]:
    """Runs, newest first: record as plain data, with `state` as it is now and `name`, what somebody called it, or None.

    `ignored` names the fields of its file that this version does not know. See `list_unreadable` for the others.
    """
    from kdengine.runs import store

    return [dataclasses.asdict(record) | {"state": state, "name": store.name(record.id)}
            for record, state in store.listed()]


def list_unreadable() -> list[dict[str, str]]:
    """What lies among runs, checkpoints and shipped results and cannot be read: kind, name, and the reason."""
    return [{"kind": kind, "name": name, "reason": reason}
            for kind, (_, wrong) in _kinds().items() for name, reason in wrong().items()]


def move_aside(kind: str, name: str) -> Path:
    """Move what `list_unreadable` names, or a run, into `.aside` beside it, where nothing reads it; returns its place.

    Nothing is deleted, see `bring_back`. Raises KDError for a run that is active, a checkpoint or shipped result that
    can be read, and what cannot be moved.
    """
    from kdengine.runs import control

    root, wrong = _kinds()[kind]
    aside = root / ".aside"
    places = (aside / (name if not number else f"{name}.{number}") for number in itertools.count())
    try:
        aside.mkdir(exist_ok=True)
        place = next(place for place in places if not place.exists())
        if name in wrong():
            return (root / name).rename(place)
    except OSError as error:
        raise KDError(f"{root / name} cannot be moved: {error.strerror}.") from error
    if kind != "run":
        raise KDError(f"There is no {kind} {name!r} that cannot be read.")
    control.relocate(name, place)
    return place


def bring_back(name: str, place: Path) -> None:
    """Undo `move_aside`, which moved what is called so to that place. Raises KDError where that is not possible."""
    there = place.parent.parent / name
    if there.exists():
        raise KDError(f"There is a {there} meanwhile, and it is not overwritten.")
    try:
        place.rename(there)
    except OSError as error:
        raise KDError(f"{place} cannot be moved back: {error.strerror}.") from error


def _kinds() -> dict[str, tuple[Path, Callable[[], dict[str, str]]]]:
    """What is read from folders that others write to: the folder, and what in it cannot be read."""
    from kdengine import paths
    from kdengine.runs import checkpoints, results, store

    return {"run": (paths.runs_root(), store.unreadable),
            "checkpoint": (paths.checkpoints_root(), checkpoints.unreadable),
            "shipped result": (paths.checkpoints_root() / results.SHIPPED, results.unreadable)}


def judge(pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Whether the networks of each pair of finished runs or shipped results differ on their test images.

    Of each pair the change of the headline from the second to the first, its interval, and the verdict as text; see
    `kdengine.runs.verdicts.of_pairs`. The correction is over these pairs.
    """
    from kdengine.runs import results, verdicts

    return [dataclasses.asdict(each) for each in verdicts.of_pairs(pairs, results.finished(), results.predictions)]


def results_table() -> list[dict[str, Any]]:
    """The results table: one row a shipped checkpoint or finished run, keys as in `kdengine.runs.results.COLUMNS`."""
    from kdengine.runs import results

    return results.rows()


def method_title(name: str | None, hyperparameters: Mapping[str, Any] | None = None) -> str:
    """What a method, or first stage, is called on screen: see `kdengine.methods.titled`."""
    from kdengine import methods

    return methods.titled(name, hyperparameters)


def student_titles(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the runs of a group are called beside each other, by id: see `kdengine.methods.told_apart`.

    By a name of its own where it has one. runs: as `list_runs` gives them.
    """
    from kdengine import methods

    titles = methods.told_apart([(run["configuration"]["method"], run["configuration"]["hyperparameters"])
                                 for run in runs])
    named = {run["id"]: run["name"] or title for run, title in zip(runs, titles, strict=True)}
    return named if len({*named.values()}) == len(named) else dict(zip(named, titles, strict=True))


def families(task: str = "classification") -> dict[str, Family]:
    """Networks that can be compared, by family: shipped, trained here, packaged; see `kdengine.runs.catalogue`."""
    from kdengine.runs import catalogue

    titles = {each["name"]: each["title"] for each in list_data()}
    return catalogue.families(task, list_checkpoints(), list_runs(), titles)


def fit_to_show(about: Mapping[str, Any]) -> bool:
    """Whether a checkpoint or run is a network of its own, to be shown, compared and taught by.

    A run that has not finished is none, nor is a first stage. about: as `list_checkpoints` or `list_runs` gives it.
    """
    from kdengine.runs import catalogue

    return catalogue.fit_to_show(about)


def default_teacher(data: str) -> str | None:
    """The shipped checkpoint that knows a data set best: see `kdengine.runs.catalogue.best_teacher`."""
    from kdengine.runs import catalogue

    return catalogue.best_teacher(data, list_checkpoints())


def teachers(data: str) -> dict[str, str]:
    """What may teach a data set, the best shipped one first: by reference the digest of its weights, empty of a run."""
    from kdengine.runs import catalogue

    return catalogue.teachers(data, list_checkpoints(), list_runs())


def shipped_families(task: str = "classification") -> dict[str, dict[str, Any]]:
    """Shipped checkpoints of a task by the data set they know: `teacher`, a reference or None, and `students`, names.
    """
    from kdengine.runs import catalogue

    return catalogue.shipped(task, list_checkpoints())


def teacher_of(name: str, about: Mapping[str, Any]) -> str | None:
    """The reference of the network that taught a checkpoint or run, as it taught it: see `kdengine.runs.catalogue`."""
    from kdengine.runs import catalogue

    return catalogue.teacher_of(name, about)


def teaching_size(teacher: str, data: str) -> int | None:
    """The image size at which a checkpoint or run can teach a data set; None where that is the data set's own.

    Opens the data set, no network. Raises KDError where it cannot teach this: it takes no part in distillation, knows
    other classes, has another task, is of an architecture that cannot be built, or the data set has no such size.
    """
    from kdengine import data as sets
    from kdengine import models
    from kdengine.runs import checkpoints

    path = checkpoints.locate(teacher)
    if path is None:
        raise KDError(f"The teacher {teacher} is gone. Choose another one.")
    about, held = checkpoints.describe(path), sets.load(data)
    if not fit_to_show(about):
        raise KDError(f"{teacher} is the first stage of a method, not a network to learn from. Choose another teacher.")
    if about["task"] != held.task or tuple(about["classes"]) != held.classes:
        raise KDError(f"The teacher {teacher} was trained for other classes than {held.title} has. Choose one that was "
                      "trained on this data set.")
    models.require(about["architecture"])
    size = about["input_size"]
    if size == held.size:
        return None
    sets.load(data, image_size=size)
    return size


def require_below_data_root(data: str) -> None:
    """Raise KDError where a data set is a folder that does not lie below the data root, links followed.

    The sentence is the same whether there is anything or not: who sees a page learns nothing of the rest of the disk.
    """
    from kdengine.paths import data_root

    name, _, path = data.partition(":")
    if name != "folder":
        return
    root, given = data_root(), Path(path)
    # A way out and in again is refused too: whether it leads anywhere would tell what lies outside.
    inside = not (given.is_absolute() or ".." in given.parts or path.startswith("~"))
    try:
        place = (root / given).resolve()
        inside = inside and place != root and place.is_relative_to(root) and place.is_dir()
    except (OSError, RuntimeError, ValueError):  # a name too long, a loop of links, not a path at all
        inside = False
    if not inside:
        raise KDError(f"There is no such folder in the data folder, {root}. Pages read nothing outside of it. Put the "
                      "folder there, or a copy of it, and name it by its path from there, for instance flowers. The "
                      "command line takes any path.")


def check(configurations: Sequence[Configuration]) -> None:
    """Raise KDError where `start` would, within a moment."""
    from kdengine.runs import checks

    checks.check(configurations)


def pace(configurations: Sequence[Configuration]) -> Pace:
    """How long steps of a group's networks take on this machine now; measured, in seconds. Raises KDError as `check`.

    Data, sizes, networks, batch and precision decide it, and nothing else that is set.
    """
    from kdengine.runs import estimates

    return estimates.pace(configurations)


def estimate(configurations: Sequence[Configuration], paced: Pace) -> dict[str, float]:
    """What a group of students will take at this pace: seconds, images_per_second. Raises KDError as `check`."""
    from kdengine.runs import estimates

    return estimates.estimate(configurations, paced)


def start(configurations: Sequence[Configuration]) -> list[str]:
    """Train a group of students side by side in a process of its own; returns the runs' ids at once."""
    from kdengine.runs import control

    return control.submit(configurations)


def stop(run: str) -> None:
    """Ask a run to stop at its last complete epoch."""
    from kdengine.runs import control

    control.stop(run)


def pause(ids: Sequence[str], epoch: int | None = None) -> None:
    """Have a group of runs wait once `epoch` epochs are complete, None: the one in training, for two minutes at most.
    """
    from kdengine.runs import control, store

    if epoch is None:  # one of them may be an epoch ahead for a moment
        epoch = 1 + max(store.read(run).status["epoch"] for run in ids)
    for run in ids:
        control.pause(run, epoch)


def go_on(ids: Sequence[str]) -> None:
    """End a pause."""
    from kdengine.runs import control

    for run in ids:
        control.go_on(run)


def resume(ids: Sequence[str]) -> None:
    """Continue stopped, failed or interrupted runs where they were."""
    from kdengine.runs import control

    control.resume(ids)


def rename(run: str, name: str) -> None:
    """Give a run a name of one's own; an empty one takes it away. Raises KDError for one that is no line of 80."""
    from kdengine.runs import store

    store.rename(run, name)


def remove(run: str) -> None:
    """Delete a run that is not active, and its files."""
    from kdengine.runs import control

    control.remove(run)


def watch(run: str) -> dict[str, Any]:
    """A run as it is now: its record as plain data, with state, name, history (a row an epoch), progress and log.

    pausing: whether it is to wait after a coming epoch; paused: whether it has come to where it waits.
    """
    from kdengine.runs import store

    state = store.state(run)
    record = store.read(run)
    return dataclasses.asdict(record) | {
        "state": state, "name": store.name(run), "log": store.log(run),
        "history": store.history(run), "progress": store.progress(run),
        "pausing": state in ACTIVE and store.pauses(run, record.configuration.epochs - 1),
        "paused": state in ACTIVE and store.pauses(run, record.status["epoch"]),
    }


def list_recipes() -> list[dict[str, Any]]:
    """The lab experiments in display order: name, title, question, and by scale data, epochs and parts."""
    from kdengine import recipes

    return [recipes.describe(each) for each in recipes.RECIPES.values()]


def start_recipe(name: str, scale: str, seeds: int) -> None:
    """Train what a recipe has not trained yet, in a process of its own; returns at once. KDError where it runs."""
    from kdengine import recipes

    recipes.start(recipes.plan(name, scale, seeds))


def stop_recipe(name: str, scale: str, seeds: int) -> None:
    """Ask a recipe to stop what it trains at the last complete epoch; started again, it goes on from there."""
    from kdengine import recipes

    recipes.stop(recipes.plan(name, scale, seeds))


def watch_recipe(name: str, scale: str, seeds: int) -> dict[str, Any]:
    """How far a recipe is: running, command, log, and each of its networks with label, seed, run, state and epoch."""
    from kdengine import recipes

    asked = recipes.plan(name, scale, seeds)
    return recipes.progress(asked) | {"command": asked.command}


def recipe_results(name: str, scale: str, seeds: int) -> dict[str, Any]:
    """What of a recipe is finished: `table`, rows of texts under their titles, `reading`, `remarks`, ...

    figures: Altair charts by caption. gallery: heat maps, or masks, as HTML, empty where the recipe has none;
    gallery_title and gallery_caption say what it shows.
    """
    from kdengine import recipes
    from kdengine.recipes import comparison, gallery

    outcome = recipes.so_far(recipes.plan(name, scale, seeds))
    recipe = outcome.plan.recipe
    looks = gallery.looks(outcome) if recipe.gallery else []
    return _told(outcome, comparison.rows(outcome)) | {
        "gallery": gallery.html(looks, gallery.colors(outcome)) if looks else "",
        "gallery_title": gallery.TITLES[recipe.headline],
        "gallery_caption": gallery.CAPTIONS[recipe.headline],
    }


def earlier_results(recipe: str) -> list[dict[str, Any]]:
    """What lab reports in `results/` say of a recipe, by folder: as `recipe_results`, without a gallery, and more.

    name, setting (what was trained on what), command, device, created (seconds since 1970), printed (rows of what lab
    sheets print, may be empty), apart (in what these differ), html (the report). Folders that cannot be read are left
    to `kdengine results verify`.
    """
    from kdengine.recipes import archive, comparison, report

    found = []
    for folder in archive.folders():
        try:
            outcome, table, _ = archive.read(folder)
        except KDError:
            continue
        plan = outcome.plan
        if plan.recipe.name != recipe or not outcome.records:
            continue
        newest = max(outcome.records.values(), key=lambda record: record.created)
        titles, printed = comparison.printed(outcome, table)
        found.append(_told(outcome, table) | {
            "name": folder.name, "setting": plan.setting, "command": plan.command, "created": newest.created,
            "device": newest.environment["device_name"], "apart": plan.recipe.apart,
            "printed": [dict(zip(titles, cells, strict=True)) for cells in printed],
            "html": (folder / report.PAGE).read_text(encoding="utf-8"),
        })
    return found


def _told(outcome: Outcome, table: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A recipe's table as texts, how to read it, what it says, and its charts."""
    from kdengine.recipes import comparison, report

    recipe = outcome.plan.recipe
    titles = comparison.titles(recipe).values()
    return {
        "table": [dict(zip(titles, cells, strict=True)) for cells in comparison.texts(recipe, table)],
        "reading": comparison.READING,
        "remarks": comparison.remarks(outcome, table),
        "figures": report.figures(outcome, table),
    }


def recipe_report(name: str, scale: str, seeds: int) -> dict[str, str]:
    """The lab report of what of a recipe is finished: `html`, one file that needs nothing beside it, and `markdown`."""
    from kdengine import recipes
    from kdengine.recipes import report

    outcome = recipes.so_far(recipes.plan(name, scale, seeds))
    return {"html": report.html(outcome), "markdown": report.markdown(outcome)}


def group_report(ids: Sequence[str]) -> dict[str, str]:
    """The lab report of runs of one group, as `recipe_report`. Raises KDError where none of them has finished."""
    from kdengine.recipes import group, report

    outcome = group.outcome(ids)
    return {"html": report.html(outcome), "markdown": report.markdown(outcome)}


def read_picture(source: bytes | Path) -> Image:
    """A picture a person gave, upright, in RGB, and of at most 16 megapixels: a larger one is halved.

    Raises KDError that says why it cannot be used.
    """
    from kdengine.data import pictures

    return pictures.read_picture(source)


def sample_photographs() -> list[dict[str, Any]]:
    """Photographs that are on every machine: title, credit (to be shown), path, classes that fit."""
    from kdengine.data import photographs

    return photographs.photographs()


def open_data(name: str, image_size: int | None = None) -> DataSet:
    """A data set with all its labels: `classes`, and example pictures through `example`.

    image_size: pixels a side; None is the data set's own.
    """
    from kdengine import data

    return data.load(name, image_size=image_size)


def example(data: DataSet, index: int) -> tuple[Image, int]:
    """A test picture and its class number; index from 0 to `len(data.test) - 1`."""
    from kdengine.data import pictures

    return pictures.picture(data.test.images[index]), int(data.test.target[index])


def open_network(reference: str) -> Network:
    """A shipped checkpoint by name, a run's student by id, a checkpoint file by path, or an ImageNet network."""
    from kdengine.runs import checkpoints

    return checkpoints.open_reference(reference)


def cost(network: Network) -> dict[str, Any]:
    """Size and speed of one forward of one image: parameters, megabytes, flops, and latency with its median_ms."""
    from kdengine.measures import evaluation

    return evaluation.cost(network)


def predict(network: Network, picture: Image) -> dict[str, list]:
    """What a network says of a picture, resized and cropped to its input: logits and probabilities, by class number."""
    import torch

    from kdengine.data import pictures
    from kdengine.devices import one_thread

    with one_thread(), torch.inference_mode():
        logits = network(_as_images(pictures.picture_tensor(picture, network.input_size)))[0]
    return {"logits": logits.tolist(), "probabilities": logits.softmax(dim=0).tolist()}


def heat_map(
    network: Network, picture: Image, target: int, *, method: str = "gradcam", stage: str | None = None,
    region: numpy.ndarray | None = None,
) -> dict[str, Any]:
    """Where a network looks for a class: `heat` [h][w] in [0, 1] at the map's own size, `stage`, `size` (h, w).

    `input` is the picture as the network saw it; the map lies over that. region: of a network that segments, whose
    pixels' score is explained, bool [H, W] of its input; None is all. Raises KDError where it holds no pixel.
    """
    import torch

    from kdengine import explain
    from kdengine.data import pictures
    from kdengine.devices import one_thread

    pixels = _seen(network, picture)
    stage = stage or explain.default_stage(network).name
    within = None if region is None else torch.from_numpy(region)[None]
    with one_thread():
        heat = explain.heat_map(network, _as_images(pixels), [target], method=method, stage=stage, region=within)[0]
    return {"heat": heat.tolist(), "stage": stage, "size": tuple(heat.shape), "input": pictures.picture(pixels)}


def list_heat_maps() -> list[dict[str, Any]]:
    """Heat-map methods in display order: name, title, summary, source, and uses_target.

    uses_target is False where the map is the same whichever class is asked for.
    """
    from kdengine import explain

    shown = ("name", "title", "summary", "source", "uses_target")
    return [{key: getattr(each, key) for key in shown} for each in explain.HEAT_MAPS.values()]


def overlay(picture: Image, heat: Sequence[Sequence[float]], opacity: float) -> Image:
    """A picture with a heat map [h][w] in [0, 1] over it, enlarged smoothly; opacity in [0, 1], 1 is the map alone."""
    import torch

    from kdengine import explain

    return explain.overlay(picture, torch.tensor(heat), opacity)


def heat_on_object(heat: Sequence[Sequence[float]], data: DataSet, index: int) -> dict[str, float] | None:
    """Whether a heat map [h][w] of a test picture lies on its object: inside, pointing and area, in [0, 1].

    See `kdengine.explain.on_object`. None where the data set does not know where its objects lie.
    """
    import torch

    from kdengine import explain

    if data.boxes is None:
        return None
    found = explain.on_object(torch.tensor([heat]), data.boxes[index : index + 1], data.size)
    return {name: found[name].item() for name in ("inside", "pointing", "area")}


def heat_on_objects(network: Network, data: DataSet, method: str, count: int) -> dict[str, Any] | None:
    """Whether a network's heat maps of the first `count` (2 or more) test pictures lie on their objects.

    The maps are of the true classes. `n` pictures, mean `area` of the boxes, `hits`: whether each map points at its
    object. `inside` and `pointing` hold mean, low and high (95%, over the pictures), and `elsewhere`, what the same
    maps get in the boxes of the other pictures; all in [0, 1]. See `kdengine.explain.on_object`. None where the data
    set does not know where its objects lie.
    """
    from kdengine import explain
    from kdengine.data import pictures
    from kdengine.devices import one_thread
    from kdengine.measures.uncertainty import mean_interval, share_interval
    from kdengine.views import Split

    if data.boxes is None:
        return None
    images = pictures.resized(data.test.images[:count], network.input_size)
    with one_thread():
        found = explain.on_objects(
            network, Split(images, data.test.target[:count]), data.boxes[:count], data.size, method=method)
    means = {name: values.mean().item() for name, values in found.items()}
    told = {"n": len(images), "area": means["area"], "hits": found["pointing"].bool().tolist()}
    sure = {"inside": mean_interval(found["inside"].tolist()),
            "pointing": share_interval(means["pointing"], len(images))}
    for name, each in sure.items():
        low, high = max(0.0, each.low), min(1.0, each.high)  # t knows no bounds, a share does
        told[name] = {"mean": each.mean, "low": low, "high": high, "elsewhere": means[f"{name}_elsewhere"]}
    return told


def compare_heat_maps(student: Sequence[Sequence[float]], teacher: Sequence[Sequence[float]]) -> dict[str, float]:
    """How alike two heat maps [h][w] are: rank correlation (NaN for a constant map), cosine, overlap of the top 20%."""
    import torch

    from kdengine import explain

    return explain.compare_maps(torch.tensor(student), torch.tensor(teacher))


def kl_to_teacher(student: dict[str, list], teacher: dict[str, list]) -> float:
    """KL(teacher || student) at T = 1, in nats, of what two networks `predict` of one picture."""
    import torch

    from kdengine.measures import metrics

    return metrics.kl_to_teacher(*(torch.tensor([each["logits"]], dtype=torch.float64) for each in (student, teacher)))


def disagreements(data: DataSet, networks: Sequence[Network]) -> list[int]:
    """Test pictures, by index, of which not all the networks name the same class."""
    from kdengine.data import pictures
    from kdengine.devices import one_thread
    from kdengine.measures import evaluation
    from kdengine.views import Split

    with one_thread():
        named = [
            evaluation.predict(
                network, Split(pictures.resized(data.test.images, network.input_size), data.test.target)
            ).argmax(dim=1)
            for network in networks
        ]
    return sorted({int(index) for each in named[1:] for index in (each != named[0]).nonzero()})


def answers_over_epochs(run: str) -> numpy.ndarray:
    """The logits of a run after each complete epoch, float32 [epochs, images, classes], for the first test images.

    How many images, `kdengine.runs.watched.count` says. No epochs of a segmentation run, or one from before they were
    kept; NaN in an epoch of which none were.
    """
    import numpy

    from kdengine.runs import store, watched

    record = store.read(run)
    classes, tested = len(record.data.get("classes", ())), record.data.get("test", 0)
    if not classes or not tested or record.data.get("task") == "segmentation":
        return numpy.zeros((0, 0, 0), numpy.float32)
    some = watched.count(tested, classes, record.configuration.epochs)
    return watched.read(store.directory(run), some, classes)[:len(store.history(run))]


def snapshots(run: str) -> dict[int, str]:
    """References of a run's student as it was after earlier epochs, by epoch; empty where none were kept, or no run.
    """
    from kdengine.runs import store, watched

    try:
        return {epoch: str(path) for epoch, path in watched.snapshots(store.directory(run)).items()}
    except KDError:
        return {}


def hard_examples(name: str, among: int) -> list[int]:
    """Of the first `among` test images those that a network answers rightly, by entropy: the least certain first.

    From stored answers; all in their order where there are none.
    """
    from kdengine.measures import metrics
    from kdengine.runs import verdicts

    stored = _stored(name)
    if stored is None or "confusion" in stored:
        return list(range(among))
    right = verdicts.right(stored)
    uncertain = metrics.entropy(metrics.soften(_logits(stored)[:among], 1))
    return [each for each in uncertain.argsort(descending=True, stable=True).tolist() if right[each]]


def misses(name: str) -> tuple[int, int] | None:
    """How many of its test images a checkpoint or finished run answers wrongly, and how many there are.

    From stored answers; None where there are none, or of segmentation.
    """
    from kdengine.runs import verdicts

    stored = _stored(name)
    if stored is None or "confusion" in stored:
        return None
    right = verdicts.right(stored)
    return int((~right).sum()), len(right)


def telling_example(teacher: str, distilled: str, alone: str) -> int | None:
    """The number of a test image that shows what a teacher gives: it and the distilled student are right, one alone
    is wrong.

    Of such images, where the distilled student is no farther from its teacher (KL) than it is in the mean, the one
    that the teacher is least certain of (entropy): of those where the one alone is sure of its wrong class, if there
    are any. From stored answers; None where they are missing or there is none.
    """
    import torch

    from kdengine.measures import metrics
    from kdengine.runs import verdicts

    stored = [_stored(name) for name in (teacher, distilled, alone)]
    if any(each is None or "confusion" in each or each["logits"].shape != stored[0]["logits"].shape
           or (each["target"] != stored[0]["target"]).any() for each in stored):
        return None
    right = [torch.from_numpy(verdicts.right(each)) for each in stored]
    taught, distilled_says, alone_says = map(_logits, stored)
    apart = metrics.divergences(distilled_says, taught)
    telling = right[0] & right[1] & ~right[2] & (apart <= apart.mean())
    sure = telling & (metrics.soften(alone_says, 1).amax(dim=1) > 0.5)
    telling = sure if sure.any() else telling
    uncertain = metrics.entropy(metrics.soften(taught, 1))
    return int(torch.where(telling, uncertain, -1).argmax()) if telling.any() else None


def _logits(stored: Mapping[str, Any]) -> Tensor:
    import torch

    return torch.from_numpy(stored["logits"]).double()


def _stored(name: str) -> dict[str, Any] | None:
    """A result's stored answers; None where there is no such result, or nothing is stored."""
    from kdengine.runs import results

    try:
        return results.predictions(name)
    except KDError:
        return None


def masked_example(data: DataSet, index: int) -> tuple[Image, numpy.ndarray]:
    """A test picture and its mask: int16 [H, W], class numbers, negative where a pixel counts nowhere.

    index: from 0 to `len(data.test) - 1`.
    """
    from kdengine.data import pictures

    return pictures.picture(data.test.images[index]), data.test.target[index].numpy().copy()


def segment(network: Network, picture: Image) -> numpy.ndarray:
    """What a network says of each pixel: class numbers, int16 [H, H], of the picture stretched to its input size H.

    Raises KDError for a network that classifies.
    """
    import torch

    from kdengine.devices import one_thread

    if network.task != "segmentation":
        raise KDError(f"{network.architecture} names one class a picture, not one a pixel; ask `predict` instead.")
    with one_thread(), torch.inference_mode():
        logits = network(_as_images(_seen(network, picture)))[0]
    return logits.argmax(dim=0).to(torch.int16).numpy()


def mask_scores(answer: numpy.ndarray, truth: numpy.ndarray, classes: int) -> dict[str, float] | None:
    """How good a network's answer to one picture is: `miou` and `pixel_accuracy`, in [0, 1].

    Both masks are [H, W], of class numbers below `classes`; where the truth is negative a pixel counts nowhere. mIoU
    is over the classes that the truth or the answer holds. None where no pixel counts.
    """
    import torch

    from kdengine.measures import metrics

    counts = metrics.confusion(torch.from_numpy(answer)[None].long(), torch.from_numpy(truth)[None].long(), classes)[0]
    if not counts.any():
        return None
    return {"miou": metrics.mean_iou(counts), "pixel_accuracy": metrics.pixel_accuracy(counts)}


def mask_disagreements(data: DataSet, names: Sequence[str]) -> list[int]:
    """Test pictures, by index: the tenth on which stored answers differ most from the first one's, and differ at all.

    names: shipped checkpoints and finished runs. Two answers differ on at least half as many pixels as their stored
    confusion matrices of the picture count differently: no network is asked again. Raises KDError where one has no
    stored answers to these very pictures.
    """
    import numpy

    first, *others = _confusions(data, names)
    differ = numpy.max([numpy.abs(each - first).sum(axis=(1, 2)) for each in others], axis=0)
    most = numpy.argsort(-differ, kind="stable")[: max(1, len(differ) // 10)]
    return sorted(int(index) for index in most if differ[index])


def typical_masks(data: DataSet, names: Sequence[str]) -> int:
    """The number of the test picture on which these networks are most as they are in the mean, by its mIoU of each.

    Raises KDError as `mask_disagreements`.
    """
    import torch

    from kdengine.measures import metrics

    found = []
    for counts in _confusions(data, names):
        iou = torch.tensor([metrics.mean_iou(torch.from_numpy(each)) for each in counts])
        found.append((iou - iou.nanmean()).abs().nan_to_num(nan=1.0))
    return int(sum(found).argmin())


def _confusions(data: DataSet, names: Sequence[str]) -> list[numpy.ndarray]:
    """The stored confusion matrices of each test picture, int64 [N, C, C], of each network."""
    import numpy

    from kdengine.runs import records, results

    matrices = []
    for name in names:
        held = results.predictions(name)
        tested = records.read_record(results.folder(name) / records.RECORD).data.get("digest")
        if held is None or tested != data.digest or held.keys() != {"confusion"} or (
                matrices and held["confusion"].shape != matrices[0].shape):
            raise KDError(f"{name} has no stored answers to these test pictures, so it cannot be told where it "
                          "disagrees. Finish a run of it on this data set first.")
        matrices.append(held["confusion"].astype(numpy.int64))
    return matrices


def _as_images(pixels: Tensor) -> Tensor:
    return pixels[None].float() / 255


def _seen(network: Network, picture: Image) -> Tensor:
    """uint8 [3, H, H] of a picture as a network takes it: whole where each pixel gets an answer, else its centre."""
    from PIL import Image

    from kdengine.data import pictures

    size = network.input_size
    if network.task == "segmentation":
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    return pictures.picture_tensor(picture, size)


__all__ = [
    "Configuration",
    "DataMissing",
    "KDError",
    "about_data",
    "answers_over_epochs",
    "bring_back",
    "check",
    "compare_heat_maps",
    "cost",
    "data_notes",
    "default_teacher",
    "disagreements",
    "download",
    "earlier_results",
    "estimate",
    "example",
    "families",
    "fit_to_show",
    "go_on",
    "group_report",
    "hard_examples",
    "heat_map",
    "heat_on_object",
    "heat_on_objects",
    "kl_to_teacher",
    "list_checkpoints",
    "list_data",
    "list_heat_maps",
    "list_methods",
    "list_models",
    "list_recipes",
    "list_runs",
    "list_unreadable",
    "mask_disagreements",
    "mask_scores",
    "masked_example",
    "method_title",
    "misses",
    "move_aside",
    "open_data",
    "open_network",
    "overlay",
    "pace",
    "pause",
    "predict",
    "read_picture",
    "recipe_report",
    "recipe_results",
    "remove",
    "rename",
    "require_below_data_root",
    "results_table",
    "resume",
    "sample_photographs",
    "segment",
    "shipped_families",
    "snapshots",
    "start",
    "start_recipe",
    "stop",
    "stop_recipe",
    "student_titles",
    "teacher_of",
    "teachers",
    "teaching_size",
    "telling_example",
    "typical_masks",
    "watch",
    "watch_recipe",
]
