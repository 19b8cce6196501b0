"""The evidence of a stream as it stood when a window ended or an alert fired."""

import bisect
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

from ..store import evidence, windows
from ..store.alerts import LABEL_KINDS, AlertRow
from ..store.label_evidence_json import Point
from ..store.stream_status import StatusJson
from ..store.streams import StreamRow
from ..store.windows import WindowRow

MAX_POINTS = 200  # points of evidence that a chart shows
MIN_POINTS = 8  # points of the kept history, below which the stored windows draw the line
MAX_WINDOWS = 40  # windows that are read back for it


@dataclass(frozen=True)
class EvidenceHistory:
    """Content of the evidence chart; positions are predictions of the stream, or labels that came back for it."""

    history: list[Point]  # oldest first
    threshold: float | None
    change: int | None = None
    change_range: tuple[int, int] | None = None
    span: tuple[int, int] | None = None  # positions of the window that the page shows
    alarm: int | None = None
    counted: Literal["predictions", "labels"] = "predictions"


def current(status: StatusJson, history: list[Point]) -> EvidenceHistory:
    """Return the evidence of a stream up to now."""
    between = status.get("change_range")
    return EvidenceHistory(
        history=history,
        threshold=status.get("threshold"),
        change=status.get("change_point"),
        change_range=(between[0], between[1]) if between else None,
    )


def at_window(connection: Connection, stream: StreamRow, window: WindowRow) -> EvidenceHistory:
    """Return the evidence up to a window's end."""
    end = window.first + window.size
    history = _history_up_to(connection, stream, end, window.end, window.id)
    threshold = window.threshold if window.threshold is not None else stream.status.get("threshold")
    return EvidenceHistory(history, threshold, span=(window.first, end))


def at_alert(connection: Connection, stream: StreamRow, alert: AlertRow) -> EvidenceHistory:
    """Return the evidence up to an alert; of an alert that labels raised it is that of the labels.

    The estimated change is the detector's while the alert is the stream's present one, and afterwards the number of
    predictions that the stream had processed at the time that the alert names.
    """
    if (labels := alert.report.get("labels")) and (evidence := labels["evidence"]):
        return EvidenceHistory(evidence["history"], evidence["threshold"], change=evidence["change"], counted="labels")
    history = _history_up_to(connection, stream, alert.position, alert.fired_at, alert.window_id)
    status = stream.status
    change, between = status.get("change_point"), status.get("change_range")
    if alert.kind in LABEL_KINDS or alert.state != "firing" or change is None or change > alert.position:
        change, between = _position(history, alert.since), None
    return EvidenceHistory(
        history,
        status.get("threshold"),
        change=change,
        change_range=(between[0], between[1]) if between else None,
        alarm=alert.position,
    )


def _history_up_to(
    connection: Connection, stream: StreamRow, position: int, moment: dt.datetime, window_id: int | None
) -> list[Point]:
    """Return the stored points up to a position, or where they have gone, the evidence that stored windows carry."""
    stored = evidence.up_to(connection, stream.id, position, MAX_POINTS)
    if len(stored) >= MIN_POINTS:
        return stored
    before = None if window_id is None else window_id + 1
    rows = windows.newest(connection, stream.stream, MAX_WINDOWS, before)
    points = {
        row.first + row.size: (row.end.isoformat(), row.first + row.size, row.evidence)
        for row in reversed(rows)
        if row.evidence is not None and row.first + row.size <= position and row.end <= moment
    }
    return [points[end] for end in sorted(points)]


def _position(history: Sequence[Point], moment: dt.datetime) -> int | None:
    """Return how many predictions the stream had processed at a moment, or None before its history."""
    times = [dt.datetime.fromisoformat(time) for time, _, _ in history]
    after = bisect.bisect_left(times, moment)
    if not 0 < after < len(times):
        return None
    (start, first), (end, last) = ((times[at], history[at][1]) for at in (after - 1, after))
    return int(first + (last - first) * ((moment - start) / (end - start)))
