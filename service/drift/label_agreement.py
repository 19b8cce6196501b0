"""How often labels agree with predictions: the measured accuracy, and the classes that others take the place of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .intervals import wilson_interval
from .label_records import LabelColumns
from .types import FloatArray

MIN_CLASS_EVIDENCE = float(np.log(10))  # nats from which a predicted class is named
CLASS_EVIDENCE_RANGE = float(np.log(1000))  # nats below the strongest class up to which others are named


class Agreement(NamedTuple):
    """The share of labels that agreed with the model where it predicted one class; `confidence` is the mean
    calibrated confidence there, `other_labels` counts the other labels, most frequent first."""

    name: str
    n: int
    accuracy: float
    low: float
    high: float
    confidence: float
    other_labels: dict[str, int]


@dataclass(frozen=True)
class LabelEvidence:
    """Labels that came back, compared with the calibrated confidence; intervals at 95 % (Wilson).

    `classes` are the predicted classes that carry the evidence, strongest first; `disagreeing` counts labels back
    from the last one, which is 0.
    """

    n: int
    accuracy: float
    low: float
    high: float
    confidence: float
    classes: tuple[Agreement, ...]
    disagreeing: tuple[int, ...]


def measured_accuracy(labels: LabelColumns) -> tuple[float, float, float, int]:
    """Return the accuracy of labels with its 95 % interval (Wilson) and their number; those of one cluster weigh as
    one."""
    weights = labels.weights
    right, total = float(weights @ labels.right), float(weights.sum())
    return right / total, *wilson_interval(right, total), round(total)


def label_evidence(labels: LabelColumns, classes: Sequence[int], names: Sequence[str]) -> LabelEvidence:
    """Return the accuracy of labels next to calibrated confidence.

    Parameters
    ----------
    classes : sequence of int
        Predicted classes that are reported one by one.
    names : sequence of str
        Names of all classes.
    """
    accuracy, low, high, _ = measured_accuracy(labels)
    n = len(labels.labels)
    of_classes = tuple(_agreement(labels, label, names) for label in classes if (labels.predicted == label).any())
    disagreeing = tuple((n - 1 - np.flatnonzero(~labels.right)[::-1]).tolist())
    return LabelEvidence(n, accuracy, low, high, float(labels.confidence.mean()), of_classes, disagreeing)


def leading_classes(evidence: FloatArray) -> list[int]:
    """Return the classes that carry the evidence, strongest first, by the evidence (k,) of each in nats."""
    order = np.argsort(-evidence, kind="stable")
    least = max(MIN_CLASS_EVIDENCE, float(evidence[order[0]]) - CLASS_EVIDENCE_RANGE)
    return [int(label) for label in order if evidence[label] > least]


def _agreement(labels: LabelColumns, predicted: int, names: Sequence[str]) -> Agreement:
    rows_of_class = labels.predicted == predicted
    n, right = int(rows_of_class.sum()), int((rows_of_class & labels.right).sum())
    others = np.bincount(labels.labels[rows_of_class & ~labels.right], minlength=len(names))
    other_labels = {names[i]: int(others[i]) for i in np.argsort(-others, kind="stable") if others[i]}
    confidence = float(labels.confidence[rows_of_class].mean())
    return Agreement(names[predicted], n, right / n, *wilson_interval(right, n), confidence, other_labels)
