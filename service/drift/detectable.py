"""How many predictions a detector needs to see that the share of a class has changed."""

from typing import NamedTuple

import numpy as np

MEASURED_FACTORS = (  # share before and after; ratio of the median delay to the limit, the largest that was measured
    (0.10, 0.15, 1.8),
    (0.10, 0.20, 2.3),
)


class DetectableShare(NamedTuple):
    """A change of a class share and the predictions until its alarm; None if the baseline's own error hides it."""

    before: float
    after: float
    predictions: int | None


def detectable_shares(expected_run_time: float, baseline_rows: int) -> tuple[DetectableShare, ...]:
    """Return for two changes of a class share how many predictions pass until the alarm, at the median.

    No detector is quicker than log(expected run time) / KL predictions (Lorden 1971). The measured factor over that is
    .9 to 1.8 for a class from 10 % to 15 %, and .9 to 2.3 from 10 % to 20 % (ten classes, nearer and farther apart,
    references of 1,500 and 4,000 rows, run times of 10⁴ and 10⁶). A baseline of n rows is itself off, so that w
    predictions count as 1 / (1/w + 1/n); what needs n or more is never seen.

    Parameters
    ----------
    expected_run_time : float
        Predictions between two false alarms.
    baseline_rows : int
        The rows that the stream is compared with.

    References
    ----------
    Lorden (1971), Procedures for reacting to a change in distribution, Annals of Mathematical Statistics 42.

    Examples
    --------
    >>> [round(row.predictions, -2) for row in detectable_shares(100_000, 4000)]
    [2900, 700]
    >>> detectable_shares(100_000, 1000)[0].predictions is None
    True
    """
    rows = []
    for before, after, factor in MEASURED_FACTORS:
        needed = factor * np.log(expected_run_time) / divergence(before, after)
        is_detectable = needed < baseline_rows
        delay = int(np.ceil(needed * baseline_rows / (baseline_rows - needed))) if is_detectable else None
        rows.append(DetectableShare(before, after, delay))
    return tuple(rows)


def divergence(before: float, after: float) -> float:
    """Return the Kullback-Leibler divergence of the share after a change from the one before, in nats."""
    return float(after * np.log(after / before) + (1 - after) * np.log((1 - after) / (1 - before)))
