"""Pictures of the kinds a person has, as RGB with eight bits a channel. A bad one raises KDError and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from kdengine.errors import KDError

MAX_PIXELS = 64_000_000
"""A declared size above this is refused before anything is decoded."""

# Not every format Pillow knows: some start other programs (EPS) or are rarely read and little tried.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def read_picture(source: bytes | Path, *, name: str | None = None) -> Image.Image:
    """An RGB picture, upright: turned by its EXIF orientation, transparency on white, the first frame of several.

    source: a file's bytes, or its path. name: what errors call it; by default the path. 16 bits are scaled to 8.
    Raises KDError for what is no picture, damaged, cut short, or above MAX_PIXELS.
    """
    name = name or _name(source)
    with _opened(source, name) as image:
        image.load()
        return _rgb(ImageOps.exif_transpose(image), name)


def read_class_numbers(path: Path) -> Image.Image:
    """A mask: a picture of one channel, or of a palette, whose values are class numbers. Raises KDError.

    It is neither turned nor converted: its values are taken as they stand, palette places for a palette.
    """
    name = _name(path)
    with _opened(path, name) as image:
        image.load()
        if image.mode not in ("L", "P", "1", *_DEEP):
            raise KDError(f"{name} has colours (mode {image.mode}); a mask has one channel, its values class numbers "
                          "0, 1, 2, ..., or a palette.")
        return image.convert("I") if image.mode in _DEEP else image.copy()


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
def _opened(source: bytes | Path, name: str) -> Iterator[Image.Image]:
    """The picture, opened but not decoded, of an allowed size; what goes wrong inside the block becomes KDError."""
    formats = "PNG, JPEG, WebP, BMP, GIF and TIFF"
    try:
        if not (source if isinstance(source, bytes) else source.stat().st_size):
            raise KDError(f"{name} is empty: 0 bytes. Copy it again from where it came.")
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _too_large(name, f"{width:,} x {height:,} pixels")
            yield image
    except KDError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name, "far more pixels than a photo") from error
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


def _too_large(name: str, size: str) -> KDError:
    return KDError(f"{name} is too large: it declares {size}; allowed are up to {MAX_PIXELS // 1_000_000} megapixels. "
                   "Make it smaller first.")


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
