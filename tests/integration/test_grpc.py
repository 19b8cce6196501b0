"""The Open Inference Protocol over gRPC with Triton's own client: what it answers, logs, refuses and bounds."""

import asyncio
import base64
import hashlib
import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import Engine
from tritonclient import grpc as triton
from tritonclient.grpc import service_pb2

from tests.support.open_inference import PIXELS, RAW, logged
from tests.support.processes import free_port
from tests.support.server import state_of
from tests.support.wait import until
from tidemark.api.open_inference_grpc import open_inference_pb2
from tidemark.errors import ConfigurationError
from tidemark.inference.bundle import Bundle
from tidemark.inference.session import Model
from tidemark.server import checks
from tidemark.server.app import create_app
from tidemark.server.grpc_server import serve_over_grpc
from tidemark.server.options import ServeOptions
from tidemark.settings import Settings

INFER = "/inference.GRPCInferenceService/ModelInfer"
DEADLINE = 60.0  # seconds

Served = tuple[TestClient, int]


@pytest.fixture
def serve(bundle: Bundle, settings: Settings, url: str) -> Iterator[Callable[..., Served]]:
    """Start a server with settings of its own; return its HTTP client and its port for gRPC."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Served:
            changed = Settings(**settings.model_dump() | changes)
            app = create_app(changed, [bundle], url)
            port = free_port()
            serve_over_grpc(app, changed, ServeOptions((bundle.folder,), grpc_port=port))
            return stack.enter_context(TestClient(app)), port

        yield start


@pytest.fixture
def client(serve: Callable[..., Served]) -> Iterator[triton.InferenceServerClient]:
    with triton_client(serve()[1]) as connected:
        yield connected


def triton_client(port: int) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(f"127.0.0.1:{port}")


def input_of(values: np.ndarray, datatype: str = "FP32") -> triton.InferInput:
    tensor = triton.InferInput("image", list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    return tensor


def infer(port: int, message: service_pb2.ModelInferRequest, **call: Any) -> service_pb2.ModelInferResponse:
    """Call without Triton's client, which always sends raw contents."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_send_message_length", -1)]) as channel:
        method = channel.unary_unary(
            INFER,
            request_serializer=service_pb2.ModelInferRequest.SerializeToString,
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        return method(message, timeout=DEADLINE, **call)


def message_of(datatype: str, shape: list[int], **contents: Any) -> service_pb2.ModelInferRequest:
    message = service_pb2.ModelInferRequest(model_name="pets")
    tensor = message.inputs.add(name="image", datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    return message


def refusal(port: int, message: service_pb2.ModelInferRequest, **call: Any) -> Any:
    """Return the error of a refused call, which is also the call."""
    with pytest.raises(grpc.RpcError) as caught:
        infer(port, message, **call)
    return caught.value


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


ONE = [1, 3, 8, 8]
ZEROS = [0] * 192


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (message_of("FP32", ONE), "either as contents of the inputs or as raw_input_contents"),
        (message_of("FP32", ONE, fp32_contents=[0.0]), "takes 192 fp32_contents, got 1"),
        (message_of("FP32", ONE, int_contents=ZEROS), "takes 192 fp32_contents, got 0"),
        (message_of("FP32", [1, 3, 9, 9], fp32_contents=[0.0]), "expected shape"),
        (message_of("FP32", ONE, fp32_contents=[float("nan")] * 192), "NaN, infinity"),
        (message_of("FP16", ONE, fp32_contents=[0.0]), "FP16 has no typed contents"),
        (message_of("UINT8", ONE, uint_contents=[256] * 192), "outside of 0 to 255"),
        (message_of("INT8", ONE, int_contents=[-129] * 192), "outside of -128 to 127"),
        (message_of("INT32", ONE, int_contents=[-1] * 192), "outside of 0 to 255"),
        (message_of("BOOL", ONE, bool_contents=[True] * 192), "expected datatype"),
        (message_of("BYTES", [2], bytes_contents=[b"x"]), "expected 2 bytes_contents, got 1"),
        (message_of("BYTES", [1, 2], bytes_contents=[b"x", b"y"]), "expected shape"),
        (message_of("BYTES", [1], bytes_contents=[b"no image"]), "image 0: not an image"),
        (message_of("BYTES", [1], bytes_contents=[b""]), "image 0 is empty"),
        (message_of("BYTES", [65], bytes_contents=[b"x"] * 65), "65 images in one request"),
        (message_of("FP32", [65, 3, 8, 8], fp32_contents=[0.0]), "65 rows, at most 64"),
    ],
)
def test_what_the_model_cannot_take_is_an_invalid_argument(
    serve: Callable[..., Served], message: service_pb2.ModelInferRequest, says: str
) -> None:
    error = refusal(serve()[1], message)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert says in error.details()


def test_a_message_that_is_none_is_refused_and_calls_are_counted(serve: Callable[..., Served]) -> None:
    http, port = serve()
    channel: Any
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.RpcError, match="is not a ModelInferRequest"):
            channel.unary_unary(INFER)(b"\xff\xff\xff", timeout=DEADLINE)
        with pytest.raises(grpc.RpcError, match="ended without a message"):
            channel.stream_unary(INFER)(iter(()), timeout=DEADLINE)
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/inference.GRPCInferenceService/ModelStreamInfer")(b"", timeout=DEADLINE)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    infer(port, message_of("UINT8", ONE, uint_contents=ZEROS))
    refusal(port, message_of("FP32", ONE, fp32_contents=[0.0]))
    lines = http.get("/metrics").text.splitlines()
    assert f'tidemark_requests_total{{path="{INFER}",status="200"}} 1.0' in lines
    assert f'tidemark_requests_total{{path="{INFER}",status="400"}} 3.0' in lines
    labels = 'model="pets",slice="",version="3"'
    assert f"tidemark_images_accepted_total{{{labels}}} 1.0" in lines
    refused = 'model="pets",reason="invalid_request",slice="",version="3"'
    assert f"tidemark_images_refused_total{{{refused}}} 1.0" in lines


def test_a_message_is_bounded_also_after_decompression(serve: Callable[..., Served]) -> None:
    _, port = serve(max_request_bytes=1_000_000)
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        message = message_of("BYTES", [1], bytes_contents=[bytes(2_000_000)])
        assert refusal(port, message, compression=compression).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    infer(port, message_of("UINT8", ONE, uint_contents=ZEROS), compression=grpc.Compression.Gzip)


def test_messages_share_the_memory_of_request_bodies(serve: Callable[..., Served]) -> None:
    http, port = serve(max_request_memory=1_000_000)
    error = refusal(port, message_of("BYTES", [1], bytes_contents=[bytes(1_100_000)]))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 1000000 are available" in error.details()
    state_of(http).body_budget.reserve(950_000)
    error = refusal(port, message_of("BYTES", [1], bytes_contents=[bytes(100_000)]))
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert ("retry-after", "1") in [tuple(pair) for pair in error.trailing_metadata()]
    state_of(http).body_budget.release(950_000)
    assert "not an image" in refusal(port, message_of("BYTES", [1], bytes_contents=[bytes(100_000)])).details()


def test_a_call_ends_at_its_client_s_deadline(serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    http, port = serve()

    begun = threading.Event()

    async def never(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(state_of(http).models.answering[0].predictor, "predict_tensor", never)
    data = message_of("UINT8", ONE, uint_contents=ZEROS).SerializeToString()
    channel: Any
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_unary(INFER)

        def is_over() -> bool:
            with pytest.raises(grpc.RpcError) as caught:
                method(data, timeout=0.5)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            return begun.is_set()

        until(is_over, "a call that reaches the model before its deadline")
    counter = f'tidemark_requests_total{{path="{INFER}",status="499"}} '
    until(lambda: counter in http.get("/metrics").text, "the cancelled call among the counts")


def test_api_keys_come_in_metadata(serve: Callable[..., Served]) -> None:
    keys = {scope: hashlib.sha256(scope.encode()).hexdigest() for scope in ("predict", "read", "feedback")}
    _, port = serve(api_keys=",".join(f"{scope}:{sha256}" for scope, sha256 in keys.items()))
    message = message_of("UINT8", ONE, uint_contents=ZEROS)
    for metadata in ((), (("x-api-key", "wrong"),), (("authorization", "Basic cHJlZGljdA=="),)):
        assert refusal(port, message, metadata=metadata).code() == grpc.StatusCode.UNAUTHENTICATED
    assert refusal(port, message, metadata=(("x-api-key", "read"),)).code() == grpc.StatusCode.PERMISSION_DENIED
    for metadata in ((("x-api-key", "predict"),), (("authorization", "Bearer predict"),)):
        assert infer(port, message, metadata=metadata).model_name == "pets"
    with triton_client(port) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.get_model_metadata("pets", headers={"x-api-key": "read"}).name == "pets"
        with pytest.raises(triton.InferenceServerException, match="lacks the scope"):
            client.get_model_metadata("pets", headers={"x-api-key": "feedback"})
        with pytest.raises(triton.InferenceServerException, match="a valid API key is needed"):
            client.get_server_metadata()


def test_without_the_extra_one_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ConfigurationError, match=r"--grpc-port needs the extra `grpc`: pip install 'tidemark\[grpc\]'"):
        checks.check(ServeOptions((tmp_path,), grpc_port=8001), "postgresql://unused")
