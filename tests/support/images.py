"""Small images as clients send them."""

import base64
import io

import numpy as np
from PIL import Image


def encoded_png(pixels: np.ndarray) -> bytes:
    """Return an image, grey (h × w) or RGB (h × w × 3), as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def png(value: int = 7) -> bytes:
    """Return a PNG of 8 × 8 pixels of one grey."""
    return encoded_png(np.full((8, 8, 3), value, np.uint8))


def base64_png(pixels: np.ndarray) -> str:
    """Return an image as a request names it in JSON: the base64 text of its PNG file."""
    return base64.b64encode(encoded_png(pixels)).decode()


def large_png() -> bytes:
    """Return an image of 480 kB, which a server decodes in a thread."""
    return encoded_png(np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8))


def images(count: int) -> dict[str, list[str]]:
    """Return the JSON body of a request with so many copies of one image."""
    return {"images": [base64.b64encode(png()).decode()] * count}
