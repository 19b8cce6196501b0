"""`POST /predict`: images in, classes out, each logged before the answer leaves."""

import time
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from ...inference.bundle import Bundle
from ...inference.images import NotAnImage, TooManyPixels
from ...serving.model_registry import Served
from ...serving.prediction_logger import Kept, kept
from ..problems import Problem, documented
from ..request_bodies import ImagesBody, images_and_tags
from .metrics import ModelMetrics

router = APIRouter(tags=["predict"])


class ModelName(BaseModel):
    name: str
    version: str


class Scored(BaseModel):
    label: str
    confidence: float


class Raw(Scored):
    """What the model said before its answer was corrected for other class proportions."""

    index: int


class Predicted(Scored):
    id: str
    index: int
    top: list[Scored]
    raw: Raw | None = None  # only where answers are corrected


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
    wanted = request.query_params.get("model") if request.scope["query_string"] else None
    served = request.app.state.models.served(wanted)
    with Counted(served.metrics):
        return Response(await _predict(request, served), media_type="application/json")


async def _predict(request: Request, served: Served) -> bytes:
    images, tags = await images_and_tags(request, request.app.state.settings.max_image_bytes)
    try:
        found = await kept(served.predictor.predict(images, tags))
    except NotAnImage as error:
        raise Problem(400, f"image {error.item}: {error}") from None
    except TooManyPixels as error:
        raise Problem(413, f"image {error.item}: {error}") from None
    for shadow in served.shadows:
        shadow.show(found, images)
    return _answer(served.bundle, found)


class Counted:
    """Counts a request to predict by its status, and times it: `with Counted(metrics):`."""

    __slots__ = ("_metrics", "_started")

    def __init__(self, metrics: ModelMetrics) -> None:
        self._metrics = metrics

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        status = 200 if error is None else error.status if isinstance(error, Problem) else 500
        self._metrics.answered(status)
        self._metrics.observe("total", time.perf_counter() - self._started)


def _answer(bundle: Bundle, found: Kept) -> bytes:
    labels = bundle.labels
    predictions: list[dict[str, Any]] = [
        {
            "id": key,
            "label": labels[top[0]],
            "index": top[0],
            "confidence": confidences[0],
            "top": [{"label": labels[i], "confidence": p} for i, p in zip(top, confidences, strict=True)],
        }
        for key, top, confidences in zip(found.ids, found.tops, found.confidences, strict=True)
    ]
    if found.corrected:
        said = found.predictions
        for answer, index, row in zip(predictions, said.indices.tolist(), said.probabilities, strict=True):
            answer["raw"] = {"label": labels[index], "index": index, "confidence": float(row[index])}
    return orjson.dumps({"model": {"name": bundle.name, "version": bundle.version}, "predictions": predictions})
