"""The labels that came back, and the sums of their bets: a corrected label replaces its bet."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from .e_detector import ALTERNATIVES, ErrorLevels, LabelSums, log_factors
from .label_records import Label, LabelColumns, remember
from .recovery import Recovery, Tally
from .types import FloatArray

RECENT = 500  # labels whose details are stored, and that a correction can replace
NUMBERS = 2  # leading fields of a label that need all bits of an integer


class LabelHistory:
    """The last 500 labels, and the logarithms of the Shiryaev-Roberts sums over all labels.

    Parameters
    ----------
    classes : int
        Number of classes k.
    levels : ErrorLevels
        Shares of errors on the reference, and that are no harm.

    Attributes
    ----------
    count : int
        Labels of different predictions.
    recent : list of Label
        The last 500, oldest first.
    sums : LabelSums
        Sums over all labels.
    """

    def __init__(self, classes: int, levels: ErrorLevels) -> None:
        self.count = 0
        self.recent: list[Label] = []
        self.sums = self._before = LabelSums.zero(classes)  # sums of all labels, and of those before the recent ones
        self._levels = levels
        self._clusters: dict[int, None] = {}
        self._ids: dict[int, None] = {}

    def add(self, label: Label, factors: FloatArray) -> None:
        """Add a label with its log factors, unless its prediction had one: then replace that one."""
        if not remember(label.id, self._ids):
            self._correct(label)
            return
        label = label._replace(bets=remember(label.cluster, self._clusters))
        self.recent.append(label)
        self.count += 1
        if label.bets:
            self.sums = self.sums.followed_by(label, factors, self._levels)
        if len(self.recent) > RECENT:
            self._before = self._replayed(self._before, [self.recent.pop(0)])

    def reset(self) -> None:
        """Forget all bets; the recent labels stay, and the errors of the incident whose end is tested."""
        self._start(self.sums.restarted())

    def begin_incident(self, last: int) -> None:
        """Forget all bets, and test from now on whether the incident of the last labels has ended."""
        recent = self.recent[-last:] if last else []
        labels = LabelColumns.from_labels(recent)
        permitted = np.array([label.null_error for label in recent], dtype=np.float64)
        concept = Tally.from_labels(labels, permitted)
        harm = Tally.from_labels(labels, np.full(len(recent), self._levels.harmless))
        self._start(LabelSums.zero(len(self.sums.of_class), Recovery(incident=concept), Recovery(incident=harm)))

    def state(self) -> dict[str, ArrayLike]:
        """Return everything that is stored, as arrays and scalars."""
        return {
            "count": self.count,
            "sums": _pooled_numbers(self.sums),
            "sums_of_class": self.sums.of_class,
            "recovery": _recovery_numbers(self.sums),
            "before": _pooled_numbers(self._before),
            "before_of_class": self._before.of_class,
            "before_recovery": _recovery_numbers(self._before),
            "recent": np.array(self.recent, dtype=np.float64).reshape(-1, len(Label._fields))[:, NUMBERS:],
            "recent_ids": np.array([label[:NUMBERS] for label in self.recent], dtype=np.int64).reshape(-1, NUMBERS),
            "clusters": np.array(list(self._clusters), dtype=np.int64),
            "label_ids": np.array(list(self._ids), dtype=np.int64),
        }

    def restore(self, state: Mapping[str, ArrayLike]) -> None:
        """Continue where the object that gave `state` stopped.

        The state of a version before 0.2 held sums that could overflow: only its count is taken. That of a version
        without the errors of an incident gives a test of its end that permits hardly more errors than the reference.
        """
        self.count = int(np.asarray(state["count"]))
        if "sums" not in state:
            return
        self.sums = _restored(state["sums"], state["sums_of_class"], state.get("recovery"))
        self._before = _restored(state["before"], state["before_of_class"], state.get("before_recovery"))
        recent_ids, recent = np.asarray(state["recent_ids"]).tolist(), np.asarray(state["recent"]).tolist()
        for (key, cluster), values in zip(recent_ids, recent, strict=True):
            predicted, label, confidence, null_error, bets = values
            self.recent.append(Label(key, cluster, int(predicted), int(label), confidence, null_error, bool(bets)))
        self._clusters = dict.fromkeys(np.asarray(state["clusters"]).tolist())
        self._ids = dict.fromkeys(np.asarray(state["label_ids"]).tolist())

    def _correct(self, correction: Label) -> None:
        """Replace an earlier label of the same prediction, and compute the sums again from before the recent labels."""
        for position, label in enumerate(self.recent):
            if label.id == correction.id and label.label != correction.label:
                self.recent[position] = label._replace(label=correction.label)
                self.sums = self._replayed(self._before, self.recent)

    def _start(self, sums: LabelSums) -> None:
        self.sums = self._before = sums
        self.recent = [label._replace(bets=False) for label in self.recent]

    def _replayed(self, sums: LabelSums, labels: Sequence[Label]) -> LabelSums:
        betting = [label for label in labels if label.bets]
        wrong = np.array([label.is_wrong for label in betting], dtype=bool)
        null_error = np.array([label.null_error for label in betting], dtype=np.float64)
        for label, factors in zip(betting, log_factors(wrong, null_error, self._levels.harmless), strict=True):
            sums = sums.followed_by(label, factors, self._levels)
        return sums


def _pooled_numbers(sums: LabelSums) -> FloatArray:
    """Return the sums over all labels, and the evidence of the two recoveries, which earlier versions read there."""
    return np.append(sums.pooled, [sums.recovery.evidence, sums.harm_recovery.evidence])


def _recovery_numbers(sums: LabelSums) -> FloatArray:
    return np.array([sums.recovery.to_numbers(), sums.harm_recovery.to_numbers()])


def _restored(pooled: ArrayLike, of_class: ArrayLike, recovery: ArrayLike | None) -> LabelSums:
    """Return the sums from `_pooled_numbers`, and where this version wrote them from `_recovery_numbers`."""
    values = np.array(pooled)
    columns = 2 * ALTERNATIVES
    if recovery is None:
        tests = [Recovery.from_evidence(evidence) for evidence in values[columns:].tolist()]
    else:
        tests = [Recovery.from_numbers(numbers) for numbers in np.asarray(recovery).tolist()]
    return LabelSums(values[:columns], np.array(of_class), *tests)
