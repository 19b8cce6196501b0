"""Image properties: numbers that a person can picture, measured on the pixels that the model sees."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

NAMES = ("brightness", "contrast", "sharpness", "noise", "entropy", "saturation", "width", "height")
UNITS = {
    "brightness": "0 to 1",
    "contrast": "0 to 1",
    "sharpness": "log variance of edges",
    "noise": "0 to 1",
    "entropy": "bits",
    "saturation": "0 to 1",
    "width": "pixels",
    "height": "pixels",
}
LEVELS = 32  # grey levels of the entropy's histogram
FLOOR = 1e-8  # smallest share or variance whose logarithm is taken
GREYS = 256  # values of an 8-bit grey
MOMENTS = (np.arange(GREYS)[:, None] / (GREYS - 1)) ** [1, 2]  # each grey in 0..1, and its square
IN_LEVEL = np.repeat(np.eye(LEVELS), GREYS // LEVELS, axis=0)  # (256, 32), whether a grey is of a level
COUNTED = np.hstack([MOMENTS, IN_LEVEL])  # (256, 34), what is summed over an image's pixels


class ImageArrays(NamedTuple):
    """What the properties of a batch of images are measured on: the arguments of `measure`."""

    pixels: NDArray[np.uint8]  # (m, H, W) or (m, H, W, 3), as the model sees them
    widths: Sequence[int]  # (m,), original sizes in pixels
    heights: Sequence[int]


def measure(pixels: NDArray[np.uint8], widths: ArrayLike, heights: ArrayLike) -> NDArray[np.float32]:
    """Return the properties of a batch of images, in the order of `NAMES`.

    Parameters
    ----------
    pixels : uint8 (m, H, W) or (m, H, W, 3)
    widths, heights : array_like
        (m,), the images' original sizes in pixels.

    Returns
    -------
    float32 (m, 8): brightness, the mean in 0..1; contrast, the deviation; sharpness, the log-variance of the
    Laplacian (Pech-Pacheco et al. 2000); noise, the median of its absolute value; entropy of 32 grey levels in bits;
    saturation, the mean of (max - min) / max over the channels; width and height.
    """
    grey, saturation = _grey_and_saturation(pixels)
    means = _histogram(grey) @ COUNTED / grey[0].size
    brightness, power = means[:, 0], means[:, 1]
    laplacian = _laplacian(grey)
    measured = np.empty((len(pixels), len(NAMES)), np.float32)
    measured[:, 0] = brightness
    measured[:, 1] = np.sqrt(np.maximum(power - brightness * brightness, 0))
    measured[:, 2] = np.log(_variance(laplacian) + FLOOR)
    measured[:, 3] = _median(np.abs(laplacian, out=laplacian)) / (GREYS - 1)
    measured[:, 4] = _entropy(means[:, 2:])
    measured[:, 5] = saturation
    measured[:, 6] = widths
    measured[:, 7] = heights
    return measured


def _grey_and_saturation(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    if pixels.ndim == 3:
        return pixels, np.zeros(len(pixels))
    red, green, blue = np.ascontiguousarray(pixels.transpose(3, 0, 1, 2))
    mixed = red * np.uint16(77) + green * np.uint16(150) + blue * np.uint16(29) + np.uint16(128)  # ITU-R BT.601, /256
    high = np.maximum(np.maximum(red, green), blue)
    spread = high - np.minimum(np.minimum(red, green), blue)
    saturation = np.divide(spread, np.maximum(high, 1), dtype=np.float32).mean(axis=(1, 2))
    return (mixed >> 8).astype(np.uint8), saturation


def _histogram(grey: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the grey values of each image: (m, 256)."""
    m = len(grey)
    if m == 1:
        return np.bincount(grey.ravel(), minlength=GREYS)[None]
    shifted = grey.reshape(m, -1) + GREYS * np.arange(m)[:, None]
    return np.bincount(shifted.ravel(), minlength=GREYS * m).reshape(m, GREYS)


def _laplacian(grey: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return the four-neighbour Laplacian (m, H·W) of greys between 0 and 255, with the borders repeated.

    Each difference of two neighbours is added to the one and taken from the other, so that a border needs no rows of
    its own and each image's sum is 0.
    """
    values = grey.astype(np.int16)
    laplacian = np.zeros(values.shape, np.int16)
    down = values[:, 1:] - values[:, :-1]
    laplacian[:, :-1] += down
    laplacian[:, 1:] -= down
    right = values[:, :, 1:] - values[:, :, :-1]
    laplacian[:, :, :-1] += right
    laplacian[:, :, 1:] -= right
    return laplacian.reshape(len(grey), -1)


def _variance(laplacian: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return the variance of each row (m, n), whose mean is 0, in units of greys between 0 and 1."""
    scaled = np.multiply(laplacian, np.float32(1 / (GREYS - 1)), dtype=np.float32)
    squares: NDArray[np.float32] = np.vecdot(scaled, scaled)
    return squares / np.float32(laplacian.shape[1])


def _median(values: NDArray[np.int16]) -> NDArray[np.floating]:
    """Return the median of each row (m, n) from one partition, which reorders the rows.

    Integers partition in half the time of floats.
    """
    n = values.shape[1]
    values.partition(n // 2, axis=1)
    upper: NDArray[np.int16] = values[:, n // 2]
    return upper.astype(np.float32) if n % 2 else (values[:, : n // 2].max(axis=1) + upper) / np.float32(2)


def _entropy(shares: NDArray[np.float64]) -> NDArray[Any]:
    """Return the entropy in bits of each row (m, levels) of shares."""
    negative: NDArray[Any] = np.vecdot(shares, np.log2(np.maximum(shares, FLOOR)))
    return -negative
