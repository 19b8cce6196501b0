"""One step of one stream, in one transaction: read, update the evidence, test full windows, raise or resolve alerts."""

import datetime as dt
import logging
import time
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row

from ..alerts.incident import AlertDraft
from ..alerts.lifecycle import Alerts
from ..drift import StreamDetector
from ..settings import Settings
from ..store import alerts as alert_rows
from ..store import streams, traffic, windows
from ..store.alerts import AlertRow
from ..store.arrays import pack, unpack
from ..store.feedback import Labelled
from ..store.predictions import Batch, Cursor
from . import budget, rules
from .evaluate import explain
from .labels import Labels
from .missing_properties import filled
from .prepared_reference import Watcher
from .slices import Slices

logger = logging.getLogger(__name__)

HISTORY = 200  # points of evidence kept for the charts
MAX_STEP = 2000  # predictions of one transaction
OVERDISPERSED = (
    "This traffic is not independent: {:.1f} predictions count as one, so that false alarms come more often than "
    "asked. Declare a calm span of it with `tidemark calibrate`."
)
MAX_ALARM_ROWS = 5000  # that are read back to find when a change began


class Step:
    """A stream on its way from one committed state to the next."""

    def __init__(
        self, connection: Connection, row: Row[Any], watcher: Watcher, settings: Settings, alerts: Alerts
    ) -> None:
        self._connection = connection
        self._row = row
        self._watcher = watcher
        self._settings = settings
        self._alerts = alerts
        self._run_time = budget.run_time(settings)
        self._slices = None if row.slice else Slices(connection, row, settings)
        self._now = dt.datetime.now(dt.UTC)
        self._cursor = Cursor(row.cursor_xid, row.cursor_seq)
        self._seen: int = row.seen
        self._calm_windows: int = row.calm_windows
        self._firing: list[AlertRow] = []
        self._concept: AlertRow | None = None
        self._refresh()
        self._labels = None if watcher.reference.labels is None else Labels(connection, row, watcher.reference)
        self._status: dict[str, Any] = dict(row.status)
        self._changes: dict[str, Any] = {}
        self._detector = self._restored() or watcher.detector(settings)

    def take(self) -> bool:
        """Move the stream forward; tell whether there may be more to do at once."""
        boundary = self._row.window_start + self._settings.window_size
        batch = None
        if self._seen < boundary:
            limit = min(boundary - self._seen, MAX_STEP)
            batch = traffic.read(self._connection, self._row, self._cursor, limit)
        if batch is not None:
            self._update(batch)
        if self._seen >= boundary:
            self._window(self._settings.window_size, self._settings.stride)
        elif self._aged():
            self._window(self._seen - self._row.window_start, self._seen - self._row.window_start)
        if self._detector.drift_detected and not self._firing:
            self._alarm()
        fed = self._take_labels() if self._labels else None
        self._save(batch)
        return batch is not None or fed is not None or self._seen >= boundary

    def _restored(self) -> StreamDetector | None:
        """Return the detector as the last step left it; None at the first step."""
        if self._row.detector is None:
            return None
        state = unpack(self._row.detector) | {"expected_run_time": np.asarray(self._run_time)}
        try:
            return StreamDetector.restore(self._watcher.reference, state)
        except ValueError as error:
            logger.warning("stream %d: its evidence starts anew: %s", self._row.id, error)
            return None

    def _update(self, batch: Batch) -> None:
        reference = self._watcher.reference
        self._detector.update(batch.embeddings, batch.probabilities, filled(reference, batch))
        self._seen += len(batch)
        self._cursor = batch.cursors[-1]
        if self._slices is not None:
            self._changes["tag_counts"] = self._slices.take(batch, self._alerts, self._now)
        history = self._status.get("history", [])
        self._status["history"] = [*history, [self._now.isoformat(), self._seen, self._detector.evidence]][-HISTORY:]

    def _aged(self) -> bool:
        untested = self._seen - self._row.tested
        last = self._row.last_window_at
        old = last is not None and (self._now - last).total_seconds() > self._settings.window_max_age
        return bool(old and untested >= self._settings.window_min_size)

    def _window(self, size: int, stride: int) -> None:
        start = Cursor(self._row.window_xid, self._row.window_seq)
        batch = traffic.read(self._connection, self._row, start, size)
        self._changes |= {
            "window_start": self._row.window_start + stride,
            "tested": self._seen,
            "last_window_at": self._now,
        }
        if batch is None:  # retention was quicker than the monitor
            return
        following = batch.cursors[min(stride, len(batch)) - 1]
        self._changes |= {"window_xid": following.xid, "window_seq": following.seq}
        _, report = self._explain(batch, self._row.window_start)
        self._follow(report)

    def _take_labels(self) -> Labelled | None:
        """Read fed-back labels; raise or resolve the alert of a concept shift."""
        labels = self._labels
        if labels is None:
            return None
        batch = labels.take({alert.kind for alert in self._firing}, self._status.get("proportions"), self._now)
        if batch is None:
            return None
        if self._slices is None:
            traffic.forget_labels(self._connection, self._row, batch.cursors[-1])
        else:
            self._slices.take_labels(batch)
        if labels.detected(self._run_time, self._seen, self._now) and self._concept is None:
            self._alarm_concept(labels)
        elif self._concept is not None and labels.over:
            self._alerts.resolve(self._connection, self._concept.id, self._now)
            self._refresh()
        self._changes |= labels.saved(batch)
        self._status |= {"feedback": labels.accuracy, "labels": labels.status}
        return batch

    def _alarm_concept(self, labels: Labels) -> None:
        batch = traffic.last(self._connection, self._row, self._cursor, self._settings.window_size)
        if batch is None:
            return
        self._status["feedback"] = labels.accuracy
        window_id, report = self._explain(batch, self._seen - len(batch), labels.detection)
        since = labels.since or self._now
        self._fire("concept", since, window_id, report)
        if self._row.since is None and "since" not in self._changes:
            self._changes["since"] = since

    def _explain(self, batch: Batch, first: int, concept: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        started = time.perf_counter()
        report = explain(self._watcher, batch)
        if concept is not None:
            report |= concept
        elif report["label_shift"]:
            self._status["proportions"] = list(report["label_shift"]["estimated"].values())
        if self._row.slice:
            report["summary"] = f"{self._row.slice}: {report['summary']}"
        if feedback := self._status.get("feedback"):
            report["feedback"] = feedback
        window_id = windows.save(
            self._connection,
            stream_id=self._row.id,
            start=min(batch.at),
            end=max(batch.at),
            first=first,
            size=len(batch),
            p_value=report["p_value"],
            drifted=report["drifted"],
            kind=report["kind"],
            evidence=self._detector.evidence,
            threshold=self._detector.threshold,
            seconds=time.perf_counter() - started,
            report=report,
        )
        self._status["windows"] = self._status.get("windows", 0) + 1
        return window_id, report

    def _follow(self, report: dict[str, Any]) -> None:
        """Let a window speak for the end of a drift, or for one more kind of it."""
        if not self._firing:
            return
        kind = rules.further_kind(report, self._status.get("named"), {alert.kind for alert in self._firing})
        self._status["named"] = report["kind"]
        if kind is not None:
            self._fire(kind, self._row.since, None, report)
        self._calm_windows = self._calm_windows + 1 if rules.is_calm(report) else 0
        if self._calm_windows >= self._settings.resolve_after:
            for alert in self._firing:
                self._alerts.resolve(self._connection, alert.id, self._now)
            self._firing = []
            self._calm_windows = 0
            self._detector.reset()

    def _alarm(self) -> None:
        """Raise the alert once enough predictions have come since the change to name its kind."""
        detected_at = self._status.setdefault("detected_at", self._now.isoformat())
        change = self._detector.change_point or 0
        since_change = max(self._detector.count - change, 1)
        if not rules.explained_by(since_change, dt.datetime.fromisoformat(detected_at), self._now):
            return
        rows = max(since_change, rules.MIN_ALARM_ROWS)
        batch = traffic.last(self._connection, self._row, self._cursor, min(rows, MAX_ALARM_ROWS))
        if batch is None:
            return
        since = batch.at[max(len(batch) - since_change, 0)]
        batch = batch.newest(self._settings.window_size)
        window_id, report = self._explain(batch, self._seen - len(batch))
        self._fire(rules.named_kind(report, self._detector.leading or "E"), since, window_id, report)
        self._changes["since"] = since
        self._calm_windows = 0
        del self._status["detected_at"]

    def _fire(self, kind: str, since: dt.datetime, window_id: int | None, report: dict[str, Any]) -> None:
        report = report | {"kind": kind}
        draft = AlertDraft(self._row.id, self._now, kind, since, self._seen, report, window_id)
        self._alerts.fire(self._connection, draft)
        self._refresh()

    def _refresh(self) -> None:
        firing = alert_rows.firing(self._connection, self._row.id)
        self._firing = [alert for alert in firing if alert.kind != "concept"]
        self._concept = next((alert for alert in firing if alert.kind == "concept"), None)

    def _save(self, batch: Batch | None) -> None:
        detector = self._detector
        kinds = [alert.kind for alert in self._firing] + (["concept"] if self._concept else [])
        self._status |= {
            "evidence": detector.evidence,
            "threshold": detector.threshold,
            "expected_run_time": self._run_time,
            "rate": self._rate(),
            "kinds": kinds,
            "change_point": detector.change_point,
            "change_range": detector.change_range,
            "note": OVERDISPERSED.format(detector.design_effect) if detector.overdispersed else None,
        }
        if batch is not None:
            self._changes["detector"] = pack(detector.state())
            if self._row.last_window_at is None:
                self._changes.setdefault("last_window_at", self._now)
        elif not self._firing and self._row.state == "drifting" and "detector" not in self._changes:
            self._changes["detector"] = pack(detector.state())
        streams.save(
            self._connection,
            self._row.id,
            cursor_xid=self._cursor.xid,
            cursor_seq=self._cursor.seq,
            seen=self._seen,
            calm_windows=self._calm_windows,
            state="drifting" if kinds else "calm",
            kind=kinds[-1] if kinds else "none",
            status=self._status,
            last_success_at=self._now,
            **({"since": None} if not kinds else {}) | self._changes,
        )

    def _rate(self) -> float | None:
        """Return the stream's predictions per second over the kept history."""
        history = self._status.get("history", [])
        if len(history) < 2:
            return None
        (start, first, _), (end, last, _) = history[0], history[-1]
        seconds = (dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(start)).total_seconds()
        return (last - first) / seconds if seconds > 0 else None
