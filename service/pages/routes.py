"""The pages: overview, a stream's windows, window report and alert; each gives its JSON where `Accept` asks for it."""

import datetime as dt
from dataclasses import asdict
from importlib import resources
from typing import Any, TypedDict
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from ..alerts.schemas import Alert, AlertSummary, BaselineSummary
from ..api.caller import caller_of
from ..api.server_state import database_state, server_state
from ..api.window_reports import window_report
from ..model_key import ModelKey
from ..store import alerts, baselines, deliveries, evidence, references, streams, watch_status, windows
from ..store.alerts import AlertRow
from ..store.baselines import Baseline
from ..store.errors import DATABASE_ERRORS, is_unavailable
from ..store.label_evidence_json import Point
from ..store.report_json import StreamReportJson
from ..store.stream_status import StatusJson
from ..store.streams import StreamRow
from ..store.watch_status import Watching
from . import alert_forms, evidence_history
from . import report_images as images
from .forms import set_token
from .rendering import render_page

JsonObject = dict[str, Any]  # the JSON of a model of pydantic

OVERVIEW_POINTS = 100  # points of each stream's evidence on the overview
ALERTS = 20  # newest alerts on the overview
WINDOWS = 30  # windows on a page of a stream's windows
STATE_ORDER = ("drifting", "warming_up", "calm")
STATIC_FILES = {
    "style.css": "text/css",
    "live.js": "text/javascript",
    "copy.js": "text/javascript",
    "label.js": "text/javascript",
}


class WatchingJson(TypedDict):
    """The fields of `Watching`."""

    state: str
    reason: str | None
    position: int
    written: int


class OverviewStatus(StatusJson, total=False):
    """A stream's status with the points of its chart."""

    history: list[Point]


class OverviewStream(TypedDict):
    """A stream as the overview shows it."""

    stream: str
    model: str
    slice: str
    state: str
    kind: str
    since: str | None
    has_reference: bool
    baseline: JsonObject | None
    predictions: int
    lag: int
    watching: WatchingJson | None
    processed_at: str | None
    status: OverviewStatus


router = APIRouter(tags=["pages"], include_in_schema=False)


@router.get("/")
def overview(request: Request, model: str = "", slice: str = "") -> Response:
    """Show every stream and the newest alerts; without the database, which models nobody watches."""
    try:
        return _overview(request, model, slice)
    except DATABASE_ERRORS as error:
        if not is_unavailable(error) or "text/html" not in request.headers.get("accept", ""):
            raise
        return render_page("unavailable.html", 503, streams=server_state(request).drift_collector.models)


def _overview(request: Request, model: str, slice: str) -> Response:
    with database_state(request).engine.connect() as connection:
        watched, listed = watch_status.of_models(connection), streams.load_all(connection)
        points = evidence.newest(connection, [row.id for row in listed], OVERVIEW_POINTS)
        accepted = baselines.current_of_all(connection)
        overview_rows = [
            _stream(row, watched.get(row.model_id), points.get(row.id, []), accepted.get(row.id)) for row in listed
        ]
        rows = alerts.newest(connection, ALERTS)
    visible = [s for s in overview_rows if model in ("", s["model"]) and slice in ("", s["slice"])]
    visible.sort(key=lambda s: STATE_ORDER.index(s["state"]))
    names = {s["stream"] for s in visible}
    alert_rows = [_alert_summary(row, request) for row in rows if row.stream in names]
    if _wants_json(request):
        return JSONResponse({"streams": visible, "alerts": alert_rows})
    models, slices = (sorted({s[key] for s in overview_rows} - {""}) for key in ("model", "slice"))
    return render_page(
        "overview.html",
        streams=visible,
        alerts=alert_rows,
        refused=database_state(request).refusals.shares(),
        may_label=caller_of(request).may_label,
        models=models,
        slices=slices,
        model=model,
        slice=slice,
    )


@router.get("/windows")
def stream_windows(request: Request, stream: str, before: int | None = None) -> Response:
    """Show a stream's windows, newest first."""
    with database_state(request).engine.connect() as connection:
        row = streams.find(connection, stream)
        if row is None:
            return _not_found(request, f"no stream {stream}")
        reports = [window_report(window) for window in windows.newest(connection, stream, WINDOWS, before)]
        survival = None if row.reference_id is None else references.load_survival(connection, row.reference_id)
    if _wants_json(request):
        return JSONResponse({"windows": reports, "survival": survival})
    more = len(reports) == WINDOWS
    return render_page("windows.html", stream=stream, windows=reports, more=more, survival=survival)


@router.get("/windows/{window_id}")
def window(window_id: int, request: Request) -> Response:
    """Show a window's report."""
    with database_state(request).engine.connect() as connection:
        row = windows.get(connection, window_id)
        if row is None:
            return _not_found(request, f"no window {window_id}")
        report = window_report(row)
        stream = streams.get(connection, row.stream_id)
        history = evidence_history.at_window(connection, stream, row)
        least, pictures = images.describe(connection, report)
    if _wants_json(request):
        return JSONResponse(report | {"past": asdict(history), "images": least})
    return render_page(
        "window.html",
        report=report,
        status=stream.status,
        history=history,
        images=least,
        pictures=pictures,
        since=report["start"],
    )


@router.get("/alerts/{alert_id}/page")
def alert(alert_id: UUID, request: Request) -> Response:
    """Show an alert: what happened, how sure, what to do."""
    with database_state(request).engine.connect() as connection:
        row = alerts.get(connection, alert_id)
        if row is None:
            return _not_found(request, f"no alert {alert_id}")
        sent = deliveries.of_alerts(connection, [row.id])
        content = Alert.with_deliveries(row, sent, _url(request), dt.datetime.now(dt.UTC)).model_dump(mode="json")
        stream = streams.get(connection, row.stream_id)
        history = evidence_history.at_alert(connection, stream, row)
        report: StreamReportJson = {**row.report, "stream": row.stream, "kind": row.kind, "p_value": row.p_value}
        least, pictures = images.describe(connection, report)
        controls = alert_forms.controls(request, connection, row)
        children = alerts.children(connection, row.id)
        related = [other for other in alerts.firing(connection, row.stream_id) if other.id != row.id]
        reference_id = stream.reference_id
        has_survival = reference_id is not None and references.load_survival(connection, reference_id) is not None
    if _wants_json(request):
        return JSONResponse(content | {"past": asdict(history), "images": least})
    response = render_page(
        "alert.html",
        alert=content,
        report=report,
        status=stream.status,
        controls=controls,
        children=children,
        related=related,
        has_survival=has_survival,
        may_label=reference_id is not None and caller_of(request).may_label,
        history=history,
        images=least,
        pictures=pictures,
        since=content["since"],
    )
    set_token(request, response, controls.token if controls else None)
    return response


@router.get("/static/{name}")
def static(name: str) -> Response:
    """Give a style sheet or script of the pages."""
    if name not in STATIC_FILES:
        raise HTTPException(404, detail=f"no file {name}")
    content = resources.files(__package__).joinpath("static", name).read_bytes()
    return Response(content, media_type=STATIC_FILES[name], headers={"Cache-Control": "no-cache"})


def _stream(row: StreamRow, watch: Watching | None, points: list[Point], accepted: Baseline | None) -> OverviewStream:
    return {
        "stream": row.stream,
        "model": str(ModelKey(row.model_name, row.model_version)),
        "slice": row.slice,
        "state": row.state,
        "kind": row.kind,
        "since": row.since.isoformat() if row.since else None,
        "has_reference": row.reference_id is not None,
        "baseline": None if accepted is None else BaselineSummary.from_row(accepted).model_dump(mode="json"),
        "predictions": row.seen,
        "lag": 0 if watch is None or row.slice else watch.lag,
        "watching": None if watch is None else _watching_json(watch),
        "processed_at": row.last_success_at.isoformat() if row.last_success_at else None,
        "status": {**row.status, "history": points},
    }


def _watching_json(watch: Watching) -> WatchingJson:
    return {"state": watch.state, "reason": watch.reason, "position": watch.position, "written": watch.written}


def _alert_summary(row: AlertRow, request: Request) -> JsonObject:
    """Return an alert without its report and deliveries, as `/alerts` shows it."""
    return AlertSummary.from_row(row, _url(request), dt.datetime.now(dt.UTC)).model_dump(mode="json")


def _url(request: Request) -> str:
    return str(database_state(request).settings.public_url)


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def _not_found(request: Request, detail: str) -> Response:
    if _wants_json(request):
        raise HTTPException(404, detail=detail)
    return render_page("missing.html", 404, detail=detail)
