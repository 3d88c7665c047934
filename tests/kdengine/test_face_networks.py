"""The public face where it says which networks and folders are to be shown."""

import os

import pytest

import kdengine
from kdengine.paths import data_root
from tests.kdengine.tiny import write_tiles


@pytest.mark.parametrize(("name", "title"), [
    ("kd", "Logit matching"), ("none", "Independent student"), ("factor_first", "Paraphraser training"),
    ("forgotten", "forgotten"), (None, "imported"),
])
def test_every_method_has_a_title(name, title):
    assert kdengine.runs.method_title(name) == title


@pytest.mark.parametrize(("about", "fit"), [
    ({"method": "kd"}, True), ({"method": None}, True), ({}, True), ({"method": "fsp_first"}, False),
    ({"configuration": {"method": "kd"}, "state": "finished"}, True),
    ({"configuration": {"method": "kd"}, "state": "running"}, False),
    ({"configuration": {"method": "kd"}, "state": "failed"}, False),
    ({"configuration": {"method": "factor_first"}, "state": "finished"}, False),
])
def test_a_network_is_fit_to_be_shown_once_it_has_finished_and_is_no_first_stage(about, fit):
    assert kdengine.runs.fit_to_show(about) is fit


def test_a_data_set_is_told_of_whether_it_is_there_or_not():
    voc = kdengine.data.about("voc2012")
    assert (voc["title"], voc["present"], voc["place"]) == ("PASCAL VOC 2012", False, str(data_root() / "voc2012"))
    assert voc["download_bytes"] > 1e9
    assert kdengine.data.about("digits")["present"]
    camvid = kdengine.data.about("folder:camvid")
    assert (camvid["title"], camvid["present"], camvid["download_bytes"]) == ("camvid", False, None)
    assert camvid["place"] == str(data_root() / "camvid")
    write_tiles(data_root() / "camvid", train=1, test=1)
    assert kdengine.data.about("folder:camvid")["present"]
    with pytest.raises(kdengine.KDError, match="Unknown data set 'cifar11'"):
        kdengine.data.about("cifar11")


def refused(data):
    with pytest.raises(kdengine.KDError) as caught:
        kdengine.data.require_below_data_root(data)
    return str(caught.value)


@pytest.fixture
def disk(tmp_path):
    """A folder in the data root and one beside it, reached by a link too."""
    inside, outside = data_root() / "flowers", tmp_path / "secret"
    write_tiles(inside, train=1, test=1)
    write_tiles(outside, train=1, test=1)
    (data_root() / "out").symlink_to(outside)
    (data_root() / "again").symlink_to(inside)
    (data_root() / "loop").symlink_to("loop")
    return outside


@pytest.mark.parametrize("data", ["folder:flowers", "folder:./flowers", "folder:flowers/train", "folder:again",
                                  "digits", "cifar10"])
def test_what_lies_below_the_data_root_may_be_read(disk, data):
    kdengine.data.require_below_data_root(data)


@pytest.mark.parametrize("path", [
    "/etc/shadow", "/etc", "/nowhere", "{outside}", "{outside}/train", "{outside}/nothing", "../secret", "../nothing",
    "../data/flowers", "flowers/../../data/flowers", "{root}/flowers", "out", "out/train", "out/nothing", "loop",
    "~", "~root", "~nobody-at-all", "nothing", "flowers/classes.txt", "", ".", "x" * 5000, "a\0b", "//etc/shadow",
    "flowers/..", "C:\\\\Windows",
])
def test_everything_else_gets_one_sentence_that_tells_nothing(disk, path):
    told = refused(f"folder:{path.format(outside=disk, root=data_root())}")
    assert told == refused("folder:/proc/1/root")
    assert str(data_root()) in told
    assert os.fspath(disk) not in told


def test_families_and_teachers_are_of_what_is_there():
    assert kdengine.runs.families()["digits"].first == "digits-teacher" == next(iter(kdengine.runs.teachers("digits")))
    assert {family.data for family in kdengine.runs.families("segmentation").values()} == {"shapes_segmentation"}
