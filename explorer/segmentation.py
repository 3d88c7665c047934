"""How masks are drawn over a picture: what each pixel was taken for, or where an answer is wrong, and what it means.

A picture and its mask are two layers, which the browser puts over each other: another opacity draws nothing anew, and
a mask stays as crisp as its pixels are.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from explorer.comparison import inline
from kdengine.colors import RIGHT, WRONG, ink

SIDE = 480
"""Pixels along the longer side of a picture: sharp on a projector at twice the size it is shown."""

_DARK, _LIGHT = "#1f2430", "#ffffff"
_CROSSES = ", ".join(f"repeating-linear-gradient({way}deg, {_LIGHT} 0 2px, transparent 2px 6px)" for way in (45, 135))
RIGHT_WRONG = {"✓ right": RIGHT, "✗ wrong": f"{_CROSSES}, {WRONG}"}
"""The legend of an error map: CSS backgrounds by what they mean."""
_RIGHT_ALPHA = 110
"""Of 255: what is right stays back."""
_CROSS, _LINE = 8, 2
"""Pixels of an error map from one line across its mistakes to the next, and of a line."""

_STRIPE = 3
"""Pixels of a mask along which one stripe of its hatching runs."""
_FINE_SIDE = 192
"""Rims and crosses are drawn on at least so many pixels a side: on those of a small mask they would hide what is under
them."""
_TALLEST = 20
"""Height of a picture's place, in rem; a strip of a picture gets no longer."""

_STYLE = """<style>
.segments { display: grid; gap: 0 .75rem; grid-template-columns: repeat(var(--columns), minmax(0, 15rem)); }
/* Titles of one line and of three take the same room, so that the pictures stand in a row. */
.segments figure { display: grid; grid-row: span 4; grid-template-rows: subgrid; margin: 0; font-size: .875rem;
  line-height: 1.4; }
.segments .role { font-weight: 600; font-size: .95rem; }
.segments .name { overflow: hidden; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; }
.segments .picture { position: relative; margin: .3rem 0; border-radius: 4px; overflow: hidden; }
.segments .picture img { position: absolute; inset: 0; width: 100%; height: 100%; max-width: none; }
.segments .mask { image-rendering: pixelated; }
.segments .quiet { opacity: .7; }
@media (max-width: 640px) {
  .segments { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .segments figcaption { margin-bottom: .75rem; }
}
.segments-legend { display: flex; flex-wrap: wrap; gap: .2rem .9rem; font-size: .875rem; }
.segments-legend i { display: inline-block; width: .9rem; height: .9rem; margin-right: .35rem; border-radius: 3px;
  vertical-align: -.1rem; }
</style>"""


@dataclass(frozen=True)
class Tile:
    """A picture under its title and a network's name, and what is to be read below it.

    color: of the title; None is the page's own. mask and rim: RGBA, stretched over the picture, the mask with the
    opacity, in [0, 1]. told: lines of plain text; the quiet ones are set back.
    """

    title: str
    picture: Image.Image
    alt: str
    name: str = ""
    color: str | None = None
    mask: Image.Image | None = None
    opacity: float = 1.0
    rim: Image.Image | None = None
    told: Sequence[str] = ()
    quiet: Sequence[str] = ()


def drawn(picture: Image.Image) -> Image.Image:
    """The picture in its own shape, its longer side SIDE pixels, the other one at least 1."""
    scale = SIDE / max(picture.size)
    width, height = (max(1, round(scale * each)) for each in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def painted(mask: np.ndarray, colors: Sequence[str]) -> Image.Image:
    """A mask [H, W] of class numbers as a layer: each class in its colour, what counts nowhere hatched."""
    return _layer(np.where(mask >= 0, mask, len(colors)), [*colors, None])


def judged(answer: np.ndarray, truth: np.ndarray) -> Image.Image:
    """Where an answer [H, W] is right and where it is wrong as a layer; what counts nowhere is hatched.

    What is wrong is crossed by light lines: whoever sees green and red as one color sees the lines.
    """
    places = _fine(np.where(truth < 0, 2, (answer != truth).astype(int)))
    layer = np.array(_layer(places, [f"{RIGHT}{_RIGHT_ALPHA:02x}", WRONG, None]))
    rows, columns = np.indices(places.shape)
    lines = np.minimum((rows + columns) % _CROSS, (rows - columns) % _CROSS) < _LINE
    layer[(places == 1) & lines] = _rgba(_LIGHT)
    return Image.fromarray(layer)


def outlined(region: np.ndarray) -> Image.Image:
    """The rim of a region, bool [H, W], as a layer: its last pixels white, the first ones outside of it dark."""
    region = _fine(region)
    inner, outer = region & _beside(~region), ~region & _beside(region)
    pixels = np.zeros((*region.shape, 4), dtype=np.uint8)
    pixels[inner], pixels[outer] = _rgba(_LIGHT), _rgba(_DARK)
    return Image.fromarray(pixels)


def region_of(mask: np.ndarray, target: int) -> np.ndarray:
    """The pixels of one class: bool [H, W]."""
    return mask == target


def present(masks: Iterable[np.ndarray]) -> list[int]:
    """The classes that any of the masks holds, in the order of their numbers."""
    return sorted({int(number) for mask in masks for number in np.unique(mask) if number >= 0})


def has_void(mask: np.ndarray) -> bool:
    """Whether any pixel of a mask counts nowhere."""
    return bool((mask < 0).any())


def largest(mask: np.ndarray, names: Sequence[str]) -> int:
    """The class with the most pixels in a mask, but for the background where there is anything else."""
    counts = np.bincount(mask[mask >= 0], minlength=len(names))
    things = np.where([name == "background" for name in names], 0, counts)
    return int((things if things.any() else counts).argmax())


def tiles(row: Sequence[Tile]) -> str:
    """The tiles as HTML, all beside each other; on a phone two."""
    figures = []
    for tile in row:
        width, height = tile.picture.size
        # The place has the picture's own shape: as wide as the tile, unless that made it too tall.
        place = f"width: min(100%, {_TALLEST * width / height:.3f}rem); aspect-ratio: {width} / {height}"
        layers = "".join(
            f'<img class="{name}" src="{inline(layer, "PNG")}" alt="" style="opacity: {opacity:.2f}">'
            for name, layer, opacity in (("mask", tile.mask, tile.opacity), ("rim", tile.rim, 1)) if layer)
        # Under a mask the picture loses its own colours, or they would turn the mask's into others.
        gray = f' style="filter: grayscale({min(1, 2 * tile.opacity):.2f})"' if tile.mask else ""
        color = f' style="color: {ink(tile.color)}"' if tile.color else ""
        caption = "".join(f"<div>{html.escape(line)}</div>" for line in tile.told)
        caption += "".join(f'<div class="quiet">{html.escape(line)}</div>' for line in tile.quiet)
        figures.append(
            f'<figure><div class="role"{color}>{html.escape(tile.title)}</div>'
            f'<div class="name" title="{html.escape(tile.name)}">{html.escape(tile.name)}</div>'
            f'<div class="picture" style="{place}">'
            f'<img src="{inline(tile.picture, "JPEG")}" alt="{html.escape(tile.alt)}"{gray}>{layers}</div>'
            f"<figcaption>{caption}</figcaption></figure>")
    return f'{_STYLE}<div class="segments" style="--columns: {len(row)}">{"".join(figures)}</div>'


def legend(entries: Mapping[str, str], *, void: bool = False) -> str:
    """Colours, or other CSS backgrounds, by what they mean, as HTML; void: whether anything is hatched."""
    swatches = {name: f"background: {color}" for name, color in entries.items()}
    if void:
        swatches["not counted"] = f"background: repeating-linear-gradient(135deg, {_DARK} 0 3px, {_LIGHT} 3px 6px)"
    items = "".join(f'<span><i style="{style}"></i>{html.escape(name)}</span>' for name, style in swatches.items())
    return f'{_STYLE}<div class="segments-legend">{items}</div>'


def amount(count: int) -> str:
    """A number of parameters in two digits or more: 2.8 M, 55 k."""
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} k"


def _fine(mask: np.ndarray) -> np.ndarray:
    """A mask [H, W], each of its pixels as many as make it _FINE_SIDE high or more."""
    times = -(-_FINE_SIDE // len(mask))
    return mask.repeat(times, axis=0).repeat(times, axis=1)


def _layer(places: np.ndarray, colors: Sequence[str | None]) -> Image.Image:
    """RGBA of places in a list of colours, [H, W]; None is hatched."""
    rows, columns = np.indices(places.shape)
    stripes = (rows + columns) // _STRIPE % 2
    palette = np.array([[_rgba(color or each) for each in (_DARK, _LIGHT)] for color in colors], dtype=np.uint8)
    return Image.fromarray(palette[places, stripes])


def _beside(region: np.ndarray) -> np.ndarray:
    """The pixels with one of the region to the left, to the right, above or below."""
    padded = np.pad(region, 1)
    return padded[1:-1, :-2] | padded[1:-1, 2:] | padded[:-2, 1:-1] | padded[2:, 1:-1]


def _rgba(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color.removeprefix("#").ljust(8, "f")))
