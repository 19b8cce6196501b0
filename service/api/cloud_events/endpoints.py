"""`POST /observe/cloudevents`: what the inference loggers of KServe and Seldon send.

A response that carries probabilities and embedding is enough to log its predictions. A request holds nothing that its
response lacks, since the logger puts the id, the time and the passed-on headers on both: it is accepted and not read,
so that the two may reach different servers in any order.
"""

import datetime as dt
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from fastapi import APIRouter, Request, Response

from ...serving.model_registry import ModelRegistry, RegisteredModel
from ...serving.observations import Observed, milliseconds
from ..bodies.compression import GZIP_MAGIC, gunzip
from ..bodies.limits import body_of
from ..openapi import model_parameter
from ..outcome import refusals_counted
from ..problems import Problem, documented
from ..query_names import names_in_query
from ..server_state import ServerState, State
from .event import BATCH, REQUEST_TYPES, RESPONSE_TYPES, STRUCTURED, Event, read_events
from .recent_events import EventKey
from .response import rows, split

router = APIRouter(tags=["models served elsewhere"])


class LoggedEvent(NamedTuple):
    """The predictions in a response event."""

    key: EventKey
    model: RegisteredModel
    observed: Observed


EVENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string"},
        "source": {"type": "string"},
        "type": {"enum": [*REQUEST_TYPES, *RESPONSE_TYPES]},
        "time": {"type": "string", "format": "date-time"},
        "inferenceservicename": {"type": "string"},
        "data": {"type": "object"},
        "data_base64": {"type": "string"},
    },
}
BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"type": "object"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        STRUCTURED: {"schema": EVENT_SCHEMA},
        BATCH: {"schema": {"type": "array", "items": EVENT_SCHEMA}},
    },
}
ATTRIBUTES = [
    {"name": f"ce-{name}", "in": "header", "required": False, "schema": {"type": "string"}}
    for name in ("specversion", "id", "source", "type", "time", "inferenceservicename", "metadata")
]
TOKEN_PARAMETER = {"name": "token", "in": "path", "required": True, "schema": {"type": "string"}}
DESCRIPTION: dict[str, Any] = {
    "status_code": 202,
    "response_class": Response,
    "responses": documented(400, 404, 408, 413, 415, 422, 503) | {202: {"description": "logged, or a request event"}},
}
PARAMETERS = [model_parameter("the event's inferenceservicename unless given"), *ATTRIBUTES]


@router.post(
    "/observe/cloudevents/{token}",
    summary="Log what an inference logger sends that cannot send headers",
    openapi_extra={"requestBody": BODY, "parameters": [TOKEN_PARAMETER, *PARAMETERS]},
    **DESCRIPTION,
)
@router.post(
    "/observe/cloudevents",
    summary="Log what KServe's or Seldon's inference logger sends",
    openapi_extra={"requestBody": BODY, "parameters": PARAMETERS},
    **DESCRIPTION,
)
async def observe_event(request: Request, state: State) -> Response:
    """Log the predictions in a response event; a request event is accepted, and needed for nothing.

    The response carries the outputs that `model.toml` names, as Open Inference Protocol JSON or with binary tensors,
    or as rows of `predictions`. The answer has no body: a broker would take one for another event. The path's token
    is the API key of a logger that cannot send one as a header.
    """
    data = await request.body()
    for event in await state.parsers.run(len(data), _read, request, state, data):
        log = partial(_log, state, event)
        await state.recent_events.log_once(event.key, log)
    return Response(status_code=202)


async def _log(state: ServerState, event: LoggedEvent) -> None:
    with refusals_counted(event.model.metrics, event.observed.tags):
        await state.observations.append(event.model, event.observed)


def _read(request: Request, state: ServerState, data: bytes) -> list[LoggedEvent]:
    body = body_of(request)
    if data.startswith(GZIP_MAGIC):  # KServe drops the Content-Encoding of what it logs
        data = gunzip(data, body.limit)
        body.reserve(len(data))
    names = names_in_query(request, "model")
    read = [
        _read_event(request, state, event, names)
        for event in read_events(request.headers, data, body, state.settings.slice_tags)
    ]
    return [logged for logged in read if logged is not None]


def _read_event(request: Request, state: ServerState, event: Event, names: Sequence[str]) -> LoggedEvent | None:
    """Return the predictions in an event, or None for a request."""
    names = names or ([event.service] if event.service else [])
    if not names:
        raise Problem(400, "expected the event's attribute inferenceservicename, or ?model=name:version")
    model = state.models.find(*names)
    if not event.is_response:
        return None
    body, data = body_of(request), event.data
    with refusals_counted(model.metrics, [event.tags]):
        if data.startswith(GZIP_MAGIC):
            data = gunzip(data, body.limit)
            body.reserve(len(data))
        answer, binary = split(data, body)
        model = _of_version(state.models, model, answer.model_version)
        predictions = rows(answer, binary, model, state.observations.embedding_size(model))
    at = _time(event.time, state.settings.retention_days)
    m = len(predictions.probabilities)
    ids = [event.row_id(model.name, row, at) for row in range(m)]
    key = (model.name, event.source, event.id, "" if event.time is None else event.time.isoformat())
    return LoggedEvent(key, model, Observed(ids, predictions.probabilities, predictions.embeddings, [event.tags] * m))


def _of_version(models: ModelRegistry, model: RegisteredModel, version: str | None) -> RegisteredModel:
    """Return the version that a response names: a canary's predictions are not merged with its predecessor's."""
    if version is None or version == model.bundle.version:
        return model
    return models.find_version(model.bundle.name, version)


def _time(at: dt.datetime | None, retention_days: int) -> int:
    """Return the time of an event in milliseconds; that of its arrival if its clock cannot be right."""
    now = dt.datetime.now(dt.UTC)
    try:
        return milliseconds(now if at is None else at, retention_days)
    except ValueError:
        return milliseconds(now, retention_days)
