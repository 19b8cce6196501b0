"""`POST /v2/models/{name}/infer` of the Open Inference Protocol, logged and monitored as `/predict` is.

The input is the network's own tensor: of a floating-point datatype as the network reads it, or of integers, which are
the pixels before scale, mean and std.
"""

from typing import Any, NamedTuple

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel

from ...serving.model_registry import ServedModel
from ...serving.prediction_logger import LoggedPredictions
from ..bodies.images import IMAGES_PER_REQUEST
from ..bodies.limits import LimitedBody, body_of
from ..bodies.tags import query_tags
from ..openapi import TAG_PARAMETER
from ..outcome import PredictOutcome
from ..problems import Problem, documented
from ..state import State
from .models import MODEL_PATH, VERSION_PATH, PathModel, output_specs
from .tensors import (
    BFLOAT16,
    FLOAT_DATATYPES,
    INT_DATATYPES,
    InferBody,
    InputTensor,
    RequestedOutput,
    array,
    encoded,
    split,
)

JSON_LENGTH = "Inference-Header-Content-Length"
INPUT_DATATYPES = {name: dtype for name, dtype in FLOAT_DATATYPES.items() if name != BFLOAT16} | INT_DATATYPES
OUTPUT_PARAMETERS = frozenset({"binary_data", "classification"})

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


class InferRequest(NamedTuple):
    """A request's JSON, and its tensor as the network reads it or as pixels."""

    body: InferBody
    tensor: NDArray[np.float32] | NDArray[np.uint8]


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

    `parameters.ids` of the answer are the ids of the logged predictions, joined by commas, for `POST /feedback`. The
    output parameter `classification` of `probabilities` asks for the likeliest classes as `probability:index:label`.
    """
    with PredictOutcome(model.metrics) as outcome:
        outcome.tags = query_tags(request)
        data = await request.body()
        json_length = request.headers.get(JSON_LENGTH)
        parsed = await state.parsers.run(len(data), _parse, data, json_length, body_of(request), model)
        outcome.images = len(parsed.tensor)
        logged = await model.predictor.predict_tensor(parsed.tensor, outcome.tags)
        for shadow in model.shadows:
            shadow.submit(logged)
        return _answer(model, parsed.body, logged)


def _parse(data: bytes, json_length: str | None, body: LimitedBody, model: ServedModel) -> InferRequest:
    spec = model.bundle.input
    parsed, binary = split(data, json_length, body)
    names = [tensor.name for tensor in parsed.inputs]
    if names != [spec.name]:
        raise Problem(400, f"expected one input {spec.name!r}, got {names[:5]}"[:500])
    datatypes = {output.name: output.datatype for output in output_specs(model)}
    for output in parsed.outputs:
        if output.name not in datatypes:
            raise Problem(400, f"no output {output.name[:64]!r}, there are {', '.join(datatypes)}")
        if unsupported := output.parameters.keys() - OUTPUT_PARAMETERS:
            raise Problem(400, f"output {output.name!r}: the parameter {min(unsupported)[:64]!r} is not supported")
        _check_classification(output, datatypes[output.name])
    if "classification" in parsed.parameters:
        raise Problem(400, "the parameter classification belongs to an output, not to the request")
    values = array(parsed.inputs[0], spec.row_shape, IMAGES_PER_REQUEST, binary, INPUT_DATATYPES)
    return InferRequest(parsed, _network_input(values))


def _check_classification(output: RequestedOutput, datatype: str) -> None:
    if "classification" not in output.parameters:
        return
    count = output.parameters["classification"]
    if datatype != "FP32" or type(count) is not int or count < 1:
        raise Problem(
            400, f"output {output.name!r}: classification takes a number of classes, and belongs to probabilities"
        )


def _network_input(values: NDArray[Any]) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Return floating-point values as float32, and integers as the pixels that they are."""
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            tensor = values.astype(np.float32, copy=False)
        if not np.isfinite(tensor).all():
            raise Problem(400, "the values hold more than FP32 can")
        return tensor
    if values.min() < 0 or values.max() > 255:
        raise Problem(400, "integers are pixels: the values lie outside of 0 to 255")
    return values.astype(np.uint8, copy=False)


def _answer(model: ServedModel, body: InferBody, logged: LoggedPredictions) -> Response:
    labels = np.array(model.bundle.labels, dtype=object)
    answered, predictions = logged.answered, logged.predictions
    values: dict[str, NDArray[Any]] = {
        "probabilities": answered.astype(np.float32, copy=False),
        "label": labels[answered.argmax(axis=1)],
        "raw_probabilities": predictions.probabilities,
        "raw_label": labels[predictions.indices],
    }
    as_bytes = body.parameters.get("binary_data_output") is True
    outputs = []
    for output in body.outputs or [RequestedOutput(name=spec.name) for spec in output_specs(model)]:
        binary = output.parameters.get("binary_data", as_bytes) is True
        array_of_output, datatype = values[output.name], "BYTES" if output.name.endswith("label") else "FP32"
        if count := output.parameters.get("classification"):
            array_of_output, datatype = _likeliest(array_of_output, labels, count), "BYTES"
        outputs.append(encoded(output.name, datatype, array_of_output, binary))
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


def _likeliest(probabilities: NDArray[Any], labels: NDArray[Any], count: int) -> NDArray[Any]:
    """Return the likeliest classes (m, count) as `probability:index:label`, the format of Triton's classification."""
    tops = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    texts = [
        [f"{row[index]:f}:{index}:{labels[index]}" for index in top]
        for row, top in zip(probabilities, tops.tolist(), strict=True)
    ]
    return np.array(texts, dtype=object)
