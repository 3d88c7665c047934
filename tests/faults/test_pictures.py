"""Damaged pictures and masks: whatever the bytes are, there is a picture or a sentence, and nothing else."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdengine.data.mask_values import survey
from kdengine.data.pictures import CEILING, KEPT_PIXELS, read_picture
from kdengine.errors import KDError

pytestmark = pytest.mark.filterwarnings("ignore")
RESET = Path("/proc/self/clear_refs")
SIZES = (0, 1, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)
"""What a hostile header declares."""


def drawn(mode):
    generator = np.random.default_rng(3)
    image = Image.fromarray(generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)).convert("RGBA")
    image.putalpha(Image.fromarray(generator.integers(0, 256, (20, 24), dtype=np.uint8)))
    if mode == "I;16":
        return Image.fromarray(generator.integers(0, 65_536, (20, 24), dtype=np.uint16))
    if mode == "class numbers":
        return Image.fromarray(generator.integers(0, 4, (20, 24), dtype=np.uint8))
    return image.convert(mode) if mode in ("RGBA", "LA") else image.convert("RGB").convert(mode)


def seed(mode, form, **options):
    exif = Image.Exif()
    exif[0x0112] = 6
    if form in ("JPEG", "WEBP", "PNG", "TIFF"):
        options["exif"] = exif
    buffer = BytesIO()
    drawn(mode).save(buffer, form, **options)
    return buffer.getvalue()


def animated(form):
    buffer = BytesIO()
    drawn("RGB").save(buffer, form, save_all=True, append_images=[drawn("L").convert("RGB")], duration=50)
    return buffer.getvalue()


SEEDS = [
    *(seed(mode, "PNG") for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "I;16", "class numbers")),
    *(seed(mode, "JPEG", progressive=progressive) for mode in ("L", "RGB", "CMYK") for progressive in (False, True)),
    *(seed(mode, "WEBP", lossless=lossless) for mode in ("RGB", "RGBA") for lossless in (False, True)),
    *(seed(mode, "BMP") for mode in ("1", "L", "P", "RGB", "class numbers")),
    *(seed(mode, "GIF") for mode in ("L", "P")),
    *(seed(mode, "TIFF", compression=packed) for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16")
      for packed in (None, "tiff_lzw", "jpeg") if packed != "jpeg" or mode in ("L", "RGB")),
    *(animated(form) for form in ("PNG", "GIF", "WEBP")),
]


def png_chunks(data):
    """The chunks of a PNG, each with its length and checksum."""
    chunks, at = [], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        chunks.append(data[at:end])
        at = end
    return chunks


def flipped(data, generator):
    """Some bytes changed, most of them in the head."""
    damaged = bytearray(data)
    reach = len(data) if generator.random() < 0.5 else min(len(data), 120)
    for at in generator.integers(0, reach, generator.integers(1, 8)):
        damaged[at] = generator.integers(0, 256)
    return bytes(damaged)


def cut(data, generator):
    return data[: generator.integers(0, len(data))]


def spliced(data, generator):
    """A part taken out, doubled, or moved elsewhere."""
    start, end, to = sorted(generator.integers(0, len(data), 3))
    part = data[start:end]
    return (data[:start] + data[end:], data[:end] + part + data[end:], data[:start] + data[end:to] + part + data[to:])[
        generator.integers(3)]


def swapped(data, generator):
    """Chunks of a PNG in another order, some of them with other content, all checksums right; else as spliced."""
    if data[:4] != b"\x89PNG":
        return spliced(data, generator)
    chunks = png_chunks(data)
    one, other = generator.integers(0, len(chunks), 2)
    chunks[one], chunks[other] = chunks[other], chunks[one]
    at = generator.integers(len(chunks))
    content = flipped(chunks[at][8:-4] or b"\0", generator)
    body = chunks[at][4:8] + content
    chunks[at] = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    return data[:8] + b"".join(chunks)


def oversized(data, generator):
    """A number in the head replaced by a hostile one; in a PNG its width or height, checksum and all."""
    size = SIZES[generator.integers(len(SIZES))]
    if data[:4] == b"\x89PNG":
        head = bytearray(data[12:29])
        at = 4 + 4 * generator.integers(2)
        head[at : at + 4] = struct.pack(">I", size)
        return data[:12] + bytes(head) + struct.pack(">I", zlib.crc32(head)) + data[33:]
    wide = generator.integers(2)
    at = generator.integers(2, min(len(data) - 4, 400))
    order = "<>"[generator.integers(2)]
    number = struct.pack(f"{order}I", size) if wide else struct.pack(f"{order}H", size & 0xFFFF)
    return data[:at] + number + data[at + len(number):]


MUTATIONS = (flipped, cut, spliced, swapped, oversized)


def mutated(number):
    """The damaged picture of that number, always the same."""
    generator = np.random.default_rng(number)
    data = SEEDS[number % len(SEEDS)]
    for _ in range(generator.integers(1, 3)):
        data = MUTATIONS[generator.integers(len(MUTATIONS))](data, generator) if len(data) > 40 else data
    return data


def memory(what):
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith(what))


def read_all(numbers, read):
    """How many of these damaged pictures were read, and how many refused; nothing else happens, in bounded memory."""
    if RESET.exists():
        RESET.write_text("5")
        rest = memory("VmRSS")
    good, refused = 0, 0
    for number in numbers:
        try:
            read(mutated(number))
            good += 1
        except KDError as error:
            assert str(error)
            refused += 1
        except Exception as error:
            pytest.fail(f"damaged picture {number}: {error!r}")
    if RESET.exists():
        assert memory("VmHWM") - rest < CEILING
    return good, refused


def as_picture(data):
    picture = read_picture(data)
    assert picture.mode == "RGB"
    assert 0 < picture.width * picture.height <= KEPT_PIXELS


@pytest.fixture
def as_mask(tmp_path):
    path = tmp_path / "mask"

    def read(data):
        path.write_bytes(data)
        assert survey({"train": [path]}, by_color=False).pixels.total() > 0

    return read


def test_the_undamaged_ones_are_read():
    for data in SEEDS:
        as_picture(data)


def test_damaged_pictures_give_a_picture_or_a_sentence():
    good, refused = read_all(range(600), as_picture)
    assert good > 50
    assert refused > 200


def test_damaged_masks_give_a_mask_or_a_sentence(as_mask):
    good, refused = read_all(range(1000, 1400), as_mask)
    assert good > 20
    assert refused > 150


@pytest.mark.slow
def test_ten_thousand_damaged_pictures_give_a_picture_or_a_sentence():
    read_all(range(10_000, 20_000), as_picture)


@pytest.mark.slow
def test_ten_thousand_damaged_masks_give_a_mask_or_a_sentence(as_mask):
    read_all(range(20_000, 30_000), as_mask)
