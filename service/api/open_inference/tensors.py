"""Tensors of the Open Inference Protocol: out of a request's JSON or the bytes behind it, and into an answer."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from ..problems import Problem, described

DATATYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1")}
FLOATS: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "FP16": np.dtype("<f2"), "FP64": np.dtype("<f8")}
LENGTH = re.compile("[0-9]{1,12}")
KINDS = {
    "FP16": "iuf",
    "FP32": "iuf",
    "FP64": "iuf",
    "UINT8": "iu",
}  # numpy's kinds of the JSON numbers that a datatype takes


class InputTensor(BaseModel):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = {}
    data: list[Any] | None = Field(None, description="numbers, nested or flat; absent with binary_data_size")


class RequestedOutput(BaseModel):
    name: str
    parameters: dict[str, Any] = {}


class InferBody(BaseModel):
    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: list[InputTensor]
    outputs: list[RequestedOutput] = []


def split(body: bytes, json_length: str | None) -> tuple[InferBody, memoryview]:
    """Return a request's JSON and the bytes behind it.

    Parameters
    ----------
    json_length : the header `Inference-Header-Content-Length`; without it all of the body is JSON.

    Raises
    ------
    Problem
        400: no such request.
    """
    if json_length is None:
        end = len(body)
    elif LENGTH.fullmatch(json_length) and int(json_length) <= len(body):
        end = int(json_length)
    else:
        raise Problem(400, f"Inference-Header-Content-Length is no length within the body of {len(body)} bytes")
    try:
        return InferBody.model_validate_json(body[:end]), memoryview(body)[end:]
    except ValidationError as error:
        raise Problem(400, described(error.errors(include_url=False))) from None


def sections(tensors: Sequence[InputTensor], binary: memoryview) -> list[memoryview]:
    """Return each tensor's own part of the bytes behind the JSON; it is empty where the values are in the JSON.

    Raises
    ------
    Problem
        400: the sizes do not add up to the bytes that there are.
    """
    parts, at = [], 0
    for tensor in tensors:
        size = tensor.parameters.get("binary_data_size", 0)
        if type(size) is not int or not 0 <= size <= len(binary) - at:
            raise Problem(400, f"tensor {tensor.name!r}: binary_data_size {size!r} of {len(binary) - at} bytes left")
        parts.append(binary[at : at + size])
        at += size
    if at != len(binary):
        raise Problem(400, f"{len(binary) - at} bytes behind the JSON belong to no tensor")
    return parts


def array(
    tensor: InputTensor,
    row: Sequence[int],
    max_rows: int,
    binary: memoryview,
    datatypes: Mapping[str, np.dtype[Any]] = DATATYPES,
) -> NDArray[Any]:
    """Return a tensor's values, of one of `datatypes`, with rows of shape `row`.

    Raises
    ------
    Problem
        400: another datatype or shape, values that do not fit them; 413: too many rows.
    """
    if tensor.datatype not in datatypes:
        raise Problem(400, f"expected datatype {' or '.join(datatypes)}, got {tensor.datatype!r}")
    if tensor.shape[1:] != list(row) or tensor.shape[0] < 1:
        raise Problem(400, f"expected shape {[-1, *row]} with one row or more, got {tensor.shape}")
    if tensor.shape[0] > max_rows:
        raise Problem(413, f"{tensor.shape[0]} rows, at most {max_rows} are taken")
    if (tensor.data is None) == ("binary_data_size" not in tensor.parameters):
        raise Problem(400, "expected the values either as data or as bytes with the parameter binary_data_size")
    dtype = datatypes[tensor.datatype]
    values = _from_bytes(tensor, binary, dtype) if tensor.data is None else _from_json(tensor, binary, dtype)
    if not np.isfinite(values).all():
        raise Problem(400, f"the values hold NaN, infinity or more than {tensor.datatype} can")
    return values


def encoded(name: str, datatype: str, values: NDArray[Any], binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return an output's JSON and its bytes, which are empty unless `binary`."""
    output = {"name": name, "datatype": datatype, "shape": list(values.shape)}
    if not binary:
        return output | {"data": values.ravel()}, b""
    if datatype == "BYTES":
        texts = [text.encode() for text in values.ravel().tolist()]
        data = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    else:
        data = values.astype(DATATYPES[datatype], copy=False).tobytes()
    return output | {"parameters": {"binary_data_size": len(data)}}, data


def _from_bytes(tensor: InputTensor, binary: memoryview, dtype: np.dtype[Any]) -> NDArray[Any]:
    expected = dtype.itemsize * math.prod(tensor.shape)
    size = tensor.parameters["binary_data_size"]
    if size != expected or len(binary) != expected:
        raise Problem(
            400,
            f"{tensor.datatype} {tensor.shape} takes {expected} bytes, got {len(binary)} and binary_data_size {size!r}",
        )
    return np.frombuffer(binary, dtype).reshape(tensor.shape)


def _from_json(tensor: InputTensor, binary: memoryview, dtype: np.dtype[Any]) -> NDArray[Any]:
    if len(binary):
        raise Problem(400, f"{len(binary)} bytes behind the JSON belong to no input")
    try:
        values = np.asarray(tensor.data)
    except ValueError:
        raise Problem(400, "data is nested unevenly") from None
    if values.dtype.kind not in KINDS[tensor.datatype]:
        raise Problem(400, f"data holds values that are no {tensor.datatype}")
    if values.ndim == 1 and values.size == math.prod(tensor.shape):
        values = values.reshape(tensor.shape)
    if list(values.shape) != tensor.shape:
        raise Problem(400, f"data has the shape {list(values.shape)}, expected {tensor.shape} or the same flat")
    if tensor.datatype == "UINT8" and (values.min() < 0 or values.max() > 255):
        raise Problem(400, "data holds values outside of 0 to 255")
    with np.errstate(over="ignore"):
        return values.astype(dtype)
