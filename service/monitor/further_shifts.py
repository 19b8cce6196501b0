"""What a step does for the watch for further shifts: its start, its baseline, the predictions, and its alarm."""

import datetime as dt
from dataclasses import replace

from ..store.further_shift_status import FurtherShiftStatus
from .alarms import new_alarm
from .budget import SECOND_SHARE
from .further_shift_watch import FurtherShiftInput, FurtherShiftWatch, PreparationFailure, SecondDetector
from .missing_properties import fill_missing
from .prepared_reference import PreparedReference
from .stream_state import StreamRows, StreamState
from .stream_transition import StreamUpdate

MIN_BASELINE_ROWS = 500  # predictions since a change from which a second baseline is made
MAX_BASELINE_ROWS = 2000  # predictions of a second baseline, the newest
RETRY_AFTER = dt.timedelta(seconds=60)  # time after a failed preparation until another one, with newer predictions


def predictions_until_start(state: StreamState) -> int | None:
    """Return the number of predictions after which the watch of an open incident starts; None if that is not ahead.

    A step ends a part there, so that the start does not depend on the steps in which predictions come.
    """
    incident = state.incident
    if incident is None or not incident.open or state.further is not None:
        return None
    further = incident.change + MIN_BASELINE_ROWS - state.seen
    return further if further > 0 else None


def start_watch(update: StreamUpdate) -> None:
    """Start the watch once an open incident has enough predictions since its change, and again after a failure."""
    state, incident = update.state, update.state.incident
    if incident is None or not incident.open or not (state.further is None or is_retry_due(state, update.now)):
        return
    since_change = state.seen - incident.change
    ids = state.newest(min(since_change, MAX_BASELINE_ROWS))
    if len(ids) >= MIN_BASELINE_ROWS:
        watch = FurtherShiftWatch(incident.id, state.seen, ids)
        update.baseline = watch.request(state.slice)
        update.replace_state(further=watch)


def is_retry_due(state: StreamState, now: dt.datetime) -> bool:
    """Check whether a baseline that could not be prepared is to be prepared from newer predictions."""
    failure = None if state.further is None else state.further.failure
    return failure is not None and now - failure.at >= RETRY_AFTER


def take_input(update: StreamUpdate, incoming: FurtherShiftInput) -> None:
    """Take the prepared baseline over, and process predictions that have waited for it."""
    watch = update.state.further
    if watch is None or watch.key != incoming.key:
        return
    if isinstance(incoming.baseline, PreparationFailure):
        _fail(update, watch, incoming.baseline)
        return
    if incoming.baseline is not None and watch.second is None:
        try:
            watch = replace(watch, second=_detector(update, watch, incoming.baseline), stored=None)
        except (ValueError, KeyError) as error:  # an earlier version has stored it
            _fail(update, watch, PreparationFailure(str(error), update.now))
            return
    if watch.second is not None and incoming.count:
        watch = _caught_up(update, watch, watch.second, incoming)
    update.replace_state(further=watch)
    check_alarm(update)


def take_rows(update: StreamUpdate, rows: StreamRows) -> None:
    """Let the second detector process predictions of the step, or let them wait for it."""
    watch = update.state.further
    if watch is None:
        return
    if watch.failure is not None:
        update.count(further_shifts_missed=len(rows))
        return
    if watch.second is not None and not len(watch.waiting):
        watch.second.detector.update(rows.embeddings, rows.probabilities, rows.properties, rows.context)
        return
    waiting = watch.with_waiting(rows.ids)
    update.count(further_shifts_missed=waiting.missed - watch.missed)
    update.replace_state(further=waiting)


def check_alarm(update: StreamUpdate) -> None:
    """Note an alarm of the second detector."""
    state, watch = update.state, update.state.further
    if watch is None or watch.second is None or state.second_alarm is not None:
        return
    if watch.second.detector.drift_detected:
        update.replace_state(second_alarm=new_alarm(update, watch.second.detector, watch.offset))


def status_of(state: StreamState) -> FurtherShiftStatus | None:
    """Return whether a further shift would be seen; None while no incident is open."""
    if state.incident is None or not state.incident.open:
        return None
    return FurtherShiftStatus("too_few_predictions") if state.further is None else state.further.status


def _detector(update: StreamUpdate, watch: FurtherShiftWatch, baseline: PreparedReference) -> SecondDetector:
    """Return the second detector as its checkpoint has it, or a new one."""
    run_time = SECOND_SHARE * update.budget.detector
    if watch.stored is None:
        return SecondDetector(baseline, baseline.detector(run_time))
    return SecondDetector(baseline, baseline.restore_detector(run_time, watch.stored.state))


def _caught_up(
    update: StreamUpdate, watch: FurtherShiftWatch, second: SecondDetector, incoming: FurtherShiftInput
) -> FurtherShiftWatch:
    """Process waiting predictions, and return the watch without them."""
    batch, prepared = incoming.batch, update.prepared
    processed = 0
    if batch is not None and len(batch):
        properties = fill_missing(prepared.reference, batch.ids, batch.properties)
        context = None if prepared.context is None else prepared.context.values(batch.times, batch.tags)
        second.detector.update(batch.embeddings, batch.probabilities, properties, context)
        processed = len(batch)
    update.count(further_shifts_missed=incoming.count - processed)
    return watch.caught_up(incoming.count, processed)


def _fail(update: StreamUpdate, watch: FurtherShiftWatch, failure: PreparationFailure) -> None:
    update.count_error("second_baseline", RuntimeError(failure.reason))
    missed = len(watch.waiting)
    update.count(further_shifts_missed=missed)
    failed = replace(watch, stored=None, waiting=watch.waiting[:0], missed=watch.missed + missed, failure=failure)
    update.replace_state(further=failed)
