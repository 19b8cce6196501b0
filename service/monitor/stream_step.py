"""One step of one stream: a pure function of the stream's state and of what came in, without database or clock."""

import datetime as dt
from dataclasses import replace

from ..drift import StreamDetector
from ..settings import Settings
from ..store.stream_status import StreamStatus
from . import alert_rules, further_shifts, pending_windows
from .alarms import explain_alarm, forget_resolved_incident, new_alarm, request_alarm_window
from .budget import SECOND_SHARE, alarm_budget, detectable_changes
from .events import EvidencePoint, Explanation, WindowStored
from .label_incident import label_changes, take_label_report, take_labels
from .label_regimes import with_regime
from .open_incident import detect_alarms, follow_incident, refine_kind, report_further_shift
from .pace import Pace
from .prepared_reference import PreparedReference
from .stored_report import StoredReport
from .stream_state import StreamRows, StreamState, rate_of, with_rate_point
from .stream_transition import StreamInput, StreamTransition, StreamUpdate
from .summaries import untested_report
from .window_requests import is_overdue, request_full_windows, request_newest, request_overdue_window

CHUNK = 500  # predictions after which alarms, windows and the end of an incident are checked
POINT_INTERVAL = dt.timedelta(seconds=2)  # time between two points of the evidence's chart
OVERDISPERSED = (
    "This traffic is not independent: {:.1f} predictions count as one, so that false alarms come more often than "
    "asked. Declare a calm span of it with `tidemark calibrate`."
)
FOLLOWS_HOUR = (
    "This traffic follows the hour of the day, so that false alarms come more often than asked. Declare at least two "
    "calm days of it, better two weeks, with `tidemark calibrate`: what is normal at each hour is learnt from them."
)
ACCEPTED_FOLLOWS_HOUR = (
    "This traffic follows the hour of the day, so that false alarms come more often than asked. Accept at least two "
    "days of it, better two weeks, with `tidemark accept`: what is normal at each hour is learnt from them."
)


def advance_stream(
    state: StreamState,
    incoming: StreamInput,
    prepared: PreparedReference,
    settings: Settings,
    pace: Pace,
    now: dt.datetime,
) -> StreamTransition:
    """Process what came in for a stream.

    Parameters
    ----------
    state : StreamState
        The state after the last step; it must not be used again, for its detectors move forward.
    prepared : PreparedReference
        The baseline of the stream.
    pace : Pace
        The rate of the model, from which the expected run times of the stream follow.
    now : datetime
        The time of the step.
    """
    update = StreamUpdate(state, prepared, settings, pace, now)
    for explanation in incoming.explanations:
        _take_explanation(update, explanation)
    further_shifts.start_watch(update)
    if incoming.further is not None:
        further_shifts.take_input(update, incoming.further)
    _keep_budget(update)
    if incoming.rows is not None:
        _take_all(update, incoming.rows)
    _record_regime(update)
    if incoming.labels is not None:
        take_labels(update, incoming.labels)
    request_alarm_window(update)
    request_overdue_window(update)
    if incoming.window_requested:
        request_newest(update, "on_demand", settings.window_size)
    _forget_resolved_incidents(update)
    _update_status(update, has_rows=incoming.rows is not None)
    return update.transition()


def is_due(state: StreamState, settings: Settings, now: dt.datetime) -> bool:
    """Check whether a stream needs a step although nothing came in: an alarm waits, or a window has become old."""
    if state.alarm is not None or state.second_alarm is not None or further_shifts.is_retry_due(state, now):
        return True
    if state.incident is not None and not state.incident.open:
        return now - (state.incident.resolved_at or now) > alert_rules.REOPEN_WITHIN
    return is_overdue(state, settings, now)


def _keep_budget(update: StreamUpdate) -> None:
    """Give the detectors other thresholds where the rate of the model has moved; their evidence stays."""
    state, run_time = update.state, update.budget.detector
    if state.detector.expected_run_time != run_time:
        state.detector.change_run_time(run_time)
    second = None if state.further is None else state.further.second
    if second is not None and second.detector.expected_run_time != SECOND_SHARE * run_time:
        second.detector.change_run_time(SECOND_SHARE * run_time)


def _take_all(update: StreamUpdate, rows: StreamRows) -> None:
    """Process predictions in parts of at most CHUNK, one of which ends where a watch for further shifts starts."""
    first = 0
    while first < len(rows):
        size = min(CHUNK, further_shifts.predictions_until_start(update.state) or CHUNK)
        _take_rows(update, rows.part(slice(first, first + size)))
        first += size


def _take_rows(update: StreamUpdate, rows: StreamRows) -> None:
    """Process at most CHUNK predictions."""
    detector = update.state.detector
    if update.has_open_incident:
        detect_alarms(update, rows)
    else:
        detector.update_scored(rows.scores, rows.context, rows.times)
    further_shifts.take_rows(update, rows)
    state = update.state.with_confidences(rows.probabilities)
    update.state = replace(state.with_recent(rows.ids), seen=state.seen + len(rows))
    request_full_windows(update)
    if update.has_open_incident:
        follow_incident(update)
        further_shifts.start_watch(update)
    elif update.state.alarm is None and detector.drift_detected:
        update.replace_state(alarm=new_alarm(update, detector, offset=update.state.seen - detector.count))


def _take_explanation(update: StreamUpdate, explanation: Explanation) -> None:
    """Store a window report, and use it for what it was requested for; a second answer to a request is left out."""
    request, report = explanation.request, explanation.report
    pending = pending_windows.without(update.state.pending, request)
    if pending is None:
        return
    update.replace_state(pending=pending)
    if explanation.skipped:
        update.count(windows_skipped=1)
        return
    if report is not None:
        report = report.with_changes({"summary": update.with_slice_name(report.window.summary)})
        if update.state.status.feedback is not None:
            report = report.with_changes({"feedback": update.state.status.feedback.to_json()})
        if request.detection is not None:
            report = report.with_changes(label_changes(update, request.detection))
        explanation = replace(explanation, report=report)
        update.count(windows=1)
        if request.detection is None:
            _remember_estimates(update, report)
    else:
        update.count_error("window", RuntimeError(explanation.error or "no report"))
        report = untested_report(update.prepared, len(request.ids), f"could not be tested: {explanation.error}")
    update.add_event(WindowStored(update.state.slice, explanation, report.to_json()))
    if request.purpose == "alarm":
        explain_alarm(update, explanation)
    elif request.purpose == "labels":
        take_label_report(update, explanation)
    elif request.purpose == "further_shift":
        report_further_shift(update, explanation)
    else:
        refine_kind(update, explanation)


def _remember_estimates(update: StreamUpdate, report: StoredReport) -> None:
    """Keep what a window says about class proportions and accuracy, by which labels are judged."""
    if report.window.label_shift is not None:
        update.replace_state(proportions=tuple(report.window.label_shift.estimated.values()))
    update.replace_state(fall=report.largest_fall)


def _record_regime(update: StreamUpdate) -> None:
    """Record since when the images have drifted, and how, for labels of these predictions that come back later."""
    state, incident = update.state, update.state.incident
    is_open = incident is not None and incident.open
    kind, since = (incident.kind, incident.since) if incident is not None and is_open else (None, update.now)
    update.replace_state(regimes=with_regime(state.regimes, kind, since, update.now, state.proportions, state.fall))


def _forget_resolved_incidents(update: StreamUpdate) -> None:
    """Drop incidents that are over and cannot be reopened any more; what they looked like is remembered."""
    incident, concept = update.state.incident, update.state.concept
    if incident is not None and incident.resolved_at and update.now - incident.resolved_at > alert_rules.REOPEN_WITHIN:
        forget_resolved_incident(update)
    if concept is not None and not concept.open:
        update.replace_state(concept=None)


def _update_status(update: StreamUpdate, has_rows: bool) -> None:
    """Renew what readers see of the stream, and add a point to the chart of its evidence if one is due."""
    state, now, detector = update.state, update.now, update.state.detector
    points = with_rate_point(state.rate_points, state.seen, now) if has_rows else state.rate_points
    status = replace(
        _with_evidence(state),
        threshold=detector.threshold,
        expected_run_time=detector.expected_run_time,
        budget=alarm_budget(update.settings, update.pace),
        detectable=detectable_changes(detector.expected_run_time, detector.baseline_rows),
        rate=rate_of(points),
        kinds=state.kinds,
        further_shifts=further_shifts.status_of(state),
        repeats=detector.repeat_share if detector.repeat_share > 0 else None,
        note=_note(detector, update.prepared.key.baseline_id is not None),
    )
    update.replace_state(rate_points=points, status=status)
    has_news = any(not isinstance(event, WindowStored) for event in update.events)
    if has_rows and (state.point_at is None or has_news or now - state.point_at >= POINT_INTERVAL):
        update.add_event(EvidencePoint(state.slice, now, state.seen, status.evidence or 0.0, detector.threshold))
        update.replace_state(point_at=now)


def _note(detector: StreamDetector, is_accepted: bool) -> str | None:
    """Return what a reader should know of traffic that is not independent, or None."""
    if detector.follows_hour:
        return ACCEPTED_FOLLOWS_HOUR if is_accepted else FOLLOWS_HOUR
    return OVERDISPERSED.format(detector.design_effect) if detector.overdispersed else None


def _with_evidence(state: StreamState) -> StreamStatus:
    """Return the status with the evidence and the change that readers see: during an incident those of its newest
    alarm."""
    evidence = state.detector.evidence
    source = state.incident if state.incident is not None and state.incident.open else state.alarm
    if source is None:
        return replace(state.status, evidence=evidence, change_point=None, change_range=None)
    return replace(
        state.status,
        evidence=max(source.evidence, evidence),
        change_point=source.change,
        change_range=source.change_range,
    )
