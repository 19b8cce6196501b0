"""What the window test fits to a reference once: views, calibration, class means and repeats."""

from functools import cached_property

import numpy as np

from .estimated_accuracy import ConfidenceEstimate
from .mmd import median_squared_distance
from .prediction_views import PredictionViews, ViewBuilder
from .principal_components import MAX_DIMENSIONS, MAX_FITTED_ROWS
from .reference import Reference
from .rehearsals.estimator import RehearsalEstimator
from .residual import ResidualTest
from .samples import Sample
from .scaling import Scaling
from .temperature_scaling import TemperatureScaling
from .types import Float32Array, FloatArray, IntArray

MAX_REFERENCE_ROWS = 5000  # rows that take part; with more, the sampling error of the window decides
SPLIT_STREAM = 1  # number of the random stream of the split, so that no two uses of a seed share their numbers
HELD_OUT_SHARE = 0.2  # share of a small reference that wide embeddings are projected by, and which takes no part


class FittedReference:
    """A reference as the window test uses it; it depends on no window.

    Parameters
    ----------
    reference : Reference
        The reference. Equal rows count once, and at most 5,000 take part, drawn by `seed`. Of embeddings wider than
        512, up to 512 other rows fit the projection, a fifth of the reference at most.
    seed : int
        Seed of the rows that take part and of the residual test's redraws.
    """

    def __init__(self, reference: Reference, seed: int) -> None:
        self.reference = reference
        self.rows, held_out = _split(reference, seed)
        self.build_views = ViewBuilder(reference, held_out)
        self.sample: Sample = reference.sample.rows(self.rows)
        self.views: PredictionViews = self.build_views(self.sample)
        self.predicted: IntArray = self.views.predicted
        self._seed = seed

    @cached_property
    def standardise(self) -> Scaling:
        """The scaling of the embedding by the rows that take part."""
        return Scaling(self.views.embedding)

    @cached_property
    def standardised(self) -> Float32Array:
        """The standardised embedding of the rows that take part."""
        return self.standardise(self.views.embedding)

    @cached_property
    def bandwidth(self) -> float:
        """The median squared distance of standardised embeddings, for kernels that explain a window."""
        return median_squared_distance(self.standardised)

    @property
    def has_labels(self) -> bool:
        """Whether the true classes of the reference are known."""
        return self.reference.labels is not None

    @property
    def has_repeated_classes(self) -> bool:
        """Whether a true class has two rows that take part: one row does not tell how the rows of a class differ."""
        return self.has_labels and int(np.bincount(self.labels).max()) > 1

    @cached_property
    def labels(self) -> IntArray:
        """The true classes of the rows that take part, or the predicted ones if no labels are known."""
        return self.predicted if self.reference.labels is None else self.reference.labels[self.rows]

    @property
    def has_accuracy(self) -> bool:
        """Whether the accuracy on the reference is known: labels of its own, or of the source of a baseline."""
        return self.reference.labelled.labels is not None

    @property
    def calibration(self) -> TemperatureScaling:
        """The calibration of the model's probabilities."""
        return self.reference.calibration

    @cached_property
    def posterior(self) -> FloatArray:
        """Calibrated probabilities of the rows that take part (n, k)."""
        return self.calibration(self.sample.probabilities)

    @cached_property
    def prior(self) -> FloatArray:
        """Class proportions of the rows that take part (k,)."""
        return np.bincount(self.labels, minlength=self.reference.classes) / len(self.labels)

    @cached_property
    def residual_test(self) -> ResidualTest:
        """The test whether class proportions alone explain a window."""
        return ResidualTest(self.views, self.posterior, self.labels, self._seed)

    @cached_property
    def performance(self) -> ConfidenceEstimate:
        """The estimate of the accuracy by confidence; of an accepted baseline, from the reference that has labels."""
        labelled = self.reference.labelled
        if labelled is self.reference or labelled.labels is None:
            return ConfidenceEstimate(self.posterior, self.predicted, self.labels)
        predicted = labelled.probabilities.argmax(axis=1)
        return ConfidenceEstimate(labelled.calibration(labelled.probabilities), predicted, labelled.labels)

    @cached_property
    def rehearsed(self) -> RehearsalEstimator | None:
        """The estimate of the accuracy by rehearsals; None if the reference has none or too few."""
        labelled = self.reference.labelled
        if labelled.rehearsals is None or labelled.labels is None or not labelled.rehearsals.are_sufficient:
            return None
        return RehearsalEstimator(labelled, labelled.rehearsals)

    @cached_property
    def confusion(self) -> FloatArray:
        """Mean calibrated probabilities (k, k) of each true class, a row a class; a class without rows is certain."""
        k = self.reference.classes
        counts = np.bincount(self.labels, minlength=k)
        sums = np.zeros((k, k))
        np.add.at(sums, self.labels, self.posterior)
        return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], np.eye(k))


def _split(reference: Reference, seed: int) -> tuple[IntArray, IntArray]:
    """Return the rows that take part in tests, and those that fit the projection of wide embeddings."""
    distinct = reference.distinct_rows
    n = len(distinct)
    wide = reference.embeddings.shape[1] > MAX_DIMENSIONS
    order = distinct[np.random.default_rng([seed, SPLIT_STREAM]).permutation(n)]
    held_out = min(MAX_FITTED_ROWS, int(HELD_OUT_SHARE * n)) if wide else 0
    part = order[held_out:][:MAX_REFERENCE_ROWS]
    return np.sort(part), order[:held_out]
