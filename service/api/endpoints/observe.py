"""`POST /observe`: predictions that another server made, logged and monitored as our own."""

import os
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, BaseModel, FailFast, Field, Strict
from uuid_utils.compat import uuid7

from ...errors import InvalidPredictions
from ...inference.probabilities import Floats
from ...serving.model_registry import RegisteredModel
from ...serving.observations import MAX_EMBEDDING, OBSERVED_PER_REQUEST, Observed, milliseconds
from ...store.prediction_id import id_at
from ..bodies.encoded_images import is_json
from ..bodies.json_text import parse_json, validate
from ..bodies.limits import body_of
from ..bodies.tags import Tags, query_tags
from ..open_inference.infer import JSON_LENGTH
from ..open_inference.tensors import array, sections, split
from ..openapi import TAG_PARAMETER, model_parameter
from ..outcome import refusals_counted
from ..problems import Problem, documented
from ..query_names import names_in_query
from ..server_state import ServerState, State

BODY_BYTES = 32_000_000  # bytes of a request
BINARY = "application/octet-stream"
INPUTS = ("probabilities", "embedding")
FP32 = {"FP32": np.dtype("<f4")}

router = APIRouter(tags=["models served elsewhere"])

StrictFloat = Annotated[float, Strict()]  # an integer is a float too, a boolean or a text is not


class ObservedPrediction(BaseModel):
    """One prediction as another server made it."""

    probabilities: Annotated[list[StrictFloat], FailFast(), Field(min_length=2)]
    embedding: Annotated[list[StrictFloat], FailFast(), Field(min_length=1, max_length=MAX_EMBEDDING)]
    at: AwareDatetime | None = Field(None, description="when it was made; now unless given")
    tags: Tags = {}


class ObserveBody(BaseModel):
    model: str
    predictions: Annotated[list[ObservedPrediction], FailFast(), Field(min_length=1)]


class ObserveAnswer(BaseModel):
    ids: list[str]


BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["model", "predictions"],
                "properties": {
                    "model": {"type": "string", "description": "name or name:version"},
                    "predictions": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": OBSERVED_PER_REQUEST,
                        "items": ObservedPrediction.model_json_schema(),
                    },
                },
            }
        },
        BINARY: {"schema": {"type": "string", "format": "binary"}},
    },
}


@router.post(
    "/observe",
    status_code=202,
    summary="Log predictions of a model served elsewhere",
    response_model=ObserveAnswer,
    responses=documented(400, 404, 408, 413, 415, 422, 503),
    openapi_extra={
        "requestBody": BODY,
        "parameters": [TAG_PARAMETER, model_parameter("needed with tensors, which do not name it")],
    },
)
async def observe(request: Request, state: State) -> Response:
    """Log up to 1000 predictions: as JSON, or as binary tensors of the Open Inference Protocol (`application/octet-
    stream` with `Inference-Header-Content-Length`), whose inputs are `probabilities` [m, k] and `embedding` [m, d].

    All of them are logged, or none; the ids are for `POST /feedback`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not is_json(kind) and kind != BINARY:
        raise Problem(415, f"expected application/json or {BINARY}, got {kind or 'no content type'}")
    data = await request.body()
    parse = _from_tensors if kind == BINARY else _from_json
    model, observed = await state.parsers.run(len(data), parse, request, state, data)
    with refusals_counted(model.metrics, observed.tags):
        await state.observations.append(model, observed)
    answer = ObserveAnswer(ids=[str(prediction_id) for prediction_id in observed.ids])
    return Response(answer.model_dump_json(), 202, None, "application/json")


def _from_json(request: Request, state: ServerState, data: bytes) -> tuple[RegisteredModel, Observed]:
    value = parse_json(data, body_of(request))
    rows = value.get("predictions") if isinstance(value, dict) else None
    if isinstance(rows, list) and len(rows) > OBSERVED_PER_REQUEST:
        raise Problem(413, f"{len(rows)} predictions in one request, at most {OBSERVED_PER_REQUEST} are accepted")
    body = validate(ObserveBody, value)
    model = state.models.find(body.model)
    tags = query_tags(request)
    row_tags = [tags | prediction.tags for prediction in body.predictions]
    with refusals_counted(model.metrics, row_tags):
        ids = []
        for row, prediction in enumerate(body.predictions):
            if prediction.at is None:
                ids.append(uuid7())
                continue
            try:
                at = milliseconds(prediction.at, state.settings.retention_days)
            except ValueError as error:
                raise InvalidPredictions(f"prediction {row}: at: {error}") from None
            ids.append(id_at(at, os.urandom(10)))
        return model, Observed(
            ids=ids,
            probabilities=_matrix([prediction.probabilities for prediction in body.predictions], "probabilities"),
            embeddings=_matrix([prediction.embedding for prediction in body.predictions], "embedding"),
            tags=row_tags,
        )


def _from_tensors(request: Request, state: ServerState, data: bytes) -> tuple[RegisteredModel, Observed]:
    names = names_in_query(request, "model")
    if not names:
        raise Problem(422, "expected ?model=name:version with tensors")
    model = state.models.find(*names)
    tags = query_tags(request)
    with refusals_counted(model.metrics, [tags]):
        body, binary = split(data, request.headers.get(JSON_LENGTH), body_of(request))
        tensors = {tensor.name: tensor for tensor in body.inputs}
        if len(body.inputs) != len(INPUTS) or set(tensors) != set(INPUTS):
            raise Problem(
                400, f"expected the inputs {' and '.join(INPUTS)}, got {[t.name for t in body.inputs[:5]]}"[:500]
            )
        parts = {tensor.name: part for tensor, part in zip(body.inputs, sections(body.inputs, binary), strict=True)}
        values = {}
        for name, columns in (("probabilities", len(model.bundle.labels)), ("embedding", None)):
            tensor = tensors[name]
            width = columns or (tensor.shape[-1] if tensor.shape else 0)
            if not 1 <= width <= MAX_EMBEDDING:
                raise Problem(400, f"expected {name} of shape [-1, d] with d in 1..{MAX_EMBEDDING}, got {tensor.shape}")
            values[name] = array(tensor, (width,), OBSERVED_PER_REQUEST, parts[name], FP32)
        m, embedding_rows = len(values["probabilities"]), len(values["embedding"])
        if m != embedding_rows:
            raise Problem(400, f"probabilities have {m} rows, embedding has {embedding_rows}")
        ids = [uuid7() for _ in range(m)]
        return model, Observed(ids, values["probabilities"], values["embedding"], [tags] * m)


def _matrix(values: list[list[float]], name: str) -> Floats:
    for row, columns in enumerate(values):
        if len(columns) != len(values[0]):
            raise InvalidPredictions(
                f"prediction {row}: {name} has {len(columns)} values, that of prediction 0 has {len(values[0])}"
            )
    with np.errstate(over="ignore"):
        return np.array(values, np.float64).astype(np.float32)
