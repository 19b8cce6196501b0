"""`POST /observe/cloudevents`: what KServe's inference logger sends, request and response paired by their id.

A response that carries probabilities and embedding is enough to log its predictions. A request holds nothing that its
response lacks, for KServe puts the id, the time and the passed-on headers on both: it is checked, and nothing is kept
of it, so that the two may reach different servers in any order.
"""

import asyncio
import json
from collections import OrderedDict
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from ...inference.session import activated, pooled
from ...serving import observations
from ...serving.model_registry import Known, ServedModels
from ...serving.observations import OBSERVED_PER_REQUEST, Observed
from ..endpoints.observe import BODY_BYTES
from ..open_inference.endpoints import SMALL_BYTES
from ..open_inference.tensors import FLOATS, InputTensor, array, sections
from ..problems import Problem, described, documented
from ..request_bodies import read_body
from . import event as cloud_events
from .event import REQUEST, RESPONSE, STRUCTURED, Event

REMEMBERED = 10_000  # events that were logged, so that one which is sent again is not counted again

router = APIRouter(tags=["models served elsewhere"])


class Answer(BaseModel):
    """What a model answered: outputs of the Open Inference Protocol, or TensorFlow Serving's rows of named outputs."""

    model_version: str | None = None
    outputs: list[InputTensor] | None = Field(None, min_length=1)
    predictions: list[dict[str, Any]] | None = Field(None, min_length=1, max_length=OBSERVED_PER_REQUEST)


class Replays:
    """The last events that were logged by this process; Postgres takes a row once, whoever sends it."""

    def __init__(self) -> None:
        self._events: OrderedDict[tuple[str, ...], None] = OrderedDict()

    def __contains__(self, key: tuple[str, ...]) -> bool:
        return key in self._events

    def add(self, key: tuple[str, ...]) -> None:
        """Remember an event, and forget the oldest where there are too many."""
        self._events[key] = None
        if len(self._events) > REMEMBERED:
            self._events.popitem(last=False)


BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"type": "object"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        STRUCTURED: {
            "schema": {
                "type": "object",
                "required": ["specversion", "id", "source", "type", "time"],
                "properties": {
                    "specversion": {"const": "1.0"},
                    "id": {"type": "string"},
                    "source": {"type": "string"},
                    "type": {"enum": [REQUEST, RESPONSE]},
                    "time": {"type": "string", "format": "date-time"},
                    "inferenceservicename": {"type": "string"},
                    "data": {"type": "object"},
                    "data_base64": {"type": "string"},
                },
            }
        },
    },
}
MODEL = {
    "name": "model",
    "in": "query",
    "required": False,
    "description": "name or name:version; the event's inferenceservicename unless given",
    "schema": {"type": "string"},
}
ATTRIBUTES = [
    {"name": f"ce-{name}", "in": "header", "required": False, "schema": {"type": "string"}}
    for name in ("specversion", "id", "source", "type", "time", "inferenceservicename", "metadata")
]


@router.post(
    "/observe/cloudevents",
    status_code=202,
    summary="Log what KServe's inference logger sends",
    response_class=Response,
    responses=documented(400, 404, 408, 413, 415, 422, 503) | {202: {"description": "logged, or a request event"}},
    openapi_extra={"requestBody": BODY, "parameters": [MODEL, *ATTRIBUTES]},
)
async def observe_event(request: Request) -> Response:
    """Log the predictions in a response event; a request event is accepted, and needed for nothing.

    The response carries the outputs that `model.toml` names, as Open Inference Protocol JSON or with binary tensors,
    or as rows of `predictions`. The answer has no body: a broker would take one for another event.
    """
    body = await read_body(request, BODY_BYTES)
    if len(body) <= SMALL_BYTES:
        found = _read(request, body)
    else:
        found = await asyncio.to_thread(_read, request, body)
    replays = request.app.state.replays
    if found is not None:
        event, model, observed = found
        key = (model.name, event.source, event.id, event.time.isoformat())
        if key not in replays:
            await observations.log(request.app.state, model, observed)
            replays.add(key)
    return Response(status_code=202)


def _read(request: Request, body: bytes) -> tuple[Event, Known, Observed] | None:
    """Return an event's model and its predictions, or None for a request."""
    state = request.app.state
    event = cloud_events.read(request.headers, body)
    name = request.query_params.get("model") or event.service
    if name is None:
        raise Problem(400, "expected the event's attribute inferenceservicename, or ?model=name:version")
    known: Known = state.models.find(name)
    if event.type == REQUEST:
        return None
    answer, rest = split(event.data)
    model = known
    if answer.outputs is not None:
        model = _of_version(state.models, known, name, answer.model_version)
        scores, embeddings = _from_outputs(answer.outputs, rest, model)
    elif answer.predictions is not None:
        scores, embeddings = _from_rows(answer.predictions, model)
    else:
        raise Problem(400, "expected a response with outputs or predictions")
    if len(scores) != len(embeddings):
        raise Problem(422, f"the scores have {len(scores)} rows, the embedding has {len(embeddings)}")
    try:
        at = observations.milliseconds(event.time, state.settings.retention_days)
    except ValueError as error:
        raise Problem(422, f"time: {error}") from None
    m = len(scores)
    with np.errstate(over="ignore", invalid="ignore"):
        probabilities = activated(scores.reshape(m, -1).astype(np.float32), model.bundle.output.activation)
        flat = pooled(embeddings, model.bundle.output.embedding_layout == "NHWC").astype(np.float32)
    ids = [event.row_id(model.name, row, at) for row in range(m)]
    return event, model, Observed(ids, probabilities, flat, [event.tags] * m)


def split(data: bytes) -> tuple[Answer, memoryview]:
    """Return an answer's JSON and the bytes behind it: KServe's events do not say where the first ends.

    Raises
    ------
    Problem
        400: no such answer.
    """
    try:
        return Answer.model_validate_json(data), memoryview(b"")
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid":
            raise _no_answer(error) from None
    try:
        text = data.decode("latin-1")  # so that places in the text are those in the bytes
        end = json.JSONDecoder().raw_decode(text, len(text) - len(text.lstrip()))[1]
        return Answer.model_validate_json(data[:end]), memoryview(data)[end:]
    except ValidationError as error:
        raise _no_answer(error) from None
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"response: expected JSON at its start: {error}"[:200]) from None


def _no_answer(error: ValidationError) -> Problem:
    return Problem(400, f"response: {described(error.errors(include_url=False, include_input=False))}")


def _of_version(models: ServedModels, known: Known, name: str, version: str | None) -> Known:
    """Return the version that an answer names, where several are known under the name asked for."""
    same = [model for model in models.all if model.bundle.name == name]
    if len(same) < 2 or version is None:
        return known
    return models.find(name, version)


def _from_outputs(outputs: list[InputTensor], rest: memoryview, model: Known) -> tuple[NDArray[Any], NDArray[Any]]:
    parts = sections(outputs, rest)
    tensors = {output.name: (output, part) for output, part in zip(outputs, parts, strict=True)}
    found = []
    for name in _names(model):
        if name not in tensors:
            raise Problem(422, f"the response lacks the output {name!r}, it has {', '.join(tensors)}")
        tensor, part = tensors[name]
        if any(side < 1 for side in tensor.shape):
            raise Problem(400, f"output {name!r}: expected a shape of positive numbers, got {tensor.shape}")
        found.append(array(tensor, tensor.shape[1:], OBSERVED_PER_REQUEST, part, FLOATS))
    return found[0], found[1]


def _from_rows(rows: list[dict[str, Any]], model: Known) -> tuple[NDArray[Any], NDArray[Any]]:
    found = []
    for name in _names(model):
        for number, row in enumerate(rows):
            if name not in row:
                raise Problem(422, f"prediction {number} of the response lacks {name!r}")
        try:
            values = np.asarray([row[name] for row in rows])
        except ValueError:
            raise Problem(422, f"{name!r} is nested unevenly") from None
        if values.dtype.kind not in "iuf" or values.ndim < 2:
            raise Problem(422, f"{name!r} of the response is no row of numbers a prediction")
        found.append(values)
    return found[0], found[1]


def _names(model: Known) -> tuple[str, str]:
    output = model.bundle.output
    if output.embedding is None:
        raise Problem(422, f"model.toml of {model.name} names no output.embedding to look for in a response")
    return output.probabilities, output.embedding
