"""The e-detectors of the label monitor: Shiryaev-Roberts sums of bets on errors, in logarithms."""

from typing import NamedTuple

import numpy as np

from .label_records import Label
from .recovery import Recovery
from .types import BoolArray, FloatArray

FLIPPED = np.array([0.05, 0.1, 0.2, 0.4, 0.8])  # shares of right predictions that became wrong, as alternatives
ALTERNATIVES = len(FLIPPED)  # the columns of the sums are those of concept, and those of harm:
CONCEPT, HARM = slice(0, ALTERNATIVES), slice(ALTERNATIVES, 2 * ALTERNATIVES)
ERROR_RANGE = 1e-3, 0.95  # error probabilities are clipped to this range: one label's factor stays below 1000


class ErrorLevels(NamedTuple):
    """Error probabilities of the reference that *harm* needs."""

    reference: float  # share of errors on the reference
    harmless: float  # share of errors that is no harm


class LabelSums(NamedTuple):
    """Logarithms of Shiryaev-Roberts sums, and the tests of the end of an incident."""

    pooled: FloatArray  # (2 ALTERNATIVES,) over all labels: concept, harm
    of_class: FloatArray  # (k, ALTERNATIVES) of concept per predicted class
    recovery: Recovery  # the end of a concept shift
    harm_recovery: Recovery  # the end of a harm

    @classmethod
    def zero(cls, classes: int, recovery: Recovery = Recovery(), harm_recovery: Recovery = Recovery()) -> "LabelSums":
        return cls(
            np.full(2 * ALTERNATIVES, -np.inf), np.full((classes, ALTERNATIVES), -np.inf), recovery, harm_recovery
        )

    def restarted(self) -> "LabelSums":
        """Return the sums without any bet, in the same incident."""
        return LabelSums.zero(len(self.of_class), self.recovery.restarted(), self.harm_recovery.restarted())

    def followed_by(self, label: Label, factors: FloatArray, levels: ErrorLevels) -> "LabelSums":
        """Return R <- (R + 1) factor in logarithms, after a label with these log factors."""
        of_class = self.of_class.copy()
        of_class[label.predicted] = np.logaddexp(of_class[label.predicted], 0) + factors[CONCEPT]
        return LabelSums(
            np.logaddexp(self.pooled, 0) + factors,
            of_class,
            self.recovery.followed_by(label.is_wrong, expected_error(label.confidence), label.null_error),
            self.harm_recovery.followed_by(label.is_wrong, levels.reference, levels.harmless),
        )


def expected_error(confidence: float) -> float:
    """Return the error probability that calibrated confidence promises, within the range of a bet."""
    return min(max(1 - confidence, ERROR_RANGE[0]), ERROR_RANGE[1])


def log_factors(wrong: BoolArray, null_error: FloatArray, harmless: float) -> FloatArray:
    """Return the logarithms (m, columns of the sums) of the factors by which each label multiplies the sums."""
    null = np.stack([null_error, np.full_like(null_error, harmless)], axis=1)
    worse = 1 - (1 - null[:, :, None]) * (1 - FLIPPED)
    alternatives, nulls = worse.reshape(len(null), 2 * ALTERNATIVES), np.repeat(null, ALTERNATIVES, axis=1)
    ratio = np.where(wrong[:, None], alternatives / nulls, (1 - alternatives) / (1 - nulls))
    return np.asarray(np.log(ratio))


def log_sum(logarithms: FloatArray) -> float:
    """Return log(sum(exp(x))); minus infinity where every x is."""
    largest = float(logarithms.max())
    return largest if largest == -np.inf else largest + float(np.log(np.exp(logarithms - largest).sum()))
