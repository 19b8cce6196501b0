"""Which predictions to label, drawn with known probabilities, and the accuracy that follows from the labels."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from .types import FloatArray

UNIFORM_SHARE = 0.2  # share of the expected labels that is spread evenly: bounds the weight of a confident error
PRIOR_LABELS = 10  # labels that the variance expected from confidence counts as: few labels show no rare errors
CONFIDENCE_LEVEL = 0.95  # probability that an interval contains the accuracy


class SampledPopulation(NamedTuple):
    """Predictions from which some were drawn to be labelled.

    Parameters
    ----------
    size : int
        The number of predictions N.
    requested : int
        The number of predictions that were drawn.
    mean_confidence : float
        The mean calibrated confidence over all N predictions.
    label_variance : float
        The variance of the measured accuracy times the number of labels, as calibrated confidence lets expect.
    """

    size: int
    requested: int
    mean_confidence: float
    label_variance: float

    @classmethod
    def from_sample(cls, confidence: ArrayLike, probability: ArrayLike, requested: int) -> "SampledPopulation":
        """Return the population of predictions with these confidences and probabilities of being drawn, both (N,).

        A prediction that is never drawn, with the probability 0, has a label already: its confidence is 1 where it is
        right, else 0.
        """
        f, p = np.asarray(confidence, dtype=np.float64), np.asarray(probability, dtype=np.float64)
        drawn = p > 0
        variance = float(p.sum() * (f * (1 - f))[drawn] @ (1 / p[drawn]) / len(f) ** 2)
        return cls(len(f), requested, float(f.mean()), variance)


@dataclass(frozen=True)
class SampledAccuracy:
    """The accuracy on a population, measured on the labels of drawn predictions.

    Parameters
    ----------
    accuracy, low, high : float
        The estimate with its 95 % interval, in 0..1.
    labels : int
        The number of labels.
    label_variance : float
        The variance of the estimate times the number of labels, the finite population left aside.
    """

    accuracy: float
    low: float
    high: float
    labels: int
    label_variance: float


def inclusion_probabilities(confidence: ArrayLike, count: float) -> FloatArray:
    """Return the probability (N,) with which each prediction is drawn to be labelled, independently of the others.

    The probabilities grow with the standard deviation of the error that is expected from calibrated confidence, which
    makes the variance of `sampled_accuracy` smallest; a part of them is uniform.

    Parameters
    ----------
    confidence : float (N,)
        Calibrated probability of the predicted class.
    count : float
        The expected number of drawn predictions; of at most N of them all are drawn.

    Returns
    -------
    float (N,), in 0..1, with the sum `count`.

    References
    ----------
    Zrnic and Candès (2024), Active statistical inference, ICML, section 5.

    Examples
    --------
    >>> inclusion_probabilities([0.5, 0.9, 1.0, 1.0], 2).round(2).tolist()
    [1.0, 0.78, 0.11, 0.11]
    """
    return size_probabilities(error_deviation(confidence), count)


def error_deviation(confidence: ArrayLike) -> FloatArray:
    """Return the standard deviation (N,) of the error that is expected from calibrated confidence (N,)."""
    f = np.clip(np.asarray(confidence, dtype=np.float64), 0, 1)
    return np.asarray(np.sqrt(f * (1 - f)))


def size_probabilities(size: ArrayLike, count: float) -> FloatArray:
    """Return probabilities of being drawn (N,) that grow in proportion to a size, a fifth of them uniform.

    Parameters
    ----------
    size : float (N,)
        The sizes, at least 0.
    count : float
        The expected number of drawn predictions; of at most N of them all are drawn.
    """
    sizes = np.asarray(size, dtype=np.float64)
    n = len(sizes)
    if count >= n:
        return np.ones(n)
    total = float(sizes.sum())
    share = np.full(n, 1 / n) if total == 0 else (1 - UNIFORM_SHARE) * sizes / total + UNIFORM_SHARE / n
    probability = count * share
    certain = np.zeros(n, dtype=bool)
    while (probability[~certain] > 1).any():  # a probability above one is one, and the others share what is left
        certain |= probability > 1
        probability = np.where(certain, 1.0, (count - certain.sum()) * share / share[~certain].sum())
    return np.asarray(probability)


def sampled_accuracy(
    population: SampledPopulation, confidence: ArrayLike, probability: ArrayLike, right: ArrayLike
) -> SampledAccuracy:
    """Return the accuracy on a population: the mean confidence, corrected by the labelled part of its errors.

    The m labelled predictions are taken as a random sample of those that were drawn. Each error of confidence is
    weighted by the inverse of the probability with which its prediction was drawn and labelled (Horvitz and Thompson
    1952), so that the estimate is unbiased whatever confidence is worth.

    Parameters
    ----------
    confidence, probability : float (m,)
        Confidence and probability of the labelled predictions, as they were drawn; m >= 1.
    right : bool (m,)
        Whether the label is the predicted class.

    References
    ----------
    Zrnic and Candès (2024), Active statistical inference, ICML; Angelopoulos et al. (2023), Prediction-powered
    inference, Science 382.
    """
    f, drawn = np.asarray(confidence, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    m, n = len(f), population.size
    p = drawn * min(m / population.requested, 1.0)
    error = (np.asarray(right, dtype=np.float64) - f) / (p * n)
    estimate = population.mean_confidence + float(error.sum())
    measured = m * float((error**2).sum())
    label_variance = (m * measured + PRIOR_LABELS * population.label_variance) / (m + PRIOR_LABELS)
    sampled_part = float(((1 - p) * error**2).sum()) * m
    variance = (m * sampled_part + PRIOR_LABELS * population.label_variance * (1 - m / n)) / (m + PRIOR_LABELS) / m
    half = float(special.stdtrit(m + PRIOR_LABELS - 1, (1 + CONFIDENCE_LEVEL) / 2)) * float(np.sqrt(max(variance, 0.0)))
    low, middle, high = np.clip([estimate - half, estimate, estimate + half], 0, 1).tolist()
    return SampledAccuracy(middle, low, high, m, label_variance)


def labels_for(half_width: float, label_variance: float, size: int) -> int:
    """Return how many labels make the 95 % interval of the accuracy as narrow as +- `half_width`, at most `size`."""
    z = float(special.ndtri((1 + CONFIDENCE_LEVEL) / 2))
    allowed = (half_width / z) ** 2
    if label_variance <= 0:
        return 0
    return min(int(np.ceil(label_variance / (allowed + label_variance / size))), size)
