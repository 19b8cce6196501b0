"""The e-detectors of the label monitor: Shiryaev-Roberts sums of bets on errors, in logarithms."""

from typing import NamedTuple

import numpy as np

from .types import BoolArray, FloatArray

FLIPPED = np.array([0.05, 0.1, 0.2, 0.4, 0.8])  # shares of right predictions that became wrong, as alternatives
RECOVERY_MARGIN = 0.02  # share of errors beyond the tolerance that a recovery must exclude
ALTERNATIVES = len(FLIPPED)  # the columns of the sums are concept, harm, and the recovery from each:
CONCEPT, HARM = slice(0, ALTERNATIVES), slice(ALTERNATIVES, 2 * ALTERNATIVES)
RECOVERY, HARM_RECOVERY = 2 * ALTERNATIVES, 2 * ALTERNATIVES + 1


class LabelSums(NamedTuple):
    """Logarithms of Shiryaev-Roberts sums."""

    pooled: FloatArray  # (2 ALTERNATIVES + 2,) over all labels: concept, harm, and the recovery from each
    of_class: FloatArray  # (k, ALTERNATIVES) of concept per predicted class

    @classmethod
    def zero(cls, classes: int) -> "LabelSums":
        return cls(np.full(2 * ALTERNATIVES + 2, -np.inf), np.full((classes, ALTERNATIVES), -np.inf))

    def followed_by(self, predicted: int, factors: FloatArray) -> "LabelSums":
        """Return R <- (R + 1) factor in logarithms, after a label of the predicted class with these log factors."""
        of_class = self.of_class.copy()
        of_class[predicted] = np.logaddexp(of_class[predicted], 0) + factors[CONCEPT]
        return LabelSums(np.logaddexp(self.pooled, 0) + factors, of_class)


def log_factors(wrong: BoolArray, null_error: FloatArray, harmless: float) -> FloatArray:
    """Return the logarithms (m, columns of the sums) of the factors by which each label multiplies the sums."""
    null = np.stack([null_error, np.full_like(null_error, harmless)], axis=1)
    worse = 1 - (1 - null[:, :, None]) * (1 - FLIPPED)
    alternatives = np.hstack([worse.reshape(len(null), 2 * ALTERNATIVES), null])
    nulls = np.hstack([np.repeat(null, ALTERNATIVES, axis=1), np.minimum(null + RECOVERY_MARGIN, 0.99)])
    ratio = np.where(wrong[:, None], alternatives / nulls, (1 - alternatives) / (1 - nulls))
    return np.asarray(np.log(ratio))


def log_sum(logarithms: FloatArray) -> float:
    """Return log(sum(exp(x))); minus infinity where every x is."""
    largest = float(logarithms.max())
    return largest if largest == -np.inf else largest + float(np.log(np.exp(logarithms - largest).sum()))
