"""An alarm and an incident as parts of a stream's state, which its checkpoints hold."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NotRequired, TypedDict
from uuid import NAMESPACE_URL, UUID, uuid5

from ..alerts.alert_draft import Certainty, Severity
from ..store.report_json import RecurrenceJson
from .recurrence import Recurrence, Signature, SignatureJson


class AlarmJson(TypedDict):
    """An alarm as a checkpoint holds it, without the request of its window: the answer to it is lost."""

    detected_at: str
    change: int
    change_range: Sequence[int] | None
    view: str
    evidence: float
    threshold: float


class IncidentJson(TypedDict):
    """An incident as a checkpoint holds it; the keys that are not required are missing in those of earlier versions."""

    id: str
    kind: str
    certainty: Certainty
    severity: Severity
    since: str
    delay: int
    alarmed_at: int
    evidence: float
    change: int
    change_range: Sequence[int] | None
    reopened: NotRequired[int]
    named: NotRequired[str | None]
    accuracy: NotRequired[float | None]
    harmful: NotRequired[bool]
    resolved_at: str | None
    signature: NotRequired[SignatureJson | None]
    recurrence: NotRequired[RecurrenceJson | None]
    quiet_since: NotRequired[str | None]
    has_returned: NotRequired[bool]


@dataclass(frozen=True)
class Alarm:
    """An alarm of the detector without an alert yet: its kind is still to be named.

    Parameters
    ----------
    detected_at : datetime
        When the detector alarmed.
    change : int
        The number of the stream's predictions before the change.
    change_range : pair of int, optional
        The numbers between which the change lies.
    view : str
        The detector's view with the largest evidence.
    evidence, threshold : float
        At the alarm.
    requested_at : datetime, optional
        When a window that explains the alarm was requested; None while none is being tested.
    explained : int
        The predictions since the change that the last such window had.
    """

    detected_at: dt.datetime
    change: int
    change_range: tuple[int, int] | None
    view: str
    evidence: float
    threshold: float
    requested_at: dt.datetime | None = None
    explained: int = 0

    def to_json(self) -> AlarmJson:
        """Return the alarm as JSON values."""
        return {
            "detected_at": self.detected_at.isoformat(),
            "change": self.change,
            "change_range": self.change_range,
            "view": self.view,
            "evidence": self.evidence,
            "threshold": self.threshold,
        }

    @classmethod
    def from_json(cls, values: AlarmJson) -> "Alarm":
        """Return the alarm that `to_json` gave; its window is requested again."""
        return cls(
            detected_at=dt.datetime.fromisoformat(values["detected_at"]),
            change=values["change"],
            change_range=_pair(values["change_range"]),
            view=values["view"],
            evidence=values["evidence"],
            threshold=values["threshold"],
        )


@dataclass(frozen=True)
class Incident:
    """An alert that fires, or that was resolved so short a time ago that it may be reopened.

    Parameters
    ----------
    delay : int
        The predictions from the change to the alarm.
    alarmed_at : int
        The number of the stream's predictions at the detector's newest alarm.
    quiet_since : datetime, optional
        The time of that alarm.
    has_returned : bool
        Whether the detector of further shifts has alarmed since then, and the window since looks like the baseline.
    evidence : float
        The detector's evidence at that alarm.
    named : str, optional
        The kind that the newest window named.
    accuracy : float, optional
        The estimated accuracy of the last event.
    harmful : bool
        Of an incident that labels raised: whether they show that the model became worse.
    signature : Signature, optional
        What it looks like, by which later incidents are compared with it.
    recurrence : Recurrence, optional
        The earlier incidents that it resembles.
    """

    id: UUID
    kind: str
    certainty: Certainty
    severity: Severity
    since: dt.datetime
    delay: int
    alarmed_at: int
    evidence: float
    change: int
    change_range: tuple[int, int] | None = None
    reopened: int = 0
    named: str | None = None
    accuracy: float | None = None
    resolved_at: dt.datetime | None = None
    harmful: bool = False
    signature: Signature | None = None
    recurrence: Recurrence | None = None
    quiet_since: dt.datetime | None = None
    has_returned: bool = False

    @property
    def open(self) -> bool:
        """Whether the alert fires."""
        return self.resolved_at is None

    def alarmed_again(self, seen: int, at: dt.datetime, evidence: float) -> "Incident":
        """Return the incident after another alarm of the detector: its quiet time begins again."""
        return replace(self, alarmed_at=seen, quiet_since=at, has_returned=False, evidence=evidence)

    def to_json(self) -> IncidentJson:
        """Return the incident as JSON values."""
        return {
            "id": str(self.id),
            "kind": self.kind,
            "certainty": self.certainty,
            "severity": self.severity,
            "since": self.since.isoformat(),
            "delay": self.delay,
            "alarmed_at": self.alarmed_at,
            "evidence": self.evidence,
            "change": self.change,
            "change_range": self.change_range,
            "reopened": self.reopened,
            "named": self.named,
            "accuracy": self.accuracy,
            "quiet_since": self.quiet_since.isoformat() if self.quiet_since else None,
            "has_returned": self.has_returned,
            "harmful": self.harmful,
            "resolved_at": self.resolved_at.isoformat() if self.resolved_at else None,
            "signature": self.signature.to_json() if self.signature else None,
            "recurrence": self.recurrence.to_json() if self.recurrence else None,
        }

    @classmethod
    def from_json(cls, values: IncidentJson) -> "Incident":
        """Return the incident that `to_json` gave, in this version or an earlier one."""
        resolved_at, quiet_since = values["resolved_at"], values.get("quiet_since")
        signature, recurrence = values.get("signature"), values.get("recurrence")
        return cls(
            id=UUID(values["id"]),
            kind=values["kind"],
            certainty=values["certainty"],
            severity=values["severity"],
            since=dt.datetime.fromisoformat(values["since"]),
            delay=values["delay"],
            alarmed_at=values["alarmed_at"],
            evidence=values["evidence"],
            change=values["change"],
            change_range=_pair(values["change_range"]),
            reopened=values.get("reopened", 0),
            named=values.get("named"),
            accuracy=values.get("accuracy"),
            resolved_at=dt.datetime.fromisoformat(resolved_at) if resolved_at else None,
            harmful=values.get("harmful", False),
            signature=Signature.from_json(signature) if signature else None,
            recurrence=Recurrence.from_json(recurrence) if recurrence else None,
            quiet_since=dt.datetime.fromisoformat(quiet_since) if quiet_since else None,
            has_returned=values.get("has_returned", False),
        )


def _pair(between: Sequence[int] | None) -> tuple[int, int] | None:
    return (between[0], between[1]) if between else None


def incident_id(stream: str, kind: str, position: int, at: dt.datetime) -> UUID:
    """Return the id of an incident: the same for the same stream, kind, position and time."""
    return uuid5(NAMESPACE_URL, f"tidemark:{stream}/{kind}/{position}/{at.timestamp()}")
