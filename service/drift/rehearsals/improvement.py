"""Estimates what another last layer improves on a shifted window, from rehearsals of both models on the same images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..samples import Sample
from ..types import FloatArray, IntArray
from .class_draws import ClassDraws
from .conformal import LocalQuantile, conformal_quantile
from .features import NAMES, WindowFeatures
from .image_sampling import ImageSampling
from .record import Rehearsal
from .regression import AccuracyRegression, Families

if TYPE_CHECKING:
    from ..reference import Reference

LEAST_CHANGED = 0.05  # share of changed answers that errors are compared with at least
DISPERSITY = NAMES.index("dispersity")  # the feature by which rehearsals at other class proportions are compared


class RehearsedPair(NamedTuple):
    """The predictions of both models for the same images under the same operations.

    Attributes
    ----------
    rehearsal : Rehearsal
    before, after : Sample
    """

    rehearsal: Rehearsal
    before: Sample
    after: Sample


class ImprovementEstimate(NamedTuple):
    """The accuracy after minus the accuracy before.

    Attributes
    ----------
    amount, low, high : float in -1..1
        The estimate and its 90 % interval.
    """

    amount: float
    low: float
    high: float


class ImprovementEstimator:
    """The improvement of the accuracy on windows by a model that answers otherwise from the same embeddings.

    A regression relates the features of a window under the model before, and how they differ after, to the difference
    of both accuracies. Both are measured on the same images under the same operations, so that what is hard about the
    images is in neither. The improvement is at most the share of the window's answers that change, which needs no
    labels. The interval comes from the errors on rehearsals of single operations whose family was left out, relative
    to that share, and to the regression's deviation where that is above what it is for left-out families.

    Parameters
    ----------
    before, after : Reference
        The reference with labels as each model answers.
    rows : int (I,)
        Rows of both whose images are rehearsed.
    pairs : Sequence[RehearsedPair]
        The rehearsals, of several families.
    proportions_moved : bool
        Whether class proportions of windows may be others than the reference's. The rehearsals are then compared at
        many proportions, which errs more where they did not move.
    """

    def __init__(
        self,
        before: "Reference",
        after: "Reference",
        rows: IntArray,
        pairs: Sequence[RehearsedPair],
        proportions_moved: bool,
    ) -> None:
        labels = np.asarray(before.labels)[rows]
        self._features = [WindowFeatures(reference, rows, len(rows)) for reference in (before, after)]
        self._sampling = ImageSampling(labels, before.classes)
        samples = [(before.sample.rows(rows), after.sample.rows(rows)), *((one.before, one.after) for one in pairs)]
        operations = [(), *(one.rehearsal.operations for one in pairs)]
        further = ClassDraws(labels)
        features, improvement, shares, families, is_single = [], [], [], [], []
        for both, applied in zip(samples, operations, strict=True):
            for drawn in [np.arange(len(rows)), *(further() if proportions_moved else [])]:
                first, second = (sample.rows(drawn) for sample in both)
                features.append(self._features_of(first, second))
                improvement.append(_accuracy(second, labels[drawn]) - _accuracy(first, labels[drawn]))
                shares.append(_changed(first, second))
                families.append(frozenset(operation.family for operation in applied))
                is_single.append(len(applied) == 1)
        vectors, differences = np.stack(features), np.array(improvement)
        self._columns = np.flatnonzero(vectors.std(axis=0) > 0)
        self._regression = AccuracyRegression(vectors[:, self._columns], differences, families, least=-1)
        tested = np.flatnonzero(is_single)
        self._scores = self._left_out_scores(
            vectors[tested], differences[tested], np.array(shares)[tested], [families[row] for row in tested.tolist()]
        )
        self._local = LocalQuantile(self._scores, vectors[tested, DISPERSITY]) if proportions_moved else None

    def __call__(self, before: Sample, after: Sample) -> ImprovementEstimate:
        """Return the estimate for validated predictions of the same window by both models."""
        share = _changed(before, after)
        features = self._features_of(before, after)
        estimate, deviation = self._regression(features[None, self._columns])
        amount = float(np.clip(estimate[0], -share, share))
        quantile = self._local(float(features[DISPERSITY])) if self._local else conformal_quantile(self._scores)
        half = quantile * float(self._scale(np.array([share]), deviation)[0])
        half = float(np.hypot(half, self._sampling.half_width(share - amount**2, before, is_recreated=False)))
        low, high = np.clip([amount - half, amount + half], -share, share).tolist()
        return ImprovementEstimate(amount, low, high)

    def _left_out_scores(
        self, features: FloatArray, improvement: FloatArray, shares: FloatArray, families: list[Families]
    ) -> FloatArray:
        """Return the relative errors for rehearsed windows, by regressions that know nothing of their families."""
        estimate, deviation = self._regression.left_out(features[:, self._columns], families)
        self._usual_deviation = float(np.median(deviation))
        return np.asarray(np.abs(np.clip(estimate, -shares, shares) - improvement) / self._scale(shares, deviation))

    def _features_of(self, before: Sample, after: Sample) -> FloatArray:
        """Return the features (2 F,) of a window: those before, and how they differ after."""
        first, second = (features(sample) for features, sample in zip(self._features, (before, after), strict=True))
        return np.concatenate([first, second - first])

    def _scale(self, shares: FloatArray, deviation: FloatArray) -> FloatArray:
        """Return what errors of estimates are compared with."""
        return np.asarray((LEAST_CHANGED + shares) * np.maximum(deviation / self._usual_deviation, 1))


def _accuracy(sample: Sample, labels: IntArray) -> float:
    return float((sample.probabilities.argmax(axis=1) == labels).mean())


def _changed(before: Sample, after: Sample) -> float:
    """Return the share of answers that differ."""
    return float((before.probabilities.argmax(axis=1) != after.probabilities.argmax(axis=1)).mean())
