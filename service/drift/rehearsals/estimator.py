"""Estimates the accuracy on a shifted window from the rehearsals of its reference, with an interval that covers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..samples import Sample
from ..types import BoolArray, FloatArray, IntArray
from .features import NAMES, PROPERTY_FEATURES, WindowFeatures
from .fingerprint import Fingerprint
from .gaussian_process import GaussianProcess
from .matching import Match, match_mixture
from .record import Rehearsals

if TYPE_CHECKING:
    from ..reference import Reference

RehearsalMethod = Literal["recreated", "regression", "unknown"]

INTERVAL_LEVEL = 0.9  # probability with which an interval covers, over families of shifts that were not rehearsed
NORMAL_QUANTILE = 1.645  # standard normal quantile of a two-sided interval at that level
LENGTHS = (
    1.0,
    1.5,
    2.5,
)  # length scales of the regression; the one with the least error over left-out families is used
MIN_EXPLAINED = 0.9  # part of a shift that a mixture of rehearsals has to explain to count as its recreation
MIN_MATCHES = 8  # rehearsals that are recreated from the others, for an interval of its own
MAX_HALF_WIDTH = 0.15  # half width of an interval above which the accuracy counts as unknown
MIN_SHARE = 0.15  # share of a recreation from which an operation is named


@dataclass(frozen=True)
class RehearsalEstimate:
    """The estimated accuracy on a window.

    Attributes
    ----------
    accuracy, low, high : float in 0..1, the estimate and its 90 % interval.
    method : "recreated" if a mixture of rehearsals matches the window, "regression" if the features had to be
        compared, "unknown" if the interval is too wide to be of use.
    operations : names of the operations that recreate the window, the largest share first.
    """

    accuracy: float
    low: float
    high: float
    method: RehearsalMethod
    operations: tuple[str, ...]


class RehearsalEstimator:
    """Accuracy of windows of one reference.

    A Gaussian process relates the features of the rehearsals to the accuracy that was measured under them. Its errors
    on each family of operations while all of that family are left out, relative to its own deviation, give the
    interval (conformal prediction with families as groups). If a mixture of rehearsals has the window's distribution,
    the accuracy is the mean of the mixture's and of the regression's.

    Parameters
    ----------
    reference : Reference with labels.
    rehearsals : of that reference, at least 12 of single operations and 3 families.

    Raises
    ------
    ValueError
        Too few rehearsals.

    References
    ----------
    Deng and Zheng (2021), Are labels always necessary for classifier accuracy evaluation? Lei, G'Sell, Rinaldo,
    Tibshirani and Wasserman (2018), Distribution-free predictive inference for regression. Dunn, Wasserman and Ramdas
    (2023), Distribution-free prediction sets for two-layer hierarchical models.
    """

    def __init__(self, reference: "Reference", rehearsals: Rehearsals) -> None:
        if not rehearsals.are_sufficient:
            raise ValueError(f"{len(rehearsals)} rehearsals are too few for estimates of the accuracy")
        self._single: IntArray = 1 + rehearsals.single
        rows = rehearsals.rows
        self._rehearsals = rehearsals
        self._features = WindowFeatures(reference, rows, len(rows))
        self._fingerprint = Fingerprint(self._features, reference.sample.rows(rows))
        self._accuracy = _accuracies(reference, rehearsals)
        self._families = [frozenset[str](), *(one.families for one in rehearsals.rehearsals)]
        self._regressions = {
            with_properties: _Regression(self._columns(with_properties), rehearsals.features, self._accuracy, self)
            for with_properties in (True, False)
        }
        self._recreation_errors = self._errors_of_recreation()

    def __call__(self, sample: Sample) -> RehearsalEstimate:
        """Return the estimate for validated predictions."""
        with_properties = self._features.standardised_properties(sample) is not None
        accuracy, half = self._regressions[with_properties](self._features(sample))
        method: RehearsalMethod = "regression"
        operations: tuple[str, ...] = ()
        match = self._match(self._fingerprint(sample)) if with_properties == self._has_properties else None
        if match is not None and match.explained >= MIN_EXPLAINED:
            method, operations = "recreated", self._named(match)
            accuracy = (accuracy + float(match.shares @ self._accuracy)) / 2
            if len(self._recreation_errors) >= MIN_MATCHES:
                half = _conformal_quantile(self._recreation_errors)
        accuracy = min(accuracy, float(self._accuracy.max()))
        extra = max(1 / len(sample) - 1 / len(self._rehearsals.rows), 0) * accuracy * (1 - accuracy)
        half = float(np.hypot(half, NORMAL_QUANTILE * np.sqrt(max(extra, 0))))
        if half > MAX_HALF_WIDTH:
            method = "unknown"
        low, middle, high = np.clip([accuracy - half, accuracy, accuracy + half], 0, 1).tolist()
        return RehearsalEstimate(middle, low, high, method, operations)

    def without(self, families: frozenset[str]) -> BoolArray:
        """Return which accuracies (1 + R,) have none of the families."""
        return np.array([not families & others for others in self._families])

    @property
    def single(self) -> IntArray:
        """The rows, among unchanged images and rehearsals, of single operations."""
        return self._single

    def families_of(self, row: int) -> frozenset[str]:
        """Return the families of a row among unchanged images and rehearsals."""
        return self._families[row]

    @property
    def _has_properties(self) -> bool:
        return bool(self._rehearsals.features[:, _property_columns()].any())

    def _columns(self, with_properties: bool) -> IntArray:
        return np.arange(len(NAMES)) if with_properties else np.setdiff1d(np.arange(len(NAMES)), _property_columns())

    def _match(self, fingerprint: FloatArray, without: int | None = None) -> Match:
        candidates = self._rehearsals.fingerprints
        if without is None:
            return match_mixture(fingerprint, candidates, candidates[0])
        match = match_mixture(fingerprint, np.delete(candidates, without, axis=0), candidates[0])
        return Match(np.insert(match.shares, without, 0.0), match.explained)

    def _errors_of_recreation(self) -> FloatArray:
        """Return the absolute errors for rehearsals that are recreated from the others."""
        regression = self._regressions[self._has_properties]
        errors = []
        for row in self._single.tolist():
            match = self._match(self._rehearsals.fingerprints[row], without=row)
            if match.explained >= MIN_EXPLAINED:
                others = np.arange(len(self._accuracy)) != row
                predicted, _ = regression.fitted_on(others)(regression.rows[[row]])
                estimate = (float(np.clip(predicted[0], 0, 1)) + float(match.shares @ self._accuracy)) / 2
                errors.append(abs(estimate - self._accuracy[row]))
        return np.array(errors)

    def _named(self, match: Match) -> tuple[str, ...]:
        order = np.argsort(-match.shares, kind="stable").tolist()
        named = [row for row in order if row > 0 and match.shares[row] >= MIN_SHARE]
        return tuple(str(self._rehearsals.rehearsals[row - 1]) for row in named)


class _Regression:
    """The Gaussian process on some features, and the scores of its errors over left-out families."""

    def __init__(
        self, columns: IntArray, features: FloatArray, accuracy: FloatArray, estimator: RehearsalEstimator
    ) -> None:
        self._columns = columns
        self._accuracy = accuracy
        self.rows: FloatArray = features[:, columns]
        self._length = LENGTHS[0]
        best = np.inf
        for length in LENGTHS:
            errors, deviations = self._left_out(length, estimator)
            if errors.mean() < best:
                best, self._length = float(errors.mean()), length
                self._quantile = _conformal_quantile(errors / deviations)
        self._process = self.fitted_on(np.ones(len(accuracy), dtype=bool))

    def __call__(self, features: FloatArray) -> tuple[float, float]:
        """Return the accuracy at features (F,) and half the width of its interval."""
        mean, deviation = self._process(features[None, self._columns])
        return float(np.clip(mean[0], 0, 1)), float(self._quantile * deviation[0])

    def fitted_on(self, chosen: BoolArray, length: float | None = None) -> GaussianProcess:
        """Return the process fitted on some of the rows."""
        return GaussianProcess(self.rows[chosen], self._accuracy[chosen], length or self._length)

    def _left_out(self, length: float, estimator: RehearsalEstimator) -> tuple[FloatArray, FloatArray]:
        """Return absolute errors and relative deviations for single operations, their family left out."""
        errors, deviations = [], []
        for families in sorted({estimator.families_of(row) for row in estimator.single.tolist()}, key=sorted):
            rows = [row for row in estimator.single.tolist() if estimator.families_of(row) == families]
            mean, deviation = self.fitted_on(estimator.without(families), length)(self.rows[rows])
            errors.append(np.abs(np.clip(mean, 0, 1) - self._accuracy[rows]))
            deviations.append(deviation)
        return np.concatenate(errors), np.concatenate(deviations)


def _accuracies(reference: "Reference", rehearsals: Rehearsals) -> FloatArray:
    """Return the accuracy on unchanged images and under each rehearsal, on the scale of the whole reference.

    The rehearsed images are a sample of the reference, on which the model may do a little better or worse than on all
    of it; the same factor corrects the accuracy under each operation.
    """
    right = reference.probabilities.argmax(axis=1) == reference.labels
    whole, part = float(right.mean()), float(right[rehearsals.rows].mean())
    return np.append(whole, np.clip(rehearsals.accuracy * whole / max(part, 1e-9), 0, 1))


def _conformal_quantile(scores: FloatArray) -> float:
    """Return the quantile of scores that a new one does not exceed with the interval's probability."""
    rank = int(np.ceil((len(scores) + 1) * INTERVAL_LEVEL))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def _property_columns() -> IntArray:
    return np.flatnonzero(np.isin(NAMES, PROPERTY_FEATURES))
