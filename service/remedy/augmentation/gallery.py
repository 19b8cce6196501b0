"""Images side by side as a PNG: the reference, the reference augmented, and the span where the log has thumbnails."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image, ImageDraw, UnidentifiedImageError

SIDE = 64  # pixels of an image, at most
GAP = 4
NAMES = 74  # width of the rows' names


def gallery(rows: Sequence[tuple[str, NDArray[np.uint8]]], thumbnails: Sequence[bytes], path: Path) -> Markup:
    """Write a picture with a row of images for each name, and return it as an <img> element.

    Parameters
    ----------
    rows : Sequence[tuple[str, NDArray[uint8]]]
        Names with images (n, H, W) or (n, H, W, 3).
    thumbnails : sequence of bytes
        Encoded images of the span, for a last row; none where the log has none.
    """
    drawn = [(name, [Image.fromarray(image) for image in images]) for name, images in rows]
    if window_images := [image for data in thumbnails if (image := _open(data)) is not None]:
        drawn.append(("span", window_images))
    columns = max(len(images) for _, images in drawn)
    sheet = Image.new("RGB", (NAMES + columns * (SIDE + GAP), len(drawn) * (SIDE + GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (name, images) in enumerate(drawn):
        top = row * (SIDE + GAP)
        pen.text((GAP, top + SIDE // 2 - 5), name, fill="black")
        for column, image in enumerate(images):
            share = SIDE / max(image.size)
            size = max(1, round(image.width * share)), max(1, round(image.height * share))
            sheet.paste(image.convert("RGB").resize(size), (NAMES + column * (SIDE + GAP), top))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    path.write_bytes(file.getvalue())
    description = "Images in rows: " + ", ".join(name for name, _ in drawn)
    return Markup('<img src="data:image/png;base64,{}" alt="{}" width="{}" height="{}">').format(
        base64.b64encode(file.getvalue()).decode(), description, *sheet.size
    )


def _open(data: bytes) -> Image.Image | None:
    try:
        return Image.open(io.BytesIO(data)).convert("RGB")
    except (UnidentifiedImageError, OSError):
        return None
