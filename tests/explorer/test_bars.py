"""The Start page's bars say what they were given."""

import re

from explorer.bars import accuracy_bars
from kdengine.colors import STUDENT, TEACHER

MEASURED = [
    {"name": "Teacher <b>", "accuracy": 0.9, "low": 0.875, "high": 0.925, "colour": TEACHER},
    {"name": "Student", "accuracy": 0.25, "low": 0.2, "high": 0.3125, "colour": STUDENT},
]


def test_bars_and_intervals_have_the_lengths_given():
    drawn = accuracy_bars(MEASURED)
    assert re.findall(r'class="bar" style="width: ([\d.]+)%; background: (#\w+); color: \w+">([\d.]+%)', drawn) == [
        ("90.000", TEACHER, "90.0%"), ("25.000", STUDENT, "25.0%")]
    assert re.findall(r'class="interval" style="left: ([\d.]+)%; width: ([\d.]+)%', drawn) == [
        ("87.500", "5.000"), ("20.000", "11.250")]


def test_a_name_is_text_and_the_numbers_are_there_to_be_read():
    drawn = accuracy_bars(MEASURED)
    assert "Teacher &lt;b&gt;" in drawn
    assert "<b>" not in drawn
    assert 'title="25.00%, 95% interval 20.00% to 31.25%"' in drawn
