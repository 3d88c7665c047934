"""Locks: whose they are is known at once, also where the file is another user's."""

import os

import pytest

from kdengine.errors import KDError
from kdengine.runs import processes


@pytest.fixture
def another_s(monkeypatch):
    """Files may be read and neither written nor made: what the system says of another user's."""
    opened = os.open

    def readable(path, how, *more):
        if how & (os.O_RDWR | os.O_CREAT):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, how, *more)

    def install():
        monkeypatch.setattr(os, "open", readable)

    return install


def test_the_lock_of_another_user_s_file_is_taken_and_seen(tmp_path, another_s):
    path = tmp_path / "slot.lock"
    path.touch()
    another_s()
    assert not processes.held(path)
    with processes.take(path, 0):
        assert processes.held(path)
        assert processes.take(path, 0) is None
    assert not processes.held(path)


def test_a_lock_that_cannot_be_made_says_what_the_disk_said(tmp_path, another_s):
    another_s()
    with pytest.raises(PermissionError, match="Permission denied"):
        processes.take(tmp_path / "slot.lock", 0)
    with pytest.raises(KDError, match=r"slot\.lock cannot be told: Permission denied"):
        processes.held(tmp_path / "slot.lock")


def test_a_file_that_is_not_there_is_held_by_nobody_and_not_made(tmp_path):
    assert not processes.held(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []
