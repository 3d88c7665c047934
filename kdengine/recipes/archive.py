"""A recipe's results as files that outlive their runs: what `results/` holds.

`records.json` has the plan, the table and the recipe's own contrasts as the report shows them, and of each network its
record, its history and what the recipe measured; `others` are networks of other plans that are judged in one family
with these. `answers.npz` has what each of them answers to each test image. All that the report says of a pair of
networks is computed again from these two files by `verify`. `looks.json` has the pictures of what they do with some
test images, where the report shows any.
"""

from __future__ import annotations

import functools
import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from kdengine import files
from kdengine.errors import KDError
from kdengine.files import Count, Some, Text, replacing, write_json
from kdengine.paths import reports_root
from kdengine.recipes import comparison
from kdengine.recipes.recipe import Outcome, Plan, Source
from kdengine.runs import records, verdicts
from kdengine.runs.records import Record
from kdengine.runs.schema import Row

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

    from kdengine.recipes.look import Look

RECORDS, ANSWERS, LOOKS = "records.json", "answers.npz", "looks.json"
_MOST_BYTES = 64 * 2**20
_TOLERANCE = 2e-3
"""Of a mean loss or divergence, relative: of each image it is kept in half precision."""


class _Network(TypedDict):
    """A network of the plan."""

    label: Text
    seed: Count
    record: dict[str, Any]
    history: list[Row]
    measured: dict[Text, float]


class _Other(TypedDict):
    """A network of another plan, by the name of its result."""

    name: Text
    record: dict[str, Any]


class _Content(TypedDict):
    """What `records.json` holds."""

    recipe: Text
    scale: Text
    seeds: Some
    changes: dict[Text, Any]
    command: Text
    table: list[dict[str, Any]]
    contrasts: list[dict[str, Any]]
    runs: list[_Network]
    others: list[_Other]


@dataclass(frozen=True)
class Archive:
    """What lies behind the records of one folder; a `recipe.Source`."""

    folder: Path
    results: Mapping[str, Record]
    histories: Mapping[str, list[dict[str, Any]]]

    def finished(self) -> Mapping[str, Record]:
        """See Source."""
        return self.results

    def history(self, run: str) -> list[dict[str, Any]]:
        """See Source."""
        return self.histories[run]

    def predictions(self, run: str) -> dict[str, Any] | None:
        """See Source."""
        if f"{run}/confusion" in self.arrays:
            return {"confusion": self.arrays[f"{run}/confusion"]}
        answer = self.arrays.get(f"{run}/answer")
        return None if answer is None else {"answer": answer, "target": self.arrays["target"]}

    @functools.cached_property
    def arrays(self) -> dict[str, numpy.ndarray]:
        """What `answers.npz` holds: `target` [N], and by run `answer`, `loss` and `kl` [N], or `confusion` [N, C, C].

        loss, kl: cross-entropy and KL(teacher || student) of each image, in nats.
        """
        import numpy

        path = self.folder / ANSWERS
        try:
            with numpy.load(path, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise KDError(f"{path} cannot be read: {error}.") from error


@dataclass(frozen=True)
class Check:
    """What was computed again from a folder's own files: how many networks and verdicts, and what is not as written."""

    networks: int
    verdicts: int
    wrong: Sequence[str]


def folders() -> list[Path]:
    """The folders of all results that were measured earlier, by name."""
    return sorted(path.parent for path in reports_root().glob(f"*/{RECORDS}"))


def write(outcome: Outcome, table: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write an outcome's files into a folder that is there."""
    import numpy

    plan, everything = outcome.plan, outcome.everything()
    own = [record.id for record in outcome.records.values()]
    students = [record.id for part in outcome.parts if part.taught for record in outcome.of(part.label)]
    others = [name for name in verdicts.relatives(students, everything) if name not in own]
    write_json(folder / RECORDS, {
        "recipe": plan.recipe.name, "scale": plan.scale, "seeds": plan.seeds, "changes": dict(plan.changes),
        "command": plan.command, "table": table, "contrasts": comparison.contrasts(outcome),
        "runs": [{"label": label, "seed": seed, "record": asdict(record),
                  "history": outcome.source.history(record.id), "measured": outcome.measures[label, seed]}
                 for (label, seed), record in outcome.records.items()],
        "others": [{"name": name, "record": asdict(everything[name])} for name in others],
    })
    arrays = _arrays(outcome.source, {name: everything[name] for name in [*own, *others]})
    for name, text in plan.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    with replacing(folder / ANSWERS) as written, written.open("wb") as file:
        numpy.savez_compressed(file, allow_pickle=False, **arrays)
    if outcome.looks:
        write_json(folder / LOOKS, [[look.as_data() for look in row] for row in outcome.looks])


def read(folder: Path) -> tuple[Outcome, list[dict[str, Any]], list[dict[str, Any]]]:
    """The outcome that a folder holds, and its table and contrasts as they were written.

    Raises KDError for files that nobody wrote here, or whose recipe has other networks today.
    """
    path = folder / RECORDS
    try:
        content = files.decode(files.content(path, _MOST_BYTES) or b"", _Content)
        networks = {(each["label"], each["seed"]): records.parse(each["record"], each["label"])
                    for each in content["runs"]}
        others = {each["name"]: records.parse(each["record"], each["name"]) for each in content["others"]}
    except KDError as error:
        raise KDError(f"{path} cannot be read: {str(error).rstrip('.')}.") from error
    plan = _plan(content, folder)
    if unknown := sorted({label for label, _ in networks} - {part.label for part in plan.parts}):
        raise KDError(f"{path} has networks that {plan.recipe.name} does not train today: {', '.join(unknown)}. Run "
                      f"its command again: {content['command']}")
    behind = Archive(
        folder, {**others, **{record.id: record for record in networks.values()}},
        {record.id: each["history"] for record, each in zip(networks.values(), content["runs"], strict=True)})
    measured = {(each["label"], each["seed"]): each["measured"] for each in content["runs"]}
    outcome = Outcome(plan, networks, source=behind, measured=measured, looks=_looks(folder))
    return outcome, content["table"], content["contrasts"]


def verify(folder: Path) -> Check:
    """Compute again, from a folder's own files, all that its report says. Raises KDError where they cannot be read."""
    outcome, table, contrasts = read(folder)
    behind = outcome.source
    assert isinstance(behind, Archive)  # as `read` has it
    again = comparison.rows(outcome)
    wrong = [f"{each.get('label') or each['first']}: {column} is {now!r}, and {each.get(column)!r} is written"
             for written, computed in ((table, again), (contrasts, comparison.contrasts(outcome)))
             for each, row in zip(written, json.loads(files.as_json(computed)), strict=True)
             for column, now in row.items() if not _equal(now, each.get(column))]
    wrong += [f"{label}, seed {seed}: {difference}" for (label, seed), record in outcome.records.items()
              for difference in _against_answers(behind, record)]
    return Check(len(outcome.records), sum(row["verdict"] is not None for row in again), wrong)


def printed(folder: Path) -> list[dict[str, str]]:
    """What lab sheets print of a folder's networks, beside what it measured: report, sheet, row, number, printed, ours.

    Raises KDError as `read`.
    """
    outcome, table, _ = read(folder)
    titles, rows = comparison.printed(outcome, table)
    return [{"report": folder.name, "sheet": sheet, "row": label, "number": number, "printed": value, "ours": ours}
            for label, number, *theirs, ours in rows
            for sheet, value in zip(titles[2:-1], theirs, strict=True) if value != "–"]


def _looks(folder: Path) -> list[list[Look]]:
    """The pictures that a folder holds; none where it has none."""
    from kdengine.recipes.look import Look, LookData

    content = files.content(folder / LOOKS, _MOST_BYTES)
    if content is None:
        return []
    try:
        return [[Look.from_data(each) for each in row] for row in files.decode(content, list[list[LookData]])]
    except KDError as error:
        raise KDError(f"{folder / LOOKS} cannot be read: {str(error).rstrip('.')}.") from error


def _plan(content: _Content, folder: Path) -> Plan:
    from kdengine.recipes import own_sweep, plans

    if content["recipe"] == own_sweep.NAME:
        text = files.content(folder / own_sweep.FILE)
        return own_sweep.read_sweep((text or b"").decode("utf-8", errors="replace"))
    return plans.plan(content["recipe"], content["scale"], content["seeds"], **content["changes"])


def _arrays(source: Source, networks: Mapping[str, Record]) -> dict[str, numpy.ndarray]:
    """What `answers.npz` is to hold, see `Archive.arrays`. Of a network whose predictions are gone there is nothing."""
    import numpy
    import torch
    from torch.nn.functional import cross_entropy

    from kdengine.measures import metrics

    arrays: dict[str, numpy.ndarray] = {}
    for name, record in networks.items():
        stored = source.predictions(name)
        if stored is None:
            continue
        if "confusion" in stored:
            arrays[f"{name}/confusion"] = stored["confusion"]
            continue
        target = arrays.setdefault("target", stored["target"].astype(_smallest(stored["logits"].shape[1])))
        arrays[f"{name}/answer"] = verdicts.answers(stored).astype(target.dtype)
        said = _logits(stored)
        truth = torch.from_numpy(target.astype(numpy.int64))
        arrays[f"{name}/loss"] = cross_entropy(said, truth, reduction="none").numpy().astype(numpy.float16)
        teacher = record.configuration.teacher
        taught = source.predictions(teacher) if teacher is not None and teacher in networks else None
        if taught is not None:
            arrays[f"{name}/kl"] = metrics.divergences(said, _logits(taught)).numpy().astype(numpy.float16)
    return arrays


def _smallest(classes: int) -> numpy.dtype:
    import numpy

    return numpy.min_scalar_type(classes - 1)


def _logits(stored: Mapping[str, Any]) -> Tensor:
    import torch

    return torch.from_numpy(stored["logits"]).double()


def _against_answers(behind: Archive, record: Record) -> Iterator[str]:
    """What a record's test scores and a network's answers say differently."""
    from kdengine.measures import uncertainty

    arrays, test = behind.arrays, record.result["test"]
    stored = behind.predictions(record.id)
    if stored is None:
        yield "its answers are not there"
    elif "confusion" in stored:
        yield from _differ(test, miou=uncertainty.mean_iou_interval(stored["confusion"]).mean)
    else:
        yield from _differ(test, top1=float(verdicts.right(stored).mean()))
        yield from _differ(test, _TOLERANCE, loss=float(arrays[f"{record.id}/loss"].mean(dtype=float)))
        taught = behind.predictions(record.configuration.teacher or "")
        if taught is not None:
            yield from _differ(test, agreement=float((stored["answer"] == taught["answer"]).mean()))
            yield from _differ(test, _TOLERANCE, kl_to_teacher=float(arrays[f"{record.id}/kl"].mean(dtype=float)))


def _differ(test: Mapping[str, Any], tolerance: float = 1e-9, **computed: float) -> Iterator[str]:
    for name, now in computed.items():
        if not math.isclose(test[name], now, rel_tol=tolerance, abs_tol=1e-6):
            yield f"{name} is {now:.6g} of its answers, and {test[name]:.6g} in its record"


def _equal(now: Any, written: Any) -> bool:
    if isinstance(now, list) and isinstance(written, list):
        return len(now) == len(written) and all(map(_equal, now, written))
    if isinstance(now, float) and isinstance(written, float):
        return math.isclose(now, written, rel_tol=1e-9, abs_tol=1e-12)
    return now == written
