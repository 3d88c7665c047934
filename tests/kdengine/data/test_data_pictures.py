"""Reading pictures: what every good kind becomes, and the sentence for every bad one."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from kdengine.data import pictures
from kdengine.data.pictures import picture_shape, picture_tensor, read_picture, resized
from kdengine.errors import KDError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image, form="PNG", **options):
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def declared_png(width, height, color=0):
    """A valid PNG header that declares a size and a kind (0 grey, 2 RGB), without the pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    end = b"IDAT" + zlib.compress(b"\0" * 16)
    chunks = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, end))
    return b"\x89PNG\r\n\x1a\n" + chunks


def near(pixel, expected, tolerance):
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, expected, strict=True))


# --- what every good kind becomes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP"])
def test_a_lossless_picture_comes_back_pixel_for_pixel(form):
    image = noise(7, 5)
    options = {"lossless": True} if form == "WEBP" else {}
    read = read_picture(encoded(image, form, **options))
    assert read.mode == "RGB"
    assert np.array_equal(np.array(read), np.array(image))


def test_a_jpeg_comes_back_nearly():
    read = read_picture(encoded(Image.new("RGB", (16, 16), (200, 100, 50)), "JPEG", quality=95))
    assert near(read.getpixel((8, 8)), (200, 100, 50), 3)


def test_a_path_is_read_like_its_bytes(tmp_path):
    path = tmp_path / "a.png"
    noise(6, 4).save(path)
    assert np.array_equal(np.array(read_picture(path)), np.array(read_picture(path.read_bytes())))
    assert picture_shape(path) == (6, 4)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_read(form):
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, GREEN, BLUE)]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=50,
                   **({"lossless": True} if form == "WEBP" else {}))
    assert getattr(Image.open(BytesIO(data)), "n_frames", 1) == 3
    assert read_picture(data).getpixel((4, 4)) == RED


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_are_scaled_not_clipped(form):
    values = np.array([[0, 128, 129, 257, 32_768, 65_535]], dtype=np.uint16)
    read = np.array(read_picture(encoded(Image.fromarray(values), form)))
    expected = np.rint(values / 257).astype(np.uint8)  # 255 / 65535 = 1 / 257
    assert expected.tolist() == [[0, 0, 1, 1, 128, 255]]
    assert np.array_equal(read, np.repeat(expected[..., None], 3, axis=2))


def test_sixteen_bits_of_colour_are_scaled_not_clipped():
    rows = b"\0" + struct.pack(">6H", 0, 32_768, 65_535, 65_535, 0, 16_384)
    chunks = b""
    for chunk in (b"IHDR" + struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), b"IDAT" + zlib.compress(rows), b"IEND"):
        chunks += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    read = read_picture(b"\x89PNG\r\n\x1a\n" + chunks)
    assert near(read.getpixel((0, 0)), (0, 127.5, 255), 0.5)
    assert near(read.getpixel((1, 0)), (255, 0, 64), 0.5)


def test_wide_grey_is_read_where_it_holds_sixteen_bits_and_refused_beyond():
    fits = Image.fromarray(np.array([[0, 65_535]], dtype=np.int32))
    assert np.array(read_picture(encoded(fits, "TIFF")))[..., 0].tolist() == [[0, 255]]
    beyond = Image.fromarray(np.array([[0, 65_536]], dtype=np.int32))
    with pytest.raises(KDError, match=r"scan\.tif holds grey values beyond 16 bits"):
        read_picture(encoded(beyond, "TIFF"), name="scan.tif")


def test_floating_point_values_are_refused():
    image = Image.fromarray(np.array([[0.0, 0.5]], dtype=np.float32))
    with pytest.raises(KDError, match=r"scan\.tif holds floating-point values"):
        read_picture(encoded(image, "TIFF"), name="scan.tif")


def test_cmyk_is_converted():
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    assert near(read_picture(encoded(cyan, "JPEG", quality=95)).getpixel((4, 4)), (0, 255, 255), 3)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [("RGBA", (255, 0, 0, 0), WHITE), ("RGBA", (255, 0, 0, 255), RED), ("RGBA", (255, 0, 0, 51), (255, 204, 204)),
     ("LA", (0, 0), WHITE), ("LA", (0, 255), (0, 0, 0))],
)
def test_alpha_is_composited_on_white(mode, color, expected):
    assert near(read_picture(encoded(Image.new(mode, (3, 3), color))).getpixel((1, 1)), expected, 1)


def test_palette_transparency_is_composited_on_white():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    read = read_picture(encoded(image, transparency=0))
    assert (read.getpixel((0, 0)), read.getpixel((1, 0))) == (WHITE, BLUE)


def test_a_transparent_colour_is_composited_on_white():
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), BLUE)
    read = read_picture(encoded(image, transparency=RED))
    assert (read.getpixel((0, 0)), read.getpixel((1, 0))) == (WHITE, BLUE)


# What the eight EXIF orientations do, from the standard's table: where row 0 and column 0 of the stored picture lie.
UPRIGHT = {
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_a_picture_is_turned_by_its_exif_orientation(orientation, form):
    image = noise(5, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if form == "WEBP" else {}
    read = read_picture(encoded(image, form, exif=exif, **options))
    assert np.array_equal(np.array(read), UPRIGHT[orientation](np.array(image)))


def test_a_jpeg_is_turned_by_its_exif_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (32, 16), BLUE)
    image.paste(RED, (0, 0, 16, 16))
    read = read_picture(encoded(image, "JPEG", exif=exif, quality=95))
    assert read.size == (16, 32)
    assert near(read.getpixel((8, 4)), RED, 8)
    assert near(read.getpixel((8, 28)), BLUE, 8)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "junk", [b"", b"no exif at all", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff"]
)
def test_junk_in_place_of_exif_does_not_cost_the_picture(junk):
    read = read_picture(encoded(Image.new("RGB", (16, 16), GREEN), "JPEG", exif=junk, quality=95))
    assert near(read.getpixel((8, 8)), GREEN, 8)


@pytest.mark.parametrize(("mode", "color", "expected"), [("L", 77, (77,) * 3), ("1", 1, WHITE), ("1", 0, (0, 0, 0))])
def test_grey_and_one_bit_become_three_equal_channels(mode, color, expected):
    assert read_picture(encoded(Image.new(mode, (1, 1), color))).getpixel((0, 0)) == expected


# --- large ones ---------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(monkeypatch):
    """Pictures of more than 10,000 pixels are halved, so that a test need not draw 16 megapixels."""
    monkeypatch.setattr(pictures, "KEPT_PIXELS", 10_000)
    monkeypatch.setattr(pictures, "_BLOCK", 16)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(120, 90), (121, 91)])
def test_a_large_picture_comes_back_halved_each_pixel_the_mean_of_four(kept, mode, size):
    generator = np.random.default_rng(0)
    if mode == "I;16":
        image = Image.fromarray(generator.integers(0, 65_536, size[::-1], dtype=np.uint16))
    else:
        image = noise(*size).convert("RGBA" if mode in ("LA", "RGBA") else "RGB").convert(mode)
        if mode in ("LA", "RGBA"):
            image.putalpha(Image.fromarray(generator.integers(0, 256, size[::-1], dtype=np.uint8)))
    read = read_picture(encoded(image))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "KEPT_PIXELS", 20_000)
        whole = read_picture(encoded(image))
    assert (whole.size, read.size) == (size, (-(-size[0] // 2), -(-size[1] // 2)))
    assert np.array_equal(np.array(read), np.array(whole.reduce(2)))


def test_a_picture_of_the_kept_size_keeps_every_pixel(kept):
    image = noise(100, 100)
    assert np.array_equal(np.array(read_picture(encoded(image))), np.array(image))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_large_jpeg_is_halved_as_it_is_decoded(kept, options):
    ramp = np.add.outer(np.arange(90), np.arange(121)).astype(np.uint8)
    image = Image.fromarray(ramp).convert("RGB")
    read = read_picture(encoded(image, "JPEG", quality=95, **options))
    assert read.size == (61, 45)
    assert np.abs(np.array(read).astype(int) - np.array(image.reduce(2))).max() <= 4


def test_a_large_picture_is_halved_and_then_turned(kept):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (160, 80), BLUE)
    image.paste(RED, (0, 0, 80, 80))
    read = read_picture(encoded(image, exif=exif))
    assert read.size == (40, 80)
    assert (read.getpixel((20, 10)), read.getpixel((20, 70))) == (RED, BLUE)


def test_halving_does_not_move_what_a_network_sees():
    """The real limit: 20 megapixels of waves, as a network of 224 pixels gets them, halved on the way or not."""
    grid = np.mgrid[:4000, :5000].astype(np.float32)
    waves = (127 + 60 * np.sin(grid[0] / 90) + 60 * np.sin(grid[1] / 70)).astype(np.uint8)
    read = read_picture(encoded(Image.fromarray(waves), compress_level=1))
    assert read.size == (2500, 2000)
    seen = picture_tensor(read, 224).int()
    assert (seen - picture_tensor(Image.fromarray(waves).convert("RGB"), 224).int()).abs().max() <= 1


@pytest.mark.parametrize(("size", "alone"), [((1000, 1000), False), ((1001, 1000), True)])
def test_large_pictures_are_read_one_at_a_time(monkeypatch, tmp_path, size, alone):
    held = []
    monkeypatch.setattr(pictures, "_rgb", lambda block, name: held.append(pictures._one_at_a_time.locked()) or block)
    read_picture(encoded(Image.new("RGB", size)))
    assert set(held) == {alone}
    Image.new("L", size).save(tmp_path / "mask.png")
    with pictures.opened_mask(tmp_path / "mask.png"):
        assert pictures._one_at_a_time.locked() == alone
    with pytest.raises(KDError):
        read_picture(encoded(Image.new("RGB", size))[:-200])
    assert not pictures._one_at_a_time.locked()


# --- the sentence for every bad one -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"hello, not a picture", b"\0" * 1000, b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_picture_is_named_with_what_is_readable(data):
    with pytest.raises(KDError, match=r"^photo\.png is not a picture .* Readable are PNG, JPEG"):
        read_picture(data, name="photo.png")


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    for source, name in ((b"", "The picture"), (path, "empty.png")):
        with pytest.raises(KDError, match=rf"{name} is empty: 0 bytes"):
            read_picture(source)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_no_cut_anywhere_gives_anything_but_a_sentence_or_a_picture(form):
    data = encoded(noise(40, 30), form)
    for cut in range(1, len(data), max(1, len(data) // 60)):
        try:
            assert read_picture(data[:cut], name="cut").size == (40, 30)
        except KDError as error:
            assert str(error).startswith("cut is ")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_half_a_file_is_damaged_or_cut_short(form):
    data = encoded(noise(64, 64), form)
    with pytest.raises(KDError, match=r"half is (damaged or cut short|not a picture)"):
        read_picture(data[: len(data) // 2], name="half")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_no_flipped_byte_gives_anything_but_a_sentence_or_a_picture():
    generator = np.random.default_rng(1)
    for form in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"):
        data = bytearray(encoded(noise(24, 24), form))
        for _ in range(60):
            damaged = bytearray(data)
            for place in generator.integers(0, min(len(data), 200), 3):
                damaged[place] = generator.integers(0, 256)
            try:
                assert read_picture(bytes(damaged)).mode == "RGB"
            except KDError:
                continue


@pytest.mark.parametrize(("size", "told"), [((40_000, 40_000), "far more"), ((8_001, 8_000), "8,001 x 8,000 pixels")])
def test_a_declared_size_above_the_limit_is_refused_before_decoding(size, told):
    with pytest.raises(KDError, match=f"poster is too large: it declares {told}.* up to 64 megapixels"):
        read_picture(declared_png(*size), name="poster")


def test_the_limit_itself_is_allowed():
    with pytest.raises(KDError, match="damaged or cut short"):  # and so gets as far as the missing pixels
        read_picture(declared_png(8_000, 8_000))


def test_the_shape_of_a_huge_picture_is_refused_too(tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(declared_png(40_000, 40_000))
    with pytest.raises(KDError, match="too large"):
        picture_shape(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(KDError, match=r"There is no file .*absent\.png"):
        read_picture(tmp_path / "absent.png")
    with pytest.raises(KDError, match="cannot be read: Is a directory"):
        read_picture(tmp_path)


# --- tensors ------------------------------------------------------------------------------------------------------


def test_a_tensor_holds_channels_first():
    image = noise(5, 3)
    tensor = picture_tensor(image)
    assert (tensor.dtype, tensor.shape, tensor.is_contiguous()) == (torch.uint8, (3, 3, 5), True)
    assert torch.equal(tensor, torch.from_numpy(np.array(image)).permute(2, 0, 1))


def test_a_square_of_that_size_already_is_left_alone():
    image = noise(16, 16)
    assert torch.equal(picture_tensor(image, 16), picture_tensor(image))
    batch = picture_tensor(image)[None]
    assert resized(batch, 16) is batch


def test_the_centre_square_is_kept():
    image = Image.new("RGB", (60, 20), RED)
    image.paste(GREEN, (20, 0, 40, 20))
    green = torch.tensor(GREEN, dtype=torch.uint8)[:, None, None]
    assert torch.equal(picture_tensor(image, 20), green.expand(3, 20, 20))
    upright = image.transpose(Image.Transpose.ROTATE_90)
    assert torch.equal(picture_tensor(upright, 20), green.expand(3, 20, 20))


@pytest.mark.parametrize(("width", "height"), [(60, 20), (20, 60), (24, 20), (20, 20)])
def test_cropping_first_is_resizing_first(width, height):
    image = noise(width, height)
    shrunk = image.resize((width // 2, height // 2), Image.Resampling.BILINEAR)
    left, top = (width // 2 - 10) // 2, (height // 2 - 10) // 2
    expected = np.array(shrunk.crop((left, top, left + 10, top + 10))).transpose(2, 0, 1)
    assert np.abs(picture_tensor(image, 10).numpy().astype(int) - expected).max() <= 1


def test_the_shorter_side_decides_the_scale():
    """A ramp of 2 grey values a pixel, 100 wide and 50 high, at 25: the centre 50 columns, 2 columns to a pixel."""
    ramp = np.repeat(np.arange(100, dtype=np.uint8)[None] * 2, 50, axis=0)
    tensor = picture_tensor(Image.fromarray(ramp).convert("RGB"), 25)
    expected = 50 + 4 * np.arange(25) + 1  # the mean of columns 25 + 2k and 26 + 2k, times 2
    assert np.abs(tensor[0, 12].numpy().astype(int)[1:-1] - expected[1:-1]).max() <= 1


def test_shrinking_averages():
    """Antialiased: a checkerboard of single pixels becomes even grey, where picking pixels would leave a pattern."""
    board = ((np.indices((64, 64)).sum(0) % 2) * 255).astype(np.uint8)
    tensor = picture_tensor(Image.fromarray(board).convert("RGB"), 16)[:, 1:-1, 1:-1].int()
    assert (tensor - 128).abs().max() <= 2


def test_the_thinnest_picture_is_no_memory_hog():
    image = Image.new("RGB", (40_000, 1), BLUE)
    assert picture_tensor(image, 64).shape == (3, 64, 64)
    red = torch.tensor(RED, dtype=torch.uint8)[:, None, None]
    assert torch.equal(picture_tensor(Image.new("RGB", (1, 1), RED), 8), red.expand(3, 8, 8))


def test_a_batch_is_resized_like_its_pictures():
    images = [noise(8, 8, seed) for seed in range(3)]
    batch = resized(torch.stack([picture_tensor(image) for image in images]), 20)
    assert torch.equal(batch, torch.stack([picture_tensor(image, 20) for image in images]))
