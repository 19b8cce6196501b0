"""An incident's life: it fires, changes, resolves and may come back; each step in its caller's transaction."""

import datetime as dt
from collections.abc import Sequence
from uuid import UUID

from procrastinate import App
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from ..setting_types import WebhookReceiver
from ..store import alerts, deliveries, streams
from ..store.alerts import AlertRow, AlertValues, HistoryEntry, PreviousValues
from .alert_draft import CHANGED, FIRING, RESOLVED, SEVERITIES, TEST, AlertChange, AlertDraft, Resolution
from .event_data import EventDetails, TestEventData, event_data, history_entry
from .first_contact import first_contact_sentence
from .formats import TEST_SUMMARY, render, render_test
from .outbox import GIVE_UP, defer_delivery, defer_reminders, defer_unmute, release


class Alerts:
    """Opens, changes and ends incidents, and defers the deliveries of their events.

    Every event of an incident has the next number of its `sequence`. The deliveries of one incident to one receiver
    share a lock of the job queue, so that they arrive in that order.

    Parameters
    ----------
    queue : App
        The job queue in which deliveries are deferred.
    receivers : sequence of WebhookReceiver
        The receivers of all events.
    public_url : str
        The start of the links in alerts.
    """

    def __init__(self, queue: App, receivers: Sequence[WebhookReceiver], public_url: str) -> None:
        self._queue = queue
        self._receivers = receivers
        self._public_url = public_url

    def fire(self, connection: Connection, draft: AlertDraft) -> UUID:
        """Open an incident, announce it as `drift.firing`, and return its id.

        That of a slice, while one of its whole model fires, becomes a part of it: twenty cameras that grow dark
        together are one message. Its events are held back until the incident of the model ends.
        """
        alert_id = draft.id or uuid7()
        summary = draft.report["summary"]
        if draft.report.get("from_first_prediction"):
            stream = streams.get(connection, draft.stream_id).stream
            summary = f"{summary}. {first_contact_sentence(stream, draft.since, draft.kind)}"
        alerts.save(
            connection,
            id=alert_id,
            stream_id=draft.stream_id,
            kind=draft.kind,
            state="firing",
            since=draft.since,
            fired_at=draft.at,
            position=draft.position,
            window_id=draft.window_id,
            p_value=draft.report["p_value"],
            summary=summary,
            report=draft.report,
            severity=draft.severity,
            certainty=draft.certainty,
            sequence=1,
            parent_id=alerts.firing_parent(connection, draft.stream_id, draft.kind),
        )
        self._announce(connection, FIRING, alert_id, draft.at)
        return alert_id

    def change(self, connection: Connection, alert_id: UUID, change: AlertChange) -> bool:
        """Change a firing incident and announce it as `drift.changed`; return False where it no longer fires."""
        before = alerts.get(connection, alert_id)
        if before is None or alerts.update_alert(connection, alert_id, "firing", **change.columns()) is None:
            return False
        rises = change.severity is not None and _severity_rank(change.severity) > _severity_rank(before.severity)
        previous = PreviousValues(kind=before.kind, certainty=before.certainty, severity=before.severity)
        details = EventDetails(reason=change.reason, previous=previous)
        self._announce(connection, CHANGED, alert_id, change.at, details, urgent=rises)
        return True

    def resolve(
        self, connection: Connection, alert_id: UUID, at: dt.datetime, resolution: Resolution = "recovered"
    ) -> bool:
        """End a firing incident and announce it as `drift.resolved`; return False where it no longer fires."""
        values = AlertValues(state="resolved", resolved_at=at, resolution=resolution)
        if alerts.update_alert(connection, alert_id, "firing", **values) is None:
            return False
        self._announce(connection, RESOLVED, alert_id, at, urgent=True)
        for child in alerts.leave_parent(connection, alert_id):
            release(connection, self._queue, child.id, at)
        return True

    def reopen(
        self, connection: Connection, alert_id: UUID, at: dt.datetime, change: AlertChange | None = None
    ) -> bool:
        """Let a resolved incident fire again under its id, announced as `drift.firing`; return False where it fires.

        What people said of its earlier life ends with that: it is neither acknowledged nor muted.
        """
        values: AlertValues = {
            "state": "firing",
            "resolved_at": None,
            "resolution": None,
            "acknowledged_at": None,
            "acknowledged_by": None,
            "acknowledged_note": None,
            "muted_until": None,
            "muted_by": None,
            **(change.columns() if change else AlertValues()),
        }
        before = alerts.get(connection, alert_id)
        if before is None or alerts.update_alert(connection, alert_id, "resolved", **values) is None:
            return False
        alerts.annotate(connection, alert_id, reopened=before.reopened + 1)
        self._announce(connection, FIRING, alert_id, at, EventDetails(reopened=before.reopened + 1))
        return True

    def accept(self, connection: Connection, alert_id: UUID, at: dt.datetime, by: str, note: str, what: str) -> bool:
        """End a firing incident because somebody accepted its traffic; return False where it no longer fires."""
        alerts.record(
            connection, alert_id, HistoryEntry(event="accepted", at=at.isoformat(), by=by, note=note, what=what)
        )
        return self.resolve(connection, alert_id, at, "accepted")

    def resolve_all(self, connection: Connection, stream_id: int, at: dt.datetime, resolution: Resolution) -> int:
        """End every firing incident of a stream and return their number."""
        return sum(self.resolve(connection, alert.id, at, resolution) for alert in alerts.firing(connection, stream_id))

    def acknowledge(self, connection: Connection, alert_id: UUID, at: dt.datetime, by: str, note: str) -> None:
        """Record that somebody takes care of an incident; Alertmanager does not notify it again."""
        alerts.annotate(connection, alert_id, acknowledged_at=at, acknowledged_by=by, acknowledged_note=note)
        alerts.record(connection, alert_id, HistoryEntry(event="acknowledged", at=at.isoformat(), by=by, note=note))
        defer_reminders(connection, self._queue, alert_id)

    def mute(self, connection: Connection, alert_id: UUID, at: dt.datetime, until: dt.datetime, by: str) -> None:
        """Hold back the events of an incident until a time, except its end and a rise of its severity.

        A time that is not in the future ends the mute at once. At the end the events that were held back are sent.
        """
        if until <= at:
            alerts.annotate(connection, alert_id, muted_until=None, muted_by=None)
            alerts.record(connection, alert_id, HistoryEntry(event="unmuted", at=at.isoformat(), by=by))
            release(connection, self._queue, alert_id, at)
            defer_reminders(connection, self._queue, alert_id)
            return
        alerts.annotate(connection, alert_id, muted_until=until, muted_by=by)
        alerts.record(
            connection, alert_id, HistoryEntry(event="muted", at=at.isoformat(), by=by, until=until.isoformat())
        )
        deliveries.hold_back(connection, alert_id, exempt=RESOLVED)
        defer_unmute(connection, self._queue, alert_id, until)
        defer_reminders(connection, self._queue, alert_id)

    def test(self, connection: Connection, at: dt.datetime, by: str) -> int:
        """Send an event of type `test` to every receiver and return their number."""
        data = TestEventData(summary=TEST_SUMMARY, requested_by=by, url=self._public_url)
        for receiver in self._receivers:
            self._deliver(connection, TEST, receiver, at, render_test(receiver.format, at, data))
        deliveries.forget_tests(connection)
        return len(self._receivers)

    def _announce(
        self,
        connection: Connection,
        event: str,
        alert_id: UUID,
        at: dt.datetime,
        details: EventDetails | None = None,
        *,
        urgent: bool = False,
    ) -> None:
        """Record an event of an incident and deliver it to every receiver, unless the incident is muted and the event
        is not urgent, or the incident is part of another one."""
        alert = alerts.get(connection, alert_id)
        if alert is None:
            raise LookupError(f"no alert {alert_id}")
        details = details or EventDetails()
        alerts.record(connection, alert_id, history_entry(event, at, alert, details))
        muted = not urgent and alert.muted_until is not None and alert.muted_until > at
        held_back = muted or alert.parent_id is not None
        data = event_data(alert, self._public_url, details)
        for receiver in self._receivers_of(connection, alert_id):
            body = render(receiver.format, event, at, data)
            self._deliver(connection, event, receiver, at, body, alert, "muted" if held_back else "pending")

    def _receivers_of(self, connection: Connection, alert_id: UUID) -> list[WebhookReceiver]:
        """Return the configured receivers and those that were sent an earlier event of the incident.

        Another process of the installation may have other settings, and who was sent the beginning is sent the end.
        """
        addressed = [WebhookReceiver(url=url, format=name) for url, name in deliveries.receivers(connection, alert_id)]
        return list(dict.fromkeys([*self._receivers, *addressed]))

    def _deliver(
        self,
        connection: Connection,
        event: str,
        receiver: WebhookReceiver,
        at: dt.datetime,
        body: str,
        alert: AlertRow | None = None,
        outcome: str = "pending",
    ) -> None:
        delivery_id = uuid7()
        deliveries.add(
            connection,
            id=delivery_id,
            alert_id=alert.id if alert else None,
            event=event,
            url=receiver.url,
            format=receiver.format,
            body=body,
            give_up_at=at + GIVE_UP,
            sequence=alert.sequence if alert else 0,
            outcome=outcome,
        )
        if outcome == "pending":
            defer_delivery(connection, self._queue, delivery_id, alert.id if alert else None, receiver.url)


def _severity_rank(severity: str) -> int:
    return next(rank for rank, name in enumerate(SEVERITIES) if name == severity)
