"""The Open Inference Protocol (v2 REST), so that clients of KServe and Triton work; logged and monitored as `/predict`.

The input is the network's own tensor: FP32 as the network reads it, or UINT8, the pixels before scale, mean and std.
"""

import asyncio
import math
from importlib.metadata import version as installed
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Depends, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel

from ...serving.model_registry import Served
from ...serving.prediction_logger import Kept, kept
from ..endpoints import health
from ..endpoints.predict import TAG, Counted
from ..problems import Problem, documented
from ..request_bodies import IMAGES_PER_REQUEST, query_tags, read_body
from .tensors import InferBody, InputTensor, RequestedOutput, array, encoded, split

JSON_LENGTH = "Inference-Header-Content-Length"
OUTPUTS = {"probabilities": "FP32", "label": "BYTES"}
RAW = {"raw_probabilities": "FP32", "raw_label": "BYTES"}  # beside them where answers are corrected
SMALL_BYTES = 65_536  # a body up to here is parsed at once, a larger one in a thread
NUMBER_BYTES = 40  # of a number in JSON, its indentation included
OTHER_BYTES = 65_536  # of a request besides its numbers

router = APIRouter(prefix="/v2", tags=["open inference protocol"])


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    live: bool


class Ready(BaseModel):
    ready: bool


class ModelReady(Ready):
    name: str


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


async def named(name: str, request: Request) -> None:
    """Answer 404 for a model that does not answer."""
    _served(request)


async def versioned(name: str, version: str, request: Request) -> None:
    """Answer 404 for a model or version that does not answer."""
    _served(request)


def _served(request: Request) -> Served:
    """Return the model that the path names."""
    path = request.path_params
    served: Served = request.app.state.models.served(path["name"], path.get("version"))
    return served


NAMED, VERSIONED = [Depends(named)], [Depends(versioned)]
MODEL, VERSION = "/models/{name}", "/models/{name}/versions/{version}"


@router.get("", summary="Server metadata")
async def server() -> ServerMetadata:
    return ServerMetadata(name="tidemark", version=installed("tidemark"), extensions=["binary_tensor_data"])


@router.get("/health/live", summary="The process lives")
async def live() -> Live:
    return Live(live=True)


@router.get("/health/ready", summary="The server may get traffic", responses=documented(503))
async def ready(request: Request, response: Response) -> Ready:
    """Answer as `/readyz` does."""
    return Ready(ready=(await health.readyz(request, response)).ready)


@router.get(MODEL, dependencies=NAMED, summary="Model metadata", responses=documented(404))
@router.get(VERSION, dependencies=VERSIONED, summary="Model metadata", responses=documented(404))
async def model(request: Request) -> ModelMetadata:
    served = _served(request)
    bundle, outputs = served.bundle, _outputs(served)
    columns = {"FP32": [len(bundle.labels)], "BYTES": []}
    return ModelMetadata(
        name=bundle.name,
        versions=[other.bundle.version for other in request.app.state.models.versions(bundle.name)],
        platform="onnxruntime_onnx",
        inputs=[TensorMetadata(name=bundle.input.name, datatype="FP32", shape=[-1, *bundle.input.row_shape])],
        outputs=[
            TensorMetadata(name=name, datatype=kind, shape=[-1, *columns[kind]]) for name, kind in outputs.items()
        ],
    )


@router.get(f"{MODEL}/ready", dependencies=NAMED, summary="The model may get traffic", responses=documented(404, 503))
@router.get(
    f"{VERSION}/ready", dependencies=VERSIONED, summary="The model may get traffic", responses=documented(404, 503)
)
async def model_ready(request: Request, response: Response) -> ModelReady:
    """Answer as `/readyz` does: the model is loaded before the server answers at all."""
    return ModelReady(name=_served(request).bundle.name, ready=(await health.readyz(request, response)).ready)


class OutputTensor(TensorMetadata):
    parameters: dict[str, Any] = {}
    data: list[Any] = []


class InferAnswer(BaseModel):
    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, Any]
    outputs: list[OutputTensor]


BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["inputs"],
                "properties": {
                    "id": {"type": "string"},
                    "parameters": {"type": "object"},
                    "inputs": {"type": "array", "items": InputTensor.model_json_schema()},
                    "outputs": {"type": "array", "items": RequestedOutput.model_json_schema()},
                },
            }
        },
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}
INFER: dict[str, Any] = {
    "summary": "Classify tensors",
    "response_model": InferAnswer,
    "responses": documented(400, 404, 408, 413, 422, 503),
    "openapi_extra": {"requestBody": BODY, "parameters": [TAG]},
}


@router.post(f"{MODEL}/infer", dependencies=NAMED, **INFER)
@router.post(f"{VERSION}/infer", dependencies=VERSIONED, **INFER)
async def infer(request: Request) -> Response:
    """Classify the rows of the network's input, given as JSON or with the binary tensor extension.

    `parameters.ids` of the answer are the logged predictions, for `POST /feedback`.
    """
    served = _served(request)
    with Counted(served.metrics):
        return await _infer(request, served)


async def _infer(request: Request, served: Served) -> Response:
    tags = query_tags(request)
    spec = served.bundle.input
    json_length = request.headers.get(JSON_LENGTH)
    room = IMAGES_PER_REQUEST * math.prod(spec.row_shape) * (NUMBER_BYTES if json_length is None else 4)
    body = await read_body(request, room + OTHER_BYTES)
    if len(body) <= SMALL_BYTES:
        asked, tensor = _read(body, json_length, served)
    else:
        asked, tensor = await asyncio.to_thread(_read, body, json_length, served)
    found = await kept(served.predictor.predict_tensor(tensor, tags))
    for shadow in served.shadows:
        shadow.show(found)
    return _answer(served, asked, found)


def _outputs(served: Served) -> dict[str, str]:
    """Return the datatypes of what a model answers, by name."""
    return OUTPUTS | RAW if served.corrected else OUTPUTS


def _read(body: bytes, json_length: str | None, served: Served) -> tuple[InferBody, NDArray[Any]]:
    spec, outputs = served.bundle.input, _outputs(served)
    asked, binary = split(body, json_length)
    names = [tensor.name for tensor in asked.inputs]
    if names != [spec.name]:
        raise Problem(400, f"expected one input {spec.name!r}, got {names}")
    for output in asked.outputs:
        if output.name not in outputs:
            raise Problem(400, f"no output {output.name!r}, there are {', '.join(outputs)}")
    return asked, array(asked.inputs[0], spec.row_shape, IMAGES_PER_REQUEST, binary)


def _answer(served: Served, asked: InferBody, found: Kept) -> Response:
    bundle, kinds = served.bundle, _outputs(served)
    labels = np.array(bundle.labels, dtype=object)
    answered, said = found.answered, found.predictions
    values = {
        "probabilities": answered.astype(np.float32, copy=False),
        "label": labels[answered.argmax(axis=1)],
        "raw_probabilities": said.probabilities,
        "raw_label": labels[said.indices],
    }
    binary = asked.parameters.get("binary_data_output") is True
    wanted = [(output.name, output.parameters.get("binary_data", binary) is True) for output in asked.outputs]
    outputs = [
        encoded(name, kinds[name], values[name], as_bytes)
        for name, as_bytes in wanted or [(name, binary) for name in kinds]
    ]
    answer: dict[str, Any] = {"model_name": bundle.name, "model_version": bundle.version}
    if asked.id is not None:
        answer["id"] = asked.id
    answer["parameters"] = {"ids": found.ids}
    answer["outputs"] = [output for output, _ in outputs]
    text = orjson.dumps(answer, default=np.ndarray.tolist, option=orjson.OPT_SERIALIZE_NUMPY)
    data = b"".join(part for _, part in outputs)
    if not data:
        return Response(text, media_type="application/json")
    return Response(text + data, media_type="application/octet-stream", headers={JSON_LENGTH: str(len(text))})
