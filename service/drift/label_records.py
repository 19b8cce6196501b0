"""Labels that came back, as the label monitor stores them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .types import BoolArray, FloatArray, IntArray

REMEMBERED = 5000  # clusters and prediction ids that are recognised when they come again
SINGLE = -1  # cluster or id of a label that belongs to none


class Label(NamedTuple):
    """One label."""

    id: int
    cluster: int
    predicted: int
    label: int
    confidence: float  # calibrated probability that the prediction is right
    null_error: float  # error probability under the null of *concept*
    bets: bool  # False for the further labels of a cluster, and after a reset

    @property
    def is_wrong(self) -> bool:
        """Whether the model answered another class."""
        return self.predicted != self.label


class LabelColumns(NamedTuple):
    """Labels as arrays (m,)."""

    clusters: IntArray
    predicted: IntArray
    labels: IntArray
    confidence: FloatArray

    @classmethod
    def from_labels(cls, labels: Sequence[Label]) -> "LabelColumns":
        integers = np.array([(x.cluster, x.predicted, x.label) for x in labels], dtype=np.int64).reshape(-1, 3)
        clusters, predicted, truth = integers.T
        return cls(clusters, predicted, truth, np.array([x.confidence for x in labels], dtype=np.float64))

    @property
    def right(self) -> BoolArray:
        return np.asarray(self.predicted == self.labels)

    @property
    def weights(self) -> FloatArray:
        """One over the number of labels of the same cluster."""
        _, inverse, counts = np.unique(self.clusters, return_inverse=True, return_counts=True)
        return np.where(self.clusters == SINGLE, 1.0, 1 / counts[inverse])


class LabelTrace(NamedTuple):
    """The evidence after each label of an update, in nats: an alarm is raised at the label that causes it."""

    evidence: FloatArray  # (m,) of a concept shift
    harm_evidence: FloatArray  # (m,) of a harm


def remember(number: int, numbers: dict[int, None]) -> bool:
    """Return whether a number is new, and remember it as the newest of the last `REMEMBERED`."""
    if number == SINGLE:
        return True
    new = number not in numbers
    numbers.pop(number, None)
    numbers[number] = None
    if len(numbers) > REMEMBERED:
        del numbers[next(iter(numbers))]
    return new


def check_integers(name: str, values: ArrayLike | None, m: int, k: int | None = None) -> IntArray:
    """Return integers (m,), in 0..k-1 where k is given; `SINGLE` for each row where there are none.

    Raises
    ------
    ValueError
        Another shape, not integers, or out of range.
    """
    if values is None:
        return np.full(m, SINGLE, dtype=np.int64)
    array = np.asarray(values)
    limits = "" if k is None else f" in 0..{k - 1}"
    outside = k is not None and array.size and (array.min() < 0 or array.max() >= k)
    if array.shape != (m,) or array.dtype.kind not in "iu" or outside:
        raise ValueError(f"{name} must be {m} integers{limits}")
    return array.astype(np.int64)
