"""Between the messages of the Open Inference Protocol and what `api.open_inference` makes of a request."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from ...serving.model_registry import ServedModel
from ...serving.prediction_logger import LoggedPredictions
from ..bodies.encoded_images import IMAGES_PER_REQUEST, check_sizes
from ..bodies.json_text import validate
from ..open_inference.byte_strings import split_byte_strings
from ..open_inference.inference import (
    BYTES,
    INPUT_DATATYPES,
    InferRequest,
    checked_input,
    image_count,
    network_tensor,
    output_values,
)
from ..open_inference.tensors import InferBody, InputTensor, finite, from_bytes, full_shape, to_bytes
from ..problems import Problem
from .open_inference_pb2 import InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse

M = TypeVar("M", bound=Message)

CONTENTS = {
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}  # the field of typed contents by datatype; FP16 has none


def parsed_message(kind: type[M], data: bytes) -> M:
    """Return the message of a call, or raise a Problem with status 400."""
    try:
        message: M = kind.FromString(data)
    except DecodeError as error:
        raise Problem(400, f"the message is not a {kind.__name__}: {error}"[:200]) from None
    return message


def infer_request(message: ModelInferRequest, model: ServedModel, max_image_bytes: int) -> InferRequest:
    """Return what a message asks of a model.

    Raises
    ------
    Problem
        400: inputs, outputs, parameters or values that the model cannot take; 413: too many rows, or a large image.
    """
    if any(tensor.HasField("contents") for tensor in message.inputs) == bool(message.raw_input_contents):
        raise Problem(400, "expected the values either as contents of the inputs or as raw_input_contents")
    body = _body(message)
    tensor = checked_input(body, model)
    contents, raw = message.inputs[0].contents, list(message.raw_input_contents)
    if len(raw) > 1:
        raise Problem(400, f"expected one of raw_input_contents, got {len(raw)}")
    if tensor.datatype == BYTES:
        images = _images(tensor, contents, raw)
        check_sizes(images, max_image_bytes)
        return InferRequest(body, images)
    shape = full_shape(tensor, model.bundle.input.row_shape, IMAGES_PER_REQUEST, INPUT_DATATYPES)
    dtype = INPUT_DATATYPES[tensor.datatype]
    values = from_bytes(tensor, shape, raw[0], dtype) if raw else _numbers(tensor, shape, contents, dtype)
    return InferRequest(body, network_tensor(finite(values, tensor.datatype)))


def infer_response(
    model: ServedModel, body: InferBody, logged: LoggedPredictions, has_raw_contents: bool
) -> ModelInferResponse:
    """Return the answer to a request: with raw contents if the request had them, else with typed contents."""
    response = ModelInferResponse(
        model_name=model.bundle.name,
        model_version=model.bundle.version,
        id=body.id or "",
        parameters={"ids": InferParameter(string_param=",".join(logged.ids))},
    )
    for requested, datatype, values in output_values(model, body, logged):
        output = response.outputs.add(name=requested.name, datatype=datatype, shape=values.shape)
        if has_raw_contents:
            response.raw_output_contents.append(to_bytes(datatype, values))
        elif datatype == BYTES:
            output.contents.bytes_contents.extend(text.encode() for text in values.ravel().tolist())
        else:
            output.contents.fp32_contents.extend(values.ravel().tolist())
    return response


def _body(message: ModelInferRequest) -> InferBody:
    """Return a message's request without the values."""
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "parameters": _parameters(tensor.parameters),
        }
        for tensor in message.inputs
    ]
    outputs = [{"name": output.name, "parameters": _parameters(output.parameters)} for output in message.outputs]
    fields = {"inputs": inputs, "outputs": outputs, "parameters": _parameters(message.parameters)}
    return validate(InferBody, fields | {"id": message.id or None})


def _parameters(parameters: Mapping[str, InferParameter]) -> dict[str, Any]:
    kinds = {name: parameter.WhichOneof("parameter_choice") for name, parameter in parameters.items()}
    return {name: getattr(parameters[name], kind) for name, kind in kinds.items() if kind is not None}


def _images(tensor: InputTensor, contents: InferTensorContents, raw: Sequence[bytes]) -> list[bytes]:
    count = image_count(tensor)
    if raw:
        return split_byte_strings(raw[0], count)
    images = list(contents.bytes_contents)
    if len(images) != count:
        raise Problem(400, f"expected {count} bytes_contents, got {len(images)}")
    return images


def _numbers(
    tensor: InputTensor, shape: Sequence[int], contents: InferTensorContents, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return the typed contents of a tensor; integers must lie within what their datatype can hold."""
    field = CONTENTS.get(tensor.datatype)
    if field is None:
        raise Problem(400, f"{tensor.datatype} has no typed contents, send raw_input_contents")
    numbers = getattr(contents, field)
    size = int(np.prod(shape))
    if len(numbers) != size:
        raise Problem(400, f"{tensor.datatype} {tensor.shape} takes {size} {field}, got {len(numbers)}")
    if dtype.kind == "f":
        return np.fromiter(numbers, dtype, size).reshape(shape)
    wide = np.fromiter(numbers, np.uint64 if dtype.kind == "u" else np.int64, size)
    limits = np.iinfo(dtype)
    if not limits.min <= wide.min() <= wide.max() <= limits.max:
        raise Problem(400, f"{field} hold values outside of {limits.min} to {limits.max}")
    return wide.astype(dtype).reshape(shape)
