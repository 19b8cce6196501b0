"""An alarm and an incident as parts of a stream's state, which its checkpoints hold."""

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from ..alerts.alert_draft import Certainty, Severity
from .recurrence import Recurrence, Signature


@dataclass(frozen=True)
class Alarm:
    """An alarm of the detector that no alert has told yet: its kind is still to be named.

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
        The estimated accuracy that was told last.
    harmful : bool
        Of an incident that labels raised: whether they show that the model became worse.
    baseline_ids : uint8 (m, 16), optional
        The predictions since the change that the second detector is compared with, once it is being prepared.
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
    baseline_ids: NDArray[np.uint8] | None = None
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

    def to_json(self) -> dict[str, Any]:
        """Return the incident as JSON values, without the predictions of its second baseline."""
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
    def from_json(cls, values: dict[str, Any]) -> "Incident":
        """Return the incident that `to_json` gave."""
        resolved_at, between = values["resolved_at"], values["change_range"]
        signature, recurrence = values.get("signature"), values.get("recurrence")
        quiet_since = values.get("quiet_since")
        return cls(
            **values
            | {
                "id": UUID(values["id"]),
                "since": dt.datetime.fromisoformat(values["since"]),
                "change_range": (between[0], between[1]) if between else None,
                "quiet_since": dt.datetime.fromisoformat(quiet_since) if quiet_since else None,
                "resolved_at": dt.datetime.fromisoformat(resolved_at) if resolved_at else None,
                "signature": Signature.from_json(signature) if signature else None,
                "recurrence": Recurrence.from_json(recurrence) if recurrence else None,
            }
        )


def incident_id(stream: str, kind: str, position: int, at: dt.datetime) -> UUID:
    """Return the id of an incident: the same for the same stream, kind, position and time."""
    return uuid5(NAMESPACE_URL, f"tidemark:{stream}/{kind}/{position}/{at.timestamp()}")
