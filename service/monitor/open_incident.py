"""An incident while its alert fires: its end, a further shift within it, and a surer name for its kind."""

from dataclasses import replace
from typing import Literal

from . import alert_rules
from .alarms import assess
from .events import AlertChanged, AlertResolved, Explanation
from .further_shifts import check_alarm
from .incident_state import Incident
from .recurrence import signature_of, with_recurrence
from .stream_state import StreamRows
from .stream_transition import StreamUpdate
from .summaries import further_shift_summary

ALARM_CHECK = 50  # predictions of the stream from one check to the next whether the detector has alarmed again


def detect_alarms(update: StreamUpdate, rows: StreamRows) -> None:
    """Let the detector process the predictions of an open incident, and start it again after each alarm.

    It starts again at multiples of ALARM_CHECK of the stream's predictions, whatever the steps: a monitor that starts
    again and reads the log in other steps finds the same evidence.
    """
    detector, seen, first = update.state.detector, update.state.seen, 0
    while first < len(rows):
        part = rows.part(slice(first, first + ALARM_CHECK - (seen + first) % ALARM_CHECK))
        detector.update_scored(part.scores, part.context, part.times)
        first += len(part)
        incident = update.state.incident
        if incident is not None and detector.drift_detected and (seen + first) % ALARM_CHECK == 0:
            update.replace_state(incident=incident.alarmed_again(seen + first, update.now, detector.evidence))
            detector.reset()


def follow_incident(update: StreamUpdate) -> None:
    """Check for the end of the incident and for a further shift."""
    state, incident, detector = update.state, update.state.incident, update.state.detector
    if incident is None:
        return
    if incident.quiet_since is None:
        incident = replace(incident, quiet_since=update.now)
        update.replace_state(incident=incident)
    is_quiet = not detector.drift_detected and detector.evidence < alert_rules.LOW_EVIDENCE * detector.threshold
    if is_quiet and _is_over(update, incident):
        update.add_event(AlertResolved(state.slice, incident.id, "recovered"))
        detector.reset()
        resolved = replace(incident, resolved_at=update.now)
        update.replace_state(incident=resolved, further=None, second_alarm=None)
        return
    check_alarm(update)


def _is_over(update: StreamUpdate, incident: Incident) -> bool:
    return alert_rules.is_over(
        quiet=update.state.seen - incident.alarmed_at,
        elapsed=update.now - (incident.quiet_since or update.now),
        delay=incident.delay,
        reopened=incident.reopened,
        usual=update.settings.resolve_after * update.settings.stride,
        has_returned=incident.has_returned,
    )


def report_further_shift(update: StreamUpdate, explanation: Explanation) -> None:
    """Report a further shift of an open incident, unless the traffic is back at the reference."""
    state, incident, alarm = update.state, update.state.incident, update.state.second_alarm
    report = explanation.report
    if incident is None or not incident.open or alarm is None:
        return
    if report is not None and report.tested and not report.window.drifted:
        restarted = replace(incident, change=state.seen, has_returned=True)
        update.replace_state(incident=restarted, further=None, second_alarm=None)
        return
    kind, certainty, severity, alert_report = assess(update, alarm, report, further_shift_summary)
    update.add_event(
        AlertChanged(
            state.slice,
            incident.id,
            "further_shift",
            kind,
            certainty,
            severity,
            alert_report.to_json(),
            explanation,
        )
    )
    shifted = replace(
        incident,
        kind=kind,
        certainty=certainty,
        severity=severity,
        change=alarm.change,
        named=None,
        has_returned=False,
    )
    update.replace_state(incident=shifted, further=None, second_alarm=None)


def refine_kind(update: StreamUpdate, explanation: Explanation) -> None:
    """Let a window during an incident correct the incident's kind, or make it sure."""
    report, incident = explanation.report, update.state.incident
    if report is None or incident is None or not incident.open or not report.tested:
        return
    window_kind = str(report.window.kind)
    other_kind = alert_rules.further_kind(report, incident.named, incident.kind)
    is_confirmed = window_kind == incident.kind and alert_rules.certainty_of(report) == "sure"
    refined = replace(incident, named=window_kind)
    if other_kind is not None or (is_confirmed and incident.certainty == "likely"):
        reason: Literal["kind", "certainty"] = "certainty" if other_kind is None else "kind"
        severity = alert_rules.severity_of(report, update.settings.page_below)
        refined = replace(refined, kind=other_kind or incident.kind, certainty="sure", severity=severity)
        alert_report = with_recurrence(report.with_changes({"kind": refined.kind}), incident.recurrence)
        update.add_event(
            AlertChanged(
                update.state.slice,
                incident.id,
                reason,
                refined.kind,
                "sure",
                severity,
                alert_report.to_json(),
                explanation,
            )
        )
    if incident.signature is not None and report.window.drifted and window_kind == refined.kind:
        signature = signature_of(report, refined.kind, incident.signature.view)
        refined = replace(refined, signature=incident.signature.clearer(signature))
    update.replace_state(incident=refined)
