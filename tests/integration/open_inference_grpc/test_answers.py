"""The Open Inference Protocol over gRPC with Triton's own client: what it answers, logs, refuses and bounds."""

import base64
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine
from tritonclient import grpc as triton
from tritonclient.grpc import service_pb2

from tests.support.grpc_calls import Served, infer, input_of, message_of, triton_client
from tests.support.open_inference import PIXELS, RAW, logged
from tidemark.api.open_inference_grpc import open_inference_pb2
from tidemark.errors import ConfigurationError
from tidemark.inference.bundle import Bundle
from tidemark.inference.model import Model
from tidemark.server import checks
from tidemark.server.serve_options import ServeOptions


@pytest.mark.parametrize("message", open_inference_pb2.DESCRIPTOR.message_types_by_name)
def test_the_messages_are_those_of_triton_s_client(message: str) -> None:
    ours, theirs = (
        open_inference_pb2.DESCRIPTOR.message_types_by_name[message],
        service_pb2.DESCRIPTOR.message_types_by_name[message],
    )

    def fields(descriptor: Any) -> dict[str, tuple[int, int]]:
        nested = {
            f"{inner.name}.{name}": field for inner in descriptor.nested_types for name, field in fields(inner).items()
        }
        return nested | {field.name: (field.number, field.type) for field in descriptor.fields}

    assert fields(ours).items() <= fields(theirs).items()


def test_metadata_and_health(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("pets")
    assert client.is_model_ready("pets", "3")
    assert client.get_server_metadata(as_json=True)["name"] == "tidemark"
    assert client.get_model_metadata("pets", as_json=True) == {
        "name": "pets",
        "versions": ["3"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": ["-1", "3", "8", "8"]}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": ["-1", "4"]},
            {"name": "label", "datatype": "BYTES", "shape": ["-1"]},
        ],
    }
    for call in (client.is_model_ready, client.get_model_metadata):
        with pytest.raises(triton.InferenceServerException, match="no model dogs") as caught:
            call("dogs")
        assert caught.value.status() == "StatusCode.NOT_FOUND"


@pytest.mark.parametrize(
    ("datatype", "compression"),
    [("FP32", None), ("FP32", "gzip"), ("FP64", "deflate"), ("FP16", None), ("UINT8", "gzip"), ("INT32", None)],
)
def test_tensors_get_the_model_s_answer(
    client: triton.InferenceServerClient, bundle: Bundle, engine: Engine, datatype: str, compression: str | None
) -> None:
    model = Model(bundle)
    kinds = {"FP32": np.float32, "FP64": np.float64, "FP16": np.float16, "UINT8": np.uint8, "INT32": np.int32}
    values = (model.prepared(PIXELS) if datatype.startswith("FP") else RAW).astype(kinds[datatype])
    answer = client.infer(
        "pets",
        [input_of(np.ascontiguousarray(values), datatype)],
        model_version="3",
        request_id="42",
        compression_algorithm=compression,
        headers={"accept-encoding": "gzip"},
        parameters={"tag:camera": "7"},
    )
    expected = model.predict(PIXELS)[0]
    near: dict[str, Any] = {"atol": 0.01} if datatype == "FP16" else {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(answer.as_numpy("probabilities"), expected, **near)
    labels = [text.decode() for text in answer.as_numpy("label")]
    assert labels == [bundle.labels[row] for row in expected.argmax(axis=1)]
    response = answer.get_response()
    assert (response.model_name, response.model_version, response.id) == ("pets", "3", "42")
    rows = logged(engine, 5)
    assert [str(prediction_id) for prediction_id in rows.uuids] == response.parameters["ids"].string_param.split(",")
    assert list(rows.tags) == [{"camera": "7"}] * 5


def test_encoded_images_get_the_answer_of_predict(serve: Callable[..., Served]) -> None:
    http, port = serve()
    files = []
    for pixels in PIXELS:
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((30, 20)).save(buffer, "PNG")
        files.append(buffer.getvalue())
    texts = [base64.b64encode(file).decode() for file in files]
    expected = http.post("/predict", json={"images": texts}).json()["predictions"]
    with triton_client(port) as client:
        answer = client.infer("pets", [input_of(np.array(files, dtype=np.object_), "BYTES")])
    typed = infer(port, message_of("BYTES", [5, 1], bytes_contents=files))
    body = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [5], "data": texts}]}
    over_http = http.post("/v2/models/pets/infer", json=body).json()
    probabilities = [
        answer.as_numpy("probabilities"),
        np.reshape(typed.outputs[0].contents.fp32_contents, (5, 4)),
        np.reshape(over_http["outputs"][0]["data"], (5, 4)),
    ]
    for rows in probabilities:
        np.testing.assert_allclose(rows.max(axis=1), [row["confidence"] for row in expected], rtol=1e-5)
    assert typed.outputs[1].contents.bytes_contents == [row["label"].encode() for row in expected]
    assert not typed.raw_output_contents


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("FP32", "fp32_contents", RAW / np.float32(255)),
        ("FP64", "fp64_contents", RAW / 255),
        ("UINT8", "uint_contents", RAW),
        ("INT16", "int_contents", RAW),
        ("INT64", "int64_contents", RAW),
        ("UINT64", "uint64_contents", RAW),
    ],
)
def test_typed_contents_give_what_raw_contents_give(
    serve: Callable[..., Served], datatype: str, field: str, values: np.ndarray
) -> None:
    _, port = serve()
    message = message_of(datatype, list(values.shape), **{field: values.ravel().tolist()})
    output = message.outputs.add(name="probabilities")
    output.parameters["classification"].int64_param = 2
    typed = infer(port, message)
    with triton_client(port) as client:
        kinds = {"UINT8": np.uint8, "INT16": np.int16, "INT64": np.int64, "UINT64": np.uint64}
        raw = input_of(np.ascontiguousarray(values.astype(kinds.get(datatype, values.dtype))), datatype)
        outputs = [triton.InferRequestedOutput("probabilities", class_count=2)]
        expected = client.infer("pets", [raw], outputs=outputs).as_numpy("probabilities")
    assert list(typed.outputs[0].shape) == [5, 2]
    assert list(typed.outputs[0].contents.bytes_contents) == expected.ravel().tolist()


def test_without_the_extra_one_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ConfigurationError, match=r"--grpc-port needs the extra `grpc`: pip install 'tidemark\[grpc\]'"):
        checks.check(ServeOptions((tmp_path,), grpc_port=8001), "postgresql://unused")
