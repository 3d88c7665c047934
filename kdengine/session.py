"""One group of runs in training: from its configuration to weights, history and results on disk."""

from __future__ import annotations

import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from kdengine import (
    checkpoints,
    data,
    evaluation,
    files,
    methods,
    models,
    records,
    runs,
    speeds,
    teacher_cache,
    training,
    watched,
)
from kdengine.devices import choose_device, device_name, lay, memory_formats
from kdengine.errors import KDError
from kdengine.models.network import Network
from kdengine.places import PROJECT, runs_root
from kdengine.records import FAILED, FINISHED, RUNNING, STOPPED, Record
from kdengine.speeds import Way
from kdengine.teacher_cache import TeacherCache
from kdengine.training import Learner
from kdengine.views import Split, policy

TRAINING = runs.TRAINING
_ROUNDING = 0.002
"""Nats that a teacher's answers may move for speed: a hundredth of what its closest students are away from it."""
_DIVERGED = 100
"""So many times the loss of guessing is no result: it is finite only because nothing overflowed yet."""
_TRIED = 64
"""Training images on which that is seen."""
_RESUME = "resume-"
"""How the files begin that hold a learner's whole state after an epoch."""
_STOP_LOOK_S = 0.25
_PAUSE_LOOK_S = 0.1
_PROGRESS_S = 1.0


class Session:
    """A group's time in one worker. Opening it loads the data and measures the teacher; `train` does the rest.

    records: the runs of one group that stand at the same epoch, their locks held by this process. release(run) is
    called once a run has ended while others of its group go on; from then on this session leaves its files alone.
    """

    def __init__(self, held: list[Record], release: Callable[[str], None] = lambda run: None) -> None:
        self.records = held
        self.release = release
        self.configuration = held[0].configuration
        self.first_epoch = held[0].status["epoch"]
        self.progress = _Progress(held, self.configuration.epochs, self.first_epoch)
        self.progress.phase("Loading the data")
        self.device = choose_device(self.configuration.device)
        threads = held[0].environment.get("threads") or self.configuration.threads
        if threads:
            torch.set_num_threads(threads)
        self.data = data.load(
            self.configuration.data, labels_per_class=self.configuration.labels_per_class,
            labelled_images=self.configuration.labelled_images, share=self.configuration.share,
            without_class=self.configuration.without_class, image_size=self.configuration.image_size,
        )
        for note in self.data.notes:
            print(note, file=sys.stderr)
        self.views = self.configuration.views or self.data.views
        self.splits = {name: getattr(self.data, name).to(self.device) for name in ("train", "validation", "test")}
        self.progress.images_per_epoch = len(self.data.train)
        self.progress.phase("Measuring the teacher")
        self.teacher = self._open_teacher()
        self.teacher_way = self._place_teacher()
        # Of segmentation they would fill the memory: there the teacher is asked again.
        self.teacher_logits = {} if self.teacher is None or self.data.task == "segmentation" else {
            name: evaluation.predict(self.teacher, self.splits[name]) for name in ("validation", "test")
        }
        self._require_unchanged()
        self.student_ways: dict[str, Way] = {}
        self.learners = {record.id: self._learner(record) for record in held}
        self.caches_teacher = held[0].environment.get("teacher_cache", not self.first_epoch)
        self.student_threads = self._student_threads()
        self._compile()
        self.last_look = {record.id: 0.0 for record in held}

    def train(self) -> None:
        """Train the group to its end and write each run's result, reason or stop."""
        teacher = self._teacher_facts()
        for record in self.records:
            record.data = self._data_facts()
            record.environment = self._environment(record, self.learners[record.id])
            record.teacher = teacher
            runs.set_state(record, RUNNING)
        by_learner = {id(self.learners[record.id]): record for record in self.records}
        self.progress.phase(TRAINING)
        training.train(
            list(self.learners.values()), self.teacher, self.splits["train"], policy(self.views),
            teacher_precision=self.teacher_way.precision,
            teacher_cache=self._teacher_cache(),
            first_epoch=self.first_epoch,
            student_threads=self.student_threads,
            on_epoch=lambda learner, row: self._keep_epoch(by_learner[id(learner)], learner, row),
            on_step=self.progress.step,
            before_epoch=self._pause,
            keep_going=lambda learner: self._keep_going(by_learner[id(learner)], learner),
        )
        for record in self.records:
            learner = self.learners[record.id]
            if learner.failure:
                self._end(record, FAILED, str(learner.failure))
            elif not learner.stopped:
                self._finish(record, learner)

    def _open_teacher(self) -> Network | None:
        reference = self.configuration.teacher
        if reference is None:
            return None
        teacher = checkpoints.open_teacher(reference, self.data.classes, self.data.size)
        if teacher.task != self.data.task:
            raise KDError(f"The teacher {reference} is for {teacher.task}; these data are for {self.data.task}. Take a "
                          "teacher that was trained on them.")
        return teacher.requires_grad_(False).to(self.device)

    def _teacher_cache(self) -> TeacherCache | None:
        """Where what the teacher says of these views is kept.

        A run goes on as it began: what is kept is rounded, what the teacher says live is not.
        """
        if self.teacher is None or not self.caches_teacher:
            return None
        asked = self.configuration
        return TeacherCache(runs_root() / ".teacher-cache", teacher_cache.key(
            teacher=checkpoints.network_digest(self.teacher), data=self.data.digest, share=asked.share,
            without_class=asked.without_class, views=policy(self.views), way=self.teacher_way,
            # Which images are shown, and how often, follows those that have a label.
            labels_per_class=asked.labels_per_class, labelled_images=asked.labelled_images,
            labelled_share=asked.labelled_share,
            device=device_name(self.device), threads=torch.get_num_threads(),
        ))

    def _learner(self, record: Record) -> Learner:
        asked = record.configuration
        network = models.build(
            asked.student, self.data.classes, seed=asked.seed, input_size=self.data.size,
            # Published weights expect their own normalisation.
            **({"start": True} if asked.pretrained else {"mean": self.data.mean, "std": self.data.std}),
        ).to(self.device)
        self.student_ways[record.id] = way = self._place(network, "student", record)
        method = methods.method(asked.method, **asked.hyperparameters)
        learner = Learner(network, method, self.teacher, self.splits["train"], asked, way.precision)
        if asked.initial and not self.first_epoch:
            _start_from(learner, asked.initial)
        if self.first_epoch:
            path = _resume_file(record.id, self.first_epoch)
            if not path.is_file():
                raise KDError(f"{path} is gone, so there is nothing to go on from. Start a new run.")
            learner.restore(torch.load(path, map_location=self.device, weights_only=True))
        return learner

    def _place_teacher(self) -> Way:
        """Lay the teacher as it answers fastest, in a precision that does not move its answers."""
        if self.teacher is None:
            return Way("float32", memory_formats(self.device)[0])
        record = self.records[0]
        way = self._place(self.teacher, "teacher", record)
        if self.configuration.precision == "auto" and way.precision != "float32" and not record.environment:
            some = self.splits["train"].images[:_TRIED]
            if evaluation.rounding(self.teacher, some, way.precision) > _ROUNDING:
                way = speeds.usual(self.teacher, "float32")
                lay(self.teacher, way.memory_format)
        return way

    def _place(self, network: Network, role: str, record: Record) -> Way:
        """Lay a network's weights in memory, and return the way it is to run: this machine's, or the precision asked
        for.

        A run goes on in the way it began: another would change the numbers.
        """
        began = record.environment
        precision, memory_format = (began.get(what, {}).get(role) for what in ("precision", "memory_formats"))
        if precision and memory_format:
            way = Way(precision, memory_format)
        else:
            way = speeds.way(network, self.configuration.batch_size, precision or record.configuration.precision,
                             training=role == "student")
        lay(network, way.memory_format)
        return way

    def _student_threads(self) -> int | None:
        """Of each student, where some train at once; a resumed one goes on with as many as it had."""
        if self.first_epoch:
            return self.records[0].environment.get("student_threads")
        if self.configuration.compile == "always":
            return None
        return speeds.student_threads(self.device, len(self.learners))

    def _compile(self) -> None:
        """Compile the students where that is asked for. A run goes on as it began."""
        for record in self.records:
            begun = record.environment.get("compiled", False)
            if begun if self.first_epoch else self.configuration.compile == "always":
                self.progress.phase("Compiling")
                self.learners[record.id].compile(self.splits["train"])

    def _teacher_facts(self) -> dict[str, Any] | None:
        if self.teacher is None:
            return None
        scores = {split: self._judge(self.teacher, split)[0] for split in ("validation", "test")}
        for split, measured in scores.items():
            if not math.isfinite(measured["loss"]):
                raise KDError(f"The teacher {self.configuration.teacher} answers {split} images with numbers that are "
                              "not finite, so nothing can be learned from it. Take another teacher.")
        return {
            "reference": self.configuration.teacher,
            "architecture": self.teacher.architecture,
            "digest": checkpoints.network_digest(self.teacher),
            "parameters": evaluation.parameters(self.teacher),
            **scores,
        }

    def _require_unchanged(self) -> None:
        """Raise KDError where a resumed run would go on with other pictures or another teacher than it began with."""
        teacher = checkpoints.network_digest(self.teacher) if self.teacher else None
        for record in self.records if self.first_epoch else []:
            if record.data.get("digest") != self.data.digest:
                raise KDError(f"The pictures of {self.data.name} are not those this run began with. Start a new run.")
            began = record.teacher["digest"] if record.teacher else "none"
            if teacher and began != teacher:
                raise KDError(f"The teacher {self.configuration.teacher} is not the one this run began with: its "
                              f"weights have the digest {teacher}, not {began}. Start a new run.")

    def _data_facts(self) -> dict[str, Any]:
        train = self.data.train
        return {
            "name": self.data.name,
            "title": self.data.title,
            "task": self.data.task,
            "classes": list(self.data.classes),
            "size": self.data.size,
            "digest": self.data.digest,
            "notes": list(self.data.notes),
            "labels_per_class": self.configuration.labels_per_class,
            "labelled_images": self.configuration.labelled_images,
            "share": self.configuration.share,
            "without_class": self.configuration.without_class,
            "views": self.views,
            "train": len(train),
            "labelled": int(train.labelled.sum()),
            "validation": len(self.data.validation),
            "test": len(self.data.test),
        }

    def _environment(self, record: Record, learner: Learner) -> dict[str, Any]:
        ways = {"student": self.student_ways[record.id], "teacher": self.teacher_way}
        return {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "packages": {name: version(name) for name in ("torch", "torchvision", "numpy", "pillow", "scikit-learn")},
            "device": self.device.type,
            "device_name": device_name(self.device),
            "threads": torch.get_num_threads(),
            "student_threads": self.student_threads,
            "precision": {role: way.precision for role, way in ways.items()},
            "memory_formats": {role: way.memory_format for role, way in ways.items()},
            "teacher_cache": self.caches_teacher,
            "compiled": learner.compiled,
            "commit": _commit(),
        }

    def _keep_epoch(self, record: Record, learner: Learner, row: dict[str, Any]) -> None:
        """Put a finite epoch on disk. The record is written last: it alone says which epoch a resume starts from.

        Raises KDError where the disk refuses any of it; the epoch before is whole then.
        """
        folder, epoch = runs.directory(record.id), row["epoch"]
        validation, _ = self._judge(learner.network, "validation")
        answers = self._watched(learner)
        about = self._about(record, epoch, validation=validation)
        earlier = [records.headline(each["validation"]) for each in runs.history(record.id) if each["epoch"] < epoch]
        with files.writing(folder):
            record.files[records.STUDENT] = checkpoints.save(learner.network, folder / records.STUDENT, **about)
            if records.headline(validation) > max(earlier, default=-1.0):
                best = checkpoints.save(learner.network, folder / records.BEST_STUDENT, **about)
                record.files[records.BEST_STUDENT] = best
            _save_state(learner.state(), _resume_file(record.id, epoch))
            self._keep_snapshot(learner, folder, epoch, about)
            if answers is not None:
                watched.put(folder, epoch, answers)
            records.append_row(folder / records.HISTORY, row | {"validation": validation})
        runs.set_state(record, RUNNING, epoch=epoch)
        _forget_states(folder, but=_resume_file(record.id, epoch))
        self.progress.epochs_done = epoch

    def _keep_snapshot(self, learner: Learner, folder: Path, epoch: int, about: dict[str, Any]) -> None:
        """Keep the weights of some of the epochs before the last, of a classifier that is small enough."""
        epochs, size = learner.configuration.epochs, evaluation.network_bytes(learner.network)
        each = None if self.data.task == "segmentation" else watched.every(epochs, size)
        if each and epoch < epochs and epoch % each == 0:
            path = watched.snapshot(folder, epoch)
            path.parent.mkdir(exist_ok=True)
            checkpoints.save(learner.network, path, **about)

    def _watched(self, learner: Learner) -> Tensor | None:
        """What a student answers now to the test images that are watched, [N, C]; None of segmentation."""
        if self.data.task == "segmentation":
            return None
        test, asked = self.splits["test"], learner.configuration
        some = watched.count(len(test), len(self.data.classes), asked.epochs)
        return evaluation.predict(learner.network, Split(test.images[:some], test.target[:some]))

    def _finish(self, record: Record, learner: Learner) -> None:
        self.progress.phase("Testing")
        folder = runs.directory(record.id)
        history = runs.history(record.id)
        test, predictions = self._judge(learner.network, "test")
        if not _plausible(record, test, len(self.data.classes)):
            self._end(record, FAILED, f"Its test loss is {test['loss']:.3g}, where guessing has "
                      f"{math.log(len(self.data.classes)):.3g}: training diverged. The last epoch is kept; try a "
                      f"learning rate below {learner.configuration.learning_rate:g}.")
            return
        seconds = sum(row["seconds"] for row in history)
        own = [row.get("own_seconds") for row in history]  # a run may have begun before there were any
        record.result = {
            "test": test,
            "validation": history[-1]["validation"],
            **evaluation.cost(learner.network),
            "peak_memory": evaluation.peak_memory(self.device),
            "training_seconds": seconds,
            **({"own_seconds": sum(own)} if None not in own else {}),
            "images_per_second": len(self.data.train) * len(history) / seconds,
            "side_by_side": len(self.records),
        }
        about = self._about(record, len(history), validation=record.result["validation"], test=record.result["test"])
        with files.writing(folder):
            checkpoints.save_tensors(folder / records.PREDICTIONS, predictions)
            record.files[records.PREDICTIONS] = checkpoints.digest(predictions)
            if learner.adapter:
                state = learner.adapter.state_dict()
                checkpoints.save_tensors(folder / records.ADAPTER, state)
                record.files[records.ADAPTER] = checkpoints.digest(state)
            record.files[records.STUDENT] = checkpoints.save(learner.network, folder / records.STUDENT, **about)
        runs.set_state(record, FINISHED, ended=time.time())
        _forget_states(folder)

    def _judge(self, network: Network, split: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """A network's scores on a split, against the teacher where there is one, and what it predicts there.

        Segmentation is held against the teacher on the test split alone: it costs a forward of the teacher.
        """
        held = self.splits[split]
        if self.data.task == "segmentation":
            against = self.teacher if split == "test" and network is not self.teacher else None
            scores, confusion = evaluation.segment(network, held, against)
            return scores, {"confusion": confusion}
        if network is self.teacher:
            return evaluation.scores(self.teacher_logits[split], held.target), {}
        logits = evaluation.predict(network, held)
        return (evaluation.scores(logits, held.target, self.teacher_logits.get(split)),
                {"logits": logits, "target": held.target.cpu()})

    def _about(self, record: Record, epoch: int, **scores: dict[str, Any]) -> dict[str, Any]:
        """What a student's checkpoint says of itself besides its architecture."""
        asked = record.configuration
        return {
            "method": asked.method,
            "hyperparameters": asked.hyperparameters,
            "data": {key: record.data[key]
                     for key in ("name", "digest", "labels_per_class", "labelled_images", "share", "without_class")},
            "teacher": record.teacher and {key: record.teacher[key] for key in ("reference", "digest")},
            "epoch": epoch,
            "seed": asked.seed,
            "run": record.id,
            "scores": scores,
        }

    def _keep_going(self, record: Record, learner: Learner) -> bool:
        """False once someone asked the run to stop; the disk is looked at a few times a second.

        A run that stops or has failed ends here and now: the rest of its group may go on for hours.
        """
        if learner.failure:
            self._end(record, FAILED, str(learner.failure))
        now = time.monotonic()
        if record.state != RUNNING or now - self.last_look[record.id] < _STOP_LOOK_S:
            return record.state != STOPPED
        self.last_look[record.id] = now
        if runs.stop_requested(record.id):
            self._end(record, STOPPED, "Stopped on request.")
        return record.state != STOPPED

    def _pause(self, epoch: int) -> None:
        """Wait while a pause of any run that still trains is asked for, the whole group; but not for ever."""
        began = time.monotonic()
        with ExitStack() as stack:
            while any(record.state == RUNNING and runs.pauses(record.id, epoch) for record in self.records):
                if self.progress.name == TRAINING:
                    stack.enter_context(self.progress.paused())
                for record in self.records:
                    if time.monotonic() - began >= runs.PAUSE_S:
                        self._end(record, STOPPED, f"Paused for {runs.PAUSE_S:.0f} seconds, then stopped so that "
                                  "others can train. Resume it, and it goes on from here.")
                    self._keep_going(record, self.learners[record.id])
                time.sleep(_PAUSE_LOOK_S)

    def _end(self, record: Record, state: str, reason: str) -> None:
        """Leave a run without a result, once; from then on it can be resumed or removed."""
        if record.state == RUNNING:
            self.progress.leave(record.id)
            runs.set_state(record, state, reason=reason, ended=time.time())
            self.release(record.id)


class _Progress:
    """Writes `progress.json` beside each record: at each phase, and about once a second while training.

    Counts images, so that nothing waits for the device.
    """

    def __init__(self, held: list[Record], epochs: int, first_epoch: int) -> None:
        self.runs = [record.id for record in held]
        self.epochs = epochs
        self.first_epoch = self.epochs_done = first_epoch
        self.images_per_epoch = 0
        self.name = ""
        self.began = self.last = time.monotonic()

    def phase(self, name: str) -> None:
        """Enter a phase; the clock of images per second starts with it."""
        self.name = name
        self.began = time.monotonic()
        self._write(0)

    def step(self, images: int) -> None:
        """Called once a batch with the images of this epoch seen so far."""
        if time.monotonic() - self.last >= _PROGRESS_S:
            self._write(images)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A phase of training in which it waits; it does not count as slow."""
        stopped, self.name = time.monotonic(), runs.PAUSED
        self._write(0)
        yield
        self.name = TRAINING
        self.began += time.monotonic() - stopped
        self._write(0)

    def leave(self, run: str) -> None:
        """Write no more beside a run that has ended."""
        self.runs.remove(run)

    def _write(self, images: int) -> None:
        self.last = time.monotonic()
        seen = (self.epochs_done - self.first_epoch) * self.images_per_epoch + images
        # Counted from the start of the training phase; another phase has no rate.
        rate = seen / (self.last - self.began) if seen and self.name == TRAINING else None
        left = (self.epochs - self.epochs_done) * self.images_per_epoch - images
        for run in self.runs:
            with suppress(OSError):  # a full disk: the training can do without a progress bar
                records.write_json(runs.directory(run) / records.PROGRESS, {
                    "phase": self.name, "epoch": self.epochs_done, "epochs": self.epochs,
                    "images": images, "of": self.images_per_epoch,
                    "images_per_second": rate, "seconds_left": left / rate if rate else None,
                })


def _plausible(record: Record, test: dict[str, Any], classes: int) -> bool:
    """Whether a test loss, in nats, is one that training can mean to leave; of a first stage nobody asks for answers.
    """
    first_stage = record.configuration.method.endswith(records.FIRST_STAGE)
    return first_stage or test["loss"] <= _DIVERGED * math.log(classes)  # not where it is NaN


def _start_from(learner: Learner, run: str) -> None:
    """Take over the student that another run left, and of its adapter what this learner's adapter has too."""
    folder = runs.directory(run)
    learner.network.net.load_state_dict(load_file(folder / records.STUDENT))
    if learner.adapter and (folder / records.ADAPTER).is_file():
        own = learner.adapter.state_dict()
        left = load_file(folder / records.ADAPTER)
        learner.adapter.load_state_dict(own | {name: value for name, value in left.items() if name in own})


def _resume_file(run: str, epoch: int) -> Path:
    return runs.directory(run) / f"{_RESUME}{epoch}.pt"


def _save_state(state: dict[str, Any], path: Path) -> None:
    """Whole or not at all. Raises OSError where the disk refuses it."""
    with files.replacing(path) as written, written.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch hides what the disk said behind an error of its own
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def _forget_states(folder: Path, but: Path | None = None) -> None:
    """Delete the states a run could have gone on from, of earlier epochs too: a worker may have been killed here."""
    for path in folder.glob(f"{_RESUME}*.pt"):
        if path != but:
            with suppress(OSError):  # it only takes room
                path.unlink()


def _commit() -> str | None:
    """The project's commit, where it is a git checkout."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
