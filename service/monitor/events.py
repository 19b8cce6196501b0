"""What a step of the monitor gives besides the new state: events for the database, and windows to be explained."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..alerts.alert_draft import Certainty, ChangeReason, Resolution, Severity
from ..store.report_json import WindowReportJson
from .label_detection import LabelDetection
from .stored_report import StoredReport

IdRows = NDArray[np.uint8]  # (m, 16), UUIDs as bytes
Purpose = Literal["routine", "incident", "alarm", "labels", "further_shift", "on_demand"]


@dataclass(frozen=True)
class WindowRequest:
    """A window of one stream that is to be tested, apart from the detector.

    Parameters
    ----------
    slice : str
        The name of the stream's slice, empty for the whole model.
    purpose : str
        What the report is for. Reports for alarms come first; routine ones may be skipped.
    ids : uint8 (m, 16)
        The predictions of the window, in the order of the stream.
    first : int
        The number of the stream's predictions before the window.
    evidence, threshold : float
        The detector's, when the window was requested.
    detection : LabelDetection, optional
        What the labels showed, for the purpose "labels".
    """

    slice: str
    purpose: Purpose
    ids: IdRows
    first: int
    evidence: float
    threshold: float
    detection: LabelDetection | None = None

    @property
    def key(self) -> tuple[str, str, int, int]:
        """The key of the request, which no other shares: the slice, the purpose, and the predictions of the stream."""
        return self.slice, self.purpose, self.first, len(self.ids)


@dataclass(frozen=True)
class Explanation:
    """The answer to a window request: a report, or the reason why there is none.

    Parameters
    ----------
    start, end : datetime
        The times of the first and of the last prediction.
    seconds : float
        The time that the test took.
    """

    request: WindowRequest
    report: StoredReport | None
    start: dt.datetime
    end: dt.datetime
    seconds: float = 0.0
    error: str | None = None
    skipped: bool = False


@dataclass(frozen=True)
class WindowStored:
    """A window report to be stored."""

    slice: str
    explanation: Explanation
    report: WindowReportJson


@dataclass(frozen=True)
class AlertFired:
    """An incident opens; `explanation` is that of the stored window that the report belongs to."""

    slice: str
    incident_id: UUID
    kind: str
    certainty: Certainty
    severity: Severity
    since: dt.datetime
    position: int
    report: WindowReportJson
    explanation: Explanation | None


@dataclass(frozen=True)
class AlertReopened:
    """An incident that was resolved a short time ago is open again."""

    slice: str
    incident_id: UUID
    kind: str
    certainty: Certainty
    severity: Severity
    report: WindowReportJson
    explanation: Explanation | None


@dataclass(frozen=True)
class AlertChanged:
    """Something about an open incident is new: its kind, how sure the kind is, a further shift, its severity."""

    slice: str
    incident_id: UUID
    reason: ChangeReason
    kind: str
    certainty: Certainty
    severity: Severity
    report: WindowReportJson | None
    explanation: Explanation | None


@dataclass(frozen=True)
class AlertResolved:
    """An incident is over."""

    slice: str
    incident_id: UUID
    resolution: Resolution


@dataclass(frozen=True)
class EvidencePoint:
    """A point of the chart of a stream's evidence."""

    slice: str
    at: dt.datetime
    position: int
    evidence: float
    threshold: float


class WatchKey(NamedTuple):
    """The key of a watch for further shifts among those of its stream: the incident, and the first prediction."""

    incident_id: UUID
    start: int


@dataclass(frozen=True)
class BaselineRequest:
    """The traffic since a change that the second detector of an incident is to be compared with.

    Parameters
    ----------
    slice : str
        The name of the stream's slice, empty for the whole model.
    key : WatchKey
        The watch that the detector is for.
    ids : uint8 (m, 16)
        The predictions, in the order of the stream.
    calibration : mapping, optional
        The result of the simulation, where a checkpoint holds it.
    """

    slice: str
    key: WatchKey
    ids: IdRows
    calibration: Mapping[str, ArrayLike] | None = None


Event = WindowStored | AlertFired | AlertReopened | AlertChanged | AlertResolved | EvidencePoint
ALERT_EVENTS = (AlertFired, AlertReopened, AlertChanged, AlertResolved)
