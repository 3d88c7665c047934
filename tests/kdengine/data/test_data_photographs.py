"""The photographs that come with the program's own packages."""

from kdengine.data.photographs import photographs
from kdengine.data.pictures import read_picture


def test_both_are_there_readable_and_credited():
    held = photographs()
    assert [each["title"] for each in held] == ["Palace", "Dahlia"]
    for each in held:
        assert read_picture(each["path"]).size == (640, 427)
        assert each["credit"].endswith("CC BY 2.0")
