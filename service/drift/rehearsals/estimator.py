"""Estimates the accuracy on a shifted window from the rehearsals of its reference, with an interval that covers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..samples import Sample
from ..types import FloatArray, IntArray
from .features import NAMES, PROPERTY_FEATURES, WindowFeatures
from .fingerprint import Fingerprint
from .matching import Match, match_mixture
from .record import Rehearsals
from .regression import AccuracyRegression, conformal_quantile, error_scale

if TYPE_CHECKING:
    from ..reference import Reference

RehearsalMethod = Literal["recreated", "regression", "combined", "unknown"]

NORMAL_QUANTILE_90 = 1.645  # standard deviations of a two-sided interval of 90 %
MIN_EXPLAINED = 0.9  # part of a shift that a mixture of rehearsals has to explain to count as its recreation
MIN_MATCHES = 8  # rehearsals that are recreated from the others, for an interval of its own
MAX_HALF_WIDTH = 0.15  # half width of an interval above which the accuracy counts as unknown
MIN_SHARE = 0.15  # share of a recreation from which an operation is named
# Two regressions estimate the accuracy: one over rehearsals of all class proportions, one of the reference's alone.
MAX_DISAGREEMENT = 0.75  # half widths of an interval between the two, above which only the first one is used
MIXED_WEIGHT = 1 / 2  # weight of the first one in their mean


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

    Two regressions relate the features of the rehearsals to the accuracy that was measured under them: one at the
    reference's class proportions, and one at many. A window of few classes looks to the first as if the model had
    collapsed; where the two contradict each other, the second is right. If a mixture of rehearsals has the window's
    distribution, the accuracy is the mean of the mixture's and of the regression's.

    Parameters
    ----------
    reference : Reference
        Reference with labels.
    rehearsals : Rehearsals
        Rehearsals of that reference, at least 12 of single operations and 3 families.

    Raises
    ------
    ValueError
        Too few rehearsals.
    """

    def __init__(self, reference: "Reference", rehearsals: Rehearsals) -> None:
        if not rehearsals.are_sufficient:
            raise ValueError(f"{len(rehearsals)} rehearsals are too few for estimates of the accuracy")
        rows = rehearsals.rows
        self._rehearsals = rehearsals
        self._features = WindowFeatures(reference, rows, len(rows))
        self._fingerprint = Fingerprint(self._features, reference.sample.rows(rows))
        whole, part = _accuracies(reference, rows)
        factor = whole / max(part, 1e-9)  # the rehearsed images are a sample on which the model may do better or worse
        self._accuracy = np.append(whole, np.clip(rehearsals.accuracy * factor, 0, 1))
        self._mixed_accuracy = np.clip(rehearsals.mixed_accuracy * factor, 0, 1)
        self._has_properties = bool(rehearsals.features[:, _property_columns()].any())
        self._regressions = {with_properties: self._regress(with_properties) for with_properties in (True, False)}
        self._recreation_scores = self._scores_of_recreation()

    def __call__(self, sample: Sample, proportions_moved: bool = False) -> RehearsalEstimate:
        """Return the estimate for validated predictions.

        Parameters
        ----------
        proportions_moved : bool
            Whether the class proportions are known to differ from the reference's.
        """
        with_properties = self._features.standardised_properties(sample) is not None
        columns, same, mixed = self._regressions[with_properties]
        features = self._features(sample)[columns]
        accuracy, half = mixed(features)
        at_same, half_at_same = same(features)
        method: RehearsalMethod = "combined"
        operations: tuple[str, ...] = ()
        if not proportions_moved and abs(accuracy - at_same) <= MAX_DISAGREEMENT * min(half, half_at_same):
            method = "regression"
            accuracy = MIXED_WEIGHT * accuracy + (1 - MIXED_WEIGHT) * at_same
            half = max(half_at_same, (half + half_at_same) / 2)
            match = self._match(self._fingerprint(sample)) if with_properties == self._has_properties else None
            if match is not None and match.explained >= MIN_EXPLAINED:
                method, operations = "recreated", self._named(match)
                accuracy = (accuracy + float(match.shares @ self._accuracy)) / 2
                if len(self._recreation_scores) >= MIN_MATCHES:
                    half = conformal_quantile(self._recreation_scores) * self._error_scale(accuracy)
        accuracy = min(accuracy, float(self._accuracy.max()) if method != "combined" else 1.0)
        extra = max(1 / len(sample) - 1 / len(self._rehearsals.rows), 0) * accuracy * (1 - accuracy)
        half = float(np.hypot(half, NORMAL_QUANTILE_90 * np.sqrt(max(extra, 0))))
        if half > MAX_HALF_WIDTH:
            method = "unknown"
        low, middle, high = np.clip([accuracy - half, accuracy, accuracy + half], 0, 1).tolist()
        return RehearsalEstimate(middle, low, high, method, operations)

    def _regress(self, with_properties: bool) -> tuple[IntArray, AccuracyRegression, AccuracyRegression]:
        """Return the features in use, and the regressions at the reference's class proportions and at many."""
        record = self._rehearsals
        columns = np.arange(len(NAMES))
        if not with_properties:
            columns = np.setdiff1d(columns, _property_columns())
        families = [frozenset[str](), *(one.families for one in record.rehearsals)]
        single = np.zeros(len(families), dtype=bool)
        single[1 + record.single] = True
        unchanged = float(self._accuracy[0])
        same = AccuracyRegression(record.features[:, columns], self._accuracy, families, single, unchanged)
        draws = record.mixed_accuracy.shape[1]
        mixed = AccuracyRegression(
            np.concatenate([record.features[:, columns], record.mixed_features.reshape(-1, len(NAMES))[:, columns]]),
            np.concatenate([self._accuracy, self._mixed_accuracy.ravel()]),
            [*families, *(one for one in families for _ in range(draws))],
            np.concatenate([np.zeros_like(single), np.repeat(single, draws)]),
            unchanged,
        )
        return columns, same, mixed

    def _match(self, fingerprint: FloatArray, without: int | None = None) -> Match:
        candidates = self._rehearsals.fingerprints
        if without is None:
            return match_mixture(fingerprint, candidates, candidates[0])
        match = match_mixture(fingerprint, np.delete(candidates, without, axis=0), candidates[0])
        return Match(np.insert(match.shares, without, 0.0), match.explained)

    def _scores_of_recreation(self) -> FloatArray:
        """Return the relative errors for rehearsals that are recreated from the others."""
        _, same, _ = self._regressions[self._has_properties]
        scores = []
        for row in (1 + self._rehearsals.single).tolist():
            match = self._match(self._rehearsals.fingerprints[row], without=row)
            if match.explained >= MIN_EXPLAINED:
                estimate = (same.without(row) + float(match.shares @ self._accuracy)) / 2
                scores.append(abs(estimate - self._accuracy[row]) / self._error_scale(estimate))
        return np.array(scores)

    def _error_scale(self, accuracy: float) -> float:
        return float(error_scale(np.asarray(accuracy), float(self._accuracy[0])))

    def _named(self, match: Match) -> tuple[str, ...]:
        order = np.argsort(-match.shares, kind="stable").tolist()
        named = [row for row in order if row > 0 and match.shares[row] >= MIN_SHARE]
        return tuple(str(self._rehearsals.rehearsals[row - 1]) for row in named)


def _accuracies(reference: "Reference", rows: IntArray) -> tuple[float, float]:
    """Return the accuracy on the whole reference, and on some of its rows."""
    right = reference.probabilities.argmax(axis=1) == reference.labels
    return float(right.mean()), float(right[rows].mean())


def _property_columns() -> IntArray:
    return np.flatnonzero(np.isin(NAMES, PROPERTY_FEATURES))
