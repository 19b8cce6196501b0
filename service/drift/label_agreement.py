"""How often labels agree with predictions: the measured accuracy, and the classes that others take the place of."""

from collections.abc import Sequence

import numpy as np

from .label_records import LabelColumns
from .performance import wilson_interval
from .report import Agreement, LabelEvidence


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
    classes : predicted classes that are reported one by one.
    names : names of all classes.
    """
    accuracy, low, high, _ = measured_accuracy(labels)
    n = len(labels.labels)
    of_classes = tuple(_agreement(labels, label, names) for label in classes if (labels.predicted == label).any())
    disagreeing = tuple((n - 1 - np.flatnonzero(~labels.right)[::-1]).tolist())
    return LabelEvidence(n, accuracy, low, high, float(labels.confidence.mean()), of_classes, disagreeing)


def _agreement(labels: LabelColumns, predicted: int, names: Sequence[str]) -> Agreement:
    there = labels.predicted == predicted
    n, right = int(there.sum()), int((there & labels.right).sum())
    others = np.bincount(labels.labels[there & ~labels.right], minlength=len(names))
    instead = {names[i]: int(others[i]) for i in np.argsort(-others, kind="stable") if others[i]}
    confidence = float(labels.confidence[there].mean())
    return Agreement(names[predicted], n, right / n, *wilson_interval(right, n), confidence, instead)
