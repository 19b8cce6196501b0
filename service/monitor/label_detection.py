"""An alarm that labels raise, and what its report says."""

import datetime as dt
from dataclasses import dataclass
from typing import TypedDict
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ..alerts.alert_draft import Certainty
from ..drift.label_agreement import LabelEvidence
from ..store.label_evidence_json import AgreementJson, LabelEvidenceJson
from ..store.stream_status import MeasuredAccuracy
from .labels import LabelState

DISAGREEING = 12  # images whose labels disagree that a report shows
NAMED_CLASSES = 4  # classes that a summary names
MIN_LABELS = 20  # labels that the accuracy in a summary is measured on, at least


class DetectionJson(TypedDict):
    """An alarm that labels raised, as a checkpoint holds it until the window of its alert is tested."""

    kind: str
    certainty: Certainty
    harmful: bool
    since: str | None
    summary: str
    labels: LabelEvidenceJson


@dataclass(frozen=True)
class LabelDetection:
    """An alarm that labels raise.

    Parameters
    ----------
    kind : str
        "concept" where the labels disagree with calibrated confidence, "harm" where the model became worse for
        another reason.
    certainty : {"likely", "sure"}
        How decisive the evidence for the kind is.
    harmful : bool
        Whether the model is wrong more often than on the reference, beyond the tolerance.
    since : datetime, optional
        The estimated time of the change.
    summary : str
        The sentence of the alert.
    labels : LabelEvidenceJson
        What the labels show, as the report of the alert holds it.
    """

    kind: str
    certainty: Certainty
    harmful: bool
    since: dt.datetime | None
    summary: str
    labels: LabelEvidenceJson

    @property
    def low(self) -> float:
        """The lower end of the measured accuracy's interval."""
        return self.labels["low"]

    def to_json(self) -> DetectionJson:
        """Return the detection as JSON values."""
        return {
            "kind": self.kind,
            "certainty": self.certainty,
            "harmful": self.harmful,
            "since": self.since.isoformat() if self.since else None,
            "summary": self.summary,
            "labels": self.labels,
        }

    @classmethod
    def from_json(cls, values: DetectionJson) -> "LabelDetection":
        """Return the detection that `to_json` gave."""
        since = values["since"]
        return cls(
            kind=values["kind"],
            certainty=values["certainty"],
            harmful=values["harmful"],
            since=dt.datetime.fromisoformat(since) if since else None,
            summary=values["summary"],
            labels=values["labels"],
        )


def describe(
    state: LabelState,
    population: NDArray[np.float32],
    kind: str,
    certainty: Certainty,
    *,
    harmful: bool,
    threshold: float,
) -> LabelDetection | None:
    """Return the alarm with the accuracy of the labels since no change had begun; None without any label.

    Parameters
    ----------
    population : float32 (N,)
        Calibrated confidence of a part of the recent predictions, to which selective labels are corrected.
    threshold : float
        The evidence of the alarm in nats, for the chart.
    """
    monitor = state.monitor
    last = max(state.since_quiet, MIN_LABELS)
    agreement, measured = monitor.agreement(last), state.accuracy(population, last)
    if agreement is None or measured is None:
        return None
    labels = _labels_json(state, agreement, measured, threshold)
    figures = f"accuracy {monitor.reference_accuracy:.2f} → {labels['accuracy']:.2f} on the last {labels['n']} labels"
    classes = ", ".join(item["name"] for item in labels["classes"][:NAMED_CLASSES])
    class_text = f", most where the model says {classes}" if classes else ""
    if kind == "concept":
        summary = f"Labels that come back disagree with the model{class_text}: {figures}"
    else:
        summary = f"The model became worse: {figures}"
    return LabelDetection(kind, certainty, harmful, state.quiet_at, summary, labels)


def _labels_json(
    state: LabelState, agreement: LabelEvidence, measured: MeasuredAccuracy, threshold: float
) -> LabelEvidenceJson:
    monitor = state.monitor
    newest = agreement.disagreeing[:DISAGREEING]
    labels: LabelEvidenceJson = {
        "n": agreement.n,
        "accuracy": agreement.accuracy,
        "low": agreement.low,
        "high": agreement.high,
        "promised": agreement.confidence,
        "classes": [
            AgreementJson(
                name=item.name,
                n=item.n,
                accuracy=item.accuracy,
                low=item.low,
                high=item.high,
                promised=item.confidence,
                instead=item.other_labels,
            )
            for item in agreement.classes
        ],
        "disagreeing": [str(UUID(bytes=state.ids[-1 - back].tobytes())) for back in newest],
        "since": state.quiet_at.isoformat() if state.quiet_at else None,
        "evidence": {
            "history": list(state.history),
            "threshold": threshold,
            "change": monitor.count - state.since_quiet,
        },
        "reference_accuracy": monitor.reference_accuracy,
    }
    if measured.is_corrected:
        labels |= {
            "accuracy": measured.accuracy,
            "low": measured.low,
            "high": measured.high,
            "on_labels": measured.on_labels,
        }
    return labels
