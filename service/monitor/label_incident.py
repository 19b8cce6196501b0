"""The incident that labels raise: it opens, gets another name or severity, and ends by them."""

from dataclasses import replace

from ..alerts.alert_draft import SEVERITIES, ChangeReason, Severity
from ..store.report_json import ReportChanges, WindowReportJson
from . import alert_rules
from .events import AlertChanged, AlertFired, AlertResolved, Explanation
from .incident_state import Incident, incident_id
from .label_detection import MIN_LABELS, LabelDetection
from .label_step import LabelStep, process_labels
from .labels import FedBackLabels
from .stream_transition import StreamUpdate
from .summaries import untested_report
from .window_requests import request_newest


def take_labels(update: StreamUpdate, labels: FedBackLabels) -> None:
    """Process labels; an error in them is counted, and stops nothing else."""
    state = update.state
    if state.labels is None:
        return
    share = update.pace.watched_share  # labels come back for all predictions, also for those that are not watched
    try:
        step = process_labels(
            state.labels,
            labels,
            regimes=state.regimes,
            population=state.confidences,
            run_time=update.budget.labels / share,
            seen=round(state.seen / share),
            now=update.now,
            is_open=state.concept is not None and state.concept.open,
        )
    except Exception as error:
        update.count_error("labels", error)
        return
    status = replace(state.status, feedback=step.accuracy, errors_only=step.errors_only)
    update.replace_state(labels=step.state, status=status)
    incident, detection = state.concept, step.detection
    is_open = incident is not None and incident.open
    if detection is not None and (incident is None or not is_open or _has_changed(incident, detection)):
        request_newest(update, "labels", update.settings.window_size, detection)
    elif detection is None and incident is not None and is_open:
        _follow(update, incident, step)


def take_label_report(update: StreamUpdate, explanation: Explanation) -> None:
    """Open the incident of an alarm that labels raised, or let the alarm change the one that is open."""
    detection, incident = explanation.request.detection, update.state.concept
    if detection is None:
        return
    if explanation.report is not None:
        values = explanation.report.to_json()
    else:
        untested = untested_report(update.prepared, len(explanation.request.ids), "")
        values = untested.with_changes(label_changes(update, detection)).to_json()
    if incident is not None and incident.open:
        _change(update, incident, detection, values, explanation)
    else:
        _open(update, detection, values, explanation)


def label_changes(update: StreamUpdate, detection: LabelDetection) -> ReportChanges:
    """Return what labels replace in the report of a window."""
    return {
        "kind": detection.kind,
        "drifted": True,
        "summary": update.with_slice_name(detection.summary),
        "labels": detection.labels,
    }


def _open(update: StreamUpdate, detection: LabelDetection, values: WindowReportJson, explanation: Explanation) -> None:
    state = update.state
    incident = Incident(
        id=incident_id(state.key, "concept", state.seen, update.now),
        kind=detection.kind,
        certainty=detection.certainty,
        severity=_severity(update, detection.harmful, detection.low),
        since=detection.since or update.now,
        delay=0,
        alarmed_at=state.seen,
        evidence=0.0,
        change=state.seen,
        harmful=detection.harmful,
    )
    update.add_event(
        AlertFired(
            state.slice,
            incident.id,
            incident.kind,
            incident.certainty,
            incident.severity,
            since=incident.since,
            position=state.seen,
            report=values,
            explanation=explanation,
        )
    )
    update.replace_state(concept=incident)


def _has_changed(incident: Incident, detection: LabelDetection) -> bool:
    """Check whether an alarm says more than the open incident: what the labels mean, or that the model is worse."""
    return _names(incident, detection) or (detection.harmful and not incident.harmful)


def _names(incident: Incident, detection: LabelDetection) -> bool:
    """Check whether an alarm names a concept shift that the open incident does not name, or not for sure."""
    if detection.kind != "concept":
        return False
    return incident.kind != "concept" or (incident.certainty == "likely" and detection.certainty == "sure")


def _change(
    update: StreamUpdate,
    incident: Incident,
    detection: LabelDetection,
    values: WindowReportJson,
    explanation: Explanation,
) -> None:
    """Let a further alarm name the open incident, or raise its severity."""
    if not _has_changed(incident, detection):
        return
    changed = replace(incident, harmful=incident.harmful or detection.harmful)
    if _names(incident, detection):
        changed = replace(changed, kind="concept", certainty=detection.certainty)
    severity = max(incident.severity, _severity(update, changed.harmful, detection.low), key=SEVERITIES.index)
    changed = replace(changed, severity=severity)
    update.replace_state(concept=changed)
    if (changed.kind, changed.certainty, changed.severity) == (incident.kind, incident.certainty, incident.severity):
        return
    reason: ChangeReason = "certainty"
    if changed.kind != incident.kind:
        reason = "kind"
    elif changed.severity != incident.severity:
        reason = "severity"
    report: WindowReportJson = {**values, "kind": changed.kind}
    update.add_event(
        AlertChanged(
            update.state.slice,
            incident.id,
            reason,
            changed.kind,
            changed.certainty,
            changed.severity,
            report,
            explanation,
        )
    )


def _follow(update: StreamUpdate, incident: Incident, step: LabelStep) -> None:
    """End an incident whose end the labels show; raise its severity when the measured accuracy falls further."""
    labels, population = step.state, update.state.confidences
    if labels.is_over(incident.kind, incident.harmful):
        update.add_event(AlertResolved(update.state.slice, incident.id, "recovered"))
        update.replace_state(concept=replace(incident, resolved_at=update.now))
        return
    measured = labels.accuracy(population, max(labels.since_quiet, MIN_LABELS))
    if measured is None or incident.severity == "page":
        return
    if measured.n >= MIN_LABELS and _severity(update, incident.harmful, measured.low) == "page":
        update.replace_state(concept=replace(incident, severity="page"))
        update.add_event(
            AlertChanged(
                update.state.slice, incident.id, "severity", incident.kind, incident.certainty, "page", None, None
            )
        )


def _severity(update: StreamUpdate, harmful: bool, low: float) -> Severity:
    return alert_rules.severity_of_labels(harmful, low, update.settings.page_below)
