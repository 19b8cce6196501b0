"""Which windows of a stream are tested: those that are full, those that have become old, and those an alert needs."""

import datetime as dt
from dataclasses import replace
from typing import Any

from ..settings import Settings
from .events import IdRows, Purpose, WindowRequest
from .label_detection import LabelDetection
from .stream_state import StreamState
from .stream_transition import StreamUpdate

SMALLEST_WINDOW = 20  # predictions of the smallest window that is tested
SLOWEST_WINDOW = dt.timedelta(days=7)  # age at which the window of a slow stream is tested although it is small
FIRST_WINDOWS = 10  # windows of a new stream that are tested as soon as they are full


def request_full_windows(update: StreamUpdate) -> None:
    """Request each window that the newest predictions have filled, or count it as skipped."""
    size, stride = update.settings.window_size, update.settings.stride
    if update.state.windows.requested_at is None:
        _schedule(update, requested_at=update.now)
    while update.state.seen >= update.state.windows.start + size:
        start = update.state.windows.start
        ids = update.state.newest(size, back=update.state.seen - start - size)
        if len(ids) == size and _is_tested(update):
            purpose: Purpose = "incident" if update.has_open_incident else "routine"
            update.requests.append(_request_of(update, purpose, ids, start))
            _schedule(update, requested_at=update.now, requested=update.state.windows.requested + 1)
        else:
            update.count(windows_skipped=1)
        _schedule(update, start=start + stride, covered=start + size)


def request_overdue_window(update: StreamUpdate) -> None:
    """Request a window of predictions that have waited for the maximum age of a window without a test."""
    if is_overdue(update.state, update.settings, update.now):
        request_newest(update, "routine", update.state.seen - update.state.windows.covered)
        _schedule(update, start=update.state.seen, covered=update.state.seen, requested_at=update.now)


def request_newest(update: StreamUpdate, purpose: Purpose, rows: int, detection: LabelDetection | None = None) -> None:
    """Request a window of the newest predictions, of at most the usual size."""
    ids = update.state.newest(min(rows, update.settings.window_size))
    if len(ids):
        update.requests.append(_request_of(update, purpose, ids, update.state.seen - len(ids), detection))


def is_overdue(state: StreamState, settings: Settings, now: dt.datetime) -> bool:
    """Check whether enough untested predictions have waited for the maximum age of a window; of a slow stream fewer
    are enough after a week."""
    schedule = state.windows
    untested = state.seen - schedule.covered
    if schedule.requested_at is None or untested < SMALLEST_WINDOW:
        return False
    age = dt.timedelta(seconds=settings.window_max_age)
    return now - schedule.requested_at > (age if untested >= settings.window_min_size else max(age, SLOWEST_WINDOW))


def _is_tested(update: StreamUpdate) -> bool:
    """Check whether a full window is tested: the first ones, those of an incident, then one an interval."""
    schedule = update.state.windows
    if update.has_open_incident or schedule.requested < FIRST_WINDOWS or schedule.requested_at is None:
        return True
    return update.now - schedule.requested_at >= dt.timedelta(seconds=update.settings.window_interval)


def _request_of(
    update: StreamUpdate, purpose: Purpose, ids: IdRows, first: int, detection: LabelDetection | None = None
) -> WindowRequest:
    detector = update.state.detector
    return WindowRequest(update.state.slice, purpose, ids, first, detector.evidence, detector.threshold, detection)


def _schedule(update: StreamUpdate, **values: Any) -> None:
    update.replace_state(windows=replace(update.state.windows, **values))
