import io

import numpy as np
import pytest
from PIL import Image

from tidemark.inference.thumbnails import thumbnail

ROWS, COLUMNS = np.mgrid[0:224, 0:160]
RAMP = np.stack([ROWS, COLUMNS, 255 - ROWS], axis=2).astype(np.uint8)
MOST = 2500  # bytes


@pytest.mark.parametrize(("pixels", "size", "mode"), [(RAMP, (46, 64), "RGB"), (RAMP[:28, :28, 0], (28, 28), "L")])
def test_a_thumbnail_is_a_small_jpeg_of_what_the_model_saw(
    pixels: np.ndarray, size: tuple[int, int], mode: str
) -> None:
    data = thumbnail(pixels)
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        assert (image.size, image.mode) == (size, mode)
        expected = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX), np.float32)
        assert np.abs(np.asarray(image, np.float32) - expected).mean() < 4


def test_noise_stays_small() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert len(thumbnail(noise)) < MOST
