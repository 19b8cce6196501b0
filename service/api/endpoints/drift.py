"""The drift state of every stream, and the window reports."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from ...store import baselines, references, streams, watch_status, windows, windows_on_demand
from ...store.report_json import ServedWindowJson
from ..drift_schemas import Streams, StreamState, Survival, Windows
from ..problems import Problem, documented
from ..query_names import names_in_query
from ..server_state import database_state
from ..window_reports import window_report

router = APIRouter(tags=["drift"])


class RequestedWindow(BaseModel):
    stream: str
    requested_at: dt.datetime


@router.get("/drift", summary="State of every stream", response_model=Streams, responses=documented(503))
def get_drift(request: Request) -> Response:
    """Return each stream's state, evidence, threshold, false-alarm budget and last window's scores.

    If the reports of all streams are too large for one answer, those of later streams lack what grows with the
    number of classes; `GET /drift/windows/{window_id}` has it.
    """
    with database_state(request).engine.connect() as connection:
        models, last = watch_status.of_models(connection), windows.last_of_each(connection)
        accepted, rows = baselines.current_of_all(connection), streams.load_all(connection)
    states = [
        StreamState.from_row(row, models.get(row.model_id), accepted.get(row.id)).with_window(last.get(row.id))
        for row in rows
    ]
    return JSONResponse({"streams": states})


@router.get("/drift/survival", summary="What a stream's model survives", responses=documented(404, 422, 503))
def get_survival(request: Request, stream: str) -> Survival:
    """Return the accuracy under each image operation that was rehearsed when the stream's reference was built."""
    with database_state(request).engine.connect() as connection:
        names = (name for name in names_in_query(request, "stream") if streams.find(connection, name) is not None)
        row = streams.find(connection, next(names, stream))
        if row is None:
            raise Problem(404, f"no stream {stream}")
        values = None if row.reference_id is None else references.load_survival(connection, row.reference_id)
    if values is None:
        raise Problem(404, f"the reference of {row.stream} has no rehearsals: build it from labelled images")
    return Survival(stream=row.stream, **values)


@router.get(
    "/drift/windows", summary="Window reports, newest first", response_model=Windows, responses=documented(422, 503)
)
def get_windows(
    request: Request,
    stream: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: int | None = None,
) -> Response:
    """Return window reports, at most `limit` and some 15 MB; pass `next` of an answer as `before` for the next page."""
    with database_state(request).engine.connect() as connection:
        names = (name for name in names_in_query(request, "stream") if streams.find(connection, name) is not None)
        name = next(names, stream)
        rows = windows.newest(connection, name, limit, before)
        has_more = bool(rows) and windows.has_older(connection, name, rows[-1].id)
    reports = [window_report(row) for row in rows]
    return JSONResponse({"windows": reports, "next": rows[-1].id if has_more else None})


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
        requested_at = windows_on_demand.request(connection, row.id)
    if requested_at is None:
        raise Problem(429, "another window is being tested on request; ask again in some seconds", {"Retry-After": "5"})
    return RequestedWindow(stream=row.stream, requested_at=requested_at)


@router.get(
    "/drift/windows/{window_id}",
    summary="One window report",
    response_model=ServedWindowJson,
    responses=documented(404, 422, 503),
)
def get_window(window_id: int, request: Request) -> Response:
    """Return one window report."""
    with database_state(request).engine.connect() as connection:
        row = windows.get(connection, window_id)
    if row is None:
        raise Problem(404, f"no window {window_id}")
    return JSONResponse(window_report(row))
