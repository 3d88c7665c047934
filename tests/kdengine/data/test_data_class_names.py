"""What classes.txt can say, and the sentence for what it cannot."""

from __future__ import annotations

import pytest

from kdengine.data.class_names import read_class_names
from kdengine.errors import KDError
from kdengine.losses import IGNORE


def read(tmp_path, text):
    (tmp_path / "classes.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_class_names(tmp_path)


def test_without_the_file_nothing_is_said(tmp_path):
    assert read_class_names(tmp_path) is None


def test_plain_names_count_from_0(tmp_path):
    found = read(tmp_path, "sky\n\n  tree \r\ncar\n")
    assert (found.names, found.plain, found.colored) == (("sky", "tree", "car"), True, False)
    assert found.ranges == ((0, 0, 0), (1, 1, 1), (2, 2, 2))
    assert [found.speaks_of(value) for value in (0, 2, 3, 255)] == [True, True, False, False]


def test_the_mark_that_windows_writes_first_is_no_part_of_a_name(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbfsky\r\ntree\r\n").names == ("sky", "tree")


def test_values_of_one_class_may_stand_on_several_lines(tmp_path):
    found = read(tmp_path, "255 = cat\n 0=background\n 3 - 7 =  big dog\n9 = cat\n10 = ignore\n")
    assert (found.names, found.plain, found.colored) == (("cat", "background", "big dog"), False, False)
    assert found.ranges == ((0, 0, 1), (3, 7, 2), (9, 9, 0), (10, 10, IGNORE), (255, 255, 0))


def test_plain_names_may_stand_beside_what_is_ignored(tmp_path):
    found = read(tmp_path, "sky\ntree\n11 = ignore\n")
    assert (found.names, found.plain) == (("sky", "tree"), True)
    assert found.ranges == ((0, 0, 0), (1, 1, 1), (11, 11, IGNORE))


def test_colours_are_values_too(tmp_path):
    found = read(tmp_path, "#000000 = background\n#FF8000 = car\n#ffffff = ignore\n")
    assert (found.names, found.plain, found.colored) == (("background", "car"), False, True)
    assert found.ranges == ((0, 0, 0), (0xFF8000, 0xFF8000, 1), (0xFFFFFF, 0xFFFFFF, IGNORE))


@pytest.mark.parametrize(("text", "told"), [
    ("0 = a\ncat = 1\n", r"line 2, is 'cat = 1'\. With an = it says which values a class has: `255 = cat`"),
    ("0 = a\n9-3 = b\n", "line 2, is '9-3 = b'"),
    ("0 = a\n#ff = b\n", "line 2, is '#ff = b'"),
    ("0 = a\n1 =\n", "line 2, is '1 ='"),
    ("0 = a\n99999999999999999999 = b\n", "line 2, is '99999999999999999999 = b'"),
    ("sky\n255 = tree\n", r"has names without a value \(sky\) and with one \(tree\)"),
    ("0 = a\n#ff0000 = b\n", "has colours and numbers"),
    ("a\nb\n#ff0000 = ignore\n", "has colours and numbers"),
    ("0-10 = a\n10-20 = b\n", "says twice what 10 is"),
    ("a\nb\n1 = ignore\n", "says twice what 1 is"),
    ("0 = a\n1 = a\n255 = ignore\n", "names 1 different classes in 1 lines"),
    ("a\nb\na\n", "names 2 different classes in 3 lines"),
])
def test_what_cannot_be_meant_is_said(tmp_path, text, told):
    with pytest.raises(KDError, match=told):
        read(tmp_path, text)
