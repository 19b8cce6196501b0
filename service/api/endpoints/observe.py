"""`POST /observe`: predictions that another server made, logged and monitored as our own."""

import asyncio
import os
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from uuid_utils.compat import uuid7

from ...serving import observations
from ...serving.model_registry import Known
from ...serving.observations import MAX_EMBEDDING, OBSERVED_PER_REQUEST, Observed
from ...store.prediction_id import id_at
from ..open_inference.endpoints import JSON_LENGTH, SMALL_BYTES
from ..open_inference.tensors import array, sections, split
from ..problems import Problem, described, documented
from ..request_bodies import Tags, query_tags, read_body
from .predict import TAG

BODY_BYTES = 32_000_000
BINARY = "application/octet-stream"
INPUTS = ("probabilities", "embedding")
FP32 = {"FP32": np.dtype("<f4")}

router = APIRouter(tags=["models served elsewhere"])


class ObservedPrediction(BaseModel):
    """One prediction as another server made it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    probabilities: list[float] = Field(min_length=2)
    embedding: list[float] = Field(min_length=1, max_length=MAX_EMBEDDING)
    at: AwareDatetime | None = Field(None, description="when it was made; now unless given")
    tags: Tags = {}


class ObserveBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    predictions: Annotated[list[ObservedPrediction], Field(min_length=1, max_length=OBSERVED_PER_REQUEST)]


class ObserveAnswer(BaseModel):
    ids: list[str]


BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["model", "predictions"],
                "additionalProperties": False,
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
MODEL = {
    "name": "model",
    "in": "query",
    "required": False,
    "description": "name or name:version; needed with tensors, which do not name it",
    "schema": {"type": "string"},
}


@router.post(
    "/observe",
    status_code=202,
    summary="Log predictions of a model served elsewhere",
    response_model=ObserveAnswer,
    responses=documented(400, 404, 408, 413, 415, 422, 503),
    openapi_extra={"requestBody": BODY, "parameters": [TAG, MODEL]},
)
async def observe(request: Request) -> Response:
    """Log up to 1000 predictions: as JSON, or as binary tensors of the Open Inference Protocol (`application/octet-
    stream` with `Inference-Header-Content-Length`), whose inputs are `probabilities` [m, k] and `embedding` [m, d].

    All of them are kept, or none; the ids are for `POST /feedback`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", BINARY):
        raise Problem(415, f"expected application/json or {BINARY}, got {kind or 'no content type'}")
    body = await read_body(request, BODY_BYTES)
    read = _from_tensors if kind == BINARY else _from_json
    if len(body) <= SMALL_BYTES:
        model, observed = read(request, body)
    else:
        model, observed = await asyncio.to_thread(read, request, body)
    await observations.log(request.app.state, model, observed)
    return Response(
        ObserveAnswer(ids=[str(key) for key in observed.ids]).model_dump_json(), 202, None, "application/json"
    )


def _from_json(request: Request, body: bytes) -> tuple[Known, Observed]:
    state = request.app.state
    try:
        parsed = ObserveBody.model_validate_json(body)
    except ValidationError as error:
        kinds = {found["type"] for found in error.errors(include_url=False, include_input=False)}
        status = 400 if "json_invalid" in kinds else 413 if _too_many(error) else 422
        raise Problem(status, described(error.errors(include_url=False, include_input=False))) from None
    model: Known = state.models.find(parsed.model)
    predictions, tags = parsed.predictions, query_tags(request)
    ids = []
    for row, prediction in enumerate(predictions):
        if prediction.at is None:
            ids.append(uuid7())
            continue
        try:
            at = observations.milliseconds(prediction.at, state.settings.retention_days)
        except ValueError as error:
            raise Problem(422, f"prediction {row}: at: {error}") from None
        ids.append(id_at(at, os.urandom(10)))
    return model, Observed(
        ids=ids,
        probabilities=_matrix([prediction.probabilities for prediction in predictions], "probabilities"),
        embeddings=_matrix([prediction.embedding for prediction in predictions], "embedding"),
        tags=[tags | prediction.tags for prediction in predictions],
    )


def _from_tensors(request: Request, body: bytes) -> tuple[Known, Observed]:
    name = request.query_params.get("model")
    if name is None:
        raise Problem(422, "expected ?model=name:version with tensors")
    model: Known = request.app.state.models.find(name)
    tags = query_tags(request)
    asked, binary = split(body, request.headers.get(JSON_LENGTH))
    tensors = {tensor.name: tensor for tensor in asked.inputs}
    if len(asked.inputs) != len(INPUTS) or set(tensors) != set(INPUTS):
        raise Problem(
            400, f"expected the inputs {' and '.join(INPUTS)}, got {[tensor.name for tensor in asked.inputs]}"
        )
    parts = {tensor.name: part for tensor, part in zip(asked.inputs, sections(asked.inputs, binary), strict=True)}
    values = {}
    for what, columns in (("probabilities", len(model.bundle.labels)), ("embedding", None)):
        tensor = tensors[what]
        width = columns or (tensor.shape[-1] if tensor.shape else 0)
        if not 1 <= width <= MAX_EMBEDDING:
            raise Problem(400, f"expected {what} of shape [-1, d] with d in 1..{MAX_EMBEDDING}, got {tensor.shape}")
        values[what] = array(tensor, (width,), OBSERVED_PER_REQUEST, parts[what], FP32)
    rows = [len(found) for found in values.values()]
    if rows[0] != rows[1]:
        raise Problem(400, f"probabilities have {rows[0]} rows, embedding has {rows[1]}")
    ids = [uuid7() for _ in range(rows[0])]
    return model, Observed(ids, values["probabilities"], values["embedding"], [tags] * rows[0])


def _matrix(values: list[list[float]], name: str) -> observations.Floats:
    for row, found in enumerate(values):
        if len(found) != len(values[0]):
            raise Problem(
                422, f"prediction {row}: {name} has {len(found)} values, that of prediction 0 has {len(values[0])}"
            )
    with np.errstate(over="ignore"):
        return np.array(values, np.float64).astype(np.float32)


def _too_many(error: ValidationError) -> bool:
    return any(found["type"] == "too_long" and found["loc"] == ("predictions",) for found in error.errors())
