"""Operations of the sensor and of the file: noise and JPEG quality."""

import io

import numpy as np
from PIL import Image

from .operation import Magnitudes, Operation, Pixels, per_image, to_levels


def noise(pixels: Pixels, magnitudes: Magnitudes, rng: np.random.Generator) -> Pixels:
    """Add normal noise; the magnitude is its deviation where 1 is white."""
    drawn = rng.standard_normal(pixels.shape, dtype=np.float32)
    return to_levels(pixels + 255 * per_image(magnitudes, pixels) * drawn)


def jpeg(pixels: Pixels, magnitudes: Magnitudes, _: np.random.Generator) -> Pixels:
    """Compress as JPEG; the magnitude is the quality."""
    results = []
    for image, quality in zip(pixels, magnitudes, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=round(quality))
        results.append(np.asarray(Image.open(file)))
    return np.stack(results)


NOISE = Operation(
    "noise",
    "deviation in 0..1",
    0,
    (0, 0.6),
    ((0.06,), (0.15,), (0.3,)),
    noise,
    "grain",
    (0.03, 0.07, 0.13, 0.22, 0.35),
)
JPEG = Operation("jpeg", "quality", 100, (3, 100), ((40,), (15,), (5,)), jpeg, "grain", (5, 12, 25, 50))
