"""The accuracy of a window by its features, whether or not its class proportions are the reference's."""

from typing import NamedTuple

import numpy as np

from ..types import BoolArray, FloatArray, IntArray
from .conformal import LocalQuantile, conformal_quantile, error_scale
from .features import NAMES
from .record import Rehearsals
from .regression import AccuracyRegression, Families

MIXED_WEIGHT = 1 / 2  # weight of the regression over class proportions while the other does not contradict it


class FeatureEstimate(NamedTuple):
    """The accuracy by the features of a window.

    Attributes
    ----------
    accuracy : float in 0..1
    half_width : float
        Half the width of its interval.
    is_combined : bool
        Whether the window's class proportions count as other than the reference's.
    """

    accuracy: float
    half_width: float
    is_combined: bool


class JointRegression:
    """Two regressions from features to accuracy: one at the reference's class proportions, and one at many.

    A window of few classes looks to the first as if the model had collapsed. Where the two contradict each other, by
    more than at nine of ten rehearsals at the reference's proportions, the second is right; else the estimate is their
    mean. The interval is that of this choice as a whole: it is made for each rehearsed window, at each of its class
    proportions, by regressions that know nothing of its family. The errors are taken relative to the estimated fall of
    the accuracy, and to the regression's deviation where that is above what it is for left-out families.

    Parameters
    ----------
    rehearsals : Rehearsals
    columns : int (f,)
        The features in use; dispersity is among them.
    accuracy : float (1 + R,)
        Accuracies on the unchanged images and under each rehearsal.
    mixed_accuracy : float (1 + R, D)
        Accuracies at D other class proportions.
    """

    def __init__(
        self, rehearsals: Rehearsals, columns: IntArray, accuracy: FloatArray, mixed_accuracy: FloatArray
    ) -> None:
        self._unchanged = float(accuracy[0])
        self._dispersity = int(np.flatnonzero(columns == NAMES.index("dispersity"))[0])
        families: list[Families] = [frozenset(), *(one.families for one in rehearsals.rehearsals)]
        draws = mixed_accuracy.shape[1]
        mixed_features = rehearsals.mixed_features.reshape(-1, len(NAMES))
        features = np.concatenate([rehearsals.features, mixed_features])[:, columns]
        accuracies = np.concatenate([accuracy, mixed_accuracy.ravel()])
        all_families = [*families, *(one for one in families for _ in range(draws))]
        self._same = AccuracyRegression(features[: len(families)], accuracy, families)
        self._mixed = AccuracyRegression(features, accuracies, all_families)
        single = np.zeros(len(families), dtype=bool)
        single[1 + rehearsals.single] = True
        tested = np.flatnonzero(np.concatenate([single, np.repeat(single, draws)]))
        tested_families = [all_families[row] for row in tested.tolist()]
        self._calibrate(features[tested], accuracies[tested], tested_families, int(single.sum()))

    def __call__(self, features: FloatArray, proportions_moved: bool) -> FeatureEstimate:
        """Return the estimate at features (f,).

        Parameters
        ----------
        proportions_moved : bool
            Whether the class proportions are known to differ from the reference's.
        """
        same, _ = self._same(features[None])
        mixed, deviation = self._mixed(features[None])
        chosen, agree = self._choose(same, mixed, deviation)
        accuracy, quantile = (mixed, self._mixed_quantile) if proportions_moved else (chosen, self._quantile)
        half_width = quantile(float(features[self._dispersity])) * self._scale(accuracy, deviation)
        return FeatureEstimate(float(accuracy[0]), float(half_width[0]), proportions_moved or not agree[0])

    def without(self, row: int) -> float:
        """Return the estimate for a rehearsal at the reference's class proportions, by all others."""
        return self._same.without(row)

    def _calibrate(self, features: FloatArray, accuracy: FloatArray, families: list[Families], same_rows: int) -> None:
        """Learn from rehearsed windows; the first `same_rows` of them have the reference's class proportions."""
        same, _ = self._same.left_out(features, families)
        mixed, deviation = self._mixed.left_out(features, families)
        self._usual_deviation = float(np.median(deviation))
        difference = np.abs(mixed - same) / self._scale(mixed, deviation)
        self._contradiction = conformal_quantile(difference[:same_rows])
        chosen, _ = self._choose(same, mixed, deviation)
        dispersity = features[:, self._dispersity]
        self._quantile, self._mixed_quantile = (
            LocalQuantile(np.abs(estimate - accuracy) / self._scale(estimate, deviation), dispersity)
            for estimate in (chosen, mixed)
        )

    def _choose(self, same: FloatArray, mixed: FloatArray, deviation: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return the estimates (m,) of which the regressions' agreement decides, and whether they agree (m,)."""
        agree = np.abs(mixed - same) <= self._contradiction * self._scale(mixed, deviation)
        return np.where(agree, MIXED_WEIGHT * mixed + (1 - MIXED_WEIGHT) * same, mixed), agree

    def _scale(self, accuracy: FloatArray, deviation: FloatArray) -> FloatArray:
        """Return what errors of estimates are compared with."""
        return error_scale(accuracy, self._unchanged) * np.maximum(deviation / self._usual_deviation, 1)
