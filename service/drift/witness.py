"""Which rows of a window, and which classes, carry the difference from the reference."""

import numpy as np
from numpy.typing import NDArray

from .mmd import Discrepancy
from .report import ClassMove, Witness

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]

SHOWN = 12
MIN_CLASS_ROWS = 10
MOVED_DEVIATIONS = 3.5  # of a class's share, from which it is named
MOVED_EMBEDDING = 0.3  # mean shift of an embedding unit within a class, in deviations


def rank_witnesses(discrepancy: Discrepancy, rows: Integers, reference_rows: Integers) -> tuple[Witness, ...]:
    """Return the rows where the witness function (Gretton et al. 2012, section 2.3) is lowest, as the least like the
    reference; `rows` and `reference_rows` number the discrepancy's rows as the caller does."""
    values = -discrepancy.witness
    deviation = values.std()
    scores = (values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)
    order = np.argsort(-scores, kind="stable")[:SHOWN]
    return tuple(Witness(int(rows[i]), float(scores[i]), int(reference_rows[discrepancy.nearest[i]])) for i in order)


def classes_moved(
    names: tuple[str, ...],
    reference: tuple[Floats, Integers],
    window: tuple[Floats, Integers],
) -> tuple[ClassMove, ...]:
    """Return the predicted classes whose share moved, or whose embeddings did; each side is (view E, predicted)."""
    (before, labels_before), (now, labels_now) = reference, window
    n, m, k = len(before), len(now), len(names)
    shares = np.bincount(labels_before, minlength=k) / n, np.bincount(labels_now, minlength=k) / m
    found = []
    for label, name in enumerate(names):
        old, new = float(shares[0][label]), float(shares[1][label])
        pooled = (old * n + new * m) / (n + m)
        error = np.sqrt(max(pooled * (1 - pooled), 1e-12) * (1 / n + 1 / m))
        shift = _embedding_shift(before[labels_before == label], now[labels_now == label])
        if abs(new - old) > MOVED_DEVIATIONS * error or (shift or 0) > MOVED_EMBEDDING:
            found.append((abs(new - old) / error + 10 * (shift or 0), ClassMove(name, old, new, shift)))
    return tuple(move for _, move in sorted(found, key=lambda pair: -pair[0]))


def _embedding_shift(before: Floats, now: Floats) -> float | None:
    """Return the root mean square shift of a unit's mean, in its deviations, freed of what sampling adds."""
    if min(len(before), len(now)) < MIN_CLASS_ROWS:
        return None
    variance = before.var(axis=0, dtype=np.float64).mean()
    gap = before.mean(axis=0, dtype=np.float64) - now.mean(axis=0, dtype=np.float64)
    if variance <= 0:
        return None
    square = (gap**2).mean() / variance - (1 / len(before) + 1 / len(now))
    return float(np.sqrt(max(square, 0)))
