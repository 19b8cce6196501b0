"""One step of one stream: a pure function of the stream's state and of what came in, without database or clock."""

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..settings import Settings
from ..store.stream_status import StreamStatus
from . import rules
from .events import (
    AlertChanged,
    AlertFired,
    AlertReopened,
    AlertResolved,
    BaselineRequest,
    Event,
    EvidencePoint,
    Explanation,
    Purpose,
    WindowRequest,
    WindowStored,
)
from .incident import Alarm, Incident, incident_id
from .labels import ConceptDetection, FedBackLabels, process_labels
from .prepared_reference import PreparedReference
from .state import SecondDetector, StreamRows, StreamState, rate_of, with_rate_point
from .summaries import alarm_summary, further_shift_summary, untested_report

CHUNK = 500  # predictions after which alarms, windows and the end of an incident are checked
POINT_INTERVAL = dt.timedelta(seconds=2)  # time between two points of the evidence's chart
FIRST_WINDOWS = 10  # windows of a new stream that are tested as soon as they are full
SECOND_BASELINE_ROWS = 500  # predictions since a change from which a second baseline is made
MAX_BASELINE_ROWS = 2000  # predictions of a second baseline, the newest
OVERDISPERSED = (
    "This traffic is not independent: {:.1f} predictions count as one, so that false alarms come more often than "
    "asked. Declare a calm span of it with `tidemark calibrate`."
)


@dataclass(frozen=True)
class StreamInput:
    """What came in for one stream since its last step.

    Parameters
    ----------
    rows : StreamRows, optional
        New predictions.
    labels : FedBackLabels, optional
        Labels that were fed back.
    explanations : tuple of Explanation
        Answers to window requests.
    second : SecondDetector, optional
        The prepared detector against the traffic since the change.
    """

    rows: StreamRows | None = None
    labels: FedBackLabels | None = None
    explanations: tuple[Explanation, ...] = ()
    second: SecondDetector | None = None


@dataclass(frozen=True)
class StreamTransition:
    """What a step of one stream gives."""

    state: StreamState
    events: tuple[Event, ...]
    requests: tuple[WindowRequest, ...]
    baseline: BaselineRequest | None = None


def advance_stream(
    state: StreamState,
    incoming: StreamInput,
    prepared: PreparedReference,
    settings: Settings,
    run_time: float,
    now: dt.datetime,
) -> StreamTransition:
    """Process what came in for a stream.

    Parameters
    ----------
    state : StreamState
        The state after the last step; it must not be used again, for its detectors move forward.
    prepared : PreparedReference
        The baseline of the stream.
    run_time : float
        The expected run time in predictions of the stream.
    now : datetime
        The time of the step.
    """
    step = _Step(state, prepared, settings, run_time, now)
    for explanation in incoming.explanations:
        step.take_explanation(explanation)
    if incoming.second is not None and state.incident is not None and state.incident.open:
        step.state = replace(step.state, second=incoming.second)
    if incoming.rows is not None:
        for chunk in _chunks(incoming.rows):
            step.take_rows(chunk)
    if incoming.labels is not None:
        step.take_labels(incoming.labels)
    step.request_explanations()
    return step.finish(fed=incoming.rows is not None)


def is_due(state: StreamState, settings: Settings, now: dt.datetime) -> bool:
    """Check whether a stream needs a step although nothing came in: an alarm waits, or a window has become old."""
    if state.alarm is not None or state.second_alarm is not None:
        return True
    if state.incident is not None and not state.incident.open:
        return now - (state.incident.resolved_at or now) > rules.REOPEN_WITHIN
    return _is_old(state, settings, now)


class _Step:
    """A stream on its way from one state to the next; every method replaces `state` as a whole."""

    def __init__(
        self, state: StreamState, prepared: PreparedReference, settings: Settings, run_time: float, now: dt.datetime
    ) -> None:
        self.state = state
        self._prepared = prepared
        self._settings = settings
        self._run_time = run_time
        self._now = now
        self._events: list[Event] = []
        self._requests: list[WindowRequest] = []
        self._baseline: BaselineRequest | None = None

    def take_rows(self, rows: StreamRows) -> None:
        """Process at most CHUNK predictions."""
        state = self.state
        state.detector.update_scored(rows.scores)
        if state.second is not None:
            state.second.detector.update(rows.embeddings, rows.probabilities, rows.properties)
        self.state = replace(state.with_recent(rows.ids), seen=state.seen + len(rows))
        if self.state.windows.requested_at is None:
            self._schedule(requested_at=self._now)
        self._request_full_windows()
        if self._incident_is_open:
            self._follow_incident()
        elif self.state.alarm is None and self.state.detector.drift_detected:
            self.state = replace(self.state, alarm=self._new_alarm(self.state.detector))

    def take_labels(self, labels: FedBackLabels) -> None:
        """Process labels; an error in them is counted, and stops nothing else."""
        state = self.state
        if state.labels is None:
            return
        kinds = {state.incident.kind} if state.incident is not None and state.incident.open else set()
        try:
            step = process_labels(
                state.labels,
                labels,
                kinds=kinds,
                proportions=state.proportions,
                run_time=self._run_time,
                seen=state.seen,
                now=self._now,
            )
        except Exception as error:
            self._count_error("labels", error)
            return
        self.state = replace(state, labels=step.state, status=replace(state.status, feedback=step.state.accuracy))
        concept = state.concept
        is_open = concept is not None and concept.open
        if step.detection is not None and not is_open:
            self._request("concept", self._settings.window_size, detection=step.detection)
        elif concept is not None and concept.open and step.state.over:
            self._events.append(AlertResolved(state.slice, concept.id, "recovered"))
            self.state = replace(self.state, concept=replace(concept, resolved_at=self._now))

    def take_explanation(self, explanation: Explanation) -> None:
        """Store a window report, and let it speak for what it was requested for."""
        request, report = explanation.request, explanation.report
        if explanation.skipped:
            self._count(windows_skipped=1)
            return
        if report is not None:
            report = report.with_values(summary=self._prefixed(report.window.summary))
            if self.state.status.feedback is not None:
                report = report.with_values(feedback=vars(self.state.status.feedback))
            if request.detection is not None:
                report = report.with_values(**self._concept_values(request.detection))
            explanation = replace(explanation, report=report)
            self._count(windows=1)
            if request.detection is None and report.window.label_shift is not None:
                estimated = tuple(report.window.label_shift.estimated.values())
                self.state = replace(self.state, proportions=estimated)
            stored = report.to_json()
        else:
            self._count_error("window", RuntimeError(explanation.error or "no report"))
            stored = untested_report(self._prepared, len(request.ids), f"could not be tested: {explanation.error}")
        self._events.append(WindowStored(self.state.slice, explanation, stored))
        if request.purpose == "alarm":
            self._explain_alarm(explanation)
        elif request.purpose == "concept":
            self._fire_concept(explanation)
        elif request.purpose == "further_shift":
            self._tell_further_shift(explanation)
        elif report is not None:
            self._follow_report(explanation)

    def request_explanations(self) -> None:
        """Request the windows that alarms wait for, one for predictions that have become old, and the baseline of an
        incident; let an alarm go out whose window takes too long."""
        self._request_baseline()
        state, now = self.state, self._now
        if (alarm := state.alarm) is not None:
            since_change = max(state.seen - alarm.change, 1)
            if alarm.requested_at is not None and now - alarm.requested_at > rules.MAX_WAIT_FOR_REPORT:
                self._fire(None)
            elif alarm.requested_at is None and rules.enough_rows(since_change, alarm.detected_at, now):
                more = since_change - alarm.explained >= rules.MIN_ALARM_ROWS
                if not alarm.explained or more or now - alarm.detected_at >= rules.MAX_WAIT_FOR_ROWS:
                    self._request("alarm", max(since_change, rules.MIN_ALARM_ROWS))
                    self.state = replace(state, alarm=replace(alarm, requested_at=now, explained=since_change))
        elif (further := state.second_alarm) is not None and further.requested_at is None:
            since_change = max(state.seen - further.change, 1)
            if rules.enough_rows(since_change, further.detected_at, now):
                self._request("further_shift", max(since_change, rules.MIN_ALARM_ROWS))
                self.state = replace(state, second_alarm=replace(further, requested_at=now))
        if _is_old(self.state, self._settings, now):
            untested = self.state.seen - self.state.windows.covered
            self._request("routine", untested)
            self._schedule(start=self.state.seen, covered=self.state.seen, requested_at=now)

    def finish(self, fed: bool) -> StreamTransition:
        """Return the new state with its status, and what happened."""
        state, detector, now = self.state, self.state.detector, self._now
        incident = state.incident
        if incident is not None and incident.resolved_at and now - incident.resolved_at > rules.REOPEN_WITHIN:
            state = replace(state, incident=None)
        if state.concept is not None and not state.concept.open:
            state = replace(state, concept=None)
        points = with_rate_point(state.rate_points, state.seen, now) if fed else state.rate_points
        evidence, change, change_range = _shown_evidence(state)
        status = replace(
            state.status,
            evidence=evidence,
            threshold=detector.threshold,
            expected_run_time=self._run_time,
            rate=rate_of(points),
            kinds=state.kinds,
            change_point=change,
            change_range=change_range,
            repeats=detector.repeat_share if detector.repeat_share > 0 else None,
            note=OVERDISPERSED.format(detector.design_effect) if detector.overdispersed else None,
        )
        state = replace(state, rate_points=points, status=status)
        told = any(not isinstance(event, WindowStored) for event in self._events)
        if fed and (state.point_at is None or told or now - state.point_at >= POINT_INTERVAL):
            self._events.append(EvidencePoint(state.slice, now, state.seen, evidence, detector.threshold))
            state = replace(state, point_at=now)
        return StreamTransition(state, tuple(self._events), tuple(self._requests), self._baseline)

    # Windows

    def _request_full_windows(self) -> None:
        """Request each window that the newest predictions have filled, or count it as skipped."""
        size, stride = self._settings.window_size, self._settings.stride
        while self.state.seen >= self.state.windows.start + size:
            start = self.state.windows.start
            back = self.state.seen - start - size
            ids = self.state.newest(size, back)
            if len(ids) == size and self._wants_window():
                purpose: Purpose = "incident" if self._incident_is_open else "routine"
                self._append_request(WindowRequest(self.state.slice, purpose, ids, start, *self._evidence))
                self._schedule(requested_at=self._now, requested=self.state.windows.requested + 1)
            else:
                self._count(windows_skipped=1)
            self._schedule(start=start + stride, covered=start + size)

    def _wants_window(self) -> bool:
        schedule = self.state.windows
        if self._incident_is_open or schedule.requested < FIRST_WINDOWS or schedule.requested_at is None:
            return True
        return self._now - schedule.requested_at >= dt.timedelta(seconds=self._settings.window_interval)

    def _request(self, purpose: Purpose, rows: int, detection: ConceptDetection | None = None) -> None:
        """Request a window of the newest predictions, at most the usual number."""
        ids = self.state.newest(min(rows, self._settings.window_size))
        if len(ids):
            first = self.state.seen - len(ids)
            self._append_request(WindowRequest(self.state.slice, purpose, ids, first, *self._evidence, detection))

    def _append_request(self, request: WindowRequest) -> None:
        self._requests.append(request)

    def _schedule(self, **values: Any) -> None:
        self.state = replace(self.state, windows=replace(self.state.windows, **values))

    @property
    def _evidence(self) -> tuple[float, float]:
        return self.state.detector.evidence, self.state.detector.threshold

    # Alarms and incidents

    @property
    def _incident_is_open(self) -> bool:
        return self.state.incident is not None and self.state.incident.open

    def _new_alarm(self, detector: Any) -> Alarm:
        """Return the alarm of a detector; its counts of predictions become those of the stream."""
        offset = self.state.seen - detector.count
        change = detector.change_point if detector.change_point is not None else detector.count
        between = detector.change_range
        return Alarm(
            detected_at=self._now,
            change=change + offset,
            change_range=(between[0] + offset, between[1] + offset) if between else None,
            view=str(detector.leading or ""),
            evidence=detector.evidence,
            threshold=detector.threshold,
        )

    def _explain_alarm(self, explanation: Explanation) -> None:
        alarm = self.state.alarm
        if alarm is None:
            return
        report = explanation.report
        since_change = max(self.state.seen - alarm.change, 1)
        if report is not None and not rules.decisive(report, since_change, alarm.detected_at, self._now):
            self.state = replace(self.state, alarm=replace(alarm, requested_at=None))
            return
        self._fire(explanation)

    def _fire(self, explanation: Explanation | None) -> None:
        """Open an incident, or open the last one again; the detector starts again."""
        state, alarm = self.state, self.state.alarm
        if alarm is None:
            return
        report = explanation.report if explanation else None
        kind, certainty = (
            rules.named_kind(report, alarm.view, self._prepared.labelled is not None),
            rules.certainty_of(report),
        )
        severity = rules.severity_of(report, self._settings.page_below)
        since_change = max(state.seen - alarm.change, 1)
        shown = report.to_json() if report else untested_report(self._prepared, since_change, "")
        shown |= {"kind": kind, "drifted": True, "summary": self._prefixed(alarm_summary(report, alarm, since_change))}
        if report is None or not report.tested:
            shown["p_value"] = math.exp(-alarm.evidence)
        previous = state.incident
        incident = Incident(
            id=incident_id(state.key, kind, state.seen, self._now),
            kind=kind,
            certainty=certainty,
            severity=severity,
            since=state.time_back(since_change) or self._now,
            delay=since_change,
            alarmed_at=state.seen,
            evidence=alarm.evidence,
            change=alarm.change,
            change_range=alarm.change_range,
            accuracy=report.estimated_accuracy if report else None,
        )
        about = (kind, certainty, severity)
        if previous is not None:
            incident = replace(incident, id=previous.id, since=previous.since, reopened=previous.reopened + 1)
            self._events.append(AlertReopened(state.slice, incident.id, *about, shown, explanation))
        else:
            fired = AlertFired(state.slice, incident.id, *about, incident.since, state.seen, shown, explanation)
            self._events.append(fired)
        state.detector.reset()
        self.state = replace(state, alarm=None, incident=incident, second=None, second_alarm=None)

    def _follow_incident(self) -> None:
        """Check for the end of the incident and for a further shift."""
        state, incident, detector = self.state, self.state.incident, self.state.detector
        if incident is None:
            return
        if detector.drift_detected:
            incident = replace(incident, alarmed_at=state.seen, evidence=detector.evidence)
            detector.reset()
            self.state = replace(state, incident=incident)
        else:
            minimum = self._settings.resolve_after * self._settings.stride
            needed = rules.quiet_needed(incident.delay, incident.reopened, minimum)
            if (
                state.seen - incident.alarmed_at >= needed
                and detector.evidence < rules.LOW_EVIDENCE * detector.threshold
            ):
                self._events.append(AlertResolved(state.slice, incident.id, "recovered"))
                detector.reset()
                over = replace(incident, resolved_at=self._now, baseline_ids=None)
                self.state = replace(state, incident=over, second=None, second_alarm=None)
                return
        second = state.second
        if second is not None and second.detector.drift_detected and state.second_alarm is None:
            self.state = replace(self.state, second_alarm=self._new_alarm(second.detector))

    def _request_baseline(self) -> None:
        """Request the detector of further shifts once an open incident has enough predictions since its change."""
        state, incident = self.state, self.state.incident
        if incident is None or not incident.open or state.second is not None or incident.baseline_ids is not None:
            return
        since_change = state.seen - incident.change
        if since_change >= SECOND_BASELINE_ROWS:
            ids = state.newest(min(since_change, MAX_BASELINE_ROWS))
            self._baseline = BaselineRequest(state.slice, incident.id, ids)
            self.state = replace(state, incident=replace(incident, baseline_ids=ids))

    def _tell_further_shift(self, explanation: Explanation) -> None:
        """Tell a further shift of an open incident, unless the traffic is back at the reference."""
        state, incident, alarm, report = self.state, self.state.incident, self.state.second_alarm, explanation.report
        if incident is None or not incident.open or alarm is None:
            return
        again = replace(incident, change=state.seen, baseline_ids=None)
        if report is not None and report.tested and not report.window.drifted:
            self.state = replace(state, incident=again, second=None, second_alarm=None)
            return
        since_change = max(state.seen - alarm.change, 1)
        kind = rules.named_kind(report, alarm.view, self._prepared.labelled is not None)
        certainty = rules.certainty_of(report)
        severity = rules.severity_of(report, self._settings.page_below)
        shown = report.to_json() if report else untested_report(self._prepared, since_change, "")
        summary = further_shift_summary(report, alarm, since_change)
        shown |= {"kind": kind, "drifted": True, "summary": self._prefixed(summary)}
        about = (kind, certainty, severity)
        self._events.append(AlertChanged(state.slice, incident.id, "further_shift", *about, shown, explanation))
        again = replace(again, kind=kind, certainty=certainty, severity=severity, change=alarm.change, named=None)
        self.state = replace(state, incident=again, second=None, second_alarm=None)

    def _follow_report(self, explanation: Explanation) -> None:
        """Let a window during an incident correct its kind, or make it sure."""
        report, incident = explanation.report, self.state.incident
        if report is None or incident is None or not incident.open or not report.tested:
            return
        kind = rules.further_kind(report, incident.named, incident.kind)
        named = str(report.window.kind)
        is_surer = named == incident.kind and incident.certainty == "likely" and rules.certainty_of(report) == "sure"
        changed = replace(incident, named=named)
        if kind is not None or is_surer:
            severity = rules.severity_of(report, self._settings.page_below)
            changed = replace(changed, kind=kind or incident.kind, certainty="sure", severity=severity)
            reason = "kind" if kind is not None else "certainty"
            event = AlertChanged(
                self.state.slice,
                incident.id,
                "kind" if reason == "kind" else "certainty",
                changed.kind,
                "sure",
                severity,
                report.to_json() | {"kind": changed.kind},
                explanation,
            )
            self._events.append(event)
        self.state = replace(self.state, incident=changed)

    def _fire_concept(self, explanation: Explanation) -> None:
        state, detection = self.state, explanation.request.detection
        if detection is None or (state.concept is not None and state.concept.open):
            return
        since = detection.since or self._now
        report = explanation.report
        if report is not None:
            shown = report.to_json()
        else:
            shown = untested_report(self._prepared, len(explanation.request.ids), "") | self._concept_values(detection)
        accuracy = detection.report["labels"]["accuracy"]
        below = self._settings.page_below
        incident = Incident(
            id=incident_id(state.key, "concept", state.seen, self._now),
            kind="concept",
            certainty="sure",
            severity="page" if below is not None and accuracy < below else "ticket",
            since=since,
            delay=0,
            alarmed_at=state.seen,
            evidence=0.0,
            change=state.seen,
        )
        fired = AlertFired(
            state.slice, incident.id, "concept", "sure", incident.severity, since, state.seen, shown, explanation
        )
        self._events.append(fired)
        self.state = replace(state, concept=incident)

    def _concept_values(self, detection: ConceptDetection) -> dict[str, Any]:
        return detection.report | {"summary": self._prefixed(detection.report["summary"])}

    # Status

    def _prefixed(self, summary: str) -> str:
        return f"{self.state.slice}: {summary}" if self.state.slice else summary

    def _count(self, **counts: int) -> None:
        status = self.state.status
        grown = {name: getattr(status, name) + count for name, count in counts.items()}
        self.state = replace(self.state, status=replace(status, **grown))

    def _count_error(self, stage: str, error: BaseException) -> None:
        self.state = replace(self.state, status=with_error(self.state.status, stage, error))


def with_error(status: StreamStatus, stage: str, error: BaseException) -> StreamStatus:
    """Return a status that counts one more failure of a stage."""
    errors = {**status.errors, stage: status.errors.get(stage, 0) + 1}
    text = str(error).strip().partition("\n")[0]
    return replace(status, errors=errors, last_error=f"{stage}: {text or type(error).__name__}")


def _chunks(rows: StreamRows) -> Iterator[StreamRows]:
    for first in range(0, len(rows), CHUNK):
        yield rows.part(slice(first, first + CHUNK))


def _is_old(state: StreamState, settings: Settings, now: dt.datetime) -> bool:
    """Check whether enough untested predictions have waited for the maximum age of a window."""
    schedule = state.windows
    if schedule.requested_at is None or state.seen - schedule.covered < settings.window_min_size:
        return False
    return (now - schedule.requested_at).total_seconds() > settings.window_max_age


def _shown_evidence(state: StreamState) -> tuple[float, int | None, tuple[int, int] | None]:
    """Return the evidence that a reader sees, and the change; during an incident those of its newest alarm."""
    incident, alarm = state.incident, state.alarm
    if incident is not None and incident.open:
        return max(incident.evidence, state.detector.evidence), incident.change, incident.change_range
    if alarm is not None:
        return max(alarm.evidence, state.detector.evidence), alarm.change, alarm.change_range
    return state.detector.evidence, None, None
