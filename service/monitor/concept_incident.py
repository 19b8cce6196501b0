"""Labels that were fed back, within a step of a stream: the alert of kind "concept" opens and ends by them."""

from dataclasses import replace
from typing import Any

from .events import AlertFired, AlertResolved, Explanation
from .incident_state import Incident, incident_id
from .labels import ConceptDetection, FedBackLabels, process_labels
from .stream_transition import StreamUpdate
from .summaries import untested_report
from .window_requests import request_newest


def take_labels(update: StreamUpdate, labels: FedBackLabels) -> None:
    """Process labels; an error in them is counted, and stops nothing else."""
    state = update.state
    if state.labels is None:
        return
    kinds = {state.incident.kind} if state.incident is not None and state.incident.open else set()
    try:
        step = process_labels(
            state.labels,
            labels,
            kinds=kinds,
            proportions=state.proportions,
            run_time=update.run_time,
            seen=state.seen,
            now=update.now,
        )
    except Exception as error:
        update.count_error("labels", error)
        return
    update.replace_state(labels=step.state, status=replace(state.status, feedback=step.state.accuracy))
    concept = state.concept
    if concept is None or not concept.open:
        if step.detection is not None:
            request_newest(update, "concept", update.settings.window_size, step.detection)
    elif step.state.over:
        update.add_event(AlertResolved(state.slice, concept.id, "recovered"))
        update.replace_state(concept=replace(concept, resolved_at=update.now))


def open_concept_incident(update: StreamUpdate, explanation: Explanation) -> None:
    """Open the incident of labels that disagree with calibrated confidence."""
    state, detection, report = update.state, explanation.request.detection, explanation.report
    if detection is None or (state.concept is not None and state.concept.open):
        return
    since = detection.since or update.now
    if report is not None:
        values = report.to_json()
    else:
        untested = untested_report(update.prepared, len(explanation.request.ids), "")
        values = untested.to_json() | concept_values(update, detection)
    accuracy, page_below = detection.report["labels"]["accuracy"], update.settings.page_below
    incident = Incident(
        id=incident_id(state.key, "concept", state.seen, update.now),
        kind="concept",
        certainty="sure",
        severity="page" if page_below is not None and accuracy < page_below else "ticket",
        since=since,
        delay=0,
        alarmed_at=state.seen,
        evidence=0.0,
        change=state.seen,
    )
    update.add_event(
        AlertFired(
            state.slice,
            incident.id,
            "concept",
            "sure",
            incident.severity,
            since=since,
            position=state.seen,
            report=values,
            explanation=explanation,
        )
    )
    update.replace_state(concept=incident)


def concept_values(update: StreamUpdate, detection: ConceptDetection) -> dict[str, Any]:
    """Return the values of a window report that labels replace, as JSON values."""
    return detection.report | {"summary": update.with_slice_name(detection.report["summary"])}
