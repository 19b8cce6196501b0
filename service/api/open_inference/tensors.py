"""Tensors of the Open Inference Protocol: out of a request's JSON or the bytes behind it, and into an answer."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, FailFast, Field

from ..bodies.json_text import parse_json, validate
from ..bodies.limits import LimitedBody
from ..bodies.numbers import numbers
from ..problems import Problem
from .byte_strings import join_byte_strings

MAX_TENSORS = 256  # tensors that a request or an answer may have
BFLOAT16 = "BF16"
FLOAT_DATATYPES: dict[str, np.dtype[Any]] = {
    "FP16": np.dtype("<f2"),
    BFLOAT16: np.dtype("<u2"),  # numpy has no such type: the upper half of a float32
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
INT_DATATYPES: dict[str, np.dtype[Any]] = {
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
}
LENGTH = re.compile("[0-9]{1,12}")


class InputTensor(BaseModel):
    name: str
    datatype: str
    shape: Annotated[list[int], FailFast(), Field(max_length=16)]
    parameters: dict[str, Any] = {}
    data: list[Any] | None = Field(None, description="numbers, nested or flat; absent with binary_data_size")


class RequestedOutput(BaseModel):
    name: str
    parameters: dict[str, Any] = {}


class BinaryDataJson(TypedDict):
    """The parameters of an output whose bytes stand behind the JSON."""

    binary_data_size: int


class OutputTensorJson(TypedDict):
    """An output of a response, with its values or with the number of its bytes behind the JSON."""

    name: str
    datatype: str
    shape: list[int]
    data: NotRequired[NDArray[Any]]
    parameters: NotRequired[BinaryDataJson]


class InferBody(BaseModel):
    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: Annotated[list[InputTensor], FailFast(), Field(max_length=MAX_TENSORS)]
    outputs: Annotated[list[RequestedOutput], FailFast(), Field(max_length=MAX_TENSORS)] = []


def split(data: bytes, json_length: str | None, body: LimitedBody) -> tuple[InferBody, memoryview]:
    """Return a request's JSON and the bytes behind it.

    Parameters
    ----------
    json_length : str or None
        The header `Inference-Header-Content-Length`; without it all of the body is JSON.

    Raises
    ------
    Problem
        400: no such request.
    """
    if json_length is None:
        end = len(data)
    elif LENGTH.fullmatch(json_length) and int(json_length) <= len(data):
        end = int(json_length)
    else:
        raise Problem(400, f"Inference-Header-Content-Length is not a length within the body of {len(data)} bytes")
    try:
        return validate(InferBody, parse_json(data[:end], body)), memoryview(data)[end:]
    except Problem as problem:
        raise Problem(400, problem.detail) if problem.status == 422 else problem from None


def sections(tensors: Sequence[InputTensor], binary: memoryview) -> list[memoryview]:
    """Return each tensor's own part of the bytes behind the JSON; it is empty if the values are in the JSON.

    Raises
    ------
    Problem
        400: the sizes do not add up to the number of bytes.
    """
    parts, start = [], 0
    for tensor in tensors:
        size = tensor.parameters.get("binary_data_size", 0)
        if type(size) is not int or not 0 <= size <= len(binary) - start:
            raise Problem(
                400, f"tensor {tensor.name!r}: binary_data_size {size!r} of {len(binary) - start} bytes left"[:200]
            )
        parts.append(binary[start : start + size])
        start += size
    if start != len(binary):
        raise Problem(400, f"{len(binary) - start} bytes behind the JSON belong to no tensor")
    return parts


def array(
    tensor: InputTensor,
    row: Sequence[int],
    max_rows: int,
    binary: memoryview,
    datatypes: Mapping[str, np.dtype[Any]],
) -> NDArray[Any]:
    """Return a tensor's values, of one of `datatypes`, with rows of shape `row`.

    A tensor of the shape `row` itself is one row whose client has left the batch axis out.

    Raises
    ------
    Problem
        400: another datatype or shape, values that do not fit them; 413: too many rows.
    """
    shape = full_shape(tensor, row, max_rows, datatypes)
    if (tensor.data is None) == ("binary_data_size" not in tensor.parameters):
        raise Problem(400, "expected the values either as data or as bytes with the parameter binary_data_size")
    if tensor.data is not None:
        return finite(_from_json(tensor, shape, binary), tensor.datatype)
    values = from_bytes(tensor, shape, binary, datatypes[tensor.datatype])
    size, expected = tensor.parameters["binary_data_size"], len(binary)
    if size != expected:
        raise Problem(
            400, f"{tensor.datatype} {shape} takes {expected} bytes, got {expected} and binary_data_size {size!r}"[:200]
        )
    return finite(values, tensor.datatype)


def full_shape(
    tensor: InputTensor, row: Sequence[int], max_rows: int, datatypes: Mapping[str, np.dtype[Any]]
) -> list[int]:
    """Return a tensor's shape with the batch axis, which a client may have left out of a single row.

    Raises
    ------
    Problem
        400: a datatype that is not one of `datatypes`, or other rows than of shape `row`; 413: too many rows.
    """
    if tensor.datatype not in datatypes:
        raise Problem(400, f"expected datatype {' or '.join(datatypes)}, got {tensor.datatype[:64]!r}")
    shape = [1, *tensor.shape] if tensor.shape == list(row) else tensor.shape
    if shape[1:] != list(row) or not shape or shape[0] < 1:
        raise Problem(400, f"expected shape {[-1, *row]} with one row or more, got {tensor.shape}")
    if shape[0] > max_rows:
        raise Problem(413, f"{shape[0]} rows, at most {max_rows} are accepted")
    return shape


def finite(values: NDArray[Any], datatype: str) -> NDArray[Any]:
    """Return values, or raise a Problem with status 400 if one of them is not a finite number."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Problem(400, f"the values hold NaN, infinity or more than {datatype} can")
    return values


def encode_output(name: str, datatype: str, values: NDArray[Any], binary: bool) -> tuple[OutputTensorJson, bytes]:
    """Return an output's JSON and its bytes, which are empty unless `binary`."""
    output: OutputTensorJson = {"name": name, "datatype": datatype, "shape": list(values.shape)}
    if not binary:
        return {**output, "data": values.ravel()}, b""
    data = to_bytes(datatype, values)
    return {**output, "parameters": {"binary_data_size": len(data)}}, data


def to_bytes(datatype: str, values: NDArray[Any]) -> bytes:
    """Return the bytes of an output: texts with their lengths, numbers in little-endian order."""
    if datatype == "BYTES":
        return join_byte_strings(text.encode() for text in values.ravel().tolist())
    return values.astype(FLOAT_DATATYPES[datatype], copy=False).tobytes()


def from_bytes(
    tensor: InputTensor, shape: Sequence[int], data: bytes | memoryview, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return the numbers of a tensor from their bytes.

    Raises
    ------
    Problem
        400: more or fewer bytes than the shape takes.
    """
    expected = dtype.itemsize * math.prod(shape)
    if len(data) != expected:
        raise Problem(400, f"{tensor.datatype} {tensor.shape} takes {expected} bytes, got {len(data)}"[:200])
    values = np.frombuffer(data, dtype).reshape(shape)
    if tensor.datatype == BFLOAT16:
        return (values.astype("<u4") << 16).view("<f4")
    return values


def _from_json(tensor: InputTensor, shape: Sequence[int], binary: memoryview) -> NDArray[Any]:
    if len(binary):
        raise Problem(400, f"{len(binary)} bytes behind the JSON belong to no input")
    dtype = INT_DATATYPES.get(tensor.datatype) or FLOAT_DATATYPES[tensor.datatype]
    try:
        values = numbers(tensor.data or [], tensor.shape, np.float32 if tensor.datatype == BFLOAT16 else dtype)
    except ValueError as error:
        raise Problem(400, str(error)) from None
    return values.reshape(shape)
