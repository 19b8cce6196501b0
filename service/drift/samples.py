"""Predictions as validated arrays: every array that is compared with a reference passes through here."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .types import Float32Array, IntArray

MAX_FITTED_ROWS = 20_000  # rows of a reference that scales, scores and calibrations are fitted to: bounds the memory
FITTED_SEED = 20_000  # seed of their choice; it must not change, because states hold scores that were fitted to them
SUM_TOLERANCE = 0.02  # largest distance of the sum of a row of float16 probabilities from one


@dataclass(frozen=True, eq=False)
class Sample:
    """Predictions that passed validation: float32 arrays with one row a prediction."""

    embeddings: Float32Array  # (m, d)
    probabilities: Float32Array  # (m, k)
    properties: Float32Array | None  # (m, p)

    def __len__(self) -> int:
        return len(self.embeddings)

    def rows(self, index: NDArray[np.generic] | slice) -> "Sample":
        """Return the predictions at `index`."""
        properties = None if self.properties is None else self.properties[index]
        return Sample(self.embeddings[index], self.probabilities[index], properties)


def fitted_rows(n: int) -> IntArray:
    """Return the rows of a reference of n that are fitted to, ascending: all, or 20,000 drawn at random."""
    if n <= MAX_FITTED_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng(FITTED_SEED).choice(n, MAX_FITTED_ROWS, replace=False))


def check_sample(embeddings: ArrayLike, probabilities: ArrayLike, properties: ArrayLike | None) -> Sample:
    """Return predictions as float32 arrays.

    Raises
    ------
    ValueError
        Not numbers, not finite, shapes that do not match each other, rows that are not probability distributions.
    """
    e = check_matrix("embeddings", embeddings)
    p = check_probabilities(probabilities)
    a = None if properties is None else check_matrix("properties", properties)
    for name, other in (("probabilities", p), ("properties", a)):
        if other is not None and len(other) != len(e):
            raise ValueError(f"{name} have {len(other)} rows, embeddings have {len(e)}")
    return Sample(e, p, a)


def check_probabilities(values: ArrayLike) -> Float32Array:
    """Return probabilities (m, k) as float32.

    Raises
    ------
    ValueError
        Not a matrix of finite numbers, fewer than two columns, rows that are not probability distributions.
    """
    p = check_matrix("probabilities", values)
    if p.shape[1] < 2:
        raise ValueError(f"probabilities need at least 2 columns, got {p.shape[1]}")
    if not len(p):
        return p
    lowest, highest = float(p.min()), float(p.max())
    if lowest < -SUM_TOLERANCE or highest > 1 + SUM_TOLERANCE:
        raise ValueError(f"probabilities must lie in 0..1, got {lowest:.4g}..{highest:.4g}")
    largest_error = float(np.abs(p.sum(axis=1) - 1).max())
    if largest_error > SUM_TOLERANCE:
        raise ValueError(f"each row of probabilities must sum to 1, one is off by {largest_error:.4g}")
    return p if lowest >= 0 and highest <= 1 else np.clip(p, 0, 1)


def check_matrix(name: str, values: ArrayLike) -> Float32Array:
    """Return a matrix as contiguous float32; `name` is the argument's name in messages.

    Raises
    ------
    ValueError
        Not numbers, not two dimensions, not finite in float32.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numbers, got {array.dtype}")
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f"{name} must have two dimensions, rows and columns, got shape {array.shape}")
    with np.errstate(over="ignore") if array.dtype.itemsize > 4 else nullcontext():
        matrix = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(matrix).all():
        row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
        raise ValueError(f"{name} hold NaN or infinity (first in row {row})")
    return matrix


def check_labels(values: ArrayLike, n: int, k: int) -> IntArray:
    """Return labels (n,) as int64.

    Raises
    ------
    ValueError
        Another shape, not integers, or outside 0..k-1.
    """
    labels = np.asarray(values)
    if labels.shape != (n,):
        raise ValueError(f"labels must have shape ({n},), got {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, got {labels.dtype}")
    if labels.min() < 0 or labels.max() >= k:
        raise ValueError(f"labels must lie in 0..{k - 1}, got {labels.min()}..{labels.max()}")
    return labels.astype(np.int64)


def check_names(names: Sequence[str] | None, count: int, what: str, prefix: str) -> tuple[str, ...]:
    """Return `count` names; the prefix and a number each where there are none.

    Raises
    ------
    ValueError
        Another number of names.
    """
    if names is None:
        return tuple(f"{prefix}{i}" for i in range(count))
    if len(names) != count:
        raise ValueError(f"{what} must be {count} names, got {len(names)}")
    return tuple(names)
