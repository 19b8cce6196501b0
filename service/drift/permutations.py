"""Windows drawn under the null hypothesis, and linear statistics of all of them in one product."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Draws:
    """B + 1 ways to call m of n + m pooled rows "the window"; the first is the window that came.

    `reference` (n, B + 1) and `window` (m, B + 1) are 1 where a row belongs to the drawn window, else 0.
    """

    reference: Floats
    window: Floats

    @classmethod
    def permutations(cls, n: int, m: int, count: int, rng: np.random.Generator) -> "Draws":
        """Draw `count` random permutations of n + m rows."""
        member = np.zeros((n + m, count + 1), dtype=np.float32)
        member[n:, 0] = 1
        rows = np.arange(n + m)
        for column in range(1, count + 1):
            member[rng.choice(rows, m, replace=False, shuffle=False), column] = 1
        return cls(np.ascontiguousarray(member[:n]), np.ascontiguousarray(member[n:]))

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows of the reference, rows of the window."""
        return len(self.reference), len(self.window)


class MeanDifferences:
    """Mean of the window minus mean of the reference, per feature, for every draw.

    What depends on the reference alone is computed once; a window of m rows then costs one product (B+1, m) by
    (m, features).
    """

    def __init__(self, reference: Floats, draws: Draws) -> None:
        self._draws = draws
        self._sums = draws.reference.T @ reference
        self._total = reference.sum(axis=0, dtype=np.float64)

    def against_all(self, reference: Floats, m: int) -> NDArray[np.float64]:
        """Return the differences (B, features) of draws of m reference rows from the whole reference."""
        return np.asarray(self._sums / m - reference.mean(axis=0, dtype=np.float64))

    def __call__(self, window: Floats) -> NDArray[np.float64]:
        """Return the differences as (B + 1, features)."""
        n, m = self._draws.sizes
        sums = (self._sums + self._draws.window.T @ window).astype(np.float64)
        total = self._total + window.sum(axis=0, dtype=np.float64)
        return np.asarray(sums * (1 / m + 1 / n) - total / n)
