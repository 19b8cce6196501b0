"""A subsample of labelled rows that has other class proportions."""

import numpy as np

from .types import FloatArray, IntArray

LEAST = 50  # rows of the smallest subsample that is tried
SIZES = 200  # sizes that are tried
SHORTAGE = 0.02  # share of the subsample's rows that classes with too few rows may be short of
SEED = 0  # seed of the choice of rows, so that the same proportions give the same rows


def rows_of_mix(labels: IntArray, proportions: FloatArray, most: int) -> IntArray:
    """Return rows, each at most once, in the given class proportions.

    As many as there can be while at most 2 % of them are missing in classes that have too few rows.

    Parameters
    ----------
    labels : int (n,)
        The classes of the rows to choose from.
    proportions : float (k,)
        Proportions of the classes.
    most : int
        Rows at most.

    Returns
    -------
    int (rows,), ascending.
    """
    available = np.bincount(labels, minlength=len(proportions))
    sizes = np.unique(np.linspace(min(LEAST, most), most, SIZES).astype(np.int64))[::-1]
    missing = np.maximum(sizes[:, None] * proportions - available, 0).sum(axis=1)
    possible = missing <= SHORTAGE * sizes
    size = int(sizes[np.argmax(possible)]) if possible.any() else most
    counts = np.minimum(np.round(size * proportions).astype(np.int64), available)
    rng = np.random.default_rng(SEED)
    parts = [rng.choice(np.flatnonzero(labels == label), n, replace=False) for label, n in enumerate(counts) if n]
    return np.sort(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.int64)
