"""From an alarm of the detector to the alert that opens: a window explains the alarm, then the incident opens."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from ..alerts.alert_draft import Certainty, Severity
from ..drift import StreamDetector
from . import alert_rules
from .events import AlertFired, AlertReopened, Explanation
from .incident_state import Alarm, Incident, incident_id
from .recurrence import Signature, recurrence_of, remembered, signature_of, with_recurrence
from .stored_report import StoredReport
from .stream_transition import StreamUpdate
from .summaries import alarm_summary, untested_report
from .window_requests import SMALLEST_WINDOW, request_newest

FIRST_ROWS = 50  # predictions of a stream before which a change counts as there from the first one on

Summarise = Callable[[StoredReport | None, Alarm, int], str]


class Assessment(NamedTuple):
    """The content of an alarm's alert, from the report of the window that explains it."""

    kind: str
    certainty: Certainty
    severity: Severity
    report: StoredReport  # the window's report, with the kind and the summary of the alert


def assess(update: StreamUpdate, alarm: Alarm, report: StoredReport | None, summarise: Summarise) -> Assessment:
    """Return what an alert says of an alarm.

    Parameters
    ----------
    report : StoredReport, optional
        The report of the window since the change; None if the window could not be tested in time.
    summarise : callable
        Returns the alert's sentence from the report, the alarm, and the number of predictions since the change.
    """
    since_change = predictions_since(update, alarm)
    kind = alert_rules.named_kind(report, alarm.view, update.prepared.labelled is not None)
    window = report or untested_report(update.prepared, since_change, "")
    summary = update.with_slice_name(summarise(report, alarm, since_change))
    return Assessment(
        kind,
        alert_rules.certainty_of(report),
        alert_rules.severity_of(report, update.settings.page_below),
        window.with_changes({"kind": kind, "drifted": True, "summary": summary}),
    )


def predictions_since(update: StreamUpdate, alarm: Alarm) -> int:
    """Return the number of predictions since the change of an alarm, at least 1."""
    return max(update.state.seen - alarm.change, 1)


def new_alarm(update: StreamUpdate, detector: StreamDetector, offset: int) -> Alarm:
    """Return the alarm of a detector; its counts of predictions become those of the stream.

    Parameters
    ----------
    offset : int
        The predictions of the stream that the detector has not counted.
    """
    change = detector.change_point if detector.change_point is not None else detector.count
    between = detector.change_range
    return Alarm(
        detected_at=update.now,
        change=change + offset,
        change_range=(between[0] + offset, between[1] + offset) if between else None,
        view=str(detector.leading or ""),
        evidence=detector.evidence,
        threshold=detector.threshold,
    )


def request_alarm_window(update: StreamUpdate) -> None:
    """Request the window that explains the alarm of the stream or a further one of its incident, once there are
    enough predictions; open the incident without it if the window takes too long."""
    state, now = update.state, update.now
    if (alarm := state.alarm) is not None:
        since_change = predictions_since(update, alarm)
        if alarm.requested_at is not None and now - alarm.requested_at > alert_rules.MAX_WAIT_FOR_REPORT:
            open_incident(update, None)
        elif alarm.requested_at is None and alert_rules.enough_rows(since_change, alarm.detected_at, now):
            has_more = since_change - alarm.explained >= alert_rules.MIN_ALARM_ROWS
            if not alarm.explained or has_more or now - alarm.detected_at >= alert_rules.MAX_WAIT_FOR_ROWS:
                request_newest(update, "alarm", max(since_change, SMALLEST_WINDOW))
                update.replace_state(alarm=replace(alarm, requested_at=now, explained=since_change))
    elif (further := state.second_alarm) is not None and further.requested_at is None:
        since_change = predictions_since(update, further)
        if alert_rules.enough_rows(since_change, further.detected_at, now):
            request_newest(update, "further_shift", max(since_change, SMALLEST_WINDOW))
            update.replace_state(second_alarm=replace(further, requested_at=now))


def explain_alarm(update: StreamUpdate, explanation: Explanation) -> None:
    """Open the incident with the report of its window, or wait for more predictions if the report is not decisive."""
    alarm, report = update.state.alarm, explanation.report
    if alarm is None:
        return
    since_change = predictions_since(update, alarm)
    if report is not None and not alert_rules.decisive(report, since_change, alarm.detected_at, update.now):
        update.replace_state(alarm=replace(alarm, requested_at=None))
        return
    open_incident(update, explanation)


def open_incident(update: StreamUpdate, explanation: Explanation | None) -> None:
    """Open an incident of the stream's alarm, or reopen the last one if it comes back; the detector starts again."""
    state, alarm = update.state, update.state.alarm
    if alarm is None:
        return
    report = explanation.report if explanation else None
    kind, certainty, severity, alert_report = assess(update, alarm, report, alarm_summary)
    signature = signature_of(report, kind, alarm.view)
    if state.incident is not None and not _comes_back(state.incident, signature):
        forget_resolved_incident(update)
    previous = update.state.incident
    recurrence = previous.recurrence if previous is not None else recurrence_of(update.state.patterns, signature)
    alert_report = with_recurrence(alert_report, recurrence)
    if report is None or not report.tested:
        alert_report = alert_report.with_changes({"p_value": math.exp(-alarm.evidence)})
    since_change = predictions_since(update, alarm)
    incident = Incident(
        id=incident_id(state.key, kind, state.seen, update.now),
        kind=kind,
        certainty=certainty,
        severity=severity,
        since=state.time_back(since_change) or update.now,
        delay=since_change,
        alarmed_at=state.seen,
        quiet_since=update.now,
        evidence=alarm.evidence,
        change=alarm.change,
        change_range=alarm.change_range,
        accuracy=report.estimated_accuracy if report else None,
        signature=signature,
        recurrence=recurrence,
    )
    if previous is not None:
        incident = replace(incident, id=previous.id, since=previous.since, reopened=previous.reopened + 1)
        update.add_event(
            AlertReopened(
                state.slice,
                incident.id,
                kind,
                certainty,
                severity,
                report=alert_report.to_json(),
                explanation=explanation,
            )
        )
    else:
        if _is_from_first_prediction(alarm):
            alert_report = alert_report.with_changes({"from_first_prediction": True})
        update.add_event(
            AlertFired(
                state.slice,
                incident.id,
                kind,
                certainty,
                severity,
                since=incident.since,
                position=state.seen,
                report=alert_report.to_json(),
                explanation=explanation,
            )
        )
    state.detector.reset()
    update.replace_state(alarm=None, incident=incident, further=None, second_alarm=None)


def _comes_back(incident: Incident, signature: Signature) -> bool:
    """Check whether an alarm may be a resolved incident again, rather than another shift soon after it."""
    if incident.signature is None:
        return incident.kind == signature.kind
    return incident.signature.comes_back_as(signature)


def forget_resolved_incident(update: StreamUpdate) -> None:
    """Drop the resolved incident of the stream, which is not to be reopened; what it looked like is remembered."""
    incident = update.state.incident
    if incident is not None and incident.signature is not None:
        update.replace_state(patterns=remembered(update.state.patterns, incident.signature, incident.since))
    update.replace_state(incident=None)


def _is_from_first_prediction(alarm: Alarm) -> bool:
    """Check whether a stream may have differed from the first prediction that it ever had."""
    earliest = alarm.change if alarm.change_range is None else alarm.change_range[0]
    return earliest <= 0 and alarm.change <= FIRST_ROWS
