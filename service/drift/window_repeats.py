"""Exact repeats in a window: tested once, and their share is a finding of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from .samples import Sample
from .stream_repeats import joined_keys, prediction_keys
from .types import IntArray

MIN_EXCESS = 0.05  # share of repeated rows beyond the expected one from which it counts as a change
CALM_WINDOWS = 20  # windows of calm traffic at most whose shares of repeats are taken


@dataclass(frozen=True)
class Repeats:
    """The share of a window that repeats an earlier row of it.

    Attributes
    ----------
    count : int
        Rows that repeat an earlier one.
    share : float
        Their share of the window.
    expected_share : float
        The share in as many rows of the reference, or of calm traffic where that is larger.
    largest_share : float
        Share of the window that is the same row.
    p_value : float
        Chance of as many repeats at the expected share, by the binomial distribution.
    """

    count: int
    share: float
    expected_share: float
    largest_share: float
    p_value: float

    @property
    def excess(self) -> float:
        """The share of repeats beyond the expected one, in 0..1."""
        return max(self.share - self.expected_share, 0.0)

    def unusual(self, level: float) -> bool:
        """Whether there are more repeats than the reference explains: by five points at least, and at `level`."""
        return self.excess >= MIN_EXCESS and self.p_value <= level


class RepeatTest:
    """Compares the share of repeated rows with the reference's.

    Parameters
    ----------
    reference : int (n,)
        The keys of the reference's rows as `repeat_keys` returns them.
    calm : int (c,)
        Those of traffic that was declared calm, in its own order, default None.
    """

    def __init__(self, reference: IntArray, calm: IntArray | None = None) -> None:
        self._multiplicities: IntArray = np.unique(reference, return_counts=True)[1].astype(np.int64)
        self._size = len(reference)
        self._calm = calm

    def __call__(self, keys: IntArray) -> Repeats:
        """Test a window by the keys (m,) that `repeat_keys` gave for it."""
        m = len(keys)
        _, counts = np.unique(keys, return_counts=True)
        repeated = m - len(counts)
        expected = max([self._expected_repeats(m), *self._of_calm_traffic(m)])
        floor = max(expected, 1 / self._size)
        return Repeats(
            count=repeated,
            share=repeated / m,
            expected_share=expected,
            largest_share=float(counts.max() / m),
            p_value=float(max(special.betainc(repeated, m - repeated + 1, floor), 1e-300)) if repeated else 1.0,
        )

    def _expected_repeats(self, m: int) -> float:
        """Return the expected share of repeats in m rows drawn from the reference without replacement."""
        size = min(m, self._size)
        miss_probability = (1 - size / self._size) ** self._multiplicities
        return float(max(1 - (1 - miss_probability).sum() / size, 0.0))

    def _of_calm_traffic(self, m: int) -> Sequence[float]:
        if self._calm is None or len(self._calm) < m:
            return []
        starts = np.linspace(0, len(self._calm) - m, CALM_WINDOWS).astype(int)
        return [1 - len(np.unique(self._calm[start : start + m])) / m for start in starts]


def repeat_keys(sample: Sample) -> IntArray:
    """Return a number for each row (m,), the same for equal predictions, as the detector counts repeats."""
    return joined_keys(prediction_keys(sample.embeddings, sample.probabilities))


def first_rows(keys: IntArray) -> IntArray:
    """Return the first row of each key, in order."""
    return np.sort(np.unique(keys, return_index=True)[1])
