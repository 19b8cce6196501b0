"""Estimates the accuracy on a shifted window from the rehearsals of its reference, with an interval that covers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..samples import Sample
from ..types import FloatArray, IntArray
from .conformal import conformal_quantile, error_scale
from .features import NAMES, PROPERTY_FEATURES, WindowFeatures
from .fingerprint import Fingerprint
from .image_sampling import ImageSampling
from .joint_regression import JointRegression
from .matching import Match, match_mixture
from .record import Rehearsals

if TYPE_CHECKING:
    from ..reference import Reference

RehearsalMethod = Literal["recreated", "regression", "combined", "unknown"]

MIN_EXPLAINED = 0.9  # part of a shift that a mixture of rehearsals has to explain to count as its recreation
MAX_RESIDUAL = 2.5  # squared distance from its recreation, in units of what the sampling of both makes of it
MIN_MATCHES = 8  # rehearsals that are recreated from the others, for an interval of its own
MAX_HALF_WIDTH = 0.15  # half width of an interval above which the accuracy counts as unknown
MIN_SHARE = 0.15  # share of a recreation from which an operation is named


@dataclass(frozen=True)
class RehearsalEstimate:
    """The estimated accuracy on a window.

    Attributes
    ----------
    accuracy, low, high : float in 0..1
        The estimate and its 90 % interval.
    method : RehearsalMethod
        "recreated" if a mixture of rehearsals matches the window, "regression" if the features had to be compared,
        "combined" if they were compared at many class proportions, since the window's are not the reference's,
        "unknown" if the interval is too wide to be of use.
    operations : tuple of str
        Names of the operations that recreate the window, the largest share first.
    """

    accuracy: float
    low: float
    high: float
    method: RehearsalMethod
    operations: tuple[str, ...]


class RehearsalEstimator:
    """Accuracy of windows of one reference.

    Regressions relate the features of the rehearsals to the accuracy that was measured under them, at the reference's
    class proportions and at others. If a mixture of rehearsals has the window's distribution, the accuracy is the mean
    of the mixture's and of the regression's.

    Parameters
    ----------
    reference : Reference
        Reference with labels.
    rehearsals : Rehearsals
        Rehearsals of that reference, at least 12 of single operations and 3 families.

    Raises
    ------
    ValueError
        Too few rehearsals, or a reference without labels.
    """

    def __init__(self, reference: "Reference", rehearsals: Rehearsals) -> None:
        if not rehearsals.are_sufficient:
            raise ValueError(f"{len(rehearsals)} rehearsals are too few for estimates of the accuracy")
        if reference.labels is None:
            raise ValueError("estimates of the accuracy need a reference with labels")
        rows = rehearsals.rows
        self._rehearsals = rehearsals
        self._features = WindowFeatures(reference, rows, len(rows))
        self._fingerprint = Fingerprint(self._features, reference.sample.rows(rows))
        right = reference.probabilities.argmax(axis=1) == reference.labels
        whole, part = float(right.mean()), float(right[rows].mean())
        factor = whole / max(part, 1e-9)  # the rehearsed images are a sample on which the model may do better or worse
        self._accuracy = np.append(whole, np.clip(rehearsals.accuracy * factor, 0, 1))
        self._mixed_accuracy = np.clip(rehearsals.mixed_accuracy * factor, 0, 1)
        self._sampling = ImageSampling(reference.labels[rows], reference.classes)
        self._has_properties = bool(rehearsals.features[:, _property_columns()].any())
        self._regressions = {wide: self._regress(wide) for wide in {False, self._has_properties}}
        self._recreation_scores = self._scores_of_recreation()

    def __call__(self, sample: Sample, proportions_moved: bool = False) -> RehearsalEstimate:
        """Return the estimate for validated predictions.

        Parameters
        ----------
        proportions_moved : bool
            Whether the class proportions are known to differ from the reference's.
        """
        with_properties = self._features.standardised_properties(sample) is not None
        columns, regression = self._regressions[with_properties and self._has_properties]
        accuracy, half, is_combined = regression(self._features(sample)[columns], proportions_moved)
        method: RehearsalMethod = "combined" if is_combined else "regression"
        operations: tuple[str, ...] = ()
        if not is_combined and with_properties == self._has_properties:
            match = self._match(self._fingerprint(sample))
            if self._is_recreation(match, len(sample)):
                method, operations = "recreated", self._named(match)
                accuracy = (accuracy + float(match.shares @ self._accuracy)) / 2
                if len(self._recreation_scores) >= MIN_MATCHES:
                    half = conformal_quantile(self._recreation_scores) * self._error_scale(accuracy)
        accuracy = min(accuracy, float(self._accuracy.max()) if method != "combined" else 1.0)
        variance = accuracy * (1 - accuracy)
        half = float(np.hypot(half, self._sampling.half_width(variance, sample, is_recreated=method == "recreated")))
        if half > MAX_HALF_WIDTH:
            method = "unknown"
        low, middle, high = np.clip([accuracy - half, accuracy, accuracy + half], 0, 1).tolist()
        return RehearsalEstimate(middle, low, high, method, operations)

    def _regress(self, with_properties: bool) -> tuple[IntArray, JointRegression]:
        """Return the features in use, and the regression on them."""
        columns = np.arange(len(NAMES))
        if not with_properties:
            columns = np.setdiff1d(columns, _property_columns())
        return columns, JointRegression(self._rehearsals, columns, self._accuracy, self._mixed_accuracy)

    def _match(self, fingerprint: FloatArray, without: int | None = None) -> Match:
        candidates = self._rehearsals.fingerprints
        if without is None:
            return match_mixture(fingerprint, candidates, candidates[0])
        match = match_mixture(fingerprint, np.delete(candidates, without, axis=0), candidates[0])
        return Match(np.insert(match.shares, without, 0.0), match.explained, match.residual)

    def _is_recreation(self, match: Match, rows: int) -> bool:
        """Check whether nothing but sampling is left between a window of some rows and its match."""
        sampling = 1 / rows + 1 / len(self._rehearsals.rows)
        return match.explained >= MIN_EXPLAINED and match.residual <= MAX_RESIDUAL * sampling

    def _scores_of_recreation(self) -> FloatArray:
        """Return the relative errors for rehearsals that are recreated from the others."""
        _, regression = self._regressions[self._has_properties]
        scores = []
        for row in (1 + self._rehearsals.single).tolist():
            match = self._match(self._rehearsals.fingerprints[row], without=row)
            if self._is_recreation(match, len(self._rehearsals.rows)):
                estimate = (regression.without(row) + float(match.shares @ self._accuracy)) / 2
                scores.append(abs(estimate - self._accuracy[row]) / self._error_scale(estimate))
        return np.array(scores)

    def _error_scale(self, accuracy: float) -> float:
        return float(error_scale(np.asarray(accuracy), float(self._accuracy[0])))

    def _named(self, match: Match) -> tuple[str, ...]:
        order = np.argsort(-match.shares, kind="stable").tolist()
        named = [row for row in order if row > 0 and match.shares[row] >= MIN_SHARE]
        return tuple(str(self._rehearsals.rehearsals[row - 1]) for row in named)


def _property_columns() -> IntArray:
    return np.flatnonzero(np.isin(NAMES, PROPERTY_FEATURES))
