"""What the values of masks mean: read and said, or refused with every reading. Nothing is guessed silently.

Masks hold class numbers, or two levels (0 and 255), or what `classes.txt` says. The values of all masks are counted,
whole, before any mask is read.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kdengine.data.class_names import FILE, IGNORED, ClassNames, Range
from kdengine.data.directories import listed
from kdengine.data.pictures import blocks, is_jpeg, opened_mask
from kdengine.errors import KDError
from kdengine.losses import IGNORE

VOID = 255
"""The class number that means none, by custom."""
MOST_LOST = 0.05
"""Of all pixels, how many may have a value that is no class. In CamVid, 3.6% are void."""
_MOST_NUMBERS = 200
"""A value above this is taken as a class number only where there are as many names."""
_FEW = 32
"""Different values up to which they are listed; masks of more have soft edges, or were changed by JPEG."""
_NEAR = 32
"""Grey levels that JPEG may add to 0, or take from 255."""
_MOST_COLORS = 4096
_IN_COLOR = ("RGB", "RGBA", "LA")
"""Modes whose values are colours, unless all of them are grey."""


@dataclass(frozen=True)
class Reading:
    """Which class each value of a mask is.

    ranges: the values of each class, ascending. colored: whether values are colours, 0xRRGGBB. notes: what was taken
    for what, and what counts nowhere, for people.
    """

    classes: tuple[str, ...]
    ranges: tuple[Range, ...]
    colored: bool = False
    notes: tuple[str, ...] = ()

    def read(self, mask: Image.Image) -> Tensor:
        """int16 [H, W], class numbers, IGNORE where a value is no class."""
        return torch.from_numpy(self.classes_of(_colors(mask) if self.colored else _numbers(mask)))

    def classes_of(self, values: np.ndarray) -> np.ndarray:
        """The class number of each value, or IGNORE: int16 of the same shape."""
        lows, highs, numbers = (np.array(each) for each in zip(*self.ranges, strict=True))
        at = np.searchsorted(lows, values, side="right") - 1
        return np.where((at >= 0) & (values <= highs[at]), numbers[at], IGNORE).astype(np.int16)


@dataclass(frozen=True)
class Survey:
    """The values of all masks of a data set.

    pixels, masks: how many of them have each value. training: the values in training masks. colored: whether the
    values are colours, 0xRRGGBB. gray_in_color: how many masks are stored with colours that are all grey. jpeg:
    whether JPEG has changed any. palettes_differ: whether one place has different colours in two masks.
    """

    pixels: Counter[int]
    masks: Counter[int]
    training: set[int]
    colored: bool
    gray_in_color: int
    jpeg: bool
    palettes_differ: bool

    def share(self, values: Iterable[int]) -> float:
        """Of all pixels, how many have one of these values."""
        return sum(self.pixels[value] for value in values) / self.pixels.total()

    def text(self, values: Collection[int]) -> str:
        """These values, with the pixels that have them; of several, the masks of the one that most masks hold."""
        pixels, masks = sum(self.pixels[value] for value in values), max(self.masks[value] for value in values)
        return (f"{listed([self.written(value) for value in sorted(values)])} ({pixels:,} pixels, "
                f"{self.share(values):.1%} of all, in {masks:,} mask{'s' * (masks != 1)})")

    def lines(self, names: Sequence[str]) -> str:
        """What classes.txt could say of the values: ascending, colours the commonest first."""
        values = sorted(self.pixels, key=lambda value: (self.colored * -self.pixels[value], value))
        return listed([f"`{self.written(value)} = {name}`" for value, name in
                       zip(values, chain(names, repeat("...")), strict=False)])

    def written(self, value: int) -> str:
        """A value as classes.txt writes it."""
        return f"#{value:06x}" if self.colored else str(value)


def survey(masks: Mapping[str, Sequence[Path]], by_color: bool) -> Survey:
    """Count the values of all masks, by split. by_color: whether their colours count in any case.

    Raises KDError for a mask that cannot be read, or holds more colours than a mask does.
    """
    pixels, holding, training, palette = Counter[int](), Counter[int](), set[int](), dict[int, int]()
    colored, gray_in_color, jpeg, palettes_differ = by_color, 0, False, False
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for split, paths in masks.items():
            for look in pool.map(partial(_look_at, by_color=by_color), paths):
                pixels.update(look.counts)
                holding.update(look.counts.keys())
                training |= look.counts.keys() if split == "train" else set()
                colored |= look.colored
                gray_in_color += look.gray_in_color
                jpeg |= look.jpeg
                palettes_differ |= any(palette.setdefault(value, color) != color for value, color in look.palette)
    if colored and not by_color:
        return survey(masks, by_color=True)  # where some have colours, those are the values of all
    return Survey(pixels, holding, training, colored, gray_in_color, jpeg, palettes_differ)


def read_values(survey: Survey, names: ClassNames | None) -> Reading:
    """What the values of these masks mean. Raises KDError, with every reading, where that cannot be known."""
    if names and not names.plain:
        return _as_lines_say(survey, names)
    if survey.colored:
        raise _colored(survey, names)
    if survey.palettes_differ:
        raise KDError("The masks have palettes that differ: the same value is another colour in another mask. If the "
                      f"colours are the classes, write into {FILE}, one a line, `#000000 = background` and so on. If "
                      f"the values are class numbers all the same, say so, one a line: {survey.lines(['background'])}.")
    two = names is None or (len(names.names) == 2 and not names.speaks_of(VOID))
    if survey.jpeg:
        if two and _near_two_levels(survey):
            return _black_and_white(survey, names)
        raise KDError(f"The masks are saved as JPEG, which changes values: there are {len(survey.pixels)} different "
                      f"ones. Save the masks as PNG from where they came. Or say in {FILE} which values are which "
                      "class, one a line, for instance `0-127 = background` and `128-255 = foreground`.")
    if two and set(survey.pixels) in ({0, VOID}, {0, 65_535}):
        return _black_and_white(survey, names)
    return _as_numbers(survey) if names is None else _as_names_say(survey, names)


def numbered(names: tuple[str, ...], first: int = 0) -> Reading:
    """The reading of masks that are known to hold class numbers, counted from `first`; no other value is a class."""
    return Reading(names, tuple((first + number, first + number, number) for number in range(len(names))))


def _as_lines_say(survey: Survey, names: ClassNames) -> Reading:
    """classes.txt gives the values."""
    lost = [value for value in survey.pixels if not names.speaks_of(value)]
    _require_few_lost(survey, names, lost)
    return _noted(survey, Reading(names.names, names.ranges, names.colored),
                  f"As {FILE} says: {names.text()}.", {f"not in {FILE}": lost})


def _as_names_say(survey: Survey, names: ClassNames) -> Reading:
    """Plain names: class numbers from 0, and VOID is none."""
    void = [VOID] if VOID in survey.pixels and not names.speaks_of(VOID) else []
    lost = [value for value in survey.pixels if not names.speaks_of(value) and value not in void]
    if void and not lost and len(survey.pixels) == 2:
        raise KDError(f"The masks hold {listed(sorted(survey.pixels))} alone, and {FILE} names {len(names.names)} "
                      f"classes. If 255 is a class, say in {FILE} which one, as in {survey.lines(names.names)}. If 255 "
                      "is no class, only one is left, and there is nothing to learn.")
    _require_few_lost(survey, names, lost)
    return _noted(survey, Reading(names.names, names.ranges),
                  f"The values of the masks were taken as class numbers, named in {FILE} from 0 on.",
                  {"no class by custom": void, f"without a name in {FILE}": lost})


def _as_numbers(survey: Survey) -> Reading:
    """Nobody named anything: class numbers, if they look like it, up to the largest in training."""
    numbers = survey.training - {VOID}
    if len(numbers) < 2:
        raise _one_class(survey)
    largest = max(numbers)
    if largest > _MOST_NUMBERS or 2 * len(numbers) <= largest:
        if len(survey.pixels) > _FEW:
            raise _soft(survey)
        raise KDError(f"The masks hold the values {listed(sorted(survey.pixels))}. If each is a grey level that "
                      f"stands for a class, write into {FILE}, one a line: {survey.lines(['background'])}. If they are "
                      f"class numbers up to {largest}, most of them never used, write {largest + 1} names into {FILE}, "
                      f"one a line. A line `255 = {IGNORED}` says that such pixels count nowhere.")
    void = [VOID] if VOID in survey.pixels else []
    lost = [value for value in survey.pixels if value > largest and value not in void]
    if survey.share(lost) > MOST_LOST:
        raise KDError(f"Values that no training mask holds cannot be learned: {survey.text(lost)}. Add training "
                      f"masks that hold them, or name the classes in {FILE}; a line `{min(lost)} = {IGNORED}` beside "
                      "the names says that such pixels count nowhere.")
    return _noted(survey, numbered(tuple(f"class {each}" for each in range(largest + 1))),
                  f"The values of the masks were taken as class numbers from 0 to {largest}; {FILE} can name them.",
                  {"no class by custom": void, "in no training mask": lost})


def _black_and_white(survey: Survey, names: ClassNames | None) -> Reading:
    """0 and a foreground of 255; in JPEG masks, what is nearer to each."""
    background, foreground = classes = names.names if names else ("background", "foreground")
    if survey.jpeg:
        between = survey.share(value for value in survey.pixels if value not in (0, VOID))
        return _noted(survey, Reading(classes, ((0, 127, 0), (128, VOID, 1))),
                      f"The masks are saved as JPEG, which changes values: 0 to 127 was taken as {background}, 128 to "
                      f"255 as {foreground}; {between:.1%} of all pixels were neither 0 nor 255.")
    top = max(survey.pixels)
    return _noted(survey, Reading(classes, ((0, 0, 0), (top, top, 1))),
                  f"The masks hold 0 and {top} alone: 0 was taken as {background}, {top} as {foreground}.")


def _near_two_levels(survey: Survey) -> bool:
    """Whether nearly all pixels are near 0 or near 255, and both are there."""
    low = survey.share(value for value in survey.pixels if value <= _NEAR)
    high = survey.share(value for value in survey.pixels if VOID - _NEAR <= value <= VOID)
    return min(low, high) > 0 and low + high > 1 - MOST_LOST


def _require_few_lost(survey: Survey, names: ClassNames, lost: Collection[int]) -> None:
    """Raise KDError where so much has no class that classes.txt, or the masks, must be mistaken."""
    if not lost or (survey.share(lost) <= MOST_LOST and len(survey.pixels) - len(lost) > 1):
        return
    if len(survey.pixels) > _FEW and names.plain:
        raise _soft(survey)
    first = survey.written(min(lost))
    # To ignore what is all but one class would leave nothing to learn.
    ignoring = (f" A line `{first} = {IGNORED}` says that such pixels count nowhere."
                if len(survey.pixels) - len(lost) > 1 else "")
    raise KDError(f"{FILE} names {len(names.names)} classes, but has no name for a value of the masks: "
                  f"{survey.text(lost)}. Say in {FILE}, one a line, which value is which class, as in "
                  f"{survey.lines(names.names)}.{ignoring}")


def _noted(
    survey: Survey, reading: Reading, note: str, nowhere: Mapping[str, Collection[int]] | None = None
) -> Reading:
    """The reading with its notes. nowhere: values that are no class, by why. Raises KDError where nothing is learned.
    """
    nowhere = nowhere or {}
    training = np.array(sorted(survey.training))
    learned = set(reading.classes_of(training).tolist()) - {IGNORE}
    if len(learned) < 2:
        raise _one_class(survey)
    lost = {value for values in nowhere.values() for value in values}
    values = np.array(sorted(survey.pixels.keys() - lost))
    ignored = values[reading.classes_of(values) == IGNORE].tolist()
    notes = [note]
    notes += [f"Left out, as {why}: {survey.text(values)}. These pixels count nowhere."
              for why, values in {**nowhere, f"called {IGNORED} in {FILE}": ignored}.items() if values]
    unseen = [name for number, name in enumerate(reading.classes) if number not in learned]
    if unseen:
        notes.append(f"No training mask holds {listed(unseen)}.")
    if survey.gray_in_color:
        notes.append(f"{survey.gray_in_color:,} masks are stored with colours that are all grey; the grey was taken as "
                     "the value.")
    return replace(reading, notes=tuple(notes))


def _one_class(survey: Survey) -> KDError:
    values = listed([survey.written(value) for value in sorted(survey.training)])
    return KDError(f"The training masks hold only one class; at least 2 are needed. Their values: {values}. A mask is "
                   "a picture whose values are class numbers: 0, 1, 2, ...")


def _soft(survey: Survey) -> KDError:
    return KDError(f"The masks hold {len(survey.pixels)} different grey levels, as masks with soft edges do, and not "
                   f"class numbers. Say in {FILE} where to cut, one class a line, for instance `0-127 = background` "
                   "and `128-255 = foreground`. Or save masks that hold one number for each class.")


def _colored(survey: Survey, names: ClassNames | None) -> KDError:
    if survey.jpeg:
        return KDError(f"The masks are saved as JPEG, which mixes colours: there are {len(survey.pixels):,} different "
                       "ones. Save the masks as PNG from where they came.")
    silent = f"the names in {FILE} do not say" if names else "nothing says"
    lines = survey.lines(names.names if names else ["background"])
    return KDError(f"The masks hold {len(survey.pixels):,} different colours, and {silent} which class each is. Write "
                   f"into {FILE}, one a line: {lines}. A line `#000000 = {IGNORED}` says that such pixels count "
                   "nowhere.")


class _Look(NamedTuple):
    """What one mask shows; palette: the colour of each value that it holds, where it has a palette."""

    counts: Counter[int]
    colored: bool
    gray_in_color: bool
    jpeg: bool
    palette: list[tuple[int, int]]


def _look_at(path: Path, by_color: bool) -> _Look:
    """Where all colours are grey, the values are the grey levels, unless colours count in any case."""
    with opened_mask(path) as mask:
        in_color, jpeg = by_color or mask.mode in _IN_COLOR, is_jpeg(mask)
        counts: Counter[int] = Counter()
        for _, _, block in blocks(mask):
            values_and_counts = np.unique((_colors if in_color else _numbers)(block), return_counts=True)
            counts.update(dict(zip(*(each.tolist() for each in values_and_counts), strict=True)))
            if in_color and len(counts) > _MOST_COLORS:
                raise KDError(f"{path} holds more than {_MOST_COLORS:,} different colours, as a photograph does, or a "
                              "mask whose colours JPEG or resizing has mixed. A mask has one value or one colour for "
                              "each class; save it so, as PNG.")
        palette = [] if in_color or mask.mode != "P" else list(zip(sorted(counts), _palette(mask, sorted(counts)),
                                                                   strict=True))
    gray = in_color and not by_color and all(color == (color & 0xFF) * 0x010101 for color in counts)
    if gray:
        counts = Counter({color & 0xFF: count for color, count in counts.items()})
    return _Look(counts, in_color and not gray, gray, jpeg, palette)


def _palette(mask: Image.Image, places: Sequence[int]) -> list[int]:
    """The colours of places in a mask's palette."""
    row = Image.frombytes("P", (len(places), 1), bytes(places))
    row.putpalette(mask.getpalette() or [])
    return _colors(row)[0].tolist()


def _numbers(mask: Image.Image) -> np.ndarray:
    """[H, W]: a mask's own values, places for a palette; of one in colours that are all grey, the grey."""
    values = np.asarray(mask.getchannel(0) if mask.mode in _IN_COLOR else mask)
    return values.astype(np.uint8) if values.dtype == bool else values


def _colors(mask: Image.Image) -> np.ndarray:
    """int32 [H, W]: a mask's colours, 0xRRGGBB."""
    red, green, blue = np.moveaxis(np.asarray(mask.convert("RGB")).astype(np.int32), 2, 0)
    return red << 16 | green << 8 | blue
