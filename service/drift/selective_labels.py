"""Whether labels are of a random sample of the predictions, and the accuracy of all of them where they are not."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .intervals import NORMAL_QUANTILE
from .label_records import LabelColumns
from .types import BoolArray, FloatArray, IntArray

LEVEL = 0.001  # p-value below which labels are called selective: the test is repeated with every step
MIN_TESTED = 30  # labels from which the test is made
STRATA = 10  # parts of the predictions by confidence, at most
MIN_STRATUM = 5.0  # labels of a stratum, at least
MAX_RIGHT_SHARE = 0.02  # share of right predictions among labels of errors only, at most: a button may be missed
PRIOR_LABELS = 5  # labels that the variance expected from confidence counts as, in each stratum


class CorrectedAccuracy(NamedTuple):
    """The accuracy on all predictions, measured on labels of some, with its 95 % interval."""

    accuracy: float
    low: float
    high: float


def selection_p_value(labels: LabelColumns, population: ArrayLike) -> float | None:
    """Return the p-value of "the labels are of a random sample of the predictions", or None for too few of either.

    The calibrated confidence of the labelled predictions is compared with that of all by the Kolmogorov-Smirnov test;
    the labels of one cluster count once. Labels that were chosen by what is wrong, and not by confidence, show in it as
    far as errors are less certain.

    Parameters
    ----------
    population : float (N,)
        Calibrated confidence of a random sample of the predictions.
    """
    confidence = labels.confidence[_first_of_clusters(labels.clusters)]
    others = np.asarray(population, dtype=np.float64)
    if min(len(confidence), len(others)) < MIN_TESTED:
        return None
    from scipy import stats  # its import takes longer than all others of this package together

    return float(stats.ks_2samp(confidence, others, method="asymp").pvalue)


def are_errors_only(labels: LabelColumns, population: ArrayLike) -> bool:
    """Check whether predictions seem to be labelled only where they are wrong, as a button "this is wrong" does it.

    No accuracy follows from such labels, and no weights correct them. Next to all are wrong although confidence says
    that this cannot be chance, and they are not a random sample of the predictions, or too few to tell. If next to all
    labels of a random sample are wrong, it is the model that fails.

    Parameters
    ----------
    population : float (N,)
        Calibrated confidence of a random sample of the predictions.
    """
    first = _first_of_clusters(labels.clusters)
    right, confidence = labels.right[first], labels.confidence[first]
    if len(np.asarray(population)) < MIN_TESTED or not len(right) or right.mean() > MAX_RIGHT_SHARE:
        return False
    wrong = np.maximum(1 - confidence[~right], np.finfo(float).tiny)
    if float(np.log(wrong).sum()) >= np.log(LEVEL):
        return False
    p_value = selection_p_value(labels, population)
    return p_value is None or p_value < LEVEL


def corrected_accuracy(labels: LabelColumns, population: ArrayLike) -> CorrectedAccuracy:
    """Return the accuracy on all predictions where the labelled ones were chosen by their confidence.

    Prediction-powered inference with inverse probability weights: the mean confidence of all predictions, plus its
    error on the labelled ones, weighted so that each stratum of confidence counts as much as among all predictions.
    Predictions that are more or less certain than every labelled one are taken at their confidence, and the interval is
    wider by the errors that this lets expect: no label says whether there are twice as many, or none.

    References
    ----------
    Angelopoulos, Bates, Fannjiang, Jordan and Zrnic (2023), Prediction-powered inference, Science 382.
    Horvitz and Thompson (1952), JASA 47.
    """
    others = np.asarray(population, dtype=np.float64)
    weights, error = labels.weights, labels.right - labels.confidence
    inner = _edges(labels.confidence, weights, others)
    of_labels, of_others = np.digitize(labels.confidence, inner), np.digitize(others, inner)
    estimate, variance, unseen = float(others.mean()), float(others.var() / len(others)), 0.0
    for stratum in range(len(inner) + 1):
        rows = of_labels == stratum
        share, n = float((of_others == stratum).mean()), float(weights[rows].sum())
        if n == 0:
            unseen += float((1 - others[of_others == stratum]).sum()) / len(others)
            continue
        mean = float(weights[rows] @ error[rows]) / n
        confidence = labels.confidence[rows]
        spread = float(weights[rows] @ (error[rows] - mean) ** 2)
        expected = float(weights[rows] @ (confidence * (1 - confidence))) / n
        estimate += share * mean
        variance += share**2 * (spread + PRIOR_LABELS * expected) / (n + PRIOR_LABELS) / n
    half = NORMAL_QUANTILE * float(np.sqrt(variance)) + unseen
    low, middle, high = np.clip([estimate - half, estimate, estimate + half], 0, 1).tolist()
    return CorrectedAccuracy(middle, low, high)


def _edges(confidence: FloatArray, weights: FloatArray, population: FloatArray) -> FloatArray:
    """Return the inner edges of the strata: quantiles of the population with enough labels between two of them, and
    the least and the greatest confidence of a label."""
    edges: list[float] = []
    candidates = np.unique(np.quantile(population, np.linspace(0, 1, STRATA + 1)[1:-1]))
    for edge in candidates.tolist():
        inside = (confidence >= (edges[-1] if edges else -np.inf)) & (confidence < edge)
        above = confidence >= edge
        if weights[inside].sum() >= MIN_STRATUM and weights[above].sum() >= MIN_STRATUM:
            edges.append(edge)
    least, most = float(confidence.min()), float(np.nextafter(confidence.max(), np.inf))
    return np.asarray([least, *(edge for edge in edges if least < edge < most), most])


def _first_of_clusters(clusters: IntArray) -> BoolArray:
    """Return which labels (m,) are the first of their cluster; those without one are."""
    first = np.zeros(len(clusters), dtype=bool)
    _, index = np.unique(clusters, return_index=True)
    first[index] = True
    return np.asarray(first | (clusters < 0))
