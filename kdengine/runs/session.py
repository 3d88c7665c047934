"""One group of runs in training: from its configuration to weights, history and results on disk."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from kdengine import files, training
from kdengine.errors import KDError
from kdengine.measures import evaluation
from kdengine.models.network import Network
from kdengine.runs import checkpoints, control, facts, records, store, watched
from kdengine.runs.opening import open_group
from kdengine.runs.progress import ProgressFile
from kdengine.runs.records import FAILED, FINISHED, RUNNING, STOPPED, Record
from kdengine.runs.resuming import forget_states, resume_file, save_state
from kdengine.runs.schema import Measures, Memory, Result, Scores, State, Teacher
from kdengine.runs.store import TRAINING
from kdengine.training import Learner
from kdengine.views import Split, policy

_DIVERGED = 100
"""So many times the loss of guessing is no result: it is finite only because nothing overflowed yet."""
_STOP_LOOK_S = 0.25
_PAUSE_LOOK_S = 0.1


class Session:
    """A group's time in one worker. Opening it loads the data and measures the teacher; `train` does the rest.

    records: the runs of one group that stand at the same epoch, their locks held by this process. release(run) is
    called once a run has ended while others of its group go on; from then on this session leaves its files alone.
    """

    def __init__(self, records: list[Record], release: Callable[[str], None] = lambda run: None) -> None:
        self.records = records
        self.release = release
        self.progress = ProgressFile(records, records[0].configuration.epochs, records[0].status["epoch"])
        self.group = open_group(records, self.progress)
        self.last_look = {record.id: 0.0 for record in records}

    def train(self) -> None:
        """Train the group to its end and write each run's result, reason or stop."""
        teacher = self._teacher_facts()
        for record in self.records:
            record.data = facts.data(self.group)
            record.environment = facts.environment(self.group, record.id)
            record.teacher = teacher
            store.set_state(record, RUNNING)
        group = self.group
        by_learner = {id(group.learners[record.id]): record for record in self.records}
        self.progress.phase(TRAINING)
        training.train(
            list(group.learners.values()), group.teacher, group.splits["train"], policy(group.views),
            teacher_precision=group.teacher_execution.precision,
            teacher_cache=group.teacher_cache(),
            first_epoch=group.first_epoch,
            student_threads=group.student_threads,
            on_epoch=lambda learner, row: self._keep_epoch(by_learner[id(learner)], learner, row),
            on_step=self.progress.step,
            before_epoch=self._pause,
            keep_going=lambda learner: self._keep_going(by_learner[id(learner)], learner),
        )
        for record in self.records:
            learner = self.group.learners[record.id]
            if learner.failure:
                self._end(record, FAILED, str(learner.failure))
            elif not learner.stopped:
                self._finish(record, learner)

    def _teacher_facts(self) -> Teacher | None:
        teacher, reference = self.group.teacher, self.group.configuration.teacher
        if teacher is None or reference is None:
            return None
        scores = {split: self._judge(teacher, split)[0] for split in ("validation", "test")}
        for split, measured in scores.items():
            if not math.isfinite(measured["loss"]):
                raise KDError(f"The teacher {reference} answers {split} images with numbers that are not finite, so "
                              "nothing can be learned from it. Take another teacher.")
        return {
            "reference": reference,
            "architecture": teacher.architecture,
            "digest": checkpoints.network_digest(teacher),
            "parameters": evaluation.parameters(teacher),
            "validation": cast(Measures, scores["validation"]),
            "test": cast(Scores, scores["test"]),
        }

    def _keep_epoch(self, record: Record, learner: Learner, row: dict[str, Any]) -> None:
        """Put a finite epoch on disk. The record is written last: it alone says which epoch a resume starts from.

        Raises KDError where the disk refuses any of it; the epoch before is whole then.
        """
        folder, epoch = store.directory(record.id), row["epoch"]
        validation, _ = self._judge(learner.network, "validation")
        answers = self._watched(learner)
        about = facts.student(record, epoch, validation=validation)
        earlier = [records.headline(each["validation"]) for each in store.history(record.id) if each["epoch"] < epoch]
        with files.writing(folder):
            record.files[records.STUDENT] = checkpoints.save(learner.network, folder / records.STUDENT, **about)
            if records.headline(validation) > max(earlier, default=-1.0):
                best = checkpoints.save(learner.network, folder / records.BEST_STUDENT, **about)
                record.files[records.BEST_STUDENT] = best
            save_state(learner.state(), resume_file(record.id, epoch))
            self._keep_snapshot(learner, folder, epoch, about)
            if answers is not None:
                watched.put(folder, epoch, answers)
            records.append_row(folder / records.HISTORY, row | {"validation": validation})
        store.set_state(record, RUNNING, epoch=epoch)
        forget_states(folder, but=resume_file(record.id, epoch))
        self.progress.epochs_done = epoch

    def _keep_snapshot(self, learner: Learner, folder: Path, epoch: int, about: dict[str, Any]) -> None:
        """Keep the weights of some of the epochs before the last, of a classifier that is small enough."""
        epochs, size = learner.configuration.epochs, evaluation.network_bytes(learner.network)
        each = None if self.group.data.task == "segmentation" else watched.every(epochs, size)
        if each and epoch < epochs and epoch % each == 0:
            path = watched.snapshot(folder, epoch)
            path.parent.mkdir(exist_ok=True)
            checkpoints.save(learner.network, path, **about)

    def _watched(self, learner: Learner) -> Tensor | None:
        """What a student answers now to the test images that are watched, [N, C]; None of segmentation."""
        if self.group.data.task == "segmentation":
            return None
        test, configuration = self.group.splits["test"], learner.configuration
        some = watched.count(len(test), len(self.group.data.classes), configuration.epochs)
        return evaluation.predict(learner.network, Split(test.images[:some], test.target[:some]))

    def _finish(self, record: Record, learner: Learner) -> None:
        self.progress.phase("Testing")
        folder = store.directory(record.id)
        history = store.history(record.id)
        test, predictions = self._judge(learner.network, "test")
        if not _plausible(record, test, len(self.group.data.classes)):
            self._end(record, FAILED, f"Its test loss is {test['loss']:.3g}, where guessing has "
                      f"{math.log(len(self.group.data.classes)):.3g}: training diverged. The last epoch is kept; try a "
                      f"learning rate below {learner.configuration.learning_rate:g}.")
            return
        seconds = sum(row["seconds"] for row in history)
        own = [row["own_seconds"] for row in history if "own_seconds" in row]  # it may have begun before there were any
        cost = evaluation.cost(learner.network)
        result: Result = {
            "test": cast(Scores, test),
            "validation": history[-1]["validation"],
            "parameters": cost["parameters"],
            "megabytes": cost["megabytes"],
            "flops": cost["flops"],
            "latency": cost["latency"],
            "peak_memory": cast(Memory | None, evaluation.peak_memory(self.group.device)),
            "training_seconds": seconds,
        }
        if len(own) == len(history):
            result["own_seconds"] = sum(own)
        result["images_per_second"] = len(self.group.data.train) * len(history) / seconds
        result["side_by_side"] = len(self.records)
        record.result = result
        about = facts.student(record, len(history), validation=result["validation"], test=result["test"])
        with files.writing(folder):
            checkpoints.save_tensors(folder / records.PREDICTIONS, predictions)
            record.files[records.PREDICTIONS] = checkpoints.digest(predictions)
            if learner.adapter:
                state = learner.adapter.state_dict()
                checkpoints.save_tensors(folder / records.ADAPTER, state)
                record.files[records.ADAPTER] = checkpoints.digest(state)
            record.files[records.STUDENT] = checkpoints.save(learner.network, folder / records.STUDENT, **about)
        store.set_state(record, FINISHED, ended=time.time())
        forget_states(folder)

    def _judge(self, network: Network, split: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """A network's scores on a split, against the teacher where there is one, and what it predicts there.

        Segmentation is held against the teacher on the test split alone: it costs a forward of the teacher.
        """
        examples = self.group.splits[split]
        if self.group.data.task == "segmentation":
            against = self.group.teacher if split == "test" and network is not self.group.teacher else None
            scores, confusion = evaluation.segment(network, examples, against)
            return scores, {"confusion": confusion}
        if network is self.group.teacher:
            return evaluation.scores(self.group.teacher_logits[split], examples.target), {}
        logits = evaluation.predict(network, examples)
        return (evaluation.scores(logits, examples.target, self.group.teacher_logits.get(split)),
                {"logits": logits, "target": examples.target.cpu()})

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
        if store.stop_requested(record.id):
            self._end(record, STOPPED, "Stopped on request.")
        return record.state != STOPPED

    def _pause(self, epoch: int) -> None:
        """Wait while a pause of any run that still trains is asked for, the whole group; but not for ever."""
        began = time.monotonic()
        with ExitStack() as stack:
            while any(record.state == RUNNING and store.pauses(record.id, epoch) for record in self.records):
                if self.progress.name == TRAINING:
                    stack.enter_context(self.progress.paused())
                for record in self.records:
                    if time.monotonic() - began >= control.PAUSE_S:
                        self._end(record, STOPPED, f"Paused for {control.PAUSE_S:.0f} seconds, then stopped so that "
                                  "others can train. Resume it, and it goes on from here.")
                    self._keep_going(record, self.group.learners[record.id])
                time.sleep(_PAUSE_LOOK_S)

    def _end(self, record: Record, state: State, reason: str) -> None:
        """Leave a run without a result, once; from then on it can be resumed or removed."""
        if record.state == RUNNING:
            self.progress.leave(record.id)
            store.set_state(record, state, reason=reason, ended=time.time())
            self.release(record.id)


def _plausible(record: Record, test: dict[str, Any], classes: int) -> bool:
    """Whether a test loss, in nats, may be that of a trained network. That of a first stage may be any: it is not used
    to answer.
    """
    first_stage = record.configuration.method.endswith(records.FIRST_STAGE)
    return first_stage or test["loss"] <= _DIVERGED * math.log(classes)  # not where it is NaN
