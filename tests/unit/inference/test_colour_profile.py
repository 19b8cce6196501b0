"""Images with an ICC profile, and HEIC: the pixels that the model sees."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

from tidemark.inference import colour_profile, images
from tidemark.inference.bundle import InputSpec
from tidemark.inference.colour_profile import in_srgb
from tidemark.inference.images import NotAnImage, TooManyPixels, decode

SPEC = InputSpec(name="input", size=(16, 16), mode="RGB")
RAMP = np.stack(np.broadcast_arrays(*np.ogrid[0:256:16, 0:256:16], 128), axis=-1).astype(np.uint8)


def profile(gamma: float) -> bytes:
    """Return a profile with sRGB's primaries and another tone curve: the description of the profile, `gamma`."""
    profile_of_srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    data = bytearray(profile_of_srgb.tobytes())
    count = int.from_bytes(data[128:132], "big")
    for entry in range(132, 132 + 12 * count, 12):
        name, offset = bytes(data[entry : entry + 4]), int.from_bytes(data[entry + 4 : entry + 8], "big")
        if name in (b"rTRC", b"gTRC", b"bTRC"):  # a parametric curve of the kind Y = X ** gamma
            data[offset : offset + 16] = b"para" + bytes(8) + round(gamma * 65536).to_bytes(4, "big")
        if name == b"desc":
            length = int.from_bytes(data[entry + 8 : entry + 12], "big")
            text = bytes(data[offset : offset + length])
            data[offset : offset + length] = text.replace("sRGB".encode("utf-16-be"), "gamm".encode("utf-16-be"))
    return bytes(data)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def linear(pixels: np.ndarray) -> np.ndarray:
    """Return sRGB's own values of pixels whose values are linear in light (IEC 61966-2-1)."""
    light = pixels / 255
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def test_a_profile_s_colours_are_brought_to_srgb() -> None:
    decoded = decode(encoded(RAMP, icc_profile=profile(1.0)), SPEC, 10**6).pixels
    np.testing.assert_allclose(decoded, linear(RAMP), atol=2)
    assert np.abs(decoded.astype(int) - RAMP).max() > 50


@pytest.mark.parametrize(
    "icc",
    [
        pytest.param(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), id="sRGB"),
        pytest.param(b"nothing of a profile", id="broken"),
        pytest.param(profile(1.0)[:300], id="cut off"),
        pytest.param(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), id="of another colour space"),
        pytest.param(profile(1.0) + bytes(colour_profile.MAX_PROFILE_BYTES), id="too large"),
    ],
)
def test_a_profile_that_changes_nothing_or_cannot_be_used_leaves_the_pixels(icc: bytes) -> None:
    decoded = decode(encoded(RAMP, "TIFF", icc_profile=icc), SPEC, 10**6).pixels
    np.testing.assert_array_equal(decoded, RAMP)


@pytest.mark.parametrize(("mode", "result"), [("RGB", "RGB"), ("RGBA", "RGBA"), ("P", "RGB")])
def test_modes_keep_their_transparency(mode: str, result: str) -> None:
    image = Image.fromarray(RAMP).convert(mode, colors=256)
    image.info["icc_profile"] = profile(1.0)
    converted = in_srgb(image)
    assert converted.mode == result
    tolerance = 12 if mode == "P" else 2
    expected = linear(np.asarray(image.convert("RGB")))
    np.testing.assert_allclose(np.asarray(converted)[..., :3], expected, atol=tolerance)


def test_transforms_are_cached_up_to_a_bound() -> None:
    colour_profile._transform.cache_clear()
    images = [
        encoded(RAMP, icc_profile=profile(1 + number / 10)) for number in range(colour_profile.CACHED_TRANSFORMS + 4)
    ]
    for image in images:
        decode(image, SPEC, 10**6)
    assert colour_profile._transform.cache_info().currsize == colour_profile.CACHED_TRANSFORMS
    decode(images[-1], SPEC, 10**6)  # as it was, for a profile holds the second in which it was made
    assert colour_profile._transform.cache_info().hits == 1


@pytest.fixture
def heic() -> Callable[..., bytes]:
    pytest.importorskip("pillow_heif")
    return lambda pixels, **options: encoded(pixels, "HEIF", quality=95, **options)


def test_heic_is_read_with_the_bounds_of_other_formats(heic: Callable[..., bytes]) -> None:
    data = heic(np.repeat(np.repeat(RAMP, 8, axis=0), 8, axis=1))
    decoded = decode(data, SPEC, 128 * 128)
    assert (decoded.width, decoded.height) == (128, 128)
    np.testing.assert_allclose(decoded.pixels, RAMP, atol=12)
    with pytest.raises(TooManyPixels, match="128x128 pixels, at most 16383"):
        decode(data, SPEC, 128 * 128 - 1)
    for length in (24, 200, len(data) // 2, len(data) - 1):
        with pytest.raises(NotAnImage, match="broken image"):
            decode(data[:length], SPEC, 10**6)


def test_heic_without_its_decoder_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "FORMATS", tuple(name for name in images.FORMATS if name != "HEIF"))
    with pytest.raises(NotAnImage, match="HEIC is not accepted without the extra `heif`"):
        decode(b"\0\0\0\x18ftypheic" + bytes(100), SPEC, 10**6)
