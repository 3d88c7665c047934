"""Data sets: which there are, loaded as they are asked for, and shown."""

from kdengine.data.dataset import DataSet
from kdengine.data.digits import drawn_digit
from kdengine.data.pictures import picture_tensor, read_picture
from kdengine.data.sets import SOURCES, describe, download, known_classes, load, outline, require, task_of
from kdengine.data.shown import about, example, masked_example, notes, require_below_data_root, sample_photographs
from kdengine.data.source import Outline, Source

__all__ = [
    "SOURCES", "DataSet", "Outline", "Source", "about", "describe", "download", "drawn_digit", "example",
    "known_classes", "load", "masked_example", "notes", "outline", "picture_tensor", "read_picture", "require",
    "require_below_data_root", "sample_photographs", "task_of",
]
