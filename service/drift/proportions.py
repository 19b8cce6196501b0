"""Shares of classes: indicator columns and their distance."""

import numpy as np

from .types import Float32Array, FloatArray, IntArray


def total_variation(p: FloatArray, q: FloatArray) -> float:
    """Return half the sum of |p - q|, between 0 and 1."""
    return float(np.abs(p - q).sum() / 2)


def one_hot(labels: IntArray, k: int) -> Float32Array:
    """Return labels (m,) as 0/1 rows (m, k)."""
    rows = np.zeros((len(labels), k), dtype=np.float32)
    rows[np.arange(len(labels)), labels] = 1
    return rows
