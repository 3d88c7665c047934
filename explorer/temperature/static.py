"""Temperature as one HTML file that needs no server and no network: `python -m explorer.temperature.static FILE`.

It holds the page's own component, fields to type logits into, and the shipped networks' answers to the test digits.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import kdengine
from explorer.digits import ALONE, TAUGHT, TEACHER_NAME, TITLES
from explorer.learn.labels import INDEX
from explorer.temperature import component

_HERE = Path(__file__).parent
_SIDE = 32
"""Pixels of a digit's side."""


def page() -> str:
    """The file's text. Raises KDError where a shipped network of the digits is missing."""
    data = kdengine.open_data("digits")
    examples = [kdengine.data.example(data, index) for index in range(len(data.test))]
    answers = {}
    for reference in (TEACHER_NAME, TAUGHT, ALONE):
        network = kdengine.open_network(reference)
        answers[TITLES[reference]] = [[round(each, 4) for each in kdengine.predict(network, picture)["logits"]]
                                      for picture, _ in examples]
    content = {
        "look": component.LOOK, "views": component.VIEWS, "classes": list(data.classes), "opening": INDEX,
        "labels": [label for _, label in examples], "answers": answers, "side": _SIDE,
        "pictures": [picture.convert("L").resize((_SIDE, _SIDE)).tobytes().hex() for picture, _ in examples],
    }
    parts = {
        "/* style */": component.CSS, "<!-- component -->": component.HTML,
        # In a file there is no module to load it from.
        "/* script */": component.JS.replace("export default function", "function mount", 1),
        "/* content */": json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"),
    }
    text = (_HERE / "static.html").read_text(encoding="utf-8")
    for mark, part in parts.items():
        text = text.replace(mark, part, 1)
    return text


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
