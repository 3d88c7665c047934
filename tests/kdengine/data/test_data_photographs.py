"""The photographs that come with the program's own packages."""

from kdengine.data.photographs import photographs
from kdengine.data.pictures import read_picture
from kdengine.models.imagenet import class_names


def test_all_are_there_readable_credited_and_named_as_imagenet_does():
    held = photographs()
    assert [each["title"] for each in held] == ["Cat", "Palace", "Dahlia"]
    assert [read_picture(each["path"]).size for each in held] == [(451, 300), (640, 427), (640, 427)]
    assert [each["credit"].partition(", ")[2] for each in held] == ["CC0", "CC BY 2.0", "CC BY 2.0"]
    for each in held:
        assert len(set(each["classes"]) & set(class_names())) == bool(each["classes"])
