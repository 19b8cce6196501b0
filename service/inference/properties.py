"""Image properties: numbers that a person can picture, measured on the pixels that the model sees."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

NAMES = ("brightness", "contrast", "sharpness", "noise", "entropy", "saturation", "width", "height")
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
    m = len(pixels)
    grey = pixels if pixels.ndim == 3 else _grey(pixels)
    unit = grey.astype(np.float32) / np.float32(255)
    laplacian = _laplacian(unit).reshape(m, -1)
    flat = unit.reshape(m, -1)
    columns = (
        flat.mean(axis=1),
        flat.std(axis=1),
        np.log(laplacian.var(axis=1) + FLOOR),
        np.median(np.abs(laplacian), axis=1),
        _entropy(grey),
        _saturation(pixels),
        np.asarray(widths),
        np.asarray(heights),
    )
    return np.stack(columns, axis=1).astype(np.float32)


def _grey(pixels: NDArray[np.uint8]) -> NDArray[Any]:
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
    return pixels.astype(np.float32) @ weights


def _laplacian(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the four-neighbour Laplacian with the borders repeated."""
    padded = np.pad(unit, ((0, 0), (1, 1), (1, 1)), mode="edge")
    neighbours = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return neighbours - 4 * unit


def _entropy(grey: NDArray[Any]) -> NDArray[np.float64]:
    m = len(grey)
    levels = (grey.reshape(m, -1) * (LEVELS / 256)).astype(np.int64)
    counts = np.bincount((levels + LEVELS * np.arange(m)[:, None]).ravel(), minlength=LEVELS * m).reshape(m, LEVELS)
    shares = counts / counts.sum(axis=1, keepdims=True)
    bits: NDArray[np.float64] = -(shares * np.log2(np.maximum(shares, FLOOR))).sum(axis=1)
    return bits


def _saturation(pixels: NDArray[np.uint8]) -> NDArray[Any]:
    if pixels.ndim == 3:
        return np.zeros(len(pixels))
    high = pixels.max(axis=3).astype(np.float32)
    low = pixels.min(axis=3)
    mean: NDArray[Any] = ((high - low) / np.maximum(high, 1)).mean(axis=(1, 2))
    return mean
