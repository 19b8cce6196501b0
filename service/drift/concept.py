"""Concept shift: do the labels that come back still agree with what confidence promised?"""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .label_shift import Calibration
from .performance import at_proportions, wilson_interval
from .reference import Reference
from .report import Agreement, LabelEvidence

Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]

TOLERANCE = 0.02  # share of errors beyond what confidence promised that is no concept shift,
TOLERANCE_OF_CHANGED_MIX = 0.05  # while the class proportions have drifted,
TOLERANCE_OF_CHANGED_IMAGES = 0.3  # and while the images have, so that confidence promises too much
FLIPPED = np.array([0.05, 0.1, 0.2, 0.4, 0.8])  # shares of labels that changed, under the alternatives
RECENT = 500  # labels that are remembered
SHARE_OF_BUDGET = 0.5  # of the stream's false alarms: by the bound, which is far from tight for a mixture
MIN_RUN_TIME = 100.0  # labels


class ConceptMonitor:
    """Bets against calibrated confidence on every label that comes back (Waudby-Smith and Ramdas 2024).

    Let m_i be the calibrated probability that prediction i is wrong, plus a tolerance. While the true probability is
    at most m_i, each factor (q_i/m_i)^wrong ((1-q_i)/(1-m_i))^right with q_i > m_i has mean at most one. Their
    Shiryaev-Roberts sums R <- (R + 1) factor, mixed over five alternatives q, over all labels and per predicted
    class, are an e-detector (Shin, Ramdas and Rinaldo 2023): the mean number of labels until it exceeds A is at
    least A.

    Parameters
    ----------
    reference : with labels.

    Raises
    ------
    ValueError
        The reference has no labels.
    """

    def __init__(self, reference: Reference) -> None:
        if reference.labels is None:
            raise ValueError("concept shift is told against the reference's true labels; it has none")
        self._reference = reference
        self._calibration = _calibration(reference)
        self._prior = np.bincount(reference.labels, minlength=reference.classes) / len(reference)
        self.reference_accuracy = float((reference.probabilities.argmax(axis=1) == reference.labels).mean())
        self.count = 0
        self._recent = _Recent(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))
        self._all = np.zeros(len(FLIPPED))
        self._of_class = np.zeros((reference.classes, len(FLIPPED)))

    def update(
        self,
        probabilities: ArrayLike,
        predicted: ArrayLike,
        labels: ArrayLike,
        tolerance: float = TOLERANCE,
        proportions: ArrayLike | None = None,
    ) -> None:
        """Take labels in the order in which they came.

        Parameters
        ----------
        probabilities : (m, k) as predicted.
        predicted, labels : (m,) predicted and true classes.
        tolerance : of errors that confidence did not promise; more while the images themselves have drifted.
        proportions : (k,) class proportions that confidence is to be adjusted to, while they have drifted.

        Raises
        ------
        ValueError
            Shapes that do not match, labels out of range, probabilities that are none.
        """
        k = self._reference.classes
        chosen, truth = np.asarray(predicted), np.asarray(labels)
        rows = self._reference.check(np.zeros((len(chosen), self._reference.embeddings.shape[1])), probabilities)
        for name, values in (("predicted", chosen), ("labels", truth)):
            if values.shape != (len(rows),) or values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= k:
                raise ValueError(f"{name} must be {len(rows)} integers in 0..{k - 1}")
        posterior = self._calibration(rows.probabilities)
        if proportions is not None:
            posterior = at_proportions(posterior, self._prior, np.asarray(proportions, dtype=np.float64))
        promised = posterior[np.arange(len(rows)), chosen]
        doubted = np.clip(1 - promised + tolerance, 1e-3, 0.95)[:, None]
        expected = 1 - (1 - doubted) * (1 - FLIPPED)
        wrong = chosen != truth
        factors = np.where(wrong[:, None], expected / doubted, (1 - expected) / (1 - doubted))
        for label, factor in zip(chosen, factors, strict=True):
            self._all = (self._all + 1) * factor
            self._of_class[label] = (self._of_class[label] + 1) * factor
        self.count += len(rows)
        self._recent = self._recent.followed_by(chosen, truth, promised).last(RECENT)

    @property
    def evidence(self) -> float:
        """The logarithm of the e-detector."""
        total = 0.5 * float(self._all.mean()) + 0.5 * float(self._of_class.mean(axis=1).sum())
        return float(np.log(max(total, 1e-300)))

    def threshold(self, expected_run_time: float, labelled_share: float) -> float:
        """Return the evidence at which to alarm, run time in predictions, a share of them labelled."""
        return float(np.log(max(expected_run_time * labelled_share / SHARE_OF_BUDGET, MIN_RUN_TIME)))

    def classes(self) -> list[int]:
        """Return the predicted classes that carry the evidence, strongest first."""
        each = self._of_class.mean(axis=1)
        order = np.argsort(-each, kind="stable")
        return [int(label) for label in order if each[label] > max(10.0, 1e-3 * each[order[0]])]

    def accuracy(self, last: int = RECENT) -> tuple[float, float, float, int] | None:
        """Return the accuracy of the last labels with its 95 % interval (Wilson) and their number, or None."""
        recent = self._recent.last(last)
        n = len(recent.right)
        if not n:
            return None
        right = int(recent.right.sum())
        return right / n, *wilson_interval(right, n), n

    def agreement(self, last: int = RECENT) -> LabelEvidence | None:
        """Return what the last labels say beside what confidence promised, or None before the first label."""
        recent, found = self._recent.last(last), self.accuracy(last)
        if found is None:
            return None
        accuracy, low, high, n = found
        classes = tuple(self._agreement(recent, label) for label in self.classes() if (recent.predicted == label).any())
        disagreeing = tuple((n - 1 - np.flatnonzero(~recent.right)[::-1]).tolist())
        return LabelEvidence(n, accuracy, low, high, float(recent.promised.mean()), classes, disagreeing)

    def _agreement(self, recent: "_Recent", label: int) -> Agreement:
        names = self._reference.class_names
        there = recent.predicted == label
        n, right = int(there.sum()), int((there & recent.right).sum())
        others = np.bincount(recent.labels[there & ~recent.right], minlength=len(names))
        instead = {names[i]: int(others[i]) for i in np.argsort(-others, kind="stable") if others[i]}
        promised = float(recent.promised[there].mean())
        return Agreement(names[label], n, right / n, *wilson_interval(right, n), promised, instead)

    def reset(self) -> None:
        """Forget all evidence; the recent labels stay."""
        self._all[:] = 0
        self._of_class[:] = 0

    def state(self) -> dict[str, Any]:
        """Return all that the monitor knows, as arrays and scalars."""
        return {"count": self.count, "all": self._all, "of_class": self._of_class} | self._recent._asdict()

    @classmethod
    def restore(cls, reference: Reference, state: Mapping[str, Any]) -> "ConceptMonitor":
        """Return a monitor that goes on where the one that gave `state` stopped."""
        monitor = cls(reference)
        monitor.count = int(state["count"])
        monitor._all = np.array(state["all"], dtype=np.float64)
        monitor._of_class = np.array(state["of_class"], dtype=np.float64)
        monitor._recent = _Recent(*(np.array(state[name]) for name in _Recent._fields))
        return monitor


def tolerance_of(kinds: Collection[str]) -> float:
    """Return the share of errors beyond what confidence promised that is no concept shift, by the drift there is."""
    if not {"covariate", "both"}.isdisjoint(kinds):
        return TOLERANCE_OF_CHANGED_IMAGES
    return TOLERANCE_OF_CHANGED_MIX if "label" in kinds else TOLERANCE


class _Recent(NamedTuple):
    """The last labels, in the order in which they came."""

    predicted: Integers  # (m,)
    labels: Integers  # (m,)
    promised: Matrix  # (m,) calibrated probability that the prediction is right

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.predicted == self.labels)

    def followed_by(self, predicted: NDArray[Any], labels: NDArray[Any], promised: Matrix) -> "_Recent":
        return _Recent(
            np.concatenate([self.predicted, predicted.astype(np.int64)]),
            np.concatenate([self.labels, labels.astype(np.int64)]),
            np.concatenate([self.promised, promised]),
        )

    def last(self, count: int) -> "_Recent":
        return _Recent(self.predicted[-count:], self.labels[-count:], self.promised[-count:])


@lru_cache(maxsize=8)
def _calibration(reference: Reference) -> Calibration:
    """Return a reference's calibration of probabilities, which takes long to fit."""
    if reference.labels is None:
        raise ValueError("a reference without labels has no calibration")
    return Calibration(reference.probabilities, reference.labels)
