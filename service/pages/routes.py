"""The pages: overview, window report and alert; each gives its JSON where `Accept` asks for it."""

from importlib import resources
from typing import Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, PackageLoader
from sqlalchemy import Connection, Row

from service.pages import charts, words
from service.store import alerts, streams, windows

RECENT = 30  # windows of a stream shown on the overview
STATIC = {"style.css": "text/css", "live.js": "text/javascript"}

router = APIRouter(tags=["pages"], include_in_schema=False)
templates = Environment(loader=PackageLoader("service.pages"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
templates.globals.update(charts=charts, words=words)


@router.get("/")
def overview(request: Request, model: str = "", slice: str = "") -> Response:
    """Show every stream and the newest alerts."""
    with request.app.state.engine.connect() as connection:
        everything = [_stream(connection, row) for row in streams.every(connection)]
        rows = alerts.newest(connection)
        sent = alerts.of_alerts(connection, [row.id for row in rows])
    shown = [s for s in everything if model in ("", s["model"]) and slice in ("", s["slice"])]
    shown.sort(key=lambda s: s["state"] != "drifting")
    names = {s["stream"] for s in shown}
    found = [alerts.as_json(row, sent, _url(request)) for row in rows if row.stream in names]
    if _wants_json(request):
        return JSONResponse({"streams": shown, "alerts": found})
    models, slices = (sorted({s[key] for s in everything} - {""}) for key in ("model", "slice"))
    return _page("overview.html", streams=shown, alerts=found, models=models, slices=slices, model=model, slice=slice)


@router.get("/windows/{window_id}")
def window(window_id: int, request: Request) -> Response:
    """Show a window's report."""
    with request.app.state.engine.connect() as connection:
        row = windows.get(connection, window_id)
        if row is None:
            return _missing(request, f"no window {window_id}")
        stream = streams.get(connection, row.stream_id)
    report = windows.as_json(row)
    if _wants_json(request):
        return JSONResponse(report)
    return _page("window.html", report=report, status=stream.status, since=report["start"])


@router.get("/alerts/{alert_id}/page")
def alert(alert_id: UUID, request: Request) -> Response:
    """Show an alert: what happened, how sure, what to do."""
    with request.app.state.engine.connect() as connection:
        row = alerts.get(connection, alert_id)
        if row is None:
            return _missing(request, f"no alert {alert_id}")
        stream = streams.get(connection, row.stream_id)
        found = alerts.as_json(row, alerts.of_alerts(connection, [row.id]), _url(request))
    if _wants_json(request):
        return JSONResponse(found)
    report = {**found["report"], "stream": row.stream, "kind": row.kind, "p_value": row.p_value}
    return _page("alert.html", alert=found, report=report, status=stream.status, since=found["since"])


@router.get("/static/{name}")
def static(name: str) -> Response:
    """Give a style sheet or script of the pages."""
    if name not in STATIC:
        raise HTTPException(404, detail=f"no file {name}")
    content = resources.files("service.pages").joinpath("static", name).read_bytes()
    return Response(content, media_type=STATIC[name], headers={"Cache-Control": "max-age=300"})


def _stream(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    recent = windows.newest(connection, row.stream, RECENT)
    return {
        "stream": row.stream,
        "model": f"{row.model_name}:{row.model_version}",
        "slice": row.slice,
        "state": row.state,
        "kind": row.kind,
        "since": row.since.isoformat() if row.since else None,
        "has_reference": row.reference_id is not None,
        "predictions": row.seen,
        "lag": streams.lag(connection, row),
        "status": row.status,
        "windows": [{"id": w.id, "p_value": w.p_value, "drifted": w.drifted, "kind": w.kind} for w in recent],
    }


def _url(request: Request) -> str:
    return str(request.app.state.settings.public_url)


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def _page(template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
    html = templates.get_template(template).render(values)
    return HTMLResponse(html, status_code, headers={"Vary": "Accept", "Cache-Control": "no-store"})


def _missing(request: Request, detail: str) -> Response:
    if _wants_json(request):
        raise HTTPException(404, detail=detail)
    return _page("missing.html", 404, detail=detail)
