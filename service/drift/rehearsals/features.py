"""The features of a window that predict the model's accuracy on it without labels."""

from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg, special

from ..prediction_views import SIZES, vary
from ..samples import Sample
from ..types import FloatArray, IntArray
from .embedding_space import EmbeddingSpace
from .predicted_classes import PredictedClasses

if TYPE_CHECKING:
    from ..reference import Reference

NAMES = (
    "confidence",
    "confidence_deviation",
    "thresholded_confidence",
    "thresholded_entropy",
    "entropy",
    "margin",
    "nuclear_norm",
    "dispersity",
    "embedding_shift",
    "embedding_norm",
    "embedding_spread",
    "class_separation",
    "discriminant_agreement",
    "discriminant_confidence",
    "class_distance",
    "relative_class_distance",
    "expected_precision",
    "property_shift",
)
PROPERTY_FEATURES = ("property_shift",)  # features that windows without properties lack
LOG_OFFSET = 1e-6  # added to a probability before its logarithm
MIN_VARIANCE = 1e-3  # added to variances before their ratio is taken


class WindowFeatures:
    """Turns a window into the features of its accuracy.

    Parameters
    ----------
    reference : Reference
        Reference with labels.
    excluded : int (I,)
        Rows that take no part in fitting: those whose images are rehearsed, so that a rehearsal is as new to what is
        fitted as traffic is. They take part after all if fewer rows would be left than excluded.
    size : int
        Rows of a rehearsal. A longer window is averaged over interleaved parts of about this size, since some features
        depend on the number of rows.

    Notes
    -----
    Features, in the order of `NAMES`: mean and deviation of the calibrated confidence; share of rows above the
    threshold of confidence and of negative entropy that leaves the reference's share of errors below (average
    thresholded confidence); mean negative entropy; mean logarithm of the ratio of the two likeliest classes; nuclear
    norm of the calibrated probabilities; entropy of the predicted class proportions (dispersity); distance of the mean
    embedding in regularised deviations; mean square and total variance of standardised embeddings; variance between
    predicted classes over that within; agreement of a linear discriminant on the embeddings with the model, and its
    confidence in the model's class; distance from the predicted class's mean, as it is and relative to the reference's
    rows of the same predicted classes; precision of the reference on these classes; distance of the mean image
    properties.

    References
    ----------
    Garg, Balakrishnan, Lipton, Neyshabur and Sedghi (2022), Leveraging unlabeled data to predict out-of-distribution
    performance. Deng, Suh, Gould and Zheng (2023), Confidence and dispersity speak. Xie et al. (2023), On the
    importance of feature separability in predicting out-of-distribution error.
    """

    def __init__(self, reference: "Reference", excluded: IntArray, size: int) -> None:
        if reference.labels is None:
            raise ValueError("features of the accuracy need a reference with labels")
        rows = np.setdiff1d(np.arange(len(reference)), excluded)
        if len(rows) < len(excluded):
            rows = np.arange(len(reference))
        self._size = size
        self._calibration = reference.calibration
        sample, labels = reference.sample.rows(rows), reference.labels[rows]
        self.space = EmbeddingSpace(sample.embeddings, labels, reference.classes)
        posterior = self._calibration(sample.probabilities)
        predicted = sample.probabilities.argmax(axis=1)
        errors = 1 - float((predicted == labels).mean())
        self._confidence_threshold = np.quantile(_at(posterior, predicted), errors)
        self._entropy_threshold = np.quantile(_negative_entropy(posterior), errors)
        distances = self.space.class_distances(self.space(sample.embeddings))
        self._predicted_classes = PredictedClasses(
            np.log(_at(distances.squared, predicted) + MIN_VARIANCE), predicted, labels, reference.classes
        )
        self._varying: IntArray = np.zeros(0, dtype=np.int64)
        if sample.properties is not None:
            is_size = np.isin(np.array(reference.property_names), SIZES)
            self._varying = np.flatnonzero(vary(sample.properties, reference.property_names) & ~is_size)
            varying = sample.properties[:, self._varying].astype(np.float64)
            self._property_mean, self._property_deviation = varying.mean(axis=0), varying.std(axis=0)

    def __call__(self, sample: Sample) -> FloatArray:
        """Return the features (18,) of validated predictions; that of properties is 0 if they have none."""
        parts = max(1, round(len(sample) / self._size))
        vectors = [self._of_part(sample.rows(slice(part, None, parts))) for part in range(parts)]
        return np.asarray(np.mean(vectors, axis=0))

    def posterior(self, sample: Sample) -> FloatArray:
        """Return calibrated probabilities (m, k)."""
        return self._calibration(sample.probabilities)

    def standardised_properties(self, sample: Sample) -> FloatArray | None:
        """Return the varying properties (m, q) in deviations of the reference; None if there are none."""
        if sample.properties is None or not len(self._varying):
            return None
        return np.asarray((sample.properties[:, self._varying] - self._property_mean) / self._property_deviation)

    def _of_part(self, sample: Sample) -> FloatArray:
        posterior = self.posterior(sample)
        predicted = sample.probabilities.argmax(axis=1)
        confidence, entropy = _at(posterior, predicted), _negative_entropy(posterior)
        logs = np.sort(np.log(posterior + LOG_OFFSET), axis=1)
        rows = self.space(sample.embeddings)
        distances = self.space.class_distances(rows)
        agreement = special.softmax(distances.log_posterior / np.sqrt(rows.shape[1]), axis=1)
        log_distance = np.log(_at(distances.squared, predicted) + MIN_VARIANCE)
        properties = self.standardised_properties(sample)
        m, k = posterior.shape
        shares = posterior.mean(axis=0)
        values = {
            "confidence": confidence.mean(),
            "confidence_deviation": confidence.std(),
            "thresholded_confidence": (confidence >= self._confidence_threshold).mean(),
            "thresholded_entropy": (entropy >= self._entropy_threshold).mean(),
            "entropy": entropy.mean(),
            "margin": (logs[:, -1] - logs[:, -2]).mean(),
            "nuclear_norm": _nuclear_norm(posterior) / np.sqrt(m * min(m, k)),
            "dispersity": special.entr(shares).sum() / np.log(k),
            "embedding_shift": np.log1p(self.space.squared_shift(rows)),
            "embedding_norm": np.log((rows**2).mean() + MIN_VARIANCE),
            "embedding_spread": np.log(rows.var(axis=0).mean() + MIN_VARIANCE),
            "class_separation": _separation(rows, predicted, k),
            "discriminant_agreement": (distances.log_posterior.argmax(axis=1) == predicted).mean(),
            "discriminant_confidence": _at(agreement, predicted).mean(),
            "class_distance": np.log(_at(distances.squared, predicted).mean() + MIN_VARIANCE),
            "relative_class_distance": self._predicted_classes.relative_distance(log_distance, predicted),
            "expected_precision": self._predicted_classes.expected_precision(predicted),
            "property_shift": 0.0 if properties is None else np.log1p(np.sqrt((properties.mean(axis=0) ** 2).mean())),
        }
        return np.array([values[name] for name in NAMES])


def _separation(rows: FloatArray, predicted: IntArray, classes: int) -> float:
    """Return the logarithm of the variance between predicted classes over that within them."""
    counts = np.bincount(predicted, minlength=classes)
    sums = np.zeros((classes, rows.shape[1]))
    np.add.at(sums, predicted, rows)
    means = sums[counts > 0] / counts[counts > 0][:, None]
    middle = rows.mean(axis=0)
    between = float((counts[counts > 0] @ (means - middle) ** 2).sum()) / len(rows)
    within = max(float(rows.var(axis=0).sum()) - between, 0.0)
    return float(np.log((between + MIN_VARIANCE) / (within + MIN_VARIANCE)))


def _nuclear_norm(posterior: FloatArray) -> float:
    """Return the sum of the singular values, by the eigenvalues of the smaller product of the matrix with itself."""
    rows = posterior if posterior.shape[0] <= posterior.shape[1] else posterior.T
    return float(np.sqrt(np.maximum(linalg.eigvalsh(rows @ rows.T), 0)).sum())


def _negative_entropy(posterior: FloatArray) -> FloatArray:
    return np.asarray(-special.entr(posterior).sum(axis=1))


def _at(values: FloatArray, columns: IntArray) -> FloatArray:
    return np.asarray(values[np.arange(len(columns)), columns])
