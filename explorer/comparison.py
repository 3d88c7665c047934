"""How several networks' answers to one picture are drawn: on the Compare page and in the PNG it offers."""

from __future__ import annotations

import html
import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from kdengine.colors import RIGHT, WRONG, ink

SIDE = 480
"""Pixels along a side of a card's picture, border included: sharp on a projector at twice the size it is shown."""

BORDER = 12
NEUTRAL = "#8a93a3"
"""The border where the truth is not known; readable on a light page and on a dark one."""

_TWO_LINES = "height:3em;overflow:hidden;display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical"
"""Cards beside each other begin at one height, whatever their names."""

SHOWN = 5
"""How many classes a card lists."""

_INK, _QUIET, _PAPER = "#1f2430", "#5b6472", "white"
_MARGIN, _GAP, _HEAD, _FOOT, _LINE = 36, 28, 112, 80, 34


@dataclass(frozen=True)
class Card:
    """One network's answer to one picture. Classes are numbers: two of ImageNet's bear the same name, crane.

    inside: the picture with the heat map over it, without a border. truth: None where it is not known. color: by which
    the network is told from the others on its page.
    """

    role: str
    name: str
    inside: Image.Image
    probabilities: Sequence[float]
    classes: Sequence[str]
    truth: int | None
    color: str

    @property
    def top(self) -> list[int]:
        """The most likely classes, most likely first; the smaller number first where two are equal."""
        return sorted(range(len(self.classes)), key=lambda each: -self.probabilities[each])[:SHOWN]

    @property
    def right(self) -> bool | None:
        """Whether the most likely class is the true one; None where that is not known."""
        return None if self.truth is None else self.top[0] == self.truth

    @property
    def picture(self) -> Image.Image:
        """The picture in a border that says whether the network is right."""
        return framed(self.inside, self.right)

    @property
    def verdict(self) -> str:
        """`right`, `wrong`, or nothing: never told by colour alone."""
        return {True: "right", False: "wrong", None: ""}[self.right]


def square(picture: Image.Image) -> Image.Image:
    """The centre square of a picture, the part every network sees, at the size it is drawn in."""
    side = SIDE - 2 * BORDER
    return ImageOps.fit(picture, (side, side), Image.Resampling.BICUBIC)


def framed(inside: Image.Image, right: bool | None) -> Image.Image:
    """A square picture in its border: green when right, red when wrong, grey when the truth is not known."""
    return ImageOps.expand(inside, BORDER, _color(right))


def percent(share: float) -> str:
    """A share for people, a dash where there is none. What is not all is never written as 100%, nor what is possible
    as 0%.
    """
    if math.isnan(share):
        return "–"
    if 0.999 < share < 1:
        return "> 99.9%"
    if 0 < share < 0.001:
        return "< 0.1%"
    return f"{share:.1%}"


def figure(value: float) -> str:
    """A figure of agreement with three decimals; a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:.3f}"


def heading(card: Card) -> str:
    """A card's role, name and verdict as HTML, in the page's own text colour."""
    badge = ""
    if card.verdict:
        color, mark = _color(card.right), "✓" if card.right else "✗"
        badge = (f'<span style="float:right;border:1px solid {color};border-radius:1rem;padding:0 .55rem;'
                 f'background:color-mix(in srgb, {color} 22%, transparent)">{mark} {card.verdict}</span>')
    role = f'<b style="color:{ink(card.color)}">{html.escape(card.role)}</b>'
    name = (f'<div style="{_TWO_LINES}" title="{html.escape(card.name)}">'
            f"{html.escape(card.name)}</div>")
    return f'<div style="font-size:.95rem;line-height:1.5">{badge}{role}{name}</div>'


def bars(card: Card) -> str:
    """The top classes as HTML: a row each, its bar as long as the probability, in the page's own text colour."""
    rows = []
    for each in card.top:
        name, share = card.classes[each], card.probabilities[each]
        mark = f'<b style="color:{ink(RIGHT)}" title="the true class">✓</b> ' if each == card.truth else ""
        tint = f"color-mix(in srgb, {card.color} 38%, transparent) {100 * share:.2f}%"
        rows.append(
            f'<li style="display:flex;justify-content:space-between;gap:.5rem;padding:.1rem .4rem;margin:0 0 .2rem;'
            f'border-radius:.25rem;background:linear-gradient(to right, {tint}, rgba(138,147,163,.13) 0)">'
            f'<span style="overflow:hidden;text-overflow:ellipsis;white-space:nowrap" title="{html.escape(name)}">'
            f"{mark}{html.escape(name)}</span>"
            f'<span style="font-variant-numeric:tabular-nums;white-space:nowrap">{percent(share)}</span></li>'
        )
    return f'<ol style="list-style:none;margin:0;padding:0;font-size:.875rem">{"".join(rows)}</ol>'


def sheet(original: Image.Image, cards: Sequence[Card], caption: str) -> Image.Image:
    """Everything in one picture: the original, then a column a card, then a caption line by line; dark on white."""
    lines = caption.splitlines()
    columns = 1 + len(cards)
    width = 2 * _MARGIN + columns * SIDE + (columns - 1) * _GAP
    height = 2 * _MARGIN + _HEAD + SIDE + _FOOT + _LINE * len(lines)
    paper = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(paper)
    truth = cards[0].truth
    truth_text = "" if truth is None else f"Truth: {cards[0].classes[truth]}"
    _column(paper, draw, 0, ("Picture", ""), framed(original, None), truth_text, None)
    for place, card in enumerate(cards, start=1):
        best = card.top[0]
        answer_text = f"{card.classes[best]} · {percent(card.probabilities[best])}" + (
            f" · {card.verdict}" if card.verdict else "")
        _column(paper, draw, place, (card.role, card.name), card.picture, answer_text, card.right)
    for number, line in enumerate(lines):
        top = _MARGIN + _HEAD + SIDE + _FOOT + _LINE * number
        draw.text((_MARGIN, top), _fitting(line, 22, False, width - 2 * _MARGIN), _QUIET, _font(22, False))
    return paper


def png(picture: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def inline(picture: Image.Image, form: str) -> str:
    """A picture as the address of an image that lies in the address itself. form: PNG or JPEG."""
    file = BytesIO()
    picture.save(file, form, quality=90)
    return f"data:image/{form.lower()};base64,{b64encode(file.getvalue()).decode()}"


def column_at(place: int) -> tuple[int, int]:
    """Where, in a sheet, the picture of a column begins: x and y of its upper left corner; column 0 is the original."""
    return _MARGIN + place * (SIDE + _GAP), _MARGIN + _HEAD


def _column(
    paper: Image.Image, draw: ImageDraw.ImageDraw, place: int, titles: tuple[str, str], picture: Image.Image,
    text: str, right: bool | None,
) -> None:
    x, y = column_at(place)
    color = _INK if right is None else _color(right)
    draw.text((x, _MARGIN), _fitting(titles[0], 34, True, SIDE), color, _font(34, True))
    draw.text((x, _MARGIN + 54), _fitting(titles[1], 22, False, SIDE), color, _font(22, False))
    paper.paste(picture, (x, y))
    draw.text((x, y + SIDE + 18), _fitting(text, 28, True, SIDE), color, _font(28, True))


def _color(right: bool | None) -> str:
    return {True: RIGHT, False: WRONG, None: NEUTRAL}[right]


def _fitting(text: str, size: int, bold: bool, width: int) -> str:
    """The text, its end cut off where it would be wider."""
    font = _font(size, bold)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    # Pillow's own font lacks most letters outside Latin; this one is on every machine that has matplotlib.
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"DejaVuSans{'-Bold' if bold else ''}.ttf"), size)
