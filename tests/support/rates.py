"""Exact bounds of false alarms: what a claimed rate allows, and that a rate three times as high would be noticed."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

CONFIDENCE = 0.995  # probability of the bound that a true claim keeps
FACTOR = 3.0  # times the claimed rate that a test has to notice
POWER = 0.8  # least probability with which it notices that
LEVELS = (0.05, 0.2)  # the higher one notices p-values that are too small from few windows


def assert_run_time(alarms: int, predictions: float, run_time: float, share: float = 1.0) -> None:
    """Check that false alarms are as few as an expected run time allows.

    Parameters
    ----------
    alarms : int
        The false alarms.
    predictions : float
        The calm predictions that they were raised in.
    run_time : float
        The expected run time, in predictions.
    share : float, default 1
        The claimed rate as a share of one alarm in each run time; below one where a measured mean is claimed.

    Raises
    ------
    AssertionError
        There are more alarms than the claim allows, or the predictions are too few to notice three times as many.
    """
    expected = share * predictions / run_time
    bound = stats.poisson.ppf(CONFIDENCE, expected)
    assert stats.poisson.sf(bound, FACTOR * expected) >= POWER, f"{expected:.1f} expected alarms are too few to test"
    assert alarms <= bound, f"{alarms} false alarms, {expected:.1f} are claimed, at most {bound:.0f} may be"


def assert_level(p_values: Sequence[float], exact: bool = False) -> None:
    """Check that p-values of calm windows keep their levels.

    Parameters
    ----------
    p_values : sequence of float
        The p-values under the null hypothesis.
    exact : bool, default False
        Whether the levels are exact, so that too few small p-values are a fault as well.

    Raises
    ------
    AssertionError
        More p-values are small than a level allows (or fewer, if it is exact), or the windows are too few to notice
        three times as many.
    """
    n = len(p_values)
    bounds = {level: stats.binom.ppf(CONFIDENCE, n, level) for level in LEVELS}
    power = max(stats.binom.sf(bound, n, FACTOR * level) for level, bound in bounds.items())
    assert power >= POWER, f"{n} windows are too few to test"
    for level, bound in bounds.items():
        count = int(np.sum(np.asarray(p_values) <= level))
        low = stats.binom.ppf(1 - CONFIDENCE, n, level) if exact else 0
        assert low <= count <= bound, f"{count} of {n} windows at {level}, expected {low:.0f} to {bound:.0f}"
