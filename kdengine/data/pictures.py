"""Pictures of the kinds a person has, as RGB with eight bits a channel. A bad one raises KDError and nothing else.

Whatever a file declares, reading it takes at most CEILING bytes, and at most KEPT_PIXELS of it stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from itertools import product
from math import prod
from pathlib import Path
from threading import Lock
from typing import TypeGuard

import numpy as np
import torch
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from kdengine.errors import KDError

MAX_PIXELS = 64_000_000
"""A declared size above this is refused before anything is decoded; some kinds of pictures have a lower limit."""
KEPT_PIXELS = 16_000_000
"""A picture of more is halved. 4,000 x 4,000 is far beyond the 1,024 a side that a network takes at most."""
CEILING = 150_000_000
"""Bytes that reading one picture may take, above the process at rest."""

_ROOM = 136_000_000
"""Of CEILING, what the whole picture may take while it is decoded; the rest is for the blocks that are converted."""
_SMALL = 1_000_000
"""Pixels up to which pictures are read side by side; larger ones are read one at a time."""
_BLOCK = 256
"""Height and width of what is converted at once; even, so that halving a block halves the picture."""
_one_at_a_time = Lock()

# Texts in a PNG are unpacked as it is opened; by itself Pillow would allow 64 MB of them.
PngImagePlugin.MAX_TEXT_MEMORY = 4_000_000

# Not every format Pillow knows: some start other programs (EPS) or are rarely read and little tried.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
"""Of a pixel in memory, by mode; every other mode takes four."""


def read_picture(source: bytes | Path, *, name: str | None = None) -> Image.Image:
    """An RGB picture, upright: turned by its EXIF orientation, transparency on white, the first frame of several.

    source: a file's bytes, or its path. name: what errors call it; by default the path. 16 bits are scaled to 8. More
    than KEPT_PIXELS come back at half their width and height. Raises KDError for what is no picture, damaged, cut
    short, or too large to be read within CEILING.
    """
    name = name or _name(source)
    with _loaded(source, name, halve=True) as (image, halved):
        orientation = image.getexif().get(Base.Orientation, 1)
        picture = _in_blocks(image, name, halved)
        image.close()  # gives its memory back before a second picture is made of the first
        picture.getexif()[Base.Orientation] = orientation
        ImageOps.exif_transpose(picture, in_place=True)
        return picture


@contextmanager
def opened_mask(path: Path) -> Iterator[Image.Image]:
    """A mask as it stands in its file, decoded, neither turned nor converted. To be closed soon: see _one_at_a_time.

    It has one channel (mode 1, L, P, I;16 or I) or colours (RGB, RGBA or LA, the latter two opaque all over). Raises
    KDError for what `read_picture` refuses, for another mode and for a mask that can be seen through.
    """
    name = _name(path)
    with _loaded(path, name, halve=False) as (image, _):
        if image.mode not in ("1", "L", "P", *_DEEP, "RGB", "RGBA", "LA"):
            raise KDError(f"{name} is a picture of mode {image.mode}; a mask has one channel, a palette, or RGB "
                          "colours. Save it as a PNG of one of these.")
        if image.mode in ("RGBA", "LA") and image.getextrema()[-1] != (255, 255):
            raise KDError(f"{name} can be seen through, so it does not say what each pixel is. Save it without "
                          "transparency.")
        yield image


def is_jpeg(image: Image.Image) -> TypeGuard[JpegImageFile]:
    """Whether an opened picture is a JPEG, so that its values are not quite those that were saved."""
    return isinstance(image, JpegImageFile)  # also an MPO: one with others behind it, as telephones write it


def blocks(image: Image.Image) -> Iterator[tuple[int, int, Image.Image]]:
    """Left, top and pixels of the parts of a picture, _BLOCK a side or less: to convert it bit by bit."""
    width, height = image.size
    for top, left in product(range(0, height, _BLOCK), range(0, width, _BLOCK)):
        yield left, top, image.crop((left, top, min(left + _BLOCK, width), min(top + _BLOCK, height)))


def picture_shape(path: Path) -> tuple[int, int]:
    """Width and height as the file declares them, nothing decoded. Raises KDError as `read_picture` does."""
    with _opened(path, _name(path)) as image:
        return image.size


def picture_tensor(image: Image.Image, size: int | None = None) -> Tensor:
    """uint8 [3, H, W] of an RGB picture.

    With `size`: the shorter side resized to `size` (bilinear, antialiased) and the centre `size` x `size` of it.
    """
    if size is not None:
        # Crops before it resizes, so a 1 x 40,000 picture never becomes 64 x 2,560,000.
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def picture(pixels: Tensor) -> Image.Image:
    """The RGB picture of uint8 [3, H, W]."""
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def resized(images: Tensor, size: int) -> Tensor:
    """uint8 [N, 3, size, size] of uint8 [N, 3, H, W], each as `picture_tensor` does it; of that size already, as is."""
    if images.shape[-2:] == (size, size):
        return images
    return torch.stack([picture_tensor(picture(image), size) for image in images])


def _name(source: bytes | Path) -> str:
    return str(source) if isinstance(source, Path) else "The picture"


@contextmanager
def _loaded(source: bytes | Path, name: str, *, halve: bool) -> Iterator[tuple[ImageFile, bool]]:
    """The picture, decoded, and whether it has still to be halved. A JPEG is halved while it is decoded."""
    with _opened(source, name) as image:
        size = image.size
        pixels = prod(size)
        halved = _halved(image, pixels, halve)
        if halved is None:
            # The kinds differ in what Pillow needs for a pixel.
            most = max((each for each in range(1, MAX_PIXELS // 1_000_000 + 1)
                        if _halved(image, each * 1_000_000, halve) is not None), default=0)
            raise _too_large(name, size, most, f" of a {image.format} of mode {image.mode}")
        with _one_at_a_time if pixels > _SMALL else nullcontext():
            if halved and is_jpeg(image):
                image.draft(None, (size[0] // 2, size[1] // 2))
            image.load()
            yield image, halved and image.size == size


def _halved(image: ImageFile, pixels: int, halve: bool) -> bool | None:
    """Whether a picture of this kind and so many pixels is halved; None where even that would take too much.

    halve: whether it becomes an RGB picture, and may be halved at all; a mask may not.
    """
    ways = [False] if pixels <= KEPT_PIXELS or not halve else []
    if halve and (pixels > KEPT_PIXELS or is_jpeg(image)):
        ways.append(True)
    return next((halved for halved in ways if _needs(image, pixels, halved, halve) <= _ROOM), None)


def _needs(image: ImageFile, pixels: int, halved: bool, converted: bool) -> int:
    """Bytes that reading takes, of a picture opened and not yet decoded, if it had so many pixels.

    Pillow's own image of it, and beside that the larger of what the decoder holds and of the RGB picture that is made
    of it, if one is. The numbers were measured; a test holds them.
    """
    own: float = _PIXEL_BYTES.get(image.mode, 4)
    beside = 0.0
    if is_jpeg(image):
        if halved:
            own /= 4
        if _holds_coefficients(image):
            sampling = [across * down for _, across, down, _ in image.layer]
            largest = max(across for _, across, _, _ in image.layer) * max(down for _, _, down, _ in image.layer)
            beside = 2 * sum(sampling) / largest
    elif image.format == "WEBP":
        beside = 12  # two canvases of its own, and the bytes between them and Pillow
    elif image.format == "GIF" or getattr(image, "is_animated", False):
        own *= 2  # what the second frame would be laid on
    elif image.format == "BMP" and image.tile[0].codec_name == "bmp_rle":
        beside = 3
    elif isinstance(image, TiffImageFile):
        turned = image.getexif().get(Base.Orientation, 1) != 1  # by Pillow itself, into a second picture
        beside = max(_part_of_tiff(image) / prod(image.size), own * turned)
    copy = 1 if halved or not converted else 4  # of a mask, one channel is looked at by itself
    return round(pixels * (own + max(beside, copy)))


def _holds_coefficients(image: JpegImageFile) -> bool:
    """Whether a JPEG's first scan leaves something for others, so that libjpeg keeps all coefficients till the end."""
    if "progressive" in image.info:
        return True
    assert image.fp is not None  # decoding alone lets go of the file
    after = image.fp.tell()  # Pillow has just read the head of the first scan
    length = 6 + 2 * image.layers
    image.fp.seek(after - length)
    head = image.fp.read(3)
    image.fp.seek(after)
    return head != bytes((0, length, image.layers))


def _part_of_tiff(image: TiffImageFile) -> int:
    """Bytes of the strip or tile that libtiff decodes at once; it may be larger than the picture. 0 without libtiff."""
    if image.tile[0].codec_name != "libtiff":
        return 0
    width, height = image.size
    tags = image.tag_v2
    pixels = tags[322] * tags[323] if 322 in tags else width * min(tags.get(278, height), height)
    bits = tags.get(258, (8,))
    return pixels * max(8, sum(bits) if isinstance(bits, tuple) else bits) // 8


def _in_blocks(image: Image.Image, name: str, halved: bool) -> Image.Image:
    """The RGB picture of one of any mode, halved or not, without a second copy of the whole on the way."""
    by = 2 if halved else 1
    width, height = image.size
    picture = Image.new("RGB", (-(-width // by), -(-height // by)))
    for left, top, block in blocks(image):
        converted = _rgb(block, name)
        picture.paste(converted.reduce(by) if halved else converted, (left // by, top // by))
    return picture


@contextmanager
def _opened(source: bytes | Path, name: str) -> Iterator[ImageFile]:
    """The picture, opened but not decoded, of an allowed size; what goes wrong inside the block becomes KDError."""
    formats = "PNG, JPEG, WebP, BMP, GIF and TIFF"
    try:
        if not (source if isinstance(source, bytes) else source.stat().st_size):
            raise KDError(f"{name} is empty: 0 bytes. Copy it again from where it came.")
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS) as image:
            if prod(image.size) > MAX_PIXELS:
                raise _too_large(name, image.size)
            yield image
    except KDError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name, None) from error
    except UnidentifiedImageError as error:
        raise KDError(f"{name} is not a picture that can be read, or its beginning is damaged. "
                      f"Readable are {formats}.") from error
    except FileNotFoundError as error:
        raise KDError(f"There is no file {name}.") from error
    except (PermissionError, IsADirectoryError) as error:
        raise KDError(f"{name} cannot be read: {error.strerror}.") from error
    except Exception as error:  # on damaged bytes, decoders raise almost anything: OSError, SyntaxError, struct.error
        raise KDError(f"{name} is damaged or cut short ({error}). Copy or save it again; readable are "
                      f"{formats}.") from error


def _too_large(
    name: str, size: tuple[int, int] | None, most: int = MAX_PIXELS // 1_000_000, kind: str = ""
) -> KDError:
    declared = f"{size[0]:,} x {size[1]:,} pixels" if size else "far more pixels than a photo"
    return KDError(f"{name} is too large: it declares {declared}; allowed are up to {most} megapixels{kind}. Make it "
                   "smaller first.")


def _rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode in _DEEP:
        return _eight_bits(image, name).convert("RGB")
    if image.mode == "F":
        raise KDError(f"{name} holds floating-point values of unknown range; save it with 8 or 16 bits a channel.")
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, "white")
        canvas.alpha_composite(image.convert("RGBA"))
        image = canvas
    return image.convert("RGB")


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Grey of 16 bits scaled to 8 by 255 / 65535, to the nearest. Pillow's own conversion clips at 255."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65_535:
        raise KDError(f"{name} holds grey values beyond 16 bits; save it with 8 or 16 bits a channel.")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def as_input(picture: Image.Image, size: int, *, whole: bool) -> Tensor:
    """uint8 [3, size, size] of a picture as a network takes it: whole where each pixel gets an answer, else its centre.
    """
    if whole:
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    return picture_tensor(picture, size)
