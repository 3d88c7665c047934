"""What the networks of a recipe do: a test picture a row, first as it is, then as each network sees it.

Of networks that classify it shows where they look; of those that segment, what they take each pixel for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from kdengine.colors import INDEPENDENT, RIGHT, WRONG, class_colors, ink
from kdengine.losses import IGNORE
from kdengine.measures import uncertainty
from kdengine.recipes.look import Look, png
from kdengine.recipes.recipe import Outcome
from kdengine.runs import verdicts
from kdengine.runs.records import Record

if TYPE_CHECKING:
    from PIL import ImageDraw
    from PIL.Image import Image
    from torch import Tensor

    from kdengine.data import DataSet

TITLES = {"accuracy": "Where they look", "mIoU": "What they see"}
"""By a recipe's headline, as CAPTIONS."""
CAPTIONS = {
    "accuracy": "Grad-CAM of each network's own answer, on the first test images that not all of them answer alike. "
                "Green: the answer is right; red: it is wrong. Each map is scaled by its own maximum.",
    "mIoU": "Masks of the test images on which the best and the worst student are furthest apart in mIoU, with mIoU "
            "and pixel accuracy on that image. Green name: a higher mIoU there than the independent student's; red: a "
            "lower one.",
}
_PICTURES, _MASKED_PICTURES = 4, 3
_SIDE = 112
_OPACITY = 0.5
_MASK = 0.7
"""How much of a mask covers its picture."""


def caption(outcome: Outcome, rows: Sequence[Sequence[Look]]) -> str:
    """What a recipe's pictures show. Reports of earlier versions have no mistakes below their masks."""
    below = any(look.picture.height > look.picture.width for row in rows for look in row)
    return CAPTIONS[outcome.plan.recipe.headline] + (" Below each mask: its mistakes, in red." if below else "")


def file(outcome: Outcome) -> str:
    """What the printed sheet of a recipe's pictures is called."""
    return f"{TITLES[outcome.plan.recipe.headline].lower().replace(' ', '-')}.jpg"


def looks(outcome: Outcome, side: int = _SIDE) -> Sequence[Sequence[Look]]:
    """A row a picture, in pictures of `side` pixels: the original, then what each network makes of it.

    Of the first seed; as they were kept, where they were. Empty where the recipe shows none, and while fewer than two
    networks have finished.
    """
    if outcome.looks is not None:
        return outcome.looks
    if not outcome.plan.recipe.gallery:
        return []
    from kdengine import data

    records = {part.label: trained[0] for part in outcome.parts if (trained := outcome.of(part.label))}
    if len(records) < 2:
        return []
    configuration = next(iter(records.values())).configuration
    data_set = data.load(configuration.data, image_size=configuration.image_size)
    return (_masks if data_set.task == "segmentation" else _heat_maps)(outcome, records, data_set, side)


def colors(outcome: Outcome) -> dict[str, str]:
    """What the colors in a recipe's masks mean: of each class that it segments into; nothing of heat maps."""
    if outcome.plan.recipe.headline != "mIoU":
        return {}
    names = next(iter(outcome.records.values())).data["classes"]
    return dict(zip(names, class_colors(names), strict=True))


def _heat_maps(outcome: Outcome, records: Mapping[str, Record], data: DataSet, side: int) -> list[list[Look]]:
    """The original with its true class, then each network's Grad-CAM map of its own answer.

    The pictures are the first of the test images that not all networks answer alike; where they agree on all, the
    first.
    """
    import torch

    from kdengine.data import pictures
    from kdengine.explain import comparison, heat_maps
    from kdengine.runs import references

    stored = [outcome.source.predictions(record.id) for record in records.values()]
    answers = [verdicts.answers(each) for each in stored if each is not None]
    disputed = [place for place in range(len(data.test)) if len({int(each[place]) for each in answers}) > 1]
    chosen = (disputed or list(range(len(data.test))))[:_PICTURES]
    images = data.test.images[chosen].float() / 255
    truth = [int(data.test.target[place]) for place in chosen]
    originals = [pictures.picture(data.test.images[place]).resize((side, side)) for place in chosen]
    rows = [[Look("Picture", data.classes[true], None, picture)]
            for true, picture in zip(truth, originals, strict=True)]
    for label, record in records.items():
        network = references.open_reference(record.id)
        with torch.inference_mode():
            named = network(images).argmax(dim=1).tolist()
        maps = heat_maps.heat_map(network, images, named)
        for row, picture, heat, own, true in zip(rows, originals, maps, named, truth, strict=True):
            row.append(Look(label, data.classes[own], own == true, comparison.overlay(picture, heat, _OPACITY)))
    return rows


def _masks(outcome: Outcome, records: Mapping[str, Record], data: DataSet, side: int) -> list[list[Look]]:
    """The original, its true mask, then each network's mask with mIoU and pixel accuracy on that picture.

    The pictures are those on which the best and the worst student are furthest apart in mIoU. A network that is above
    the independent student there counts as right.
    """
    import numpy
    import torch

    from kdengine.data import pictures
    from kdengine.measures import metrics
    from kdengine.runs import references

    students = [records[part.label] for part in outcome.parts if part.taught and part.label in records]
    stored = [outcome.source.predictions(record.id) for record in students]
    ious = [uncertainty.mean_ious(each["confusion"]) for each in stored if each] or [numpy.zeros(len(data.test))]
    apart = numpy.max(ious, axis=0) - numpy.min(ious, axis=0)
    chosen = numpy.argsort(-apart, kind="stable")[:_MASKED_PICTURES].tolist()
    truth = data.test.target[chosen].long()
    originals = [pictures.picture(data.test.images[place]).resize((side, side)) for place in chosen]
    palette = class_colors(data.classes)
    answers = {}
    for label, record in records.items():
        with torch.inference_mode():
            answers[label] = references.open_reference(record.id)(data.test.images[chosen].float() / 255).argmax(dim=1)
    rows = []
    for place, (number, picture, true) in enumerate(zip(chosen, originals, truth, strict=True)):
        there = [data.classes[each] for each in true.unique().tolist() if each >= 0]
        counts = {label: metrics.confusion(masks[place][None], true[None], len(data.classes))[0]
                  for label, masks in answers.items()}
        scores = {label: metrics.mean_iou(each) for label, each in counts.items()}
        alone = scores.get(INDEPENDENT)
        row = [Look("Picture", f"test image {number + 1}", None, picture),
               Look("Truth", ", ".join(there), None, _painted(picture, true, palette))]
        for label, score in scores.items():
            caption = f"mIoU {score:.0%}, pixels {metrics.pixel_accuracy(counts[label]):.0%}"
            better = None if alone is None or score == alone else score > alone
            answer = answers[label][place]
            row.append(Look(label, caption, better, _above(
                _painted(picture, answer, palette), _mistakes(picture, answer, true))))
        rows.append(row)
    return rows


def _painted(picture: Image, mask: Tensor, palette: Sequence[str]) -> Image:
    """A picture without its own colors under a mask [H, W] of class numbers; what counts nowhere is black."""
    import numpy
    from PIL import Image, ImageColor

    rgb = numpy.array([*map(ImageColor.getrgb, palette), (0, 0, 0)], dtype=numpy.uint8)
    numbers = mask.numpy()
    layer = Image.fromarray(rgb[numpy.where(numbers < 0, len(palette), numbers)])
    return Image.blend(picture.convert("L").convert("RGB"), layer.resize(picture.size, Image.Resampling.NEAREST), _MASK)


def _mistakes(picture: Image, answer: Tensor, truth: Tensor) -> Image:
    """A picture without its own colors, red where an answer [H, W] is not the truth; black what counts nowhere."""
    return _painted(picture, (answer != truth).long().masked_fill(truth < 0, IGNORE), ("#ffffff", WRONG))


def _above(first: Image, second: Image) -> Image:
    """Two pictures of one size as one, the second below the first."""
    from PIL import Image

    both = Image.new("RGB", (first.width, first.height + second.height))
    both.paste(first, (0, 0))
    both.paste(second, (0, first.height))
    return both


def html(rows: Sequence[Sequence[Look]], colors: Mapping[str, str] | None = None) -> str:
    """The rows as HTML, pictures inside it, each row as wide as there is room; names are green where the answer is
    right, red where it is wrong.

    colors: what those in the pictures mean, told below.
    """
    body = "".join(f'<div class="look" style="display:flex;flex-wrap:wrap;gap:.5rem;margin-bottom:1rem">'
                   f"{''.join(map(_cell, row))}</div>" for row in rows)
    meant = " ".join(f'<span style="white-space:nowrap;margin-right:.9rem"><span style="color:{color}">&#9632;</span> '
                    f"{escape(name)}</span>" for name, color in (colors or {}).items())
    return f'<div style="font-size:.8rem">{body}</div>' + (f'<p style="font-size:.8rem">{meant}</p>' if meant else "")


def sheet(rows: Sequence[Sequence[Look]]) -> Image:
    """The rows as one picture to print: under each cell its name and answer, green with a tick or red with a cross."""
    from PIL import Image, ImageDraw, ImageFont

    side, tall = rows[0][0].picture.width, max(look.picture.height for look in rows[0])
    gap, size = side // 10, side // 9
    below = 3 * size
    width, height = gap + len(rows[0]) * (side + gap), gap + len(rows) * (tall + below + gap)
    drawn = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(size)
    for top, row in zip(range(gap, drawn.height, tall + below + gap), rows, strict=False):
        for left, look in zip(range(gap, drawn.width, side + gap), row, strict=False):
            drawn.paste(look.picture, (left, top))
            color = "black" if look.right is None else RIGHT if look.right else WRONG
            signed = 0 if look.right is None else size
            if look.right is not None:
                _sign(pen, left, top + tall + 1.6 * size, size * 0.8, color, right=look.right)
            for text, start, line in ((look.name, left, 0.2), (look.answer, left + signed, 1.4)):
                fitting = ImageFont.load_default(size * min(1.0, (left + side - start) / font.getlength(text)))
                pen.text((start, top + tall + line * size), text, color, fitting)
    return drawn


def _sign(pen: ImageDraw.ImageDraw, left: float, top: float, size: float, color: str, *, right: bool) -> None:
    """A tick or a cross: drawn, since not every font has them."""
    tick = [[(0.05, 0.55), (0.35, 0.9), (0.95, 0.1)]]
    cross = [[(0.1, 0.1), (0.9, 0.9)], [(0.9, 0.1), (0.1, 0.9)]]
    for stroke in tick if right else cross:
        points = [(left + x * size, top + y * size) for x, y in stroke]
        pen.line(points, color, width=max(1, round(size / 6)), joint="curve")


def _cell(look: Look) -> str:
    source = png(look.picture)
    name, answer = escape(look.name), escape(look.answer)
    if look.right is None:
        caption = f"{name}<br>{answer}"
    else:
        mark, color = ("✓", RIGHT) if look.right else ("✗", WRONG)
        caption = f'<span style="color:{ink(color)}">{name}<br>{mark} {answer}</span>'
    return (f'<div style="width:{_SIDE}px;overflow-wrap:anywhere">'
            f'<img src="data:image/png;base64,{source}" width="{_SIDE}" alt="{name}: {answer}">'
            f"<div>{caption}</div></div>")

