"""Small images as clients send them."""

import base64
import io

import numpy as np
from PIL import Image


def png(value: int = 7) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def images(count: int) -> dict[str, list[str]]:
    return {"images": [base64.b64encode(png()).decode()] * count}
