"""Which rows of a window, and which classes, carry the difference from the reference."""

import numpy as np

from .mmd import Witnesses, gaussian
from .report import ClassMove, NewKind, Witness
from .types import Float32Array, IntArray

REPORTED_WITNESSES = 12  # rows that a report names
MIN_CLASS_ROWS = 10  # rows of a class in either sample from which the shift of its embeddings is measured
MOVED_DEVIATIONS = 3.5  # deviations of a class's share from which it is named
MOVED_EMBEDDING = 0.3  # mean shift of an embedding unit within a class, in deviations, from which the class is named
OUTLYING_QUANTILE = 0.995  # quantile of the distances within the reference beyond which a row is unlike it
OUTLYING_ROWS = 500  # rows of the reference from which that quantile is taken
MIN_NEW_ROWS = 5  # outlying rows that make a new kind at least
MIN_NEW_SHARE, MAX_NEW_SHARE = 0.02, 0.5  # share of the window that a new kind can be: beyond, everything changed
ALIKE = 3.0  # factor by which images of a new kind are more similar to each other than to the reference


def rank_witnesses(witnesses: Witnesses, rows: IntArray, reference_rows: IntArray) -> tuple[Witness, ...]:
    """Return the rows that are the least like the reference: those at which the witness function is lowest.

    Parameters
    ----------
    witnesses : Witnesses
        The witness function of the tested rows.
    rows, reference_rows : int
        The numbers by which the caller knows tested rows and rows of the reference.
    """
    values = -witnesses.values
    deviation = values.std()
    scores = (values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)
    order = np.argsort(-scores, kind="stable")[:REPORTED_WITNESSES]
    return tuple(Witness(int(rows[i]), float(scores[i]), int(reference_rows[witnesses.nearest[i]])) for i in order)


def find_new_kind(
    reference: Float32Array, window: Float32Array, bandwidth: float, witnesses: Witnesses
) -> NewKind | None:
    """Return the new kind of image that a window holds, if it holds one.

    Rows are outlying if they are less similar to their nearest reference row than 99.5 % of reference rows are to
    theirs. They are a new kind if they are three times as similar to each other as to the reference: images that a
    change has scattered are not.

    Parameters
    ----------
    reference, window : float32 (n, d) and (m, d)
        Standardised embeddings.
    bandwidth, witnesses : float
        The witness function of the window, and the bandwidth of its kernel.
    """
    subsample = reference[np.linspace(0, len(reference) - 1, min(len(reference), OUTLYING_ROWS)).astype(int)]
    within = gaussian(subsample, reference, bandwidth)
    nearest = np.sort(np.partition(within, -2, axis=1)[:, -2])  # the most similar row is the row itself
    usual_distance = float(np.quantile(nearest, 1 - OUTLYING_QUANTILE))
    outlying = np.flatnonzero(witnesses.similarity < usual_distance)
    share = len(outlying) / len(window)
    if len(outlying) < MIN_NEW_ROWS or not MIN_NEW_SHARE <= share <= MAX_NEW_SHARE:
        return None
    rows = window[outlying[:OUTLYING_ROWS]]
    kernel = gaussian(rows, rows, bandwidth)
    similarity = float((kernel.sum(dtype=np.float64) - len(rows)) / (len(rows) * (len(rows) - 1)))
    to_reference = float(gaussian(rows, subsample, bandwidth).mean(dtype=np.float64))
    return NewKind(share, similarity, to_reference) if similarity > ALIKE * to_reference else None


def classes_moved(
    names: tuple[str, ...],
    reference: tuple[Float32Array, IntArray],
    window: tuple[Float32Array, IntArray],
) -> tuple[ClassMove, ...]:
    """Return the predicted classes whose share moved, or whose embeddings did, the largest move first.

    Parameters
    ----------
    names : tuple of str
        Names of the classes.
    reference, window : tuple[Float32Array, IntArray]
        Standardised embeddings (rows, d) and predicted classes (rows,) of each.
    """
    (embeddings, labels), (window_embeddings, window_labels) = reference, window
    n, m, k = len(embeddings), len(window_embeddings), len(names)
    shares = np.bincount(labels, minlength=k) / n, np.bincount(window_labels, minlength=k) / m
    moves = []
    for label in np.flatnonzero(shares[0] + shares[1]):
        before, after = float(shares[0][label]), float(shares[1][label])
        pooled = (before * n + after * m) / (n + m)
        error = np.sqrt(max(pooled * (1 - pooled), 1e-12) * (1 / n + 1 / m))
        shift = _embedding_shift(embeddings[labels == label], window_embeddings[window_labels == label])
        if abs(after - before) > MOVED_DEVIATIONS * error or (shift or 0) > MOVED_EMBEDDING:
            size = abs(after - before) / error + 10 * (shift or 0)
            moves.append((size, ClassMove(names[label], before, after, shift)))
    return tuple(move for _, move in sorted(moves, key=lambda pair: -pair[0]))


def _embedding_shift(before: Float32Array, after: Float32Array) -> float | None:
    """Return the root mean square shift of a unit's mean, in its deviations, freed of what sampling adds."""
    if min(len(before), len(after)) < MIN_CLASS_ROWS:
        return None
    variance = before.var(axis=0, dtype=np.float64).mean()
    gap = before.mean(axis=0, dtype=np.float64) - after.mean(axis=0, dtype=np.float64)
    if variance <= 0:
        return None
    square = (gap**2).mean() / variance - (1 / len(before) + 1 / len(after))
    return float(np.sqrt(max(square, 0)))
