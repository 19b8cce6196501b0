"""From the bytes of an image file to the pixels that the model sees."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile

from ..errors import TidemarkError
from .bundle import InputSpec

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
DRAFT_FACTOR = 4  # a JPEG is decoded at reduced scale only down to this multiple of the model's input
ORIENTATION = 0x0112  # EXIF tag

Image.MAX_IMAGE_PIXELS = None  # the limit is checked here, per request, before pixels are decoded
Image.init()  # loads the decoders now and not during the first request


class ImageRefused(TidemarkError):
    """An image that cannot be predicted; `item` is its place in the request."""

    item = 0


class NotAnImage(ImageRefused):
    """Not an image in a known format, or broken."""


class TooManyPixels(ImageRefused):
    """More pixels than are taken."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Pixels as the model sees them, and the size that the image had."""

    pixels: NDArray[np.uint8]  # (H, W) or (H, W, 3)
    width: int
    height: int
    tensor: NDArray[np.float32] | None = None  # what the network reads, where the client prepared it


def decode(data: bytes, spec: InputSpec, max_pixels: int) -> DecodedImage:
    """Decode an image: JPEG, PNG, WebP, BMP, TIFF or the first frame of a GIF.

    EXIF orientation is applied, 16-bit samples are scaled to 8, alpha is composited on white.

    Raises
    ------
    NotAnImage
        Another format, truncated or broken.
    TooManyPixels
        More than `max_pixels` by the header; nothing was decoded.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            _check_pixels(image, max_pixels)
            if image.format in ("JPEG", "MPO"):
                _draft(image, spec)
            image.load()
            orientation = image.getexif().get(ORIENTATION, 1) if image.info or image.format == "TIFF" else 1
            if orientation in (5, 6, 7, 8) and image.format != "TIFF":  # Pillow turns a TIFF by itself
                width, height = height, width
            upright = ImageOps.exif_transpose(image) if orientation != 1 else image
            return DecodedImage(fit(in_mode(upright, spec.mode), spec), width, height)
    except ImageRefused:
        raise
    except UnidentifiedImageError:
        raise NotAnImage(f"not an image in a known format ({', '.join(FORMATS)})") from None
    except Exception as error:  # Pillow's decoders raise whatever their format's parser does
        raise NotAnImage(f"broken image: {error}") from None


def fit(image: Image.Image, spec: InputSpec) -> NDArray[np.uint8]:
    """Bring an image in the model's mode to the model's size: (H, W) or (H, W, 3)."""
    height, width = spec.size
    if image.size == (width, height):
        return _pixels(image)
    resample = Image.Resampling.BILINEAR
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
            raise TooManyPixels(f"{width}x{height} pixels, at most {max_pixels} are taken")


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
