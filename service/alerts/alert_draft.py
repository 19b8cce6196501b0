"""An alert before it is stored: what the monitor says of one that opens, changes or ends."""

import datetime as dt
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from ..store.alerts import AlertValues
from ..store.report_json import WindowReportJson

Severity = Literal["ticket", "page"]
Certainty = Literal["likely", "sure"]
Resolution = Literal["recovered", "accepted", "retired"]
ChangeReason = Literal["kind", "certainty", "severity", "further_shift"]

FIRING = "drift.firing"
CHANGED = "drift.changed"
RESOLVED = "drift.resolved"
TEST = "test"

SEVERITIES: tuple[Severity, ...] = ("ticket", "page")  # in ascending order


@dataclass(frozen=True)
class AlertDraft:
    """An incident that is about to open.

    Parameters
    ----------
    stream_id : int
        The stream that drifts.
    at : datetime
        The time of the alarm.
    kind : str
        One of covariate, label, both, concept, harm, unknown and repeats.
    since : datetime
        The estimated time of the change.
    position : int
        The number of the stream's predictions up to the alarm.
    report : WindowReportJson
        The window report that explains the alarm.
    window_id : int, optional
        The stored window that the report belongs to.
    severity : {"ticket", "page"}, default "ticket"
        Whether somebody must act now.
    certainty : {"likely", "sure"}, default "sure"
        How decisive the evidence for the kind is.
    id : UUID, optional
        The incident's id, for a caller that repeats a step and must open the same incident; a new one by default.
    """

    stream_id: int
    at: dt.datetime
    kind: str
    since: dt.datetime
    position: int
    report: WindowReportJson
    window_id: int | None = None
    severity: Severity = "ticket"
    certainty: Certainty = "sure"
    id: UUID | None = None


@dataclass(frozen=True)
class AlertChange:
    """The change of an incident: another or a surer kind, a further shift, another severity.

    Parameters
    ----------
    at : datetime
        The time at which the change was noticed.
    reason : {"kind", "certainty", "severity", "further_shift"}
        What the change is about, as webhooks carry it.
    kind, certainty, severity : optional
        The new values; those that are left out stay.
    report : WindowReportJson, optional
        A new report; the present one stays without it.
    window_id : int, optional
        The stored window that the new report belongs to.
    """

    at: dt.datetime
    reason: ChangeReason
    kind: str | None = None
    certainty: Certainty | None = None
    severity: Severity | None = None
    report: WindowReportJson | None = None
    window_id: int | None = None

    def columns(self) -> AlertValues:
        """Return the columns of the alert that the change sets."""
        values = AlertValues()
        if self.kind is not None:
            values["kind"] = self.kind
        if self.certainty is not None:
            values["certainty"] = self.certainty
        if self.severity is not None:
            values["severity"] = self.severity
        if self.window_id is not None:
            values["window_id"] = self.window_id
        if self.report is not None:
            values["report"] = self.report
            values["p_value"] = self.report["p_value"]
            values["summary"] = self.report["summary"]
        return values
