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
FLOOR = 1e-8


def measure(pixels: NDArray[np.uint8], widths: ArrayLike, heights: ArrayLike) -> NDArray[np.float32]:
    """Return the properties of a batch of images, in the order of `NAMES`.

    Parameters
    ----------
    pixels : uint8 (m, H, W) or (m, H, W, 3).
    widths, heights : (m,), the images' original sizes in pixels.

    Returns
    -------
    float32 (m, 8): brightness, the mean in 0..1; contrast, the deviation; sharpness, the log-variance of the
    Laplacian (Pech-Pacheco et al. 2000); noise, the median of its absolute value; entropy of 32 grey levels in bits;
    saturation, the mean of (max - min) / max over the channels; width and height.
    """
    grey, saturation = _grey_and_saturation(pixels)
    counts = _histogram(grey, 256)
    shares = counts / counts.sum(axis=1, keepdims=True)
    levels = np.arange(256) / 255
    brightness = shares @ levels
    contrast = np.sqrt(np.maximum(shares @ levels**2 - brightness**2, 0))
    laplacian = _laplacian(grey)
    mean = laplacian.mean(axis=(1, 2)) / 255
    steps = _histogram(np.abs(laplacian), 4 * 255 + 1)
    variance = steps @ (np.arange(4 * 255 + 1) / 255) ** 2 / steps.sum(axis=1) - mean**2
    columns = (
        brightness,
        contrast,
        np.log(np.maximum(variance, 0) + FLOOR),
        _median(steps) / 255,
        _entropy(shares),
        saturation,
        np.asarray(widths),
        np.asarray(heights),
    )
    return np.stack(columns, axis=1).astype(np.float32)


def _grey_and_saturation(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    if pixels.ndim == 3:
        return pixels, np.zeros(len(pixels))
    red, green, blue = np.ascontiguousarray(pixels.transpose(3, 0, 1, 2))
    mixed = red * np.uint16(77) + green * np.uint16(150) + blue * np.uint16(29) + np.uint16(128)  # ITU-R BT.601, /256
    high = np.maximum(np.maximum(red, green), blue)
    spread = high - np.minimum(np.minimum(red, green), blue)
    saturation = np.divide(spread, np.maximum(high, 1), dtype=np.float32).mean(axis=(1, 2))
    return (mixed >> 8).astype(np.uint8), saturation


def _histogram(values: NDArray[Any], bins: int) -> NDArray[np.int64]:
    """Count the values 0..bins-1 of each image: (m, bins)."""
    m = len(values)
    shifted = values.reshape(m, -1) + bins * np.arange(m)[:, None]
    return np.bincount(shifted.ravel(), minlength=bins * m).reshape(m, bins)


def _laplacian(grey: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return the four-neighbour Laplacian with the borders repeated."""
    laplacian = grey * np.int16(-4)
    laplacian[:, 1:] += grey[:, :-1]
    laplacian[:, :1] += grey[:, :1]
    laplacian[:, :-1] += grey[:, 1:]
    laplacian[:, -1:] += grey[:, -1:]
    laplacian[:, :, 1:] += grey[:, :, :-1]
    laplacian[:, :, :1] += grey[:, :, :1]
    laplacian[:, :, :-1] += grey[:, :, 1:]
    laplacian[:, :, -1:] += grey[:, :, -1:]
    return laplacian


def _median(counts: NDArray[np.int64]) -> NDArray[Any]:
    """Return the median of each image's values from their histogram."""
    total = counts.sum(axis=1, keepdims=True)
    running = counts.cumsum(axis=1)
    low, high = (running > (total - 1) // 2).argmax(axis=1), (running > total // 2).argmax(axis=1)
    middle: NDArray[Any] = (low + high) / 2
    return middle


def _entropy(shares: NDArray[np.float64]) -> NDArray[Any]:
    coarse = shares.reshape(len(shares), LEVELS, -1).sum(axis=2)
    bits: NDArray[Any] = -(coarse * np.log2(np.maximum(coarse, FLOOR))).sum(axis=1)
    return bits
