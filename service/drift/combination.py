"""Several dependent tests as one: permutation p-values and their Cauchy combination."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Matrix = NDArray[np.float64]


def p_values(statistics: Matrix) -> Matrix:
    """Return the p-value of every draw among all of them: p_b = #{b': T_b' >= T_b} / (1 + B).

    Its first column is the p-value (1 + k) / (1 + B) of Phipson and Smyth (2010) of what was observed; the others
    are what it would have been, had that draw been observed. `statistics` is (tests, B + 1), or (B + 1,).
    """
    ranks = stats.rankdata(-np.asarray(statistics, dtype=np.float64), method="max", axis=-1)
    return np.asarray(ranks / ranks.shape[-1])


def cauchy(p: Matrix) -> Matrix:
    """Return the Cauchy combination (Liu and Xie 2020, eq. 3) of p-values (tests, B + 1) as one statistic a draw."""
    mean: Matrix = np.mean(1 / np.tan(np.pi * np.clip(p, 1e-12, 1 - 1e-12)), axis=0)
    return mean


def combined(p: Matrix) -> float:
    """Return the combination's p-value, calibrated by the same draws: exact, whatever the tests' dependence."""
    return float(p_values(cauchy(p))[0])
