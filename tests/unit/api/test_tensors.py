import json
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.api.bodies.limits import LimitedBody
from tidemark.api.bodies.memory_budget import BodyBudget
from tidemark.api.open_inference.inference import INPUT_DATATYPES
from tidemark.api.open_inference.tensors import InputTensor, encode_output
from tidemark.api.open_inference.tensors import array as array_of
from tidemark.api.open_inference.tensors import split as split_body
from tidemark.api.problems import Problem

ROW = (1, 2, 3)
VALUES = np.arange(12, dtype=np.float32).reshape(2, *ROW)
EMPTY = memoryview(b"")


def array(tensor: InputTensor, row: tuple[int, ...], max_rows: int, binary: memoryview) -> np.ndarray:
    return array_of(tensor, row, max_rows, binary, INPUT_DATATYPES)


def split(data: bytes, json_length: str | None) -> Any:
    async def receive() -> Any:
        raise AssertionError("the body has been received")

    return split_body(data, json_length, LimitedBody({}, receive, None, 10**6, BodyBudget(10**6)))


def tensor(**changes: Any) -> InputTensor:
    fields: dict[str, Any] = {"name": "image", "datatype": "FP32", "shape": [2, *ROW], "data": VALUES.tolist()}
    return InputTensor(**fields | changes)


def in_bytes(datatype: str, size: object, shape: list[int] | None = None) -> InputTensor:
    parameters = {"binary_data_size": size}
    return tensor(datatype=datatype, shape=shape or [2, *ROW], data=None, parameters=parameters)


@pytest.mark.parametrize("data", [VALUES.tolist(), VALUES.ravel().tolist(), VALUES.astype(int).tolist()])
@pytest.mark.parametrize(("datatype", "dtype"), [("FP32", np.float32), ("UINT8", np.uint8)])
def test_json_values_may_be_nested_or_flat(data: list[Any], datatype: str, dtype: type) -> None:
    if datatype == "UINT8":
        data = np.array(data).astype(int).tolist()
    values = array(tensor(datatype=datatype, data=data), ROW, 64, EMPTY)
    assert values.dtype == dtype
    np.testing.assert_array_equal(values, VALUES)


@pytest.mark.parametrize(("datatype", "dtype"), [("FP32", "<f4"), ("UINT8", "u1")])
def test_binary_values_are_the_bytes_behind_the_json(datatype: str, dtype: str) -> None:
    values = VALUES.astype(dtype)
    head = orjson.dumps({"inputs": [in_bytes(datatype, values.nbytes).model_dump()]})
    body, binary = split(head + values.tobytes(), str(len(head)))
    decoded = array(body.inputs[0], ROW, 64, binary)
    assert decoded.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(decoded, values)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (tensor(datatype="BOOL"), "expected datatype .* got 'BOOL'"),
        (tensor(shape=[2, 3, 2, 1]), r"expected shape \[-1, 1, 2, 3\]"),
        (tensor(shape=[]), "expected shape"),
        (tensor(shape=[0, *ROW], data=[]), "one row or more"),
        (tensor(shape=[-2, *ROW]), "one row or more"),
        (tensor(data=None), "either as data or as bytes"),
        (tensor(parameters={"binary_data_size": 48}), "either as data or as bytes"),
        (tensor(data=[1.0, 2.0]), r"data has 2 values, expected 12"),
        (tensor(data=VALUES.transpose(0, 2, 3, 1).tolist()), "not nested as the shape"),
        (tensor(data=[[1.0], [1.0, 2.0]]), "not nested as the shape"),
        (tensor(data=["1.0"] * 12), "not numbers"),
        (tensor(data=[None] * 12), "not numbers"),
        (tensor(data=[True] * 12), "not numbers"),
        (tensor(data=[{}] * 12), "not numbers"),
        (tensor(data=[10**40] * 12), "NaN, infinity or more"),
        (tensor(data=[10**400] * 12), "too large"),
        (tensor(data=[1e39] * 12), "NaN, infinity or more"),
        (tensor(data=[float("nan")] * 12), "NaN, infinity or more"),
        (tensor(datatype="UINT8", data=[1.5] * 12), "not numbers"),
        (tensor(datatype="UINT8", data=[256] * 12), "outside of 0 to 255"),
        (tensor(datatype="UINT8", data=[-1] * 12), "outside of 0 to 255"),
    ],
)
def test_json_values_that_do_not_fit_are_reported(wrong: InputTensor, says: str) -> None:
    with pytest.raises(Problem, match=says) as caught:
        array(wrong, ROW, 64, EMPTY)
    assert caught.value.status == 400


def test_more_rows_than_are_accepted() -> None:
    with pytest.raises(Problem, match="65 rows, at most 64") as caught:
        array(tensor(shape=[65, *ROW], data=[0.0]), ROW, 64, EMPTY)
    assert caught.value.status == 413


@pytest.mark.parametrize("size", [47, 49, "48", None, -1, 10**30])
def test_a_wrong_binary_size_is_reported(size: object) -> None:
    with pytest.raises(Problem, match="takes 48 bytes, got 48"):
        array(in_bytes("FP32", size), ROW, 64, memoryview(VALUES.tobytes()))


def test_bytes_that_are_missing_or_superfluous_are_reported() -> None:
    with pytest.raises(Problem, match="takes 48 bytes, got 44"):
        array(in_bytes("FP32", 48), ROW, 64, memoryview(VALUES.tobytes()[4:]))
    with pytest.raises(Problem, match="4 bytes behind the JSON"):
        array(tensor(), ROW, 64, memoryview(b"1234"))


def test_binary_nan_is_reported() -> None:
    with pytest.raises(Problem, match="NaN"):
        array(in_bytes("FP32", 48), ROW, 64, memoryview(np.full(12, np.nan, np.float32).tobytes()))


@pytest.mark.parametrize("length", ["", "-1", "x", "1e1", "99", "9" * 5000, "²"])
def test_a_header_length_that_cannot_be(length: str) -> None:
    with pytest.raises(Problem, match="not a length within the body of 13 bytes"):
        split(b'{"inputs":[]}', length)


def request_of(inputs: int, outputs: int = 0) -> bytes:
    tensors = [{"name": "x", "shape": [1], "datatype": "FP32", "data": [0.0]}] * inputs
    return json.dumps({"inputs": tensors, "outputs": [{"name": "y"}] * outputs}).encode()


def test_a_request_has_at_most_256_tensors_of_each_kind() -> None:
    parsed, _ = split(request_of(256, 256), None)
    assert (len(parsed.inputs), len(parsed.outputs)) == (256, 256)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"inputs": 3}',
        b"\xff",
        b"[" * 5000,
        b'{"inputs": [' + b"1" * 5000 + b"]}",
        request_of(257),
        request_of(1, 257),
    ],
)
def test_a_body_that_is_no_request(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        split(body, None)
    assert caught.value.status == 400


NUMBERS = st.integers() | st.floats()
VALUES_OR_NOT = st.recursive(st.none() | st.booleans() | NUMBERS | st.text(), lambda s: st.lists(s, max_size=6))
SHAPES = st.just([2, *ROW]) | st.just([1, *ROW]) | st.lists(st.integers(), max_size=5)


@given(
    shape=SHAPES,
    datatype=st.sampled_from(["FP32", "UINT8", "BYTES", ""]),
    data=st.lists(VALUES_OR_NOT, max_size=13) | st.lists(NUMBERS, min_size=6, max_size=12) | st.none(),
    parameters=st.dictionaries(st.just("binary_data_size"), VALUES_OR_NOT),
    binary=st.binary(max_size=50),
)
def test_whatever_comes_is_a_tensor_or_a_reported_problem(
    shape: list[int], datatype: str, data: list[Any] | None, parameters: dict[str, Any], binary: bytes
) -> None:
    input_tensor = tensor(shape=shape, datatype=datatype, data=data, parameters=parameters)
    with suppress(Problem):
        values = array(input_tensor, ROW, 64, memoryview(binary))
        assert list(values.shape) == shape
        assert np.isfinite(values).all()


def test_outputs_as_json_and_as_bytes() -> None:
    values = np.array([[0.25, 0.75]], np.float32)
    output, data = encode_output("probabilities", "FP32", values, binary=False)
    assert (output["shape"], output["data"].tolist(), data) == ([1, 2], [0.25, 0.75], b"")
    output, data = encode_output("probabilities", "FP32", values, binary=True)
    assert output == {
        "name": "probabilities",
        "datatype": "FP32",
        "shape": [1, 2],
        "parameters": {"binary_data_size": 8},
    }
    assert data == struct.pack("<2f", 0.25, 0.75)
    labels = np.array(["Katze", "Löwe"], dtype=object)
    output, data = encode_output("label", "BYTES", labels, binary=True)
    assert data == struct.pack("<I5sI5s", 5, b"Katze", 5, "Löwe".encode())
    assert output["parameters"] == {"binary_data_size": len(data)}
