"""The drift state of every stream, and the window reports."""

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from ...alerts.schemas import BaselineSummary
from ...store import baselines, streams, watching, window_requests, windows
from ...store.baselines import Baseline
from ...store.stream_status import StreamStatus
from ...store.streams import StreamRow
from ...store.watching import Watching
from ...store.windows import WindowRow
from ..budget_text import false_alarm_budget
from ..problems import Problem, documented
from ..query_names import names_in_query
from ..state import database_state
from ..window_reports import window_report

router = APIRouter(tags=["drift"])


class Streams(BaseModel):
    streams: list[dict[str, Any]]


class Windows(BaseModel):
    windows: list[dict[str, Any]]
    next: int | None = Field(description="The `before` of the page after this one; null at the end.")


class RequestedWindow(BaseModel):
    stream: str
    requested_at: dt.datetime


@router.get("/drift", summary="State of every stream", responses=documented(503))
def get_drift(request: Request) -> Streams:
    """Return each stream's state, evidence, threshold, false-alarm budget and last window's scores.

    If the reports of all streams are too large for one answer, further ones lack what grows with the classes; their
    window's own address has it.
    """
    with database_state(request).engine.connect() as connection:
        models, last = watching.of_models(connection), windows.last_of_each(connection)
        accepted, rows = baselines.current_of_all(connection), streams.every(connection)
    return Streams(
        streams=[_stream(row, models.get(row.model_id), last.get(row.id), accepted.get(row.id)) for row in rows]
    )


@router.get("/drift/windows", summary="Window reports, newest first", responses=documented(422, 503))
def get_windows(
    request: Request,
    stream: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: int | None = None,
) -> Windows:
    """Return window reports, at most `limit` and at most some 15 MB; `before` is the `next` of the page before."""
    with database_state(request).engine.connect() as connection:
        names = (name for name in names_in_query(request, "stream") if streams.find(connection, name) is not None)
        name = next(names, stream)
        rows = windows.newest(connection, name, limit, before)
        has_more = bool(rows) and windows.has_older(connection, name, rows[-1].id)
    return Windows(windows=[window_report(row) for row in rows], next=rows[-1].id if has_more else None)


@router.post(
    "/drift/windows",
    status_code=202,
    summary="Test the newest predictions of a stream now",
    responses=documented(404, 409, 422, 429, 503),
)
def request_window(request: Request, stream: str) -> RequestedWindow:
    """Have a monitor test the newest predictions of a stream, up to a window's size, whether a window is due or not.

    The report becomes the newest of `GET /drift/windows?stream=…`, usually within seconds. One request is worked on at
    a time; one that no monitor answers is given up after two minutes.
    """
    with database_state(request).engine.begin() as connection:
        names = (name for name in names_in_query(request, "stream") if streams.find(connection, name) is not None)
        row = streams.find(connection, next(names, stream))
        if row is None or row.retired_at is not None:
            raise Problem(404, f"no stream {stream}")
        if row.reference_id is None or row.seen == 0:
            raise Problem(409, f"stream {row.stream} has no reference, or no prediction of it has been watched yet")
        requested_at = window_requests.request(connection, row.id)
    if requested_at is None:
        raise Problem(429, "another window is being tested on request; ask again in some seconds", {"Retry-After": "5"})
    return RequestedWindow(stream=row.stream, requested_at=requested_at)


@router.get("/drift/windows/{window_id}", summary="One window report", responses=documented(404, 422, 503))
def get_window(window_id: int, request: Request) -> dict[str, Any]:
    """Return one window report."""
    with database_state(request).engine.connect() as connection:
        row = windows.get(connection, window_id)
    if row is None:
        raise Problem(404, f"no window {window_id}")
    return window_report(row)


def _stream(
    row: StreamRow, watch: Watching | None, last: WindowRow | None, accepted: Baseline | None
) -> dict[str, Any]:
    status = StreamStatus.from_json(row.status)
    return {
        "stream": row.stream,
        "model": {"name": row.model_name, "version": row.model_version},
        "slice": row.slice or None,
        "state": row.state,
        "kind": row.kind,
        "since": row.since.isoformat() if row.since else None,
        "reference": row.reference_id,
        "baseline": None if accepted is None else BaselineSummary.of(accepted).model_dump(mode="json"),
        "predictions": row.seen,
        "lag": 0 if watch is None or row.slice else watch.lag,
        "watching": None if watch is None else _watching(watch),
        "evidence": status.evidence,
        "threshold": status.threshold,
        "change_point": status.change_point,
        "false_alarm_budget": _budget(status),
        "detectable": _detectable(status),
        "feedback": vars(status.feedback) if status.feedback else None,
        "note": status.note,
        "rejected": dict(row.rejected),
        "windows_skipped": status.windows_skipped,
        "errors": dict(status.errors),
        "last_error": status.last_error,
        "last_window": window_report(last) if last else None,
    }


def _budget(status: StreamStatus) -> dict[str, Any]:
    """Return the expected run time of the stream's detector in its predictions, and what all streams of the model and
    their labels may raise together: about one false alarm in `seconds`."""
    budget = status.budget
    values = {"expected_run_time": status.expected_run_time, "rate": status.rate}
    if budget is None:
        return values | {"seconds": None}
    return values | {
        "seconds": budget.seconds,
        "model_predictions": budget.predictions,
        "model_rate": budget.rate,
        "assumed_rate": budget.is_assumed,
        "watched_share": budget.watched_share,
        "text": false_alarm_budget(budget),
    }


def _detectable(status: StreamStatus) -> list[dict[str, Any]]:
    """Return when changes of a class share would be seen, in predictions and at the stream's rate in seconds."""
    return [
        {
            "class_share": [change.before, change.after],
            "predictions": change.predictions,
            "seconds": change.predictions / status.rate if change.predictions and status.rate else None,
        }
        for change in status.detectable
    ]


def _watching(watch: Watching) -> dict[str, Any]:
    return {"state": watch.state, "reason": watch.reason, "position": watch.position, "written": watch.written}
