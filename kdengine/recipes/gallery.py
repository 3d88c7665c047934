"""Where the networks of a recipe look: a test picture a row, first as it is, then as each network sees it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

from kdengine import verdicts
from kdengine.colours import RIGHT, WRONG
from kdengine.recipes.recipe import Outcome

if TYPE_CHECKING:
    from PIL import ImageDraw
    from PIL.Image import Image

CAPTION = ("Grad-CAM of each network's own answer, on the first test images that not all of them answer alike. Green: "
           "the answer is right; red: it is wrong. Each map is scaled by its own maximum.")
_PICTURES = 4
_SIDE = 112
_OPACITY = 0.5


@dataclass(frozen=True)
class Look:
    """A cell: a network's name, the class it answers, whether that is right (None for the picture itself)."""

    name: str
    answer: str
    right: bool | None
    picture: Image


def looks(outcome: Outcome, side: int = _SIDE) -> list[list[Look]]:
    """A row a picture: the original with its true class, then each network's Grad-CAM map of its own answer.

    Pictures of `side` pixels.

    Of the first seed. The pictures are the first of the test images that not all networks answer alike; where they
    agree on all, the first. Empty while fewer than two networks have finished.
    """
    import torch

    from kdengine import checkpoints, data, explain
    from kdengine.data import pictures

    records = {part.label: found[0] for part in outcome.parts if (found := outcome.of(part.label))}
    if len(records) < 2:
        return []
    asked = next(iter(records.values())).configuration
    held = data.load(asked.data, image_size=asked.image_size)
    kept = [outcome.source.predictions(record.id) for record in records.values()]
    answers = [verdicts.answers(each) for each in kept if each is not None]
    disputed = [place for place in range(len(held.test)) if len({int(each[place]) for each in answers}) > 1]
    chosen = (disputed or list(range(len(held.test))))[:_PICTURES]
    images = held.test.images[chosen].float() / 255
    truth = [int(held.test.target[place]) for place in chosen]
    shown = [pictures.picture(held.test.images[place]).resize((side, side)) for place in chosen]
    rows = [[Look("Picture", held.classes[true], None, picture)] for true, picture in zip(truth, shown, strict=True)]
    for label, record in records.items():
        network = checkpoints.open_reference(record.id)
        with torch.inference_mode():
            named = network(images).argmax(dim=1).tolist()
        maps = explain.heat_map(network, images, named)
        for row, picture, heat, own, true in zip(rows, shown, maps, named, truth, strict=True):
            row.append(Look(label, held.classes[own], own == true, explain.overlay(picture, heat, _OPACITY)))
    return rows


def html(rows: Sequence[Sequence[Look]]) -> str:
    """The rows as one HTML table, pictures inside it; names are green where the answer is right, red where wrong."""
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f'<div style="overflow-x:auto"><table style="font-size:.8rem"><tbody>{body}</tbody></table></div>'


def sheet(rows: Sequence[Sequence[Look]]) -> Image:
    """The rows as one picture to print: under each cell its name and answer, green with a tick or red with a cross."""
    from PIL import Image, ImageDraw, ImageFont

    side = rows[0][0].picture.width
    gap, size = side // 10, side // 9
    below = 3 * size
    width, height = gap + len(rows[0]) * (side + gap), gap + len(rows) * (side + below + gap)
    drawn = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(size)
    for top, row in zip(range(gap, drawn.height, side + below + gap), rows, strict=False):
        for left, look in zip(range(gap, drawn.width, side + gap), row, strict=False):
            drawn.paste(look.picture, (left, top))
            color = "black" if look.right is None else RIGHT if look.right else WRONG
            signed = 0 if look.right is None else size
            if look.right is not None:
                _sign(pen, left, top + side + 1.6 * size, size * 0.8, color, right=look.right)
            for text, start, line in ((look.name, left, 0.2), (look.answer, left + signed, 1.4)):
                fitting = ImageFont.load_default(size * min(1.0, (left + side - start) / font.getlength(text)))
                pen.text((start, top + side + line * size), text, color, fitting)
    return drawn


def _sign(pen: ImageDraw.ImageDraw, left: float, top: float, size: float, color: str, *, right: bool) -> None:
    """A tick or a cross: drawn, since not every font has them."""
    tick = [[(0.05, 0.55), (0.35, 0.9), (0.95, 0.1)]]
    cross = [[(0.1, 0.1), (0.9, 0.9)], [(0.9, 0.1), (0.1, 0.9)]]
    for stroke in tick if right else cross:
        points = [(left + x * size, top + y * size) for x, y in stroke]
        pen.line(points, color, width=max(1, round(size / 6)), joint="curve")


def _cell(look: Look) -> str:
    file = BytesIO()
    look.picture.save(file, "PNG")
    source = base64.b64encode(file.getvalue()).decode()
    name, answer = escape(look.name), escape(look.answer)
    if look.right is None:
        told = f"{name}<br>{answer}"
    else:
        mark, colour = ("✓", RIGHT) if look.right else ("✗", WRONG)
        told = f'<span style="color:{colour}">{name}<br>{mark} {answer}</span>'
    return (f'<td style="padding:.25rem;vertical-align:top;width:{_SIDE}px;white-space:normal">'
            f'<img src="data:image/png;base64,{source}" width="{_SIDE}" height="{_SIDE}" alt="{name}: {answer}">'
            f"<div>{told}</div></td>")
