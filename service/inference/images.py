"""From the bytes of an image file to the pixels that the model sees."""

import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError, features
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile

from ..errors import TidemarkError
from . import heif
from .bundle import InputSpec
from .colour_profile import in_srgb
from .image_metadata import PNG_SIGNATURE, apparent_format, scans, without_metadata
from .plain_png import plain_png
from .preprocessing import Floats

FORMATS = (
    *("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"),
    *(["AVIF"] if features.check("avif") else []),
    *(["HEIF"] if heif.register() else []),
)
DRAFT_FACTOR = 4  # a JPEG is decoded at reduced scale only down to this multiple of the model's input
MAX_JPEG_SCANS = 100  # scans of a JPEG; each takes 2 ms at 25 million pixels and 42 bytes, usual files have up to 12
ORIENTATION = 0x0112  # tag number in EXIF
TURNS = {  # EXIF orientation: the operation that brings the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Image.init()  # loads the decoders now and not during the first request


class ImageRefused(TidemarkError):
    """An image that cannot be predicted; `item` is its place in the request."""

    item = 0


class NotAnImage(ImageRefused):
    """Not an image in a known format, or broken."""


class TooManyPixels(ImageRefused):
    """More pixels than are accepted."""


class DecodedImage(NamedTuple):
    """Pixels as the model sees them, and the size that the image had."""

    pixels: NDArray[np.uint8]  # (H, W) or (H, W, 3)
    width: int
    height: int
    tensor: Floats | None = None  # the network's input if the client prepared it


def allow_pixels(max_pixels: int) -> None:
    """Raise Pillow's own limit, which holds for the whole process, to a larger limit of this installation."""
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels


def decode(data: bytes, spec: InputSpec, max_pixels: int) -> DecodedImage:
    """Decode an image: JPEG, PNG, WebP, BMP, TIFF, AVIF, HEIC where its decoder is installed, or a GIF's first frame.

    EXIF orientation is applied, colours with an ICC profile are brought to sRGB, 16-bit samples are scaled to 8, alpha
    is composited on white. An image whose pixels can be decoded is accepted, whatever is in its metadata.

    Raises
    ------
    NotAnImage
        Another format, truncated or broken, or a JPEG of more than 100 scans.
    TooManyPixels
        More than `max_pixels` by the header; nothing was decoded.
    """
    plain = plain_png(data, max_pixels)
    if plain is not None:
        return DecodedImage(fit(in_mode(plain, spec.pixel_mode), spec), plain.width, plain.height)
    # An error in a local variable would keep this frame alive, and the image with it, until the garbage collector runs.
    try:
        return _decode(data, spec, max_pixels)
    except ImageRefused:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their format's parser does
        stripped = without_metadata(data)
        if stripped is None:
            raise _refusal(error, data) from error
    try:
        return _decode(stripped, spec, max_pixels)
    except ImageRefused:
        raise
    except Exception as error:
        raise _refusal(error, data) from error


def _refusal(problem: Exception, data: bytes) -> NotAnImage:
    if not isinstance(problem, UnidentifiedImageError):
        return NotAnImage(f"broken image: {' '.join(str(problem).split())}")
    kind = apparent_format(data)
    if kind in FORMATS or (kind == "HEIC" and "HEIF" in FORMATS):
        return NotAnImage(f"broken image: {kind} that cannot be read")
    if kind in ("HEIC", "HEIF"):
        return NotAnImage(f"{kind} is not accepted without the extra `heif` ({', '.join(FORMATS)})")
    reason = f"{kind} is not accepted" if kind else "not an image in a known format"
    return NotAnImage(f"{reason} ({', '.join(FORMATS)})")


def _decode(data: bytes, spec: InputSpec, max_pixels: int) -> DecodedImage:
    try:
        image = _open(data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        size = str(error).partition(" exceeds")[0]
        raise TooManyPixels(f"{size}, at most {max_pixels} are accepted (TIDEMARK_MAX_IMAGE_PIXELS)") from None
    with image:
        width, height = image.size
        _check_pixels(image, max_pixels)
        if image.format in ("JPEG", "MPO"):
            if scans(data) > MAX_JPEG_SCANS:
                raise NotAnImage(f"a JPEG of {scans(data)} scans, at most {MAX_JPEG_SCANS} are accepted")
            _draft(image, spec)
        image.load()
        orientation = _orientation(image)
        if orientation in (5, 6, 7, 8) and image.format != "TIFF":  # Pillow turns a TIFF by itself
            width, height = height, width
        upright = image.transpose(TURNS[orientation]) if orientation in TURNS else image
        return DecodedImage(fit(in_mode(in_srgb(upright), spec.pixel_mode), spec), width, height)


def _open(data: bytes) -> Image.Image:
    """Return an image whose pixels are not read yet."""
    if data.startswith(PNG_SIGNATURE):
        try:
            return PngImageFile(io.BytesIO(data))  # what `Image.open` returns, in two thirds of its time
        except SyntaxError:
            pass  # `Image.open` says what is wrong.
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1, upright, where it cannot be read."""
    if not image.info and image.format != "TIFF":
        return 1
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # the tags of broken EXIF data raise many kinds
        return 1


def fit(image: Image.Image, spec: InputSpec) -> NDArray[np.uint8]:
    """Bring an image in the model's mode to the model's size: (H, W) or (H, W, 3)."""
    height, width = spec.size
    if spec.resize != "pad" and spec.crop < 1:
        return _pixels(_centre(image, spec))
    if image.size == (width, height):
        return _pixels(image)
    resample = Image.Resampling[spec.interpolation.upper()]
    if spec.resize == "squash":
        fitted = image.resize((width, height), resample)
    elif spec.resize == "crop":
        fitted = ImageOps.fit(image, (width, height), resample)
    else:
        fitted = Image.new(image.mode, (width, height))
        ratio = min(width / image.width, height / image.height)
        inner = max(1, round(image.width * ratio)), max(1, round(image.height * ratio))
        fitted.paste(image.resize(inner, resample), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return _pixels(fitted)


def _centre(image: Image.Image, spec: InputSpec) -> Image.Image:
    """Scale an image to more than the model's size and cut out its centre, pixel for pixel as torchvision does."""
    (height, width), room = spec.size, 1e-6
    scaled = int(width / spec.crop + room), int(height / spec.crop + room)
    if spec.resize == "crop":
        ratio = max(scaled[0] / image.width, scaled[1] / image.height)
        scaled = max(width, int(image.width * ratio + room)), max(height, int(image.height * ratio + room))
    resized = image.resize(scaled, Image.Resampling[spec.interpolation.upper()])
    left, top = round((scaled[0] - width) / 2), round((scaled[1] - height) / 2)
    return resized.crop((left, top, left + width, top + height))


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert an image to L or RGB: deep samples scaled, transparency composited on white."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bit(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return an image in mode L or RGB as an array; `np.asarray` does the same and takes half as long again."""
    channels = () if image.mode == "L" else (3,)
    return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, *channels)


def _check_pixels(image: Image.Image, max_pixels: int) -> None:
    sizes = [image.size]
    if isinstance(image, TiffImageFile):  # its decoder makes room for a whole tile, however small the image
        tags = image.tag_v2
        sizes.append((tags.get(TILEWIDTH, 0), tags.get(TILELENGTH, 0)))
    for width, height in sizes:
        if width * height > max_pixels:
            raise TooManyPixels(
                f"{width}x{height} pixels, at most {max_pixels} are accepted (TIDEMARK_MAX_IMAGE_PIXELS)"
            )


def _draft(image: Image.Image, spec: InputSpec) -> None:
    """Let the JPEG decoder leave out resolution that the model does not see."""
    height, width = spec.size
    image.draft(None, (DRAFT_FACTOR * width, DRAFT_FACTOR * height))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale samples of more than 8 bits; Pillow's own conversion would clip them at 255."""
    samples: NDArray[Any] = np.nan_to_num(np.asarray(image))
    if image.mode == "F":
        top = 1.0 if samples.size and samples.max() <= 1 else 255.0
    else:
        top = 65535.0 if image.mode.startswith("I;16") or (samples.size and samples.max() > 255) else 255.0
    return Image.fromarray(np.clip(samples * (255.0 / top) + 0.5, 0, 255).astype(np.uint8))
