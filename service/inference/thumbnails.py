"""Small pictures of the model's input, for the readers of a report."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 64  # pixels, at most
QUALITY = 80  # quality of JPEG: 0.6 kB for a digit of 28 x 28, 1.8 kB for a photograph
MEDIA_TYPE = "image/jpeg"


def thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels (H, W) or (H, W, 3) as a JPEG of at most 64 x 64."""
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=1.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
