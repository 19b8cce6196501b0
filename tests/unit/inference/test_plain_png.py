"""Plain PNG files are decoded to Pillow's pixels; every other file is left to Pillow."""

import io
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tidemark.inference.plain_png import plain_png

LIMIT = 10_000
RNG = np.random.default_rng(0)


def encoded(mode: str = "L", size: tuple[int, int] = (17, 9), **options: Any) -> bytes:
    """Return a smooth image with noise, for which an encoder chooses several kinds of filters."""
    width, height = size
    channels = len(Image.new(mode, (1, 1)).getbands())
    ramp = np.add.outer(np.arange(height), np.arange(width))[..., None] * 5 + RNG.integers(
        0, 9, (height, width, channels)
    )
    buffer = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8).squeeze(axis=2) if channels == 1 else ramp.astype(np.uint8), mode).save(
        buffer, "PNG", **options
    )
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def file_of(pixels: list[bytes], header: bytes) -> bytes:
    """Return a PNG with its pixels in several chunks."""
    parts = [chunk(b"IHDR", header), *(chunk(b"IDAT", part) for part in pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(1, 1), (28, 28), (17, 9), (100, 100)])
@pytest.mark.parametrize("options", [{}, {"compress_level": 0}, {"optimize": True}])
def test_a_plain_png_has_the_pixels_that_pillow_reads(
    mode: str, size: tuple[int, int], options: dict[str, Any]
) -> None:
    data = encoded(mode, size, **options)
    image = plain_png(data, LIMIT)
    assert image is not None
    expected = Image.open(io.BytesIO(data))
    assert (image.mode, image.size) == (expected.mode, expected.size)
    assert image.tobytes() == expected.tobytes()


@pytest.mark.parametrize("filter_kind", range(5))
def test_each_filter_of_the_format_is_undone(filter_kind: int) -> None:
    rows = RNG.integers(0, 256, (6, 7), dtype=np.uint8)
    filtered = zlib.compress(b"".join(bytes([filter_kind]) + row.tobytes() for row in rows))
    data = file_of([filtered], (7).to_bytes(4, "big") + (6).to_bytes(4, "big") + bytes([8, 0, 0, 0, 0]))
    image = plain_png(data, LIMIT)
    assert image is not None
    assert image.tobytes() == Image.open(io.BytesIO(data)).tobytes()


def with_text() -> bytes:
    info = PngInfo()
    info.add_text("Comment", "noon")
    return encoded(pnginfo=info)


def in_two_chunks() -> bytes:
    pixels = zlib.compress(bytes(2 * 4))
    return file_of([pixels[:5], pixels[5:]], (3).to_bytes(4, "big") + (2).to_bytes(4, "big") + bytes([8, 0, 0, 0, 0]))


def interlaced() -> bytes:
    return file_of([zlib.compress(bytes(2))], bytes(3) + b"\x01" + bytes(3) + b"\x01" + bytes([8, 0, 0, 0, 1]))


def four_bits() -> bytes:
    pixels = zlib.compress(bytes(2 * 3))  # two rows of a filter and three values of half a byte
    return file_of([pixels], (3).to_bytes(4, "big") + (2).to_bytes(4, "big") + bytes([4, 0, 0, 0, 0]))


def cut_pixels() -> bytes:
    return file_of(
        [zlib.compress(RNG.bytes(8))[:-9]], (3).to_bytes(4, "big") + (2).to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    )


def wrong_checksum() -> bytes:
    data = bytearray(encoded())
    data[30] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no image",
        encoded()[:-1],
        encoded()[:40],
        encoded(size=(101, 100)),
        encoded("LA"),
        encoded("RGBA"),
        four_bits(),
        encoded(icc_profile=b"profile"),
        encoded(transparency=3),
        with_text(),
        in_two_chunks(),
        interlaced(),
        cut_pixels(),
        wrong_checksum(),
    ],
)
def test_every_other_file_is_decoded_by_pillow(data: bytes) -> None:
    assert plain_png(data, LIMIT) is None
