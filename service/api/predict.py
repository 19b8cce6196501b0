"""`POST /predict`: images in, classes out, each logged before the answer leaves."""

import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from uuid_utils.compat import uuid7

from service.api.bodies import ImagesBody, images_and_tags
from service.api.metrics import ModelMetrics
from service.api.models import Served
from service.api.problems import Problem, documented, unavailable
from service.errors import Overloaded
from service.inference.batcher import QueueFull
from service.inference.images import NotAnImage, TooManyPixels
from service.inference.predictor import Prediction, TooManyImages
from service.inference.session import ModelFailed
from service.store.predictions import HALF, SINGLE, LoggedPrediction

TOP = 5  # classes named in an answer

router = APIRouter(tags=["predict"])


class ModelName(BaseModel):
    name: str
    version: str


class Scored(BaseModel):
    label: str
    confidence: float


class Predicted(Scored):
    id: str
    index: int
    top: list[Scored]


class PredictAnswer(BaseModel):
    model: ModelName
    predictions: list[Predicted]


BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        },
        "application/json": {"schema": ImagesBody.model_json_schema()},
    },
}
TAG = {
    "name": "tag",
    "in": "query",
    "required": False,
    "description": "key:value, repeatable",
    "schema": {"type": "array", "items": {"type": "string"}},
}
MODEL = {
    "name": "model",
    "in": "query",
    "required": False,
    "description": "name or name:version; the server's first model unless given",
    "schema": {"type": "string"},
}


@router.post(
    "/predict",
    summary="Classify images",
    response_model=PredictAnswer,
    responses=documented(400, 404, 408, 413, 415, 422, 503),
    openapi_extra={"requestBody": BODY, "parameters": [TAG, MODEL]},
)
async def predict(request: Request) -> Response:
    """Classify an image, several `file` parts, or base64 images in JSON."""
    served = request.app.state.models.find(request.query_params.get("model"))
    with counted(served.metrics):
        return Response(await _predict(request, served), media_type="application/json")


async def _predict(request: Request, served: Served) -> bytes:
    state = request.app.state
    images, tags = await images_and_tags(request, state.settings.max_image_bytes)
    try:
        rows, predictions = await kept(state, served, served.predictor.predict(images), tags)
    except NotAnImage as error:
        raise Problem(400, f"image {error.item}: {error}") from None
    except TooManyPixels as error:
        raise Problem(413, f"image {error.item}: {error}") from None
    bundle = served.bundle
    return orjson.dumps(
        {
            "model": {"name": bundle.name, "version": bundle.version},
            "predictions": [
                _answer(row, prediction, bundle.labels) for row, prediction in zip(rows, predictions, strict=True)
            ],
        }
    )


@contextmanager
def counted(metrics: ModelMetrics) -> Iterator[None]:
    """Count a request to predict by its status, and time it."""
    started = time.perf_counter()
    status = 500
    try:
        yield
        status = 200
    except Problem as problem:
        status = problem.status
        raise
    finally:
        metrics.answered(status)
        metrics.observe("total", time.perf_counter() - started)


async def kept(
    state: Any, served: Served, predicting: Awaitable[list[Prediction]], tags: dict[str, str]
) -> tuple[list[LoggedPrediction], list[Prediction]]:
    """Await predictions and log them; return the rows with the predictions that they keep.

    Raises
    ------
    Problem
        413 or 503: nothing was kept, nothing may be answered.
    """
    try:
        predictions = await predicting
    except TooManyImages as error:
        raise Problem(413, str(error)) from None
    except QueueFull as error:
        raise unavailable(str(error)) from None
    except ModelFailed as error:
        raise Problem(503, str(error)) from None
    rows = [logged(prediction, served.name, tags) for prediction in predictions]
    await write(state, served, rows)
    return rows, predictions


async def write(state: Any, served: Served, rows: list[LoggedPrediction]) -> None:
    """Commit rows to the spool and count them; a full spool is a 503.

    Raises
    ------
    Problem
        The spool is full: nothing was kept, nothing may be answered.
    """
    started = time.perf_counter()
    try:
        await state.log.submit([rows])
    except (Overloaded, QueueFull) as error:
        raise unavailable(str(error), getattr(error, "retry_after", 1)) from None
    served.metrics.observe("log", time.perf_counter() - started)
    for row in rows:
        served.metrics.predicted(row.label, row.confidence)


def logged(prediction: Prediction, model: str, tags: dict[str, str]) -> LoggedPrediction:
    """Return a prediction as it is logged, under a new id."""
    return LoggedPrediction(
        id=uuid7(),
        model=model,
        label=prediction.index,
        confidence=float(prediction.probabilities[prediction.index]),
        probabilities=prediction.probabilities.astype(HALF).tobytes(),
        embedding=_half(prediction.embedding),
        properties=prediction.properties.astype(SINGLE).tobytes(),
        tags=tags,
    )


def _half(embedding: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    limit = np.finfo(HALF).max
    half: bytes = np.clip(embedding, -limit, limit).astype(HALF).tobytes()
    return half


def _answer(row: LoggedPrediction, prediction: Prediction, labels: tuple[str, ...]) -> dict[str, Any]:
    p = prediction.probabilities
    top = np.argsort(-p, kind="stable")[:TOP].tolist()
    return {
        "id": str(row.id),
        "label": labels[row.label],
        "index": row.label,
        "confidence": row.confidence,
        "top": [{"label": labels[i], "confidence": float(p[i])} for i in top],
    }
