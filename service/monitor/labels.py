"""Labels that were fed back to a stream: its measured accuracy, and whether the labels mean something else now."""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..drift import ConceptMonitor, Reference
from ..drift.label_history import RECENT
from ..drift.tolerance import tolerance_of
from ..store.stream_status import MeasuredAccuracy

HISTORY = 60  # points of evidence that are kept for the chart
DISAGREEING = 12  # images whose labels disagree that a report shows
MAX_LABELS = 2000  # labels of one step
QUIET = 0.5  # share of the threshold below which no change has begun
NAMED_CLASSES = 4  # classes that a summary names
MIN_LABELS = 20  # labels that the accuracy in a summary is measured on, at least

IdRows = NDArray[np.uint8]  # (m, 16), UUIDs as bytes


class FedBackLabels(NamedTuple):
    """Labels that were fed back to one stream, in the order in which they came."""

    ids: IdRows  # (m, 16)
    predicted: NDArray[np.int64]  # (m,)
    probabilities: NDArray[np.float32]  # (m, k)
    labels: NDArray[np.int64]  # (m,)
    is_first: NDArray[np.bool_]  # (m,), False for a label that corrects an earlier one of the same prediction

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The predictions as integers, by which a correction finds the label that it replaces."""
        low = self.ids[:, 8:].copy().view(">i8").ravel().astype(np.int64)
        return np.abs(low)

    def rows(self, index: NDArray[np.int64]) -> "FedBackLabels":
        """Return the labels at `index`."""
        return FedBackLabels(
            self.ids[index], self.predicted[index], self.probabilities[index], self.labels[index], self.is_first[index]
        )


@dataclass(frozen=True)
class LabelState:
    """What the labels of a stream have shown so far; `monitor` moves forward with every step.

    Parameters
    ----------
    monitor : ConceptMonitor
        The sequential test of the labels.
    ids : uint8 (at most 500, 16)
        The predictions of the newest labels.
    history : tuple
        Points of evidence: time, number of labels, evidence.
    quiet_at : datetime, optional
        When the evidence was last negligible.
    unquiet : int
        Labels since then.
    """

    monitor: ConceptMonitor
    ids: IdRows
    history: tuple[tuple[str, int, float], ...] = ()
    quiet_at: dt.datetime | None = None
    unquiet: int = 0

    @classmethod
    def start(cls, reference: Reference) -> "LabelState":
        """Return the state before the first label."""
        return cls(ConceptMonitor(reference), np.zeros((0, 16), np.uint8))

    @property
    def over(self) -> bool:
        """Whether the labels since the last detection show that the model is as good as its confidence again."""
        return self.monitor.recovery_evidence > self.monitor.recovery_threshold

    @property
    def accuracy(self) -> MeasuredAccuracy | None:
        """The accuracy on the last labels, or None before the first label."""
        measured = self.monitor.accuracy()
        return None if measured is None else MeasuredAccuracy(*measured)

    def to_arrays(self) -> tuple[dict[str, ArrayLike], dict[str, Any]]:
        """Return the state as arrays and JSON values."""
        rest = {
            "history": self.history,
            "quiet_at": self.quiet_at.isoformat() if self.quiet_at else None,
            "unquiet": self.unquiet,
        }
        return self.monitor.state() | {"ids": self.ids}, rest

    @classmethod
    def of(cls, reference: Reference, arrays: Mapping[str, Any], rest: Mapping[str, Any]) -> "LabelState":
        """Return the state that `to_arrays` gave."""
        quiet_at = rest["quiet_at"]
        return cls(
            ConceptMonitor.restore(reference, arrays),
            np.asarray(arrays["ids"], dtype=np.uint8).reshape(-1, 16),
            tuple((str(time), int(count), float(evidence)) for time, count, evidence in rest["history"]),
            dt.datetime.fromisoformat(quiet_at) if quiet_at else None,
            int(rest["unquiet"]),
        )


@dataclass(frozen=True)
class ConceptDetection:
    """Labels that disagree with calibrated confidence: what the report of the alert says of them."""

    since: dt.datetime | None
    report: dict[str, Any]  # overrides kind, drifted, summary and labels of a window report


class LabelStep(NamedTuple):
    """What a step of labels gave."""

    state: LabelState
    detection: ConceptDetection | None


def process_labels(
    state: LabelState,
    batch: FedBackLabels,
    *,
    kinds: Collection[str],
    proportions: ArrayLike | None,
    run_time: float,
    seen: int,
    now: dt.datetime,
) -> LabelStep:
    """Process labels that were fed back.

    Parameters
    ----------
    kinds : collection of str
        The kinds of drift that are firing, which say how far confidence can be trusted.
    proportions : float (k,), optional
        The estimated class proportions, while they have drifted.
    run_time : float
        The expected run time in predictions of the stream.
    seen : int
        The predictions of the stream so far, which tell what share of them is labelled.

    Returns
    -------
    LabelStep
        The new state, and the detection where the labels disagree with calibrated confidence; then the sequential
        test has started again.
    """
    monitor = state.monitor
    trace = monitor.update(
        batch.probabilities,
        batch.predicted,
        batch.labels,
        tolerance=tolerance_of(kinds),
        proportions=proportions if "label" in kinds else None,
        ids=batch.numbers,
    )
    highest, m = float(trace.evidence.max()), int(batch.is_first.sum())
    threshold = monitor.threshold(run_time, min(1.0, monitor.count / max(seen, 1)))
    state = replace(
        state,
        ids=np.concatenate([state.ids, batch.ids[batch.is_first]])[-RECENT:],
        history=(*state.history, (now.isoformat(), monitor.count, max(highest, 0.0)))[-HISTORY:],
        unquiet=state.unquiet + m,
    )
    if highest < QUIET * threshold:
        state = replace(state, quiet_at=now, unquiet=0)
    if highest <= threshold:
        return LabelStep(state, None)
    detection = _describe(state, threshold)
    monitor.reset()
    return LabelStep(state, detection)


def _describe(state: LabelState, threshold: float) -> ConceptDetection | None:
    monitor = state.monitor
    agreement = monitor.agreement(max(state.unquiet, MIN_LABELS))
    if agreement is None:
        return None
    newest = agreement.disagreeing[:DISAGREEING]
    labels = agreement.to_dict() | {
        "disagreeing": [str(UUID(bytes=state.ids[-1 - back].tobytes())) for back in newest],
        "since": state.quiet_at.isoformat() if state.quiet_at else None,
        "evidence": {
            "history": [list(point) for point in state.history],
            "threshold": threshold,
            "change": monitor.count - state.unquiet,
        },
    }
    classes = ", ".join(item["name"] for item in labels["classes"][:NAMED_CLASSES])
    where = f", most where the model says {classes}" if classes else ""
    summary = (
        f"Labels that come back disagree with the model{where}: accuracy "
        f"{monitor.reference_accuracy:.2f} → {labels['accuracy']:.2f} on the last {labels['n']} labels"
    )
    return ConceptDetection(state.quiet_at, {"kind": "concept", "drifted": True, "summary": summary, "labels": labels})
