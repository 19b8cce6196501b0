import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tidemark.inference.bundle import InputSpec
from tidemark.inference.images import NotAnImage, TooManyPixels, decode

MANY = 25_000_000


def spec(height: int = 28, width: int = 28, mode: str = "L", resize: str = "squash") -> InputSpec:
    return InputSpec.model_validate({"name": "input", "size": (height, width), "mode": mode, "resize": resize})


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def scene(width: int, height: int) -> Image.Image:
    """A smooth colour picture, different in each corner."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = (255 * x, 255 * y, 127 + 100 * np.sin(6 * x * y))
    return Image.fromarray(np.stack(channels, axis=2).astype(np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    decoded = decode(encoded(Image.fromarray(pixels), kind), spec(), MANY)
    np.testing.assert_array_equal(decoded.pixels, pixels)
    assert (decoded.width, decoded.height) == (28, 28)


@pytest.mark.parametrize(("kind", "options"), [("WEBP", {"lossless": True}), ("JPEG", {"quality": 100})])
def test_webp_and_jpeg_come_out_as_they_went_in(kind: str, options: dict[str, Any]) -> None:
    image = scene(28, 28)
    decoded = decode(encoded(image, kind, **options), spec(mode="RGB"), MANY)
    assert np.abs(decoded.pixels.astype(int) - np.asarray(image)).mean() < 3


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("L", (28, 28), level) for level in (50, 200)]
    decoded = decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), spec(), MANY)
    assert decoded.pixels.mean() == 50


@pytest.mark.parametrize("kind", ["PPM", "ICO", "PCX", "TGA"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(NotAnImage, match="known format"):
        decode(encoded(scene(32, 32), kind), spec(), MANY)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\0"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(NotAnImage):
        decode(data, spec(), MANY)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_a_truncated_image_is_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    with pytest.raises(NotAnImage):
        decode(data[: len(data) // 2], spec(), MANY)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_the_size_is_the_upright_one(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encoded(scene(60, 40), kind, exif=exif), spec(40, 60, "RGB"), MANY)
    turned = orientation >= 5
    assert (decoded.width, decoded.height) == ((40, 60) if turned else (60, 40))
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    assert decoded.pixels[corner[orientation]][:2].max() < 40  # the picture's own top left is dark


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    deep = np.linspace(0, 65535, 28 * 28).reshape(28, 28).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        pixels = decode(encoded(Image.fromarray(deep), kind), spec(), MANY).pixels
        assert np.abs(pixels.astype(float) - deep / 257).max() <= 1


def test_a_dark_sixteen_bit_image_stays_dark() -> None:
    dark = Image.fromarray(np.full((28, 28), 200, np.uint16))
    assert decode(encoded(dark), spec(), MANY).pixels.max() == 1


def test_float_samples_are_scaled_and_nan_is_black() -> None:
    values = np.full((28, 28), 0.5, np.float32)
    values[0] = np.nan
    pixels = decode(encoded(Image.fromarray(values), "TIFF"), spec(), MANY).pixels
    assert pixels[0].max() == 0
    assert pixels[1].tolist() == [128] * 28


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_transparency_is_composited_on_white(mode: str) -> None:
    channels = 1 if mode == "L" else 3
    clear = Image.new("RGBA", (28, 28), (0, 0, 0, 0))
    palette = Image.new("P", (28, 28), 0)
    palette.putpalette([0, 0, 0])
    for data in (encoded(clear), encoded(clear, "WEBP"), encoded(palette, transparency=0)):
        assert decode(data, spec(mode=mode), MANY).pixels.tolist() == (
            np.full((28, 28) if channels == 1 else (28, 28, 3), 255).tolist()
        )


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK", "YCbCr", "I"])
def test_every_mode_becomes_the_model_s(mode: str) -> None:
    image = scene(28, 28).convert("L").convert("I") if mode == "I" else scene(28, 28).convert(mode)
    # Pillow before 13 cannot read its own TIFF of YCbCr without compression.
    data = encoded(image, "TIFF", compression="tiff_lzw") if mode in ("CMYK", "YCbCr", "I") else encoded(image)
    for target in ("L", "RGB"):
        pixels = decode(data, spec(mode=target), MANY).pixels.astype(float)
        expected = np.asarray(scene(28, 28).convert("L").convert(target))
        assert np.abs(pixels.mean() - expected.mean()) < 12


def test_limits_count_before_pixels_are_decoded() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(TooManyPixels, match="60000x60000 pixels, at most 25000000 are accepted"):
        decode(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT", spec(), MANY)


def test_a_small_tiff_of_huge_tiles_is_refused() -> None:
    entries = {256: 10, 257: 10, 258: 8, 259: 8, 262: 1, 277: 1, 322: 20_000, 323: 20_000, 324: 200, 325: 9}
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    data = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + body + bytes(200)
    with pytest.raises(TooManyPixels, match="20000x20000"):
        decode(data, spec(), MANY)


def test_the_limit_itself_is_accepted() -> None:
    data = encoded(scene(50, 40))
    assert decode(data, spec(), 2000).width == 50
    with pytest.raises(TooManyPixels):
        decode(data, spec(), 1999)


@pytest.mark.parametrize(("resize", "middle", "edge"), [("squash", 255, 255), ("crop", 255, 255), ("pad", 255, 0)])
def test_resize_modes(resize: str, middle: int, edge: int) -> None:
    wide = Image.new("L", (200, 50), 255)
    pixels = decode(encoded(wide), spec(28, 28, "L", resize), MANY).pixels
    assert pixels.shape == (28, 28)
    assert pixels[14, 14] == middle
    assert pixels[0, 14] == edge


def test_crop_keeps_the_centre() -> None:
    striped = np.zeros((50, 150), np.uint8)
    striped[:, 50:100] = 255
    pixels = decode(encoded(Image.fromarray(striped)), spec(50, 50, "L", "crop"), MANY).pixels
    assert pixels.mean() > 250


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_extreme_shapes_have_an_answer(resize: str, size: tuple[int, int]) -> None:
    pixels = decode(encoded(Image.new("L", size, 9)), spec(28, 20, "L", resize), MANY).pixels
    assert pixels.shape == (28, 20)
    assert pixels.max() == 9


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_large_jpeg_decoded_at_reduced_scale_has_the_same_content(mode: str) -> None:
    data = encoded(scene(1600, 1200), "JPEG", quality=90)
    decoded = decode(data, spec(28, 28, mode), MANY)
    with Image.open(io.BytesIO(data)) as image:
        full = np.asarray(image.convert(mode).resize((28, 28), Image.Resampling.BILINEAR))
    assert (decoded.width, decoded.height) == (1600, 1200)
    assert np.abs(decoded.pixels.astype(int) - full).max() <= 3


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_mutated_images_are_decoded_or_refused() -> None:
    rng = np.random.default_rng(3)
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        original = np.frombuffer(encoded(scene(32, 24), kind), np.uint8)
        for _ in range(60):
            mutated = original.copy()
            mutated[rng.integers(0, len(mutated), 4)] = rng.integers(0, 256, 4)
            with contextlib.suppress(NotAnImage, TooManyPixels):
                assert decode(mutated.tobytes(), spec(), MANY).pixels.shape == (28, 28)
