"""Image properties: numbers that a person can picture, measured on the pixels that the model sees."""

from typing import Any

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
    counts = _histogram(grey)
    shares = counts / grey[0].size
    brightness, power = (shares @ MOMENTS).T
    laplacian = _laplacian(grey)
    measured = np.empty((len(pixels), len(NAMES)), np.float32)
    measured[:, 0] = brightness
    measured[:, 1] = np.sqrt(np.maximum(power - brightness**2, 0))
    measured[:, 2] = np.log(np.maximum(_variance(laplacian), 0) + FLOOR)
    measured[:, 3] = _median(np.abs(laplacian, out=laplacian)) / (GREYS - 1)
    measured[:, 4] = _entropy(shares)
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
    """Return the four-neighbour Laplacian (m, H·W) of greys between 0 and 255, with the borders repeated."""
    m, height, width = grey.shape
    framed = np.empty((m, height + 2, width + 2), np.int16)
    inner = framed[:, 1:-1, 1:-1]
    inner[:] = grey
    framed[:, 0], framed[:, -1] = framed[:, 1], framed[:, -2]
    framed[:, :, 0], framed[:, :, -1] = framed[:, :, 1], framed[:, :, -2]
    laplacian = framed[:, :-2, 1:-1] + framed[:, 2:, 1:-1]
    laplacian += framed[:, 1:-1, :-2]
    laplacian += framed[:, 1:-1, 2:]
    laplacian -= 4 * inner
    return laplacian.reshape(m, -1)


def _variance(laplacian: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return the variance of each row (m, n) in units of greys between 0 and 1."""
    scaled = np.multiply(laplacian, np.float32(1 / (GREYS - 1)), dtype=np.float32)
    n = scaled.shape[1]
    means = np.add.reduce(scaled, axis=1) / n
    variance: NDArray[np.float32] = np.add.reduce(np.square(scaled, out=scaled), axis=1) / n - np.square(means)
    return variance


def _median(values: NDArray[np.int16]) -> NDArray[np.floating]:
    """Return the median of each row (m, n) from one partition; integers partition in half the time of floats."""
    n = values.shape[1]
    parted = np.partition(values, n // 2, axis=1)
    upper: NDArray[np.int16] = parted[:, n // 2]
    return upper.astype(np.float32) if n % 2 else (parted[:, : n // 2].max(axis=1) + upper) / np.float32(2)


def _entropy(shares: NDArray[np.float64]) -> NDArray[Any]:
    coarse = shares.reshape(len(shares), LEVELS, -1).sum(axis=2)
    bits: NDArray[Any] = -(coarse * np.log2(np.maximum(coarse, FLOOR))).sum(axis=1)
    return bits
