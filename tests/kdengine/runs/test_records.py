"""Records survive what happens to files: half-written lines, readers in the middle, numbers JSON does not know."""

import dataclasses
import json
import math
import threading

import numpy as np
import pytest

import kdengine
from kdengine import paths
from kdengine.configuration import Configuration, one_group
from kdengine.errors import KDError
from kdengine.files import read_json, write_json
from kdengine.runs.records import (
    HISTORY,
    RECORD,
    Record,
    append_row,
    headline,
    headline_name,
    read_record,
    read_rows,
    score_text,
)
from tests.kdengine import made


def test_a_record_comes_back_as_it_was_written(tmp_path):
    configuration = Configuration(method="kd", hyperparameters={"temperature": 4.0}, teacher="t", labels_per_class=5)
    status = {"state": "queued", "reason": None, "epoch": 0, "launched": 12.5}
    data = {"name": "d", "title": "D", "task": "classification", "digest": "ab"}
    record = Record("r1", "g", 12.5, configuration, status, data=data)
    record.save(tmp_path)
    assert read_record(tmp_path / RECORD) == record
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


def test_a_record_from_before_a_class_could_be_left_out_still_reads(tmp_path):
    made.finished("r1").save(tmp_path)
    held = read_json(tmp_path / RECORD)
    assert held["configuration"].pop("without_class", "absent") is None
    write_json(tmp_path / RECORD, held)
    assert read_record(tmp_path / RECORD).configuration == Configuration()


def test_a_record_from_before_class_weights_and_published_starts_still_reads(tmp_path):
    made.finished("r1").save(tmp_path)
    held = read_json(tmp_path / RECORD)
    assert held["configuration"].pop("class_weights") == "equal"
    assert held["configuration"].pop("pretrained") is False
    write_json(tmp_path / RECORD, held)
    assert read_record(tmp_path / RECORD).configuration == Configuration()


def test_the_headline_of_scores_is_the_miou_where_there_is_one():
    classified, segmented = {"n": 300, "top1": 0.625}, {"n": 40, "miou": 0.5, "pixel_accuracy": 0.9}
    assert (headline(classified), headline_name(classified)) == (0.625, "accuracy")
    assert (headline(segmented), headline_name(segmented)) == (0.5, "mIoU")
    assert score_text(classified) == "62.50% of 300 test images right"
    assert score_text(segmented) == "mIoU 50.00% on 40 test images"


def test_numbers_that_json_does_not_know_become_null(tmp_path):
    write_json(tmp_path / "x.json", {"a": math.nan, "b": [math.inf, 1.0], "c": {"d": -math.inf}})
    assert read_json(tmp_path / "x.json") == {"a": None, "b": [None, 1.0], "c": {"d": None}}


def test_of_several_writing_threads_and_a_reader_nobody_sees_half_a_record(tmp_path):
    path, long, failed = tmp_path / RECORD, ["x" * 50] * 200, []
    write_json(path, {"writer": "first", "long": long})

    def write(writer):
        try:
            for _ in range(150):
                write_json(path, {"writer": writer, "long": long})
        except OSError as error:  # another writer took the file away
            failed.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads):
        seen.append(path.read_text())
    assert failed == []
    assert all(json.loads(each)["long"] == long for each in seen)
    assert [each.name for each in tmp_path.iterdir()] == [RECORD]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "x"}', '{"configuration": 3}'])
def test_a_damaged_record_is_told(tmp_path, content):
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(KDError, match="is not a readable record"):
        read_record(tmp_path / RECORD)


def test_a_missing_record_and_missing_history(tmp_path):
    with pytest.raises(KDError, match="There is no record at"):
        read_record(tmp_path / RECORD)
    assert read_rows(tmp_path / HISTORY) == []
    assert read_json(tmp_path / "progress.json") == {}


def test_a_line_cut_short_is_passed_over_and_does_not_spoil_the_next(tmp_path):
    path = tmp_path / HISTORY
    append_row(path, made.row(1))
    with path.open("a") as file:
        file.write('{"epoch": 2, "lo')
    append_row(path, made.row(2))
    assert read_rows(path) == [made.row(1), made.row(2)]


def test_the_last_row_of_an_epoch_counts(tmp_path):
    path = tmp_path / HISTORY
    for loss in (0.5, 0.4):
        append_row(path, made.row(1, loss=loss))
    assert read_rows(path) == [made.row(1, loss=0.4)]
    assert len(path.read_text().splitlines()) == 2  # append-only


@pytest.mark.parametrize(("wrong", "sentence"), [
    ({"epochs": 0}, "epochs is 0; allowed is a number of at least 1"),
    ({"batch_size": 1}, "batch_size is 1; allowed is a number of at least 2"),
    ({"share": 0}, "share is 0; allowed is a number above 0 and at most 1"),
    ({"share": 1.5}, "share is 1.5"),
    ({"learning_rate": -1}, "learning_rate is -1; allowed is a number above 0"),
    ({"learning_rate": math.nan}, "learning_rate is nan"),
    ({"momentum": 1}, "momentum is 1; allowed is a number from 0 to 0.9999"),
    ({"labels_per_class": 0}, "labels_per_class is 0"),
    ({"labelled_images": 0}, "labelled_images is 0; allowed is a number of at least 1"),
    ({"without_class": -1}, "without_class is -1; allowed is a number of at least 0"),
    ({"optimizer": "sdg"}, "Unknown optimizer 'sdg'. Did you mean 'sgd'?"),
    ({"schedule": "linear"}, "Unknown schedule 'linear'"),
    ({"class_weights": "balance"}, "Unknown class_weights 'balance'. Did you mean 'balanced'?"),
    ({"precision": "float8"}, "Unknown precision 'float8'"),
])
def test_a_configuration_out_of_range_says_what_is_allowed(wrong, sentence):
    with pytest.raises(KDError) as caught:
        Configuration(**wrong)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("wrong", "sentence"), [
    ({"epochs": 2.5}, "epochs is 2.5; allowed is a whole number."),
    ({"batch_size": 32.5}, "batch_size is 32.5; allowed is a whole number."),
    ({"seed": 0.5}, "seed is 0.5; allowed is a whole number."),
    ({"seed": 10**30}, "seed is 1000000000000000000000000000000; allowed is a whole number."),
    ({"epochs": True}, "epochs is True; allowed is a whole number."),
    ({"epochs": None}, "epochs is None; allowed is a whole number."),
    ({"pretrained": 1}, "pretrained is 1; allowed is true or false."),
    ({"share": "1"}, "share is '1'; allowed is a number."),
    ({"data": 3}, "data is 3; allowed is a text."),
    ({"optimizer": ["sgd"]}, "optimizer is ['sgd']; allowed is a text."),
    ({"hyperparameters": 3}, "hyperparameters is 3; allowed is numbers, texts, true and false by their names."),
    ({"hyperparameters": {3: 4}}, "hyperparameters is {3: 4}; allowed"),
    ({"hyperparameters": {"alpha": object}}, "hyperparameters is {'alpha': <class 'object'>}; allowed"),
])
def test_a_configuration_of_another_type_says_what_is_allowed(wrong, sentence):
    with pytest.raises(KDError) as caught:
        Configuration(**wrong)
    assert str(caught.value).startswith(sentence)


def test_a_whole_number_is_fine_where_any_number_is_and_so_are_numpy_s():
    numbers = {"temperature": np.float64(4), "alpha": 1}
    asked = Configuration(share=1, warmup_epochs=2, learning_rate=np.float64(0.1), hyperparameters=numbers)
    assert (asked.share, asked.warmup_epochs, asked.learning_rate, asked.hyperparameters) == (1, 2, 0.1, numbers)


def test_nothing_to_train_is_told():
    with pytest.raises(KDError, match="No configuration is given, so there is nothing to train"):
        one_group([])
    with pytest.raises(KDError, match="No configuration is given"):
        kdengine.start([])
    with pytest.raises(KDError, match="No configuration is given"):
        kdengine.runs.pace([])
    with pytest.raises(KDError, match="No configuration is given"):
        kdengine.runs.check([])


def test_a_record_from_before_there_were_formats_says_what_was_usual_then(tmp_path):
    asked = dataclasses.asdict(Configuration(labels_per_class=5)) | {"compile": "auto"}
    del asked["labelled_share"]
    held = {"configuration": asked, "status": {"state": "stopped"}, "environment": {"compiled": True}}
    (tmp_path / RECORD).write_text(json.dumps(held))
    record = read_record(tmp_path / RECORD)
    assert (record.configuration.labelled_share, record.configuration.compile, record.format) == (0.0, "always", 1)
    masks = dataclasses.asdict(Configuration(data="folder:tiles"))
    del masks["labelled_share"], masks["labelled_images"]
    for labelled, share in ((4, 0.0), (9, 0.5)):  # where most masks were void, batches were as chance brought them too
        (tmp_path / RECORD).write_text(json.dumps(held | {
            "configuration": masks, "data": {"labelled": labelled, "train": 10}}))
        asked_then = read_record(tmp_path / RECORD).configuration
        assert (asked_then.labelled_share, asked_then.labelled_images) == (share, None)
    (tmp_path / RECORD).write_text(json.dumps(held | {"format": 1, "configuration": asked | {"compile": "never"}}))
    assert read_record(tmp_path / RECORD).configuration.labelled_share == 0.5


def test_accuracies_of_old_records_are_counts_over_counts(tmp_path):
    """They were means of single floats: of three seeds that gained the same, no two gains were equal."""
    for right in (301, 347, 352):
        single = float(np.float32(right) / np.float32(359))
        record = made.finished("old", test=made.scores(359, single, agreement=single))
        record.save(tmp_path)
        held = json.loads((tmp_path / RECORD).read_text())
        del held["format"]
        (tmp_path / RECORD).write_text(json.dumps(held))
        assert single != right / 359
        test = read_record(tmp_path / RECORD).result["test"]
        assert (test["top1"], test["agreement"]) == (right / 359, right / 359)


def test_numbers_of_numpy_are_plain_ones():
    asked = Configuration(seed=np.int64(3), share=np.float32(0.5), hyperparameters={"alpha": np.float64(1)})
    assert (asked.seed, asked.share, asked.hyperparameters) == (3, 0.5, {"alpha": 1.0})
    assert [type(each) for each in (asked.seed, asked.share)] == [int, float]


def test_what_a_real_run_writes_is_all_known(tmp_path):
    """A field that a run writes and the types do not name would be called unknown on the pages: add it to `schema`."""
    for path in sorted((paths.PROJECT / "checkpoints" / "records").glob(f"*/{RECORD}")):
        assert read_record(path).ignored == [], path


def test_each_optimiser_brings_its_own_learning_rate():
    assert Configuration().learning_rate == 0.05
    assert Configuration(optimizer="adamw").learning_rate == 0.001
    assert Configuration(optimizer="adamw", learning_rate=0.1).learning_rate == 0.1


def test_students_side_by_side_share_what_the_views_depend_on():
    one_group([Configuration(method="kd"), Configuration(method="none", learning_rate=0.2)])
    with pytest.raises(KDError, match="share seed; given were 0 and 1"):
        one_group([Configuration(), Configuration(seed=1)])
    with pytest.raises(KDError, match="share without_class; given were None and 3"):
        one_group([Configuration(), Configuration(without_class=3)])
    with pytest.raises(KDError, match="share class_weights; given were 'equal' and 'balanced'"):
        one_group([Configuration(), Configuration(class_weights="balanced")])
    one_group([Configuration(), Configuration(pretrained=True)])


def test_a_configuration_is_plain_data():
    assert json.loads(json.dumps(Configuration().__dict__))["student"] == "resnet8"
