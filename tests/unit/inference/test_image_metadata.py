"""What is in an image's metadata does not decide whether its pixels can be read; what costs too much is refused."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tidemark.inference.bundle import InputSpec
from tidemark.inference.image_metadata import without_metadata
from tidemark.inference.images import NotAnImage, TooManyPixels, decode
from tidemark.inference.predictor import PIXELS_PER_TURN

SPEC = InputSpec(name="i", size=(24, 32), mode="RGB")
MANY = 25_000_000
PICTURE = Image.fromarray(
    np.clip(np.add.outer(np.arange(24) * 6, np.arange(32) * 3)[..., None] + [0, 10, 40], 0, 255).astype(np.uint8)
)


def encoded(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    PICTURE.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes, crc: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_with(extra: bytes, before_pixels: bool = True) -> bytes:
    data = encoded("PNG")
    at = data.index(b"IDAT") - 4 if before_pixels else data.index(b"IEND") - 4
    return data[:at] + extra + data[at:]


def jpeg_with(segment: bytes) -> bytes:
    data = encoded("JPEG", quality=95)
    return data[:2] + segment + data[2:]


LONG = b"k\0\0" + zlib.compress(bytes(3_000_000))
EXIF_SIX = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + struct.pack("<HHII", 0x0112, 3, 1, 6)
BROKEN: dict[str, bytes] = {
    "a long compressed text before the pixels": png_with(chunk(b"zTXt", LONG)),
    "a long compressed text behind the pixels": png_with(chunk(b"zTXt", LONG), before_pixels=False),
    "a long colour profile": png_with(chunk(b"iCCP", LONG)),
    "garbage for EXIF in PNG": png_with(chunk(b"eXIf", b"garbage!")),
    "a truncated pHYs": png_with(chunk(b"pHYs", b"\0\0")),
    "a wrong checksum of a text": png_with(chunk(b"tEXt", b"a\0b", crc=1)),
    "garbage for EXIF in WebP": encoded("WEBP", lossless=True, exif=b"garbage!"),
    "garbage for EXIF in JPEG": encoded("JPEG", quality=95, exif=b"Exif\0\0garbage!"),
    "a short JFIF": jpeg_with(b"\xff\xe0\0\x04JF"),
    "a short Adobe": jpeg_with(b"\xff\xee\0\x08Adobe\0"),
    "a line break before the JPEG": b"\r\n" + encoded("JPEG", quality=95),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_an_image_with_broken_metadata_is_read(kind: str) -> None:
    decoded = decode(BROKEN[kind], SPEC, MANY)
    assert np.abs(decoded.pixels.astype(int) - np.asarray(PICTURE)).max() <= 8


def test_line_breaks_before_an_image_are_left_out_up_to_a_bound() -> None:
    data = encoded("JPEG", quality=95)
    assert without_metadata(b"\n" * 16 + data) == without_metadata(data)
    assert without_metadata(b"\n" * 17 + data) is None


def test_orientation_is_applied_next_to_a_tag_that_cannot_be_written_again() -> None:
    signed = struct.pack("<HHIi", 0x011A, 4, 1, -5)
    exif = b"Exif\0\0" + EXIF_SIX + signed + struct.pack("<I", 0)
    decoded = decode(encoded("JPEG", quality=95, exif=exif), SPEC.model_copy(update={"size": (32, 24)}), MANY)
    assert (decoded.width, decoded.height) == (24, 32)
    upright = np.asarray(PICTURE.transpose(Image.Transpose.ROTATE_270))
    assert np.abs(decoded.pixels.astype(int) - upright).max() <= 8


def test_orientation_is_preserved_when_other_metadata_is_omitted() -> None:
    exif = EXIF_SIX[:8] + struct.pack("<H", 1) + struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<I", 0)
    data = png_with(chunk(b"eXIf", exif) + chunk(b"zTXt", LONG))
    assert (decode(data, SPEC, MANY).width, decode(data, SPEC, MANY).height) == (24, 32)


def test_a_truncated_png_stays_refused() -> None:
    data = png_with(chunk(b"zTXt", LONG))
    with pytest.raises(NotAnImage, match="broken image"):
        decode(data[: data.index(b"IDAT") + 20], SPEC, MANY)


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = encoded("JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    return data[:last] + scan * count + data[-2:]


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded() -> None:
    assert decode(with_scans(40), SPEC, MANY).width == 32
    with pytest.raises(NotAnImage, match="a JPEG of 5009 scans, at most 100 are accepted"):
        decode(with_scans(5000), SPEC, MANY)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"<svg xmlns=", "SVG"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_a_foreign_format_is_named(start: bytes, name: str) -> None:
    with pytest.raises(NotAnImage, match=rf"{name} is not accepted \(JPEG, PNG"):
        decode(start + bytes(100), SPEC, MANY)


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "TIFF", "AVIF", "WEBP"])
@pytest.mark.parametrize("kept", [0.5, 0.05])
def test_a_file_of_an_accepted_format_that_is_cut_off_is_called_broken(image_format: str, kept: float) -> None:
    data = encoded(image_format)
    with pytest.raises(NotAnImage, match=r"^broken image: .*") as refusal:
        decode(data[: max(16, int(kept * len(data)))], SPEC, MANY)
    assert "is not accepted" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_avif_is_read() -> None:
    pixels = decode(encoded("AVIF", quality=95), SPEC, MANY).pixels
    assert np.abs(pixels.astype(int) - np.asarray(PICTURE)).mean() < 5


def test_the_limit_on_pixels_names_its_setting_and_does_not_change_that_of_pillow() -> None:
    with pytest.raises(TooManyPixels, match=r"32x24 pixels, at most 700 are accepted \(TIDEMARK_MAX_IMAGE_PIXELS\)"):
        decode(encoded("PNG"), SPEC, 700)
    assert Image.MAX_IMAGE_PIXELS == 89_478_485
    assert PIXELS_PER_TURN <= MANY
    assert PngImagePlugin.MAX_TEXT_CHUNK == 1024 * 1024
