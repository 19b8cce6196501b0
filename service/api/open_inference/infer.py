"""`POST /v2/models/{name}/infer` of the Open Inference Protocol, logged and monitored as `/predict` is."""

from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from ...serving.model_registry import ServedModel
from ...serving.prediction_logger import LoggedPredictions
from ..bodies.base64_text import decode_base64
from ..bodies.encoded_images import IMAGES_PER_REQUEST, check_sizes
from ..bodies.limits import LimitedBody, body_of
from ..bodies.tags import query_tags
from ..client_disconnect import until_disconnect
from ..openapi import TAG_PARAMETER
from ..outcome import PredictOutcome
from ..problems import Problem, documented
from ..server_state import State
from .byte_strings import split_byte_strings
from .inference import (
    BYTES,
    INPUT_DATATYPES,
    InferRequest,
    checked_input,
    classify,
    image_count,
    network_tensor,
    output_values,
    parameter_tags,
)
from .models import MODEL_PATH, VERSION_PATH, PathModel
from .tensors import InferBody, InputTensor, RequestedOutput, array, encode_output, split

JSON_LENGTH = "Inference-Header-Content-Length"

router = APIRouter(prefix="/v2", tags=["open inference protocol"])


class OutputTensor(BaseModel):
    name: str
    datatype: str
    shape: list[int]
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
    "responses": documented(400, 404, 408, 413, 415, 422, 503),
    "openapi_extra": {"requestBody": BODY, "parameters": [TAG_PARAMETER]},
}


@router.post(f"{MODEL_PATH}/infer", **INFER)
@router.post(f"{VERSION_PATH}/infer", **INFER)
async def infer(request: Request, model: PathModel, state: State) -> Response:
    """Classify the rows of the network's input, given as JSON or with the binary tensor extension.

    The input may also have the datatype BYTES: encoded images, which are base64 in JSON. A parameter `tag:camera` of
    the request is the tag `camera` of its predictions. `parameters.ids` of the answer are the ids of the logged
    predictions, joined by commas, for `POST /feedback`. The output parameter `classification` of `probabilities` asks
    for the likeliest classes as `probability:index:label`.
    """
    with PredictOutcome(model.metrics) as outcome:
        outcome.tags = query_tags(request)
        data = await request.body()
        json_length = request.headers.get(JSON_LENGTH)
        max_image_bytes = state.settings.max_image_bytes
        parsed = await state.parsers.run(len(data), _parse, data, json_length, body_of(request), model, max_image_bytes)
        outcome.tags |= parameter_tags(parsed.body.parameters)
        work = classify(model, parsed, outcome)
        runs_inline = model.predictor.answers_at_once(len(data))
        return _answer(model, parsed.body, await (work if runs_inline else until_disconnect(request, work)))


def _parse(
    data: bytes, json_length: str | None, body: LimitedBody, model: ServedModel, max_image_bytes: int
) -> InferRequest:
    parsed, binary = split(data, json_length, body)
    tensor = checked_input(parsed, model)
    if tensor.datatype == BYTES:
        images = _images(tensor, binary)
        check_sizes(images, max_image_bytes)
        return InferRequest(parsed, images)
    values = array(tensor, model.bundle.input.row_shape, IMAGES_PER_REQUEST, binary, INPUT_DATATYPES)
    return InferRequest(parsed, network_tensor(values))


def _images(tensor: InputTensor, binary: memoryview) -> list[bytes]:
    """Return the encoded images of a tensor of BYTES: base64 in JSON, or bytes behind it."""
    count = image_count(tensor)
    if tensor.data is None:
        return split_byte_strings(binary, count)
    texts = [item for row in tensor.data for item in (row if isinstance(row, list) else [row])]
    if len(binary) or len(texts) != count:
        raise Problem(400, f"expected {count} images, got {len(texts)} in JSON and {len(binary)} bytes behind it")
    images = []
    for number, text in enumerate(texts):
        try:
            images.append(decode_base64(text))
        except (TypeError, ValueError):
            raise Problem(400, f"image {number} is not base64") from None
    return images


def _answer(model: ServedModel, body: InferBody, logged: LoggedPredictions) -> Response:
    as_bytes = body.parameters.get("binary_data_output") is True
    outputs = [
        encode_output(requested.name, datatype, values, requested.parameters.get("binary_data", as_bytes) is True)
        for requested, datatype, values in output_values(model, body, logged)
    ]
    answer: dict[str, Any] = {"model_name": model.bundle.name, "model_version": model.bundle.version}
    if body.id is not None:
        answer["id"] = body.id
    answer["parameters"] = {"ids": ",".join(logged.ids)}
    answer["outputs"] = [output for output, _ in outputs]
    text = orjson.dumps(answer, default=np.ndarray.tolist, option=orjson.OPT_SERIALIZE_NUMPY)
    data = b"".join(part for _, part in outputs)
    if not data:
        return Response(text, media_type="application/json")
    return Response(text + data, media_type="application/octet-stream", headers={JSON_LENGTH: str(len(text))})
