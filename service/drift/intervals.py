"""95 % intervals: the normal quantile, and the interval of a proportion."""

import numpy as np
from scipy import special

NORMAL_QUANTILE = float(special.ndtri(0.975))  # standard deviations of a 95 % interval


def wilson_interval(successes: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a proportion (Wilson 1927, eq. 4); (0, 1) where n is 0."""
    if n == 0:
        return 0.0, 1.0
    share, z = successes / n, NORMAL_QUANTILE
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
    return max(0.0, centre - half), min(1.0, centre + half)
