"""The calibration of a sequential detector: the threshold for an expected run time, from maxima of the evidence."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from .context import ContextModel, check_context
from .evidence_scale import Scale
from .simulated_epochs import EPOCH
from .types import Float32Array, FloatArray
from .window_statistics import BLOCK

COVERED_SHARE = 0.9  # share of references whose run time is at least the requested one
FRESH_RATIO = 1.4  # times as often new rows alarm as a finite reference's own; measured by benchmarks/run_time.py
EXCEEDING = 0.15  # share of epochs whose maxima the tail is fitted to
TAIL_SLOPE = 1.1  # nats of threshold for each nat of run time on new rows: theory says 1, benchmarks/run_time.py this
TAIL_WEIGHT = 50.0  # maxima that this slope counts as
MIN_RELIABILITY = 0.5  # least share of the differences between draws that is taken as real: few epochs show none


class DetectorCalibration(NamedTuple):
    """The result of the simulation: the components' scales, and the maxima of their evidence over epochs in control."""

    scale: Scale
    maxima: FloatArray  # (draws of the baseline, epochs of EPOCH x BLOCK predictions)
    size: int  # predictions that the baseline's mean was estimated from
    context: ContextModel | None = None
    calibrated: bool = False  # True if it was calibrated on traffic that was declared calm

    def threshold(self, expected_run_time: float) -> float:
        """Return the evidence that nine references of ten reach at most once in `expected_run_time` predictions.

        Evidence is a logarithm of a tail probability, so that beyond the simulated epochs the threshold rises by one
        nat per nat of the run time, a little more on new rows; the slope fitted to the largest maxima is shrunk to
        that. A reference that is off
        makes all tails heavier by a factor on their exponent, so that thresholds differ between references in
        proportion to their height. The factor's spread is estimated from the mean maxima of the draws of the
        baseline, less what their finite number of epochs adds.

        References
        ----------
        Gandy and Kvaloy (2013), Guaranteed conditional performance of control charts via bootstrap methods,
        Scandinavian Journal of Statistics 40.
        """
        in_range, excess = self._draws_in_range()
        maxima = np.sort(in_range, axis=None)
        # Scales of calm traffic are evaluated on other stretches of it than they are fitted to, as on new rows.
        fresh_ratio = 1.0 if self.calibrated else FRESH_RATIO
        alarm_probability = -np.expm1(-EPOCH * BLOCK / (expected_run_time * fresh_ratio))
        if alarm_probability >= EXCEEDING:
            typical = float(np.quantile(maxima, 1 - alarm_probability))
        else:
            start = float(np.quantile(maxima, 1 - EXCEEDING))
            excess_maxima = maxima[maxima > start] - start
            slope = (excess_maxima.sum() + TAIL_WEIGHT * TAIL_SLOPE) / (len(excess_maxima) + TAIL_WEIGHT)
            typical = start + float(slope * np.log(EXCEEDING / alarm_probability))
        return typical * (1 + excess / float(maxima.mean()))

    def expected(self, context: ArrayLike | None, m: int) -> Float32Array | None:
        """Return the score rows (m, D) that a context lets expect; None if calm traffic was declared without one.

        Raises
        ------
        ValueError
            The context is missing or does not fit.
        """
        if self.context is None:
            return None
        if context is None:
            raise ValueError("calm traffic was declared with a context, these predictions have none")
        return self.context.expected(check_context(context, m, len(self.context.location)))

    def _draws_in_range(self) -> tuple[FloatArray, float]:
        """Return the maxima (draws, epochs) of the `COVERED_SHARE` of draws with the lowest, each moved to the median
        draw's level, and by how many nats the last of these draws exceeds the median one.

        Both are shrunk by what the finite number of epochs adds to the differences between draws, by half at most.
        """
        means = self.maxima.mean(axis=1)
        low, median, high = np.quantile(means, [0.25, 0.5, 0.75])
        noise = float(np.median(self.maxima.var(axis=1, ddof=1))) / self.maxima.shape[1]
        total = max(float((high - low) / (ndtri(0.75) - ndtri(0.25))) ** 2, 1e-12)
        reliability = max(1 - noise / total, MIN_RELIABILITY)
        last = float(np.quantile(means, COVERED_SHARE))
        in_range = means <= last
        centred = self.maxima[in_range] - reliability * (means[in_range] - median)[:, None]
        return np.asarray(centred), float(np.sqrt(reliability) * (last - median))

    def to_dict(self) -> dict[str, ArrayLike]:
        """Return arrays by name."""
        context = {} if self.context is None else {f"context_{k}": v for k, v in self.context._asdict().items()}
        return {
            **self.scale._asdict(),
            "maxima": self.maxima,
            "size": self.size,
            "calibrated": self.calibrated,
            **context,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, ArrayLike]) -> "DetectorCalibration":
        """Return what `to_dict` was called on."""
        scale = Scale(**{name: np.asarray(values[name], dtype=np.float64) for name in Scale._fields})
        context = None
        if "context_location" in values:
            context = ContextModel(
                *(np.asarray(values[f"context_{name}"], dtype=np.float64) for name in ContextModel._fields)
            )
        maxima = np.asarray(values["maxima"], dtype=np.float64)
        return cls(scale, maxima, int(np.asarray(values["size"])), context, bool(np.asarray(values["calibrated"])))
