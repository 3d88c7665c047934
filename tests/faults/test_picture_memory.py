"""What reading a picture takes, at the largest size that is read of each kind, in a process of its own."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import zlib
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from kdengine.data.pictures import CEILING, KEPT_PIXELS, read_picture
from kdengine.errors import KDError

ROOT = Path(__file__).resolve().parent.parent.parent
STATUS = Path("/proc/self/clear_refs")
pytestmark = [
    pytest.mark.skipif(not STATUS.exists(), reason="needs Linux, which says how much memory a process took at most"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

READER = """
import json, os, sys
from pathlib import Path
from kdengine.data.mask_values import survey
from kdengine.data.pictures import read_picture
from kdengine.errors import KDError

def kilobytes(what):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines()
                if line.startswith(what))

def picture(path):
    return read_picture(path).size

def mask(path):
    return len(survey({"train": [path]}, by_color=False).pixels)

small = Path(sys.argv[1])
picture(small), mask(small)  # what is loaded once is not the pictures'
for line in sys.stdin:
    work, path = json.loads(line)
    if not os.fork():  # each in a process as it was before the first
        rest = kilobytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        try:
            answer = {"picture": picture, "mask": mask}[work](Path(path))
        except KDError as error:
            answer = str(error)
        print(json.dumps([(kilobytes("VmHWM") - rest) * 1024, answer]), flush=True)
        os._exit(0)
    os.wait()
"""


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(path, side, *, depth=8, color=3, interlaced=False):
    """An empty PNG written by hand: what Pillow cannot write."""
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    packed = zlib.compressobj(1)
    data = b""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    for left, top, across, down in passes if interlaced else [(0, 0, 1, 1)]:
        row = bytes(1 + -(-bits * len(range(left, side, across)) // 8))
        for _ in range(top, side, down):
            data += packed.compress(row)
    head = struct.pack(">IIBBBBB", side, side, depth, color, 0, 0, interlaced)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"PLTE", bytes(768)) * (color == 3)
                     + chunk(b"IDAT", data + packed.flush()) + chunk(b"IEND", b""))


def saved(path, side, *, mode, form, color=0, **options):
    Image.new(mode, (side, side), color).save(path, form, **options)


def run_length_bmp(path, side):
    """An empty BMP of run lengths: every row is runs of 255 pixels or less, and an end of line."""
    runs = b"".join(bytes((min(255, side - start), 0)) for start in range(0, side, 255)) + b"\0\0"
    body = runs * side + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(body), 0, 0, 256, 0)
    path.write_bytes(b"BM" + struct.pack("<IHHI", 14 + 40 + 1024 + len(body), 0, 0, 14 + 40 + 1024) + head + bytes(1024)
                     + body)


def animated(path, side, *, mode, form):
    first = Image.new(mode, (side, side))
    first.save(path, form, save_all=True, append_images=[Image.new(mode, (side, side), 1)],
               **({"disposal": 2} if form == "GIF" else {}))


def scans_apart(path, side):
    """A JPEG whose colours come one after the other though it is not progressive: only its first scan is there."""
    saved(path, side, mode="RGB", form="JPEG", subsampling=0)
    data = path.read_bytes()
    at = data.index(b"\xff\xda")
    path.write_bytes(data[:at] + b"\xff\xda\0\x08\x01" + data[at + 5:at + 7] + b"\0\x3f\0"
                     + data[at + 14:])


def huge_tile(path):
    """A TIFF of 16 x 16 pixels whose one tile has 20,000 x 20,000, written by hand: Pillow would cut it down."""
    packed = zlib.compress(bytes(400_000_000), 1)
    tags = [(256, 4, 16), (257, 4, 16), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1), (322, 4, 20_000),
            (323, 4, 20_000), (324, 4, 200), (325, 4, len(packed))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, value)
                                                        for tag, kind, value in tags) + bytes(4)
    path.write_bytes((b"II*\0" + struct.pack("<I", 8) + directory).ljust(200, b"\0") + packed)


QUICK = {
    "palette PNG": (8000, partial(saved, mode="P", form="PNG", compress_level=1)),
    "RGBA PNG": (5215, partial(saved, mode="RGBA", form="PNG", compress_level=1)),
    "JPEG": (8000, partial(saved, mode="RGB", form="JPEG")),
    "progressive JPEG": (5830, partial(saved, mode="RGB", form="JPEG", progressive=True)),
    "WebP": (2915, partial(saved, mode="RGBA", form="WEBP", lossless=True, quality=0, method=0)),
}
SLOW = {
    "one-bit PNG": (8000, partial(saved, mode="1", form="PNG")),
    "grey PNG": (8000, partial(saved, mode="L", form="PNG")),
    "grey PNG of 16 bits": (6733, partial(saved, mode="I;16", form="PNG")),
    "grey PNG with alpha": (5215, partial(saved, mode="LA", form="PNG")),
    "RGB PNG": (5215, partial(saved, mode="RGB", form="PNG")),
    "RGB PNG at the kept size": (4000, partial(saved, mode="RGB", form="PNG")),
    "RGBA PNG at the kept size": (4000, partial(saved, mode="RGBA", form="PNG")),
    "RGB PNG of 16 bits": (5215, partial(png, depth=16, color=2)),
    "interlaced palette PNG": (8000, partial(png, interlaced=True)),
    "interlaced RGBA PNG": (5215, partial(png, color=6, interlaced=True)),
    "animated grey PNG": (6733, partial(animated, mode="L", form="PNG")),
    "grey JPEG": (8000, partial(saved, mode="L", form="JPEG")),
    "CMYK JPEG": (8000, partial(saved, mode="CMYK", form="JPEG")),
    "progressive grey JPEG": (7770, partial(saved, mode="L", form="JPEG", progressive=True)),
    "progressive JPEG, all colours": (4407, partial(saved, mode="RGB", form="JPEG", progressive=True, subsampling=0)),
    "progressive CMYK JPEG": (3887, partial(saved, mode="CMYK", form="JPEG", progressive=True)),
    "JPEG of one scan a colour": (4407, scans_apart),
    "lossy WebP": (2915, partial(saved, mode="RGB", form="WEBP", method=0)),
    "grey GIF": (6733, partial(saved, mode="L", form="GIF")),
    "palette GIF": (6733, partial(saved, mode="P", form="GIF")),
    "animated GIF": (6733, partial(animated, mode="P", form="GIF")),
    "grey BMP": (8000, partial(saved, mode="L", form="BMP")),
    "RGB BMP": (5215, partial(saved, mode="RGB", form="BMP")),
    "BMP of run lengths": (5830, run_length_bmp),
    "grey TIFF": (8000, partial(saved, mode="L", form="TIFF")),
    "grey TIFF in strips": (8000, partial(saved, mode="L", form="TIFF", compression="tiff_lzw")),
    "grey TIFF in one piece": (8000, partial(saved, mode="L", form="TIFF", compression="tiff_adobe_deflate",
                                             tiffinfo={278: 8000})),
    "RGB TIFF": (5215, partial(saved, mode="RGB", form="TIFF")),
    "RGB TIFF in strips": (5215, partial(saved, mode="RGB", form="TIFF", compression="tiff_lzw")),
    "RGB TIFF in one piece": (4123, partial(saved, mode="RGB", form="TIFF", compression="tiff_adobe_deflate",
                                            tiffinfo={278: 5000})),
    "turned RGB TIFF": (4123, partial(saved, mode="RGB", form="TIFF", compression="tiff_lzw", tiffinfo={274: 6})),
    "CMYK TIFF in one piece": (4123, partial(saved, mode="CMYK", form="TIFF", compression="tiff_adobe_deflate",
                                             tiffinfo={278: 5000})),
    "grey TIFF of 16 bits": (5830, partial(saved, mode="I;16", form="TIFF", compression="tiff_adobe_deflate",
                                           tiffinfo={278: 8000})),
    "grey TIFF of 32 bits": (5215, partial(saved, mode="I", form="TIFF")),
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Reads a file in a fresh process: the bytes it took at most, and the answer."""
    small = tmp_path_factory.mktemp("small") / "small.png"
    Image.new("L", (8, 8)).save(small)
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", READER, small], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        def ask(work, path):
            child.stdin.write(json.dumps([work, str(path)]) + "\n")
            child.stdin.flush()
            return json.loads(child.stdout.readline())

        yield ask
        child.stdin.close()


def check(reader, tmp_path, side, write):
    """The picture of this side is read, within the ceiling."""
    path = tmp_path / "picture"
    write(path, side)
    taken, size = reader("picture", path)
    assert isinstance(size, list), size
    assert math.prod(size) <= KEPT_PIXELS
    assert taken < CEILING
    return taken


@pytest.mark.parametrize("kind", QUICK)
def test_the_largest_pictures_take_bounded_memory(reader, tmp_path, kind):
    side, write = QUICK[kind]
    assert check(reader, tmp_path, side, write) > side * side  # the measure sees the picture at all


@pytest.mark.slow
@pytest.mark.parametrize("kind", SLOW)
def test_the_largest_pictures_of_every_kind_take_bounded_memory(reader, tmp_path, kind):
    check(reader, tmp_path, *SLOW[kind])


@pytest.mark.parametrize(("kind", "side", "told"), [
    ("RGBA PNG", 5300, "up to 27 megapixels of a PNG of mode RGBA"),
    ("progressive JPEG", 5930, "up to 34 megapixels of a JPEG of mode RGB"),
    ("WebP", 3000, "up to 8 megapixels of a WEBP of mode RGBA"),
])
def test_what_would_take_more_is_refused_with_the_limit_of_its_kind(tmp_path, kind, side, told):
    QUICK[kind][1](tmp_path / "picture", side)
    with pytest.raises(KDError, match=rf"it declares {side:,} x {side:,} pixels; allowed are {told}\. Make it smaller"):
        read_picture(tmp_path / "picture")


MASKS = {
    "palette PNG": (8000, partial(saved, mode="P", form="PNG", compress_level=1)),
    "one-bit PNG": (8000, partial(saved, mode="1", form="PNG")),
    "grey PNG of 16 bits": (6700, partial(saved, mode="I;16", form="PNG")),
    "RGBA PNG": (5215, partial(saved, mode="RGBA", form="PNG", color=(255, 0, 0, 255))),
    "grey JPEG": (8000, partial(saved, mode="L", form="JPEG")),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MASKS)
def test_the_largest_masks_take_bounded_memory(reader, tmp_path, kind):
    side, write = MASKS[kind]
    path = tmp_path / "mask"
    write(path, side)
    taken, values = reader("mask", path)
    assert values == 1
    assert taken < CEILING


def test_texts_in_a_png_are_bounded_too(reader, tmp_path):
    """64 notes of a megabyte each, a few kilobytes in the file."""
    path = tmp_path / "notes.png"
    png(path, 8)
    data = path.read_bytes()
    notes = b"".join(chunk(b"zTXt", b"note%d\0\0" % each + zlib.compress(b"x" * 1_000_000)) for each in range(64))
    path.write_bytes(data[:33] + notes + data[33:])
    taken, told = reader("picture", path)
    assert taken < 20_000_000
    assert "damaged" in told


def test_a_tile_larger_than_its_picture_is_refused(reader, tmp_path):
    path = tmp_path / "tile.tif"
    huge_tile(path)
    taken, told = reader("picture", path)
    assert taken < 20_000_000
    assert "too large" in told
