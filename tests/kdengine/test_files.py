"""Files that appear whole or not at all: names nobody else uses, leftovers swept, a disk's refusal as a sentence."""

import errno
import os
import subprocess
import sys
import threading
import time

import pytest

from kdengine import files
from kdengine.errors import KDError


def test_a_temporary_name_is_hidden_beside_the_path_and_of_this_host_process_and_thread(tmp_path, monkeypatch):
    path, names = tmp_path / "record.json", []

    def ask():
        names.append(files.temporary(path))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    ask()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 1)
        ask()
    monkeypatch.setattr(files, "_HOST", "another")
    ask()
    assert len(set(names)) == 4
    assert {(name.parent, name.name[0]) for name in names} == {(tmp_path, ".")}
    assert names[-1].name == f".record.json.another.{os.getpid()}.{threading.get_ident()}.partial"


def test_what_is_written_takes_the_place_at_the_end(tmp_path):
    path = tmp_path / "held"
    path.write_text("before")
    with files.replacing(path) as written:
        written.write_text("now")
        assert path.read_text() == "before"
    assert path.read_text() == "now"
    with files.replacing(tmp_path / "folder") as made:
        made.mkdir()
        (made / "inside").touch()
        assert not (tmp_path / "folder").exists()
    assert [each.name for each in (tmp_path / "folder").iterdir()] == ["inside"]
    assert {each.name for each in tmp_path.iterdir()} == {"held", "folder"}


@pytest.mark.parametrize("wrong", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_where_writing_fails_nothing_stays_and_nothing_is_lost(tmp_path, wrong):
    path = tmp_path / "held"
    path.write_text("before")
    for name in ("held", "folder"):
        with pytest.raises(type(wrong)), files.replacing(tmp_path / name) as written:
            if name == "held":
                written.write_text("half")
            else:
                written.mkdir()
                (written / "half").touch()
            raise wrong
    assert [each.name for each in tmp_path.iterdir()] == ["held"]
    assert path.read_text() == "before"


def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(("host", "lives", "age_s", "left_s", "stays"), [
    (files._HOST, True, 1e6, 0, True),
    (files._HOST, True, 1e6, 3600, True),
    (files._HOST, False, 3700, 3600, False),
    (files._HOST, False, 3500, 3600, True),  # of another container of the same name perhaps
    (files._HOST, False, 0, 0, False),
    ("another", True, 3700, 3600, False),
    ("another", True, 3500, 3600, True),
    ("another", True, 0, 0, False),
])
def test_what_writers_that_are_gone_have_left_is_swept(tmp_path, host, lives, age_s, left_s, stays):
    name = f".x.npy.{host}.{os.getpid() if lives else gone()}.7.partial"
    (tmp_path / name).mkdir()
    (tmp_path / name / "inside").touch()
    os.utime(tmp_path / name, (time.time() - age_s - 1,) * 2)
    files.sweep(tmp_path, left_s)
    assert (tmp_path / name).exists() == stays


def test_nothing_else_is_swept(tmp_path):
    for name in ("record.json", ".speeds.json", ".a.partial", "x.npy.h.1.7.partial", ".x.npy.h.1.7.partial2", ".slots"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    files.sweep(tmp_path, 0)
    assert len(list(tmp_path.iterdir())) == 6
    files.sweep(tmp_path / "missing", 0)


@pytest.mark.parametrize(("number", "reason", "advice"), [
    (errno.ENOSPC, "No space left on device", "Free some space there, then try again."),
    (errno.EDQUOT, "Disk quota exceeded", "Free some space there, then try again."),
    (errno.EROFS, "Read-only file system", "Make it writable, or choose another folder."),
    (errno.EACCES, "Permission denied", "Make it writable, or choose another folder."),
    (errno.EIO, "Input/output error", "Look at its disk, or choose another folder."),
])
def test_what_a_disk_refuses_is_a_sentence(tmp_path, number, reason, advice):
    with pytest.raises(KDError) as caught, files.writing(tmp_path):
        raise OSError(number, os.strerror(number))
    assert str(caught.value) == f"{tmp_path} cannot be written: {reason}. {advice}"


def test_room_is_asked_of_the_folder_that_is_there(tmp_path):
    assert files.free(tmp_path / "not" / "yet") > 0
    assert files.free(tmp_path) == pytest.approx(files.free(tmp_path / "not" / "yet"), rel=0.2)
